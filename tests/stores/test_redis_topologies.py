"""Redis as it is run where it matters: behind sentinels that fail over, in a cluster, by TLS, on a full disk."""

import os
import threading
import uuid
from contextlib import ExitStack, contextmanager

import pytest
import redis
import redis.asyncio

from safeklaviyo.errors import ConfigurationError, StoreUnavailableError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change
from safeklaviyo.stores.redis import AsyncRedisStore, RedisStore
from safeklaviyo.testing.contract import BlockingStore, StoreContract
from support.certificates import Certificates
from support.redis import failures, servers
from support.redis_servers import free_port
from support.topologies import (
    FORGETFUL,
    LOGGED,
    Cluster,
    Node,
    Watched,
    assert_untold,
    failure_of,
    filled,
    opened,
    secure_node,
    small_disk,
    until,
    until_served,
)

ANN, BEN, EVE = (Identifier(Kind.EXTERNAL_ID, name) for name in ("ann", "ben", "eve"))
ROW = Binding("ann", "ann@shop.org", "PANN")


def both(url, **options):
    """Open both kinds of store."""
    return opened(RedisStore, AsyncRedisStore, url, **options)


def remembers(store, account):
    """Do something that only a primary does, and return whether it can be seen."""
    store.remember(account, "name", "value")
    return store.recall(account, "name") == "value"


def check_both_go_on(store, account):
    """Use the store in this process and in a forked one, in several threads of each, and check the answers."""
    store.add(account, [ROW])
    child = os.fork()
    if child == 0:
        status = 2
        try:
            status = 0 if _threads_find(store, account) and remembers(store, account) else 1
            store.close()
        finally:
            os._exit(status)
    assert _threads_find(store, account)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert "value" == store.recall(account, "name")


def _threads_find(store, account):
    found = []
    threads = [
        threading.Thread(target=lambda: found.extend(store.find(account, (ANN,)).matches for _ in range(20)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len([matches for matches in found if matches]) == 80


def connected(pool):
    """Return the connections of a pool that nobody uses and that are open."""
    return [each for each in pool.pool.queue if each is not None and each._sock is not None]


class TestFailover:
    def test_a_killed_primary_is_followed_and_what_it_lost_is_fenced(self, tmp_path):
        """The store finds the promoted replica by itself; leases go on, and one that was lost fences its holder."""
        with Watched(tmp_path, password="hunter2", sentinel_password="s3ntinel") as watched:
            with both(watched.url_with("hunter2", "s3ntinel")) as stores:
                kept, lost = {}, {}
                for store, account in stores:
                    store.add(account, [ROW])
                    kept[account] = store.acquire(account, frozenset({BEN}), intent="kept", ttl=600.0)
                watched.wait_for_copy()
                watched.lag()
                for store, account in stores:
                    lost[account] = store.acquire(account, frozenset({EVE}), intent="lost", ttl=600.0)
                watched.primary.kill()
                watched.replica.resume()
                failed = []
                for store, account in stores:
                    found, failures = until_served(lambda store=store, account=account: store.find(account, (ANN,)))
                    failed += failures
                    assert ROW.email == found.matches[0].binding.email
                    assert store.renew(account, kept[account].token, ttl=600.0)
                    given = store.acquire(account, frozenset({EVE}), intent="given", ttl=600.0)
                    assert lost[account].token < given.token
                    assert not store.renew(account, lost[account].token, ttl=600.0)
                    change = Change(Binding("eve", None), token=lost[account].token)
                    assert "fenced" == store.bind(account, change).status
                    assert "bound" == store.bind(account, Change(Binding("eve", None), token=given.token)).status
            assert failed
            watched.wait_for_agreement()
            self.assert_passwords_matter(watched)
        assert_untold(failed)

    def assert_passwords_matter(self, watched):
        """Say what a wrong password of the server, and one of the sentinels, leads to."""
        for passwords, error, message in (
            (("hunter2-", "s3ntinel"), ConfigurationError, failures.BY_CLASS["AuthenticationError"].message),
            (("hunter2", "s3ntinel-"), StoreUnavailableError, "no sentinel names a server"),
            (("hunter2", None), StoreUnavailableError, "no sentinel names a server"),
        ):
            with both(watched.url_with(*passwords)) as stores:
                for store, account in stores:
                    with pytest.raises(error) as caught:
                        store.count(account)
                    assert str(caught.value).startswith(message)
                    assert_untold([caught.value])
                    # Older versions of redis-py quote there how one logs in to the sentinels.
                    assert error is ConfigurationError or caught.value.__cause__ is None

    def test_a_primary_that_froze_is_left_and_comes_back_as_a_replica(self, tmp_path):
        """What is written while it is frozen and afterwards goes to the new primary, by whoever slept through it."""
        with Watched(tmp_path) as watched, both(watched.url) as sleepy, both(watched.url, timeout=0.5) as stores:
            for store, account in (*sleepy, *stores):
                store.add(account, [ROW])
            watched.wait_for_copy()
            watched.primary.pause()
            failed = []
            for store, account in stores:
                failed += until_served(lambda store=store, account=account: store.remember(account, "a", "new"))[1]
            assert failed
            watched.primary.resume()
            until(watched.primary.is_replica)
            for store, account in sleepy:
                until_served(lambda store=store, account=account: store.remember(account, "b", "new too"))
            for store, account in stores:
                assert ["new", "new too"] == [store.recall(account, name) for name in "ab"]
            watched.wait_for_agreement()
        assert_untold(failed)

    def test_a_primary_that_was_demoted_is_not_written_to(self, tmp_path):
        """A write that meets a replica fails, says so, and is done by the server that the sentinels then name."""
        with Watched(tmp_path) as watched, both(watched.url) as stores:
            for store, account in stores:
                store.add(account, [ROW])
            watched.wait_for_copy()
            watched.primary.run("REPLICAOF", "127.0.0.1", watched.replica.port)
            for store, account in stores:
                with pytest.raises(StoreUnavailableError):
                    store.remember(account, "name", "value")
            for store, account in stores:
                assert until_served(lambda store=store, account=account: remembers(store, account))[0]
            watched.wait_for_agreement()

    def test_a_sentinel_that_froze_keeps_nobody_waiting(self, tmp_path):
        """A silent sentinel is passed over in time, and where all are silent the wait has an end."""
        with Watched(tmp_path) as watched:
            watched.sentinels[0].pause()
            with both(watched.url, timeout=2.0) as stores:
                for store, account in stores:
                    assert remembers(store, account)
            for sentinel in watched.sentinels[1:]:
                sentinel.pause()
            with both(watched.url, timeout=0.5) as stores:
                for store, account in stores:
                    with pytest.raises(StoreUnavailableError):
                        store.count(account)

    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_parent_and_child_both_go_on(self, tmp_path):
        """After a fork each process asks the sentinels and the server by connections of its own."""
        with Watched(tmp_path) as watched, RedisStore(watched.url) as store:
            check_both_go_on(store, "shop")

    def test_threads_wait_for_a_free_connection(self, tmp_path):
        """More threads than connections all get their answer, also where sentinels say from whom."""
        with Watched(tmp_path) as watched, RedisStore(watched.url, timeout=30.0) as store:
            store.add("shop", [ROW])
            watched.primary.run("CLIENT", "PAUSE", 60_000, "WRITE")  # scripts wait, the sentinels do not notice
            found = []
            threads = [
                threading.Thread(target=lambda: found.append(store.find("shop", (ANN,)).matches))
                for _ in range(4 * servers.CONNECTIONS)
            ]
            for thread in threads:
                thread.start()
            until(lambda: watched.primary.blocked() >= servers.CONNECTIONS)
            watched.primary.run("CLIENT", "UNPAUSE")
            for thread in threads:
                thread.join()
            assert len(threads) == len([matches for matches in found if matches])
            pool = store._client.connection_pool
            assert servers.CONNECTIONS == len(connected(pool))
            pool.disconnect(inuse_connections=False)  # as redis-py does when the sentinels name another primary
            assert [] == connected(pool)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Three nodes that share all slots."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@contextmanager
def clustered(cluster, **options):
    """Open both kinds of store, each with a client of its own for the cluster."""
    start, waits = cluster.nodes[0].port, {"socket_timeout": 5.0, "socket_connect_timeout": 2.0}
    with ExitStack() as opened:
        client = opened.enter_context(redis.RedisCluster(host="127.0.0.1", port=start, **waits))
        async_client = redis.asyncio.RedisCluster(host="127.0.0.1", port=start, **waits)
        blocking = BlockingStore(AsyncRedisStore(async_client, **options))
        opened.callback(blocking.stop)
        opened.callback(lambda: blocking._run(async_client.aclose()))
        yield opened.enter_context(RedisStore(client, **options)), blocking


@pytest.fixture(scope="module")
def client(cluster):
    """A client for the cluster."""
    with redis.RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port) as client:
        yield client


@pytest.fixture(scope="module")
def blocking(cluster):
    """An event loop with a client for the cluster."""
    client = redis.asyncio.RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port)
    blocking = BlockingStore(AsyncRedisStore(client))
    blocking.client = client
    yield blocking
    blocking._run(client.aclose())
    blocking.stop()


class TestClusterOfThree(StoreContract):
    @pytest.fixture
    def store(self, client):
        with RedisStore(client, prefix=uuid.uuid4().hex) as store:
            yield store


class TestAsyncClusterOfThree(StoreContract):
    @pytest.fixture
    def store(self, blocking):
        blocking._store = AsyncRedisStore(blocking.client, prefix=uuid.uuid4().hex)
        return blocking


class TestCluster:
    def test_accounts_spread_over_the_nodes(self, cluster):
        """One store serves accounts of all nodes, and each is whole on its own."""
        with clustered(cluster, prefix="spread") as stores:
            for each, store in enumerate(stores):
                for number, node in enumerate(cluster.nodes):
                    account = cluster.account(number, after=each * 1000)
                    store.bind(account, Change(ROW))
                    assert store.acquire(account, frozenset({BEN}), intent="x", ttl=60.0)
                    assert store.find(account, (ANN,)).matches
                    assert 1 == node.run("EXISTS", f"spread:{{account:{account}}}")

    def test_a_slot_moves_while_it_is_used(self, cluster):
        """Reads are answered throughout, writes when it has moved, and nothing is lost on the way."""
        with clustered(cluster, prefix="moved") as stores:
            for each, store in enumerate(stores):
                account = cluster.account(0, after=5000 + each * 1000)
                lease = self.filled(store, account)
                move = cluster.move(account, 0, 1)
                for _ in move:
                    assert store.find(account, (ANN,)).matches
                    with pytest.raises(StoreUnavailableError) as caught:
                        store.remember(account, "name", "value")
                    assert caught.value.may_retry
                    assert_untold([caught.value])
                assert remembers(store, account)
                assert store.renew(account, lease.token, ttl=60.0)
                assert lease.token < store.acquire(account, frozenset({EVE}), intent="x", ttl=60.0).token

    def filled(self, store, account):
        """Leave a customer and a lease; return the lease."""
        store.add(account, [ROW])
        return store.acquire(account, frozenset({BEN}), intent="x", ttl=60.0)

    def test_a_node_that_is_away_is_missed_by_its_accounts_alone(self, cluster):
        """While a node is away, its accounts are unavailable and the others are not; afterwards all is as it was."""
        with clustered(cluster, prefix="away") as stores:
            away, there = cluster.account(2), cluster.account(0)
            for store in stores:
                store.add(away, [ROW])
                store.add(there, [ROW])
            cluster.nodes[2].kill()
            for store in stores:
                with pytest.raises(StoreUnavailableError) as caught:
                    store.find(away, (ANN,))
                assert_untold([caught.value])
                assert store.find(there, (ANN,)).matches
            cluster.nodes[2].start()
            for store in stores:
                assert until_served(lambda store=store: store.find(away, (ANN,)))[0].matches

    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_parent_and_child_both_go_on(self, cluster, client):
        """A client for a cluster that was used before a fork serves both processes."""
        check_both_go_on(RedisStore(client, prefix="forked"), cluster.account(1))

    def test_a_plain_url_will_not_do(self, cluster):
        """Who names one node by a URL is told to give a client for clusters, as soon as another node is needed."""
        with both(cluster.nodes[0].url, prefix="plain") as stores:
            for store, _ in stores:
                assert 0 == store.count(cluster.account(0))
                for use in (
                    lambda store=store: store.count(cluster.account(1)),
                    lambda store=store: remembers(store, cluster.account(2)),
                ):
                    with pytest.raises(ConfigurationError) as caught:
                        use()
                    assert "RedisCluster" in str(caught.value)

    @pytest.mark.parametrize("answer", ["MOVED 1 127.0.0.1:1", "ASK 1 127.0.0.1:1"])
    def test_a_redirection_without_a_class_means_the_same(self, answer):
        """Versions of redis-py that have no error of its own for a redirection lead to the same error of ours."""
        assert failures.BY_CLASS["MovedError"] == failures.meaning_of(redis.ResponseError(answer))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority that nobody knows, and a server's certificate that it signed."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secure(tmp_path_factory, certificates):
    """The port of a server that speaks TLS and wants a password."""
    port = free_port()
    files = ("--tls-cert-file", certificates.server, "--tls-key-file", certificates.key)
    trusted = ("--tls-ca-cert-file", certificates.authority, "--tls-auth-clients", "no")
    options = (*FORGETFUL, "--requirepass", "hunter2", "--tls-port", port, *files, *trusted)
    with secure_node(tmp_path_factory.mktemp("secure"), *map(str, options)):
        yield port


class TestTls:
    def test_an_authority_that_nobody_knows_is_refused(self, secure):
        """A certificate that cannot be verified is a wrong setup; neither the password nor the map is sent to it."""
        self.assert_refused(f"rediss://:hunter2@127.0.0.1:{secure}")

    def test_a_certificate_for_another_host_is_refused(self, secure, certificates):
        """A certificate that is valid for another name is of no use, whoever signed it."""
        self.assert_refused(f"rediss://:hunter2@localhost:{secure}?ssl_ca_certs={certificates.authority}")

    def test_the_url_names_an_authority(self, secure, certificates):
        """A server whose authority the URL names is used."""
        with both(f"rediss://:hunter2@127.0.0.1:{secure}/0?ssl_ca_certs={certificates.authority}") as stores:
            for store, account in stores:
                assert remembers(store, account)

    def test_the_environment_names_authorities(self, secure, certificates, monkeypatch):
        """What OpenSSL is told to trust is trusted here too."""
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
        with both(f"rediss://:hunter2@127.0.0.1:{secure}") as stores:
            for store, account in stores:
                assert remembers(store, account)

    def test_plain_text_is_not_spoken_to_a_server_that_wants_tls(self, secure):
        """A URL without TLS finds nobody there."""
        with both(f"redis://:hunter2@127.0.0.1:{secure}", timeout=2.0) as stores:
            for store, account in stores:
                with pytest.raises(StoreUnavailableError) as caught:
                    store.count(account)
                assert_untold([caught.value])

    def assert_refused(self, url):
        """Make sure that neither store uses that server."""
        with both(url) as stores:
            for store, account in stores:
                with pytest.raises(ConfigurationError) as caught:
                    store.count(account)
                assert "certificate" in str(caught.value)
                assert_untold([caught.value])


class TestDisk:
    def test_a_server_that_cannot_save_takes_nothing(self, tmp_path):
        """Where a snapshot failed nothing is written and reads go on, until one succeeds."""
        options = ("--save", "3600 1000000", "--appendonly", "no", "--dbfilename", "taken")
        with Node(tmp_path, *options) as node, both(node.url) as stores:
            for store, account in stores:
                store.add(account, [ROW])
            (tmp_path / "taken").mkdir()  # a folder cannot be replaced by a snapshot, not even for root
            node.run("BGSAVE")
            until(lambda: node.run("INFO", "persistence")["rdb_last_bgsave_status"] == "err")
            self.assert_only_read(stores)
            (tmp_path / "taken").rmdir()
            node.run("SAVE")
            for store, account in stores:
                assert remembers(store, account)

    def test_a_full_disk_stops_a_log(self, tmp_path):
        """Where the log cannot grow a write fails, and once there is room the map goes on without a restart."""
        with (
            small_disk(tmp_path, "256k") as disk,
            Node(disk, *LOGGED[:-1], "everysec") as node,
            both(node.url) as stores,
        ):
            for store, account in stores:
                store.add(account, [ROW])
            ballast = disk / "ballast"
            filled(ballast)
            for store, account in stores:
                until(lambda store=store, account=account: self.refused(store, account))
            self.assert_only_read(stores)
            ballast.unlink()
            for store, account in stores:
                assert until_served(lambda store=store, account=account: remembers(store, account))[0]

    def refused(self, store, account):
        """Write something long, and return what came of it."""
        return failure_of(lambda: store.remember(account, "long", "x" * 4096))

    def assert_only_read(self, stores):
        """Make sure that the map can be read, takes nothing, and says why."""
        for store, account in stores:
            assert store.find(account, (ANN,)).matches
            for use in (
                lambda store=store, account=account: store.acquire(account, frozenset({BEN}), intent="x", ttl=9.0),
                lambda store=store, account=account: store.bind(account, Change(Binding("ben", "ben@shop.org"))),
            ):
                with pytest.raises(StoreUnavailableError) as caught:
                    use()
                assert "disk" in str(caught.value)
            assert store.find(account, (BEN,)).matches == ()
            assert store.find(account, (BEN,)).lease is None


class TestReplicas:
    def test_a_primary_that_misses_its_replicas_takes_nothing(self, tmp_path):
        """Where ``min-replicas-to-write`` is not met nothing is written, and the error says what is missing."""
        with Node(tmp_path, *FORGETFUL) as node, both(node.url) as stores:
            for store, account in stores:
                store.add(account, [ROW])
            node.run("CONFIG", "SET", "min-replicas-to-write", "1")
            for store, account in stores:
                with pytest.raises(StoreUnavailableError) as caught:
                    store.acquire(account, frozenset({BEN}), intent="x", ttl=9.0)
                assert "replicas" in str(caught.value)
                assert store.find(account, (ANN,)).lease is None


def test_this_module_is_marked(request):
    """What needs a server is left out by ``-m "not server"``."""
    assert request.node.get_closest_marker("server") is not None
