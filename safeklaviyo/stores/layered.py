"""A small cache in each process over a map that many share, for the warm path alone.

Decided here: what may be remembered, and for how long. Only one sort of answer is: every identifier asked for is
current on one binding, and no lease covers it. "Nobody", a retired identifier, a lease, and every other operation come
from the shared map, and whatever this process changes or tries to change about a customer makes it forget them.

Why that weakens no promise: an answer from the cache is at most `max_age` old, so that whoever acts on it does what a
caller does who asked the shared map and was then slow for that long. The rules and the leases have to bear such callers
anyway (P1-P5): a lease is taken, and a change is judged, in the shared map alone, by a version and a token; whoever is
refused there is no longer answered from the cache, and looks again. What a slow caller can do, a cached one can: an
`identify` goes to the profile by its id and carries no identifier, and an event that names the pair may carry an
address that another process changed up to `max_age` ago, which `recheck_changes` finds, as it finds the events that
Klaviyo itself delays. While the shared map is away, customers asked for lately are still found, for as long.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from os import getpid
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from safeklaviyo.errors import ConfigurationError
from safeklaviyo.stores._ledger import owned
from safeklaviyo.stores.base import AsyncIdentityStore, Found, IdentityStore, Match

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from safeklaviyo.identity import Identifier
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import AddStatus, BindOutcome, Change, JournalRow, Lease, Notes, Page

MAX_AGE = 2.0
MAX_ENTRIES = 10_000

_Name: TypeAlias = "tuple[str, Identifier | str]"


class _Entry(NamedTuple):
    """A binding as it was found.

    Attributes:
        at: When it was asked for, by a clock that never jumps.
        now: The shared map's clock then.
    """

    binding: Binding
    at: float
    now: float


class _Cache:
    """The bindings found lately, by all that is current on them and by their keys. Safe between threads."""

    def __init__(self, max_age: float, max_entries: int, clock: Callable[[], float]) -> None:
        if not max_age > 0 or max_entries < 1:
            raise ConfigurationError("max_age has to be above 0 seconds, and max_entries above 0")
        self.clock = clock
        self.changes = 0
        self._max_age = max_age
        self._max_entries = max_entries
        self._locks: dict[int, Lock] = {}
        self._entries: dict[_Name, _Entry] = {}
        self._order: dict[_Name, None] = {}

    def find(self, account: str, identifiers: Sequence[Identifier]) -> Found | None:
        """Return what is remembered, if it answers the whole question."""
        entry = self._entries.get((account, identifiers[0])) if identifiers else None
        if entry is None:
            return None
        age = self.clock() - entry.at
        if age >= self._max_age or not _has_all(entry.binding, identifiers):
            return None
        return Found(tuple([Match(each, entry.binding) for each in identifiers]), None, entry.now + age)

    def keep(self, account: str, identifiers: Sequence[Identifier], found: Found, at: float, changes: int) -> Found:
        """Remember an answer, if that may be done, and return it.

        Args:
            account: The account.
            identifiers: What was asked for.
            found: The shared map's answer.
            at: When it was asked.
            changes: What `changes` was then: an answer that may be older than a change is not kept.
        """
        binding = found.matches[0].binding if found.matches and found.lease is None else None
        if binding is None or not _has_all(binding, identifiers):
            return found
        with self._lock():
            if changes == self.changes:
                self._put(account, _Entry(binding, at, found.now))
        return found

    @contextmanager
    def changing(self, account: str, names: Iterable[Identifier | str]) -> Generator[list[Identifier | str]]:
        """Forget every binding that has one of these identifiers or keys, or one added meanwhile, once all is done."""
        touched = list(names)
        try:
            yield touched
        finally:
            with self._lock():
                self.changes += 1
                for name in touched:
                    self._drop((account, name))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock():
            self.changes += 1
            self._entries.clear()
            self._order.clear()

    def _put(self, account: str, entry: _Entry) -> None:
        for name in _names(account, entry.binding):
            self._drop(name)
        if len(self._order) >= self._max_entries:
            self._drop(next(iter(self._order)))
        self._order[account, entry.binding.key] = None
        self._entries |= dict.fromkeys(_names(account, entry.binding), entry)

    def _drop(self, name: _Name) -> None:
        entry = self._entries.get(name)
        if entry is not None:
            self._order.pop((name[0], entry.binding.key), None)
            for each in _names(name[0], entry.binding):
                self._entries.pop(each, None)

    def _lock(self) -> Lock:
        # A lock for each process: one that another thread held at a fork would never be released in the child.
        return self._locks.setdefault(getpid(), Lock())


def _has_all(binding: Binding, identifiers: Sequence[Identifier]) -> bool:
    current = owned(binding)
    return all(each in current for each in identifiers)


def _names(account: str, binding: Binding) -> list[_Name]:
    return [(account, binding.key), *((account, each) for each in owned(binding))]


def _touched(change: Change) -> list[Identifier | str]:
    return [*owned(change.binding), *change.retire, change.binding.key, *change.absorb]


class LayeredStore(IdentityStore):
    """A shared map with a cache of this process in front of it, for `find` alone.

    Args:
        shared: The map that many share; closed with this one.
        max_age: How old an answer from the cache may be, in seconds.
        max_entries: How many customers are remembered at most.
        clock: A clock that never jumps, in seconds.

    Raises:
        ConfigurationError: An argument makes no sense.
    """

    def __init__(
        self,
        shared: IdentityStore,
        *,
        max_age: float = MAX_AGE,
        max_entries: int = MAX_ENTRIES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared = shared
        self._cache = _Cache(max_age, max_entries, clock)

    def find(self, account: str, identifiers: Sequence[Identifier]) -> Found:
        """See `IdentityStore.find`; from the cache where the module says so."""
        cache = self._cache
        known = cache.find(account, identifiers)
        if known is not None:
            return known
        at, changes = cache.clock(), cache.changes
        return cache.keep(account, identifiers, self._shared.find(account, identifiers), at, changes)

    def acquire(self, account: str, identifiers: frozenset[Identifier], *, intent: str, ttl: float) -> Lease | None:
        """See `IdentityStore.acquire`."""
        with self._cache.changing(account, identifiers) as names:
            lease = self._shared.acquire(account, identifiers, intent=intent, ttl=ttl)
            names.extend(() if lease is None else lease.identifiers)
            return lease

    def renew(self, account: str, token: int, *, ttl: float, intent: str | None = None) -> bool:
        """See `IdentityStore.renew`."""
        return self._shared.renew(account, token, ttl=ttl, intent=intent)

    def release(self, account: str, token: int) -> bool:
        """See `IdentityStore.release`."""
        return self._shared.release(account, token)

    def bind(self, account: str, change: Change) -> BindOutcome:
        """See `IdentityStore.bind`."""
        with self._cache.changing(account, _touched(change)) as names:
            outcome = self._shared.bind(account, change)
            names.extend(() if outcome.binding is None else owned(outcome.binding))
            return outcome

    def add(self, account: str, bindings: Sequence[Binding]) -> tuple[AddStatus, ...]:
        """See `IdentityStore.add`."""
        with self._cache.changing(account, (each for binding in bindings for each in owned(binding))):
            return self._shared.add(account, bindings)

    def remove(self, account: str, identifier: Identifier) -> bool:
        """See `IdentityStore.remove`."""
        with self._cache.changing(account, (identifier,)):
            return self._shared.remove(account, identifier)

    def release_identifier(self, account: str, identifier: Identifier) -> bool:
        """See `IdentityStore.release_identifier`."""
        return self._shared.release_identifier(account, identifier)

    def expired(self, account: str, limit: int) -> tuple[Lease, ...]:
        """See `IdentityStore.expired`."""
        return self._shared.expired(account, limit)

    def journal(self, account: str, *, since: float, after: int = 0, limit: int = 1000) -> tuple[JournalRow, ...]:
        """See `IdentityStore.journal`."""
        return self._shared.journal(account, since=since, after=after, limit=limit)

    def forget_journal(self, account: str, key: str) -> int:
        """See `IdentityStore.forget_journal`."""
        return self._shared.forget_journal(account, key)

    def page(self, account: str, *, after: str | None = None, limit: int = 1000) -> Page:
        """See `IdentityStore.page`."""
        return self._shared.page(account, after=after, limit=limit)

    def former(self, account: str, bindings: Sequence[Binding]) -> tuple[Match, ...]:
        """See `IdentityStore.former`."""
        return self._shared.former(account, bindings)

    def restore(self, account: str, former: Sequence[Match]) -> int:
        """See `IdentityStore.restore`."""
        return self._shared.restore(account, former)

    def count(self, account: str) -> int:
        """See `IdentityStore.count`."""
        return self._shared.count(account)

    def recall(self, account: str, name: str) -> str | None:
        """See `IdentityStore.recall`."""
        return self._shared.recall(account, name)

    def remember(self, account: str, name: str, value: str | None) -> None:
        """See `IdentityStore.remember`."""
        self._shared.remember(account, name, value)

    def notes(self, account: str, *, after: str | None = None, limit: int = 1000) -> Notes:
        """See `IdentityStore.notes`."""
        return self._shared.notes(account, after=after, limit=limit)

    def close(self) -> None:
        """See `IdentityStore.close`."""
        self._cache.clear()
        self._shared.close()


class AsyncLayeredStore(AsyncIdentityStore):
    """The asynchronous twin of `LayeredStore`, over an asynchronous map.

    Args:
        shared: As for `LayeredStore`.
        max_age: As for `LayeredStore`.
        max_entries: As for `LayeredStore`.
        clock: As for `LayeredStore`.

    Raises:
        ConfigurationError: An argument makes no sense.
    """

    def __init__(
        self,
        shared: AsyncIdentityStore,
        *,
        max_age: float = MAX_AGE,
        max_entries: int = MAX_ENTRIES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared = shared
        self._cache = _Cache(max_age, max_entries, clock)

    async def find(self, account: str, identifiers: Sequence[Identifier]) -> Found:
        """Same as `LayeredStore.find`."""
        cache = self._cache
        known = cache.find(account, identifiers)
        if known is not None:
            return known
        at, changes = cache.clock(), cache.changes
        return cache.keep(account, identifiers, await self._shared.find(account, identifiers), at, changes)

    async def acquire(
        self, account: str, identifiers: frozenset[Identifier], *, intent: str, ttl: float
    ) -> Lease | None:
        """Same as `IdentityStore.acquire`."""
        with self._cache.changing(account, identifiers) as names:
            lease = await self._shared.acquire(account, identifiers, intent=intent, ttl=ttl)
            names.extend(() if lease is None else lease.identifiers)
            return lease

    async def renew(self, account: str, token: int, *, ttl: float, intent: str | None = None) -> bool:
        """Same as `IdentityStore.renew`."""
        return await self._shared.renew(account, token, ttl=ttl, intent=intent)

    async def release(self, account: str, token: int) -> bool:
        """Same as `IdentityStore.release`."""
        return await self._shared.release(account, token)

    async def bind(self, account: str, change: Change) -> BindOutcome:
        """Same as `IdentityStore.bind`."""
        with self._cache.changing(account, _touched(change)) as names:
            outcome = await self._shared.bind(account, change)
            names.extend(() if outcome.binding is None else owned(outcome.binding))
            return outcome

    async def add(self, account: str, bindings: Sequence[Binding]) -> tuple[AddStatus, ...]:
        """Same as `IdentityStore.add`."""
        with self._cache.changing(account, (each for binding in bindings for each in owned(binding))):
            return await self._shared.add(account, bindings)

    async def remove(self, account: str, identifier: Identifier) -> bool:
        """Same as `IdentityStore.remove`."""
        with self._cache.changing(account, (identifier,)):
            return await self._shared.remove(account, identifier)

    async def release_identifier(self, account: str, identifier: Identifier) -> bool:
        """Same as `IdentityStore.release_identifier`."""
        return await self._shared.release_identifier(account, identifier)

    async def expired(self, account: str, limit: int) -> tuple[Lease, ...]:
        """Same as `IdentityStore.expired`."""
        return await self._shared.expired(account, limit)

    async def journal(self, account: str, *, since: float, after: int = 0, limit: int = 1000) -> tuple[JournalRow, ...]:
        """Same as `IdentityStore.journal`."""
        return await self._shared.journal(account, since=since, after=after, limit=limit)

    async def forget_journal(self, account: str, key: str) -> int:
        """Same as `IdentityStore.forget_journal`."""
        return await self._shared.forget_journal(account, key)

    async def page(self, account: str, *, after: str | None = None, limit: int = 1000) -> Page:
        """Same as `IdentityStore.page`."""
        return await self._shared.page(account, after=after, limit=limit)

    async def former(self, account: str, bindings: Sequence[Binding]) -> tuple[Match, ...]:
        """Same as `IdentityStore.former`."""
        return await self._shared.former(account, bindings)

    async def restore(self, account: str, former: Sequence[Match]) -> int:
        """Same as `IdentityStore.restore`."""
        return await self._shared.restore(account, former)

    async def count(self, account: str) -> int:
        """Same as `IdentityStore.count`."""
        return await self._shared.count(account)

    async def recall(self, account: str, name: str) -> str | None:
        """Same as `IdentityStore.recall`."""
        return await self._shared.recall(account, name)

    async def remember(self, account: str, name: str, value: str | None) -> None:
        """Same as `IdentityStore.remember`."""
        await self._shared.remember(account, name, value)

    async def notes(self, account: str, *, after: str | None = None, limit: int = 1000) -> Notes:
        """Same as `IdentityStore.notes`."""
        return await self._shared.notes(account, after=after, limit=limit)

    async def aclose(self) -> None:
        """Same as `IdentityStore.close`."""
        self._cache.clear()
        await self._shared.aclose()
