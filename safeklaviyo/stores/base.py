"""The contract of the identity map: what a store keeps, and what each of its operations must do at once.

A store keeps, for each account apart: *bindings* (who is who now), *retired* identifiers (who was who before),
*leases* (who is writing, and what), a *journal* of changes, and a few *notes*. It decides nothing about identities;
the rules are in `_rules`.

Every operation is atomic: it happens wholly or not at all, and as if alone, whichever threads, processes and hosts
share the store. The rules that a store keeps:

1. Among the bindings of an account an external id, an email and a profile id each occur at most once.
2. An identifier is current or retired, never both, and retired from one binding at most. Binding it un-retires it.
3. No two leases of an account share an identifier, whether they have expired or not: an expired lease stays, with its
   intent, until somebody takes it over or releases it.
4. Tokens only rise. A token is valid until its lease is released or taken over; expiry alone does not end it, so a
   clock that jumps cannot fence a holder whom nobody has replaced.
5. Times come from the store's own clock, so hosts that share a store need not agree on theirs.

A store that cannot answer raises `StoreUnavailableError`, one that finds somebody else's data `StoreIncompatibleError`,
and one that cannot work as it is set up `ConfigurationError`, each with its first use at the earliest. It never answers
"nothing known" because of a failure. ``safeklaviyo.testing.contract`` holds the tests of all this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeklaviyo.identity import Identifier, Kind
    from safeklaviyo.models import Binding


@dataclass(frozen=True, slots=True)
class Match:
    """A binding that one of the identifiers asked for belongs to, or belonged to.

    Attributes:
        retired_at: When the identifier ceased to be current, in unix seconds; None while it is current.
    """

    identifier: Identifier
    binding: Binding
    retired_at: float | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to act on a set of identifiers, and what is about to be done with it.

    Attributes:
        token: Rises with each lease of the account.
        intent: What is about to be written, as the flow encoded it.
        remaining: Seconds until it expires; zero or less once it has.
        taken_over: This call took an expired lease over: finish its intent first.
    """

    token: int
    identifiers: frozenset[Identifier]
    intent: str
    remaining: float
    taken_over: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What the map knows about the identifiers asked for.

    Attributes:
        matches: At most one for each identifier asked for.
        lease: A lease, expired or not, that covers one of the identifiers asked for, or one that is current on a
            binding in `matches`; the one with the lowest token, if there are several.
        now: The store's clock, in unix seconds.
    """

    matches: tuple[Match, ...]
    lease: Lease | None
    now: float

    def current(self, kind: Kind) -> Binding | None:
        """Return the binding on which the identifier of that kind is current."""
        for match in self.matches:
            if match.identifier.kind is kind and match.retired_at is None:
                return match.binding
        return None

    def retired(self, kind: Kind) -> Match | None:
        """Return the match by which the identifier of that kind is a former one."""
        for match in self.matches:
            if match.identifier.kind is kind and match.retired_at is not None:
                return match
        return None


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One change to write down together with a binding.

    Attributes:
        verb: What changed it, such as ``"change_email"``.
    """

    verb: str
    old: str | None = None
    new: str | None = None


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One change as it was written down.

    Attributes:
        number: Rises with each row of the account.
        at: The store's clock then, in unix seconds.
        key: The binding's key.
        profile_id: The binding's profile then.
        external_id: The binding's external id then.
    """

    number: int
    at: float
    key: str
    profile_id: str | None
    external_id: str | None
    entry: JournalEntry


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the map.

    Attributes:
        binding: What is to stand in the map. With an empty `key` it is a new binding; otherwise it replaces the
            binding of that key, provided its `version` is still that one. The store counts the version up itself.
        verified: Klaviyo has just confirmed the pair: `verified_at` becomes the store's clock (otherwise the
            binding's own `verified_at` is kept as it stands).
        token: The lease under which this is done: must still be valid; the lease is released in the same step.
            None for a change that only the version protects.
        retire: Further identifiers to retire to this binding, as of now, except those that are current somewhere. An
            external id or email that the change replaces is retired anyway; a profile id is forgotten.
        absorb: Keys of bindings that become one with this one: they are removed, and what was theirs, current or
            retired, is retired to this binding, and their rows of the journal become this binding's. A key that is gone
            is passed over, and so is this binding's own.
        journal: What to write down.
    """

    binding: Binding
    verified: bool = True
    token: int | None = None
    retire: frozenset[Identifier] = frozenset()
    absorb: tuple[str, ...] = ()
    journal: JournalEntry | None = None


@dataclass(frozen=True, slots=True)
class BindOutcome:
    """What became of a change.

    Attributes:
        status: ``"bound"``; ``"fenced"``: the token is no longer valid; ``"stale"``: the binding's version is another
            one by now, or it is gone, or, for a new binding, one stands there already for the same pair;
            ``"conflict"``: its external id, email or profile id is current on another binding that it does not absorb.
            In all but the first nothing was changed.
        binding: What stands in the map now (``"bound"``), or the binding in the way (where there is one).
    """

    status: Literal["bound", "fenced", "stale", "conflict"]
    binding: Binding | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the bindings, in the order of their keys.

    Attributes:
        next: Where the next part begins; None after the last.
    """

    bindings: tuple[Binding, ...]
    next: str | None


AddStatus: TypeAlias = Literal["added", "unchanged", "conflict"]


class IdentityStore(ABC):
    """The identity map, synchronous. Safe for use by several threads."""

    @abstractmethod
    def find(self, account: str, identifiers: Sequence[Identifier]) -> Found:
        """Return what the map knows about these identifiers: one round trip, no write. This is the warm path."""

    @abstractmethod
    def acquire(self, account: str, identifiers: frozenset[Identifier], *, intent: str, ttl: float) -> Lease | None:
        """Take a lease on all the identifiers, or on none.

        Args:
            account: The account.
            identifiers: What to protect.
            intent: What will be written; kept durably before this returns.
            ttl: Seconds until the lease expires.

        Returns:
            The new lease. Or, if an expired lease holds one of the identifiers, even beside one that has not expired:
            that lease with its own identifiers and intent, under a new token, for `ttl` from now, with `taken_over`
            set (the lowest token first, if there are several). Or None, if only leases that have not expired do.
        """

    @abstractmethod
    def renew(self, account: str, token: int, *, ttl: float, intent: str | None = None) -> bool:
        """Let the lease live for `ttl` from now, with another intent if given; False if the token is not valid."""

    @abstractmethod
    def release(self, account: str, token: int) -> bool:
        """End the lease and forget its intent; False if the token is not valid."""

    @abstractmethod
    def bind(self, account: str, change: Change) -> BindOutcome:
        """Carry out one change: see `Change` and `BindOutcome`. The token is judged first, then version, uniqueness."""

    @abstractmethod
    def add(self, account: str, bindings: Sequence[Binding]) -> tuple[AddStatus, ...]:
        """Add many bindings in one transaction, each on its own merits, in the order given.

        A row is ``"unchanged"`` if one binding says all that it says already. It is ``"conflict"`` if its identifiers
        are current on several bindings, if it contradicts the one they are current on (in the external id, email,
        profile id or phone number), or if an identifier of the row or of that binding is under a lease. Else it is
        ``"added"``, with `verified_at` as given: as a new binding, or by filling in what the binding lacks, such as the
        external id of a guest. A row's `key` and `version` say nothing.
        """

    @abstractmethod
    def remove(self, account: str, identifier: Identifier) -> bool:
        """Forget the binding on which the identifier is current, with all that is retired from it; the journal keeps.

        Returns:
            False if there is none. A lease on it stays as it is.
        """

    @abstractmethod
    def release_identifier(self, account: str, identifier: Identifier) -> bool:
        """Forget that the identifier once belonged to somebody; False if it did not."""

    @abstractmethod
    def expired(self, account: str, limit: int) -> tuple[Lease, ...]:
        """Return the leases that have expired, lowest token first, without taking them over."""

    @abstractmethod
    def journal(self, account: str, *, since: float, after: int = 0, limit: int = 1000) -> tuple[JournalRow, ...]:
        """Return rows written at `since` or later with a number above `after`, lowest first."""

    @abstractmethod
    def forget_journal(self, account: str, key: str) -> int:
        """Delete the rows about the binding of that key, which may be gone, and return how many there were.

        The numbers of the rows that stay do not change, and no number is given twice.
        """

    @abstractmethod
    def page(self, account: str, *, after: str | None = None, limit: int = 1000) -> Page:
        """Return the bindings behind the given place: the cursor under every iteration.

        Args:
            account: The account.
            after: `Page.next` of the part before; None for the first part.
            limit: How many at most.

        Returns:
            A part. Whoever follows `Page.next` meets each binding that is there all the while exactly once, whatever
            else changes.
        """

    @abstractmethod
    def count(self, account: str) -> int:
        """Return the number of bindings."""

    @abstractmethod
    def recall(self, account: str, name: str) -> str | None:
        """Return the note of that name, or None."""

    @abstractmethod
    def remember(self, account: str, name: str, value: str | None) -> None:
        """Write a note, or with None forget it."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what was opened. May be called twice; a closed store raises `StoreUnavailableError`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncIdentityStore(ABC):
    """The identity map, asynchronous. The same contract as `IdentityStore`, awaited; only `aclose` is named apart."""

    @abstractmethod
    async def find(self, account: str, identifiers: Sequence[Identifier]) -> Found:
        """Same as `IdentityStore.find`."""

    @abstractmethod
    async def acquire(
        self, account: str, identifiers: frozenset[Identifier], *, intent: str, ttl: float
    ) -> Lease | None:
        """Same as `IdentityStore.acquire`."""

    @abstractmethod
    async def renew(self, account: str, token: int, *, ttl: float, intent: str | None = None) -> bool:
        """Same as `IdentityStore.renew`."""

    @abstractmethod
    async def release(self, account: str, token: int) -> bool:
        """Same as `IdentityStore.release`."""

    @abstractmethod
    async def bind(self, account: str, change: Change) -> BindOutcome:
        """Same as `IdentityStore.bind`."""

    @abstractmethod
    async def add(self, account: str, bindings: Sequence[Binding]) -> tuple[AddStatus, ...]:
        """Same as `IdentityStore.add`."""

    @abstractmethod
    async def remove(self, account: str, identifier: Identifier) -> bool:
        """Same as `IdentityStore.remove`."""

    @abstractmethod
    async def release_identifier(self, account: str, identifier: Identifier) -> bool:
        """Same as `IdentityStore.release_identifier`."""

    @abstractmethod
    async def expired(self, account: str, limit: int) -> tuple[Lease, ...]:
        """Same as `IdentityStore.expired`."""

    @abstractmethod
    async def journal(self, account: str, *, since: float, after: int = 0, limit: int = 1000) -> tuple[JournalRow, ...]:
        """Same as `IdentityStore.journal`."""

    @abstractmethod
    async def forget_journal(self, account: str, key: str) -> int:
        """Same as `IdentityStore.forget_journal`."""

    @abstractmethod
    async def page(self, account: str, *, after: str | None = None, limit: int = 1000) -> Page:
        """Same as `IdentityStore.page`."""

    @abstractmethod
    async def count(self, account: str) -> int:
        """Same as `IdentityStore.count`."""

    @abstractmethod
    async def recall(self, account: str, name: str) -> str | None:
        """Same as `IdentityStore.recall`."""

    @abstractmethod
    async def remember(self, account: str, name: str, value: str | None) -> None:
        """Same as `IdentityStore.remember`."""

    @abstractmethod
    async def aclose(self) -> None:
        """Same as `IdentityStore.close`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


AnyStore: TypeAlias = IdentityStore | AsyncIdentityStore
