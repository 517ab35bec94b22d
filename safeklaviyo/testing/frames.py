"""Frames: a digest of everything that a paused operation depends on, so that two that would go on alike count as one.

An operation that waits for another one looks, sleeps, and decides everything again. The answers that it was sent differ
from run to run; what it still remembers does not. So an exploration compares what the frames of the generators hold:
the variables, and their stacks, such as the place in a loop. Read next: `points`, which keeps such digests.
"""

from __future__ import annotations

import dataclasses
import enum
import gc
import types
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, cast

from safeklaviyo._flows.call import Setup

if TYPE_CHECKING:
    from collections.abc import Iterable

_PLAIN: Final = (int, float, str, bytes, bool, complex, type(None))
_NAMED: Final = (type, types.ModuleType, types.BuiltinFunctionType, types.CodeType)
_WITHOUT_STATE: Final = frozenset({"lock", "RLock", "_local", "Logger"})
"""Types that hold nothing which an operation could decide by."""
_NOT_HELD: Final = frozenset({"__dict__", "__weakref__", "__traceback__"})
_SIZE: Final = 16


def digest_of(held: object) -> bytes:
    """Return a digest of an object and of all that it refers to, by value.

    Raises:
        TypeError: The object refers to one with a state that cannot be read.
    """
    return _Digests().of(held)


class _Digests:
    """The digests of one moment."""

    def __init__(self) -> None:
        self._known: dict[int, bytes] = {}
        # So that no object is made while another one's digest is known by the same address.
        self._kept: list[object] = []

    def of(self, held: object) -> bytes:
        """Return the digest of an object, or its type and value themselves, where that is cheaper."""
        kind = type(held)
        if kind in _PLAIN:
            return f"{kind.__name__} {held!r}".encode()
        if isinstance(held, enum.Enum):
            return f"{kind.__qualname__} {held.name}".encode()
        if isinstance(held, _NAMED):
            name = getattr(held, "__qualname__", None) or getattr(held, "__name__", held)
            return f"{kind.__name__} {name}".encode()
        if kind.__name__ in _WITHOUT_STATE:
            return kind.__name__.encode()
        found = self._known.get(id(held))
        if found is None:
            self._known[id(held)] = b"itself"  # one that refers to itself
            self._kept.append(held)
            found = self._known[id(held)] = _joined(kind.__qualname__, *self._parts(held))
        return found

    def _parts(self, held: object) -> Iterable[bytes | str]:
        match held:
            case Setup():
                # The rest stays as it is, or decides only how long a request waits for its turn.
                held = (held.line.budget, held.shared)
            case types.GeneratorType():
                return self._of_frame(cast("object", held))
            case types.FunctionType():
                held = (held.__module__, held.__qualname__, held.__closure__, held.__defaults__)
            case types.MethodType():
                held = (held.__func__.__qualname__, held.__self__)
            case types.CellType():
                held = (held.cell_contents,) if _is_full(held) else ()
            case dict():
                held = tuple(cast("dict[object, object]", held).items())
            case set() | frozenset():
                return sorted(map(self.of, cast("Iterable[object]", held)))
            case _:
                pass
        is_listed = isinstance(held, tuple | list)
        return map(self.of, cast("Iterable[object]", held)) if is_listed else self._of_fields(held)

    def _of_frame(self, held: object) -> Iterable[bytes | str]:
        flow = cast("types.GeneratorType[Any, Any, Any]", held)
        frame = flow.gi_frame
        yield flow.gi_code.co_qualname
        if frame is None:
            return
        yield str(frame.f_lasti)
        # The collector sees the stack as well, where the loops are.
        for each in gc.get_referents(flow):
            is_own = isinstance(each, types.FunctionType) and each.__code__ is flow.gi_code
            is_shared = each is frame.f_globals or each is frame.f_builtins
            if not (is_own or is_shared or isinstance(each, types.CodeType | types.FrameType)):
                yield self.of(each)

    def _of_fields(self, held: object) -> Iterable[bytes | str]:
        fields = dict(getattr(held, "__dict__", {}))
        slots = [name for each in type(held).__mro__ for name in _slots(each)]
        fields |= {name: getattr(held, name) for name in slots if hasattr(held, name)}
        if isinstance(held, BaseException):
            return [self.of(held.args), self.of(fields)]
        if fields or slots or dataclasses.is_dataclass(held):
            return [self.of(fields)]
        reduced = held.__reduce_ex__(2)
        return [reduced if isinstance(reduced, str) else self.of(reduced[1:])]


def _slots(kind: type) -> Iterable[str]:
    named: object = kind.__dict__.get("__slots__", ())
    return [
        name for name in ((named,) if isinstance(named, str) else cast("Iterable[str]", named)) if name not in _NOT_HELD
    ]


def _is_full(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _joined(*parts: bytes | str) -> bytes:
    texts = [part.encode() if isinstance(part, str) else part for part in parts]
    # With the lengths, so that no two lists of parts are joined to the same bytes.
    lengths = ",".join([str(len(text)) for text in texts]).encode()
    return blake2b(b":".join((lengths, *texts)), digest_size=_SIZE).digest()
