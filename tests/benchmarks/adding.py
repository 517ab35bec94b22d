"""What a row of an import costs in each store, beside the driver's own way to write the same rows in the same run.

A row is ``bindings.add``'s whole work: reading, checking, and the store's transaction of a thousand rows. "checked
alone" is the same without a store, "the store alone" is `IdentityStore.add` of rows that are checked already. CPU is
that of this process and of the server's.
"""

from __future__ import annotations

import os
import resource
import sqlite3
import time
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psycopg
import redis

from safeklaviyo import Klaviyo
from safeklaviyo.models import Binding
from safeklaviyo.stores import open_store
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.stores.postgres import PostgresStore
from tests.benchmarks.measuring import ACCOUNT, KEY
from tests.benchmarks.stores import POSTGRES, REDIS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from safeklaviyo.stores.base import AddStatus, IdentityStore

AT_ONCE: Final = 1000
TICKS: Final = os.sysconf("SC_CLK_TCK")

Given = dict[str, object]


class Spent(NamedTuple):
    """Microseconds for a row: on the wall, and of all processors."""

    wall: float
    cpu: float


class Place(NamedTuple):
    """A store that is measured.

    Attributes:
        store: Opens an empty map.
        plain: Writes the same rows with the driver alone; called with the map's name.
        server: Returns the server's processor time so far, in seconds.
    """

    name: str
    store: Callable[[], IdentityStore]
    plain: Callable[[Sequence[Binding]], None]
    server: Callable[[], float]


class _Nothing(MemoryStore):
    """A store that takes every row and keeps none."""

    def add(self, account: str, bindings: Sequence[Binding]) -> tuple[AddStatus, ...]:
        return ("added",) * len(bindings)


def rows(number: int) -> list[Given]:
    """Return customers as a shop gives them."""
    return [
        {"external_id": f"c{each}", "email": f"c{each}@shop.example.net", "profile_id": f"P{each:024d}"}
        for each in range(number)
    ]


def _parts(bindings: Sequence[Binding]) -> Iterator[Sequence[Binding]]:
    for start in range(0, len(bindings), AT_ONCE):
        yield bindings[start : start + AT_ONCE]


def _places(binding: Binding) -> list[tuple[str, str]]:
    names = (("external_id", binding.external_id), ("email", binding.email), ("profile_id", binding.profile_id))
    return [(kind, value) for kind, value in names if value is not None]


@contextmanager
def in_sqlite(folder: Path) -> Iterator[Place]:
    """A file."""

    def store() -> IdentityStore:
        return open_store(f"sqlite:///{folder / uuid.uuid4().hex}.db")

    def plain(bindings: Sequence[Binding]) -> None:
        path = folder / f"{uuid.uuid4().hex}.db"
        with open_store(f"sqlite:///{path}") as made:
            made.count(ACCOUNT)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        at = 0
        for part in _parts(bindings):
            numbered = list(enumerate(part, start=at + 1))
            at += len(part)
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO binding VALUES (?, ?, ?, ?, ?, NULL, NULL, 1)",
                [(number, ACCOUNT, each.external_id, each.email, each.profile_id) for number, each in numbered],
            )
            connection.executemany(
                "INSERT INTO place VALUES (?, ?, ?, ?, NULL)",
                [(ACCOUNT, *name, number) for number, each in numbered for name in _places(each)],
            )
            connection.execute("COMMIT")
        connection.close()

    yield Place("SQLite, executemany", store, plain, lambda: 0.0)


@contextmanager
def in_postgres() -> Iterator[Place]:
    """A schema on a server of this machine."""
    made: list[str] = []
    with psycopg.connect(POSTGRES, autocommit=True) as admin:

        def schema() -> str:
            made.append(f"benchmark_{uuid.uuid4().hex[:8]}")
            with PostgresStore(POSTGRES, schema=made[-1]) as store:
                store.migrate()
            return made[-1]

        def plain(bindings: Sequence[Binding]) -> None:
            name = schema()
            with psycopg.connect(POSTGRES, autocommit=True, application_name="safeklaviyo") as connection:
                at = 0
                for part in _parts(bindings):
                    numbered = list(enumerate(part, start=at + 1))
                    at += len(part)
                    with connection.transaction(), connection.cursor() as cursor:
                        columns = "id, account, external_id, email, profile_id, version"
                        with cursor.copy(f"COPY {name}.binding({columns}) FROM STDIN") as copy:
                            for number, each in numbered:
                                copy.write_row((number, ACCOUNT, each.external_id, each.email, each.profile_id, 1))
                        with cursor.copy(f"COPY {name}.place(account, kind, value, binding) FROM STDIN") as copy:
                            for number, each in numbered:
                                for name_of in _places(each):
                                    copy.write_row((ACCOUNT, *name_of, number))
                server.ended += _of_backends(admin)

        class Server:
            ended = 0.0

            def __call__(self) -> float:
                return self.ended + _of_backends(admin)

        server = Server()
        try:
            yield Place("PostgreSQL, COPY", lambda: PostgresStore(POSTGRES, schema=schema()), plain, server)
        finally:
            for name in made:
                admin.execute(f"DROP SCHEMA {name} CASCADE")


def _of_backends(admin: psycopg.Connection[Any]) -> float:
    """Return the processor time of the backends that serve us, if they are on this machine."""
    sought = "SELECT pid FROM pg_stat_activity WHERE application_name = 'safeklaviyo'"
    spent = 0.0
    for (pid,) in admin.execute(sought).fetchall():
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists():
            spent += sum(int(part) for part in stat.read_text().rpartition(")")[2].split()[11:13]) / TICKS
    return spent


@contextmanager
def in_redis() -> Iterator[Place]:
    """A prefix on a server."""
    from safeklaviyo.stores.redis import RedisStore

    made: list[str] = []
    with redis.Redis.from_url(REDIS) as client:

        def prefix() -> str:
            made.append(f"benchmark-{uuid.uuid4().hex[:8]}")
            return made[-1]

        def plain(bindings: Sequence[Binding]) -> None:
            name, number = prefix(), 0
            for part in _parts(bindings):
                with client.pipeline(transaction=True) as pipe:
                    for each in part:
                        number += 1
                        given = f"{each.external_id}|{each.email}|{each.profile_id}"
                        places = {f"i{kind[0]}{value}": number for kind, value in _places(each)}
                        pipe.hset(name, mapping={f"b{number}": given, **places})
                        pipe.zadd(f"{name}:bindings", {str(number): number})
                    pipe.execute()

        def server() -> float:
            told: Any = client.info("cpu")
            return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])

        try:
            yield Place("Redis, a pipeline", lambda: RedisStore(REDIS, prefix=prefix()), plain, server)
        finally:
            for name in made:
                for key in client.scan_iter(f"{name}*", count=1000):
                    client.unlink(key)


def measured(work: Callable[[], object], number: int, server: Callable[[], float]) -> Spent:
    """Do the work once, and return what each of its rows cost."""
    before, start = _own() + server(), time.perf_counter()
    work()
    wall = time.perf_counter() - start
    return Spent(wall / number * 1e6, (_own() + server() - before) / number * 1e6)


def _own() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def compare(folder: Path, number: int, rounds: int) -> None:
    """Measure each store, and say which part is whose."""
    given = rows(number)
    bindings = [Binding(str(each["external_id"]), str(each["email"]), str(each["profile_id"])) for each in given]
    nothing = Klaviyo(KEY, account=ACCOUNT, store=_Nothing())
    checked = [measured(lambda: nothing.bindings.add(given), number, lambda: 0.0) for _ in range(rounds)]
    print(f"\n{number:,} rows, microseconds for each, the lowest of {rounds} runs: on the wall, and of all processors")
    _show("checked alone", checked, None)
    with ExitStack() as opened:
        for place in (in_sqlite(folder), in_postgres(), in_redis()):
            _measure(opened.enter_context(place), given, bindings, rounds)


def _measure(place: Place, given: list[Given], bindings: list[Binding], rounds: int) -> None:
    spent: dict[str, list[Spent]] = {place.name: [], "the store alone": [], "bindings.add": []}
    for _ in range(rounds):
        spent[place.name].append(measured(lambda: place.plain(bindings), len(bindings), place.server))
        with place.store() as store:
            store.count(ACCOUNT)
            alone = measured(
                lambda: [store.add(ACCOUNT, part) for part in _parts(bindings)],
                len(bindings),
                place.server,
            )
            spent["the store alone"].append(alone)
        with place.store() as store, Klaviyo(KEY, account=ACCOUNT, store=store) as client:
            client.bindings.add([])
            whole = measured(lambda: client.bindings.add(given), len(bindings), place.server)
            spent["bindings.add"].append(whole)
    print()
    for name, each in spent.items():
        _show(name, each, spent[place.name])


def _show(name: str, spent: Sequence[Spent], base: Sequence[Spent] | None) -> None:
    wall, cpu = min(each.wall for each in spent), min(each.cpu for each in spent)
    ratio = f"{wall / min(each.wall for each in base):6.2f} x" if base else ""
    print(f"  {name:<24} {wall:7.1f} {cpu:7.1f}   {ratio}")
