"""Several processes and one database: they race, are killed, lose their connections, and fork (P4)."""

import asyncio
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from safeklaviyo.errors import StoreUnavailableError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change
from safeklaviyo.stores.postgres import AsyncPostgresStore, PostgresStore
from support.examples import examples
from support.fresh import FRESH
from support.postgres_servers import connect, emptied, end_all, migrated, own_database

ANN = Identifier(Kind.EXTERNAL_ID, "ann")
PROCESSES = 8
CUSTOMERS = examples(200)
PATIENCE = 60.0


@pytest.fixture(scope="module")
def database():
    """A database with a map."""
    with own_database() as url:
        yield migrated(url)


@pytest.fixture(scope="module")
def admin(database):
    """A connection for what no store does."""
    with connect(database) as connection:
        yield connection


@pytest.fixture
def store(database, admin):
    """An empty map."""
    emptied(admin)
    with PostgresStore(database) as store:
        yield store


def until_answered(call):
    """Do something again until the map is there to answer."""
    while True:
        try:
            return call()
        except StoreUnavailableError:
            time.sleep(0.01)


def contact(url, customers, start, results):
    """Make first contact with every customer who is not known yet, as all other processes do."""
    with PostgresStore(url, timeout=PATIENCE) as store:
        until_answered(lambda: store.count("shop"))
        start.wait(PATIENCE)
        bound, tokens = [], []
        for number in range(customers):
            names = (Identifier(Kind.EXTERNAL_ID, str(number)), Identifier(Kind.EMAIL, f"{number}@shop.org"))
            while not until_answered(lambda names=names: store.find("shop", names)).matches:
                take = lambda names=names: store.acquire("shop", frozenset(names), intent="x", ttl=0.2)  # noqa: E731
                lease = until_answered(take)
                if lease is None:
                    time.sleep(0.001)
                    continue
                tokens.append(lease.token)
                row = Binding(str(number), f"{number}@shop.org", f"P{os.getpid()}x{number}")
                outcome = until_answered(
                    lambda row=row, lease=lease: store.bind("shop", Change(row, token=lease.token))
                )
                if outcome.status == "bound":
                    bound.append(row.profile_id)
                else:
                    until_answered(lambda lease=lease: store.release("shop", lease.token))
            if number % 10 == 0:
                count_up(store)
    results.put((bound, tokens))


def count_up(store):
    """Change one binding that all want to change."""
    while True:
        binding = until_answered(lambda: store.find("shop", (ANN,))).matches[0].binding
        if until_answered(lambda binding=binding: store.bind("shop", Change(binding))).status == "bound":
            return


def hold(url, ready):
    """Take a lease, say so, and never come back."""
    store = PostgresStore(url)
    store.acquire("shop", frozenset({ANN}), intent="create ann", ttl=0.01)
    ready.set()
    time.sleep(PATIENCE)


def race(url, processes, customers, meanwhile=lambda: None):
    """Let processes make contact at once, and return what each has to tell."""
    start, results = FRESH.Barrier(processes + 1), FRESH.Queue()
    workers = [FRESH.Process(target=contact, args=(url, customers, start, results)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    start.wait(PATIENCE)
    meanwhile()
    answers = [results.get(timeout=PATIENCE) for _ in workers]
    for worker in workers:
        worker.join(PATIENCE)
    assert [0] * processes == [worker.exitcode for worker in workers]
    return answers


def test_racing_processes_bind_each_customer_once(store, database):
    """Every customer is bound by one process, tokens differ, and no change to a common binding is lost."""
    first = store.bind("shop", Change(Binding("ann", "ann@shop.org"))).binding
    answers = race(database, PROCESSES, CUSTOMERS)
    bound = [profile for answer in answers for profile in answer[0]]
    tokens = [token for answer in answers for token in answer[1]]
    assert CUSTOMERS == len(bound) == store.count("shop") - 1
    assert len(set(tokens)) == len(tokens)
    assert first.version + PROCESSES * CUSTOMERS // 10 == store.find("shop", (ANN,)).matches[0].binding.version


def test_a_server_that_restarts_in_the_middle_loses_and_doubles_nothing(store, database, admin):
    """While every connection is ended again and again, each customer is still bound once, and no change lost."""
    first = store.bind("shop", Change(Binding("ann", "ann@shop.org"))).binding

    def meanwhile():
        for _ in range(4):
            time.sleep(0.2)
            end_all(admin)

    race(database, 4, 40, meanwhile)
    bindings = store.page("shop").bindings
    assert sorted([*map(str, range(40)), "ann"]) == sorted(str(each.external_id) for each in bindings)
    assert first.version + 4 * 40 // 10 <= store.find("shop", (ANN,)).matches[0].binding.version


def test_a_killed_holders_lease_is_taken_over_with_its_intent(store, database):
    """What a killed process was about to do is known to whoever comes next."""
    ready = FRESH.Event()
    worker = FRESH.Process(target=hold, args=(database, ready))
    worker.start()
    assert ready.wait(PATIENCE)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(PATIENCE)
    while not store.expired("shop", 1):
        time.sleep(0.01)
    lease = store.acquire("shop", frozenset({ANN, Identifier(Kind.EMAIL, "ann@shop.org")}), intent="x", ttl=60.0)
    assert ("create ann", frozenset({ANN}), True) == (lease.intent, lease.identifiers, lease.taken_over)


def in_child(work):
    """Fork, do the work in the child, and return its exit code: 0 if it succeeded."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
class TestFork:
    def backend(self, store):
        with store._to._pool().connection() as connection:
            return connection.info.backend_pid

    def test_parent_and_child_both_go_on(self, store):
        """After a fork each has connections of its own, and the parent's are still there when the child has gone."""
        store.add("shop", [Binding("ann", None)])
        before = self.backend(store)

        def work():
            seen = store.find("shop", (ANN,)).matches
            added = store.add("shop", [Binding("ben", None)])
            apart = self.backend(store) != before
            store.close()
            gc.collect()
            return bool(seen) and added == ("added",) and apart

        assert 0 == in_child(work)
        assert store.find("shop", (Identifier(Kind.EXTERNAL_ID, "ben"),)).matches
        assert before == self.backend(store)

    def test_closing_in_the_child_leaves_the_parent_alone(self, store):
        """A child that only closes what it inherited ends nothing of its parent's."""
        store.add("shop", [Binding("ann", None)])
        before = self.backend(store)
        assert 0 == in_child(lambda: store.close() is None and gc.collect() >= 0)
        assert before == self.backend(store)

    def test_a_fork_while_another_thread_opens(self, store):
        """A lock that another thread holds at the fork does not stop the child."""
        with store._to._lock():
            assert 0 == in_child(lambda: store.count("shop") == 0)

    def test_a_child_that_ends_in_order_says_nothing(self, store, capfd):
        """Ending a child as Python does, with all that it inherited, neither fails nor hangs nor warns."""
        store.add("shop", [Binding("ann", None)])
        worker = multiprocessing.get_context("fork").Process(target=store.count, args=("shop",))
        worker.start()
        worker.join(PATIENCE)
        assert 0 == worker.exitcode
        assert ("", "") == capfd.readouterr()
        assert 1 == store.count("shop")

    async def test_an_async_stores_child_has_connections_of_its_own(self, database, admin):
        """The same for the asynchronous store."""
        emptied(admin)
        async with AsyncPostgresStore(database) as store:
            await store.add("shop", [Binding("ann", None)])
            (before,) = [each.info.backend_pid for each in store._to._current.connections]

            def work():
                asyncio.events._set_running_loop(None)
                return asyncio.run(self.use(store, before))

            assert 0 == await asyncio.to_thread(in_child, work)
            assert 2 == await store.count("shop")
            assert {before} == {each.info.backend_pid for each in store._to._current.connections}

    async def use(self, store, before):
        await store.add("shop", [Binding("child", None)])
        backends = {each.info.backend_pid for each in store._to._current.connections}
        await store.aclose()
        return before not in backends


def test_a_program_that_ends_without_closing_says_nothing(database, tmp_path):
    """Neither the pool's threads nor its connections complain at the end of a program, in development mode."""
    code = (
        "import sys; from safeklaviyo.stores.postgres import PostgresStore\n"
        "store = PostgresStore(sys.argv[1]); store.count('shop')\n"
    )
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", code, database]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
