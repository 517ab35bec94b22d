"""A signal handler that raises at any moment of a call: no store loses a connection, a lock, a lease or its order."""

import gc
import random
import signal
import sys
import threading
import time
import warnings
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from threading import Thread
from types import SimpleNamespace

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from safeklaviyo import Klaviyo, StoreUnavailableError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change, JournalEntry
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.stores.postgres import PostgresStore
from safeklaviyo.stores.redis import RedisStore
from safeklaviyo.stores.sqlite import SqliteStore
from support import postgres_servers, redis_servers
from support.examples import examples
from support.flows import Held, Repeat, Send
from support.stores import memory_put

KEY = "pk_0123456789abcdef"
SIZE = 2
PATIENT = 20.0
"""Seconds for what takes none, so that a busy machine fails nothing."""
TIMES = examples(160)


class Soft(Exception):  # noqa: N818 - named as task queues name theirs
    """A task queue's soft limit."""


class Late(TimeoutError):  # noqa: N818 - as above
    """A handler's own timeout, of a class that connections raise, too."""


@pytest.fixture(autouse=True)
def _unraisable(monkeypatch):
    """Let pass what Python cannot raise: a handler that raises in a finaliser, and a socket cut off in its making."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    yield
    gc.collect()


@pytest.fixture(params=["memory", "sqlite", "postgres", "redis"])
def store(request, folder):
    """Each store in turn, with a small pool where it has one."""
    if request.param == "memory":
        yield MemoryStore()
    elif request.param == "sqlite":
        with SqliteStore(folder / "identity.db", timeout=PATIENT) as made:
            yield made
    elif request.param == "postgres":
        with (
            postgres_servers.own_database() as url,
            PostgresStore(postgres_servers.migrated(url), size=SIZE, timeout=PATIENT) as made,
        ):
            yield made
    else:
        with (
            redis_servers.shared_prefix() as prefix,
            RedisStore(redis_servers.URL, prefix=prefix, timeout=PATIENT) as made,
        ):
            yield made


@contextmanager
def alarms(error):
    """Let a handler raise such an error whenever the timer that is yielded has run out."""

    def handler(signum, frame):
        raise error

    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def cut_off(error, seconds, work):
    """Do something until a handler raises; return whether it did before it was done."""
    try:
        with alarms(error) as after:
            after(seconds)
            work()
    except error:
        return True
    return False


def pair(number):
    """Return the identifiers of a customer."""
    return (Identifier(Kind.EXTERNAL_ID, f"c-{number}"), Identifier(Kind.EMAIL, f"c-{number}@shop.dev"))


def check_full(store):
    """Every connection of a pool can be had, and threads that ask at once are all answered."""
    if isinstance(store, PostgresStore):
        pool = store._to._pool()
        for connection in [pool.getconn(timeout=PATIENT) for _ in range(SIZE)]:
            pool.putconn(connection)
    elif isinstance(store, RedisStore):
        pool = store._client.connection_pool
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # older versions need the command
            for connection in [pool.get_connection("PING") for _ in range(pool.max_connections)]:
                pool.release(connection)
    answers = []
    threads = [Thread(target=lambda: answers.append(store.count("x")), daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENT)
    assert [0] * 4 == answers


def drops(store, error):
    """Tell whether a driver takes some of these errors for its own, in places where nothing of the handler's is left.

    It is psycopg while it resolves a host, and redis-py while it tries whether a connection still lives.
    """
    return error is Late and isinstance(store, PostgresStore | RedisStore)


@pytest.mark.untraceable
@pytest.mark.parametrize("error", [Soft, Late])
def test_storm_over_a_store(store, account, error):
    """After many interrupts each operation is done whole or not at all, and the store is as good as new."""
    dice, numbers = random.Random(9), iter(range(10**9))
    is_dropped = drops(store, error)

    def work():
        end = time.monotonic() + 0.05
        while time.monotonic() < end:
            identifiers = pair(next(numbers))
            lease = store.acquire(account, frozenset(identifiers), intent="{}", ttl=60.0)
            assert lease == store.find(account, identifiers).lease or lease is not None
            assert store.release(account, lease.token)

    store.count(account)
    ends = []
    for _ in range(TIMES):
        with suppress(*[StoreUnavailableError] if is_dropped else []):
            ends.append(cut_off(error, dice.uniform(0.0002, 0.006), work))
    assert sum(ends) >= (TIMES / 2 if is_dropped else TIMES - 3)  # a finaliser may have dropped one
    left = store.leases(account, 1000)
    assert len(left) <= TIMES
    for lease in left:
        assert store.release(account, lease.token)
    assert () == store.leases(account, 10)
    for each in range(next(numbers)):
        assert None is store.find(account, pair(each)).lease
    check_full(store)


@pytest.fixture
def writes(monkeypatch):
    """Notes the customers about whom a write is leaving, before the shell notes it: a handler may raise in between."""
    noted = SimpleNamespace(customer="", all=set())
    begin = Held.begin

    def watched(held, effect):
        if isinstance(effect, Send) and effect.request.repeat is not Repeat.READ:
            noted.all.add(noted.customer)
        return begin(held, effect)

    monkeypatch.setattr(Held, "begin", watched)
    return noted


@pytest.mark.untraceable
@pytest.mark.parametrize("error", [Soft, Late])
def test_storm_over_first_contacts(store, account, simulator, writes, error):
    """After many interrupted first contacts no lease is left but of those whose write was leaving, and all goes on."""
    dice, ends = random.Random(5), []
    with simulator.serve() as base, Klaviyo(KEY, account=account, store=store, base_url=base) as k:
        k.identify({"plan": "gold"}, external_id="warm", email="warm@shop.dev")
        lengths = []
        for each in range(5):
            begun = time.monotonic()
            k.identify({"plan": "gold"}, external_id=f"hot-{each}", email=f"hot-{each}@shop.dev")
            lengths.append(time.monotonic() - begun)
        length = min(lengths)  # a busy machine holds some of them up, and the alarms would come too late
        for number in range(TIMES):
            writes.customer = name = f"c-{number}"

            def work(name=name):
                k.identify({"plan": "gold"}, external_id=name, email=f"{name}@shop.dev")

            with suppress(*[StoreUnavailableError] if drops(store, error) else []):
                ends.append(cut_off(error, dice.uniform(0.0001, length * 1.2), work))
        assert sum(ends) > TIMES / 10  # a busy machine is slower than the dice think
        for thread in threading.enumerate():
            if thread.name == "safeklaviyo-release":  # a busy machine takes longer than a call waits for it
                thread.join(PATIENT)
        for lease in store.leases(account, 1000):
            assert {each.value for each in lease.identifiers} & writes.all
        assert set() == k._shell._process.setup.in_flight._calls
        check_full(store)
        k.identify({"plan": "gold"}, external_id="last", email="last@shop.dev")
    emails = [profile.email for profile in simulator.profiles]
    assert len(emails) == len(set(emails))


def handler(signum, frame):
    """Raise, as a task queue's handler does."""
    raise Soft


def test_while_the_driver_reads_its_settings(account, monkeypatch):
    """All that is raised there is a bad setting to psycopg: the handler's error leaves the call all the same."""
    given = psycopg._conninfo_utils.get_param

    class Setting(int):
        def __float__(self):
            handler(signal.SIGALRM, sys._getframe())

    with (
        postgres_servers.own_database() as url,
        PostgresStore(postgres_servers.migrated(url), size=SIZE, timeout=PATIENT) as store,
        monkeypatch.context() as patch,
    ):
        read = lambda params, name: Setting(9) if name == "connect_timeout" else given(params, name)  # noqa: E731
        patch.setattr("psycopg._conninfo_utils.get_param", read)
        with pytest.raises(Soft):
            store.count(account)
        patch.undo()
        check_full(store)


def test_while_a_thread_of_the_store_is_started(folder, account, monkeypatch):
    """The handler's error leaves the call, and not what `Thread.start` makes of it once the thread has begun."""
    name = next(each for each in ("_start_joinable_thread", "_start_new_thread") if hasattr(threading, each))
    start = getattr(threading, name)

    def interrupted(*arguments, **options):
        start(*arguments, **options)
        time.sleep(0.05)
        handler(signal.SIGALRM, sys._getframe())

    # With less time than the store may take, its work is done in a thread.
    with SqliteStore(folder / "identity.db") as store, Klaviyo(KEY, account=account, store=store, deadline=2.0) as k:
        monkeypatch.setattr(threading, name, interrupted)
        with pytest.raises(Soft):
            k.bindings.get(email="ann@shop.dev")


def raising(place, event, times):
    """Return a profiler that raises when a function is entered or left so often."""
    left = [times]

    def look(frame, happened, _):
        if happened == event and frame.f_code is place.__code__:
            left[0] -= 1
            if not left[0]:
                sys.setprofile(None)
                raise Soft

    return look


def test_memory_does_an_operation_whole_or_not_at_all(account):
    """Wherever a binding, a lease or its end is cut off, the map is as it was before."""
    seen = set()
    for times in range(1, 30):
        store = MemoryStore(clock=lambda: 1000.0)
        old = store.bind(account, Change(Binding("c-1", "c-1@shop.dev", "P1"), journal=JournalEntry("a"))).binding
        lease = store.acquire(account, frozenset(pair(2)), intent="{}", ttl=60.0)
        change = Change(replace(old, email="new@shop.dev"), token=lease.token, journal=JournalEntry("b"))
        for work in (
            partial(store.bind, account, change),
            partial(store.release, account, lease.token),
            partial(store.acquire, account, frozenset(pair(3)), intent="{}", ttl=60.0),
        ):
            before = rows(store, account)
            sys.setprofile(raising(memory_put, "return", times))
            try:
                work()
            except Soft:
                assert before == rows(store, account)
                seen.add(times)
            finally:
                sys.setprofile(None)
    assert len(seen) > 3


def rows(store, account):
    """Return all that the map holds."""
    names = ("owners", "bindings", "leases", "covered", "journal", "written", "notes")
    return {name: getattr(store._accounts[account], name).copy() for name in names}


def test_connection_lost_on_its_way_from_the_pool(account):
    """A connection that the pool has given, and nobody has got, is made anew."""
    with (
        postgres_servers.own_database() as url,
        PostgresStore(postgres_servers.migrated(url), size=SIZE, timeout=PATIENT) as store,
    ):
        store.count(account)
        for _ in range(SIZE):
            sys.setprofile(raising(ConnectionPool.getconn, "return", 1))
            try:
                with pytest.raises(Soft):
                    store.count(account)
            finally:
                sys.setprofile(None)
        check_full(store)
