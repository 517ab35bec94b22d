"""What each failure of a Redis server means to whoever asked the identity map (P6, P8)."""

import inspect

import pytest
import redis

from safeklaviyo.errors import ConfigurationError, StoreError, StoreIncompatibleError, StoreUnavailableError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change, JournalEntry
from safeklaviyo.stores.redis import AsyncRedisStore, RedisStore
from support.redis import failures
from support.redis_servers import OwnServer, ScriptedServer, free_port, run_async, shared_prefix, url_or_skip

ANN = Identifier(Kind.EXTERNAL_ID, "ann")
ROW = Binding("ann", "ann@shop.org", "PANN")
FOREIGN = Exception, redis.exceptions.ChildDeadlockedError, redis.exceptions.IncorrectPolicyType

ANSWERS = [
    (b"-LOADING Redis is loading the dataset in memory\r\n", StoreUnavailableError, "reading its data"),
    (b"-BUSY Redis is busy running a script. ann@shop.org\r\n", StoreUnavailableError, "long script"),
    (b"-MISCONF Errors writing to the AOF file\r\n", StoreUnavailableError, "its disk"),
    (b"-NOREPLICAS Not enough good replicas to write.\r\n", StoreUnavailableError, "its replicas"),
    (b"-READONLY You can't write against a read only replica.\r\n", StoreUnavailableError, "replica"),
    (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", StoreUnavailableError, "memory"),
    (b"-MASTERDOWN Link with MASTER is down\r\n", StoreUnavailableError, "does not serve it"),
    (b"-CLUSTERDOWN The cluster is down\r\n", StoreUnavailableError, "does not serve it"),
    (b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n", StoreUnavailableError, "does not serve it"),
    (b"-ERR max number of clients reached\r\n", StoreUnavailableError, "cannot be reached"),
    (b"", StoreUnavailableError, "hung up"),
    (None, StoreUnavailableError, "in time"),
    (b"-MOVED 3999 127.0.0.1:6381\r\n", ConfigurationError, "RedisCluster"),
    (b"-ASK 3999 127.0.0.1:6381\r\n", ConfigurationError, "RedisCluster"),
    (b"-NOAUTH Authentication required.\r\n", ConfigurationError, "user or password"),
    (b"-WRONGPASS invalid username-password pair\r\n", ConfigurationError, "user or password"),
    (b"-NOPERM this user has no permissions to run the 'evalsha' command\r\n", ConfigurationError, "user or password"),
    (b"-WRONGTYPE Operation against a key\r\n", StoreIncompatibleError, "other data"),
    (b"-ERR unknown command 'EVALSHA', with args: ann@shop.org\r\n", StoreIncompatibleError, "Redis 7"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", StoreIncompatibleError, "is no Redis"),
    (b"-NOSCRIPT No matching script.\r\n", StoreIncompatibleError, "Redis 7"),
]


def told(caught):
    """Return all that an error shows, with what it shows of its causes."""
    error, shown = caught.value, []
    while error is not None:
        shown += [str(error), repr(error)]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return " ".join(shown)


class TestTable:
    def test_every_failure_of_the_driver_has_a_meaning(self):
        """Each class of redis-py's errors, and each of the system's, leads to an error of ours."""
        classes = [each for _, each in inspect.getmembers(redis.exceptions, inspect.isclass)]
        meant = [each for each in classes if issubclass(each, failures.FAILURES)]
        assert {each.__name__ for each in FOREIGN[1:]} == {
            each.__name__ for each in classes if issubclass(each, Exception) and each not in meant
        }
        for each in (*meant, OSError, TimeoutError, ConnectionResetError):
            meaning = failures.meaning_of(each.__new__(each))
            assert issubclass(meaning.error, StoreError | ConfigurationError)

    def test_every_entry_is_a_class_of_the_driver(self):
        """The table names nothing that does not exist."""
        known = {each.__name__ for each in (OSError, TimeoutError)} | set(vars(redis.exceptions))
        assert set() == set(failures.BY_CLASS) - known

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("ClusterError", StoreUnavailableError),
            ("SlotNotCoveredError", StoreUnavailableError),
            ("MaxConnectionsError", StoreUnavailableError),
            ("TimeoutError", StoreUnavailableError),
            ("ExternalAuthProviderError", ConfigurationError),
            ("ModuleError", StoreIncompatibleError),
        ],
    )
    def test_the_nearest_class_decides(self, name, expected):
        """A failure that is not in the table means what its nearest base does."""
        failure = getattr(redis.exceptions, name)
        assert expected is failures.meaning_of(failure.__new__(failure)).error

    def test_a_refusal_that_is_not_known_is_incompatible(self):
        """A reply that no script of this version gives comes from something else."""
        assert isinstance(failures.refusal("PONG"), StoreIncompatibleError)


class TestAnswers:
    @pytest.mark.parametrize(("answer", "expected", "words"), ANSWERS)
    def test_what_a_servers_answer_means(self, answer, expected, words):
        """Each failure is the error that it is, without what was asked or how one logs in."""
        with ScriptedServer(answer) as server, RedisStore(server.url, timeout=0.3) as store:
            for use in (lambda: store.find("shop", (ANN,)), lambda: store.add("shop", [ROW])):
                with pytest.raises(expected) as caught:
                    use()
                assert words in str(caught.value)
                assert not any(each in told(caught) for each in ("hunter2", "ann@shop.org", "PANN"))

    @pytest.mark.parametrize(("answer", "expected", "words"), ANSWERS)
    def test_what_it_means_to_the_asynchronous_store(self, answer, expected, words):
        """The same for the asynchronous store."""
        with ScriptedServer(answer) as server, pytest.raises(expected) as caught:
            run_async(lambda: AsyncRedisStore(server.url, timeout=0.3), lambda store: store.find("shop", (ANN,)))
        assert words in str(caught.value)
        assert "hunter2" not in told(caught)
        assert "ann@shop.org" not in told(caught)

    def test_a_refused_connection_is_unavailable(self):
        """Where nobody listens the map is unavailable, and trying again is safe."""
        url = f"redis://shop:hunter2@127.0.0.1:{free_port()}"
        with RedisStore(url) as store, pytest.raises(StoreUnavailableError) as caught:
            store.find("shop", (ANN,))
        assert caught.value.may_retry
        assert "hunter2" not in told(caught)

    def test_a_wrong_password_is_a_wrong_setup(self, tmp_path):
        """A server that does not accept the password says so once and for all."""
        with OwnServer(tmp_path, "--save", "", "--requirepass", "right") as server:
            wrong = server.url.replace("//", "//:hunter2@")
            with RedisStore(wrong) as store, pytest.raises(ConfigurationError) as caught:
                store.count("shop")
            assert "hunter2" not in told(caught)
            with RedisStore(server.url.replace("//", "//:right@")) as store:
                assert 0 == store.count("shop")


class TestStates:
    def test_a_replica_answers_but_takes_nothing(self, tmp_path):
        """A replica is no place to write to; nothing is half done there."""
        with OwnServer(tmp_path, "--save", "") as server, RedisStore(server.url) as store:
            store.add("shop", [ROW])
            server.run("REPLICAOF", "127.0.0.1", free_port())
            assert store.find("shop", (ANN,)).matches
            with pytest.raises(StoreUnavailableError) as caught:
                store.remove("shop", ANN)
            assert "replica" in str(caught.value)
            server.run("REPLICAOF", "NO", "ONE")
            assert store.remove("shop", ANN)

    def test_a_full_server_changes_nothing(self, tmp_path):
        """Without memory a write is refused whole, reads go on, and more memory is all that is needed."""
        with OwnServer(tmp_path, "--save", "") as server, RedisStore(server.url) as store:
            store.add("shop", [ROW])
            server.run("CONFIG", "SET", "maxmemory", "1")
            before = store.page("shop"), store.journal("shop", since=0)
            change = Change(Binding("ben", "ben@shop.org"), journal=JournalEntry("adopt"))
            for use in (
                lambda: store.bind("shop", change),
                lambda: store.acquire("shop", frozenset({ANN}), intent="x", ttl=9.0),
            ):
                with pytest.raises(StoreUnavailableError) as caught:
                    use()
                assert "maxmemory" in str(caught.value)
            assert before == (store.page("shop"), store.journal("shop", since=0))
            server.run("CONFIG", "SET", "maxmemory", "0")
            assert "bound" == store.bind("shop", change).status

    def test_a_dropped_connection_is_made_again(self, tmp_path):
        """Connections that the server has closed are replaced without anybody noticing."""
        with OwnServer(tmp_path, "--save", "") as server, RedisStore(server.url) as store:
            store.add("shop", [ROW])
            server.run("CLIENT", "KILL", "TYPE", "normal")
            assert 1 == store.count("shop")

    def test_forgotten_scripts_are_sent_again(self, tmp_path):
        """A server that has forgotten its scripts is taught them by the next call."""
        with OwnServer(tmp_path, "--save", "") as server, RedisStore(server.url) as store:
            store.add("shop", [ROW])
            server.run("SCRIPT", "FLUSH")
            assert store.find("shop", (ANN,)).matches
            assert ("unchanged",) == store.add("shop", [ROW])
            assert 1 == run_async(lambda: AsyncRedisStore(server.url), lambda other: other.count("shop"))

    def test_a_busy_server_is_unavailable(self, tmp_path):
        """While a long script of somebody else runs, the map cannot answer, and afterwards it can."""
        with (
            OwnServer(tmp_path, "--save", "", "--busy-reply-threshold", "1") as server,
            RedisStore(server.url) as store,
            redis.Redis(port=server.port) as other,
        ):
            store.add("shop", [ROW])
            connection = other.connection_pool.get_connection()
            connection.send_command("EVAL", "while true do end", 0)
            with pytest.raises(StoreUnavailableError):
                list(iter(lambda: store.count("shop"), None))
            server.run("SCRIPT", "KILL")
            with pytest.raises(redis.ResponseError):
                connection.read_response()
            assert 1 == store.count("shop")


class TestForeignData:
    @pytest.fixture
    def prefix(self):
        """A prefix on the server that is there."""
        with shared_prefix() as prefix:
            yield prefix

    @pytest.fixture
    def client(self):
        """A plain client of that server."""
        with redis.Redis.from_url(url_or_skip()) as client:
            yield client

    @pytest.mark.parametrize("tail", ["", ":bindings", ":leases", ":journal"])
    def test_keys_of_another_type_are_not_touched(self, prefix, client, tail):
        """A key that is something else stops each write before it begins."""
        name = f"{prefix}:{{account:shop}}{tail}"
        client.set(name, "theirs")
        with RedisStore(client, prefix=prefix) as store:
            for use in (
                lambda: store.add("shop", [ROW]),
                lambda: store.bind("shop", Change(ROW, journal=JournalEntry("adopt"))),
                lambda: store.acquire("shop", frozenset({ANN}), intent="x", ttl=9.0),
            ):
                with pytest.raises(StoreIncompatibleError):
                    use()
        assert [name.encode()] == list(client.scan_iter(f"{prefix}*", count=10_000))

    def test_another_hash_is_no_map(self, prefix, client):
        """A hash without the map's mark is somebody else's."""
        client.hset(f"{prefix}:{{account:shop}}", "name", "theirs")
        with RedisStore(client, prefix=prefix) as store:
            for use in (lambda: store.count("shop"), lambda: store.remember("shop", "a", "b")):
                with pytest.raises(StoreIncompatibleError):
                    use()

    def test_another_versions_map_is_left_alone(self, prefix, client):
        """A map whose layout is of another version is neither read nor written."""
        with RedisStore(client, prefix=prefix) as store:
            store.add("shop", [ROW])
            client.hset(f"{prefix}:{{account:shop}}", "@schema", "2")
            for use in (lambda: store.find("shop", (ANN,)), lambda: store.add("shop", [ROW])):
                with pytest.raises(StoreIncompatibleError) as caught:
                    use()
                assert "another version" in str(caught.value)

    def test_a_map_that_vanished_is_missed(self, prefix, client):
        """A map that was there and is gone, or is another one, is not taken for one that knows nobody (P6)."""
        name = f"{prefix}:{{account:shop}}"
        with RedisStore(client, prefix=prefix) as store, RedisStore(client, prefix=prefix) as fresh:
            store.add("shop", [ROW])
            client.rename(name, f"{name}:away")
            for words, then in (("is gone", lambda: fresh.remember("shop", "a", "b")), ("another", lambda: None)):
                for use in (lambda: store.find("shop", (ANN,)), lambda: store.add("shop", [ROW])):
                    with pytest.raises(StoreUnavailableError) as caught:
                        use()
                    assert words in str(caught.value)
                then()
            client.rename(f"{name}:away", name)
            assert store.find("shop", (ANN,)).matches
