"""Which lane is drained next. Two threads never have the same lane, and a lane that failed has a pause.

The caller gives the clock. It must never go back, as a wall clock may.
"""

from __future__ import annotations

from collections import deque
from threading import Condition
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds that a lane waits after a failure: first, and at most. Each further failure doubles the pause."""


class Agenda:
    """The lanes that have to be drained, in the order in which they were woken. Safe between threads.

    Args:
        clock: Returns seconds, and never goes back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._change = Condition()
        self._waiting: deque[int] = deque()
        self._in_hand: set[int] = set()
        self._woken_in_hand: set[int] = set()
        self._failures: dict[int, int] = {}
        self._not_before: dict[int, float] = {}
        self._is_closed = False

    def wake(self, lanes: Iterable[int]) -> None:
        """Note that lanes have rows that may go. A lane that is being drained is drained once more afterwards."""
        with self._change:
            now = self._clock()
            for lane in lanes:
                if lane in self._in_hand:
                    # The drain in hand may have looked before the row was committed.
                    self._woken_in_hand.add(lane)
                elif lane not in self._waiting and self._not_before.get(lane, now) <= now:
                    self._waiting.append(lane)
            self._change.notify_all()

    def take(self) -> int | None:
        """Wait for a lane, and take it in hand; None after `close`."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._is_closed)
            if self._is_closed:
                return None
            lane = self._waiting.popleft()
            self._in_hand.add(lane)
            return lane

    def done(self, lane: int, *, has_more: bool) -> None:
        """Put a lane out of hand, at the end of the queue if it has more rows that may go."""
        # At the end: a lane with many rows must not keep the others waiting.
        with self._change:
            self._in_hand.discard(lane)
            self._failures.pop(lane, None)
            self._not_before.pop(lane, None)
            if has_more or lane in self._woken_in_hand:
                self._waiting.append(lane)
            self._woken_in_hand.discard(lane)
            self._change.notify_all()

    def failed(self, lane: int) -> float:
        """Put a lane out of hand that could not be drained, and return the seconds before it may be woken again."""
        with self._change:
            self._in_hand.discard(lane)
            self._woken_in_hand.discard(lane)
            count = self._failures[lane] = self._failures.get(lane, 0) + 1
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(count - 1, 10))
            self._not_before[lane] = self._clock() + pause
            self._change.notify_all()
            return pause

    def close(self) -> None:
        """Give out no more lanes. Threads that wait in `take` get None."""
        with self._change:
            self._is_closed = True
            self._change.notify_all()
