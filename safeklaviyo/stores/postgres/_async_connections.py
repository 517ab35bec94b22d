"""The connections of an asynchronous identity map in PostgreSQL: one pool for each event loop of a process.

Read `_connections` first; the same is decided here. In addition, an event loop that ends closes its pool.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from os import getpid
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, PoolClosed

from safeklaviyo.errors import SafeKlaviyoError, StoreUnavailableError
from safeklaviyo.stores.patience import in_time_async
from safeklaviyo.stores.postgres import _failures as failures
from safeklaviyo.stores.postgres._connections import (
    BEGIN,
    COMMIT,
    PATIENCE,
    SETTINGS,
    SlowError,
    bounded,
    conninfo,
    inherited,
    is_open,
    is_quiet,
)

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from psycopg.abc import PQGen

    from safeklaviyo.stores.postgres._queries import Queries, Query
    from safeklaviyo.stores.postgres._values import Rows

T = TypeVar("T")


class AsyncConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """Same as `Connection`, awaited."""

    patience = PATIENCE
    _asking: psycopg.AsyncCursor[tuple[Any, ...]] | None = None

    async def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """See `psycopg.AsyncConnection.wait`."""
        try:
            return await super().wait(bounded(gen, self.patience), *args, **kwargs)
        except SlowError:
            await self.close()
            raise

    async def fetch(self, query: Query[Any], seconds: float) -> Rows:
        """Same as `Connection.fetch`."""
        self.patience = seconds + query.patience
        if self._asking is None:
            self._asking = psycopg.AsyncCursor(self, row_factory=tuple_row)
        return await async_fetched(self._asking, query)


async def async_fetched(cursor: psycopg.AsyncCursor[tuple[Any, ...]], query: Query[Any]) -> Rows:
    """Same as `connections.fetched`."""
    if query.turn is None:
        return await _fetched(cursor, query)
    is_own = cursor.connection.info.transaction_status == TransactionStatus.IDLE
    try:
        if is_own:
            await cursor.execute(BEGIN, prepare=False)
        await cursor.execute(*query.turn, prepare=False)
        rows = await _fetched(cursor, query)
        if is_own:
            await cursor.execute(COMMIT, prepare=False)
    except BaseException:
        if is_own and is_open(cursor.connection):
            with suppress(psycopg.Error):
                await cursor.connection.rollback()
        raise
    return rows


async def _fetched(cursor: psycopg.AsyncCursor[tuple[Any, ...]], query: Query[Any]) -> Rows:
    await cursor.execute(query.statement, query.parameters, prepare=False, binary=query.parameters is not None)
    return await cursor.fetchall() if query.has_rows else []


@dataclass(slots=True, eq=False)
class _Opened:
    """What a store has opened in one event loop of one process.

    Attributes:
        connections: The pool's connections.
        closer: An asynchronous generator that closes the pool when it is closed itself; a loop that ends closes its
            generators.
    """

    pid: int
    loop: AbstractEventLoop
    lock: asyncio.Lock
    pool: AsyncConnectionPool[AsyncConnection] | None = None
    connections: WeakSet[AsyncConnection] = field(default_factory=WeakSet[AsyncConnection])
    closer: AsyncGenerator[None, None] | None = None

    async def note(self, connection: AsyncConnection) -> None:
        """Add a connection that the pool has opened."""
        self.connections.add(connection)

    async def close(self) -> None:
        """Close the pool and its connections."""
        pool, self.pool = self.pool, None
        if pool is None:
            return
        # The pool waits for its tasks before it closes its connections. An ending loop has cancelled these tasks, so
        # the wait raises, and the connections have to be closed here.
        with suppress(asyncio.CancelledError):
            await pool.close()
        for connection in list(self.connections):
            await connection.close()


class AsyncConnections:
    """Same as `Connections`, awaited, in one event loop after another."""

    def __init__(self, url: str, queries: Queries, size: int, timeout: float) -> None:
        self._conninfo = conninfo(url, timeout)
        self._queries = queries
        self._size = size
        self._timeout = timeout
        self._current: _Opened | None = None
        self._is_closed = False

    async def run(self, query: Query[T]) -> T:
        """Same as `Connections.run`."""
        return await in_time_async(self._run(query), 3 * self._timeout + query.patience)

    async def _run(self, query: Query[T]) -> T:
        opened, pool, connection = await self._take()
        try:
            rows = await connection.fetch(query, self._timeout)
        except psycopg.Error as exc:
            if connection.closed or isinstance(exc, psycopg.errors.ReadOnlySqlTransaction):
                await _discard(opened, pool)
            # Not chained: PostgreSQL quotes the values that it was given.
            raise failures.store_error(exc) from None
        finally:
            await pool.putconn(connection)
        return query.read(rows)

    async def migrate(self) -> None:
        """Same as `Connections.migrate`."""
        self._check_open()
        async with await self._connect() as connection:
            await async_drive(self._queries.migration(), lambda query: _execute(connection, query, self._timeout))

    async def aclose(self) -> None:
        """Same as `Connections.close`. What another loop opened is closed when that loop ends."""
        self._is_closed = True
        opened, self._current = self._current, None
        if opened is not None and opened.closer is not None and _is_here(opened):
            await opened.closer.aclose()

    async def _take(self) -> tuple[_Opened, AsyncConnectionPool[AsyncConnection], AsyncConnection]:
        while True:
            opened = self._here()
            pool = opened.pool or await self._open(opened)
            try:
                connection = await pool.getconn()
            except PoolClosed:
                continue  # another task discarded the pool, or closed the store
            except psycopg.Error as exc:
                raise StoreUnavailableError(failures.BUSY) from exc
            if is_quiet(connection.fileno()):
                return opened, pool, connection
            # Also if this task is cancelled in between: the closed pool closes a connection that comes back.
            try:
                await _discard(opened, pool)
            finally:
                await pool.putconn(connection)

    def _here(self) -> _Opened:
        opened = self._current
        if opened is not None and _is_here(opened):
            return opened
        self._check_open()
        if opened is not None and opened.pid != getpid():
            inherited.append(opened)
        self._current = opened = _Opened(getpid(), asyncio.get_running_loop(), asyncio.Lock())
        return opened

    async def _open(self, opened: _Opened) -> AsyncConnectionPool[AsyncConnection]:
        async with opened.lock:
            if opened.pool is not None:
                return opened.pool
            self._check_open()
            await self._check_server()
            pool = AsyncConnectionPool(
                self._conninfo,
                connection_class=AsyncConnection,
                kwargs=SETTINGS,
                configure=opened.note,
                min_size=0,
                max_size=self._size,
                name="safeklaviyo",
                timeout=self._timeout,
                reconnect_timeout=self._timeout,
                num_workers=1,
                open=False,
            )
            await pool.open()
            opened.pool = pool
            # Started here, because the loop closes only the generators that have been started in it.
            if opened.closer is None:
                opened.closer = _close_at_end(opened)
                await anext(opened.closer)
            return pool

    async def _check_server(self) -> None:
        async with await self._connect() as connection:
            is_read_only = await _execute(connection, self._queries.check(), self._timeout)
        if is_read_only:
            raise StoreUnavailableError(failures.READ_ONLY)

    async def _connect(self) -> AsyncConnection:
        try:
            return await AsyncConnection.connect(self._conninfo, **SETTINGS)
        except psycopg.Error as exc:
            raise StoreUnavailableError(failures.UNREACHABLE) from exc

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreUnavailableError(failures.CLOSED)


def _is_here(opened: _Opened) -> bool:
    return opened.loop is asyncio.get_running_loop() and opened.pid == getpid()


async def _discard(opened: _Opened, pool: AsyncConnectionPool[AsyncConnection]) -> None:
    if opened.pool is pool:
        opened.pool = None
    await pool.close()


async def _close_at_end(opened: _Opened) -> AsyncGenerator[None, None]:
    """Close the pool at the end: on `aclose`, or when the loop ends, which first closes its generators."""
    try:
        yield
    finally:
        await opened.close()


async def _execute(connection: AsyncConnection, query: Query[T], seconds: float) -> T:
    try:
        rows = await connection.fetch(query, seconds)
    except psycopg.Error as exc:
        raise failures.store_error(exc) from None
    return query.read(rows)


async def async_drive(
    queries: Generator[Query[Any], Any, None], run: Callable[[Query[Any]], Awaitable[object]]
) -> None:
    """Same as `connections.drive`."""
    with suppress(StopIteration):
        query = next(queries)
        while True:
            try:
                result = await run(query)
            except SafeKlaviyoError as error:
                query = queries.throw(error)
            else:
                query = queries.send(result)
