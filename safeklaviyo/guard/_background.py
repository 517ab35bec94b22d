"""Work beside the shop's calls: looks into the map that may take a bounded time, and what is written down later.

A map or a disk that does not answer holds up a thread of the guard's own, and no call of the shop's.
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
    """Looks into a map, one after another in one thread, each of which its caller waits for no longer than it says."""

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
            if self._since <= until:
                try:
                    done.put((work(),))
                except Exception as error:  # noqa: BLE001 - raised where it is waited for
                    done.put(error)
            self._since = None


class Later:
    """What is done later, in one thread: a bounded number of things, beyond which they are dropped and counted.

    Args:
        most: How many things may wait.
        heaviest: How heavy all of them may be together, in bytes.
        dropped: Called for each thing that is dropped.
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
        """Have some work done later. It must not raise.

        Args:
            weight: The bytes that it keeps in memory until then.
        """
        if self._pid != getpid():
            self._waiting, self._pid, self._changed, self._weight = deque(), getpid(), Condition(), 0
            Thread(target=self._run, name="safeklaviyo-guard-log", daemon=True).start()
        if len(self._waiting) >= self._most or self._weight + weight > self._heaviest:
            self._dropped()
            return
        self._weight += weight
        self._waiting.append((work, weight))
        # No waiting for a lock here: the thread looks by itself a little later.
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
        """Wait until nothing waits any more; return whether that came about in time."""
        end = time.monotonic() + seconds
        while self._pid == getpid() and (self._waiting or self._is_busy):
            left = end - time.monotonic()
            if left <= 0:
                return False
            with self._changed:
                if self._waiting or self._is_busy:
                    self._changed.wait(min(left, 0.05))
        return True
