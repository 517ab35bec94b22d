"""Calls of this process that are on their way to Klaviyo, so that a change of identifiers can let them land first.

An event that carries an old address and arrives after a change puts the old address back. A change therefore waits for
this process's own calls about that customer; those of other processes are found by `recheck_changes`.
"""

from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import TYPE_CHECKING

from safeklaviyo._flow import Monotonic, Sleep

if TYPE_CHECKING:
    from safeklaviyo._flow import Flow

_PAUSE = 0.01


class InFlight:
    """How many calls about each customer are on their way. Safe between threads and tasks."""

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()
        self._lock = Lock()

    def enter(self, key: str) -> None:
        """Count a call about the binding of that key."""
        with self._lock:
            self._calls[key] += 1

    def leave(self, key: str) -> None:
        """Count it no more."""
        with self._lock:
            self._calls[key] -= 1
            if not self._calls[key]:
                del self._calls[key]

    def settle(self, key: str, seconds: float) -> Flow[None]:
        """Wait until no call about that customer is on its way, and at most so long."""
        if key not in self._calls:
            return
        end = (yield from Monotonic()) + seconds
        while key in self._calls and (yield from Monotonic()) < end:
            yield from Sleep(_PAUSE)
