"""The tables, made and dropped by Django's migrations, so that test databases have them.

Decided here: the outbox's tables are made in the database that the settings name and in no other; the map's too, where
the map is in that database. What is there already is left as it is.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from safeklaviyo.django._settings import configuration, keeps_map_in_database
from safeklaviyo.errors import ConfigurationError
from safeklaviyo.stores.outbox.records import About
from safeklaviyo.stores.outbox.schema import SQLITE_TABLES, postgres_sql, postgres_tables, sqlite_sql

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from django.db.backends.base.base import BaseDatabaseWrapper

SCHEMA: Final = "safeklaviyo"
_MADE: Final = re.compile(r"^ *CREATE (TABLE|FUNCTION|SEQUENCE) (\S+?)\(?(?=[ ;(])", re.MULTILINE)


def make_missing(connection: BaseDatabaseWrapper) -> None:
    """Make the tables that are missing."""
    configured = configuration()
    if connection.vendor == "sqlite":
        execute(connection, sqlite_sql())
        return
    if keeps_map_in_database(configured) and not _has(connection, "binding"):
        execute(connection, [_map_sql()])
    execute(connection, postgres_sql(SCHEMA))


def drop_all(connection: BaseDatabaseWrapper) -> None:
    """Drop the tables, with all that is in them."""
    configured = configuration()
    if connection.vendor == "sqlite":
        execute(connection, [f"DROP TABLE IF EXISTS {each}" for each in SQLITE_TABLES.values()])
        return
    # The function first, because it takes rows of the tables. The map's tables are named besides, and dropped below.
    execute(connection, [f'DROP FUNCTION IF EXISTS "{SCHEMA}".outbox_put'])
    execute(connection, [f"DROP TABLE IF EXISTS {each}" for each in outbox_tables(connection).values()])
    if keeps_map_in_database(configured):
        execute(connection, _dropping())


def outbox_tables(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Return the outbox's own tables, by what they are called in its statements."""
    if connection.vendor == "sqlite":
        return dict(SQLITE_TABLES)
    named = postgres_tables(f'"{SCHEMA}"')
    return {name: named[name] for name in SQLITE_TABLES}


def has_outbox(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether the outbox's tables are there."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            return SQLITE_TABLES["about"] in connection.introspection.table_names(cursor)
    return _has(connection, "outbox_about")


def read_about(connection: BaseDatabaseWrapper) -> About:
    """Return what the outbox's tables say about themselves.

    Raises:
        ConfigurationError: There are none.
    """
    if not has_outbox(connection):
        raise ConfigurationError("the outbox's tables are missing: run manage.py migrate")
    about = outbox_tables(connection)["about"]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id, key FROM {about}")  # noqa: S608 - a name of ours
        return About(*cursor.fetchone())


def _has(connection: BaseDatabaseWrapper, table: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [f"{SCHEMA}.{table}"])
        return bool(cursor.fetchone()[0])


def execute(connection: BaseDatabaseWrapper, statements: list[str]) -> None:
    """Execute statements without parameters, in the transaction of the connection."""
    with _quiet(connection), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def _quiet(connection: BaseDatabaseWrapper) -> Generator[None]:
    """Leave the statements out of Django's list of queries, which `DEBUG` keeps for each request."""
    forced, connection.force_debug_cursor = connection.force_debug_cursor, False
    try:
        yield
    finally:
        connection.force_debug_cursor = forced


def _map_sql() -> str:
    from safeklaviyo.stores.postgres._schema import migration_sql  # noqa: PLC0415 - an extra

    return migration_sql(SCHEMA)


def _dropping() -> list[str]:
    """Return the statements that drop what the map's own statement has made. The schema may hold more, and stays."""
    made: list[tuple[str, str]] = []
    for kind, name in _MADE.findall(_map_sql()):
        if (kind, name) not in made:
            made.append((kind, name))
    return list(_drop(made))


def _drop(made: list[tuple[str, str]]) -> Iterator[str]:
    # A function takes and returns rows of a table, so the functions go first; but the tables' own defaults need two.
    for kind in ("FUNCTION", "TABLE", "SEQUENCE"):
        yield from (f"DROP {kind} IF EXISTS {name} CASCADE" for each, name in made if each == kind)
