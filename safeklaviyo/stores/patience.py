"""How long a store may take: its own time limit, or what the call that uses it has left.

A client's `deadline` is for a whole call, the map included. The shell says with `begin` when the call ends. A store
asks `time_left`, or does its blocking work `in_time`. Where no shell has said when the call ends, a store has its own
limit alone.
"""

from __future__ import annotations

import sys
import time
from contextvars import ContextVar
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from safeklaviyo._interruption import let_through
from safeklaviyo.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

SLOW: Final = "the identity map did not answer in the time that was left; a change may have been made or not"
LAST: Final = 0.08
"""The part of a call's deadline that its operations get after its end, all together: a lease is still released then."""
_INSTANT: Final = 0.001
_START: Final = 0.05
"""Seconds in which a thread has begun, if it was started."""

Ends: TypeAlias = tuple[float, float] | None
"""When a call ends, and when its last operation has to end, both on the monotonic clock."""

_ends: ContextVar[Ends] = ContextVar("safeklaviyo_ends", default=None)
_late: ContextVar[Callable[[], object] | None] = ContextVar("safeklaviyo_late", default=None)
"""Waits for the work that this call has not seen the end of."""


def begin(deadline: float | None) -> None:
    """Say that the work which begins now may take so many seconds; None: no limit."""
    now = time.monotonic()
    _ends.set(None if deadline is None else (now + deadline, now + (1 + LAST) * deadline))


def current() -> Ends:
    """Return what `restore` takes, when this call is over."""
    return _ends.get()


def restore(ends: Ends) -> None:
    """Say that a call is over: what held before it holds again."""
    _ends.set(ends)
    _late.set(None)


def late_work() -> Callable[[], object] | None:
    """Return what waits for this call's last operation, if that goes on in its thread, and the call waits no more."""
    return _late.get()


def time_left(limit: float) -> float:
    """Return how long a store may take for one operation: at most `limit` seconds, its own limit."""
    ends = _ends.get()
    if ends is None:
        return limit
    now = time.monotonic()
    left = ends[0] - now
    return min(limit, left if left > 0 else max(ends[1] - now, _INSTANT))


class _Aside(Generic[T]):
    """Work in a thread of its own, which goes on when its call waits no more.

    Args:
        work: What is done.
        limit: Seconds that it takes at most.
    """

    def __init__(self, work: Callable[[], T], limit: float) -> None:
        self._work = work
        self._limit = limit
        self._has_begun = False
        self._has_ended = False
        self.done: SimpleQueue[tuple[T] | BaseException] = SimpleQueue()

    def start(self) -> None:
        """Let a thread begin the work."""
        outer = sys.exception()
        try:
            Thread(target=self.run, name="safeklaviyo-store", daemon=True).start()
        except Exception as exc:
            # Where a signal handler raises in `start`, a KeyError of `start`'s own can take that exception's place.
            let_through(exc, outer)
            raise

    def run(self) -> None:
        """Do the work, and put its result, in a tuple, or its exception into the queue."""
        self._has_begun = True
        try:
            result = (self._work(),)
        except BaseException as exc:  # noqa: BLE001 - it is raised in the thread that waits
            self._has_ended = True
            self.done.put(exc)
        else:
            self._has_ended = True
            self.done.put(result)

    def wait(self) -> None:
        """Wait until the work has ended, for a lease that must not be released before."""
        # Not the thread's own `join`, which fails if a signal handler has raised while the thread was started.
        if not self._has_begun:
            time.sleep(_START)
        if self._has_begun and not self._has_ended:  # what has ended is perhaps taken from the queue already
            self.done.get(timeout=self._limit)


def in_time(work: Callable[[], T], limit: float) -> T:
    """Do blocking work, and wait for it no longer than the call has left.

    Work that fits into what is left is done here. Otherwise it is done in a thread of its own, which goes on when this
    call does not wait any more: a driver's connection has time limits of its own, and cannot be given new ones.

    Args:
        work: What is done.
        limit: Seconds that it takes at most, by the store's own limits.

    Raises:
        StoreUnavailableError: The work was not done in time.
    """
    left = time_left(limit)
    if left >= limit:
        return work()
    work_aside = _Aside(work, limit)
    _late.set(work_aside.wait)
    work_aside.start()
    try:
        result = work_aside.done.get(timeout=left)
    except Empty:
        raise StoreUnavailableError(SLOW) from None
    _late.set(None)
    if isinstance(result, BaseException):
        try:
            raise result
        finally:
            del result  # else the exception and this frame keep each other alive
    return result[0]


async def in_time_async(work: Awaitable[T], limit: float) -> T:
    """Same as `in_time`, awaited: work that is not done in time is cancelled."""
    left = time_left(limit)
    if left >= limit:
        return await work
    from asyncio import timeout  # noqa: PLC0415 - here asyncio is loaded; blocking programs need not load it

    timing = timeout(left)
    try:
        async with timing:
            return await work
    except TimeoutError:
        if not timing.expired():
            raise  # the work's own
        raise StoreUnavailableError(SLOW) from None
