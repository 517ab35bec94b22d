"""What an error shows to whatever reports it: the messages behind it, and the variables of its frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

PROGRAMS = ("support", "test_", "conftest", "_pytest", "pluggy", "__main__")
"""The modules that stand for a program of a user's, whose variables are its own."""


def all_behind(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and every one behind it, also those that are hidden with ``from None``."""
    seen: list[BaseException] = []
    ahead: list[BaseException | None] = [error]
    while ahead:
        each = ahead.pop()
        if each is None or any(each is other for other in seen):
            continue
        seen.append(each)
        yield each
        ahead += [each.__cause__, each.__context__]


def frames_of(error: BaseException) -> Iterator[FrameType]:
    """Yield the frames of an error and of those behind it, but for a program's own."""
    for each in all_behind(error):
        step = each.__traceback__
        while step is not None:
            if not is_programs(step.tb_frame):
                yield step.tb_frame
            step = step.tb_next


def is_programs(frame: FrameType) -> bool:
    """Tell whether a frame is that of a program that uses the package."""
    return any(part.startswith(PROGRAMS) for part in frame.f_globals["__name__"].split("."))


def texts_of(error: BaseException) -> Iterator[str]:
    """Yield all that a report of an error could hold: messages, and the variables of frames but for a program's."""
    for each in all_behind(error):
        yield f"{each} {each!r} {each.args!r} {getattr(each, '__notes__', '')}"
    for frame in frames_of(error):
        for name, value in frame.f_locals.items():
            yield f"{frame.f_code.co_qualname}: {name} = {shown(value)}"


def shown(value: object) -> str:
    """Return the `repr` of a variable, which may be half made."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - as whatever reports variables has to
        return object.__repr__(value)
