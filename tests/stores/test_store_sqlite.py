"""The SQLite file: how it comes to be, what it refuses, and what each failure means (P6)."""

import errno
import os
import resource
import sqlite3
import stat
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from safeklaviyo.errors import ConfigurationError, StoreError, StoreIncompatibleError, StoreUnavailableError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change
from safeklaviyo.stores.sqlite import SqliteStore
from support.stores import failures

ANN = Identifier(Kind.EXTERNAL_ID, "ann")
ROW = Binding("ann", "ann@shop.org", "PANN")


@pytest.fixture
def path(folder):
    """Where the map is."""
    return folder / "identity.db"


@pytest.fixture
def store(path):
    """A map that is not patient."""
    with SqliteStore(path, timeout=0.05) as store:
        yield store


@contextmanager
def connected(path):
    """Open a file as anybody might."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


@contextmanager
def ordinary_user():
    """Act as nobody in particular, because permissions do not bind root."""
    me = os.geteuid()
    os.seteuid(65_534 if me == 0 else me)
    try:
        yield
    finally:
        os.seteuid(me)


@pytest.fixture
def public():
    """A folder that an ordinary user can reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


class TestFile:
    def test_nobody_else_may_read_it(self, store, folder, path):
        """The file, its log and its index, and a folder made for it, are their owner's alone, whatever the umask."""
        before = os.umask(0)
        try:
            with SqliteStore(folder / "sub" / "identity.db") as other:
                other.add("shop", [ROW])
                names = [each.name for each in (folder / "sub").iterdir()]
                modes = {stat.S_IMODE(each.stat().st_mode) for each in (folder / "sub").iterdir()}
        finally:
            os.umask(before)
        assert ["identity.db", "identity.db-shm", "identity.db-wal"] == sorted(names)
        assert {0o600} == modes
        assert 0o700 == stat.S_IMODE((folder / "sub").stat().st_mode)

    def test_what_is_written_is_there_after_reopening(self, store, path):
        """Bindings, leases and notes outlive the store object."""
        store.add("shop", [ROW])
        lease = store.acquire("shop", frozenset({ANN}), intent="x", ttl=60.0)
        store.remember("shop", "name", "value")
        store.close()
        with SqliteStore(path) as again:
            assert lease.token == again.find("shop", (ANN,)).lease.token
            assert (1, "value") == (again.count("shop"), again.recall("shop", "name"))

    def test_an_empty_file_becomes_a_map(self, store, path):
        """A file made beforehand, for the sake of its permissions, is used."""
        path.touch(mode=0o640)
        store.add("shop", [ROW])
        assert 0o640 == stat.S_IMODE(path.stat().st_mode)

    def test_it_can_be_told_from_other_files(self, store, path):
        """The file bears the application's id and the version of its tables, and readers never wait for a writer."""
        store.count("shop")
        with connected(path) as other:
            told = [other.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
            assert [0x5AFE_4B1A, 1] == told
            assert "wal" == other.execute("PRAGMA journal_mode").fetchone()[0]

    @pytest.mark.parametrize(
        "sql",
        [
            "CREATE TABLE other(x)",
            "PRAGMA user_version = 3",
            "PRAGMA application_id = 17",
            "PRAGMA application_id = 1526614810; PRAGMA user_version = 2",
        ],
    )
    @pytest.mark.parametrize("use", [lambda store: store.count("shop"), lambda store: store.find("shop", (ANN,))])
    def test_other_data_is_refused_and_left_as_it_is(self, store, path, sql, use):
        """A database of somebody else's, or of another version, is not written to."""
        with connected(path) as other:
            other.executescript(sql)
        before = path.read_bytes()
        with pytest.raises(StoreIncompatibleError):
            use(store)
        assert before == path.read_bytes()

    def test_what_is_no_database_is_refused(self, store, path):
        """A file of any other kind is not an identity map."""
        path.write_bytes(b"order,email\n" * 1000)
        with pytest.raises(StoreIncompatibleError) as caught:
            store.find("shop", (ANN,))
        assert failures.NOT_AN_IDENTITY_MAP == str(caught.value)

    def test_a_large_map_does_not_need_large_memory(self, store):
        """Each connection's cache is bounded, in bytes and not in pages."""
        store.add("shop", [ROW])
        store.find("shop", (ANN,))
        for side in (store._database._short, store._database._long):
            assert -4000 == side.connection.execute("PRAGMA cache_size").fetchone()[0]
            assert 2 == side.connection.execute("PRAGMA synchronous").fetchone()[0]

    def test_finding_a_known_pair_is_one_statement(self, store):
        """The warm path runs one statement, which writes nothing."""
        store.add("shop", [ROW])
        pair = (ANN, Identifier(Kind.EMAIL, "ann@shop.org"))
        store.find("shop", pair)
        connection, ran = store._database._short.connection, []
        connection.set_trace_callback(ran.append)
        changes = connection.total_changes
        assert 2 == len(store.find("shop", pair).matches)
        assert 1 == len(ran)
        assert (changes, False) == (connection.total_changes, connection.in_transaction)


class TestTurns:
    def test_who_waits_for_a_writer_looks_often(self, path):
        """A waiting writer asks again and again, with the same pauses, and has its turn when the other one is done."""
        with SqliteStore(path, timeout=1.0) as store, connected(path) as other, ThreadPoolExecutor(1) as pool:
            store.add("shop", [ROW])
            attempts = []
            store._database._long.connection.set_trace_callback(attempts.append)
            other.execute("BEGIN IMMEDIATE")
            call = pool.submit(store.remember, "shop", "name", "value")
            while attempts.count("BEGIN IMMEDIATE") < 5:
                assert not call.done()
            other.execute("ROLLBACK")
            assert call.result()
            assert "PRAGMA busy_timeout = 1000" in attempts


class TestUnusablePath:
    def check_refused(self, path):
        """Check that no map is opened there, and that the error does not say where."""
        with SqliteStore(path) as store, pytest.raises(ConfigurationError) as caught:
            store.find("shop", (ANN,))
        assert str(caught.value).endswith("name another path in store= or SAFEKLAVIYO_STORE")
        assert str(path) not in str(caught.value)

    def test_a_folder_in_place_of_the_file(self, folder):
        """A directory cannot be the map."""
        self.check_refused(folder)

    def test_a_file_in_place_of_the_folder(self, path):
        """Nor can a file hold it."""
        path.touch()
        self.check_refused(path / "identity.db")
        self.check_refused(path / "sub" / "identity.db")

    def test_a_folder_that_cannot_be_made(self):
        """A place where nothing can be made is refused with the system's reason."""
        with SqliteStore("/proc/safeklaviyo/identity.db") as store, pytest.raises(ConfigurationError) as caught:
            store.count("shop")
        assert os.strerror(errno.ENOENT) in str(caught.value)
        self.check_refused("/proc/safeklaviyo/identity.db")

    def test_a_folder_that_may_not_be_written(self, public):
        """A map that this user cannot make is refused."""
        public.chmod(0o555)
        with ordinary_user():
            self.check_refused(public / "identity.db")

    def test_a_file_that_may_not_be_written(self, public):
        """A map that this user may read but not write is refused before it is used."""
        path = public / "identity.db"
        with SqliteStore(path) as store:
            store.add("shop", [ROW])
        path.chmod(0o444)
        public.chmod(0o777)
        with ordinary_user():
            self.check_refused(path)

    def test_a_file_whose_folder_may_not_be_written(self, public):
        """Nor can a map be used whose log cannot be made."""
        path = public / "identity.db"
        path.touch()
        path.chmod(0o666)
        with ordinary_user():
            self.check_refused(path)


class TestFailures:
    def test_every_failure_of_sqlite_says_that_the_map_is_unavailable_or_foreign(self):
        """Each result code of SQLite's, primary or extended, becomes one of the two errors of a store."""
        names = [
            name for name in dir(sqlite3) if name.startswith("SQLITE_") and isinstance(getattr(sqlite3, name), int)
        ]
        for code in sorted({getattr(sqlite3, name) for name in names} | set(range(1, 28))):
            failure = sqlite3.OperationalError("near ann@shop.org")
            failure.sqlite_errorcode = code
            error = failures.store_error(failure)
            assert type(error) in {StoreIncompatibleError, StoreUnavailableError}
            assert "ann@shop.org" not in str(error)

    @pytest.mark.parametrize(
        ("code", "expected", "may_retry"),
        [
            (sqlite3.SQLITE_BUSY, StoreUnavailableError, True),
            (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreUnavailableError, True),
            (sqlite3.SQLITE_LOCKED, StoreUnavailableError, True),
            (sqlite3.SQLITE_READONLY_DBMOVED, StoreUnavailableError, True),
            (sqlite3.SQLITE_FULL, StoreUnavailableError, True),
            (sqlite3.SQLITE_IOERR_WRITE, StoreUnavailableError, True),
            (sqlite3.SQLITE_CANTOPEN, StoreUnavailableError, True),
            (sqlite3.SQLITE_CORRUPT_INDEX, StoreUnavailableError, False),
            (sqlite3.SQLITE_NOTADB, StoreIncompatibleError, False),
            (sqlite3.SQLITE_ERROR, StoreIncompatibleError, False),
            (sqlite3.SQLITE_MISUSE, StoreUnavailableError, True),
        ],
    )
    def test_the_table(self, code, expected, may_retry):
        """What may pass may be tried again; what is damaged or foreign may not."""
        failure = sqlite3.OperationalError()
        failure.sqlite_errorcode = code
        error = failures.store_error(failure)
        assert (expected, may_retry) == (type(error), error.may_retry)

    def test_a_failure_without_a_code_is_unavailable(self):
        """What Python's driver refuses by itself is a failure too."""
        assert StoreUnavailableError is type(failures.store_error(sqlite3.ProgrammingError("closed")))

    def test_a_writer_that_never_ends_is_waited_for_only_so_long(self, store, path):
        """While another process writes, reads answer and writes fail in time; afterwards all is well (F-33)."""
        store.add("shop", [ROW])
        with connected(path) as other:
            other.execute("BEGIN IMMEDIATE")
            assert store.find("shop", (ANN,)).matches
            assert 1 == store.count("shop")
            with pytest.raises(StoreUnavailableError):
                store.acquire("shop", frozenset({ANN}), intent="x", ttl=1.0)
        assert store.acquire("shop", frozenset({ANN}), intent="x", ttl=1.0) is not None

    def test_a_thread_that_never_ends_is_waited_for_only_so_long(self, path):
        """The same between threads of one process."""
        entered, leave = threading.Event(), threading.Event()

        def slow():
            if not entered.is_set():
                entered.set()
                assert leave.wait(20)
            return 0.0

        with SqliteStore(path, clock=slow, timeout=0.05) as store:
            thread = threading.Thread(target=store.acquire, args=("shop", frozenset({ANN})), kwargs={"intent": "x", "ttl": 1.0})  # fmt: skip # noqa: E501 - one call
            thread.start()
            assert entered.wait(20)
            with pytest.raises(StoreUnavailableError):
                store.count("shop")
            assert store.recall("shop", "name") is None
            leave.set()
            thread.join()
            assert 0 == store.count("shop")

    def test_creation_is_not_waited_for_for_ever(self, store, path):
        """A file that somebody else is about to fill can be waited for, not endlessly."""
        with connected(path) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailableError):
                store.count("shop")
            other.execute("ROLLBACK")
        assert 0 == store.count("shop")

    def test_a_creation_that_fails_otherwise_is_not_repeated(self, store, path, folder):
        """Only waiting is repeated: whatever else stands in the way is reported at once."""
        Path(f"{path}-journal").mkdir()
        with pytest.raises(StoreError):
            store.count("shop")

    def test_an_exclusive_lock_keeps_even_readers_out(self, store, path):
        """A short read that SQLite turns away waits with the others, and fails in time."""
        store.add("shop", [ROW])
        store.find("shop", (ANN,))
        with connected(path) as other:
            store._database._long.disconnect()
            store._database._short.connection.execute("PRAGMA journal_mode = DELETE").fetchall()
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StoreUnavailableError):
                store.find("shop", (ANN,))
            other.execute("ROLLBACK")
        assert store.find("shop", (ANN,)).matches

    def test_a_change_that_fails_half_way_changes_nothing(self, path):
        """A failure inside a transaction takes back what it had done, and the store goes on."""
        with SqliteStore(path) as store:
            store.add("shop", [ROW])
            with connected(path) as other:
                other.execute("CREATE TRIGGER no BEFORE DELETE ON place BEGIN SELECT RAISE(ABORT, 'no'); END")
            with pytest.raises(StoreUnavailableError):
                store.bind("shop", Change(store.find("shop", (ANN,)).matches[0].binding))
            with connected(path) as other:
                other.execute("DROP TRIGGER no")
            assert 1 == store.find("shop", (ANN,)).matches[0].binding.version
            assert "bound" == store.bind("shop", Change(store.find("shop", (ANN,)).matches[0].binding)).status

    def test_a_clock_that_fails_leaves_nothing_open(self, path):
        """Whatever is raised inside a transaction ends it, and the store goes on."""
        times = iter([1.0, 1.0, None, 1.0])
        with SqliteStore(path, clock=lambda: float(next(times))) as store:
            store.add("shop", [ROW])
            lease = store.acquire("shop", frozenset({ANN}), intent="x", ttl=1.0)
            with pytest.raises(TypeError):
                store.renew("shop", lease.token, ttl=9.0)
            assert store.release("shop", lease.token)

    def test_a_missing_table_is_another_versions_file(self, store, path):
        """Tables that are not as this version made them are not guessed at."""
        store.add("shop", [ROW])
        with connected(path) as other:
            other.execute("DROP TABLE leased")
        for use in (lambda: store.find("shop", (ANN,)), lambda: store.add("shop", [Binding("ben", None)])):
            with pytest.raises(StoreIncompatibleError):
                use()

    def test_a_full_disk_is_unavailable(self, path):
        """A map that cannot grow says so, and keeps what it had."""
        with SqliteStore(path) as store:
            store.add("shop", [ROW])
            connection = store._database._long.connection
            connection.execute("PRAGMA max_page_count = 1").fetchall()
            with pytest.raises(StoreUnavailableError) as caught:
                store.remember("shop", "name", "x" * 1_000_000)
            assert failures.UNAVAILABLE[sqlite3.SQLITE_FULL] == str(caught.value)
            store.remember("shop", "name", "x" * 1_000_000)
            assert 1 == store.count("shop")

    def test_a_write_that_the_system_refuses_is_unavailable(self, path):
        """So does one whose file the system does not let grow."""
        with SqliteStore(path) as store:
            store.add("shop", [ROW])
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
            try:
                with pytest.raises(StoreUnavailableError):
                    store.remember("shop", "name", "x" * 1_000_000)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert store.recall("shop", "name") is None
            assert 1 == store.count("shop")

    def test_a_damaged_file_is_unavailable_and_not_to_be_retried(self, path):
        """Damage is never read as knowing nobody."""
        with SqliteStore(path) as store:
            store.add("shop", [Binding(str(number), None) for number in range(1, 2000)])
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (path.stat().st_size - 4096))
        with SqliteStore(path) as store, pytest.raises(StoreUnavailableError) as caught:
            store.find("shop", (ANN,))
        assert caught.value.may_retry is False

    def test_a_deleted_file_is_missed(self, store, path):
        """A map whose file has gone does not go on without it, and does not make an empty one."""
        store.add("shop", [ROW])
        store.find("shop", (ANN,))
        away = path.rename(path.with_name("away.db"))
        store._database._looked = 0.0
        for _ in ("while it is open", "when it is to be opened again"):
            for use in (lambda: store.find("shop", (ANN,)), lambda: store.add("shop", [ROW])):
                with pytest.raises(StoreUnavailableError):
                    use()
            store._database.lock_up()
            store._database.unlock()
        assert not path.exists()
        away.rename(path)
        assert store.find("shop", (ANN,)).matches

    def test_a_replaced_file_is_noticed(self, store, path):
        """Another file in the map's place is not the map that was opened."""
        store.add("shop", [ROW])
        path.rename(path.with_name("away.db"))
        with SqliteStore(path) as other:
            other.count("shop")
        with pytest.raises(StoreUnavailableError):
            store.count("shop")
