"""Flows and effects: an operation yields what is to be done, and its driver does it.

A *flow* is a generator. It yields effects and is sent their results; the error of a failed effect is thrown into it.
The shells (`_runtime`), the schedules of `safeklaviyo.testing` and plain tests drive flows, each in its own way. So the
same code runs synchronously, asynchronously, and step by step through every interleaving and every crash.

`response = yield from Send(request)` is fully typed: an effect's iteration yields the effect and returns its result.
A flow yields and is sent `object`, so a forgotten ``from`` is a type error. The calls of a store (`stores.calls`) are
effects too.

Rules of flows:

- no ``yield`` inside ``finally`` or ``except BaseException``: a cancelled flow is closed, never resumed, and the leases
  that it held expire;
- no I/O;
- a driver carries an effect out at most once for each time that it is yielded.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, cast

from safeklaviyo._api.messages import Request, Response

if TYPE_CHECKING:
    from safeklaviyo.errors import Outcome
    from safeklaviyo.models import Decision

R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

Flow = Generator["Effect[object]", object, T]


class Effect(Generic[R_co]):
    """Something that the flow's driver does, with a result of type `R_co`."""

    __slots__ = ()

    def __iter__(self) -> Generator[Effect[object], object, R_co]:
        # The only cast: a driver has to send each effect a result of its type.
        return cast("R_co", (yield self))


@dataclass(frozen=True, slots=True)
class Send(Effect[Response]):
    """Send one request, once. Throws `NotSentError` or `NoResponseError`.

    Attributes:
        within: Seconds that the attempt may take, where that is less than the client's timeout; None for no less.
        resend: How many attempts of the same request were made before.
    """

    request: Request
    within: float | None = None
    resend: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Sleep(Effect[None]):
    """Wait.

    Attributes:
        seconds: How long; never negative.
        reason: What for, to be shown.
    """

    seconds: float
    reason: Literal["lease", "visibility", "pacing", "retry"] = field(default="visibility", compare=False)


@dataclass(frozen=True, slots=True)
class Now(Effect[float]):
    """The wall clock, in unix seconds: for times that are stored or sent."""


@dataclass(frozen=True, slots=True)
class Monotonic(Effect[float]):
    """A clock that never jumps, in seconds from an arbitrary start: for measuring how long something took."""


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


@dataclass(frozen=True, slots=True)
class Decided(Effect[None]):
    """Let those who observe the client know what the rules have decided. Yielded only if some do."""

    decision: Decision


@dataclass(frozen=True, slots=True)
class Concluded(Effect[None]):
    """Let those who observe the client know how an operation has ended. Yielded only if some do.

    Attributes:
        operation: Its name, as in the log.
        outcome: What became of its writes.
        rule: The rule that decided; None where none did.
    """

    operation: str
    outcome: Outcome
    rule: str | None
