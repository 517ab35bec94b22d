"""Several processes on one Redis server, and servers that end in the middle (P4, P6)."""

import os
import signal
import time

import pytest

from safeklaviyo.errors import StoreUnavailableError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change, JournalEntry
from safeklaviyo.stores.redis import AsyncRedisStore, RedisStore
from support.fresh import FRESH
from support.redis_servers import OwnServer, run_async, shared_prefix, url_or_skip

ANN = Identifier(Kind.EXTERNAL_ID, "ann")
OLD = Identifier(Kind.EMAIL, "ann@shop.org")
LOGGED = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
FORGETFUL = ("--save", "", "--appendonly", "no")
ROUNDS = 100
PATIENCE = 60.0


def race(url, prefix, start, results):
    """Take every lease and bind every address that can be had."""
    with RedisStore(url, prefix=prefix) as store:
        store.count("shop")
        start.wait(PATIENCE)
        leases, bound = [], []
        for number in range(ROUNDS):
            lease = store.acquire("shop", frozenset({_address(number)}), intent="x", ttl=1e6)
            leases += [] if lease is None else [(number, lease.token)]
            outcome = store.bind("shop", Change(Binding(f"{os.getpid()}-{number}", f"new{number}@shop.org")))
            bound += [number] if outcome.status == "bound" else []
            _count_up(store)
    results.put((leases, bound))


def hold(url, prefix, ready):
    """Take a lease, say so, and never come back."""
    RedisStore(url, prefix=prefix).acquire("shop", frozenset({ANN}), intent="create ann", ttl=0.0)
    ready.set()
    time.sleep(PATIENCE)


def _address(number):
    return Identifier(Kind.EMAIL, f"{number}@shop.org")


def _count_up(store):
    """Change one binding that all want to change."""
    while store.bind("shop", Change(store.find("shop", (ANN,)).matches[0].binding)).status != "bound":
        pass


def test_racing_processes_share_one_map():
    """Each lease and each address goes to one process, tokens differ, and no change to a common binding is lost."""
    with shared_prefix() as prefix, RedisStore(url_or_skip(), prefix=prefix) as store:
        first = store.bind("shop", Change(Binding("ann", "ann@shop.org"))).binding
        start, results = FRESH.Barrier(2), FRESH.Queue()
        workers = [FRESH.Process(target=race, args=(url_or_skip(), prefix, start, results)) for _ in range(2)]
        for worker in workers:
            worker.start()
        answers = [results.get(timeout=PATIENCE) for _ in workers]
        for worker in workers:
            worker.join(PATIENCE)
        assert [0, 0] == [worker.exitcode for worker in workers]
        leases = [lease for answer in answers for lease in answer[0]]
        assert list(range(ROUNDS)) == sorted(number for number, _ in leases)
        assert ROUNDS == len({token for _, token in leases})
        assert list(range(ROUNDS)) == sorted(number for answer in answers for number in answer[1])
        assert first.version + 2 * ROUNDS == store.find("shop", (ANN,)).matches[0].binding.version
        assert 1 + ROUNDS == store.count("shop")


def test_a_killed_holders_lease_is_taken_over_with_its_intent():
    """What a killed process was about to do is known to whoever comes next."""
    with shared_prefix() as prefix, RedisStore(url_or_skip(), prefix=prefix) as store:
        ready = FRESH.Event()
        worker = FRESH.Process(target=hold, args=(url_or_skip(), prefix, ready))
        worker.start()
        assert ready.wait(PATIENCE)
        os.kill(worker.pid, signal.SIGKILL)
        worker.join(PATIENCE)
        lease = store.acquire("shop", frozenset({ANN, OLD}), intent="x", ttl=60.0)
    assert ("create ann", frozenset({ANN}), True) == (lease.intent, lease.identifiers, lease.taken_over)


def fill(store):
    """Leave a customer with a past, a lease and a journal; return the lease."""
    binding = store.bind("shop", Change(Binding("ann", "ann@shop.org", "PANN"))).binding
    change = Change(Binding("ann", "new@shop.org", "PANN", version=1, key=binding.key), journal=JournalEntry("change"))
    assert "bound" == store.bind("shop", change).status
    return store.acquire("shop", frozenset({ANN}), intent="next", ttl=0.0)


def test_a_server_that_keeps_its_log_goes_on_where_it_was(tmp_path):
    """After a crash of a server with a log the same store finds all as it was, intents and retired addresses too."""
    with OwnServer(tmp_path, *LOGGED) as server, RedisStore(server.url) as store:
        lease = fill(store)
        before = store.page("shop"), store.journal("shop", since=0)
        server.kill()
        with pytest.raises(StoreUnavailableError):
            store.find("shop", (ANN,))
        server.start()
        assert before == (store.page("shop"), store.journal("shop", since=0))
        assert store.find("shop", (OLD,)).matches[0].retired_at is not None
        taken = store.acquire("shop", frozenset({ANN}), intent="x", ttl=60.0)
        assert (True, "next", True) == (lease.token < taken.token, taken.intent, taken.taken_over)


def test_an_asynchronous_store_recovers_as_well(tmp_path):
    """The asynchronous store goes on after a restart, too."""
    with OwnServer(tmp_path, *LOGGED) as server:

        async def work(store):
            await store.remember("shop", "name", "value")
            server.kill()
            with pytest.raises(StoreUnavailableError):
                await store.recall("shop", "name")
            server.start()
            return await store.recall("shop", "name")

        assert "value" == run_async(lambda: AsyncRedisStore(server.url), work)


def test_a_server_that_forgot_everything_is_not_believed(tmp_path):
    """A store that knew a map does not take an emptied server for one that knows nobody; a new process cannot tell."""
    with OwnServer(tmp_path, *FORGETFUL) as server, RedisStore(server.url) as store:
        lease = fill(store)
        server.kill()
        server.start()
        for use in (
            lambda: store.find("shop", (ANN,)),
            lambda: store.renew("shop", lease.token, ttl=60.0),
            lambda: store.acquire("shop", frozenset({ANN}), intent="x", ttl=60.0),
            lambda: store.expired("shop", 10),
        ):
            with pytest.raises(StoreUnavailableError):
                use()
        with RedisStore(server.url) as fresh:
            assert () == fresh.find("shop", (ANN,)).matches
            assert lease.token < fresh.acquire("shop", frozenset({ANN}), intent="x", ttl=60.0).token


def test_a_failover_takes_no_token_back(tmp_path):
    """A replica that takes over without the last writes gives tokens that its primary has not given."""
    folders = [tmp_path / name for name in ("primary", "replica")]
    for folder in folders:
        folder.mkdir()
    with OwnServer(folders[0], *FORGETFUL, "--repl-diskless-sync-delay", "0") as primary:
        options = (*FORGETFUL, "--replicaof", "127.0.0.1", str(primary.port))
        with (
            OwnServer(folders[1], *options, ready=b"Finished with success") as replica,
            RedisStore(primary.url) as store,
            RedisStore(replica.url) as other,
        ):
            store.remember("shop", "name", "value")
            primary.run("WAIT", 1, 10_000)
            replica.run("REPLICAOF", "NO", "ONE")
            lost = store.acquire("shop", frozenset({ANN}), intent="lost", ttl=60.0)
            given = other.acquire("shop", frozenset({ANN}), intent="given", ttl=60.0)
            assert lost.token < given.token
            assert not other.renew("shop", lost.token, ttl=60.0)
            assert "fenced" == other.bind("shop", Change(Binding("ann", None), token=lost.token)).status
