"""What the traceback of an error keeps of a call's data: nothing (P8).

Error trackers and log processors read the local variables of each frame of a traceback, and the arguments of a call are
local variables. So each public method clears them when an error leaves it. The caller's own frames are left alone.

Decided here, for an error that leaves a public method:

- The frames of this package, and of the libraries that it calls, lose their variables. They keep their places in the
  traceback.
- An error that this package has caught, such as a driver's, and all errors behind it, keep class and message, and lose
  their tracebacks: their frames hold statements and request heads.
- An error that was hidden with ``from None`` is let go altogether.
- The frame of a generator or coroutine is cleared only if nothing but such frames stands above it. Further down, a
  traceback may hold frames of another task, when one error object is raised twice. Up to Python 3.12, clearing a frame
  of a coroutine that is still alive would end that coroutine.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import wraps
from inspect import (
    CO_ASYNC_GENERATOR,
    CO_COROUTINE,
    CO_GENERATOR,
    isasyncgenfunction,
    iscoroutinefunction,
    isfunction,
    isgeneratorfunction,
)
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import FrameType

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_OURS: Final = "safeklaviyo"
_CARRIERS: Final = sys.stdlib_module_names | {
    _OURS, "aiohttp", "anyio", "email_validator", "h11", "httpcore", "httpcore2", "httptools", "httpx", "httpx2",
    "httpx_aiohttp", "idna", "phonenumbers", "psycopg", "psycopg_binary", "psycopg_pool", "pydantic", "redis",
    "sniffio", "tenacity",
}  # fmt: skip
"""The packages that a call runs through. Their frames may hold the call's data."""
_SPECIAL: Final = frozenset({"__init__", "__iter__", "__aiter__"})
_RESUMABLE: Final = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR


def discreet(kind: type[T]) -> type[T]:
    """Let no error that leaves a public method of a class carry the variables of its call. Decorates the class.

    `perform` of a store is left as it is: the store's other methods and the clients call it, on the path of every call.
    """
    for name, value in list(vars(kind).items()):
        is_public = name in _SPECIAL or not name.startswith("_")
        if is_public and isfunction(value) and name != "perform":
            setattr(kind, name, _wrapped(value))
    return kind


def discreetly(function: Callable[P, R]) -> Callable[P, R]:
    """Same as `discreet`, for one function."""
    return _wrapped(function)


def _wrapped(method: Callable[..., Any]) -> Callable[..., Any]:
    if iscoroutinefunction(method):
        return _awaited(method)
    if isasyncgenfunction(method):
        return _iterated_async(method)
    return _iterated(method) if isgeneratorfunction(method) else _called(method)


def _called(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def _call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except BaseException as error:
            # This frame is still running, so `forget` cannot clear it.
            del args, kwargs
            forget(error)
            raise

    return _call


def _awaited(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    async def _call(*args: Any, **kwargs: Any) -> Any:
        try:
            return await method(*args, **kwargs)
        except BaseException as error:
            del args, kwargs
            forget(error)
            raise

    return _call


def _iterated(method: Callable[..., Iterator[Any]]) -> Callable[..., Any]:
    @wraps(method)
    def _call(*args: Any, **kwargs: Any) -> Iterator[Any]:
        items = method(*args, **kwargs)
        del args, kwargs
        try:
            yield from items
        except BaseException as error:
            forget(error)
            raise

    return _call


def _iterated_async(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    async def _call(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        items = method(*args, **kwargs)
        del args, kwargs
        try:
            async for item in items:
                yield item
        except BaseException as error:
            forget(error)
            raise
        finally:
            await items.aclose()

    return _call


def forget(error: BaseException) -> None:
    """Clear what the traceback of an error keeps of a call, and those of the errors behind it."""
    # Step 1: the error itself. It keeps its traceback, without variables.
    _clear(error)
    # Step 2: all errors behind it. Those that this package has caught lose their tracebacks.
    seen = [error]
    ahead = [(error, False)]
    while ahead:
        each, is_behind = ahead.pop()
        if each.__suppress_context__ and each.__context__ is not each.__cause__:
            each.__context__ = None
        for behind in (each.__cause__, each.__context__):
            # Chains may have cycles. Compared by identity, because an exception need not be hashable.
            if behind is None or any(behind is other for other in seen):
                continue
            seen.append(behind)
            is_caught = is_behind or _was_caught_here(behind)
            if is_caught:
                behind.__traceback__ = None
            ahead.append((behind, is_caught))


def _was_caught_here(error: BaseException) -> bool:
    """Tell whether this package has caught an error: its traceback begins in the frame that did, or was taken off."""
    return error.__traceback__ is None or _package(error.__traceback__.tb_frame) == _OURS


def _clear(error: BaseException) -> None:
    step, is_leading = error.__traceback__, True
    while step is not None:
        frame = step.tb_frame
        carries = _carries(frame)
        is_leading = is_leading and carries
        if is_leading or (carries and not frame.f_code.co_flags & _RESUMABLE):
            with suppress(RuntimeError):  # it is still running: the wrapper's own, and those of other calls
                frame.clear()
        step = step.tb_next


def _carries(frame: FrameType) -> bool:
    """Tell whether a frame is of a package that a call runs through."""
    package = _package(frame)
    # Python makes the constructor of a named tuple in a module that it names after the class. A signal handler may
    # raise there, while the constructor holds an identifier.
    return package in _CARRIERS or package.startswith("namedtuple_")


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
