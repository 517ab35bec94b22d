"""The stores in Redis keep the contract: on one server, on a cluster, by their server's time and by a clock of the test."""

import pytest
import redis
from redis_servers import OwnServer, own_prefix, shared_prefix, url_or_skip

from safeklaviyo.stores.redis import AsyncRedisStore, RedisStore
from safeklaviyo.testing.contract import BlockingStore, ManualClock, StoreContract


class ClockedClient:
    """A client whose server goes by a clock that stands still: its scripts read the time from a key."""

    def __init__(self, client, clock, key):
        self._client, self._clock, self._key = client, clock, key

    def execute_command(self, command, script, *rest, **options):
        """Run the script with another clock, under its own name; the store is told that it is not known yet."""
        if command == "EVALSHA":
            raise redis.exceptions.NoScriptError
        micro = round(self._clock() * 1_000_000)
        self._client.hset(self._key, mapping={"seconds": micro // 1_000_000, "rest": micro % 1_000_000})
        call = f"redis.call('HMGET', '{self._key}', 'seconds', 'rest')"
        clocked = script.replace(b"redis.call('TIME')", call.encode())
        assert clocked != script
        return self._client.execute_command(command, clocked, *rest, **options)


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

    @pytest.fixture
    def store(self, clock):
        with shared_prefix() as prefix, redis.Redis.from_url(url_or_skip()) as client:
            with RedisStore(ClockedClient(client, clock, f"{prefix}-clock"), prefix=prefix) as store:
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
