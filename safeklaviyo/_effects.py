"""Flows and effects: how an operation says what is to be done, without doing it.

A *flow* is a generator that yields effects and is sent their results; a failed effect is thrown into it. The shells
(`_runtime`), the schedules of `safeklaviyo.testing` and plain tests drive flows, each in its own way, so that the same
code runs synchronously, asynchronously, and step by step through every interleaving and every crash.

`response = yield from Send(request)` is fully typed: an effect's iteration yields the effect and returns its result.
A flow sends and receives `object`, so a forgotten ``from`` is a type error. The calls of a store (`stores.calls`) are
effects too.

Rules of flows: no ``yield`` inside ``finally`` or ``except BaseException`` (a cancelled flow is closed, never resumed;
what it held expires), no I/O, and an effect is carried out at most once for each time it is yielded.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from safeklaviyo._api.messages import Request, Response

R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

Flow = Generator["Effect[object]", object, T]


class Effect(Generic[R_co]):
    """Something that the driver of the flow is to do, and the type of its result."""

    __slots__ = ()

    def __iter__(self) -> Generator[Effect[object], object, R_co]:
        return cast("R_co", (yield self))


@dataclass(frozen=True, slots=True)
class Send(Effect[Response]):
    """Send one request, once. Throws `NotSentError` or `NoResponseError`.

    Attributes:
        within: Seconds that the attempt may take, where that is less than the client's timeout; None for no less.
    """

    request: Request
    within: float | None = None


@dataclass(frozen=True, slots=True)
class Sleep(Effect[None]):
    """Wait.

    Attributes:
        seconds: How long; never negative.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class Now(Effect[float]):
    """The wall clock, in unix seconds: for what is written down."""


@dataclass(frozen=True, slots=True)
class Monotonic(Effect[float]):
    """A clock that never jumps, in seconds from an unknown start: for measuring how long something took."""


@dataclass(frozen=True, slots=True)
class StartDeadline(Effect[float]):
    """Start the time that the work which follows may take, the store's too. Returns the time of `Monotonic`.

    Attributes:
        seconds: How long; None for no limit.
    """

    seconds: float | None


@dataclass(frozen=True, slots=True)
class NewId(Effect[str]):
    """A new unique text of at most 64 characters."""
