"""The retry budget of a client, over all its calls.

Decided here: whether the budget pays for one more retry. During an outage every call fails, and retries would multiply
the load by the number of attempts. With a budget they soon stop, and each success pays a little back. The numbers are
those of botocore's standard retry mode.
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
        """The tokens that are left."""
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
        # Read without the lock, because the budget is nearly always full. A stale value costs a token at most.
        if self._tokens < self._capacity:
            with self._lock:
                self._tokens = min(self._capacity, self._tokens + gain)
