"""Draining an outbox that is full: ``python -m tests.benchmarks.draining`` from the project's root, by hand.

What is measured: the processor time of this process and of the database's server for each row, and how many rows a
second go. With ``--paced`` the server is the simulator with Klaviyo's limits, and the time that a real clock takes
counts. The rows are queued before, by the client itself.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import tempfile
import time
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import make_url

from safeklaviyo.stores.postgres import PostgresStore
from tests.benchmarks.__main__ import served
from tests.benchmarks.bulk import cpu_of, events, opened, simulated
from tests.benchmarks.measuring import ACCOUNT
from tests.benchmarks.stores import POSTGRES
from tests.support.postgres import outbox_sql
from tests.support.worker import Limits, Notifier, OfKlaviyo, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeklaviyo import Klaviyo

PART = 1000


@contextmanager
def database(which: str, folder: Path) -> Iterator[str]:
    """Yield the URL of a store for the map and the outbox: a file, or a database of its own in PostgreSQL."""
    if which == "sqlite":
        yield f"sqlite:///{folder / 'map.db'}"
        return
    name = f"draining_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(POSTGRES, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        url = make_url(POSTGRES).set(database=name).render_as_string(hide_password=False)
        try:
            with PostgresStore(url) as store:
                store.migrate()
            with psycopg.connect(url, autocommit=True) as connection:
                for statement in outbox_sql("safeklaviyo"):
                    connection.execute(statement)
            yield url
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def queue(client: Klaviyo, store: str, number: int) -> None:
    """Queue events, a thousand in a transaction."""
    path = store.removeprefix("sqlite:///")
    connection: Any = psycopg.connect(store) if path == store else sqlite3.connect(path)
    for at, event in enumerate(events(number, "draining"), 1):
        client.outbox.track(**event, connection=connection)
        if at % PART == 0:
            connection.commit()
    connection.commit()
    connection.execute("ANALYZE")
    connection.commit()
    connection.close()


def server_cpu(store: str) -> dict[int, float]:
    """Return the processor time of each process of the server that works in a store's database, in seconds."""
    if store.startswith("sqlite"):
        return {}
    with psycopg.connect(store) as connection:
        sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        return {process: cpu_of(process) for (process,) in connection.execute(sql)}


def work(client: Klaviyo, threads: int) -> None:
    """Run a worker until no row waits."""
    worker = Worker(OfKlaviyo(client), Limits(threads=threads), Notifier({}))
    running = Thread(target=worker.run)
    running.start()
    while client.outbox.lanes():
        time.sleep(0.5)
    worker.stop()
    running.join()


def measure(client: Klaviyo, number: int, threads: int, store: str) -> None:
    """Print what the rows cost, and how long they take."""
    before = server_cpu(store)
    began, spent = time.monotonic(), time.process_time()
    work(client, threads) if threads else client.outbox.drain()
    seconds, spent = time.monotonic() - began, time.process_time() - spent
    on_server = sum(now - before.get(process, 0.0) for process, now in server_cpu(store).items())
    left = client.outbox.counts()
    assert (0, 0) == (left.waiting, left.dead), left
    how = f"a worker of {threads} threads" if threads else "one drain"
    print(
        f"{store.partition(':')[0]}, {number:,} rows by {how}: {seconds:.1f} s, {number / seconds:,.0f} rows a second"
    )
    print(f"  processor {spent / number * 1e6:.0f} us a row here", end="")
    print(f", {on_server / number * 1e6:.0f} us in the server" if before else "", end="")
    print(f"; load {os.getloadavg()[0]:.0f}")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=4, help="of the worker; 0 for one call of drain")
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--paced", action="store_true", help="against the simulator with Klaviyo's limits")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = stack.enter_context(database(given.store, folder))
        if given.paced:
            url, _ = stack.enter_context(simulated())
        else:
            url = stack.enter_context(served(folder)).urls["plain"]
        account = "SiMuLa" if given.paced else ACCOUNT
        client = stack.enter_context(opened(url, store, "draining", account))
        queue(client, store, given.rows)
        measure(client, given.rows, given.threads, store)


if __name__ == "__main__":
    main()
