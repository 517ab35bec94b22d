"""The stores in Redis keep the contract: on one server and on a cluster, by the server's time and by a test's."""

import hashlib

import pytest
import redis
from redis_servers import OwnServer, own_prefix, shared_prefix, url_or_skip

from safeklaviyo.stores.redis import AsyncRedisStore, RedisStore
from safeklaviyo.testing.contract import BlockingStore, ManualClock, StoreContract


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
