"""Random histories of callers and workers in processes of their own, which are killed at any moment.

Callers queue events in transactions of a shop's own database, which also has a ledger: what it says is the truth. A
simulator as a server stands for Klaviyo; it loses requests and answers. At the end all that is left is drained.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import psycopg

from safeklaviyo import Klaviyo, Policy, RetryPolicy, SafeKlaviyoError
from safeklaviyo.testing import KlaviyoSimulator, Readings
from support.outbox import PostgresOutbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOADED = PostgresOutbox
"""Loaded before the first fork; `_rehearse` loads all else."""
LEDGER = "CREATE TABLE IF NOT EXISTS ledger(account TEXT, unique_id TEXT, person INTEGER, after TEXT)"
PEOPLE = 6
EVENTS = 12
"""How many a caller queues, if it lives so long."""
TIME = 1_700_000_000


@dataclass
class Shop:
    """Where a history takes place.

    Attributes:
        url: The database of map, outbox and ledger.
        account: The account of this history.
    """

    url: str
    account: str
    base_url: str

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file."""
        return self.url.startswith("sqlite:")

    def connect(self) -> Any:
        """Open a connection of the shop's."""
        if self.is_sqlite:
            return sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=20)
        return psycopg.connect(self.url)

    def sql(self, statement: str) -> str:
        """Return a statement with the database's marks for parameters."""
        return statement if self.is_sqlite else statement.replace("?", "%s")

    def table(self, name: str) -> str:
        """Return the name of a table of the outbox."""
        return f"safeklaviyo_{name}" if self.is_sqlite else f"safeklaviyo.{name}"

    def client(self, *, is_patient: bool = False) -> Klaviyo:
        """Open a client; a patient one for what is no part of the history, and must be done on a busy machine too."""
        deadline, timeout = (120.0, 60.0) if is_patient else (5.0, 3.0)
        return Klaviyo(
            "pk_history", store=self.url, account=self.account, base_url=self.base_url, deadline=deadline,
            timeout=timeout, policy=Policy(lease=1, wait=5, visible_wait=0), retry=RetryPolicy(max_attempts=1),
        )  # fmt: skip


def who(person: int) -> dict[str, str]:
    """Return what names a person."""
    return {"external_id": f"c-{person}", "email": f"c{person}@shop.test"}


def calling(shop: Shop, seed: int, number: int) -> None:
    """Queue events, each in a transaction with its line of the ledger; some are rolled back."""
    chance = random.Random(seed)
    with shop.client() as k, closing(shop.connect()) as db:
        for each in range(EVENTS):
            person = chance.randrange(PEOPLE)
            named = who(person)
            how = chance.choice(["id", "email", "both", "both"])
            given = {
                kind: text for kind, text in named.items() if how == "both" or kind.startswith(how.replace("id", "ex"))
            }
            key = f"{shop.account}-{number}-{each}-{how}"
            with suppress(SafeKlaviyoError, sqlite3.OperationalError):
                lines = db.execute(
                    shop.sql("SELECT unique_id FROM ledger WHERE account = ? AND person = ?"), (shop.account, person)
                ).fetchall()
                db.execute(
                    shop.sql("INSERT INTO ledger VALUES (?, ?, ?, ?)"),
                    (shop.account, key, person, json.dumps([line[0] for line in lines])),
                )
                k.outbox.track("E", **given, unique_id=key, time=TIME, connection=db)
                if chance.random() < 0.2:
                    db.rollback()
                else:
                    db.commit()
                continue
            db.rollback()


def working(shop: Shop, seed: int, number: int) -> None:
    """Drain, again and again."""
    del seed, number
    with shop.client() as k:
        while True:
            with suppress(SafeKlaviyoError):
                k.outbox.drain()
            time.sleep(0.02)


def binding(shop: Shop, seed: int, number: int) -> None:
    """Make somebody known by a direct call."""
    del number
    with shop.client() as k, suppress(SafeKlaviyoError):
        k.identify(**who(random.Random(seed).randrange(PEOPLE)))


ROLES: dict[str, Callable[[Shop, int, int], None]] = {"call": calling, "work": working, "bind": binding}


@dataclass
class Zygote:
    """A process that has imported everything, and forks those of a history.

    It is made before any thread is started, because a forked child has no other thread.
    """

    pid: int = 0
    send: Any = None
    receive: Any = None
    made: set[int] = field(default_factory=set)

    def __enter__(self) -> Self:
        here, there = os.pipe(), os.pipe()
        self.pid = os.fork()
        if not self.pid:
            # Its own copies of the other ends would keep the pipes open when this process is gone.
            os.close(here[1])
            os.close(there[0])
            _fork_on_demand(os.fdopen(here[0]), os.fdopen(there[1], "w"))
        os.close(here[0])
        os.close(there[1])
        self.send, self.receive = os.fdopen(here[1], "w"), os.fdopen(there[0])
        return self

    def __exit__(self, *_: object) -> None:
        self.send.close()
        self.receive.close()
        os.waitpid(self.pid, 0)

    def begin(self, role: str, shop: Shop, seed: int, number: int) -> int:
        """Fork a process, and return its id."""
        self.send.write(json.dumps([role, vars(shop), seed, number]) + "\n")
        self.send.flush()
        return int(self.receive.readline())


def _rehearse() -> None:
    """Make one call of each kind, so that no child spends its short life with what the first call loads."""
    with TemporaryDirectory() as folder:
        shop = Shop(f"sqlite:///{folder}/rehearsal.db", "H00000", "http://127.0.0.1:9")
        with shop.client() as k, suppress(SafeKlaviyoError):
            k.outbox.track("E", **who(0))
            k.outbox.drain()


def _fork_on_demand(orders: Any, answers: Any) -> None:
    _rehearse()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the dead
    for line in orders:
        role, shop, seed, number = json.loads(line)
        pid = os.fork()
        if not pid:
            with suppress(BaseException):
                ROLES[role](Shop(**shop), seed, number)
            os._exit(0)
        answers.write(f"{pid}\n")
        answers.flush()
    os._exit(0)


def is_alive(pid: int) -> bool:
    """Tell whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def kill(pid: int) -> None:
    """Kill a process, if it is there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def history(zygote: Zygote, url: str, seed: int, reading: Any) -> int:
    """Play one history, check its end, and return how many events were committed."""
    chance = random.Random(seed)
    simulator = KlaviyoSimulator(Readings(bulk_repeats=reading), account=f"H{seed:05d}", clock="real", queue_lag=0.0)
    with simulator.serve() as base_url:
        shop = Shop(url, simulator._account.id, base_url)
        with shop.client(is_patient=True) as k:
            k.outbox.counts()  # the map makes its file first
            with closing(shop.connect()) as db:
                db.execute(LEDGER)
                db.commit()
            for person in range(PEOPLE):
                if chance.random() < 0.5:
                    k.identify(**who(person))
        _play(zygote, shop, chance, simulator)
        return _end(shop, simulator)


def _play(zygote: Zygote, shop: Shop, chance: random.Random, simulator: KlaviyoSimulator) -> None:
    callers = [zygote.begin("call", shop, chance.randrange(10**9), number) for number in range(2)]
    workers = [zygote.begin("work", shop, 0, 0) for _ in range(2)]
    others: list[int] = []
    number = 2
    end = time.monotonic() + 30
    while any(is_alive(pid) for pid in callers) and time.monotonic() < end:
        time.sleep(chance.random() * 0.03)
        what = chance.random()
        if what < 0.3:
            victim = chance.randrange(2)
            kill(workers[victim])
            if chance.random() < 0.7:
                _expire(shop)
            workers[victim] = zygote.begin("work", shop, 0, 0)
        elif what < 0.5 and number < 4:
            victim = chance.randrange(2)
            kill(callers[victim])
            callers[victim] = zygote.begin("call", shop, chance.randrange(10**9), number)
            number += 1
        elif what < 0.6:
            others.append(zygote.begin("bind", shop, chance.randrange(10**9), 0))
        elif what < 0.7:
            _expire(shop)  # under a living holder
        else:
            simulator.fail_next(
                chance.choice(["create_event", "bulk_create_events", "create_profile"]),
                when=chance.choice(["before", "after"]),
                status=chance.choice([None, 503]),
            )
    for pid in (*callers, *workers, *others):
        kill(pid)
    while any(is_alive(pid) for pid in (*callers, *workers, *others)):
        time.sleep(0.005)


def _expire(shop: Shop) -> None:
    """Let the time pass that leases and rows wait for."""
    names = (shop.table("outbox_lane"), "lease" if shop.is_sqlite else "safeklaviyo.lease")
    with closing(shop.connect()) as db:
        if shop.is_sqlite:
            _begin(db)
        for name in names:
            db.execute(shop.sql(f"UPDATE {name} SET expires = 0 WHERE account = ?"), (shop.account,))
        db.execute(shop.sql(f"UPDATE {shop.table('outbox')} SET due = 0 WHERE account = ?"), (shop.account,))
        db.commit()


def _begin(db: sqlite3.Connection) -> None:
    """Begin to write as soon as no other does: SQLite's own waiting takes up to 100 ms longer than that."""
    db.execute("PRAGMA busy_timeout = 0")
    end = time.monotonic() + 120
    while True:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.0005)
        else:
            return


def _end(shop: Shop, simulator: KlaviyoSimulator) -> int:
    simulator._faults = type(simulator._faults)()
    with shop.client(is_patient=True) as k:
        for person in range(PEOPLE):
            _expire(shop)
            k.recover()
            k.identify(**who(person))
        for _ in range(10):
            _expire(shop)
            if not k.outbox.drain().waiting:
                break
        dead = [(row.unique_id, row.error, row.message) for row in k.outbox.dead()]
    with closing(shop.connect()) as db:
        sql = shop.sql("SELECT unique_id, person, after FROM ledger WHERE account = ?")
        lines = db.execute(sql, (shop.account,)).fetchall()
    simulator.drain()
    check(lines, simulator, dead)
    return len(lines)


def check(lines: list[tuple[str, int, str]], simulator: KlaviyoSimulator, dead: list[Any]) -> None:
    """Each committed event was recorded once, on its customer, and in order; no other was."""
    assert [] == dead
    owner = {profile.id: profile.external_id for profile in simulator.profiles}
    assert len(owner) == len(set(owner.values())) == PEOPLE
    recorded = sorted((event.unique_id, owner[event.profile_id]) for event in simulator.events)
    assert sorted((key, f"c-{person}") for key, person, _ in lines) == recorded
    place = {key: number for number, key in reversed(list(enumerate(_accepted(simulator))))}
    known = _known(simulator)
    late = [
        (first, key)
        for key, person, after in lines
        for first in json.loads(after)
        if place[first] > place[key]
        # An id alone and an email alone are one customer's only from when a call has named both.
        and not ({_how(first), _how(key)} == {"id", "email"} and place[key] < known[person])
    ]
    assert [] == late


def _how(key: str) -> str:
    return key.rpartition("-")[2]


def _known(simulator: KlaviyoSimulator) -> dict[int, int]:
    """Return how many events were accepted before Klaviyo was told whose id each person's is."""
    known: dict[int, int] = {}
    accepted = 0
    for entry in simulator.journal:
        if entry.committed:
            text = json.dumps(entry.body)
            for person in range(PEOPLE):
                if f'"c-{person}"' in text:
                    known.setdefault(person, accepted)
            accepted += sum(1 for _ in _keys(entry.body))
    return known


def _accepted(simulator: KlaviyoSimulator) -> Iterator[str]:
    for entry in simulator.journal:
        if entry.committed:
            yield from _keys(entry.body)


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _keys(each)
    elif isinstance(value, dict):
        if "unique_id" in value:
            yield value["unique_id"]
        for name, each in value.items():
            if name != "unique_id":
                yield from _keys(each)
