"""The store in memory: what it does beyond the contract."""

import copy

import pytest

from safeklaviyo.errors import StoreUnavailableError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change, JournalEntry
from safeklaviyo.stores.memory import AsyncMemoryStore, MemoryStore

ANN = Identifier(Kind.EXTERNAL_ID, "ann")
CHANGE = Change(Binding("ann", "ann@shop.org"), journal=JournalEntry("adopt"))


def test_a_snapshot_changes_apart(clock):
    """A deep copy holds all that the store held, and neither sees what is done to the other afterwards."""
    store = MemoryStore(clock=clock)
    store.bind("shop", CHANGE)
    store.remember("shop", "name", "value")
    lease = store.acquire("shop", frozenset({ANN}), intent="x", ttl=5.0)
    twin = copy.deepcopy(store)
    assert store.find("shop", (ANN,)) == twin.find("shop", (ANN,))
    assert store.journal("shop", since=0) == twin.journal("shop", since=0)
    store.remove("shop", ANN)
    store.release("shop", lease.token)
    store.remember("shop", "name", None)
    assert 1 == twin.count("shop")
    assert "value" == twin.recall("shop", "name")
    assert twin.renew("shop", lease.token, ttl=5.0)
    twin.bind("shop", Change(Binding("ben", None), journal=JournalEntry("adopt")))
    assert 1 == len(store.journal("shop", since=0))


def test_a_snapshot_taken_with_its_clock_shares_the_copied_clock(clock):
    """Whoever copies a whole scene gets a store that goes by the scene's own clock."""
    store, copied_clock = copy.deepcopy((MemoryStore(clock=clock), clock))
    copied_clock.advance(7.0)
    assert clock.now + 7.0 == store.find("shop", ()).now


def test_a_snapshot_of_a_closed_store_is_closed(clock):
    """A copy answers no more than the store did."""
    store = MemoryStore(clock=clock)
    store.close()
    with pytest.raises(StoreUnavailableError):
        copy.deepcopy(store).count("shop")


async def test_the_async_twin_can_be_copied_too(clock):
    """A deep copy of the twin changes apart as well."""
    store = AsyncMemoryStore(clock=clock)
    await store.bind("shop", CHANGE)
    twin = copy.deepcopy(store)
    await store.remove("shop", ANN)
    assert (0, 1) == (await store.count("shop"), await twin.count("shop"))


async def test_the_async_store_is_its_own_context_manager():
    """Leaving the block closes the store."""
    async with AsyncMemoryStore() as store:
        assert 0 == await store.count("shop")
    with pytest.raises(StoreUnavailableError):
        await store.count("shop")
