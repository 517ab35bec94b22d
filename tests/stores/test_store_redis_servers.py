"""How a Redis store reaches its server: URLs, clients, loops, forks, threads, sentinels, and what it says of a disk."""

import asyncio
import os
import subprocess
import sys
import threading

import pytest
import redis
import redis.asyncio

from safeklaviyo.errors import ConfigurationError, StoreUnavailableError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores import open_async_store, open_store
from safeklaviyo.stores.base import Change, JournalEntry
from safeklaviyo.stores.redis import AsyncRedisStore, RedisStore
from support.redis import Persistence, persistence, servers
from support.redis_servers import OwnServer, run_async, shared_prefix, url_or_skip

ANN = Identifier(Kind.EXTERNAL_ID, "ann")
ROW = Binding("ann", "ann@shop.org")
SENTINELS = "redis+sentinel://shop:hunter2@one:1,two/main"

WITHOUT_DRIVER = """
import sys
sys.modules["redis"] = None
from safeklaviyo.stores import open_async_store, open_store
for opener in open_store, open_async_store:
    try:
        opener("redis://shop:hunter2@host")
    except Exception as exc:
        print(type(exc).__name__, exc)
"""

USED_AND_LEFT = """
import asyncio, gc, sys
from safeklaviyo.stores.redis import AsyncRedisStore, RedisStore
url, prefix = sys.argv[1:]
with RedisStore(url, prefix=prefix) as store:
    store.count("shop")
RedisStore(url, prefix=prefix).count("shop")
other = AsyncRedisStore(url, prefix=prefix)
print([asyncio.run(other.count("shop")) for _ in range(2)])
gc.collect()
"""

BAD = [
    "",
    "redis",
    "redis:",
    "redis://",
    "redis:///0",
    "redis://host/one",
    "redis://host/0/1",
    "redis://host/²",
    "redis://host:port",
    "redis://:hunter2/x@host:6379",
    "redis://host?db=1",
    "redis://host?",
    "redis://host#x",
    "redis://host#",
    "redis://shop:hunter2@[bad",
    "redis+sentinel://host",
    "redis+sentinel://host/",
    "redis+sentinel://one,,two/main",
    "redis+sentinel://host/main/one",
    "http://shop:hunter2@host",
]


@pytest.fixture
def prefix():
    """A prefix on the server that is there."""
    with shared_prefix() as prefix:
        yield prefix


class TestUrls:
    @pytest.mark.parametrize("url", BAD)
    def test_a_url_that_names_no_server_is_refused(self, url):
        """The error says what is accepted, and quotes nothing of the URL."""
        for kind in (RedisStore, AsyncRedisStore):
            with pytest.raises(ConfigurationError) as caught:
                kind(url)
            assert str(caught.value).endswith(servers.ACCEPTED)
            assert "hunter2" not in repr(caught.value)
            assert caught.value.__cause__ is None

    @pytest.mark.parametrize(
        ("url", "hosts", "service", "login"),
        [
            ("redis://host", [("host", 6379)], None, {"db": 0}),
            ("rediss://host:1/", [("host", 1)], None, {"db": 0}),
            ("redis://[::1]:1/3", [("::1", 1)], None, {"db": 3}),
            ("redis://:p%40ss@host/3", [("host", 6379)], None, {"db": 3, "password": "p@ss"}),
            ("redis://a:b@host", [("host", 6379)], None, {"db": 0, "username": "a", "password": "b"}),
            ("redis+sentinel://one:1,two/main", [("one", 1), ("two", 26379)], "main", {"db": 0}),
            ("redis+sentinel://:b@one/main/2", [("one", 26379)], "main", {"db": 2, "password": "b"}),
        ],
    )
    def test_what_a_url_says(self, url, hosts, service, login):
        """Host, port, database, user and password are read as they were meant."""
        server = servers.parse(url)
        assert (tuple(hosts), service, login) == (server.hosts, server.service, server.login)
        assert url.startswith("rediss") == server.is_secure

    @pytest.mark.parametrize("url", ["redis://shop:hunter2@host/1", "rediss://shop:hunter2@host/1", SENTINELS])
    def test_the_password_is_not_shown(self, url):
        """Neither a store nor what it knows of its server shows the password (P8)."""
        with RedisStore(url) as store:
            assert "hunter2" not in repr(store) + repr(servers.parse(url)) + repr(vars(store))

    @pytest.mark.parametrize(("url", "secure"), [("redis://host", False), ("rediss://host", True)])
    def test_tls_checks_who_answers(self, url, secure):
        """``rediss://`` connects by TLS and checks the certificate; making the client connects to nobody."""
        clients = (servers.parse(url).client(5.0)[0], servers.parse(url).async_client(5.0)[0])
        for client in clients:
            connection = client.connection_pool.make_connection()
            assert secure == ("SSL" in type(connection).__name__)
            if secure:
                assert "required" in str(client.connection_pool.connection_kwargs.get("ssl_cert_reqs", "required"))

    @pytest.mark.parametrize("url", ["redis://host", SENTINELS])
    def test_every_wait_has_an_end_and_nothing_is_sent_twice(self, url):
        """Clients made here never repeat a command by themselves, and wait a bounded time, or let the store do it."""
        server = servers.parse(url)
        for client, seconds in ((server.client(3.0)[0], 3.0), (server.async_client(3.0)[0], None)):
            pool = client.connection_pool
            waits = pool.connection_kwargs
            assert (seconds, 2.0, 0, servers.CONNECTIONS) == (
                waits["socket_timeout"],
                waits["socket_connect_timeout"],
                waits["retry"].get_retries(),
                pool.max_connections,
            )

    def test_the_openers_know_the_urls(self):
        """Each scheme leads to a store in Redis; opening reads and writes nothing."""
        for url in ("redis://127.0.0.1:1", "REDISS://127.0.0.1:1", "redis+sentinel://127.0.0.1:1/main"):
            with open_store(url) as store:
                assert isinstance(store, RedisStore)
            assert isinstance(open_async_store(url), AsyncRedisStore)

    def test_without_the_driver_the_error_says_what_to_install(self):
        """Where redis-py is missing, the URL is refused with the name of the extra."""
        done = subprocess.run([sys.executable, "-c", WITHOUT_DRIVER], capture_output=True, text=True, check=True)
        line = 'ConfigurationError that store needs its driver: pip install "safeklaviyo[redis]"\n'
        assert 2 * line == done.stdout

    @pytest.mark.parametrize("prefix", ["", "a{b", "a}b"])
    def test_a_prefix_without_effect_on_slots(self, prefix):
        """A prefix that would decide where a cluster keeps an account is refused."""
        for kind in (RedisStore, AsyncRedisStore):
            with pytest.raises(ConfigurationError):
                kind("redis://host", prefix=prefix)


class TestClients:
    def test_a_client_that_is_given_stays_open(self, prefix):
        """The caller's client is used as it is, even one that decodes, and not closed."""
        with redis.Redis.from_url(url_or_skip(), decode_responses=True) as client:
            with RedisStore(client, prefix=prefix) as store:
                assert ("added",) == store.add("shop", [ROW])
                assert store.find("shop", (ANN,)).matches
            with pytest.raises(StoreUnavailableError):
                store.count("shop")
            assert client.ping()

    async def test_an_asynchronous_client_that_is_given_stays_open(self, prefix):
        """The same for one of redis.asyncio."""
        async with redis.asyncio.Redis.from_url(url_or_skip(), decode_responses=True) as client:
            async with AsyncRedisStore(client, prefix=prefix) as store:
                assert ("added",) == await store.add("shop", [ROW])
                assert (await store.find("shop", (ANN,))).matches
            with pytest.raises(StoreUnavailableError):
                await store.count("shop")
            assert await client.ping()

    def test_a_client_of_the_other_kind_is_refused(self):
        """A store says at once that it needs another client, instead of failing at its first use."""
        with pytest.raises(ConfigurationError):
            RedisStore(redis.asyncio.Redis())
        with pytest.raises(ConfigurationError):
            AsyncRedisStore(redis.Redis())

    def test_two_prefixes_are_two_maps(self, prefix):
        """Stores with different prefixes share nothing."""
        url = url_or_skip()
        with RedisStore(url, prefix=prefix) as one, RedisStore(url, prefix=f"{prefix}-2") as other:
            one.add("shop", [ROW])
            assert (1, 0) == (one.count("shop"), other.count("shop"))

    @pytest.mark.parametrize("account", ["", "}", "{", "a}b{c", "ä"])
    def test_any_account_has_one_slot(self, prefix, account):
        """The keys of an account share a slot of a cluster, whatever it is called."""
        with redis.Redis.from_url(url_or_skip()) as client, RedisStore(client, prefix=prefix) as store:
            store.bind(account, Change(ROW, journal=JournalEntry("adopt")))
            store.acquire(account, frozenset({ANN}), intent="x", ttl=60.0)
            keys = list(client.scan_iter(f"{prefix}*", count=10_000))
            assert 4 == len(keys)
            assert 1 == len({redis.cluster.key_slot(key) for key in keys})
            assert 1 == store.count(account)

    def test_threads_wait_for_a_free_connection(self, prefix):
        """More threads than connections all get their answer."""
        with RedisStore(url_or_skip(), prefix=prefix) as store:
            store.add("shop", [ROW])
            found = []
            threads = [
                threading.Thread(target=lambda: found.append(len(store.find("shop", (ANN,)).matches)))
                for _ in range(2 * servers.CONNECTIONS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert [1] * len(threads) == found

    async def test_tasks_wait_for_a_free_connection(self, prefix):
        """More tasks than connections all get their answer."""
        async with AsyncRedisStore(url_or_skip(), prefix=prefix) as store:
            await store.add("shop", [ROW])
            found = await asyncio.gather(*[store.find("shop", (ANN,)) for _ in range(4 * servers.CONNECTIONS)])
            assert {1} == {len(each.matches) for each in found}

    async def test_a_cancelled_call_spoils_no_connection(self, prefix):
        """Who asks after a call was cancelled gets the answer to their own question."""
        async with AsyncRedisStore(url_or_skip(), prefix=prefix) as store:
            await store.remember("shop", "name", "value")
            for turns in range(6):
                call = asyncio.create_task(store.count("shop"))
                for _ in range(turns):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.wait([call])
                assert "value" == await store.recall("shop", "name")


class TestLoops:
    def test_one_loop_after_another(self, prefix):
        """A store may outlive the loop in which it was first used, and leaves no connection behind in any."""
        store = AsyncRedisStore(url_or_skip(), prefix=prefix)

        async def use(number):
            await store.add("shop", [Binding(str(number), None)])
            return await store.count("shop")

        assert [1, 2, 3] == [asyncio.run(use(number)) for number in (1, 2, 3)]
        assert {} == store._loops._by_loop
        asyncio.run(store.aclose())
        asyncio.run(store.aclose())

    def test_loops_beside_each_other(self, prefix):
        """Two loops in two threads each have connections of their own."""
        store, counts = AsyncRedisStore(url_or_skip(), prefix=prefix), []
        barrier = threading.Barrier(2)

        async def use():
            await store.count("shop")
            await asyncio.to_thread(barrier.wait)
            counts.append(await store.count("shop"))

        threads = [threading.Thread(target=lambda: asyncio.run(use())) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [0, 0] == counts

    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_parent_and_child_both_go_on(self, prefix):
        """After a fork each process has connections of its own, and sees what the other writes."""
        with RedisStore(url_or_skip(), prefix=prefix) as store:
            store.add("shop", [ROW])
            child = os.fork()
            if child == 0:
                try:
                    is_added = store.add("shop", [Binding("ben", None)]) == ("added",)
                    store.close()
                    os._exit(0 if is_added else 1)
                finally:
                    os._exit(2)
            assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert 2 == store.count("shop")

    def test_nothing_is_warned_about(self, prefix):
        """In development mode neither store, used and closed, leaves anything open."""
        command = [sys.executable, "-X", "dev", "-W", "error", "-c", USED_AND_LEFT, url_or_skip(), prefix]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert ("[0, 0]\n", "") == (done.stdout, done.stderr)


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory):
    """Two sentinels, of which one is away, and the server that they know."""
    folder = tmp_path_factory.mktemp("sentinel")
    with OwnServer(folder, "--save", "") as server:
        settings = folder / "sentinel.conf"
        settings.write_text(f"sentinel monitor main 127.0.0.1 {server.port} 1\n")
        with OwnServer(folder, str(settings), "--sentinel", ready=b"+monitor master main") as sentinel:
            yield f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/main"


class TestSentinels:
    def test_the_sentinels_say_where_the_map_is(self, sentinels):
        """A store asks the sentinels, passing over one that is away, and uses the server that they name."""
        with RedisStore(sentinels) as store:
            assert ("added",) == store.add("shop", [ROW])
        assert 1 == run_async(lambda: AsyncRedisStore(sentinels), lambda store: store.count("shop"))

    def test_a_service_that_nobody_knows_is_unavailable(self, sentinels):
        """A name that the sentinels do not know is an error, and never an empty map."""
        with RedisStore(sentinels.replace("/main", "/other")) as store, pytest.raises(StoreUnavailableError):
            store.count("shop")


class TestPersistence:
    @pytest.mark.parametrize(
        ("answers", "expected", "warnings"),
        [
            (("1", "noeviction", {"save": ""}), Persistence(True, True, "noeviction"), []),
            (("0", "noeviction", {"save": "60 1"}), Persistence(True, False, "noeviction"), ["snapshots only"]),
            (("0", "noeviction", {"save": ""}), Persistence(False, False, "noeviction"), ["nothing on disk"]),
            (("0", "noeviction", None), Persistence(None, False, "noeviction"), ["unknown"]),
            (("1", "volatile-lru", None), Persistence(True, True, "volatile-lru"), ["is volatile-lru"]),
            (
                ("0", "allkeys-lru", {}),
                Persistence(False, False, "allkeys-lru"),
                ["nothing on disk", "is allkeys-lru"],
            ),
            ((None, None, None), Persistence(None, False, None), ["unknown"]),
        ],
    )
    def test_what_a_servers_settings_mean(self, answers, expected, warnings):
        """Each way to lose a map is told, and what the server does not say is called unknown."""
        is_logged, policy, settings = answers
        seen = persistence.read(
            {} if is_logged is None else {"aof_enabled": int(is_logged)},
            {} if policy is None else {"maxmemory_policy": policy},
            settings,
        )
        assert expected == seen
        assert len(warnings) == len(seen.warnings)
        assert all(words in warning for words, warning in zip(warnings, seen.warnings, strict=True))

    def test_a_server_is_asked(self, tmp_path):
        """A server says what it keeps; one that hides its settings is asked no further."""
        with OwnServer(tmp_path, "--save", "60 1", "--maxmemory-policy", "allkeys-lru") as server:
            with RedisStore(server.url) as store:
                assert Persistence(True, False, "allkeys-lru") == store.persistence()
            server.run("ACL", "SETUSER", "default", "-config|get")
            with RedisStore(server.url) as store:
                assert Persistence(None, False, "allkeys-lru") == store.persistence()
            seen = run_async(lambda: AsyncRedisStore(server.url), lambda store: store.persistence())
            assert Persistence(None, False, "allkeys-lru") == seen
            server.run("CONFIG", "SET", "appendonly", "yes")
            server.run("ACL", "SETUSER", "default", "+config|get")
            assert Persistence(True, True, "allkeys-lru") == run_async(
                lambda: AsyncRedisStore(server.url), lambda store: store.persistence()
            )

    def test_a_server_that_is_away_cannot_be_asked(self):
        """Nothing is guessed about a server that does not answer."""
        with RedisStore("redis://127.0.0.1:1") as store, pytest.raises(StoreUnavailableError):
            store.persistence()
        with pytest.raises(StoreUnavailableError):
            run_async(lambda: AsyncRedisStore("redis://127.0.0.1:1"), lambda store: store.persistence())
