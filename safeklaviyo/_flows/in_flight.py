"""Calls of this process that are on their way to Klaviyo, so that a change of identifiers can let them land first.

An event that carries an old address and arrives after a change puts the old address back. A change therefore waits for
this process's own calls about that customer; those of other processes are found by `recheck_changes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._effects import Monotonic, Sleep

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo._effects import Flow

_PAUSE = 0.01


class InFlight:
    """Which calls about each customer are on their way. Safe between threads and tasks.

    Attributes:
        enter: Note a call: the key of the binding that it is about, and an object of its own.
        leave: Note it no more, whether or not it was noted. Both are one step, which no signal handler can cut in two.
    """

    __slots__ = ("_calls", "enter", "leave")

    def __init__(self) -> None:
        self._calls: set[tuple[str, object]] = set()
        self.enter: Callable[[tuple[str, object]], None] = self._calls.add
        self.leave: Callable[[tuple[str, object]], None] = self._calls.discard

    def has(self, key: str) -> bool:
        """Tell whether a call about that customer is on its way."""
        return any(key == each for each, _ in tuple(self._calls))

    def settle(self, key: str, seconds: float) -> Flow[None]:
        """Wait until no call about that customer is on its way, and at most so long."""
        if not self.has(key):
            return
        end = (yield from Monotonic()) + seconds
        while self.has(key) and (yield from Monotonic()) < end:
            yield from Sleep(_PAUSE)
