"""Points: where an operation is after each sequence of results, and the effect that it yields there.

A generator cannot be copied, and starting it again for each schedule took most of the time of an exploration. But what
an operation does depends only on the results that it was sent. So these sequences form a tree, and each edge of the
tree is run once. Read next: `schedule`, in which the copies of a world share these trees.
"""

from __future__ import annotations

import pickle
from copy import copy
from typing import TYPE_CHECKING, Any, Literal

from safeklaviyo._effects import Sleep
from safeklaviyo.errors import SafeKlaviyoError
from safeklaviyo.stores.calls import Find
from safeklaviyo.testing.frames import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo._effects import Effect, Flow


class Point:
    """An operation after one sequence of results.

    Args:
        begin: Starts the operation from the beginning; the same operation each time.
        past: The results that the operation was sent, and the errors that were thrown into it, in order.
        flow: The generator that was sent all of `past` except the last; None to begin one.

    Attributes:
        effect: The effect that the operation yields next; None once it has ended.
        ended: How it ended.
        result: What it returned.
        error: What it raised.
        remembers: A digest of what the operation depends on from here, where it sleeps, asks the map, or has ended.
            None elsewhere, and where that cannot be read.
    """

    __slots__ = ("_begin", "_flow", "_has_died", "_next", "_past", "effect", "ended", "error", "remembers", "result")

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
            self.effect = _resume(self._flow, past[-1])
        except StopIteration as stop:
            self.ended, self.result = "returned", stop.value
        except SafeKlaviyoError as error:
            self.ended, self.error = "raised", error
        self.remembers = self._remembered()

    def _remembered(self) -> bytes | None:
        """Return the digest, now that the generator is here: the first branch takes it away."""
        try:
            if self.error is not None:
                return digest_of((type(self.error), self.error.outcome, str(self.error)))
            if self.effect is None:
                return digest_of(self.result)
            return digest_of((self.effect, self._flow)) if isinstance(self.effect, Sleep | Find) else None
        except TypeError:
            return None

    def after(self, result: object) -> Point:
        """Return the point that one more result leads to."""
        # Pickled, because results such as a response cannot be hashed, and equal pickles are equal results.
        key = pickle.dumps(result)
        found = self._next.get(key)
        if found is None:
            found = self._next[key] = Point(self._begin, (*self._past, result), self._take_flow())
        return found

    def die(self) -> None:
        """Close the operation here, as its process does when it ends."""
        if not self._has_died:
            self._take_flow().close()
            self._has_died = True

    def _take_flow(self) -> Flow[Any]:
        """Return a generator that is at this point, for the caller to resume or close."""
        flow, self._flow = self._flow, None
        # The first branch takes the generator that made this point. For each further branch a new generator is started
        # and sent the same results.
        if flow is None:
            flow = self._begin()
            for result in self._past:
                _resume(flow, result)
        return flow


def _resume(flow: Flow[Any], result: object) -> Effect[object]:
    # A copy, because an operation sets attributes of an error that passes through it, and other branches throw it too.
    return flow.throw(copy(result)) if isinstance(result, SafeKlaviyoError) else flow.send(result)
