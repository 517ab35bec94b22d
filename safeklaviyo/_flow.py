"""Flows and effects: how an operation says what is to be done, without doing it.

A *flow* is a generator that yields effects and is sent their results; a failed effect is thrown into it. A *shell*
(`_client`), the schedules of `safeklaviyo.testing` and plain tests drive flows, each in its own way, so that the same
code runs synchronously, asynchronously, and step by step through every interleaving and every crash. What is asked of a
store is asked by its calls (`stores.calls`), which are effects as they stand.

`response = yield from Send(request)` is fully typed: an effect's iteration yields the effect and returns its result.
A flow sends and receives `object`, so a forgotten ``from`` is a type error.

Rules of flows: no ``yield`` inside ``finally`` or ``except BaseException`` (a cancelled flow is closed, never resumed;
what it held expires), no I/O, and an effect is carried out at most once for each time it is yielded.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from safeklaviyo._effect import Effect
from safeklaviyo.stores.calls import (
    Acquire,
    Add,
    Bind,
    Expired,
    Find,
    ForgetJournal,
    Former,
    Journal,
    ListBindings,
    Recall,
    Release,
    ReleaseIdentifier,
    Remember,
    Remove,
    Renew,
)
from safeklaviyo.stores.calls import Call as StoreEffect

__all__ = [
    "Acquire",
    "Add",
    "Bind",
    "Effect",
    "Endpoint",
    "Expired",
    "Find",
    "Flow",
    "ForgetJournal",
    "Former",
    "Journal",
    "ListBindings",
    "Monotonic",
    "NewId",
    "Now",
    "Recall",
    "Release",
    "ReleaseIdentifier",
    "Remember",
    "Remove",
    "Renew",
    "Repeat",
    "Request",
    "Response",
    "Send",
    "Sleep",
    "StoreEffect",
]

T = TypeVar("T")

Flow = Generator["Effect[object]", object, T]


class Repeat(Enum):
    """What repeating a request after a failure can do, which decides whether it is repeated (`_retry`)."""

    READ = "read"
    IDEMPOTENT = "idempotent write"
    KEYED = "keyed event"
    ONCE = "non-idempotent write"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint of Klaviyo, and how often it may be called (Klaviyo's rate limits: fixed windows, per account).

    Attributes:
        burst: Requests in a second.
        steady: Requests in a minute.
    """

    name: str
    burst: int
    steady: int


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """One HTTP request, before it has a host, a key or a timeout.

    Attributes:
        path: Absolute and already percent-encoded, with the query if there is one.
        body: The encoded body, or None.
        content_type: The body's type.
    """

    method: str
    path: str
    endpoint: Endpoint
    repeat: Repeat
    body: bytes | None = None
    content_type: str = "application/vnd.api+json"

    def __repr__(self) -> str:
        # The path's query and the body hold personal data.
        return f"Request({self.method} {self.path.partition('?')[0]})"


@dataclass(frozen=True, slots=True, repr=False)
class Response:
    """One HTTP answer, read whole.

    Attributes:
        headers: By lower-case name.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Response({self.status})"


@dataclass(frozen=True, slots=True)
class Send(Effect[Response]):
    """Send one request, once. Throws `NotSentError` or `NoResponseError`."""

    request: Request


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
class NewId(Effect[str]):
    """A new unique text of at most 64 characters."""
