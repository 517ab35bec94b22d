"""What a signal handler raises, told apart from what a connection raises.

Decided here: whether a signal handler raised a failure. Python runs a handler in the middle of other code, so the limit
of a task queue, or of `signal.alarm`, can be raised inside of a socket's `recv`. A transport takes a handler's
`TimeoutError` for one of its own there: it raises an error of its own class, with the handler's as cause or context.
A handler is known by its second argument, which is the frame that it interrupted, and so the frame that called it.
"""

from __future__ import annotations

from inspect import CO_VARARGS
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


def let_through(failure: BaseException, outer: BaseException | None = None) -> None:
    """Raise what a signal handler has raised, where that is behind a failure.

    Args:
        failure: What was caught.
        outer: What the caller was handling when the work began, `sys.exception()`: that is older than the failure.

    Raises:
        BaseException: The handler's own exception, as it was.
    """
    interruption = _interruption(failure, outer)
    if interruption is None:
        return
    context = interruption.__context__
    try:
        raise interruption
    finally:
        # Raising it here put the failure behind it, which may quote what was sent.
        interruption.__context__ = context
        del interruption, context, failure, outer  # else the exception and this frame keep each other alive


def _interruption(failure: BaseException, outer: BaseException | None) -> BaseException | None:
    return next((each for each in _chain(failure, outer) if _was_raised_by_handler(each)), None)


def _chain(failure: BaseException, outer: BaseException | None) -> Iterator[BaseException]:
    """Yield a failure and all that it came from, up to what the caller was handling before."""
    seen: list[BaseException] = []
    ahead: list[BaseException | None] = [failure]
    while ahead:
        each = ahead.pop()
        if each is None or each is outer or any(each is other for other in seen):
            continue
        seen.append(each)
        yield each
        ahead += [each.__context__, each.__cause__]


def _was_raised_by_handler(failure: BaseException) -> bool:
    step = failure.__traceback__
    while step is not None:
        if _is_handler(step.tb_frame):
            return True
        step = step.tb_next
    return False


def _is_handler(frame: FrameType) -> bool:
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & CO_VARARGS)
    given = [frame.f_locals.get(name) for name in code.co_varnames[:count]]
    interrupted = frame.f_back
    return interrupted is not None and any(
        value is interrupted or (type(value) is tuple and any(each is interrupted for each in value)) for value in given
    )
