"""An event loop over an SQLite map: it is never held, and those who wait have one limit (faults 2.6, 2.8)."""

import asyncio
import sqlite3
import time
from contextlib import asynccontextmanager, contextmanager
from threading import Event, Thread

import pytest

from safeklaviyo import AsyncKlaviyo, Klaviyo, StoreUnavailableError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.stores.sqlite import AsyncSqliteStore, SqliteStore
from safeklaviyo.testing import KlaviyoSimulator

ANN = Identifier(Kind.EMAIL, "ann@shop.dev")
ROW = Binding("ann-1", "ann@shop.dev", "P1")
HELD = 0.05
"""Seconds for which a loop may be held; a busy machine holds it, too, so the tests look for far longer times."""


@pytest.fixture
def path(tmp_path):
    """A map with one customer."""
    path = tmp_path / "map.db"
    with SqliteStore(path) as store:
        store.add("A", [ROW])
    return path


@asynccontextmanager
async def watched():
    """Yield a list that gets, at the end, the longest time between two turns of the loop."""
    longest, is_over = [0.0], False

    async def turn():
        last = time.monotonic()
        while not is_over:
            await asyncio.sleep(0)
            now = time.monotonic()
            longest[0], last = max(longest[0], now - last), now

    task = asyncio.create_task(turn())
    yield longest
    is_over = True
    await task


@contextmanager
def locked(path):
    """Let another process, as SQLite sees it, keep everybody out of the file."""
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("PRAGMA locking_mode = EXCLUSIVE")
    blocker.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        blocker.close()


async def test_the_first_use_of_a_locked_file_does_not_hold_the_loop(path):
    """A store that cannot open its file waits in its own thread."""
    store = AsyncSqliteStore(path, timeout=0.4)
    with locked(path):
        async with watched() as longest:
            with pytest.raises(StoreUnavailableError):
                await store.find("A", (ANN,))
    await store.aclose()
    assert longest[0] < 4 * HELD


async def test_another_threads_use_does_not_hold_the_loop(path):
    """A find in the loop does not wait for the lock of a thread that uses the same connection."""
    store = AsyncSqliteStore(path)
    assert (await store.find("A", (ANN,))).current(Kind.EMAIL) is not None
    entered, leave = Event(), Event()

    def occupy():
        with store._store._database._short.lock:
            entered.set()
            leave.wait(5)

    thread = Thread(target=occupy)
    thread.start()
    entered.wait(5)
    async with watched() as longest:
        finding = asyncio.ensure_future(store.find("A", (ANN,)))
        await asyncio.sleep(0.3)
        assert not finding.done()
        leave.set()
        assert (await finding).current(Kind.EMAIL) is not None
    thread.join()
    await store.aclose()
    assert longest[0] < 4 * HELD


async def test_those_who_wait_share_one_limit(path):
    """Ten calls behind one lock are all told within the time that one of them may wait."""
    store = AsyncSqliteStore(path, timeout=0.3)
    await store.count("A")
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    async with watched() as longest:
        ended = await asyncio.gather(
            *(store.remember("A", f"note-{number}", "x") for number in range(10)), return_exceptions=True
        )
    seconds = time.monotonic() - began
    blocker.close()
    await store.aclose()
    assert {StoreUnavailableError} == {type(each) for each in ended}
    assert seconds < 0.3 + 0.5
    assert longest[0] < 4 * HELD


async def test_a_hundred_first_contacts_do_not_hold_the_loop(tmp_path):
    """Neither does what the client itself does between its waits."""
    simulator = KlaviyoSimulator(account="SiMuLa", queue_lag=0.0)
    async with (
        simulator.mock(),
        AsyncKlaviyo("pk_test_0123456789", account="SiMuLa", store=f"sqlite:///{tmp_path}/map.db") as k,
    ):
        await k.identify(external_id="c-0", email="c0@shop.dev")
        async with watched() as longest:
            await asyncio.gather(*(k.identify(external_id=f"c-{n}", email=f"c{n}@shop.dev") for n in range(1, 100)))
    assert 100 == len(simulator.profiles)
    assert longest[0] < 10 * HELD


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_clock_set_back_blocks_nobody(kind, tmp_path):
    """A lease that was left behind before the clock was set back two hours is taken over by the next call."""
    simulator, offset = KlaviyoSimulator(account="SiMuLa", queue_lag=0.0), [0.0]

    def clock():
        return time.time() + offset[0]

    store = MemoryStore(clock=clock) if kind == "memory" else SqliteStore(tmp_path / "map.db", clock=clock)
    pair = frozenset((Identifier(Kind.EXTERNAL_ID, "ann-1"), ANN))
    intent = '{"verb": "contact", "external_id": "ann-1", "email": "ann@shop.dev"}'
    with store, simulator.mock(), Klaviyo("pk_test_0123456789", account="SiMuLa", store=store) as k:
        assert store.acquire("SiMuLa", pair, intent=intent, ttl=15.0) is not None
        offset[0] = -7200.0
        (left,) = store.expired("SiMuLa", 10)
        assert 0.0 == left.remaining
        k.identify(external_id="ann-1", email="ann@shop.dev")
    assert 1 == len(simulator.profiles)
