"""Which connections of the caller's a row can be inserted over, in the caller's own transaction.

Decided here: how a connection is recognised, and what is asked of it. It is never committed, rolled back or closed. A
package that was not imported cannot have made it, so none is imported here.
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
        kind: The database that it leads to.
        place: The server and the database, which a program has few of.
        mark: How a parameter is written: ``?`` or ``%s``.
        execute: Executes one statement in the caller's transaction, and returns its rows, or an awaitable of them.
    """

    kind: Kind
    place: tuple[object, ...]
    mark: str
    execute: Callable[[str, tuple[Any, ...]], Any]


class Recognising:
    """What an outbox remembers of callers' connections: to which places its tables were found to belong."""

    def __init__(self, kind: Kind, tables: tuple[str, ...], filled: Callable[[Statement], Statement]) -> None:
        self._kind = kind
        self._tables = tables
        self._filled = filled
        self._known: set[tuple[object, ...]] = set()

    def insert(self, connection: object, steps: Steps[T]) -> T:
        """Insert a row over a blocking connection, with one statement.

        Raises:
            ConfigurationError: It is no connection that can be used, or it leads to another database.
        """
        caller = self._accepted(_blocking(connection))
        try:
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
        # In SQLite a statement that fails leaves the transaction as it was. In PostgreSQL a missing table would end it,
        # so it is asked for once in each place.
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
    # Not chained: a driver quotes the values that it was given.
    return StoreUnavailableError(_FAILED)


def _class(module: str, name: str) -> Any:
    """Return a class of a package that was imported; a class that nothing is an instance of, if it was not."""
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

        async def execute(sql: str, parameters: tuple[Any, ...]) -> Rows:
            return _listed(await opened.exec_driver_sql(sql, parameters))

        return _sqlalchemy(connection.sync_connection, execute)
    return None


def _listed(result: Any) -> Rows:
    return [tuple(row) for row in result.fetchall()]


def _psycopg(connection: Any) -> Caller:
    from psycopg import Cursor  # noqa: PLC0415 - the caller has it
    from psycopg.rows import tuple_row  # noqa: PLC0415 - as above

    def execute(sql: str, parameters: tuple[Any, ...]) -> Rows:
        # A cursor of its own, because the caller's may have unread rows, and rows of another shape.
        return Cursor(connection, row_factory=tuple_row).execute(sql.encode(), parameters).fetchall()

    return Caller("postgres", _place(connection), "%s", execute)


def _psycopg_async(connection: Any) -> Caller:
    from psycopg import AsyncCursor  # noqa: PLC0415 - the caller has it
    from psycopg.rows import tuple_row  # noqa: PLC0415 - as above

    async def execute(sql: str, parameters: tuple[Any, ...]) -> Rows:
        cursor = AsyncCursor(connection, row_factory=tuple_row)
        return await (await cursor.execute(sql.encode(), parameters)).fetchall()

    return Caller("postgres", _place(connection), "%s", execute)


def _place(connection: Any) -> tuple[object, ...]:
    info = connection.info
    return info.host, info.port, info.dbname


def _sqlite3(connection: Any) -> Caller:
    def execute(sql: str, parameters: tuple[Any, ...]) -> Rows:
        cursor = connection.cursor()
        cursor.row_factory = None
        rows: Rows = cursor.execute(sql, parameters).fetchall()
        return rows

    return Caller("sqlite", (), "?", execute)


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

    def execute(sql: str, parameters: tuple[Any, ...]) -> Rows:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return _listed(cursor)

    settings = connection.settings_dict
    return Caller(kind, (settings.get("HOST"), settings.get("PORT"), settings.get("NAME")), "%s", execute)
