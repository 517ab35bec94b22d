"""The connections of one process to an identity map in PostgreSQL. `_async_connections` has the same, awaited.

Decided here:

- A pool belongs to one process, and its first use opens it. Before that, and again after a connection was lost, a
  separate connection checks the server: a pool would hide an error such as a refused password behind a timeout. The
  same connection checks that the map is of this version and may be written.
- A connection that has bytes to read before a statement was sent has been ended by the server. It is never used, so a
  restarted server costs no failed call. After any loss the whole pool is closed, because the other connections were
  lost in the same way.
- Each statement is a transaction of its own, in autocommit; an `add` is a transaction of two. A session keeps no state:
  no prepared statements, no settings, no locks. So the map works behind PgBouncer in transaction mode.
- The store waits for an answer no longer than its timeout, even if the server or the network is silent.
- After a fork the child does not touch its parent's pool. psycopg closes no connection of another process.
"""

from __future__ import annotations

import select
import sys
import time
from contextlib import suppress
from functools import partial
from os import getpid
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool, PoolClosed

from safeklaviyo._interruption import let_through
from safeklaviyo.errors import ConfigurationError, SafeKlaviyoError, StoreUnavailableError
from safeklaviyo.stores.patience import in_time
from safeklaviyo.stores.postgres import _failures as failures

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from psycopg.abc import PQGen

    from safeklaviyo.stores.postgres._queries import Queries, Query
    from safeklaviyo.stores.postgres._values import Rows

T = TypeVar("T")

SETTINGS: Final[dict[str, Any]] = {"autocommit": True, "prepare_threshold": None}
PATIENCE: Final = 5.0
"""Seconds to wait for a connection, and for an answer, until the store raises `StoreUnavailableError`."""
# A client that stops in between must not keep the account's other writers waiting for long.
BEGIN: Final = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '3s'"
COMMIT: Final = "COMMIT"
_HASTE: Final = 0.1
"""Seconds to wait for a pool's thread after a signal handler has raised: the handler's program is in a hurry."""

inherited: Final[list[object]] = []
"""Pools of a parent process, kept alive for ever. Closing or collecting one takes locks that the parent's threads may
have held at the fork."""


class SlowError(psycopg.OperationalError):
    """No answer came in the time allowed. Caught inside the stores."""


def bounded(waits: PQGen[T], seconds: float) -> PQGen[T]:
    """Run a generator of psycopg's, with a time limit for all of it.

    Raises:
        SlowError: The time is over.
    """
    # psycopg has no limit for an answer. It resumes this generator at an interval even if nothing has come (`ready` is
    # 0 then), so the clock can be read here.
    give_up_at = time.monotonic() + seconds
    try:
        wanted = next(waits)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= give_up_at:
                raise SlowError
            wanted = waits.send(ready)
    except StopIteration as stop:
        result: T = stop.value
        return result


def is_quiet(descriptor: int) -> bool:
    """Tell whether an idle connection has nothing to read. The server sends only when it ends such a connection."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return not poll.poll(0)


def conninfo(url: str, seconds: float) -> str:
    """Return a connection string for libpq: the user's settings, and a time limit for connecting if they set none.

    Raises:
        ConfigurationError: libpq does not understand the URL. The message does not quote it: it may hold a password.
    """
    try:
        given = conninfo_to_dict(url)
        # libpq tries the hosts in turn, with this limit for each: a silent host must leave time for the next.
        share = seconds / (1 + max(str(given.get(name)).count(",") for name in ("host", "hostaddr")))
        limits: dict[str, Any] = {"connect_timeout": max(1, int(share)), "fallback_application_name": "safeklaviyo"}
        return make_conninfo("", **(limits | given))
    except psycopg.Error:
        # Not chained: psycopg's message quotes the URL.
        raise ConfigurationError(
            "the PostgreSQL URL of the identity map is not understood; write postgresql://host/database"
        ) from None


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that answers within its time limit or is closed. It keeps one cursor for all statements."""

    patience = PATIENCE
    _asking: psycopg.Cursor[tuple[Any, ...]] | None = None

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """See `psycopg.Connection.wait`."""
        try:
            return super().wait(bounded(gen, self.patience), *args, **kwargs)
        except SlowError:
            # The answer may still come, and would be taken for that to the next statement.
            self.close()
            raise

    def fetch(self, query: Query[Any], seconds: float) -> Rows:
        """Execute a query, and return the rows of its answer."""
        self.patience = seconds + query.patience
        # One cursor for all: making one for each statement is a noticeable part of a `find` (F-32).
        if self._asking is None:
            self._asking = psycopg.Cursor(self, row_factory=tuple_row)
        return fetched(self._asking, query)


def fetched(cursor: psycopg.Cursor[tuple[Any, ...]], query: Query[Any]) -> Rows:
    """Execute a query with a cursor, and return the rows of its answer."""
    if query.turn is None:
        return _fetched(cursor, query)
    # In the transaction that is open, else in one of its own.
    is_own = cursor.connection.info.transaction_status == TransactionStatus.IDLE
    try:
        if is_own:
            cursor.execute(BEGIN, prepare=False)
        cursor.execute(*query.turn, prepare=False)
        rows = _fetched(cursor, query)
        if is_own:
            cursor.execute(COMMIT, prepare=False)
    except BaseException:
        if is_own and is_open(cursor.connection):
            with suppress(psycopg.Error):
                cursor.connection.rollback()
        raise
    return rows


def is_open(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Tell whether a connection has a transaction that can be rolled back now."""
    return connection.info.transaction_status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}


def _fetched(cursor: psycopg.Cursor[tuple[Any, ...]], query: Query[Any]) -> Rows:
    # Binary, because floats as text would depend on the server's settings. Without parameters it is a text of several
    # statements, for which PostgreSQL allows no binary answer.
    cursor.execute(query.statement, query.parameters, prepare=False, binary=query.parameters is not None)
    return cursor.fetchall() if query.has_rows else []


class Connections:
    """The connections of one store, a pool for each process that uses it. Safe between threads.

    Args:
        url: A PostgreSQL URL or connection string.
        queries: The store's queries.
        size: How many connections a process has at most.
        timeout: Seconds to wait for a connection, and for an answer.
    """

    def __init__(self, url: str, queries: Queries, size: int, timeout: float) -> None:
        self._conninfo = conninfo(url, timeout)
        self._queries = queries
        self._size = size
        self._timeout = timeout
        self._locks: dict[int, Lock] = {}
        self._current: tuple[int, ConnectionPool[Connection]] | None = None
        self._is_closed = False

    def run(self, query: Query[T]) -> T:
        """Execute one query, and return its result.

        Raises:
            StoreUnavailableError: There was no answer, so the operation may have been done or not.
        """
        return in_time(partial(self._ask, query), 3 * self._timeout + query.patience)

    def _ask(self, query: Query[T]) -> T:
        outer = sys.exception()
        try:
            try:
                return self._run(query)
            except SafeKlaviyoError as exc:
                # In some places psycopg calls all that is raised a failure of its own.
                let_through(exc, outer)
                raise
        except SafeKlaviyoError:
            raise
        except BaseException:
            # A signal handler raised. If it did so after the pool gave a connection out and before `_run` noted it,
            # that connection will never come back to the pool, which would run out of them. So a new pool is made.
            current = self._current
            if current is not None and current[0] == getpid():
                self._discard(current[1], _HASTE)
            raise

    def _run(self, query: Query[T]) -> T:
        pool, connection = self._take()
        try:
            rows = connection.fetch(query, self._timeout)
        except psycopg.Error as exc:
            # Read-only after a failover: the pool's connections lead to what is a standby now.
            if connection.closed or isinstance(exc, psycopg.errors.ReadOnlySqlTransaction):
                self._discard(pool)
            # Not chained: PostgreSQL quotes the values that it was given.
            raise failures.store_error(exc) from None
        except BaseException:
            # A signal handler raised: the answer may still come over this connection, so it must not be used again.
            self._discard(pool, _HASTE)
            raise
        finally:
            pool.putconn(connection)
        return query.read(rows)

    def migrate(self) -> None:
        """Create the map, if there is none.

        Raises:
            StoreIncompatibleError: The schema holds something else.
        """
        self._check_open()
        # Without a pool: opening the pool checks the tables, which are not there yet.
        with self._connect() as connection:
            drive(self._queries.migration(), lambda query: execute(connection, query, self._timeout))

    def close(self) -> None:
        """Close the connections of this process, for good."""
        self._is_closed = True
        with self._lock():
            current, self._current = self._current, None
        if current is not None and current[0] == getpid():
            current[1].close()

    def _take(self) -> tuple[ConnectionPool[Connection], Connection]:
        """Return a connection that the server has not ended, and the pool that it belongs to."""
        # The loop ends: each turn discards a pool, and opening the next one raises if the server does not answer.
        while True:
            pool = self._pool()
            try:
                connection = pool.getconn()
            except PoolClosed:
                continue  # another thread discarded the pool, or closed the store
            except psycopg.Error as exc:
                raise StoreUnavailableError(failures.BUSY) from exc
            if is_quiet(connection.fileno()):
                return pool, connection
            self._discard(pool)
            pool.putconn(connection)

    def _pool(self) -> ConnectionPool[Connection]:
        # First without the lock, for speed; then again with it, because another thread may have opened the pool.
        current = self._current
        if current is not None and current[0] == getpid():
            return current[1]
        with self._lock():
            current = self._current
            if current is not None and current[0] == getpid():
                return current[1]
            self._check_open()
            self._check_server()
            # The pool of the parent process, after a fork.
            if current is not None:
                inherited.append(current[1])
            pool = ConnectionPool(
                self._conninfo,
                connection_class=Connection,
                kwargs=SETTINGS,
                min_size=0,
                max_size=self._size,
                name="safeklaviyo",
                timeout=self._timeout,
                reconnect_timeout=self._timeout,
                num_workers=1,
                open=True,
            )
            self._current = (getpid(), pool)
            return pool

    def _check_server(self) -> None:
        with self._connect() as connection:
            is_read_only = execute(connection, self._queries.check(), self._timeout)
        if is_read_only:
            raise StoreUnavailableError(failures.READ_ONLY)

    def _connect(self) -> Connection:
        try:
            return Connection.connect(self._conninfo, **SETTINGS)
        except psycopg.Error as exc:
            raise StoreUnavailableError(failures.UNREACHABLE) from exc

    def _discard(self, pool: ConnectionPool[Connection], patience: float = PATIENCE) -> None:
        # Only if it is the current one still: another thread may have discarded it and opened a new pool.
        with self._lock():
            if self._current is not None and self._current[1] is pool:
                self._current = None
        pool.close(patience)

    def _lock(self) -> Lock:
        # A lock for each process: a lock that another thread held at the fork would stay locked in the child.
        return self._locks.setdefault(getpid(), Lock())

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreUnavailableError(failures.CLOSED)


def execute(connection: Connection, query: Query[T], seconds: float) -> T:
    """Execute one query over a connection that belongs to no pool."""
    try:
        rows = connection.fetch(query, seconds)
    except psycopg.Error as exc:
        # Not chained: PostgreSQL quotes the values that it was given.
        raise failures.store_error(exc) from None
    return query.read(rows)


def drive(queries: Generator[Query[Any], Any, None], run: Callable[[Query[Any]], object]) -> None:
    """Execute the queries that a generator yields, and send it the results, or throw the errors into it."""
    with suppress(StopIteration):
        query = next(queries)
        while True:
            try:
                result = run(query)
            except SafeKlaviyoError as error:
                query = queries.throw(error)
            else:
                query = queries.send(result)
