"""The maps on one server as one store knows them: their keys, and which map each account's was when it was first seen.

Decided here: that a map which was there stays the one that is asked. A server that restarts without its data, or is
replaced by another, would otherwise seem to know nobody (P6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from safeklaviyo.errors import ConfigurationError
from safeklaviyo.stores.redis._failures import refusal
from safeklaviyo.stores.redis._packing import RECORD

if TYPE_CHECKING:
    from safeklaviyo.stores.redis._packing import Packed

T = TypeVar("T")

_BRACES = frozenset("{}")


class Maps:
    """What a store says to its server, and how it takes the answer; without I/O.

    Args:
        prefix: What the names of all keys begin with.

    Raises:
        ConfigurationError: The prefix would decide in which slot of a cluster a key is.
    """

    def __init__(self, prefix: str) -> None:
        if not prefix or _BRACES & set(prefix):
            raise ConfigurationError("the prefix of an identity map's keys is some text without braces")
        self._prefix = prefix
        self._maps: dict[str, _Map] = {}

    def command(self, account: str, call: Packed[Any], *, whole: bool = False) -> tuple[Any, ...]:
        """Return the command that makes a call: by the script's name, or with the whole script."""
        one = self._maps.get(account) or self._new(account)
        name = ("EVAL", call.script.source) if whole else ("EVALSHA", call.script.sha)
        keys = one.keys[: call.keys]
        return (*name, len(keys), *keys, one.generation, call.operation, *call.arguments)

    def answer(self, account: str, call: Packed[T], reply: bytes) -> T:
        """Return what the server's reply says.

        Raises:
            StoreUnavailableError: The map that was in use is not there.
            StoreIncompatibleError: What is there is no identity map, or another version's.
        """
        generation, mark, answer = reply.decode(errors="surrogateescape").partition(RECORD)
        if not mark:
            raise refusal(generation)
        one = self._maps[account]
        if not one.generation:
            one.generation = generation.encode()
        return call.read(answer)

    def _new(self, account: str) -> _Map:
        # The hash tag is never empty, because Redis would take an empty one for none.
        name = f"{self._prefix}:{{account:{account}}}"
        keys = tuple(f"{name}{tail}".encode() for tail in ("", ":bindings", ":leases", ":journal"))
        return self._maps.setdefault(account, _Map(keys))


@dataclass(slots=True)
class _Map:
    """One account's map.

    Attributes:
        generation: Which map it is; empty while there is none, or none has been seen.
    """

    keys: tuple[bytes, ...]
    generation: bytes = b""
