"""When one call of a public operation ends.

Decided here: what is cut short by that end. A wait or a repeat that would not be over by then is not begun, and is
noted as cut short: the error that the caller gets then names the deadline.
"""

from __future__ import annotations

import math

ROUNDING = 0.01
"""Seconds before its end at which a deadline counts as over: a socket's time limit may end a little early."""


class Deadline:
    """The end of a call, on the monotonic clock.

    Attributes:
        ends_at: When it is; infinity for never.
        has_cut: A wait or a repeat was left out because of it.
    """

    __slots__ = ("ends_at", "has_cut")

    def __init__(self) -> None:
        self.ends_at = math.inf
        self.has_cut = False

    def start(self, at: float, seconds: float | None) -> None:
        """End so many seconds after a moment; None: never."""
        self.ends_at = math.inf if seconds is None else at + seconds
        self.has_cut = False

    def left(self, at: float) -> float | None:
        """Return the seconds that are left at a moment, never negative; None if there is no end."""
        return None if self.ends_at == math.inf else max(self.ends_at - at, 0.0)

    def is_over(self, at: float) -> bool:
        """Tell whether a moment is at the end, or after it."""
        return at >= self.ends_at - ROUNDING

    def cuts(self, at: float) -> bool:
        """Tell whether a moment is after the end, and note that something is left out then."""
        if at <= self.ends_at:
            return False
        self.has_cut = True
        return True
