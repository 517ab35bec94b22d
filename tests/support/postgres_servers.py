"""The PostgreSQL server that is there, a database of the tests' own on it, clocks to set, and servers of their own."""

import gc
import os
import shutil
import signal
import subprocess
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from safeklaviyo.stores.postgres import PostgresStore
from support.redis_servers import free_port

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
    give_up_at = time.monotonic() + 30
    while admin.execute(sought).fetchone()[0]:
        # A loop that ended in the middle of opening a connection leaves it to the collector.
        gc.collect()
        assert time.monotonic() < give_up_at, "a store's connection is still open"


def end_all(admin):
    """End every other connection to the database, as a restart would."""
    admin.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


class OwnCluster:
    """A PostgreSQL server of a test's own, in a folder; what was committed is there when it is started again."""

    def __init__(self, folder):
        self._bin = _binaries()
        # PostgreSQL refuses to run as root.
        self._user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self._folder = folder
        self._is_running = False
        self._paused = []

    def __enter__(self):
        if self._user:
            shutil.chown(self._folder, "postgres")
        self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()

    def start(self):
        """Start it, and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder} -c fsync=off"
        self._run("pg_ctl", "start", "-w", "-l", str(self._folder / "log"), "-o", options)
        self._is_running = True

    def kill(self):
        """End it at once, as a crash would: what was not committed is lost, and the log is read at the next start."""
        if self._is_running:
            self._run("pg_ctl", "stop", "-m", "immediate")
            self._is_running = False

    def pause(self):
        """Let it answer nobody, as if it hung."""
        with connect(self.url) as admin:
            clients = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
            self._paused = [pid for (pid,) in admin.execute(clients)]
        self._paused.append(int((self._folder / "data" / "postmaster.pid").read_text().split()[0]))
        self._signal(signal.SIGSTOP)

    def resume(self):
        """Let it go on where it was paused."""
        self._signal(signal.SIGCONT)

    def _signal(self, number):
        for pid in self._paused:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _run(self, name, *arguments):
        # In a folder that the other user may enter; its output is no pipe, which the server would keep open.
        command = [self._bin / name, "-D", self._folder / "data", *arguments]
        with (self._folder / f"{name}.log").open("w") as output:
            ended = subprocess.run(command, cwd=self._folder, stdout=output, stderr=output, check=False, **self._user)
        assert 0 == ended.returncode, (self._folder / f"{name}.log").read_text()


def _binaries():
    """Return the folder of the server's programs, which are seldom on the path."""
    folders = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    found = shutil.which("initdb", path=os.pathsep.join([*folders, os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip("initdb is not installed: PostgreSQL's server programs are needed")
    return Path(found).parent
