"""The stores in Redis keep the contract: on one server and on a cluster, by the server's time and by a test's."""

import hashlib
from dataclasses import replace

import pytest
import redis

from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change, JournalEntry
from safeklaviyo.stores.redis import AsyncRedisStore, RedisStore
from safeklaviyo.testing.contract import BlockingStore, ManualClock, StoreContract
from support.redis_servers import OwnServer, own_prefix, shared_prefix, url_or_skip


class ClockedClient:
    """A client whose server goes by the test's clock: its scripts read the time from a key beside the map."""

    def __init__(self, client, clock):
        self._client, self._clock, self._names = client, clock, {}

    def execute_command(self, command, script, count, name, *rest, **options):
        """Run the script with the other clock, under the name that this gives it."""
        if command == "EVAL":
            clocked = script.replace(b"redis.call('TIME')", b"redis.call('HMGET', KEYS[1] .. ':clock', 's', 'us')")
            assert clocked != script
            self._names[hashlib.sha1(script).hexdigest()] = self._client.script_load(clocked)
            script = hashlib.sha1(script).hexdigest()
        if script not in self._names:
            raise redis.exceptions.NoScriptError
        seconds, micro = divmod(round(self._clock() * 1_000_000), 1_000_000)
        self._client.hset(name + b":clock", mapping={"s": seconds, "us": micro})
        return self._client.execute_command("EVALSHA", self._names[script], count, name, *rest)


class TestRedis(StoreContract):
    @pytest.fixture
    def store(self):
        with shared_prefix() as prefix, RedisStore(url_or_skip(), prefix=prefix) as store:
            yield store


class TestAsyncRedis(StoreContract):
    @pytest.fixture
    def store(self):
        with shared_prefix() as prefix:
            store = BlockingStore(AsyncRedisStore(url_or_skip(), prefix=prefix))
            yield store
            store.stop()


class TestRedisByAStandingClock(StoreContract):
    @pytest.fixture
    def clock(self):
        return ManualClock()

    def test_a_list_of_former_identifiers_is_believed_only_as_far_as_it_holds(self, store):
        """What was retired from a binding more than once, or went elsewhere since, goes where it belongs with it."""
        one, other = (store.bind("shop", Change(Binding(name, f"{name}@shop.org"))).binding for name in ("a", "b"))
        for address in ("a1@shop.org", "a2@shop.org"):
            one = store.bind("shop", Change(replace(one, email=address))).binding
        store.bind("shop", Change(other, retire=frozenset({Identifier(Kind.EMAIL, "a1@shop.org")})))
        assert store.remove("shop", Identifier(Kind.EXTERNAL_ID, "a"))
        names = tuple(Identifier(Kind.EMAIL, f"{name}@shop.org") for name in ("a", "a1", "a2"))
        assert ["a1@shop.org"] == [match.identifier.value for match in store.find("shop", names).matches]

    def test_numbers_ahead_of_the_time_hide_nothing_and_show_nothing(self, store, clock):
        """Rows written within one microsecond have numbers that are later times, and are still judged by their own."""
        binding = store.bind("shop", Change(Binding("a", None))).binding
        for _ in range(3):
            binding = store.bind("shop", Change(binding, journal=JournalEntry("adopt"))).binding
        assert 3 == len(store.journal("shop", since=clock.now))
        later = clock.now + 0.000_002
        assert () == store.journal("shop", since=later)
        clock.advance(0.000_002)
        store.bind("shop", Change(binding, journal=JournalEntry("later")))
        assert [["later"]] * 2 == [
            [row.entry.verb for row in store.journal("shop", since=later, limit=limit)] for limit in (1, 2)
        ]

    @pytest.fixture
    def store(self, clock):
        with (
            shared_prefix() as prefix,
            redis.Redis.from_url(url_or_skip()) as client,
            RedisStore(ClockedClient(client, clock), prefix=prefix) as store,
        ):
            yield store


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster of one server, which has all slots."""
    options = ("--cluster-enabled", "yes", "--save", "", "--appendonly", "no")
    with OwnServer(tmp_path_factory.mktemp("cluster"), *options) as server:
        server.run("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
        server.wait_for(b"Cluster state changed: ok")
        with redis.RedisCluster(host="127.0.0.1", port=server.port) as client:
            yield client


class TestRedisCluster(StoreContract):
    @pytest.fixture
    def store(self, cluster):
        with own_prefix(cluster) as prefix, RedisStore(cluster, prefix=prefix) as store:
            yield store
