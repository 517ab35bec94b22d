"""Real processes, killed with SIGKILL over a consent: another one completes it, and nobody is made (R18, R19, P4).

A process is killed while Klaviyo has its request: before it is done, or, of a write, after it was done and before the
answer; after each call of the map; and at moments of chance. Each victim is about a customer of its own, who has three
addresses, two ghosts on the former ones, one number, and is in one list.
"""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from itertools import count
from multiprocessing import get_context
from random import Random
from threading import Event

import pytest

from safeklaviyo.identity import Identifier, Kind
from support.clients import BLOCKING
from support.consent import SUBSCRIBED
from support.consent_victims import (
    LEASE,
    SCENES,
    SETTLED,
    addresses,
    external_id,
    live,
    opened,
    prepare,
    store_at,
)
from support.postgres_servers import migrated, own_database
from support.redis_servers import shared_prefix, url_or_skip
from support.scenes import BOB

SERVER = get_context("forkserver")
SERVER.set_forkserver_preload(["pytest", "httpx", "email_validator", *BLOCKING, "support.consent_victims"])
KILLED = -signal.SIGKILL
LOOKS = 60
PAUSE = 0.2
BY_CHANCE = 12
LONGEST = 0.15
PATIENT = 5.0
"""Seconds for an attempt, so that a busy machine kills nobody in its own way."""


@contextmanager
def in_sqlite(folder):
    """Give what opens a map in a file."""
    yield "sqlite", str(folder / "identity.db")


@contextmanager
def in_postgres(_folder):
    """Give what opens a map on the PostgreSQL server that is there."""
    with own_database() as url:
        yield "postgres", migrated(url)


@contextmanager
def in_redis(_folder):
    """Give what opens a map on the Redis server that is there."""
    with shared_prefix() as prefix:
        yield "redis", f"{url_or_skip()} {prefix}"


class Executioner:
    """Kills a process when Klaviyo gets its n-th request, which is lost, or its n-th write, which is done."""

    def __init__(self, turn, *, is_lost):
        self.victim = Future()
        self.has_begun = Event()
        self._turn = turn
        self._is_lost = is_lost
        self._met = count(1)

    def retire(self):
        """Kill nobody any more."""
        self._turn = 0

    def __call__(self, asked):
        self.has_begun.set()
        if not (self._is_lost or asked.method != "GET") or next(self._met) != self._turn:
            return False
        os.kill(self.victim.result(5), signal.SIGKILL)
        return self._is_lost


class Deaths:
    """The victims of one verb, on one map and one served Klaviyo."""

    def __init__(self, simulator, where, name):
        self.simulator, self.where, self.name = simulator, where, name
        self.news = simulator.add_list("News")
        self.numbers = []
        self.killed = 0

    def one(self, k, kind, turn, wait=0.0):
        """Kill one process, and return how it ended."""
        number = len(self.numbers) + 1
        self.numbers.append(number)
        prepare(self.simulator, k, self.name, number, self.news)
        executioner = Executioner(turn if kind in {"lost", "done"} else 0, is_lost=kind == "lost")
        self.simulator.fail_next(match=executioner)
        steps = turn if kind == "map" else 0
        process = SERVER.Process(target=live, args=(self.where, self.name, number, self.news, steps))
        process.start()
        executioner.victim.set_result(process.pid)
        if kind == "chance":
            assert executioner.has_begun.wait(30)
            time.sleep(wait)
            with suppress(ProcessLookupError):  # it may have ended in time
                os.kill(process.pid, signal.SIGKILL)
        process.join(30)
        executioner.retire()
        self.killed += process.exitcode == KILLED
        assert process.exitcode in {0, KILLED}
        return process.exitcode

    def everywhere(self, k, seed):
        """Kill one at each request, each write, each call of the map, and some at moments of chance."""
        for kind in ("lost", "done", "map"):
            turn = next(turn for turn in count(1) if self.one(k, kind, turn) == 0)
            assert turn > 1
        rng = Random(seed)
        for _ in range(BY_CHANCE):
            self.one(k, "chance", 0, rng.uniform(0, LONGEST))

    def begun(self, store, account):
        """Return the customers over whom something was written down, in the journal or in a lease."""
        keys = {row.key for row in store.journal(account, since=0.0, limit=100_000) if row.entry.verb in WRITTEN}
        found = {each: store.find(account, [Identifier(Kind.EXTERNAL_ID, external_id(each))]) for each in self.numbers}
        return {
            number
            for number, each in found.items()
            if each.lease is not None or keys & {match.binding.key for match in each.matches}
        }


WRITTEN = {"unsubscribe", "suppress"}
"""What of the journal is carried out later, also by `recheck_changes`."""


def recovered(simulator, k, store, account):
    """Let Klaviyo do what it has accepted, and `recover` look at it, until no lease is left."""
    for _ in range(LOOKS):
        simulator.drain()
        assert {"completed", "postponed"} >= {each.status for each in k.recover()}
        if not store.leases(account, 1):
            return
        time.sleep(PAUSE)
    raise AssertionError("a lease was never given back")


def finish(deaths, where):
    """Complete what the victims had begun, and check it; then make each call again."""
    simulator, scene, news = deaths.simulator, SCENES[deaths.name], deaths.news
    _, account, kind, name, timeout = where
    bob = simulator.find(external_id=BOB["external_id"])
    with store_at(kind, name) as store, opened(where, store) as k:
        begun = deaths.begun(store, account)
        time.sleep(timeout + LEASE + SETTLED)
        recovered(simulator, k, store, account)
        k.recheck_changes(repair=True)
        recovered(simulator, k, store, account)
        assert set() == {number for number in begun if not scene.is_done(simulator, number, news)}
        check(deaths, store, account)
        for number in deaths.numbers:
            scene.call(k, number, news)
        recovered(simulator, k, store, account)
        assert [] == [number for number in deaths.numbers if not scene.is_done(simulator, number, news)]
        check(deaths, store, account)
        assert bob == simulator.find(external_id=BOB["external_id"])
        return begun


def check(deaths, store, account):
    """Each customer has the three profiles that they had, by the addresses that they had, and no lease is left."""
    expected = sorted([BOB["email"], *(email for number in deaths.numbers for email in addresses(number))])
    assert (expected, ()) == (sorted(str(each.email) for each in deaths.simulator.profiles), store.expired(account, 1))


def begin(simulator, where):
    """Let Bob look on, who has consented."""
    simulator.add_profile(**BOB, consent=SUBSCRIBED)
    return opened(where)


def test_p4_r19_a_process_that_is_killed_over_its_request(simulator, account, folder):
    """P4, R19: before Klaviyo has it, and before the answer: another process completes it."""
    with in_sqlite(folder) as place, simulator.serve() as url:
        where = (url, account, *place, 0.8)
        deaths = Deaths(simulator, where, "unsubscribe")
        with begin(simulator, where) as k:
            assert [KILLED] * 2 == [deaths.one(k, "done", 1), deaths.one(k, "map", 8)]
        assert {1, 2} == finish(deaths, where)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("place", [in_sqlite, in_postgres, in_redis])
def test_p4_r18_r19_a_process_that_is_killed_anywhere(simulator, account, folder, place, name):
    """P4, R18, R19: at each request, each write, each call of the map, and at moments of chance."""
    with place(folder) as held, simulator.serve() as url:
        where = (url, account, *held, PATIENT)
        deaths = Deaths(simulator, where, name)
        with begin(simulator, where) as k:
            deaths.everywhere(k, seed=name)
        begun = finish(deaths, where)
        assert (True, True) == (deaths.killed > BY_CHANCE, 0 < len(begun) < len(deaths.numbers))
        print(f"{place.__name__}, {name}: {deaths.killed} killed, {len(begun)} had begun")
