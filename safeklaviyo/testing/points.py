"""Points: what an operation asks for next, after each history of what it was told.

A generator cannot be copied, and to run it anew for each schedule took most of the time of an exploration. What an
operation does depends only on what it was told, so its histories form a tree, and each edge of the tree is run once.
Read next: `schedule`, whose worlds share these trees.
"""

from __future__ import annotations

import pickle
from copy import copy
from typing import TYPE_CHECKING, Any, Literal

from safeklaviyo.errors import SafeKlaviyoError

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo._effects import Effect, Flow


class Point:
    """An operation after one history.

    Args:
        begin: Starts the operation from the beginning; the same each time.
        past: What the operation was told: results, and the errors that were thrown into it.
        flow: The generator that was told all of `past` but the last; None to begin one.

    Attributes:
        effect: What the operation asks for next; None once it has ended.
        ended: How it ended.
        result: What it returned.
        error: What it raised.
    """

    __slots__ = ("_begin", "_flow", "_has_died", "_next", "_past", "effect", "ended", "error", "result")

    def __init__(
        self, begin: Callable[[], Flow[Any]], past: tuple[object, ...] = (None,), flow: Flow[Any] | None = None
    ) -> None:
        self._begin = begin
        self._past = past
        self._next: dict[bytes, Point] = {}
        self._has_died = False
        self.effect: Effect[object] | None = None
        self.ended: Literal["running", "returned", "raised"] = "running"
        self.result: Any = None
        self.error: SafeKlaviyoError | None = None
        self._flow: Flow[Any] | None = flow or begin()
        try:
            self.effect = _tell(self._flow, past[-1])
        except StopIteration as stop:
            self.ended, self.result = "returned", stop.value
        except SafeKlaviyoError as error:
            self.ended, self.error = "raised", error

    def after(self, told: object) -> Point:
        """Return the point that one more answer leads to."""
        key = pickle.dumps(told)
        found = self._next.get(key)
        if found is None:
            found = self._next[key] = Point(self._begin, (*self._past, told), self._standing())
        return found

    def die(self) -> None:
        """Close the operation here, as its process does when it ends."""
        if not self._has_died:
            self._standing().close()
            self._has_died = True

    def _standing(self) -> Flow[Any]:
        """Take the generator that stands here. Once it has gone on, bring a new one here."""
        flow, self._flow = self._flow, None
        if flow is None:
            flow = self._begin()
            for told in self._past:
                _tell(flow, told)
        return flow


def _tell(flow: Flow[Any], told: object) -> Effect[object]:
    # An operation writes on an error that it lets through, so each generator is thrown a copy of its own.
    return flow.throw(copy(told)) if isinstance(told, SafeKlaviyoError) else flow.send(told)
