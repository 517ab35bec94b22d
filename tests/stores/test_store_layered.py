"""The cache over a shared map: it keeps the contract, forgets in time, and remembers only what it may (P1-P5)."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from safeklaviyo.errors import ConfigurationError, StoreUnavailableError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change
from safeklaviyo.stores.layered import AsyncLayeredStore, LayeredStore
from safeklaviyo.stores.memory import AsyncMemoryStore, MemoryStore
from safeklaviyo.testing.contract import BlockingStore, ManualClock, StoreContract
from support.stores import LONGEST, NOTE, SAID_FOR, outlast

ANN = Identifier(Kind.EXTERNAL_ID, "ann")
MAIL = Identifier(Kind.EMAIL, "ann@shop.org")
PROFILE = Identifier(Kind.PROFILE_ID, "PANN")
ROW = Binding("ann", "ann@shop.org", "PANN")
LEASE = {"intent": "x", "ttl": 60.0}


class _StandingClock(StoreContract):
    @pytest.fixture
    def clock(self):
        return ManualClock()


class TestLayered(_StandingClock):
    @pytest.fixture
    def store(self, clock):
        with LayeredStore(MemoryStore(clock=clock), clock=clock) as store:
            yield store


class TestAsyncLayered(_StandingClock):
    @pytest.fixture
    def store(self, clock):
        store = BlockingStore(AsyncLayeredStore(AsyncMemoryStore(clock=clock), clock=clock))
        yield store
        store.stop()


class CountedStore(MemoryStore):
    """A shared map that counts what it is asked, and can be away."""

    def __init__(self, clock):
        super().__init__(clock=clock)
        self.finds = 0
        self.is_away = False

    def find(self, account, identifiers):
        self.finds += 1
        if self.is_away:
            raise StoreUnavailableError
        return super().find(account, identifiers)

    def bind(self, account, change):
        outcome = super().bind(account, change)
        if self.is_away:
            raise StoreUnavailableError
        return outcome


@pytest.fixture
def shared(clock):
    """The map that many share, with one customer."""
    shared = CountedStore(clock)
    shared.add("shop", [ROW])
    return shared


@pytest.fixture
def store(shared, clock):
    """One process's view of it, which has said by now that it remembers."""
    return said(LayeredStore(shared, max_age=2.0, max_entries=3, clock=clock))


def said(store, account="shop"):
    """Let a cache say that it remembers."""
    for _ in range(2):
        store.find(account, ())
    return store


def asks_the_shared_map(store, shared, *identifiers):
    """Tell whether a find goes to the shared map."""
    before = shared.finds
    found = store.find("shop", identifiers or (ANN,))
    assert replace(found, now=0) == replace(MemoryStore.find(shared, "shop", identifiers or (ANN,)), now=0)
    return shared.finds > before


@pytest.mark.parametrize("asked", [(ANN,), (MAIL,), (PROFILE,), (ANN, MAIL), (PROFILE, MAIL, ANN), (MAIL, MAIL)])
def test_a_known_customer_is_asked_for_once(store, shared, asked):
    """Whoever was found by one identifier is found by any of them without the shared map."""
    assert asks_the_shared_map(store, shared, MAIL)
    assert not asks_the_shared_map(store, shared, *asked)


def test_what_is_remembered_is_forgotten_at_its_instant(store, shared, clock):
    """An answer is given until just before it is `max_age` old, however often it was asked for meanwhile."""
    store.find("shop", (ANN,))
    clock.advance(1.0)
    assert not asks_the_shared_map(store, shared)
    clock.advance(0.75)
    assert not asks_the_shared_map(store, shared)
    clock.advance(0.25)
    assert asks_the_shared_map(store, shared)


def test_an_answers_age_counts_from_the_question(store, shared, clock):
    """A shared map that was slow to answer does not make the answer younger."""
    slow = shared.find

    def find(account, identifiers):
        clock.advance(1.5)
        return slow(account, identifiers)

    shared.find = find
    store.find("shop", (ANN,))
    del shared.find
    clock.advance(0.5)
    assert asks_the_shared_map(store, shared)


def test_the_time_goes_on(store, clock):
    """An answer from the cache tells the time as the shared map would."""
    before = store.find("shop", (ANN,)).now
    clock.advance(1.5)
    assert before + 1.5 == store.find("shop", (ANN,)).now


@pytest.mark.parametrize(
    "asked",
    [
        (),
        (Identifier(Kind.EMAIL, "nobody@shop.org"),),
        (ANN, Identifier(Kind.EMAIL, "nobody@shop.org")),
        (Identifier(Kind.EMAIL, "nobody@shop.org"), ANN),
        (ANN, Identifier(Kind.EMAIL, "old@shop.org")),
        (Identifier(Kind.EMAIL, "old@shop.org"),),
        (ANN, Identifier(Kind.EMAIL, "ben@shop.org")),
        (ANN, Identifier(Kind.PHONE_NUMBER, "+12025550123")),
    ],
)
def test_only_one_sort_of_answer_is_remembered(store, shared, asked):
    """Nobody, a former identifier, two customers at once, and nothing at all are always asked of the shared map."""
    binding = shared.find("shop", (ANN,)).matches[0].binding
    shared.bind("shop", Change(binding, retire=frozenset({Identifier(Kind.EMAIL, "old@shop.org")})))
    shared.add("shop", [Binding("ben", "ben@shop.org")])
    store.find("shop", (ANN,))
    assert [True, True] == [asks_the_shared_map(store, shared, *asked) for _ in range(2)] or asked == ()


@pytest.mark.parametrize("covered", [ANN, MAIL, PROFILE])
def test_a_leased_customer_is_never_remembered(store, shared, covered):
    """While somebody writes about a customer, expired or not, the shared map is asked each time."""
    shared.acquire("shop", frozenset({covered}), **LEASE)
    assert [True, True] == [asks_the_shared_map(store, shared) for _ in range(2)]


@pytest.mark.parametrize(
    "write",
    [
        lambda store, _: store.acquire("shop", frozenset({PROFILE}), **LEASE),
        lambda store, binding: store.bind("shop", Change(replace(binding, email="new@shop.org"))),
        lambda store, binding: store.bind("shop", Change(replace(binding, version=99))),
        lambda store, _: store.bind("shop", Change(Binding("eve", "ann@shop.org"))),
        lambda store, binding: store.bind("shop", Change(Binding("eve", None), absorb=(binding.key,))),
        lambda store, _: store.bind("shop", Change(Binding("eve", None), retire=frozenset({MAIL}))),
        lambda store, _: store.add("shop", [Binding("ann", None, phone_number="+12025550123")]),
        lambda store, _: store.remove("shop", MAIL),
    ],
)
def test_what_this_process_writes_about_is_forgotten(store, shared, write):
    """After an attempt to change a customer, refused or not, the shared map is asked; own writes are seen at once."""
    binding = store.find("shop", (ANN,)).matches[0].binding
    write(store, binding)
    assert asks_the_shared_map(store, shared)


def test_a_lease_taken_over_is_seen_at_once(store, shared, clock):
    """Whoever takes over an expired lease sees it on whatever it covers, not only on what was asked for."""
    other = Identifier(Kind.EMAIL, "new@shop.org")
    store.find("shop", (ANN,))
    shared.acquire("shop", frozenset({other, MAIL}), intent="x", ttl=1.0)
    clock.advance(1.0)
    assert store.acquire("shop", frozenset({other}), **LEASE).taken_over
    assert store.find("shop", (ANN,)).lease is not None


def test_a_write_whose_outcome_is_unknown_is_forgotten_too(store, shared):
    """A change that failed may have been made all the same."""
    binding = store.find("shop", (ANN,)).matches[0].binding
    shared.is_away = True
    with pytest.raises(StoreUnavailableError):
        store.bind("shop", Change(replace(binding, email="new@shop.org")))
    with pytest.raises(StoreUnavailableError):
        store.find("shop", (ANN,))


def wait_of(shared):
    """Return for how long a change waits for those who remember."""
    return outlast(shared.recall("shop", NOTE), shared._clock())


def test_nothing_is_remembered_before_it_is_said(shared, clock):
    """A cache says in the shared map that it remembers, reads that back, and remembers from then on."""
    store = LayeredStore(shared, clock=clock)
    assert 0.0 == wait_of(shared)
    assert [True, True, True, False] == [asks_the_shared_map(store, shared, ANN) for _ in range(4)]
    assert LONGEST == wait_of(shared)


def test_a_cache_that_is_still_used_says_so_again(store, shared, clock):
    """However long a cache is used, at each moment at which it answers by itself those who change know of it."""
    answered = 0
    for _ in range(1000):
        clock.advance(0.37)
        if not asks_the_shared_map(store, shared, ANN):
            answered += 1
            assert LONGEST == wait_of(shared)
    assert answered > 500


def test_a_cache_that_is_gone_is_waited_for_no_longer(store, shared, clock):
    """A day after anybody has said so, and so long after anybody remembered, changes are as fast as before."""
    clock.advance(86_399.0)
    assert LONGEST == wait_of(shared)
    clock.advance(1.0)
    assert 0.0 == wait_of(shared)


@pytest.mark.parametrize("step", [-3600.0, -70.0, 130.0, 3600.0])
def test_a_step_of_the_shared_maps_clock_hides_no_cache(shared, step):
    """However the server's clock is put right, whoever may still remember is waited for."""
    own = ManualClock()
    store = said(LayeredStore(shared, clock=own))
    store.find("shop", (ANN,))
    shared._clock.advance(step)
    said(LayeredStore(shared, clock=own))
    own.advance(1.9)
    assert not asks_the_shared_map(store, shared, ANN)
    assert LONGEST == wait_of(shared)


def test_a_cache_whose_word_was_lost_says_it_again(store, shared, clock):
    """A note that the map has lost is missed within a minute."""
    shared.remember("shop", NOTE, None)
    clock.advance(SAID_FOR)
    assert [True, True, True, False] == [asks_the_shared_map(store, shared, ANN) for _ in range(4)]
    assert LONGEST == wait_of(shared)


def test_a_word_in_the_future_is_not_relied_on(store, shared, clock):
    """After the map's clock was set back a cache says anew that it remembers; changes wait for what was said before."""
    clock.advance(-3600.0)
    assert LONGEST == wait_of(shared)
    other = LayeredStore(shared, clock=clock)
    assert [True, True, True, False] == [asks_the_shared_map(other, shared, ANN) for _ in range(4)]


def test_a_note_that_cannot_be_read_is_written_anew(shared, clock):
    """Whatever stands there, changes wait, and a cache says what it has to say over it."""
    shared.remember("shop", NOTE, "?")
    assert LONGEST == wait_of(shared)
    said(LayeredStore(shared, clock=clock))
    assert repr(clock()) == shared.recall("shop", NOTE)


@pytest.mark.parametrize("failing", ["recall", "remember"])
def test_a_map_that_takes_no_notes_is_read_all_the_same(shared, clock, monkeypatch, failing):
    """While nothing can be written, as on a full disk, nothing is remembered, and every look goes to the shared map."""
    store = LayeredStore(shared, clock=clock)
    with monkeypatch.context() as patch:
        patch.setattr(shared, failing, _refuse)
        assert [True] * 5 == [asks_the_shared_map(store, shared, ANN) for _ in range(5)]
    assert [True, True, True, False] == [asks_the_shared_map(store, shared, ANN) for _ in range(4)]


async def test_an_async_map_that_takes_no_notes_is_read_all_the_same(monkeypatch):
    """The same for the asynchronous store."""
    shared = AsyncMemoryStore()
    await shared.add("shop", [ROW])
    monkeypatch.setattr(shared, "remember", _refuse)
    store = AsyncLayeredStore(shared)
    for _ in range(3):
        assert (await store.find("shop", (ANN,))).matches
    assert not store._cache._entries


def _refuse(*_):
    raise StoreUnavailableError


def test_no_cache_stands_before_a_cache():
    """Two caches would remember for twice as long; and what one in a transaction says, nobody hears."""
    with pytest.raises(ConfigurationError):
        LayeredStore(LayeredStore(MemoryStore()))
    with pytest.raises(ConfigurationError):
        AsyncLayeredStore(AsyncLayeredStore(AsyncMemoryStore()))


def test_what_others_write_is_seen_within_the_bound(store, shared, clock):
    """Another process's change, or lease, is unseen for no longer than `max_age`."""
    binding = store.find("shop", (ANN,)).matches[0].binding
    shared.bind("shop", Change(replace(binding, email="new@shop.org")))
    lease = shared.acquire("shop", frozenset({ANN}), **LEASE)
    assert "ann@shop.org" == store.find("shop", (ANN,)).matches[0].binding.email
    clock.advance(2.0)
    found = store.find("shop", (ANN,))
    assert ("new@shop.org", lease.token) == (found.matches[0].binding.email, found.lease.token)


def test_acting_on_an_old_answer_is_refused_and_looked_up_anew(store, shared):
    """A change based on what another process has changed since is stale, and the next find tells what stands (P4)."""
    binding = store.find("shop", (ANN,)).matches[0].binding
    changed = shared.bind("shop", Change(replace(binding, email="new@shop.org"))).binding
    assert "stale" == store.bind("shop", Change(store.find("shop", (ANN,)).matches[0].binding)).status
    assert changed == store.find("shop", (ANN,)).matches[0].binding


def test_a_shared_map_that_is_away_is_missed_within_the_bound(store, shared, clock):
    """While the shared map is away only who was asked for lately is found, and nobody is said to be unknown (P6)."""
    store.find("shop", (ANN,))
    shared.is_away = True
    assert store.find("shop", (ANN, MAIL)).matches
    with pytest.raises(StoreUnavailableError):
        store.find("shop", (Identifier(Kind.EMAIL, "ben@shop.org"),))
    clock.advance(2.0)
    with pytest.raises(StoreUnavailableError):
        store.find("shop", (ANN,))


def test_an_answer_that_is_older_than_a_change_is_not_kept(store, shared):
    """A find that was on its way while this process changed the customer leaves nothing behind."""
    binding = shared.find("shop", (ANN,)).matches[0].binding
    asked, answered = threading.Event(), threading.Event()
    plain = shared.find

    def find(account, identifiers):
        found = plain(account, identifiers)
        asked.set()
        assert answered.wait(20)
        return found

    shared.find = find
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(store.find, "shop", (ANN,))
        assert asked.wait(20)
        store.bind("shop", Change(replace(binding, email="new@shop.org")))
        answered.set()
        assert "ann@shop.org" == call.result().matches[0].binding.email
    del shared.find
    assert "new@shop.org" == store.find("shop", (ANN,)).matches[0].binding.email


def test_no_more_is_remembered_than_asked(store, shared):
    """The customer who was found first makes room, and every trace of them goes."""
    names = [Identifier(Kind.EXTERNAL_ID, str(number)) for number in range(1, 6)]
    shared.add("shop", [Binding(name.value, f"{name.value}@shop.org") for name in names])
    for name in names:
        store.find("shop", (name,))
    assert 3 == len(store._cache._order)
    assert 9 == len(store._cache._entries)
    assert [False] * 3 == [asks_the_shared_map(store, shared, name) for name in names[2:]]


def test_an_identifier_that_moved_is_its_new_owners(store, shared, clock):
    """What was found anew replaces whatever else was remembered of its identifiers."""
    binding = store.find("shop", (ANN,)).matches[0].binding
    shared.bind("shop", Change(replace(binding, email="new@shop.org")))
    shared.add("shop", [Binding("ben", "ann@shop.org")])
    clock.advance(2.0)
    assert "ben" == store.find("shop", (MAIL,)).matches[0].binding.external_id
    clock.advance(1.0)
    assert "ben" == store.find("shop", (MAIL,)).matches[0].binding.external_id
    assert asks_the_shared_map(store, shared, ANN)


def test_accounts_are_remembered_apart(store):
    """A customer of one account is not found in another."""
    store.find("shop", (ANN,))
    said(store, "other")
    assert () == store.find("other", (ANN,)).matches


@pytest.mark.parametrize("setting", [{"max_age": 0.0}, {"max_age": 2.5}, {"max_age": float("nan")}, {"max_entries": 0}])
@pytest.mark.parametrize(
    "make", [lambda **s: LayeredStore(MemoryStore(), **s), lambda **s: AsyncLayeredStore(AsyncMemoryStore(), **s)]
)
def test_a_cache_that_remembers_nothing_is_refused(make, setting):
    """The bounds have to be bounds."""
    with pytest.raises(ConfigurationError):
        make(**setting)


def test_a_fork_while_another_thread_remembers(store):
    """A lock that another thread holds at a fork does not stop the child."""
    store.find("shop", (ANN,))
    with store._cache._lock():
        child = os.fork()
        if child == 0:
            try:
                store.remove("shop", ANN)
                os._exit(len(store.find("shop", (ANN,)).matches))
            finally:
                os._exit(2)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


async def test_the_async_store_remembers_too():
    """The asynchronous store is asked once as well."""
    clock = ManualClock()
    shared = AsyncMemoryStore(clock=clock)
    async with AsyncLayeredStore(shared, clock=clock) as store:
        await store.add("shop", [ROW])
        for _ in range(3):
            await store.find("shop", (ANN,))
        await shared.remove("shop", ANN)
        assert (await store.find("shop", (ANN,))).matches
        clock.advance(2.0)
        assert () == (await store.find("shop", (ANN,))).matches
