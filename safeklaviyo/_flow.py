"""Flows and effects: how an operation says what is to be done, without doing it.

A *flow* is a generator that yields effects and is sent their results; a failed effect is thrown into it. A *shell*
(`_client`), the schedules of `safeklaviyo.testing` and plain tests drive flows, each in its own way, so that the same
code runs synchronously, asynchronously, and step by step through every interleaving and every crash.

`response = yield from Send(request)` is fully typed: an effect's iteration yields the effect and returns its result.
A flow sends and receives `object`, so a forgotten ``from`` is a type error.

Rules of flows: no ``yield`` inside ``finally`` or ``except BaseException`` (a cancelled flow is closed, never resumed;
what it held expires), no I/O, and an effect is carried out at most once for each time it is yielded.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

if TYPE_CHECKING:
    from safeklaviyo.identity import Identifier
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import (  # noqa: F401 - some stand in quotes, as what an effect results in
        AddStatus,
        AnyStore,
        BindOutcome,
        Change,
        Found,
        JournalRow,
        Lease,
        Match,
        Page,
    )

R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

Flow = Generator["Effect[object]", object, T]


class Effect(Generic[R_co]):
    """Something to be done by whoever drives the flow, and the type of its result."""

    __slots__ = ()

    def __iter__(self) -> Generator[Effect[object], object, R_co]:
        return cast("R_co", (yield self))


class Answer(Enum):
    """What an endpoint is documented to answer: anything else was not said by Klaviyo (`_answers.is_from_klaviyo`)."""

    DOCUMENT = "a JSON:API document with data"
    RECEIPT = "202 or 204 without a body, or a document"
    LEGACY_RECEIPT = "1, or 0"
    LEGACY_OBJECT = "a JSON object with an id"


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
        answer: What a success of it looks like.
    """

    name: str
    burst: int
    steady: int
    answer: Answer = Answer.DOCUMENT


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


@dataclass(frozen=True, repr=False)
class Response:
    """One HTTP answer, read whole.

    Attributes:
        headers: By lower-case name.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def json(self) -> object:
        """The body, parsed once and never changed; None where it is no JSON, such as a web page or half an answer."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

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


class StoreEffect(Effect[R_co]):
    """One call of the identity map. Throws `StoreUnavailableError` or `StoreIncompatibleError`."""

    __slots__ = ()

    @abstractmethod
    def on(self, store: AnyStore) -> Any:
        """Call the store: its result if it is synchronous, else an awaitable of it."""


@dataclass(frozen=True, slots=True)
class Find(StoreEffect["Found"]):
    """See `IdentityStore.find`."""

    account: str
    identifiers: tuple[Identifier, ...]

    def on(self, store: AnyStore) -> Any:
        return store.find(self.account, self.identifiers)


@dataclass(frozen=True, slots=True)
class Acquire(StoreEffect["Lease | None"]):
    """See `IdentityStore.acquire`."""

    account: str
    identifiers: frozenset[Identifier]
    intent: str
    ttl: float

    def on(self, store: AnyStore) -> Any:
        return store.acquire(self.account, self.identifiers, intent=self.intent, ttl=self.ttl)


@dataclass(frozen=True, slots=True)
class Renew(StoreEffect[bool]):
    """See `IdentityStore.renew`."""

    account: str
    token: int
    ttl: float
    intent: str | None = None

    def on(self, store: AnyStore) -> Any:
        return store.renew(self.account, self.token, ttl=self.ttl, intent=self.intent)


@dataclass(frozen=True, slots=True)
class Release(StoreEffect[bool]):
    """See `IdentityStore.release`."""

    account: str
    token: int

    def on(self, store: AnyStore) -> Any:
        return store.release(self.account, self.token)


@dataclass(frozen=True, slots=True)
class Bind(StoreEffect["BindOutcome"]):
    """See `IdentityStore.bind`."""

    account: str
    change: Change

    def on(self, store: AnyStore) -> Any:
        return store.bind(self.account, self.change)


@dataclass(frozen=True, slots=True)
class Remove(StoreEffect[bool]):
    """See `IdentityStore.remove`."""

    account: str
    identifier: Identifier

    def on(self, store: AnyStore) -> Any:
        return store.remove(self.account, self.identifier)


@dataclass(frozen=True, slots=True)
class Add(StoreEffect["tuple[AddStatus, ...]"]):
    """See `IdentityStore.add`."""

    account: str
    bindings: tuple[Binding, ...]

    def on(self, store: AnyStore) -> Any:
        return store.add(self.account, self.bindings)


@dataclass(frozen=True, slots=True)
class ListBindings(StoreEffect["Page"]):
    """See `IdentityStore.page`."""

    account: str
    after: str | None
    limit: int

    def on(self, store: AnyStore) -> Any:
        return store.page(self.account, after=self.after, limit=self.limit)


@dataclass(frozen=True, slots=True)
class Expired(StoreEffect["tuple[Lease, ...]"]):
    """See `IdentityStore.expired`."""

    account: str
    limit: int

    def on(self, store: AnyStore) -> Any:
        return store.expired(self.account, self.limit)


@dataclass(frozen=True, slots=True)
class Journal(StoreEffect["tuple[JournalRow, ...]"]):
    """See `IdentityStore.journal`."""

    account: str
    since: float
    after: int
    limit: int

    def on(self, store: AnyStore) -> Any:
        return store.journal(self.account, since=self.since, after=self.after, limit=self.limit)


@dataclass(frozen=True, slots=True)
class Former(StoreEffect["tuple[Match, ...]"]):
    """See `IdentityStore.former`."""

    account: str
    bindings: Sequence[Binding]

    def on(self, store: AnyStore) -> Any:
        return store.former(self.account, self.bindings)


@dataclass(frozen=True, slots=True)
class ForgetJournal(StoreEffect[int]):
    """See `IdentityStore.forget_journal`."""

    account: str
    key: str

    def on(self, store: AnyStore) -> Any:
        return store.forget_journal(self.account, self.key)


@dataclass(frozen=True, slots=True)
class ReleaseIdentifier(StoreEffect[bool]):
    """See `IdentityStore.release_identifier`."""

    account: str
    identifier: Identifier

    def on(self, store: AnyStore) -> Any:
        return store.release_identifier(self.account, self.identifier)


@dataclass(frozen=True, slots=True)
class Recall(StoreEffect["str | None"]):
    """See `IdentityStore.recall`."""

    account: str
    name: str

    def on(self, store: AnyStore) -> Any:
        return store.recall(self.account, self.name)


@dataclass(frozen=True, slots=True)
class Remember(StoreEffect[None]):
    """See `IdentityStore.remember`."""

    account: str
    name: str
    value: str | None

    def on(self, store: AnyStore) -> Any:
        return store.remember(self.account, self.name, self.value)
