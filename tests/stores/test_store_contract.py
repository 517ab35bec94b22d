"""Every store of this library keeps the contract."""

import pytest

from safeklaviyo.stores.memory import AsyncMemoryStore, MemoryStore
from safeklaviyo.stores.sqlite import AsyncSqliteStore, SqliteStore
from safeklaviyo.testing.contract import BlockingStore, ManualClock, StoreContract


class _StandingClock(StoreContract):
    @pytest.fixture
    def clock(self):
        return ManualClock()


class TestMemory(_StandingClock):
    @pytest.fixture
    def store(self, clock):
        with MemoryStore(clock=clock) as store:
            yield store


class TestAsyncMemory(_StandingClock):
    @pytest.fixture
    def store(self, clock):
        store = BlockingStore(AsyncMemoryStore(clock=clock))
        yield store
        store.stop()


class TestSqlite(_StandingClock):
    @pytest.fixture
    def store(self, clock, folder):
        with SqliteStore(folder / "identity.db", clock=clock) as store:
            yield store


class TestAsyncSqlite(_StandingClock):
    @pytest.fixture
    def store(self, clock, folder):
        store = BlockingStore(AsyncSqliteStore(folder / "identity.db", clock=clock))
        yield store
        store.stop()


class TestMemoryBySystemTime(StoreContract):
    @pytest.fixture
    def store(self, clock):
        with MemoryStore() as store:
            yield store
