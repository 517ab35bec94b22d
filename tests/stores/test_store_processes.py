"""Several processes on one file: they race, are killed, and fork (P4)."""

import asyncio
import gc
import os
import signal
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change
from safeklaviyo.stores.sqlite import AsyncSqliteStore, SqliteStore
from support.fresh import FRESH

ANN = Identifier(Kind.EXTERNAL_ID, "ann")
ROUNDS = 25
PATIENCE = 60.0


def race(path, start, results):
    """Take every lease and bind every address that can be had; from the file's creation on."""
    start.wait(PATIENCE)
    with SqliteStore(path, timeout=PATIENCE) as store:
        leases, bound, changed = [], [], 0
        for number in range(ROUNDS):
            lease = store.acquire(
                "shop", frozenset({Identifier(Kind.EMAIL, f"{number}@shop.org")}), intent="x", ttl=1e6
            )
            leases += [] if lease is None else [(number, lease.token)]
            outcome = store.bind("shop", Change(Binding(f"{os.getpid()}-{number}", f"new{number}@shop.org")))
            bound += [number] if outcome.status == "bound" else []
            changed += count_up(store)
    results.put((leases, bound, changed))


def count_up(store):
    """Change one binding that all want to change."""
    while True:
        match = store.find("shop", (ANN,)).matches[0]
        if store.bind("shop", Change(match.binding)).status == "bound":
            return 1


def hold(path, ready):
    """Take a lease, say so, and never come back."""
    store = SqliteStore(path)
    store.acquire("shop", frozenset({ANN}), intent="create ann", ttl=0.01)
    ready.set()
    time.sleep(PATIENCE)


def create(path, start, results):
    """Be the first to use a file."""
    start.wait(PATIENCE)
    with SqliteStore(path, timeout=PATIENCE) as store:
        results.put(store.add("shop", [Binding(f"{os.getpid()}", None)]))


def run_together(target, path, processes):
    """Let processes begin together, and return what each has to tell."""
    start, results = FRESH.Barrier(processes), FRESH.Queue()
    workers = [FRESH.Process(target=target, args=(path, start, results)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=PATIENCE) for _ in workers]
    for worker in workers:
        worker.join(PATIENCE)
    assert [0] * processes == [worker.exitcode for worker in workers]
    return answers


def test_racing_processes_share_one_map(folder):
    """Each lease and each address goes to one process, tokens differ, and no change to a common binding is lost."""
    path = folder / "identity.db"
    with SqliteStore(path) as store:
        first = store.bind("shop", Change(Binding("ann", "ann@shop.org"))).binding
        answers = run_together(race, path, 2)
        leases = [lease for answer in answers for lease in answer[0]]
        assert list(range(ROUNDS)) == sorted(number for number, _ in leases)
        assert ROUNDS == len({token for _, token in leases})
        assert list(range(ROUNDS)) == sorted(number for answer in answers for number in answer[1])
        assert first.version + 2 * ROUNDS == store.find("shop", (ANN,)).matches[0].binding.version
        assert 1 + ROUNDS == store.count("shop")


def test_processes_may_create_one_file_at_once(folder):
    """Whoever comes first makes the tables; nobody fails, and nothing of the others is lost."""
    path = folder / "identity.db"
    assert [("added",)] * 2 == run_together(create, path, 2)
    with SqliteStore(path) as store:
        assert 2 == store.count("shop")


def test_a_killed_holders_lease_is_taken_over_with_its_intent(folder):
    """What a killed process was about to do is known to whoever comes next."""
    path, ready = folder / "identity.db", FRESH.Event()
    worker = FRESH.Process(target=hold, args=(path, ready))
    worker.start()
    assert ready.wait(PATIENCE)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(PATIENCE)
    later = time.time() + 1.0
    with SqliteStore(path, clock=lambda: later) as store:
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
    def test_parent_and_child_both_go_on(self, folder):
        """After a fork each has connections of its own, and sees what the other writes."""
        with SqliteStore(folder / "identity.db") as store:
            store.add("shop", [Binding("ann", None)])
            store.find("shop", (ANN,))

            def work():
                seen = store.find("shop", (ANN,)).matches
                return bool(seen) and store.add("shop", [Binding("ben", None)]) == ("added",)

            assert 0 == in_child(work)
            assert store.find("shop", (Identifier(Kind.EXTERNAL_ID, "ben"),)).matches

    def test_nothing_is_inherited(self, folder):
        """No connection is open at the moment of the fork, so that no process believes in another one's locks."""
        with SqliteStore(folder / "identity.db") as store:
            store.add("shop", [Binding("ann", None)])
            store.find("shop", (ANN,))
            database = store._database
            assert None not in {database._short.connection, database._long.connection}

            def work():
                names = [str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
                is_open = any("identity.db" in name for name in names)
                return {database._short.connection, database._long.connection} == {None} and not is_open

            assert 0 == in_child(work)

    def test_a_childs_end_does_not_end_the_parents_locks(self, folder):
        """A child that uses the map and goes leaves the file in order: the log is not lost while others write to it."""
        path = folder / "identity.db"
        with SqliteStore(path) as store, SqliteStore(path) as other:
            store.add("shop", [Binding("ann", None)])
            other.find("shop", (ANN,))

            def work():
                store.add("shop", [Binding("child", None)])
                store.close()
                other.close()
                gc.collect()
                return True

            assert 0 == in_child(work)
            store.add("shop", [Binding("after", None)])
            assert 3 == other.count("shop")
        with closing(sqlite3.connect(path)) as plain:
            assert ("ok",) == plain.execute("PRAGMA integrity_check").fetchone()
            assert (3,) == plain.execute("SELECT count(*) FROM binding").fetchone()

    def test_a_fork_waits_for_a_write(self, folder):
        """A write that another thread has begun is finished before the fork."""
        entered, leave = threading.Event(), threading.Event()

        def slow():
            entered.set()
            assert leave.wait(PATIENCE)
            return 0.0

        with SqliteStore(folder / "identity.db", clock=slow) as store:
            lease = {"intent": "x", "ttl": 60.0}
            writer = threading.Thread(target=store.acquire, args=("shop", frozenset({ANN})), kwargs=lease)
            writer.start()
            assert entered.wait(PATIENCE)
            threading.Timer(0.05, leave.set).start()
            assert 0 == in_child(lambda: leave.is_set() and store.find("shop", (ANN,)).lease is not None)
            writer.join()

    async def test_an_async_stores_child_has_a_thread_of_its_own(self, folder):
        """The thread that writes does not come along in a fork; the child starts another."""
        async with AsyncSqliteStore(folder / "identity.db") as store:
            await store.add("shop", [Binding("ann", None)])

            def work():
                asyncio.events._set_running_loop(None)
                return asyncio.run(store.count("shop")) == 1

            assert 0 == in_child(work)
            assert 1 == await store.count("shop")
