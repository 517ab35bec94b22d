"""Points: where an operation is after each sequence of results, and the effect that it yields there.

A generator cannot be copied, and starting it again for each schedule took most of the time of an exploration. But what
an operation does depends only on the results that it was sent. So these sequences form a tree, and each edge of the
tree is run once. Read next: `schedule`, in which the copies of a world share these trees.
"""

from __future__ import annotations

import pickle
from copy import copy
from typing import TYPE_CHECKING, Any, Literal

from safeklaviyo.errors import SafeKlaviyoError
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
    """

    __slots__ = ("_begin", "_flow", "_has_died", "_next", "_past", "_remembers", "effect", "ended", "error", "result")

    def __init__(
        self, begin: Callable[[], Flow[Any]], past: tuple[object, ...] = (None,), flow: Flow[Any] | None = None
    ) -> None:
        self._begin = begin
        self._past = past
        self._next: dict[bytes, Point] = {}
        self._has_died = False
        self._remembers: tuple[bytes | None] | None = None
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

    @property
    def remembers(self) -> bytes | None:
        """A digest of what the operation depends on from here; None if that cannot be read.

        It is read when it is first asked for, because no world stops at most points. Ask before the operation goes on
        or dies: the generator is gone then.
        """
        if self._remembers is None:
            self._remembers = (self._read(),)
        return self._remembers[0]

    def _read(self) -> bytes | None:
        try:
            if self.error is not None:
                return digest_of((type(self.error), self.error.outcome, str(self.error)))
            if self.effect is None:
                return digest_of(self.result)
            return None if self._flow is None else digest_of((self.effect, self._flow))
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
