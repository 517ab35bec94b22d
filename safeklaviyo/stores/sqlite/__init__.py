"""The identity map in a SQLite file: for all processes of one host.

Decided here: which calls are short reads, which are long ones, which are transactions, and what of it may run in an
event loop. The contract is in `base`, its logic in `semantics`, the tables in `tables`, the file in `database`.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from safeklaviyo.stores import semantics
from safeklaviyo.stores.base import IdentityStore
from safeklaviyo.stores.sqlite import _tables as tables
from safeklaviyo.stores.sqlite._database import Database, WouldWaitError
from safeklaviyo.stores.sqlite._tables import SqlRows
from safeklaviyo.stores.twin import Twin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from sqlite3 import Connection

    from safeklaviyo.identity import Identifier
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import AddStatus, BindOutcome, Change, Found, JournalRow, Lease, Match, Notes, Page

T = TypeVar("T")

TIMEOUT = 5.0
"""Seconds to wait for other writers before the map counts as unavailable."""


class SqliteStore(IdentityStore):
    """The identity map of one host. Nothing is opened before the first use; after a fork each process opens its own.

    Args:
        path: The file; it and its folder are made if they are missing, for their owner alone.
        clock: The store's clock, in unix seconds.
        timeout: How long to wait for other processes that write, in seconds.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, clock: Callable[[], float] = time.time, timeout: float = TIMEOUT
    ) -> None:
        self._database = Database(path, timeout)
        self._clock = clock

    def find(self, account: str, identifiers: Sequence[Identifier]) -> Found:
        """See `IdentityStore.find`."""
        return self._database.read(lambda db: tables.find(db, account, identifiers, self._clock()))

    def find_at_once(self, account: str, identifiers: Sequence[Identifier]) -> Found:
        """Find as `find` does, if nothing has to be waited for.

        Raises:
            WouldWaitError: Something has.
        """
        return self._database.read(lambda db: tables.find(db, account, identifiers, self._clock()), patient=False)

    def acquire(self, account: str, identifiers: frozenset[Identifier], *, intent: str, ttl: float) -> Lease | None:
        """See `IdentityStore.acquire`."""
        return self._write(account, lambda rows: semantics.acquire(rows, identifiers, intent, ttl, self._clock()))

    def renew(self, account: str, token: int, *, ttl: float, intent: str | None = None) -> bool:
        """See `IdentityStore.renew`."""
        return self._write(account, lambda rows: semantics.renew(rows, token, ttl, intent, self._clock()))

    def release(self, account: str, token: int) -> bool:
        """See `IdentityStore.release`."""
        return self._write(account, lambda rows: semantics.release(rows, token))

    def bind(self, account: str, change: Change) -> BindOutcome:
        """See `IdentityStore.bind`."""
        return self._write(account, lambda rows: semantics.bind(rows, change, self._clock()))

    def add(self, account: str, bindings: Sequence[Binding]) -> tuple[AddStatus, ...]:
        """See `IdentityStore.add`."""
        return self._write(account, lambda rows: tuple([semantics.add(rows, binding) for binding in bindings]))

    def remove(self, account: str, identifier: Identifier) -> bool:
        """See `IdentityStore.remove`."""
        return self._write(account, lambda rows: semantics.remove(rows, identifier))

    def release_identifier(self, account: str, identifier: Identifier) -> bool:
        """See `IdentityStore.release_identifier`."""
        return self._write(account, lambda rows: semantics.release_identifier(rows, identifier))

    def expired(self, account: str, limit: int) -> tuple[Lease, ...]:
        """See `IdentityStore.expired`."""
        return self._database.scan(lambda db: tables.expired(db, account, limit, self._clock()))

    def leases(self, account: str, limit: int) -> tuple[Lease, ...]:
        """See `IdentityStore.leases`."""
        return self._database.scan(lambda db: tables.leases(db, account, limit, self._clock()))

    def journal(self, account: str, *, since: float, after: int = 0, limit: int = 1000) -> tuple[JournalRow, ...]:
        """See `IdentityStore.journal`."""
        return self._database.scan(lambda db: tables.journal(db, account, since, after, limit))

    def forget_journal(self, account: str, key: str) -> int:
        """See `IdentityStore.forget_journal`."""
        return self._database.write(lambda db: tables.forget_journal(db, account, key))

    def page(self, account: str, *, after: str | None = None, limit: int = 1000) -> Page:
        """See `IdentityStore.page`."""
        return self._database.scan(lambda db: tables.page(db, account, after, limit))

    def bindings(self, account: str, keys: Sequence[str]) -> tuple[Binding, ...]:
        """See `IdentityStore.bindings`."""
        return self._database.scan(lambda db: tables.bindings(db, account, keys))

    def former(self, account: str, bindings: Sequence[Binding]) -> tuple[Match, ...]:
        """See `IdentityStore.former`."""
        return self._database.scan(lambda db: tables.former(db, account, bindings))

    def restore(self, account: str, former: Sequence[Match]) -> int:
        """See `IdentityStore.restore`."""
        return self._write(account, lambda rows: sum([semantics.restore(rows, match) for match in former]))

    def restore_journal(self, account: str, rows: Sequence[tuple[Binding, JournalRow]]) -> int:
        """See `IdentityStore.restore_journal`."""

        def work(here: SqlRows) -> int:
            return sum([semantics.restore_journal(here, binding, row) for binding, row in rows])

        return self._write(account, work)

    def count(self, account: str) -> int:
        """See `IdentityStore.count`."""
        return self._database.scan(lambda db: tables.count(db, account))

    def recall(self, account: str, name: str) -> str | None:
        """See `IdentityStore.recall`."""
        return self._database.read(lambda db: tables.recall(db, account, name))

    def remember(self, account: str, name: str, value: str | None) -> None:
        """See `IdentityStore.remember`."""
        self._database.write(lambda db: tables.remember(db, account, name, value))

    def notes(self, account: str, *, after: str | None = None, limit: int = 1000) -> Notes:
        """See `IdentityStore.notes`."""
        return self._database.scan(lambda db: tables.notes(db, account, after, limit))

    def close(self) -> None:
        """See `IdentityStore.close`."""
        self._database.close()

    def _write(self, account: str, work: Callable[[SqlRows], T]) -> T:
        def in_transaction(db: Connection) -> T:
            return work(SqlRows(db, account))

        return self._database.write(in_transaction)


class AsyncSqliteStore(Twin):
    """The asynchronous twin of `SqliteStore`: `find` runs in the event loop, all else in one thread of the store's own.

    A cancelled call that has begun in the thread runs to its end there; one that has not begun never does. The store
    may be used from one event loop after another.

    Args:
        path: As for `SqliteStore`.
        clock: The store's clock, in unix seconds.
        timeout: As for `SqliteStore`.
    """

    _store: SqliteStore

    def __init__(
        self, path: str | os.PathLike[str], *, clock: Callable[[], float] = time.time, timeout: float = TIMEOUT
    ) -> None:
        super().__init__(SqliteStore(path, clock=clock, timeout=timeout))
        self._worker: ThreadPoolExecutor | None = None
        self._process = 0

    async def find(self, account: str, identifiers: Sequence[Identifier]) -> Found:
        """Same as `IdentityStore.find`."""
        try:
            return self._store.find_at_once(account, identifiers)
        except WouldWaitError:
            return await super().find(account, identifiers)

    async def aclose(self) -> None:
        """Same as `IdentityStore.close`."""
        worker = self._thread()
        await asyncio.get_running_loop().run_in_executor(worker, self._store.close)
        worker.shutdown(wait=False)
        self._worker = None

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread(), work)

    def _thread(self) -> ThreadPoolExecutor:
        if self._worker is None or self._process != os.getpid():  # a fork does not copy threads
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="safeklaviyo-store")
            self._process = os.getpid()
        return self._worker
