"""An identity map that joins a transaction of the caller's.

Decided here: each operation has a savepoint, so that an operation that fails leaves the caller's transaction as it was.
A connection in autocommit has no transaction, and each operation is one of its own there. The caller alone begins,
commits, rolls back and closes.
"""

from __future__ import annotations

import asyncio
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from safeklaviyo.errors import ConfigurationError, StoreUnavailableError
from safeklaviyo.stores.postgres import _failures as failures
from safeklaviyo.stores.postgres._async_connections import async_drive, async_fetched
from safeklaviyo.stores.postgres._connections import drive, fetched

if TYPE_CHECKING:
    from safeklaviyo.stores.postgres._queries import Queries, Query
    from safeklaviyo.stores.postgres._values import Rows

T = TypeVar("T")

_SAVE: Final = "SAVEPOINT safeklaviyo"
_BACK: Final = "ROLLBACK TO SAVEPOINT safeklaviyo"
_DONE: Final = "RELEASE SAVEPOINT safeklaviyo"


def _needs_savepoint(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    # Not idle: in autocommit the caller may still have sent a BEGIN, or use `connection.transaction()`.
    return not connection.autocommit or connection.info.transaction_status != TransactionStatus.IDLE


class _Joining:
    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._is_checked = False
        self._is_closed = False

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreUnavailableError(failures.CLOSED)

    def _accept(self, *, is_read_only: bool) -> None:
        if is_read_only:
            raise StoreUnavailableError(failures.READ_ONLY)
        self._is_checked = True


class Joined(_Joining):
    """The caller's connection. Safe between threads, unless one of them uses that connection itself."""

    def __init__(self, connection: object, queries: Queries) -> None:
        super().__init__(queries)
        if not isinstance(connection, psycopg.Connection):
            raise ConfigurationError("connection has to be a psycopg.Connection; AsyncPostgresStore takes an async one")
        self._connection: psycopg.Connection[Any] = connection
        self._lock = RLock()

    def run(self, query: Query[T]) -> T:
        """Same as `Connections.run`."""
        # The lock keeps the savepoint and the statement of one thread together.
        with self._lock:
            if not self._is_checked:
                self._accept(is_read_only=self._ask(self._queries.check()))
            return self._ask(query)

    def migrate(self) -> None:
        """Same as `Connections.migrate`."""
        with self._lock:
            drive(self._queries.migration(), self._ask)

    def close(self) -> None:
        """Refuse every further operation. The connection stays open: it is the caller's."""
        self._is_closed = True

    def _ask(self, query: Query[T]) -> T:
        self._check_open()
        try:
            rows = self._fetch(query)
        except psycopg.Error as exc:
            # Not chained: PostgreSQL quotes the values that it was given.
            raise failures.store_error(exc) from None
        return query.read(rows)

    def _fetch(self, query: Query[Any]) -> Rows:
        cursor = psycopg.Cursor(self._connection, row_factory=tuple_row)
        if not _needs_savepoint(self._connection):
            return fetched(cursor, query)
        cursor.execute(_SAVE, prepare=False)
        try:
            rows = fetched(cursor, query)
        except BaseException:
            # Rolling back to a savepoint keeps it, so it has to be released too.
            cursor.execute(_BACK, prepare=False)
            cursor.execute(_DONE, prepare=False)
            raise
        cursor.execute(_DONE, prepare=False)
        return rows


class AsyncJoined(_Joining):
    """Same as `Joined`, awaited."""

    def __init__(self, connection: object, queries: Queries) -> None:
        super().__init__(queries)
        if not isinstance(connection, psycopg.AsyncConnection):
            raise ConfigurationError("connection has to be a psycopg.AsyncConnection; PostgresStore takes a sync one")
        self._connection: psycopg.AsyncConnection[Any] = connection
        self._lock = asyncio.Lock()

    async def run(self, query: Query[T]) -> T:
        """Same as `Connections.run`."""
        async with self._lock:
            if not self._is_checked:
                self._accept(is_read_only=await self._ask(self._queries.check()))
            return await self._ask(query)

    async def migrate(self) -> None:
        """Same as `Connections.migrate`."""
        async with self._lock:
            await async_drive(self._queries.migration(), self._ask)

    async def aclose(self) -> None:
        """Same as `Joined.close`."""
        self._is_closed = True

    async def _ask(self, query: Query[T]) -> T:
        self._check_open()
        try:
            rows = await self._fetch(query)
        except psycopg.Error as exc:
            # Not chained, as in `Joined`.
            raise failures.store_error(exc) from None
        return query.read(rows)

    async def _fetch(self, query: Query[Any]) -> Rows:
        cursor = psycopg.AsyncCursor(self._connection, row_factory=tuple_row)
        if not _needs_savepoint(self._connection):
            return await async_fetched(cursor, query)
        await cursor.execute(_SAVE, prepare=False)
        try:
            rows = await async_fetched(cursor, query)
        except BaseException:
            await cursor.execute(_BACK, prepare=False)
            await cursor.execute(_DONE, prepare=False)
            raise
        await cursor.execute(_DONE, prepare=False)
        return rows
