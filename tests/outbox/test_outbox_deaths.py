"""Callers and workers in processes of their own, killed at any moment: nothing is lost, doubled or out of order."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from support.outbox import PostgresOutbox
from support.postgres_servers import migrated, own_database


def migrated_outbox(conninfo: str) -> str:
    """Make the tables, and return the database's URL."""
    parts = conninfo_to_dict(conninfo)
    user = f"{parts['user']}@" if parts.get("user") else ""
    url = migrated(f"postgresql://{user}{parts['host']}:{parts['port']}/{parts['dbname']}")
    with closing(PostgresOutbox(url)) as outbox:
        outbox.migrate()
    return url


READINGS = ["dropped", "refused_without_pointer"]
PROGRAM = """
import sys
from support.outbox_histories import Zygote, history
with Zygote() as zygote:
    url, first, last, reading = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    events = 0
    for seed in range(first, last):
        try:
            events += history(zygote, url.replace("SEED", str(seed)), seed, reading)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    print(last - first, events)
"""


def check_histories(url: str, first: int, last: int, reading: str) -> None:
    """Play histories in a process without threads and pytest's own children, and check that all came to an end."""
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parents[1]}:{Path(__file__).parents[2]}"}
    command = [sys.executable, "-c", PROGRAM, url, str(first), str(last), reading]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False, timeout=1200)
    assert 0 == done.returncode, done.stderr[-3000:]
    histories, events = map(int, done.stdout.split())
    assert histories == last - first
    assert events > histories


@pytest.mark.parametrize("reading", READINGS)
def test_sqlite(tmp_path, reading):
    """A file, under two readings of a repeated key in bulk."""
    check_histories(f"sqlite:///{tmp_path}/SEED.db", 1, 3, reading)


def test_postgres():
    """A server."""
    with own_database() as conninfo:
        check_histories(migrated_outbox(conninfo), 1, 3, "refused")


@pytest.mark.slow
@pytest.mark.parametrize("reading", READINGS)
def test_many_sqlite(tmp_path, reading):
    """Many histories in files."""
    check_histories(f"sqlite:///{tmp_path}/SEED.db", 100, 400, reading)


@pytest.mark.slow
def test_many_postgres():
    """Many histories on a server."""
    with own_database() as conninfo:
        check_histories(migrated_outbox(conninfo), 100, 400, "refused")
