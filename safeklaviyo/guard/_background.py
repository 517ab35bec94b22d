"""Work beside the shop's calls: looks into the map that may take a bounded time, and lines that are written later.

A map or a disk that does not answer holds up one of the guard's own threads, and no call of the shop's.
"""

from __future__ import annotations

import time
from collections import deque
from os import getpid
from queue import Empty, SimpleQueue
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_CLOSING: Final = 2.0
"""Seconds that `Later.close` waits for what is still to be done."""


class LateError(Exception):
    """The work was not done in time."""


class Looks:
    """Looks into a map, one after another in one thread. Each caller says how long it waits at most."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], Any], SimpleQueue[Any], float]] = SimpleQueue()
        self._pid: int | None = None
        self._since: float | None = None

    def ask(self, work: Callable[[], T], within: float) -> T:
        """Do some work, and wait for it.

        Raises:
            LateError: It was not done in time, or the work before it still goes on.
            Exception: What the work has raised.
        """
        if self._pid != getpid():  # after a fork the thread is the parent's
            self._jobs, self._pid, self._since = SimpleQueue(), getpid(), None
            Thread(target=self._run, args=(self._jobs,), name="safeklaviyo-guard-map", daemon=True).start()
        # A look that hangs blocks the thread. Later callers fail at once, so only the first one waits for the map.
        now, since = time.monotonic(), self._since
        if since is not None and now - since > within:
            raise LateError
        done: SimpleQueue[Any] = SimpleQueue()
        self._jobs.put((work, done, now + within))
        try:
            result = done.get(timeout=within)
        except Empty:
            raise LateError from None
        if isinstance(result, Exception):
            raise result
        value: T = result[0]
        return value

    def _run(self, jobs: SimpleQueue[tuple[Callable[[], Any], SimpleQueue[Any], float]]) -> None:
        while True:
            work, done, until = jobs.get()
            self._since = time.monotonic()
            # The caller of a job that is too late has gone; its work would only delay the next one.
            if self._since <= until:
                try:
                    done.put((work(),))
                except Exception as error:  # noqa: BLE001 - raised where it is waited for
                    done.put(error)
            self._since = None


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
        self._weight = 0
        self._waiting: deque[tuple[Callable[[], None], int]] = deque()
        self._pid: int | None = None
        self._changed = Condition()
        self._is_busy = False

    def add(self, work: Callable[[], None], weight: int = 0) -> None:
        """Have some work done later. The work must not raise.

        Args:
            weight: The bytes that the work keeps in memory until it is done.
        """
        # After a fork the thread is the parent's, and the parent writes the lines that wait.
        if self._pid != getpid():
            self._waiting, self._pid, self._changed, self._weight = deque(), getpid(), Condition(), 0
            Thread(target=self._run, name="safeklaviyo-guard-log", daemon=True).start()
        if len(self._waiting) >= self._most or self._weight + weight > self._heaviest:
            self._dropped()
            return
        self._weight += weight
        self._waiting.append((work, weight))
        # The call does not wait for the lock here: without a notice the thread looks again after 0.1 s.
        if self._changed.acquire(blocking=False):
            try:
                self._changed.notify()
            finally:
                self._changed.release()

    def _run(self) -> None:
        waiting, changed = self._waiting, self._changed
        while True:
            try:
                work, weight = waiting.popleft()
            except IndexError:
                # Only the thread itself says that it is idle, so `flush` never returns while a line is half written.
                with changed:
                    self._is_busy = False
                    changed.notify_all()
                    if not waiting:
                        changed.wait(0.1)
                continue
            self._is_busy = True
            work()
            self._weight -= weight

    def flush(self, seconds: float = _CLOSING) -> bool:
        """Wait until all work is done; return whether it was done in time."""
        end = time.monotonic() + seconds
        while self._pid == getpid() and (self._waiting or self._is_busy):
            left = end - time.monotonic()
            if left <= 0:
                return False
            with self._changed:
                if self._waiting or self._is_busy:
                    self._changed.wait(min(left, 0.05))
        return True
