"""The PostgreSQL server that is there, a database of the tests' own on it, and clocks that a test can set."""

import os
import uuid
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from safeklaviyo.stores.postgres import PostgresStore

URL = os.environ.get("SAFEKLAVIYO_TEST_POSTGRES", "postgresql://127.0.0.1:5432/test")
TABLES = ("binding", "place", "leased", "lease", "journal", "note")


def connect(url):
    """Connect as anybody might, each statement for itself."""
    return psycopg.connect(url, autocommit=True)


@contextmanager
def own_database(encoding="UTF8"):
    """Give the URL of a database of a test module's own, if a server answers."""
    try:
        admin = psycopg.connect(URL, autocommit=True, connect_timeout=2)
    except psycopg.OperationalError:
        pytest.skip("no PostgreSQL server answers: start one, and name it in SAFEKLAVIYO_TEST_POSTGRES")
    name = f"safeklaviyo_{uuid.uuid4().hex}"
    with admin:
        admin.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        # Each change would reach the disk, which no test is about.
        admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        try:
            yield make_conninfo(URL, dbname=name)
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def migrated(url, schema="safeklaviyo"):
    """Make the tables, and return the URL."""
    with PostgresStore(url, schema=schema) as store:
        store.migrate()
    return url


def emptied(admin, schema="safeklaviyo"):
    """Delete all rows."""
    for table in TABLES:
        admin.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(schema, table)))


class ServerClock:
    """The clock of a map whose function that tells the time was replaced by one that a test sets."""

    moment = 1.0
    is_exact = True

    def __init__(self, admin, schema="safeklaviyo", now=1_800_000_000.0):
        self._admin = admin
        self._hands = sql.Identifier(schema, "hands")
        function = sql.Identifier(schema, "clock")
        admin.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {}(at double precision)").format(self._hands))
        admin.execute(sql.SQL("DELETE FROM {}").format(self._hands))
        admin.execute(sql.SQL("INSERT INTO {} VALUES (%s)").format(self._hands), (now,))
        body = sql.SQL("SELECT at FROM {}").format(self._hands).as_string(admin)
        head = sql.SQL("CREATE OR REPLACE FUNCTION {}() RETURNS double precision LANGUAGE sql VOLATILE AS {}")
        admin.execute(head.format(function, body))

    def advance(self, seconds):
        """Let time pass."""
        self._admin.execute(sql.SQL("UPDATE {} SET at = at + %s").format(self._hands), (seconds,))


@contextmanager
def writers_held_up(url, account="shop", schema="safeklaviyo"):
    """Be a writer of the account who does not end, and whose turn everybody else has to wait for."""
    with psycopg.connect(url) as connection:
        connection.execute(sql.SQL("SELECT {}(%s)").format(sql.Identifier(schema, "enter")), (account,))
        yield connection
        connection.rollback()


def wait_for_a_waiter(admin):
    """Return the backend that waits for a turn, as soon as there is one."""
    while True:
        sought = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        row = admin.execute(sought).fetchone()
        if row is not None:
            return row[0]


def wait_until_nobody_is_connected(admin):
    """Wait until no store has a connection to the database any more."""
    sought = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'safeklaviyo' AND datname = current_database()"
    )
    while admin.execute(sought).fetchone()[0]:
        pass


def end_all(admin):
    """End every other connection to the database, as a restart would."""
    admin.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
