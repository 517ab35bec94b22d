"""A synchronous face for an asynchronous store, so that one suite of tests serves both."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from safeklaviyo.stores.base import IdentityStore

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from safeklaviyo.identity import Identifier
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import (
        AddStatus,
        AsyncIdentityStore,
        BindOutcome,
        Change,
        Found,
        JournalRow,
        Lease,
        Match,
        Notes,
        Page,
    )

T = TypeVar("T")


class BlockingStore(IdentityStore):
    """An asynchronous store, called from any thread; it runs on an event loop of its own.

    Args:
        store: The asynchronous store; closed with this one.
    """

    def __init__(self, store: AsyncIdentityStore) -> None:
        self._store = store
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="blocking-store", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the store and end the loop."""
        self.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def find(self, account: str, identifiers: Sequence[Identifier]) -> Found:
        """See `IdentityStore.find`."""
        return self._run(self._store.find(account, identifiers))

    def acquire(self, account: str, identifiers: frozenset[Identifier], *, intent: str, ttl: float) -> Lease | None:
        """See `IdentityStore.acquire`."""
        return self._run(self._store.acquire(account, identifiers, intent=intent, ttl=ttl))

    def renew(self, account: str, token: int, *, ttl: float, intent: str | None = None) -> bool:
        """See `IdentityStore.renew`."""
        return self._run(self._store.renew(account, token, ttl=ttl, intent=intent))

    def release(self, account: str, token: int) -> bool:
        """See `IdentityStore.release`."""
        return self._run(self._store.release(account, token))

    def bind(self, account: str, change: Change) -> BindOutcome:
        """See `IdentityStore.bind`."""
        return self._run(self._store.bind(account, change))

    def add(self, account: str, bindings: Sequence[Binding]) -> tuple[AddStatus, ...]:
        """See `IdentityStore.add`."""
        return self._run(self._store.add(account, bindings))

    def remove(self, account: str, identifier: Identifier) -> bool:
        """See `IdentityStore.remove`."""
        return self._run(self._store.remove(account, identifier))

    def release_identifier(self, account: str, identifier: Identifier) -> bool:
        """See `IdentityStore.release_identifier`."""
        return self._run(self._store.release_identifier(account, identifier))

    def expired(self, account: str, limit: int) -> tuple[Lease, ...]:
        """See `IdentityStore.expired`."""
        return self._run(self._store.expired(account, limit))

    def leases(self, account: str, limit: int) -> tuple[Lease, ...]:
        """See `IdentityStore.leases`."""
        return self._run(self._store.leases(account, limit))

    def journal(self, account: str, *, since: float, after: int = 0, limit: int = 1000) -> tuple[JournalRow, ...]:
        """See `IdentityStore.journal`."""
        return self._run(self._store.journal(account, since=since, after=after, limit=limit))

    def forget_journal(self, account: str, key: str) -> int:
        """See `IdentityStore.forget_journal`."""
        return self._run(self._store.forget_journal(account, key))

    def page(self, account: str, *, after: str | None = None, limit: int = 1000) -> Page:
        """See `IdentityStore.page`."""
        return self._run(self._store.page(account, after=after, limit=limit))

    def bindings(self, account: str, keys: Sequence[str]) -> tuple[Binding, ...]:
        """See `IdentityStore.bindings`."""
        return self._run(self._store.bindings(account, keys))

    def former(self, account: str, bindings: Sequence[Binding]) -> tuple[Match, ...]:
        """See `IdentityStore.former`."""
        return self._run(self._store.former(account, bindings))

    def restore(self, account: str, former: Sequence[Match]) -> int:
        """See `IdentityStore.restore`."""
        return self._run(self._store.restore(account, former))

    def restore_journal(self, account: str, rows: Sequence[tuple[Binding, JournalRow]]) -> int:
        """See `IdentityStore.restore_journal`."""
        return self._run(self._store.restore_journal(account, rows))

    def count(self, account: str) -> int:
        """See `IdentityStore.count`."""
        return self._run(self._store.count(account))

    def recall(self, account: str, name: str) -> str | None:
        """See `IdentityStore.recall`."""
        return self._run(self._store.recall(account, name))

    def remember(self, account: str, name: str, value: str | None) -> None:
        """See `IdentityStore.remember`."""
        self._run(self._store.remember(account, name, value))

    def notes(self, account: str, *, after: str | None = None, limit: int = 1000) -> Notes:
        """See `IdentityStore.notes`."""
        return self._run(self._store.notes(account, after=after, limit=limit))

    def close(self) -> None:
        """See `IdentityStore.close`."""
        self._run(self._store.aclose())

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()
