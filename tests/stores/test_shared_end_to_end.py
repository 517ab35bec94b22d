"""Shared maps end to end: real processes on a real server's map and one served Klaviyo, and the commands about them."""

import os
import signal
from concurrent.futures import Future
from contextlib import contextmanager
from multiprocessing import get_context

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from safeklaviyo import Klaviyo, Policy, RetryPolicy
from safeklaviyo.cli import main
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change, JournalEntry
from safeklaviyo.stores.postgres import PostgresStore
from safeklaviyo.stores.redis import RedisStore
from safeklaviyo.stores.sqlite import SqliteStore
from support.postgres_servers import migrated, own_database
from support.redis_servers import OwnServer, ScriptedServer, shared_prefix, url_or_skip
from support.storms import IMPORTS

SERVER = get_context("forkserver")
SERVER.set_forkserver_preload(IMPORTS)
PROCESSES = 8
CUSTOMERS = 200
PATIENCE = 60.0
SHORT = 0.8


@contextmanager
def in_postgres():
    """Give what opens a map on the PostgreSQL server that is there."""
    with own_database() as url:
        yield "postgres", migrated(url)


@contextmanager
def in_redis():
    """Give what opens a map on the Redis server that is there."""
    with shared_prefix() as prefix:
        yield "redis", prefix


@pytest.fixture(scope="module", params=[in_postgres, in_redis])
def place(request):
    """Where the map is: a kind of store, and what names it there."""
    with request.param() as place:
        yield place


def store_at(place):
    """Open the map."""
    kind, name = place
    return PostgresStore(name) if kind == "postgres" else RedisStore(url_or_skip(), prefix=name)


def opened(url, place, account, **settings):
    """Open a client as each process has its own."""
    return Klaviyo("pk_test", account=account, store=store_at(place), base_url=url, **settings)


def customer(number):
    """Return what is known of a customer."""
    return {"external_id": f"c-{number}", "email": f"c-{number}@shop.test"}


def meet(where, how, start, results):
    """Meet every customer for the first time, as all the others do: as a customer, as a guest, or by an event."""
    policy = Policy(wait=PATIENCE)
    with opened(*where, policy=policy) as k:
        met = []
        for number in range(CUSTOMERS):
            start.wait(PATIENCE)  # for each, or those behind would find what the first has made
            met.append(_met(k, how, customer(number)))
    results.put(met)


def _met(k, how, known):
    if how == 0:
        return k.identify(**known).profile_id
    if how == 1:
        return k.identify(email=known["email"]).profile_id
    return k.track("Ordered", unique_id=known["external_id"], **known).profile_id


@pytest.mark.slow
def test_processes_that_meet_the_same_customers_make_one_profile_each(place, account, simulator):
    """P4, P5: eight processes meet each customer at once, who has one profile, and every process was told the same."""
    start, results = SERVER.Barrier(PROCESSES), SERVER.Queue()
    with simulator.serve() as url, store_at(place) as store:
        where = (url, place, account)
        workers = [SERVER.Process(target=meet, args=(where, turn % 3, start, results)) for turn in range(PROCESSES)]
        for worker in workers:
            worker.start()
        told = [results.get(timeout=5 * PATIENCE) for _ in workers]
        for worker in workers:
            worker.join(PATIENCE)
        assert [0] * PROCESSES == [worker.exitcode for worker in workers]
        simulator.drain()
        profiles = {profile.external_id: profile for profile in simulator.profiles}
        assert CUSTOMERS == len(simulator.profiles) == len(profiles) == store.count(account)
        expected = [profiles[f"c-{number}"] for number in range(CUSTOMERS)]
        assert [customer(number)["email"] for number in range(CUSTOMERS)] == [each.email for each in expected]
        assert [[each.id for each in expected]] * PROCESSES == told
        assert sorted(profiles) == sorted(event.unique_id for event in simulator.events)
        # Klaviyo itself would have refused a second creation: the shared map is why nobody tried.
        assert CUSTOMERS == sum(each.endpoint == "create_profile" for each in simulator.journal)
        assert () == store.expired(account, 1)


def live(where, verb):
    """Do one thing about one customer, with a short patience."""
    policy = Policy(lease=0.2, wait=20.0, visible_wait=0.1)
    with opened(*where, policy=policy, timeout=SHORT, retry=RetryPolicy(max_attempts=1)) as k:
        if verb == "identify":
            k.identify(**customer(1))
        else:
            k.change_email("new@shop.test", external_id="c-2")


def started(where, verb):
    """Start a process that does one thing."""
    process = SERVER.Process(target=live, args=(where, verb))
    process.start()
    return process


class Executioner:
    """Kills a process when Klaviyo has got its first write, which is done all the same."""

    def __init__(self):
        self.victim = Future()
        self._is_done = False

    def __call__(self, asked):
        if not self._is_done and asked.method != "GET":
            self._is_done = True
            os.kill(self.victim.result(5), signal.SIGKILL)
        return False


def killed(simulator, where, verb):
    """Start a process that is killed, and return how it ended."""
    executioner = Executioner()
    simulator.fail_next(match=executioner)
    victim = started(where, verb)
    executioner.victim.set_result(victim.pid)
    victim.join(PATIENCE)
    return victim.exitcode


def test_other_processes_complete_what_killed_ones_began(place, account, simulator):
    """P4: workers die with their write done and its answer unread; the next ones leave one profile and one binding."""
    emails = {"c-1": customer(1)["email"], "c-2": "new@shop.test"}
    names = [Identifier(Kind.EXTERNAL_ID, name) for name in emails]
    verbs = ("identify", "change_email")
    with simulator.serve() as url, store_at(place) as store:
        where = (url, place, account)
        with opened(*where) as k:
            k.identify(**customer(2))
        assert [-signal.SIGKILL] * 2 == [killed(simulator, where, verb) for verb in verbs]
        assert all(store.find(account, (name,)).lease is not None for name in names)
        others = [started(where, verb) for verb in verbs]
        for other in others:
            other.join(PATIENCE)
        assert [0, 0] == [other.exitcode for other in others]
        shown = {each.external_id: (each.id, each.email) for each in simulator.profiles}
        assert (2, emails) == (len(simulator.profiles), {name: email for name, (_, email) in shown.items()})
        found = store.find(account, names)
        bound = {match.binding.external_id: (match.binding.profile_id, match.binding.email) for match in found.matches}
        assert (shown, None) == (bound, found.lease)


# The commands.


@pytest.fixture
def command(capsys):
    """Runs a command in this process; returns its exit code and its two outputs."""

    def command(*arguments):
        status = main(arguments)
        return (status, *capsys.readouterr())

    return command


@pytest.fixture
def postgres():
    """The URL of an empty database, with a password that nothing may show."""
    with own_database() as conninfo:
        parts = conninfo_to_dict(conninfo)
        login = f"{parts.get('user', '')}:{parts.get('password', 'hunter2')}"
        yield f"postgresql://{login}@{parts['host']}:{parts['port']}/{parts['dbname']}"


def fill(store, account):
    """Make customers with a past: one changed the address twice, one was absorbed, one is a guest."""
    first = store.bind(account, Change(Binding("ann", "ann@shop.org", "PANN", "+12025550100"))).binding
    for address in ("ann@new.org", "Ä'\"\0@new.org"):
        changed = Binding("ann", address, "PANN", "+12025550100", None, first.version, first.key)
        first = store.bind(account, Change(changed, journal=JournalEntry("change_email"))).binding
    gone = store.bind(account, Change(Binding("ben", "ben@shop.org", "PBEN"))).binding
    store.bind(account, Change(first, verified=False, absorb=(gone.key,)))
    store.bind(account, Change(Binding(None, "guest@shop.org"), verified=False))
    store.remember(account, "erased:0123", "1")


def content(store, account):
    """Return all that a copy carries, without what is a store's own."""
    bindings = store.page(account).bindings
    former = {
        (*match.identifier, round(match.retired_at * 1e6), match.binding.external_id)
        for match in store.former(account, bindings)
    }
    plain = {
        (each.external_id, each.email, each.profile_id, each.phone_number, each.verified_at and round(each.verified_at))
        for each in bindings
    }
    return plain, former, dict(store.notes(account).notes)


def test_a_map_goes_from_store_to_store_unchanged(command, account, folder, postgres):
    """From SQLite to PostgreSQL, to Redis, and back to SQLite nothing is lost, and what was former stays so."""
    command("store", "migrate", "--store", postgres)
    first, last = folder / "first.db", folder / "last.db"
    with SqliteStore(first) as store:
        fill(store, account)
        expected = content(store, account)
    assert [2, 5, 1] == [len(each) for each in expected]
    with OwnServer(folder, "--save", "") as redis:
        for source, target in (
            (f"sqlite:///{first}", postgres),
            (postgres, redis.url),
            (redis.url, f"sqlite:///{last}"),
        ):
            status, out, err = command("store", "copy", source, target, "--account", account)
            assert (0, "") == (status, but_for_the_warning(err))
            assert "2 customers, 5 former identifiers, 2 journal rows, 1 notes" in out
    with SqliteStore(last) as store:
        assert expected == content(store, account)


def test_migrate_makes_the_tables_where_the_url_or_the_argument_says(command, postgres):
    """Each schema has a map of its own; migrating again changes nothing, and the output holds no password."""
    for url, more in ((postgres, ()), (f"{postgres}?schema=one", ()), (f"{postgres}?schema=one", ("--schema", "two"))):
        for _ in range(2):
            status, out, err = command("store", "migrate", "--store", url, *more)
            assert (0, "the tables are there, and of this version\n") == (status, out)
            assert not but_for_the_warning(err)
    for schema in ("safeklaviyo", "one", "two"):
        with PostgresStore(postgres, schema=schema) as store:
            assert 0 == store.count("shop")


def test_the_printed_sql_makes_the_tables(command, postgres):
    """What ``--sql`` prints is all that a shop's own migration has to run."""
    status, out, err = command("store", "migrate", "--sql", "--store", f"{postgres}?schema=own")
    assert (0, "") == (status, but_for_the_warning(err))
    with psycopg.connect(postgres) as connection:
        connection.execute(out)
    with PostgresStore(postgres, schema="own") as store:
        assert 0 == store.count("shop")


def but_for_the_warning(err):
    """Return what a command says, without that the password in the URL can be read on the command line."""
    return "".join(line for line in err.splitlines(keepends=True) if "can read a password" not in line)


def told(command, store):
    """Return what the doctor finds of a store."""
    _, out, _ = command("doctor", "--store", store)
    assert "hunter2" not in out
    return [line.split(maxsplit=2)[::2] for line in out.splitlines() if line.split()[1] == "store"]


def test_the_doctor_looks_for_the_tables(command, postgres, monkeypatch):
    """A database without the tables is a failure that says what to do; with them it is in order."""
    monkeypatch.delenv("KLAVIYO_API_KEY", raising=False)
    [(verdict, finding)] = told(command, postgres)
    assert "fail" == verdict
    assert "safeklaviyo store migrate" in finding
    command("store", "migrate", "--store", postgres)
    assert ["ok", "ok"] == [verdict for verdict, _ in told(command, postgres)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--save", "", "--appendonly", "yes"), [("ok", "writes each change to disk")]),
        (("--save", "", "--appendonly", "no"), [("warn", "keeps nothing on disk")]),
        (
            ("--save", "60 1", "--maxmemory-policy", "allkeys-lru"),
            [("warn", "snapshots only"), ("warn", "maxmemory-policy is allkeys-lru")],
        ),
        (("--rename-command", "INFO", ""), [("warn", "is unknown")]),
    ],
)
def test_the_doctor_asks_redis_what_it_keeps(command, folder, monkeypatch, options, expected):
    """A server that may forget, or that does not say, is a warning: it works, and a map is worth more than that."""
    monkeypatch.delenv("KLAVIYO_API_KEY", raising=False)
    with OwnServer(folder, *options) as redis:
        found = told(command, f"{redis.url}/1")
    assert [["ok", "opens, and is of this version"], ["ok", "can be written"]] == found[:2]
    assert [verdict for verdict, _ in expected] == [verdict for verdict, _ in found[2:]]
    assert all(words in finding for (_, words), (_, finding) in zip(expected, found[2:], strict=True))


def test_a_server_that_refuses_the_password_is_a_failure(command, monkeypatch, tmp_path):
    """The failure does not show the password; copying from there ends the same way."""
    monkeypatch.delenv("KLAVIYO_API_KEY", raising=False)
    with ScriptedServer(b"-WRONGPASS invalid username-password pair\r\n") as server:
        assert ["fail"] == [verdict for verdict, _ in told(command, server.url)]
        status, out, err = command("store", "copy", server.url, f"sqlite:///{tmp_path}/map.db", "--account", "shop")
    assert (1, "") == (status, out)
    assert but_for_the_warning(err).startswith("ConfigurationError: ")
    assert "hunter2" not in err
