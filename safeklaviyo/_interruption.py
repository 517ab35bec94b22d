"""Distinguishing an exception of a signal handler from an exception of a connection (F-45).

Decided here: whether a signal handler raised a failure. Python runs a handler in the middle of other code. So the time
limit of a task queue, or of `signal.alarm`, can be raised inside a socket's `recv`. There a transport takes a handler's
`TimeoutError` for one of its own, and raises an error of its own class, with the handler's as cause or context.

A handler's frame can be recognised: Python passes a handler, as its second argument, the frame that it interrupts, and
that frame is also the one that calls the handler.
"""

from __future__ import annotations

from inspect import CO_VARARGS
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


def let_through(failure: BaseException, outer: BaseException | None = None) -> None:
    """Raise the exception of a signal handler, if the failure came of one.

    Args:
        failure: The failure that was caught.
        outer: The exception that the caller was handling when the work began, `sys.exception()`. It is older than the
            failure, so it is not looked at.

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
        # `raise` made the failure its context, and the failure may quote what was sent (P8).
        interruption.__context__ = context
        # Otherwise the exception's traceback and this frame keep each other alive (F-32).
        del interruption, context, failure, outer


def _interruption(failure: BaseException, outer: BaseException | None) -> BaseException | None:
    return next((each for each in _chain(failure, outer) if _was_raised_by_handler(each)), None)


def _chain(failure: BaseException, outer: BaseException | None) -> Iterator[BaseException]:
    """Yield a failure and all its causes and contexts, up to the exception that the caller was handling before."""
    # Chains may have cycles. A list, compared by identity, because an exception need not be hashable.
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
    """Tell whether one of a frame's arguments is its own caller's frame, also inside the tuple of an ``*args``."""
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & CO_VARARGS)
    given = [frame.f_locals.get(name) for name in code.co_varnames[:count]]
    interrupted = frame.f_back
    return interrupted is not None and any(
        value is interrupted or (type(value) is tuple and any(each is interrupted for each in value)) for value in given
    )
