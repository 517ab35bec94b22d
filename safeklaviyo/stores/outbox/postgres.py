"""The outbox in PostgreSQL: for all processes of all hosts that share a database.

Decided here: each operation is one transaction over one of the outbox's own connections. An insert is one statement,
and may also run over the caller's connection.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import psycopg

from safeklaviyo.errors import SafeKlaviyoError, StoreIncompatibleError
from safeklaviyo.stores.outbox import calls
from safeklaviyo.stores.outbox.at_once import insert_as_told, insert_at_once
from safeklaviyo.stores.outbox.base import AsyncOutbox, Outbox
from safeklaviyo.stores.outbox.callers import Recognising
from safeklaviyo.stores.outbox.failures import of_outbox
from safeklaviyo.stores.outbox.schema import VERSION, postgres_sql, postgres_tables
from safeklaviyo.stores.outbox.steps import steps_of
from safeklaviyo.stores.outbox.words import POSTGRES
from safeklaviyo.stores.patience import in_time, in_time_async
from safeklaviyo.stores.postgres import _failures as failures
from safeklaviyo.stores.postgres._async_connections import AsyncConnection, AsyncConnections
from safeklaviyo.stores.postgres._connections import PATIENCE, Connection, Connections
from safeklaviyo.stores.postgres._queries import SCAN, Query
from safeklaviyo.stores.postgres._schema import MIGRATE, named, quoted

if TYPE_CHECKING:
    from collections.abc import Generator

    from safeklaviyo.stores.outbox.calls import OutboxCall
    from safeklaviyo.stores.outbox.records import About
    from safeklaviyo.stores.outbox.words import Rows, Statement, Steps

T = TypeVar("T")

SIZE = 4
"""Connections at most."""
_MEMORY = 60.0
"""Seconds for which a direct call believes that there are no tables."""


class _Queries:
    """The queries of the outbox's tables, in one schema."""

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.tables: dict[str, str] = postgres_tables(quoted(schema))
        # A per cent sign in the schema's name must not be read as a parameter.
        self._escaped = {name: table.replace("%", "%%") for name, table in self.tables.items()}
        self._filled: dict[str, str] = {}

    def check(self) -> Query[bool]:
        """See `Queries.check`."""
        sql = "SELECT max(version), current_setting('transaction_read_only') = 'on' FROM {about}"
        return Query(sql.format(**self._escaped).encode(), (), _checked)

    def migration(self) -> Generator[Query[Any], Any, None]:
        """See `Queries.migration`."""
        for statement in postgres_sql(self.schema):
            yield Query(statement.encode(), None, bool, SCAN, has_rows=False)

    def filled(self, statement: Statement) -> Statement:
        """Return a statement as PostgreSQL takes it, with ``?`` for a parameter."""
        sql = self._filled.get(statement[0])
        if sql is None:
            sql = self._filled[statement[0]] = POSTGRES.filled(statement[0], self._escaped)
        return sql, statement[1]

    def query(self, statement: Statement) -> Query[Rows]:
        """Return a query for one of the outbox's own connections."""
        sql, parameters = self.filled(statement)
        has_rows = sql.startswith(("SELECT", "WITH")) or " RETURNING " in sql
        return Query(sql.replace("?", "%s").encode(), parameters, list, SCAN, has_rows=has_rows)


def _checked(rows: Rows) -> bool:
    version, is_read_only = rows[0]
    if version != VERSION:
        raise StoreIncompatibleError(f"the outbox's tables are not those of this version of safeklaviyo; {MIGRATE}")
    return bool(is_read_only)


_BEGIN = Query(b"BEGIN ISOLATION LEVEL READ COMMITTED", None, bool, has_rows=False)
_COMMIT = Query(b"COMMIT", None, bool, has_rows=False)


class _Connections(Connections):
    def transact(self, steps: Steps[T], queries: _Queries) -> T:
        """Carry out steps in one transaction."""
        try:
            return in_time(lambda: self._transact(steps, queries), 3 * self._timeout + SCAN)
        except SafeKlaviyoError as error:
            of_outbox(error)
            raise

    def migrate(self) -> None:
        """See `Connections.migrate`."""
        try:
            super().migrate()
        except SafeKlaviyoError as error:
            of_outbox(error)
            raise

    def _transact(self, steps: Steps[T], queries: _Queries) -> T:
        pool, connection = self._take()
        try:
            connection.fetch(_BEGIN, self._timeout)
            result = self._steps(connection, steps, queries)
            connection.fetch(_COMMIT, self._timeout)
        except psycopg.Error as exc:
            if connection.closed or isinstance(exc, psycopg.errors.ReadOnlySqlTransaction):
                self._discard(pool)
            # Not chained: PostgreSQL's message quotes the values that it was given (P8).
            raise failures.store_error(exc) from None
        finally:
            # The pool rolls back a transaction that was not committed.
            pool.putconn(connection)
        return result

    def _steps(self, connection: Connection, steps: Steps[T], queries: _Queries) -> T:
        try:
            statement = next(steps)
            while True:
                statement = steps.send(connection.fetch(queries.query(statement), self._timeout))
        except StopIteration as stop:
            value: T = stop.value
            return value


class _AsyncConnections(AsyncConnections):
    async def transact(self, steps: Steps[T], queries: _Queries) -> T:
        """Carry out steps in one transaction."""
        try:
            return await in_time_async(self._transact(steps, queries), 3 * self._timeout + SCAN)
        except SafeKlaviyoError as error:
            of_outbox(error)
            raise

    async def migrate(self) -> None:
        """See `Connections.migrate`."""
        try:
            await super().migrate()
        except SafeKlaviyoError as error:
            of_outbox(error)
            raise

    async def _transact(self, steps: Steps[T], queries: _Queries) -> T:
        _, pool, connection = await self._take()
        try:
            await connection.fetch(_BEGIN, self._timeout)
            result = await self._steps(connection, steps, queries)
            await connection.fetch(_COMMIT, self._timeout)
        except psycopg.Error as exc:
            # Not chained, as above.
            raise failures.store_error(exc) from None
        finally:
            await pool.putconn(connection)
        return result

    async def _steps(self, connection: AsyncConnection, steps: Steps[T], queries: _Queries) -> T:
        try:
            statement = next(steps)
            while True:
                statement = steps.send(await connection.fetch(queries.query(statement), self._timeout))
        except StopIteration as stop:
            value: T = stop.value
            return value


def _inserting(call: calls.Insert | calls.InsertAtOnce, *, has_map: bool) -> Any:
    """Return the steps of an insert; None if the function would need a map that is elsewhere."""
    if isinstance(call, calls.Insert):
        return insert_as_told(call)
    return insert_at_once(call) if has_map else None


def _expected(queries: _Queries, *, has_map: bool) -> tuple[str, ...]:
    """Return the tables by which a caller's database is recognised as the outbox's own."""
    return tuple(queries.tables[each] for each in (("about", "place") if has_map else ("about",)))


class _Missing:
    """Remembers for a while that there are no tables, so that direct calls do not ask each time."""

    def __init__(self) -> None:
        self._until = 0.0

    @property
    def is_known(self) -> bool:
        """Whether there were no tables a moment ago."""
        return time.monotonic() < self._until

    def note(self) -> None:
        """Note that there are no tables."""
        self._until = time.monotonic() + _MEMORY


class PostgresOutbox(Outbox):
    """An outbox in PostgreSQL. `migrate` creates its tables.

    Args:
        url: A PostgreSQL URL. Its parameter ``schema`` names the schema.
        schema: The schema, in place of the URL's.
        has_map: The schema also holds the identity map.
        timeout: Seconds to wait for a connection, and for an answer.
    """

    def __init__(
        self, url: str, *, schema: str | None = None, has_map: bool = False, timeout: float = PATIENCE
    ) -> None:
        server, own = named(url)
        self.queries: _Queries = _Queries(schema or own)
        self._has_map = has_map
        self._to = _Connections(server, cast("Any", self.queries), SIZE, timeout)
        self._callers = Recognising("postgres", _expected(self.queries, has_map=has_map), self.queries.filled)
        self.listening: tuple[str, str] | None = (server, self.queries.schema)
        self._about: About | None = None
        self._missing = _Missing()

    def migrate(self) -> None:
        """Create the tables that are missing."""
        self._to.migrate()

    def is_there(self) -> bool:
        """See `Outbox.is_there`."""
        if self._missing.is_known:
            return False
        try:
            self.perform(calls.ReadAbout(""))
        except StoreIncompatibleError:
            self._missing.note()
            return False
        return True

    def perform(self, call: OutboxCall[T]) -> T:
        """See `Outbox.perform`."""
        asked: Any = call
        if isinstance(asked, calls.ReadAbout | calls.LookAbout):
            if self._about is None:
                read = self._to.transact(steps_of(calls.ReadAbout("")), self.queries)
                self._about = replace(read, reads_map=self._has_map)
            return cast("T", self._about)
        if not isinstance(asked, calls.Insert | calls.InsertAtOnce):
            return self._to.transact(steps_of(call), self.queries)
        steps = _inserting(asked, has_map=self._has_map)
        if steps is None:
            return cast("T", None)
        if asked.connection is not None:
            return cast("T", self._callers.insert(asked.connection, steps))
        return cast("T", self._to.transact(steps, self.queries))

    def close(self) -> None:
        """See `Outbox.close`."""
        self._to.close()


class AsyncPostgresOutbox(AsyncOutbox):
    """Same as `PostgresOutbox`, awaited."""

    def __init__(
        self, url: str, *, schema: str | None = None, has_map: bool = False, timeout: float = PATIENCE
    ) -> None:
        server, own = named(url)
        self.queries: _Queries = _Queries(schema or own)
        self._has_map = has_map
        self._to = _AsyncConnections(server, cast("Any", self.queries), SIZE, timeout)
        self._callers = Recognising("postgres", _expected(self.queries, has_map=has_map), self.queries.filled)
        self._about: About | None = None
        self._missing = _Missing()

    async def migrate(self) -> None:
        """Same as `PostgresOutbox.migrate`."""
        await self._to.migrate()

    async def is_there(self) -> bool:
        """See `Outbox.is_there`."""
        if self._missing.is_known:
            return False
        try:
            await self.perform(calls.ReadAbout(""))
        except StoreIncompatibleError:
            self._missing.note()
            return False
        return True

    async def perform(self, call: OutboxCall[T]) -> T:
        """See `Outbox.perform`."""
        asked: Any = call
        if isinstance(asked, calls.ReadAbout | calls.LookAbout):
            if self._about is None:
                read = await self._to.transact(steps_of(calls.ReadAbout("")), self.queries)
                self._about = replace(read, reads_map=self._has_map)
            return cast("T", self._about)
        if not isinstance(asked, calls.Insert | calls.InsertAtOnce):
            return await self._to.transact(steps_of(call), self.queries)
        steps = _inserting(asked, has_map=self._has_map)
        if steps is None:
            return cast("T", None)
        if asked.connection is not None:
            return cast("T", await self._callers.insert_async(asked.connection, steps))
        return cast("T", await self._to.transact(steps, self.queries))

    async def aclose(self) -> None:
        """See `Outbox.close`."""
        await self._to.aclose()
