"""Inserting a row over a connection of the caller's, in the caller's own transaction.

Decided here: which connections are recognised, and which statements are executed over them. The caller's connection is
never committed, rolled back or closed. Only a package that the caller has imported can have made the connection, so no
package is imported here to recognise one.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

from safeklaviyo.errors import ConfigurationError, StoreUnavailableError
from safeklaviyo.stores.outbox.words import OTHER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from safeklaviyo.stores.outbox.words import Rows, Statement, Steps

T = TypeVar("T")
Kind: TypeAlias = Literal["sqlite", "postgres"]

_ACCEPTED = (
    "connection has to be a connection, session or cursor of psycopg, sqlite3, SQLAlchemy or Django,"
    " blocking for Klaviyo and asynchronous for AsyncKlaviyo"
)
_FAILED = "the caller's connection failed while a row was inserted into the outbox; roll its transaction back"
_DRIVERS: Final = frozenset({"sqlite3", "psycopg", "psycopg2", "sqlalchemy", "django", "aiosqlite", "asyncpg"})


@dataclass(frozen=True, slots=True)
class Caller:
    """A connection of the caller's.

    Attributes:
        kind: The kind of database that the connection leads to.
        place: The server and the database. A program has few of them, so they can be remembered.
        mark: How a parameter is written: ``?`` or ``%s``.
        execute: Executes one statement in the caller's transaction, and returns its rows, or an awaitable of them.
    """

    kind: Kind
    place: tuple[object, ...]
    mark: str
    execute: Callable[[str, tuple[Any, ...]], Any]


class Recognising:
    """Inserts rows over callers' connections, and remembers in which places the outbox's tables were found."""

    def __init__(self, kind: Kind, tables: tuple[str, ...], filled: Callable[[Statement], Statement]) -> None:
        self._kind = kind
        self._tables = tables
        self._filled = filled
        self._known: set[tuple[object, ...]] = set()

    def insert(self, connection: object, steps: Steps[T]) -> T:
        """Insert a row over a blocking connection, with one statement.

        Raises:
            ConfigurationError: The connection is of no package that can be used, or leads to another database.
            StoreUnavailableError: The caller's connection has failed.
        """
        # Step 1: recognise the connection, before any statement could end the caller's transaction.
        caller = self._accepted(_blocking(connection))
        try:
            # Step 2: make sure that the tables are there, once in each place.
            if self._is_new(caller):
                self._check(caller, caller.execute(*self._asking(caller)))
            sql, parameters = self._filled(next(steps))
            rows: Rows = caller.execute(sql.replace("?", caller.mark), parameters)
        except Exception as error:  # noqa: BLE001 - that of a driver, which only its package names
            raise _failure(error) from None
        return _finished(steps, rows)

    async def insert_async(self, connection: object, steps: Steps[T]) -> T:
        """Same as `insert`, over an asynchronous connection."""
        caller = self._accepted(await _awaited(connection))
        try:
            if self._is_new(caller):
                self._check(caller, await caller.execute(*self._asking(caller)))
            sql, parameters = self._filled(next(steps))
            rows: Rows = await caller.execute(sql.replace("?", caller.mark), parameters)
        except Exception as error:  # noqa: BLE001 - as above
            raise _failure(error) from None
        return _finished(steps, rows)

    def _accepted(self, caller: Caller | None) -> Caller:
        if caller is None:
            raise ConfigurationError(_ACCEPTED)
        if caller.kind != self._kind:
            raise ConfigurationError(OTHER)
        return caller

    def _is_new(self, caller: Caller) -> bool:
        # In SQLite a failed statement leaves the transaction as it was. In PostgreSQL an insert into a missing table
        # would end the caller's transaction, so the table is looked for first.
        return self._kind == "postgres" and caller.place not in self._known

    def _asking(self, caller: Caller) -> tuple[str, tuple[Any, ...]]:
        asked = " AND ".join("to_regclass(?) IS NOT NULL" for _ in self._tables)
        return f"SELECT {asked}".replace("?", caller.mark), self._tables

    def _check(self, caller: Caller, rows: Rows) -> None:
        if not rows[0][0]:
            raise ConfigurationError(OTHER)
        self._known.add(caller.place)


def _finished(steps: Steps[T], rows: Rows) -> T:
    try:
        steps.send(rows)
    except StopIteration as stop:
        value: T = stop.value
        return value
    raise AssertionError("an insert is one statement")


def _failure(error: Exception) -> Exception:
    if isinstance(error, ConfigurationError) or type(error).__module__.partition(".")[0] not in _DRIVERS:
        return error
    if "no such table" in str(error):
        return ConfigurationError(OTHER)
    # Not chained: a driver's message quotes the values that it was given (P8).
    return StoreUnavailableError(_FAILED)


def _class(module: str, name: str) -> Any:
    """Return a class of a package that was imported; else a class without instances."""
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else _Nothing


class _Nothing:
    pass


def _blocking(connection: Any) -> Caller | None:
    if isinstance(connection, _class("psycopg", "Cursor") | _class("sqlite3", "Cursor")):
        connection = connection.connection
    if isinstance(connection, _class("psycopg", "Connection")):
        return _psycopg(connection)
    if isinstance(connection, _class("sqlite3", "Connection")):
        return _sqlite3(connection)
    if isinstance(connection, _class("sqlalchemy.orm", "Session")):
        connection = connection.connection()
    if isinstance(connection, _class("sqlalchemy", "Connection")):
        return _sqlalchemy(connection, lambda sql, parameters: _listed(connection.exec_driver_sql(sql, parameters)))
    if isinstance(connection, _class("django.db.backends.utils", "CursorWrapper")):
        connection = connection.db
    is_django = _class("django.db.backends.base.base", "BaseDatabaseWrapper")
    if isinstance(connection, is_django | _class("django.utils.connection", "ConnectionProxy")):
        return _django(connection)
    return None


async def _awaited(connection: Any) -> Caller | None:
    if isinstance(connection, _class("psycopg", "AsyncCursor")):
        connection = connection.connection
    if isinstance(connection, _class("psycopg", "AsyncConnection")):
        return _psycopg_async(connection)
    if isinstance(connection, _class("sqlalchemy.ext.asyncio", "AsyncSession")):
        connection = await connection.connection()
    if isinstance(connection, _class("sqlalchemy.ext.asyncio", "AsyncConnection")):
        opened = connection

        async def _execute(sql: str, parameters: tuple[Any, ...]) -> Rows:
            return _listed(await opened.exec_driver_sql(sql, parameters))

        return _sqlalchemy(connection.sync_connection, _execute)
    return None


def _listed(result: Any) -> Rows:
    return [tuple(row) for row in result.fetchall()]


def _psycopg(connection: Any) -> Caller:
    from psycopg import Cursor  # noqa: PLC0415 - the caller has it
    from psycopg.rows import tuple_row  # noqa: PLC0415 - as above

    def _execute(sql: str, parameters: tuple[Any, ...]) -> Rows:
        # Not the caller's cursor, which may have unread rows, or return rows in another shape.
        return Cursor(connection, row_factory=tuple_row).execute(sql.encode(), parameters).fetchall()

    return Caller("postgres", _place(connection), "%s", _execute)


def _psycopg_async(connection: Any) -> Caller:
    from psycopg import AsyncCursor  # noqa: PLC0415 - the caller has it
    from psycopg.rows import tuple_row  # noqa: PLC0415 - as above

    async def _execute(sql: str, parameters: tuple[Any, ...]) -> Rows:
        cursor = AsyncCursor(connection, row_factory=tuple_row)
        return await (await cursor.execute(sql.encode(), parameters)).fetchall()

    return Caller("postgres", _place(connection), "%s", _execute)


def _place(connection: Any) -> tuple[object, ...]:
    info = connection.info
    return info.host, info.port, info.dbname


def _sqlite3(connection: Any) -> Caller:
    def _execute(sql: str, parameters: tuple[Any, ...]) -> Rows:
        cursor = connection.cursor()
        # The caller may have set a factory on the connection; rows are read as plain tuples here.
        cursor.row_factory = None
        rows: Rows = cursor.execute(sql, parameters).fetchall()
        return rows

    return Caller("sqlite", (), "?", _execute)


def _sqlalchemy(connection: Any, execute: Callable[[str, tuple[Any, ...]], Rows | Awaitable[Rows]]) -> Caller | None:
    spoken, url = connection.dialect, connection.engine.url
    mark = {"qmark": "?", "format": "%s", "pyformat": "%s"}.get(spoken.paramstyle)
    if mark is None or spoken.name not in {"sqlite", "postgresql"}:
        return None
    kind: Kind = "sqlite" if spoken.name == "sqlite" else "postgres"
    return Caller(kind, (url.host, url.port, url.database), mark, execute)


def _django(connection: Any) -> Caller | None:
    kinds: dict[str, Kind] = {"sqlite": "sqlite", "postgresql": "postgres"}
    kind = kinds.get(connection.vendor)
    if kind is None:
        return None

    def _execute(sql: str, parameters: tuple[Any, ...]) -> Rows:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return _listed(cursor)

    settings = connection.settings_dict
    return Caller(kind, (settings.get("HOST"), settings.get("PORT"), settings.get("NAME")), "%s", _execute)
