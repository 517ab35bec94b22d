"""The simulator's clock: it stands until it is moved, or runs with the real one."""

from __future__ import annotations

import time


class Clock:
    """Unix seconds, as the pretend Klaviyo sees them.

    Args:
        start: Where a virtual clock stands at first; None for the real time of now.
        real: Whether it runs.
    """

    def __init__(self, start: float | None = None, *, real: bool = False) -> None:
        self._now = float(int(time.time())) if start is None else float(start)
        # What a running clock is ahead of the real one.
        self._ahead = self._now - time.time() if real and start is not None else 0.0
        self._real = real

    def now(self) -> float:
        """Return the time."""
        return time.time() + self._ahead if self._real else self._now

    def advance(self, seconds: float) -> None:
        """Move the clock.

        Raises:
            ValueError: Backwards.
        """
        if seconds < 0:
            raise ValueError("a clock goes forwards")
        self._now += seconds
        self._ahead += seconds
