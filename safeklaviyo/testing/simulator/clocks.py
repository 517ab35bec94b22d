"""The simulator's clock: a virtual clock that a test advances, or one that runs with the real time."""

from __future__ import annotations

import time


class Clock:
    """Unix seconds, as the pretend Klaviyo sees them.

    Args:
        start: The first time that the clock shows; None for now.
        real: Whether the clock runs.
    """

    def __init__(self, start: float | None = None, *, real: bool = False) -> None:
        # Whole seconds, because Klaviyo shows most times so, and a test compares them.
        self._now = float(int(time.time())) if start is None else float(start)
        # How far a running clock is ahead of the real one.
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
