"""How much a client may repeat itself, over all its calls.

Decided here: whether one more retry can be paid for. During an outage every call fails, and retries would multiply
the load by the number of attempts; with a budget they stop soon, and a success here and there earns them back. The
numbers are those of botocore's standard retry mode.
"""

from __future__ import annotations

from threading import Lock

CAPACITY = 500
RETRY_COST = 5
TIMEOUT_COST = 10
SUCCESS_GAIN = 1


class Budget:
    """The tokens that all calls of one client share; full at first. Safe to share between threads and tasks."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._tokens = capacity
        self._lock = Lock()

    @property
    def tokens(self) -> int:
        """What is left."""
        return self._tokens

    def take(self, cost: int) -> bool:
        """Pay for one retry, or return False and pay nothing."""
        with self._lock:
            if self._tokens < cost:
                return False
            self._tokens -= cost
            return True

    def give(self, gain: int = SUCCESS_GAIN) -> None:
        """Put tokens back after a success: one, or what its last retry had cost."""
        if self._tokens < self._capacity:
            with self._lock:
                self._tokens = min(self._capacity, self._tokens + gain)
