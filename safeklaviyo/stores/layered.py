"""A small cache in each process over a map that many share, for the warm path alone.

Decided here: what may be remembered, and for how long. Only one sort of answer is: every identifier asked for is
current on one binding, and no lease covers it. "Nobody", a retired identifier, a lease, and every other operation come
from the shared map, and whatever this process changes or tries to change about a customer makes it forget them.

Why that weakens no promise: an answer from the cache is at most `max_age` old, and no change happens behind its back.
A cache says in the shared map that it remembers (`_remembering`). Whoever changes, merges or erases a customer takes
the lease in the shared map, after which nobody can begin to remember that customer, and waits for two seconds before
anything is written, which is the most that `max_age` can be: by then every cache asks the shared map, and finds the
lease. That is what a cache costs: those verbs take two seconds longer, in every process that shares the map. Leases are
taken and changes judged in the shared map alone, by a version and a token; whoever is refused there is no longer
answered from the cache, and looks again.

What is no change of this library's, such as an edit in Klaviyo that `drift="adopt"` follows, or `bindings.remove`, is
seen by others up to `max_age` later. While the shared map is away, customers asked for lately are still found, for as
long.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from safeklaviyo.errors import StoreUnavailableError
from safeklaviyo.stores._cache import Cache, check_shared
from safeklaviyo.stores._ledger import owned
from safeklaviyo.stores._remembering import LONGEST, NOTE, may_until
from safeklaviyo.stores.base import AsyncIdentityStore, IdentityStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from safeklaviyo.identity import Identifier
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import AddStatus, BindOutcome, Change, Found, JournalRow, Lease, Match, Notes, Page

MAX_ENTRIES = 10_000


def _touched(change: Change) -> list[Identifier | str]:
    return [*owned(change.binding), *change.retire, change.binding.key, *change.absorb]


class LayeredStore(IdentityStore):
    """A shared map with a cache of this process in front of it, for `find` alone.

    Args:
        shared: The map that many share; closed with this one.
        max_age: How old an answer from the cache may be, in seconds; two at most.
        max_entries: How many customers are remembered at most.
        clock: A clock that never jumps, in seconds.

    Raises:
        ConfigurationError: An argument makes no sense, or the map is a cache, or in a transaction of the caller's.
    """

    can_be_layered = False

    def __init__(
        self,
        shared: IdentityStore,
        *,
        max_age: float = LONGEST,
        max_entries: int = MAX_ENTRIES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_shared(shared)
        self._shared = shared
        self._cache = Cache(max_age, max_entries, clock)

    def find(self, account: str, identifiers: Sequence[Identifier]) -> Found:
        """See `IdentityStore.find`; from the cache where the module says so."""
        cache = self._cache
        known = cache.find(account, identifiers)
        if known is not None:
            return known
        at, changes = cache.clock(), cache.changes
        found = self._shared.find(account, identifiers)
        if found.now >= cache.may_until.get(account, 0.0):
            self._say(account, found.now)
            return found
        return cache.keep(account, identifiers, found, at, changes)

    def _say(self, account: str, now: float) -> None:
        """See to it that those who change customers know of this cache, which remembers nothing before."""
        with suppress(StoreUnavailableError):  # then it remembers nothing, and the answer is as good
            self._cache.may_until[account] = until = may_until(self._shared.recall(account, NOTE), now)
            if not until:
                self._shared.remember(account, NOTE, repr(now))

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

    def leases(self, account: str, limit: int) -> tuple[Lease, ...]:
        """See `IdentityStore.leases`."""
        return self._shared.leases(account, limit)

    def journal(self, account: str, *, since: float, after: int = 0, limit: int = 1000) -> tuple[JournalRow, ...]:
        """See `IdentityStore.journal`."""
        return self._shared.journal(account, since=since, after=after, limit=limit)

    def forget_journal(self, account: str, key: str) -> int:
        """See `IdentityStore.forget_journal`."""
        return self._shared.forget_journal(account, key)

    def page(self, account: str, *, after: str | None = None, limit: int = 1000) -> Page:
        """See `IdentityStore.page`."""
        return self._shared.page(account, after=after, limit=limit)

    def bindings(self, account: str, keys: Sequence[str]) -> tuple[Binding, ...]:
        """See `IdentityStore.bindings`."""
        return self._shared.bindings(account, keys)

    def former(self, account: str, bindings: Sequence[Binding]) -> tuple[Match, ...]:
        """See `IdentityStore.former`."""
        return self._shared.former(account, bindings)

    def restore(self, account: str, former: Sequence[Match]) -> int:
        """See `IdentityStore.restore`."""
        return self._shared.restore(account, former)

    def restore_journal(self, account: str, rows: Sequence[tuple[Binding, JournalRow]]) -> int:
        """See `IdentityStore.restore_journal`."""
        return self._shared.restore_journal(account, rows)

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
        ConfigurationError: As for `LayeredStore`.
    """

    can_be_layered = False

    def __init__(
        self,
        shared: AsyncIdentityStore,
        *,
        max_age: float = LONGEST,
        max_entries: int = MAX_ENTRIES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_shared(shared)
        self._shared = shared
        self._cache = Cache(max_age, max_entries, clock)

    async def find(self, account: str, identifiers: Sequence[Identifier]) -> Found:
        """Same as `LayeredStore.find`."""
        cache = self._cache
        known = cache.find(account, identifiers)
        if known is not None:
            return known
        at, changes = cache.clock(), cache.changes
        found = await self._shared.find(account, identifiers)
        if found.now >= cache.may_until.get(account, 0.0):
            await self._say(account, found.now)
            return found
        return cache.keep(account, identifiers, found, at, changes)

    async def _say(self, account: str, now: float) -> None:
        """Same as `LayeredStore._say`."""
        with suppress(StoreUnavailableError):
            self._cache.may_until[account] = until = may_until(await self._shared.recall(account, NOTE), now)
            if not until:
                await self._shared.remember(account, NOTE, repr(now))

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

    async def leases(self, account: str, limit: int) -> tuple[Lease, ...]:
        """Same as `IdentityStore.leases`."""
        return await self._shared.leases(account, limit)

    async def journal(self, account: str, *, since: float, after: int = 0, limit: int = 1000) -> tuple[JournalRow, ...]:
        """Same as `IdentityStore.journal`."""
        return await self._shared.journal(account, since=since, after=after, limit=limit)

    async def forget_journal(self, account: str, key: str) -> int:
        """Same as `IdentityStore.forget_journal`."""
        return await self._shared.forget_journal(account, key)

    async def page(self, account: str, *, after: str | None = None, limit: int = 1000) -> Page:
        """Same as `IdentityStore.page`."""
        return await self._shared.page(account, after=after, limit=limit)

    async def bindings(self, account: str, keys: Sequence[str]) -> tuple[Binding, ...]:
        """Same as `IdentityStore.bindings`."""
        return await self._shared.bindings(account, keys)

    async def former(self, account: str, bindings: Sequence[Binding]) -> tuple[Match, ...]:
        """Same as `IdentityStore.former`."""
        return await self._shared.former(account, bindings)

    async def restore(self, account: str, former: Sequence[Match]) -> int:
        """Same as `IdentityStore.restore`."""
        return await self._shared.restore(account, former)

    async def restore_journal(self, account: str, rows: Sequence[tuple[Binding, JournalRow]]) -> int:
        """Same as `IdentityStore.restore_journal`."""
        return await self._shared.restore_journal(account, rows)

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
