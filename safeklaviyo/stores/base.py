"""The contract of the identity map: what a store keeps, and what each of its operations must do at once.

A store keeps, separately for each account:

- *bindings*: which external id, email and profile id belong together now;
- *retired* identifiers: which binding an identifier belonged to before;
- *leases*: which identifiers a call is writing about, and what it is about to write (its intent);
- a *journal* of changes, and a few *notes*.

A store decides nothing about identities; the rules are in `_rules`.

Every operation is atomic, also between threads, processes and hosts that share the store: the whole operation happens
or nothing does, and no other operation runs in between. The rules that a store keeps:

1. Among the bindings of an account an external id, an email and a profile id each occur at most once.
2. An identifier is current or retired, never both, and retired from one binding at most. Binding it un-retires it.
3. No two leases of an account share an identifier, also where they have expired: an expired lease stays, with its
   intent, until a call takes it over or releases it.
4. Tokens only rise. A token is valid until its lease is released or taken over. Expiry alone does not end it, so a
   clock that jumps cannot fence a holder that no other call has replaced.
5. Times come from the store's own clock, so the clocks of hosts that share a store may differ.

A store raises, with its first use at the earliest:

- `StoreUnavailableError`: the store cannot answer. A store never answers "nothing found" because of a failure (P6).
- `StoreIncompatibleError`: the data that the store finds is not a map of this version.
- `ConfigurationError`: the store cannot work as it is set up.

``safeklaviyo.testing.contract`` tests each sentence of this contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self, TypeAlias, TypeVar

from safeklaviyo._tracebacks import discreet
from safeklaviyo.stores import calls
from safeklaviyo.stores.records import (
    AddStatus,
    BindOutcome,
    Change,
    Found,
    JournalEntry,
    JournalRow,
    Lease,
    Match,
    Notes,
    Page,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeklaviyo.identity import Identifier
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.calls import Call

__all__ = [
    "AddStatus",
    "AnyStore",
    "AsyncIdentityStore",
    "BindOutcome",
    "Change",
    "Found",
    "IdentityStore",
    "JournalEntry",
    "JournalRow",
    "Lease",
    "Match",
    "Notes",
    "Page",
]


T = TypeVar("T")


@discreet
class IdentityStore(ABC):
    """The identity map, synchronous. Safe for use by several threads.

    A store implements `perform` and `close`. It may override a method besides: flows call the methods.
    """

    @abstractmethod
    def perform(self, call: Call[T]) -> T:
        """Carry out one of the calls below, as its method says.

        Raises:
            StoreUnavailableError: The map cannot answer now; a change may have been made or not.
            StoreIncompatibleError: The data that stands where the map should be is not a map of this version.
            ConfigurationError: The store cannot work as it is set up.
        """

    def find(self, account: str, identifiers: Sequence[Identifier]) -> Found:
        """Return the bindings and the lease that these identifiers lead to.

        One round trip, no write: this is all that a call about a bound customer asks of the store.
        """
        return self.perform(calls.Find(account, identifiers))

    def acquire(self, account: str, identifiers: frozenset[Identifier], *, intent: str, ttl: float) -> Lease | None:
        """Take a lease on all the identifiers, or on none.

        Args:
            account: The account.
            identifiers: What to protect.
            intent: What will be written; kept durably before this returns.
            ttl: Seconds until the lease expires, at most 600. A store may end a longer one sooner.

        Returns:
            One of

            - the new lease, if no lease holds any of the identifiers;
            - an expired lease that holds one of them, taken over: with its own identifiers and intent, under a new
              token, for `ttl` from now, and with `taken_over` set. Of several it is the one with the lowest token, and
              leases that have not expired do not matter then;
            - None, if leases hold some of them and none has expired.
        """
        return self.perform(calls.Acquire(account, identifiers, intent, ttl))

    def renew(self, account: str, token: int, *, ttl: float, intent: str | None = None) -> bool:
        """Extend the lease to `ttl` from now, and replace its intent if given; False if the token is not valid."""
        return self.perform(calls.Renew(account, token, ttl, intent))

    def release(self, account: str, token: int) -> bool:
        """End the lease and forget its intent; False if the token is not valid."""
        return self.perform(calls.Release(account, token))

    def bind(self, account: str, change: Change) -> BindOutcome:
        """Carry out one change: see `Change` and `BindOutcome`. Checks the token, then the version, then uniqueness."""
        return self.perform(calls.Bind(account, change))

    def add(self, account: str, bindings: Sequence[Binding]) -> tuple[AddStatus, ...]:
        """Add many bindings in one transaction, in the order given. A row that is refused stops no other row.

        A row's `key` and `version` are ignored. What becomes of it:

        - ``"unchanged"``: one binding has all values of the row already.
        - ``"conflict"``: its identifiers are current on several bindings; or the row contradicts the binding that has
          them (in the external id, email, profile id or phone number); or an identifier of the row or of that binding
          is under a lease.
        - ``"added"``, with `verified_at` as given: the row became a new binding, or filled in what a binding lacked,
          such as the external id of a guest.
        """
        return self.perform(calls.Add(account, bindings))

    def remove(self, account: str, identifier: Identifier, *, token: int | None = None) -> bool:
        """Remove the binding on which the identifier is current, and all that is retired from that binding.

        The journal keeps its rows.

        Args:
            account: The account.
            identifier: An identifier that is current on the binding to forget.
            token: The lease under which this is done, which stays as it is; None for no lease.

        Returns:
            False if there is no such binding, or the token is not valid. Nothing was changed then.
        """
        return self.perform(calls.Remove(account, identifier, token))

    def release_identifier(self, account: str, identifier: Identifier) -> bool:
        """Forget that the identifier is retired; False if it is not."""
        return self.perform(calls.ReleaseIdentifier(account, identifier))

    def expired(self, account: str, limit: int) -> tuple[Lease, ...]:
        """Return the leases that have expired, lowest token first, without taking them over."""
        return self.perform(calls.Expired(account, limit))

    def leases(self, account: str, limit: int) -> tuple[Lease, ...]:
        """Return the leases, whether they have expired or not, lowest token first."""
        return self.perform(calls.Leases(account, limit))

    def journal(self, account: str, *, since: float, after: int = 0, limit: int = 1000) -> tuple[JournalRow, ...]:
        """Return rows written at `since` or later with a number above `after`, lowest first."""
        return self.perform(calls.Journal(account, since, after, limit))

    def forget_journal(self, account: str, key: str) -> int:
        """Delete the rows about the binding of that key, which may be gone, and return how many there were.

        The numbers of the rows that stay do not change, and no number is given twice.
        """
        return self.perform(calls.ForgetJournal(account, key))

    def page(self, account: str, *, after: str | None = None, limit: int = 1000) -> Page:
        """Return one part of the bindings, in the order of their keys.

        Args:
            account: The account.
            after: `Page.next` of the part before; None for the first part.
            limit: How many at most.

        Returns:
            A part. A caller that follows `Page.next` to the end gets each binding that exists from the first part to
            the last exactly once, also while others are added or removed.
        """
        return self.perform(calls.ListBindings(account, after, limit))

    def bindings(self, account: str, keys: Sequence[str]) -> tuple[Binding, ...]:
        """Return the bindings of these keys, each once, in any order; a key without a binding is skipped."""
        return self.perform(calls.ReadBindings(account, keys))

    def former(self, account: str, bindings: Sequence[Binding]) -> tuple[Match, ...]:
        """Return what is retired from these bindings, in any order. Only the `key` of each binding is used."""
        return self.perform(calls.Former(account, bindings))

    def restore(self, account: str, former: Sequence[Match]) -> int:
        """Retire identifiers of another map here, as of the time that each match says, in one transaction.

        Each identifier is retired from the local binding that has, as the match's binding has,

        - the same current external id;
        - the same current email, where the match's binding has no external id;
        - the same current profile id, where the match's binding has neither.

        An identifier is skipped if there is no such binding, or if it is current or retired here already.

        Returns:
            How many were retired.
        """
        return self.perform(calls.Restore(account, former))

    def restore_journal(self, account: str, rows: Sequence[tuple[Binding, JournalRow]]) -> int:
        """Copy rows of another map's journal into this one, in the order given and in one transaction.

        Each row comes with the binding that it is about in the other map. It is attached to the local binding that has
        the same current identifiers. Rows without such a binding, and exact duplicates, are skipped. A row keeps its
        time and gets a new number, so a higher number may be older.

        Returns:
            How many rows were copied.
        """
        return self.perform(calls.RestoreJournal(account, rows))

    def count(self, account: str) -> int:
        """Return the number of bindings."""
        return self.perform(calls.Count(account))

    def recall(self, account: str, name: str) -> str | None:
        """Return the note of that name, or None."""
        return self.perform(calls.Recall(account, name))

    def remember(
        self, account: str, name: str, value: str | None, *, token: int | None = None, new: bool = False
    ) -> bool:
        """Write a note, or with None delete it.

        Args:
            account: The account.
            name: The note's name.
            value: What it says from now on.
            token: Do it only while this token is valid.
            new: Write it only if there is no note of that name.

        Returns:
            Whether it was done.
        """
        return self.perform(calls.Remember(account, name, value, token, new))

    def notes(self, account: str, *, after: str | None = None, limit: int = 1000) -> Notes:
        """Return one part of the notes, about as many as `limit` says.

        A caller that follows `Notes.next` to the end gets each note that exists from the first part to the last at
        least once.
        """
        return self.perform(calls.ListNotes(account, after, limit))

    def each(self, account: str, several: Sequence[Call[T]]) -> tuple[T, ...]:  # noqa: ARG002 - each call has it
        """Make calls about one account, in order. Each is atomic; if this raises, some may have been made."""
        return tuple([call.on(self) for call in several])

    @abstractmethod
    def close(self) -> None:
        """Close files and connections. May be called twice; a closed store raises `StoreUnavailableError`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@discreet
class AsyncIdentityStore(ABC):
    """The identity map, asynchronous: the contract of `IdentityStore`, awaited. `aclose` is its `close`."""

    @abstractmethod
    async def perform(self, call: Call[T]) -> T:
        """Same as `IdentityStore.perform`."""

    async def find(self, account: str, identifiers: Sequence[Identifier]) -> Found:
        """Same as `IdentityStore.find`."""
        return await self.perform(calls.Find(account, identifiers))

    async def acquire(
        self, account: str, identifiers: frozenset[Identifier], *, intent: str, ttl: float
    ) -> Lease | None:
        """Same as `IdentityStore.acquire`."""
        return await self.perform(calls.Acquire(account, identifiers, intent, ttl))

    async def renew(self, account: str, token: int, *, ttl: float, intent: str | None = None) -> bool:
        """Same as `IdentityStore.renew`."""
        return await self.perform(calls.Renew(account, token, ttl, intent))

    async def release(self, account: str, token: int) -> bool:
        """Same as `IdentityStore.release`."""
        return await self.perform(calls.Release(account, token))

    async def bind(self, account: str, change: Change) -> BindOutcome:
        """Same as `IdentityStore.bind`."""
        return await self.perform(calls.Bind(account, change))

    async def add(self, account: str, bindings: Sequence[Binding]) -> tuple[AddStatus, ...]:
        """Same as `IdentityStore.add`."""
        return await self.perform(calls.Add(account, bindings))

    async def remove(self, account: str, identifier: Identifier, *, token: int | None = None) -> bool:
        """Same as `IdentityStore.remove`."""
        return await self.perform(calls.Remove(account, identifier, token))

    async def release_identifier(self, account: str, identifier: Identifier) -> bool:
        """Same as `IdentityStore.release_identifier`."""
        return await self.perform(calls.ReleaseIdentifier(account, identifier))

    async def expired(self, account: str, limit: int) -> tuple[Lease, ...]:
        """Same as `IdentityStore.expired`."""
        return await self.perform(calls.Expired(account, limit))

    async def leases(self, account: str, limit: int) -> tuple[Lease, ...]:
        """Same as `IdentityStore.leases`."""
        return await self.perform(calls.Leases(account, limit))

    async def journal(self, account: str, *, since: float, after: int = 0, limit: int = 1000) -> tuple[JournalRow, ...]:
        """Same as `IdentityStore.journal`."""
        return await self.perform(calls.Journal(account, since, after, limit))

    async def forget_journal(self, account: str, key: str) -> int:
        """Same as `IdentityStore.forget_journal`."""
        return await self.perform(calls.ForgetJournal(account, key))

    async def page(self, account: str, *, after: str | None = None, limit: int = 1000) -> Page:
        """Same as `IdentityStore.page`."""
        return await self.perform(calls.ListBindings(account, after, limit))

    async def bindings(self, account: str, keys: Sequence[str]) -> tuple[Binding, ...]:
        """Same as `IdentityStore.bindings`."""
        return await self.perform(calls.ReadBindings(account, keys))

    async def former(self, account: str, bindings: Sequence[Binding]) -> tuple[Match, ...]:
        """Same as `IdentityStore.former`."""
        return await self.perform(calls.Former(account, bindings))

    async def restore(self, account: str, former: Sequence[Match]) -> int:
        """Same as `IdentityStore.restore`."""
        return await self.perform(calls.Restore(account, former))

    async def restore_journal(self, account: str, rows: Sequence[tuple[Binding, JournalRow]]) -> int:
        """Same as `IdentityStore.restore_journal`."""
        return await self.perform(calls.RestoreJournal(account, rows))

    async def count(self, account: str) -> int:
        """Same as `IdentityStore.count`."""
        return await self.perform(calls.Count(account))

    async def recall(self, account: str, name: str) -> str | None:
        """Same as `IdentityStore.recall`."""
        return await self.perform(calls.Recall(account, name))

    async def remember(
        self, account: str, name: str, value: str | None, *, token: int | None = None, new: bool = False
    ) -> bool:
        """Same as `IdentityStore.remember`."""
        return await self.perform(calls.Remember(account, name, value, token, new))

    async def notes(self, account: str, *, after: str | None = None, limit: int = 1000) -> Notes:
        """Same as `IdentityStore.notes`."""
        return await self.perform(calls.ListNotes(account, after, limit))

    async def each(self, account: str, several: Sequence[Call[T]]) -> tuple[T, ...]:  # noqa: ARG002 - as above
        """Same as `IdentityStore.each`."""
        return tuple([await call.on(self) for call in several])

    @abstractmethod
    async def aclose(self) -> None:
        """Same as `IdentityStore.close`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


AnyStore: TypeAlias = IdentityStore | AsyncIdentityStore
