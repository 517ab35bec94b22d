"""Work beside the shop's calls: looks into the map that may take a bounded time, and lines that are written later.

A map or a disk that does not answer holds up one of the guard's own threads, and no call of the shop's.
"""

from __future__ import annotations

import atexit
import time
from collections import deque
from os import getpid
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakSet, finalize

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_CLOSING: Final = 2.0
"""Seconds that closing waits for work that is still to be done."""
_TOGETHER: Final = 0.05
"""Seconds for which the thread lets work gather: to wake it for each call would cost more than the work."""


class LateError(Exception):
    """The work was not done in time."""


class Looks:
    """Looks into a map, one after another in one thread. Each caller says how long it waits at most."""

    def __init__(self) -> None:
        self._thread: _LookingThread | None = None
        self._locks: dict[int, Lock] = {}

    def ask(self, work: Callable[[], T], within: float) -> T:
        """Do some work, and wait for it.

        Raises:
            LateError: The work was not done in time, or the work before it still goes on.
            Exception: What the work has raised.
        """
        thread = self._thread
        if thread is None or thread.pid != getpid():  # after a fork the thread is the parent's
            thread = self._begin()
        # A look that hangs blocks the thread. Later callers fail at once, so only the first one waits for the map.
        now, since = time.monotonic(), thread.since
        if since is not None and now - since > within:
            raise LateError
        done: SimpleQueue[Any] = SimpleQueue()
        thread.jobs.put((work, done, now + within))
        try:
            result = done.get(timeout=within)
        except Empty:
            raise LateError from None
        if isinstance(result, Exception):
            raise result
        value: T = result[0]
        return value

    def close(self) -> None:
        """Let the thread end after the look that it is at. A later look begins another thread."""
        thread, self._thread = self._thread, None
        if thread is not None and thread.pid == getpid():
            thread.end()
            thread.join(_CLOSING if thread.since is None else 0.0)

    def _begin(self) -> _LookingThread:
        # A lock for each process: one that another thread held at the fork would never be released in the child.
        with self._locks.setdefault(getpid(), Lock()):
            thread = self._thread
            if thread is None or thread.pid != getpid():
                self._thread = thread = _LookingThread()
                finalize(self, thread.end)
                thread.start()
            return thread


class _LookingThread(Thread):
    """The thread of one `Looks` in one process."""

    def __init__(self) -> None:
        super().__init__(name="safeklaviyo-guard-map", daemon=True)
        self.pid = getpid()
        self.jobs: SimpleQueue[tuple[Callable[[], Any], SimpleQueue[Any], float] | None] = SimpleQueue()
        self.since: float | None = None

    def end(self) -> None:
        """Let the thread end once the jobs so far are done."""
        self.jobs.put(None)

    def run(self) -> None:
        """Do one job after another until `end`, and hand each caller its result or its error."""
        while (job := self.jobs.get()) is not None:
            work, done, until = job
            self.since = time.monotonic()
            # The caller of a job that is too late has gone; its work would only delay the next one.
            if self.since <= until:
                try:
                    done.put((work(),))
                except Exception as error:  # noqa: BLE001 - raised where it is waited for
                    done.put(error)
            self.since = None
            # What is asked next may take long to come, and these would keep the last caller's objects alive.
            del job, work, done


class Later:
    """Does work later, in one thread. When too much work waits, further work is dropped and counted.

    Args:
        most: How many pieces of work may wait.
        heaviest: How many bytes the waiting work may keep in memory.
        dropped: Called for each piece of work that is dropped.
    """

    def __init__(self, most: int, heaviest: int, dropped: Callable[[], None]) -> None:
        self._most = most
        self._heaviest = heaviest
        self._dropped = dropped
        self._thread: _WorkingThread | None = None
        self._locks: dict[int, Lock] = {}

    def add(self, work: Callable[[], None], weight: int = 0) -> bool:
        """Have some work done later; return False if it is dropped. The work must not raise.

        Args:
            weight: The bytes that the work keeps in memory until it is done.
        """
        thread = self._thread
        # After a fork the thread is the parent's, and the parent writes the lines that wait.
        if thread is None or thread.pid != getpid():
            thread = self._begin()
        if len(thread.waiting) >= self._most or thread.weight + weight > self._heaviest:
            self._dropped()
            return False
        thread.weight += weight
        thread.waiting.append((work, weight))
        thread.wake_up()
        return True

    def flush(self, seconds: float = _CLOSING) -> bool:
        """Wait until all work is done; return whether it was done in time."""
        thread = self._thread
        if thread is None or thread.pid != getpid():
            return True
        done = Event()
        thread.waiting.append((done.set, 0))
        thread.wake_up(at_once=True)
        return done.wait(seconds)

    def close(self, seconds: float = _CLOSING) -> None:
        """Do what waits, and let the thread end. Later work begins another thread."""
        thread, self._thread = self._thread, None
        if thread is not None and thread.pid == getpid():
            thread.end()
            thread.join(seconds)

    def _begin(self) -> _WorkingThread:
        with self._locks.setdefault(getpid(), Lock()):
            thread = self._thread
            if thread is None or thread.pid != getpid():
                self._thread = thread = _WorkingThread()
                finalize(self, thread.end)
                _working.add(thread)
                thread.start()
            return thread


class _WorkingThread(Thread):
    """The thread of one `Later` in one process, with the work that waits for it."""

    def __init__(self) -> None:
        super().__init__(name="safeklaviyo-guard-log", daemon=True)
        self.pid = getpid()
        self.waiting: deque[tuple[Callable[[], None], int]] = deque()
        self.weight = 0
        self._is_awake = False
        self._is_over = False
        self._wake = Event()
        self._hurry = Event()

    def wake_up(self, *, at_once: bool = False) -> None:
        """Have the thread look into the deque: within `_TOGETHER` seconds, or at once."""
        # Work is put into the deque before this look, and the thread says that it sleeps before it looks into the
        # deque. So either the thread sees the work, or it is woken.
        if at_once:
            self._hurry.set()
        if not self._is_awake:
            self._is_awake = True
            self._wake.set()

    def end(self) -> None:
        """Let the thread end once it has done what waits now."""
        self._is_over = True
        self.wake_up(at_once=True)

    def run(self) -> None:
        """Do what waits, in batches, until `end`."""
        while True:
            self._wake.wait()
            self._hurry.wait(_TOGETHER)
            self._hurry.clear()
            self._wake.clear()
            self._is_awake = False
            is_over = self._is_over
            while self.waiting:
                work, weight = self.waiting.popleft()
                work()
                self.weight -= weight
                del work
            self.weight = 0  # two callers at once may have miscounted
            if is_over:
                return


_working: WeakSet[_WorkingThread] = WeakSet()


@atexit.register
def _finish() -> None:
    """Do at the end of the process what still waits: these threads do not hold it up by themselves."""
    for thread in tuple(_working):
        if thread.pid == getpid() and thread.is_alive():
            thread.end()
            thread.join(_CLOSING)
