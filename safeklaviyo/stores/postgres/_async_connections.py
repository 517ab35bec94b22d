"""The connections of an asynchronous identity map in PostgreSQL: one pool for each event loop of a process.

Read `connections` first: the same is decided here. A loop that ends closes its pool.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from os import getpid
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

import psycopg
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, PoolClosed

from safeklaviyo.errors import SafeKlaviyoError, StoreUnavailableError
from safeklaviyo.stores.patience import in_time_async
from safeklaviyo.stores.postgres import _failures as failures
from safeklaviyo.stores.postgres._connections import (
    PATIENCE,
    SETTINGS,
    SlowError,
    bounded,
    conninfo,
    inherited,
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
    await cursor.execute(query.statement, query.parameters, prepare=False, binary=query.parameters is not None)
    return await cursor.fetchall() if query.has_rows else []


@dataclass(slots=True, eq=False)
class _Home:
    """What a store has opened in one event loop of one process.

    Attributes:
        opened: The pool's connections.
        keeper: Closes the pool when it is closed, which a loop that ends does.
    """

    pid: int
    loop: AbstractEventLoop
    lock: asyncio.Lock
    pool: AsyncConnectionPool[AsyncConnection] | None = None
    opened: WeakSet[AsyncConnection] = field(default_factory=WeakSet[AsyncConnection])
    keeper: AsyncGenerator[None, None] | None = None

    async def note(self, connection: AsyncConnection) -> None:
        """Remember a connection of the pool's."""
        self.opened.add(connection)

    async def close(self) -> None:
        """Close the pool and its connections."""
        pool, self.pool = self.pool, None
        if pool is None:
            return
        # The pool waits for its tasks before it closes its connections, and an ending loop has cancelled them.
        with suppress(asyncio.CancelledError):
            await pool.close()
        for connection in list(self.opened):
            await connection.close()


class AsyncConnections:
    """Same as `Connections`, awaited, in one event loop after another."""

    def __init__(self, url: str, queries: Queries, size: int, timeout: float) -> None:
        self._conninfo = conninfo(url, timeout)
        self._queries = queries
        self._size = size
        self._timeout = timeout
        self._current: _Home | None = None
        self._is_closed = False

    async def run(self, query: Query[T]) -> T:
        """Same as `Connections.run`."""
        return await in_time_async(self._run(query), 3 * self._timeout + query.patience)

    async def _run(self, query: Query[T]) -> T:
        home, pool, connection = await self._take()
        try:
            rows = await connection.fetch(query, self._timeout)
        except psycopg.Error as exc:
            if connection.closed or isinstance(exc, psycopg.errors.ReadOnlySqlTransaction):
                await _let_go(home, pool)
            raise failures.store_error(exc) from None
        finally:
            await pool.putconn(connection)
        return query.read(rows)

    async def migrate(self) -> None:
        """Same as `Connections.migrate`."""
        self._check_open()
        async with await self._connect() as connection:
            await async_drive(self._queries.migration(), lambda query: _apart(connection, query, self._timeout))

    async def aclose(self) -> None:
        """Same as `Connections.close`. What another loop opened is closed when that loop ends."""
        self._is_closed = True
        home, self._current = self._current, None
        if home is not None and home.keeper is not None and _is_here(home):
            await home.keeper.aclose()

    async def _take(self) -> tuple[_Home, AsyncConnectionPool[AsyncConnection], AsyncConnection]:
        while True:
            home = self._home()
            pool = home.pool or await self._open(home)
            try:
                connection = await pool.getconn()
            except PoolClosed:
                continue  # another task has met a loss, or closed the store
            except psycopg.Error as exc:
                raise StoreUnavailableError(failures.BUSY) from exc
            if is_quiet(connection.fileno()):
                return home, pool, connection
            try:
                await _let_go(home, pool)
            finally:
                await pool.putconn(connection)

    def _home(self) -> _Home:
        home = self._current
        if home is not None and _is_here(home):
            return home
        self._check_open()
        if home is not None and home.pid != getpid():
            inherited.append(home)
        self._current = home = _Home(getpid(), asyncio.get_running_loop(), asyncio.Lock())
        return home

    async def _open(self, home: _Home) -> AsyncConnectionPool[AsyncConnection]:
        async with home.lock:
            if home.pool is not None:
                return home.pool
            self._check_open()
            await self._check_server()
            pool = AsyncConnectionPool(
                self._conninfo,
                connection_class=AsyncConnection,
                kwargs=SETTINGS,
                configure=home.note,
                min_size=0,
                max_size=self._size,
                name="safeklaviyo",
                timeout=self._timeout,
                reconnect_timeout=self._timeout,
                num_workers=1,
                open=False,
            )
            await pool.open()
            home.pool = pool
            if home.keeper is None:
                home.keeper = _keep(home)
                await anext(home.keeper)
            return pool

    async def _check_server(self) -> None:
        async with await self._connect() as connection:
            is_read_only = await _apart(connection, self._queries.check(), self._timeout)
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


def _is_here(home: _Home) -> bool:
    return home.loop is asyncio.get_running_loop() and home.pid == getpid()


async def _let_go(home: _Home, pool: AsyncConnectionPool[AsyncConnection]) -> None:
    if home.pool is pool:
        home.pool = None
    await pool.close()


async def _keep(home: _Home) -> AsyncGenerator[None, None]:
    """Close the pool at the end: on `aclose`, or when the loop ends, which closes its generators before itself."""
    try:
        yield
    finally:
        await home.close()


async def _apart(connection: AsyncConnection, query: Query[T], seconds: float) -> T:
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
