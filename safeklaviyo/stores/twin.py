"""The asynchronous twin of a synchronous store.

Decided here: that the twin calls the store it wraps. Whether a call may run where the loop runs is the subclass's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from safeklaviyo.stores.base import AsyncIdentityStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from safeklaviyo.identity import Identifier
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import (
        AddStatus,
        BindOutcome,
        Change,
        Found,
        IdentityStore,
        JournalRow,
        Lease,
        Match,
        Notes,
        Page,
    )

T = TypeVar("T")


class Twin(AsyncIdentityStore):
    """A store that does what another does, without waiting for it.

    Args:
        store: The synchronous store; closed with the twin.
    """

    def __init__(self, store: IdentityStore) -> None:
        self._store = store

    async def _do(self, work: Callable[[], T]) -> T:
        return work()

    async def find(self, account: str, identifiers: Sequence[Identifier]) -> Found:
        """Same as `IdentityStore.find`."""
        return await self._do(lambda: self._store.find(account, identifiers))

    async def acquire(
        self, account: str, identifiers: frozenset[Identifier], *, intent: str, ttl: float
    ) -> Lease | None:
        """Same as `IdentityStore.acquire`."""
        return await self._do(lambda: self._store.acquire(account, identifiers, intent=intent, ttl=ttl))

    async def renew(self, account: str, token: int, *, ttl: float, intent: str | None = None) -> bool:
        """Same as `IdentityStore.renew`."""
        return await self._do(lambda: self._store.renew(account, token, ttl=ttl, intent=intent))

    async def release(self, account: str, token: int) -> bool:
        """Same as `IdentityStore.release`."""
        return await self._do(lambda: self._store.release(account, token))

    async def bind(self, account: str, change: Change) -> BindOutcome:
        """Same as `IdentityStore.bind`."""
        return await self._do(lambda: self._store.bind(account, change))

    async def add(self, account: str, bindings: Sequence[Binding]) -> tuple[AddStatus, ...]:
        """Same as `IdentityStore.add`."""
        return await self._do(lambda: self._store.add(account, bindings))

    async def remove(self, account: str, identifier: Identifier) -> bool:
        """Same as `IdentityStore.remove`."""
        return await self._do(lambda: self._store.remove(account, identifier))

    async def release_identifier(self, account: str, identifier: Identifier) -> bool:
        """Same as `IdentityStore.release_identifier`."""
        return await self._do(lambda: self._store.release_identifier(account, identifier))

    async def expired(self, account: str, limit: int) -> tuple[Lease, ...]:
        """Same as `IdentityStore.expired`."""
        return await self._do(lambda: self._store.expired(account, limit))

    async def leases(self, account: str, limit: int) -> tuple[Lease, ...]:
        """Same as `IdentityStore.leases`."""
        return await self._do(lambda: self._store.leases(account, limit))

    async def journal(self, account: str, *, since: float, after: int = 0, limit: int = 1000) -> tuple[JournalRow, ...]:
        """Same as `IdentityStore.journal`."""
        return await self._do(lambda: self._store.journal(account, since=since, after=after, limit=limit))

    async def forget_journal(self, account: str, key: str) -> int:
        """Same as `IdentityStore.forget_journal`."""
        return await self._do(lambda: self._store.forget_journal(account, key))

    async def page(self, account: str, *, after: str | None = None, limit: int = 1000) -> Page:
        """Same as `IdentityStore.page`."""
        return await self._do(lambda: self._store.page(account, after=after, limit=limit))

    async def bindings(self, account: str, keys: Sequence[str]) -> tuple[Binding, ...]:
        """Same as `IdentityStore.bindings`."""
        return await self._do(lambda: self._store.bindings(account, keys))

    async def former(self, account: str, bindings: Sequence[Binding]) -> tuple[Match, ...]:
        """Same as `IdentityStore.former`."""
        return await self._do(lambda: self._store.former(account, bindings))

    async def restore(self, account: str, former: Sequence[Match]) -> int:
        """Same as `IdentityStore.restore`."""
        return await self._do(lambda: self._store.restore(account, former))

    async def restore_journal(self, account: str, rows: Sequence[tuple[Binding, JournalRow]]) -> int:
        """Same as `IdentityStore.restore_journal`."""
        return await self._do(lambda: self._store.restore_journal(account, rows))

    async def count(self, account: str) -> int:
        """Same as `IdentityStore.count`."""
        return await self._do(lambda: self._store.count(account))

    async def recall(self, account: str, name: str) -> str | None:
        """Same as `IdentityStore.recall`."""
        return await self._do(lambda: self._store.recall(account, name))

    async def remember(self, account: str, name: str, value: str | None) -> None:
        """Same as `IdentityStore.remember`."""
        await self._do(lambda: self._store.remember(account, name, value))

    async def notes(self, account: str, *, after: str | None = None, limit: int = 1000) -> Notes:
        """Same as `IdentityStore.notes`."""
        return await self._do(lambda: self._store.notes(account, after=after, limit=limit))

    async def aclose(self) -> None:
        """Same as `IdentityStore.close`."""
        await self._do(self._store.close)
