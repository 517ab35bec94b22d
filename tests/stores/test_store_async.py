"""The asynchronous SQLite store: what runs in the loop, what does not, and what cancelling does."""

import asyncio
import sqlite3
import threading
from contextlib import closing

import pytest

from safeklaviyo.errors import StoreUnavailableError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.sqlite import AsyncSqliteStore

ANN = Identifier(Kind.EXTERNAL_ID, "ann")
ROW = Binding("ann", "ann@shop.org")


class SlowClock:
    """A clock that tells the time only when it is let."""

    def __init__(self):
        self.entered, self.leave = threading.Event(), threading.Event()

    def __call__(self):
        self.entered.set()
        assert self.leave.wait(20)
        return 0.0


@pytest.fixture
async def store(folder):
    """A map that has not been opened yet."""
    async with AsyncSqliteStore(folder / "identity.db") as store:
        yield store


async def test_a_find_runs_in_the_loop(store):
    """Once the file is open a find needs no other thread."""
    threads = []
    store._store._clock = lambda: threads.append(threading.current_thread()) or 0.0
    await store.find("shop", (ANN,))
    await store.find("shop", (ANN,))
    assert [False, True] == [thread is threading.main_thread() for thread in threads]


async def test_a_find_does_not_wait_for_a_writer(store, folder):
    """While another process writes, a find answers at once, from what was there before."""
    await store.add("shop", [ROW])
    await store.find("shop", (ANN,))
    with closing(sqlite3.connect(folder / "identity.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM place")
        assert (await store.find("shop", (ANN,))).matches
        other.execute("ROLLBACK")


async def test_a_find_that_would_have_to_wait_waits_in_the_thread(store, folder):
    """Where SQLite turns a find away nevertheless, the loop goes on, and the answer comes when it can."""
    await store.add("shop", [ROW])
    await store.find("shop", (ANN,))
    store._store._database._long.disconnect()
    short = store._store._database._short.connection
    assert (0,) == short.execute("PRAGMA busy_timeout").fetchone()
    short.execute("PRAGMA journal_mode = DELETE").fetchall()
    with closing(sqlite3.connect(folder / "identity.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        call = asyncio.create_task(store.find("shop", (ANN,)))
        await asyncio.sleep(0)
        assert not call.done()
        other.execute("ROLLBACK")
        assert (await call).matches


async def test_the_loop_goes_on_while_a_write_waits(folder):
    """A write that takes its time keeps nobody else in the loop from running."""
    clock = SlowClock()
    async with AsyncSqliteStore(folder / "identity.db", clock=clock) as store:
        write = asyncio.create_task(store.acquire("shop", frozenset({ANN}), intent="x", ttl=1.0))
        await asyncio.sleep(0)
        assert clock.entered.wait(20)
        assert not write.done()
        clock.leave.set()
        assert (await write) is not None


async def test_a_cancelled_write_ends_whole(folder):
    """A write that is cancelled after it began is done all the same; one that had not begun never is."""
    clock = SlowClock()
    async with AsyncSqliteStore(folder / "identity.db", clock=clock) as store:
        begun = asyncio.create_task(store.acquire("shop", frozenset({ANN}), intent="begun", ttl=60.0))
        await asyncio.sleep(0)
        queued = asyncio.create_task(store.add("shop", [ROW]))
        await asyncio.sleep(0)
        assert clock.entered.wait(20)
        for call in (begun, queued):
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        clock.leave.set()
        assert 0 == await store.count("shop")
        assert "begun" == (await store.find("shop", (ANN,))).lease.intent
        assert not store._store._database._long.connection.in_transaction
        assert ("added",) == await store.add("shop", [Binding("ben", None)])


def test_one_loop_after_another(folder):
    """A store may outlive the loop in which it was first used."""
    store = AsyncSqliteStore(folder / "identity.db")

    async def use(number):
        await store.add("shop", [Binding(str(number), None)])
        await store.find("shop", (ANN,))
        return await store.count("shop")

    assert [1, 2, 3] == [asyncio.run(use(number)) for number in (1, 2, 3)]
    asyncio.run(store.aclose())


async def test_closing_lets_queued_writes_end(folder):
    """What was asked before the store is closed is done, and what is asked afterwards is refused."""
    store = AsyncSqliteStore(folder / "identity.db")
    writes = [asyncio.create_task(store.add("shop", [Binding(str(number), None)])) for number in range(1, 6)]
    await asyncio.sleep(0)
    await store.aclose()
    await store.aclose()
    assert [("added",)] * 5 == await asyncio.gather(*writes)
    with pytest.raises(StoreUnavailableError):
        await store.find("shop", (ANN,))


async def test_a_store_that_was_never_used_can_be_closed(folder):
    """Closing opens nothing."""
    await AsyncSqliteStore(folder / "identity.db").aclose()
    assert [] == list(folder.iterdir())
