"""The connections of an identity map in PostgreSQL, as one process uses them. Their twins are in `async_connections`.

Decided here:

- A pool belongs to one process and is opened by its first use. Before that, and again after a connection was lost, a
  connection of its own says at once what is wrong, such as a refused password, which a pool would only wait for, and
  whether the map is of this version and may be written.
- A connection that has anything to say before it is asked has been ended by the server. It is never used, so that a
  restarted server is found without a failure. After any loss the whole pool is let go, because what one connection met
  the others have met too.
- Each statement is a transaction of its own, in autocommit, and nothing is kept in a session: neither prepared
  statements nor settings nor locks. So the map works behind PgBouncer in transaction mode.
- An answer is waited for no longer than the store's timeout, whatever the server or the network does.
- After a fork the child leaves its parent's pool alone. psycopg closes no connection of another process.
"""

from __future__ import annotations

import select
import time
from contextlib import suppress
from functools import partial
from os import getpid
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool, PoolClosed

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
"""Seconds to wait for a connection, and for an answer, before the map counts as unavailable."""
_HASTE: Final = 0.1
"""Seconds to wait for a pool's thread where a signal handler has raised."""

inherited: Final[list[object]] = []
"""Pools of a parent process: never closed here, which would take locks that the parent's threads may have held."""


class SlowError(psycopg.OperationalError):
    """No answer came in the time allowed. Never leaves the stores."""


def bounded(waits: PQGen[T], seconds: float) -> PQGen[T]:
    """Do as a generator of psycopg's does, but no longer than that.

    Raises:
        SlowError: It is not done yet.
    """
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
    """Tell whether nothing has come from a server that has not been asked."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return not poll.poll(0)


def conninfo(url: str, seconds: float) -> str:
    """Return what libpq is told: the user's own words, and a limit to connecting to each host where they set none.

    Raises:
        ConfigurationError: libpq does not understand it. It is not quoted, because it may hold a password.
    """
    try:
        given = conninfo_to_dict(url)
        # A host that is silent must leave time for the next one.
        share = seconds / (1 + max(str(given.get(name)).count(",") for name in ("host", "hostaddr")))
        limits: dict[str, Any] = {"connect_timeout": max(1, int(share)), "fallback_application_name": "safeklaviyo"}
        return make_conninfo("", **(limits | given))
    except psycopg.Error:
        raise ConfigurationError("the PostgreSQL URL of the identity map is none that libpq understands") from None


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that answers in time or fails, with one cursor for its life."""

    patience = PATIENCE
    _asking: psycopg.Cursor[tuple[Any, ...]] | None = None

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """See `psycopg.Connection.wait`."""
        try:
            return super().wait(bounded(gen, self.patience), *args, **kwargs)
        except SlowError:
            self.close()
            raise

    def fetch(self, query: Query[Any], seconds: float) -> Rows:
        """Execute a query, and return the rows of its answer."""
        self.patience = seconds + query.patience
        if self._asking is None:
            self._asking = psycopg.Cursor(self, row_factory=tuple_row)
        return fetched(self._asking, query)


def fetched(cursor: psycopg.Cursor[tuple[Any, ...]], query: Query[Any]) -> Rows:
    """Execute a query with a cursor, and return the rows of its answer."""
    # Binary numbers come back as they were stored, whatever the server's settings; several statements cannot be binary.
    cursor.execute(query.statement, query.parameters, prepare=False, binary=query.parameters is not None)
    return cursor.fetchall() if query.has_rows else []


class Connections:
    """The connections of one store, for as many processes as inherit it. Safe between threads.

    Args:
        url: What libpq understands.
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
        """Ask one thing.

        Raises:
            StoreUnavailableError: There was no answer, so that what was done is unknown.
        """
        return in_time(partial(self._ask, query), 3 * self._timeout + query.patience)

    def _ask(self, query: Query[T]) -> T:
        try:
            return self._run(query)
        except SafeKlaviyoError:
            raise
        except BaseException:
            # A signal handler raised: a connection may have been lost on its way between the pool and here.
            current = self._current
            if current is not None and current[0] == getpid():
                self._let_go(current[1], _HASTE)
            raise

    def _run(self, query: Query[T]) -> T:
        pool, connection = self._take()
        try:
            rows = connection.fetch(query, self._timeout)
        except psycopg.Error as exc:
            if connection.closed or isinstance(exc, psycopg.errors.ReadOnlySqlTransaction):
                self._let_go(pool)
            # Not chained: PostgreSQL quotes the values that it was given.
            raise failures.store_error(exc) from None
        except BaseException:
            self._let_go(pool, _HASTE)  # the answer may still come over this connection: it is never used again
            raise
        finally:
            pool.putconn(connection)
        return query.read(rows)

    def migrate(self) -> None:
        """Make the map where it is missing.

        Raises:
            StoreIncompatibleError: Something else stands there.
        """
        self._check_open()
        with self._connect() as connection:
            drive(self._queries.migration(), lambda query: apart(connection, query, self._timeout))

    def close(self) -> None:
        """Close what this process has opened, for good."""
        self._is_closed = True
        with self._lock():
            current, self._current = self._current, None
        if current is not None and current[0] == getpid():
            current[1].close()

    def _take(self) -> tuple[ConnectionPool[Connection], Connection]:
        """Return a connection that the server has not ended, and the pool that it goes back to."""
        while True:
            pool = self._pool()
            try:
                connection = pool.getconn()
            except PoolClosed:
                continue  # another thread has met a loss, or closed the store
            except psycopg.Error as exc:
                raise StoreUnavailableError(failures.BUSY) from exc
            if is_quiet(connection.fileno()):
                return pool, connection
            self._let_go(pool)
            pool.putconn(connection)

    def _pool(self) -> ConnectionPool[Connection]:
        current = self._current
        if current is not None and current[0] == getpid():
            return current[1]
        with self._lock():
            current = self._current
            if current is not None and current[0] == getpid():
                return current[1]
            self._check_open()
            self._check_server()
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
            is_read_only = apart(connection, self._queries.check(), self._timeout)
        if is_read_only:
            raise StoreUnavailableError(failures.READ_ONLY)

    def _connect(self) -> Connection:
        try:
            return Connection.connect(self._conninfo, **SETTINGS)
        except psycopg.Error as exc:
            raise StoreUnavailableError(failures.UNREACHABLE) from exc

    def _let_go(self, pool: ConnectionPool[Connection], patience: float = PATIENCE) -> None:
        with self._lock():
            if self._current is not None and self._current[1] is pool:
                self._current = None
        pool.close(patience)

    def _lock(self) -> Lock:
        # A lock for each process: one that another thread held at the fork would never be released in the child.
        return self._locks.setdefault(getpid(), Lock())

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreUnavailableError(failures.CLOSED)


def apart(connection: Connection, query: Query[T], seconds: float) -> T:
    """Ask one thing over a connection that no pool has."""
    try:
        rows = connection.fetch(query, seconds)
    except psycopg.Error as exc:
        raise failures.store_error(exc) from None
    return query.read(rows)


def drive(queries: Generator[Query[Any], Any, None], run: Callable[[Query[Any]], object]) -> None:
    """Ask one thing after the other."""
    with suppress(StopIteration):
        query = next(queries)
        while True:
            try:
                result = run(query)
            except SafeKlaviyoError as error:
                query = queries.throw(error)
            else:
                query = queries.send(result)
