"""Inserting a row over a connection of the caller's, in the caller's own transaction.

Decided here: which connections are recognised, and which statements are executed over them. The caller's connection is
never committed, rolled back or closed. Only a package that the caller has imported can have made the connection, so no
package is imported here to recognise one.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar
from weakref import WeakSet

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
        place: Returns the server and the database. A program has few of them, so they can be remembered.
        mark: How a parameter is written: ``?`` or ``%s``.
        execute: Executes one statement in the caller's transaction, and returns its rows, or an awaitable of them.
        stays: The connection, if it leads to one place for its whole life.
    """

    kind: Kind
    place: Callable[[], tuple[object, ...]]
    mark: str
    execute: Callable[[str, tuple[Any, ...]], Any]
    stays: object = None


class Recognising:
    """Inserts rows over callers' connections, and remembers in which places the outbox's tables were found."""

    def __init__(self, kind: Kind, tables: tuple[str, ...], filled: Callable[[Statement], Statement]) -> None:
        self._kind = kind
        self._tables = tables
        self._filled = filled
        self._known: set[tuple[object, ...]] = set()
        self._checked: WeakSet[Any] = WeakSet()

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
            rows: Rows = caller.execute(_marked(sql, caller.mark), parameters)
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
            rows: Rows = await caller.execute(_marked(sql, caller.mark), parameters)
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
        if self._kind == "sqlite" or (caller.stays is not None and caller.stays in self._checked):
            return False
        if caller.place() not in self._known:
            return True
        if caller.stays is not None:
            self._checked.add(caller.stays)
        return False

    def _asking(self, caller: Caller) -> tuple[str, tuple[Any, ...]]:
        asked = " AND ".join("to_regclass(?) IS NOT NULL" for _ in self._tables)
        return f"SELECT {asked}".replace("?", caller.mark), self._tables

    def _check(self, caller: Caller, rows: Rows) -> None:
        if not rows[0][0]:
            raise ConfigurationError(OTHER)
        self._known.add(caller.place())


@lru_cache(maxsize=256)
def _marked(sql: str, mark: str) -> str:
    return sql.replace("?", mark)


@lru_cache(maxsize=256)
def _encoded(sql: str) -> bytes:
    return sql.encode()


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
    return StoreUnavailableError(f"{_FAILED} ({_named(error)})")


def _named(error: BaseException) -> str:
    """Return what of a driver's error may be shown: its class and its code, which quote nothing."""
    # SQLAlchemy and Django raise errors of their own for the driver's.
    inner = getattr(error, "orig", None) or error.__cause__
    if isinstance(inner, Exception) and type(inner).__module__.partition(".")[0] in _DRIVERS:
        return _named(inner)
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    code = f"SQLSTATE {state}" if state else getattr(error, "sqlite_errorname", None)
    # A connection that is closed, or of another thread, is refused by the driver itself, which has no codes.
    return f"{type(error).__name__}, {code}" if code else type(error).__name__


def _class(module: str, name: str) -> Any:
    """Return a class of a package that was imported; else a class without instances."""
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else _Nothing


class _Nothing:
    pass


def _blocking(connection: object) -> Caller | None:
    """Recognise a blocking connection. The class of each connection is looked at once."""
    kind = type(connection)
    using = _using.get(kind)
    if using is None:
        using = _recognised(connection)
        # A proxy of one class may stand for connections of several packages.
        if using is not None and connection.__class__ is kind:
            _using[kind] = using
    return None if using is None else using(connection)


_using: Final[dict[type, Callable[[Any], Caller | None]]] = {}
"""How a connection of each class that was recognised is used."""


def _recognised(connection: Any) -> Callable[[Any], Caller | None] | None:
    """Return how a connection is used; None if no package that can be used has made it."""
    for module, name, using in _BLOCKING:
        if isinstance(connection, _class(module, name)):
            return using
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
        return Cursor(connection, row_factory=tuple_row).execute(_encoded(sql), parameters).fetchall()

    return Caller("postgres", lambda: _place(connection), "%s", _execute, connection)


def _psycopg_async(connection: Any) -> Caller:
    from psycopg import AsyncCursor  # noqa: PLC0415 - the caller has it
    from psycopg.rows import tuple_row  # noqa: PLC0415 - as above

    async def _execute(sql: str, parameters: tuple[Any, ...]) -> Rows:
        cursor = AsyncCursor(connection, row_factory=tuple_row)
        return await (await cursor.execute(_encoded(sql), parameters)).fetchall()

    return Caller("postgres", lambda: _place(connection), "%s", _execute, connection)


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

    return Caller("sqlite", tuple, "?", _execute)


def _sqlalchemy_blocking(connection: Any) -> Caller | None:
    return _sqlalchemy(connection, lambda sql, parameters: _listed(connection.exec_driver_sql(sql, parameters)))


def _sqlalchemy(connection: Any, execute: Callable[[str, tuple[Any, ...]], Rows | Awaitable[Rows]]) -> Caller | None:
    spoken, url = connection.dialect, connection.engine.url
    mark = {"qmark": "?", "format": "%s", "pyformat": "%s"}.get(spoken.paramstyle)
    if mark is None or spoken.name not in {"sqlite", "postgresql"}:
        return None
    kind: Kind = "sqlite" if spoken.name == "sqlite" else "postgres"
    return Caller(kind, lambda: (url.host, url.port, url.database), mark, execute)


def _django(connection: Any) -> Caller | None:
    kinds: dict[str, Kind] = {"sqlite": "sqlite", "postgresql": "postgres"}
    kind = kinds.get(connection.vendor)
    if kind is None:
        return None

    def _execute(sql: str, parameters: tuple[Any, ...]) -> Rows:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return _listed(cursor)

    def _where() -> tuple[object, ...]:
        settings = connection.settings_dict
        return settings.get("HOST"), settings.get("PORT"), settings.get("NAME")

    return Caller(kind, _where, "%s", _execute)


_BLOCKING: Final[tuple[tuple[str, str, Callable[[Any], Caller | None]], ...]] = (
    ("psycopg", "Connection", _psycopg),
    ("psycopg", "Cursor", lambda cursor: _psycopg(cursor.connection)),
    ("sqlite3", "Connection", _sqlite3),
    ("sqlite3", "Cursor", lambda cursor: _sqlite3(cursor.connection)),
    ("sqlalchemy", "Connection", _sqlalchemy_blocking),
    ("sqlalchemy.orm", "Session", lambda session: _sqlalchemy_blocking(session.connection())),
    ("sqlalchemy.orm", "scoped_session", lambda scoped: _sqlalchemy_blocking(scoped().connection())),
    ("django.db.backends.base.base", "BaseDatabaseWrapper", _django),
    ("django.db.backends.utils", "CursorWrapper", lambda cursor: _django(cursor.db)),
    ("django.utils.connection", "ConnectionProxy", _django),
)
"""The classes of blocking connections, and how one of each is used."""
