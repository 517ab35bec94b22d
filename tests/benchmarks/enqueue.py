"""What a row of the outbox costs the shop, beside the shop's own insert of a row of that size in the same run.

Each is one transaction over the caller's open connection: begin, one insert, commit. The plain insert is the shop's own
statement with the same event in a column of JSON, into a table with a key and an index. CPU is that of this process and
of the server's backend.
"""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import statistics
import time
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psycopg

from safeklaviyo import Klaviyo
from safeklaviyo.stores.postgres import PostgresStore
from tests.benchmarks.measuring import ACCOUNT, KEY
from tests.benchmarks.stores import POSTGRES
from tests.support.postgres import outbox_sql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TICKS: Final = os.sysconf("SC_CLK_TCK")
PROPERTIES: Final = {
    "items": ["The Art of Computer Programming", "Concrete Mathematics"], "currency": "EUR", "coupon": None,
    "shipping": "standard", "item_count": 2, "url": "https://shop.example.net/orders/1815", "gift": False,
}  # fmt: skip
PLAIN: Final = "the shop's own insert"
QUEUED: Final = "outbox.track"
PLAIN_TABLE: Final = "CREATE TABLE plain(id {identity}, customer TEXT, at {real}, body TEXT)"


class Spent(NamedTuple):
    """Microseconds for a row: on the wall, and of all processors."""

    wall: float
    cpu: float


class Place(NamedTuple):
    """Where rows are inserted.

    Attributes:
        url: The map's database, which is the outbox's, too.
        connection: The shop's own.
        mark: How a parameter is written.
        server: Returns the processor time of the server's backend so far, in seconds.
    """

    name: str
    url: str
    connection: Any
    mark: str
    server: Callable[[], float]


@contextmanager
def in_sqlite(folder: Path, synchronous: str = "FULL") -> Iterator[Place]:
    """A file with the map, the outbox and the shop's table."""
    path = folder / f"{uuid.uuid4().hex}.db"
    with Klaviyo(KEY, account=ACCOUNT, store=f"sqlite:///{path}") as client:
        client.outbox.counts()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute(PLAIN_TABLE.format(identity="INTEGER PRIMARY KEY", real="REAL"))
    connection.execute("CREATE INDEX plain_customer ON plain(customer)")
    connection.commit()
    yield Place(f"SQLite, synchronous={synchronous}", f"sqlite:///{path}", connection, "?", lambda: 0.0)
    connection.close()


@contextmanager
def in_postgres() -> Iterator[Place]:
    """A schema on a server of this machine."""
    schema = f"benchmark_{uuid.uuid4().hex[:8]}"
    url = f"{POSTGRES}?schema={schema}"
    with PostgresStore(POSTGRES, schema=schema) as store:
        store.migrate()
    with psycopg.connect(POSTGRES) as connection:
        for statement in outbox_sql(schema):
            connection.execute(statement)
        connection.execute(f'SET search_path = "{schema}"')
        identity = "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
        connection.execute(PLAIN_TABLE.format(identity=identity, real="double precision"))
        connection.execute("CREATE INDEX plain_customer ON plain(customer)")
        connection.commit()
        stat = Path(f"/proc/{connection.info.backend_pid}/stat")

        def server() -> float:
            return sum(int(part) for part in stat.read_text().rpartition(")")[2].split()[11:13]) / TICKS

        try:
            yield Place("PostgreSQL, psycopg", url, connection, "%s", server)
        finally:
            connection.rollback()
            connection.execute(f"DROP SCHEMA {schema} CASCADE")


def plain(place: Place) -> Callable[[int], object]:
    """Return the shop's own insert."""
    sql = f"INSERT INTO plain(customer, at, body) VALUES ({place.mark}, {place.mark}, {place.mark})"

    def insert(number: int) -> None:
        body = {"event": "Placed Order", "value": 12.5, "unique_id": f"order-{number}", "properties": PROPERTIES}
        place.connection.execute(sql, (f"c{number % 1000}", time.time(), json.dumps(body)))
        place.connection.commit()

    return insert


def queued(place: Place, client: Klaviyo) -> Callable[[int], object]:
    """Return the insert of a row of the outbox."""

    def insert(number: int) -> None:
        who = number % 1000
        client.outbox.track(
            "Placed Order", external_id=f"c{who}", email=f"c{who}@shop.example.net", value=12.5, properties=PROPERTIES,
            unique_id=f"order-{number}", connection=place.connection,
        )  # fmt: skip
        place.connection.commit()

    return insert


def measured(insert: Callable[[int], object], number: int, server: Callable[[], float]) -> Spent:
    """Insert rows, and return what each cost."""
    before, start = _own() + server(), time.perf_counter()
    for each in range(number):
        insert(each)
    wall = time.perf_counter() - start
    return Spent(wall / number * 1e6, (_own() + server() - before) / number * 1e6)


def _own() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def compare(folder: Path, number: int, rounds: int) -> None:
    """Measure both in turns, in each database."""
    print(f"\n{number:,} rows a round, microseconds for each, medians of {rounds} rounds: wall, all processors, ours")
    with ExitStack() as opened:
        for place in (in_sqlite(folder), in_sqlite(folder, "OFF"), in_postgres()):
            _compare(opened.enter_context(place), number, rounds)


def _compare(place: Place, number: int, rounds: int) -> None:
    with Klaviyo(KEY, account=ACCOUNT, store=place.url) as client:
        client.bindings.add(
            {"external_id": f"c{each}", "email": f"c{each}@shop.example.net", "profile_id": f"P{each:024d}"}
            for each in range(1000)
        )
        calls = {PLAIN: plain(place), QUEUED: queued(place, client)}
        for call in calls.values():
            measured(call, 200, place.server)
        spent: dict[str, list[tuple[Spent, float]]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, call in calls.items():
                before = _own()
                both = measured(call, number, place.server)
                spent[name].append((both, (_own() - before) / number * 1e6))
    print(f"\n{place.name}")
    medians = {
        name: (
            statistics.median(each.wall for each, _ in told),
            statistics.median(each.cpu for each, _ in told),
            statistics.median(own for _, own in told),
        )
        for name, told in spent.items()
    }
    for name, values in medians.items():
        ratios = [value / base for value, base in zip(values, medians[PLAIN], strict=True)]
        print(
            f"  {name:<24}"
            + "".join(f"{value:9.1f} (x {ratio:.2f})" for value, ratio in zip(values, ratios, strict=True))
        )
