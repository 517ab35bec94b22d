"""Calls of this process that are on their way to Klaviyo, so that a change of identifiers can let them land first.

An event that carries an old address and arrives after a change puts the old address back. A change therefore waits for
this process's own calls about that customer (`waiting`); those of other processes are found by `recheck_changes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class InFlight:
    """Which calls about each customer are on their way. Safe between threads and tasks.

    Attributes:
        enter: Note a call: the key of the binding that it is about, and an object of its own.
        leave: Note it no more, whether or not it was noted. Both are one step, which no signal handler can cut in two.
    """

    __slots__ = ("_calls", "enter", "leave")

    def __init__(self) -> None:
        self._calls: set[tuple[str, object]] = set()
        # The methods of the set themselves: a Python function around them could be interrupted half way.
        self.enter: Callable[[tuple[str, object]], None] = self._calls.add
        self.leave: Callable[[tuple[str, object]], None] = self._calls.discard

    def has(self, key: str) -> bool:
        """Tell whether a call about that customer is on its way."""
        # A copy, because another thread may enter or leave in between.
        return any(key == each for each, _ in tuple(self._calls))
