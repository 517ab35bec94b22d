"""PostgreSQL as it is run where it matters: with a standby, by TLS, behind PgBouncer, on a disk that is full."""

import socket
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from safeklaviyo.errors import StoreUnavailableError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change
from safeklaviyo.stores.postgres import AsyncPostgresStore, PostgresStore
from safeklaviyo.testing.contract import BlockingStore, StoreContract, SystemClock
from support.certificates import Certificates
from support.postgres import failures
from support.postgres_servers import emptied, migrated
from support.topologies import (
    Pooler,
    Postgres,
    assert_untold,
    failure_of,
    opened,
    postgres_folder,
    small_disk,
    until,
    until_served,
)

ANN, BEN, EVE = (Identifier(Kind.EXTERNAL_ID, name) for name in ("ann", "ben", "eve"))
ROW = Binding("ann", "ann@shop.org", "PANN")


def both(url, **options):
    """Open both kinds of store."""
    return opened(PostgresStore, AsyncPostgresStore, url, **options)


def with_password(url):
    """Return the URL with a password, which nobody asks for."""
    return url.replace("postgres@", "postgres:hunter2@")


@pytest.fixture(scope="module")
def folder():
    """A folder in which servers keep their data."""
    with postgres_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def server(folder):
    """A server of this module's own, with a map."""
    with Postgres(folder / "server") as server:
        migrated(server.url)
        yield server


@pytest.fixture
def admin(server):
    """A connection for what no store does, to a map that is empty."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        emptied(connection)
        yield connection


class TestStandby:
    def test_a_promoted_standby_is_found(self, folder):
        """A URL that names both servers leads to whichever is the primary, before and after a failover."""
        with Postgres(folder / "primary") as primary, Postgres(folder / "standby", source=primary) as standby:
            migrated(primary.url)
            until(lambda: self.has_caught_up(primary))
            with both(standby.url) as stores:
                self.assert_not_used(stores)
            places = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
            url = f"postgresql://postgres:hunter2@{places}/postgres?target_session_attrs=read-write"
            with both(url) as stores:
                leases = {}
                for store, account in stores:
                    store.add(account, [ROW])
                    leases[account] = store.acquire(account, frozenset({BEN}), intent="x", ttl=600.0)
                until(lambda: self.has_caught_up(primary))
                primary.kill()
                for store, account in stores:
                    with pytest.raises(StoreUnavailableError) as caught:
                        store.remember(account, "name", "value")
                    assert_untold([caught.value])
                standby.run("SELECT pg_promote()")
                for store, account in stores:
                    found, _ = until_served(lambda store=store, account=account: store.find(account, (ANN,)))
                    assert ROW.email == found.matches[0].binding.email
                    assert store.renew(account, leases[account].token, ttl=600.0)
                    given = store.acquire(account, frozenset({EVE}), intent="x", ttl=600.0)
                    assert leases[account].token < given.token

    def test_a_standby_that_lagged_gives_nothing_twice(self, folder):
        """P4: tokens and keys that a lost primary had given are not given again by the standby that takes its place."""
        with Postgres(folder / "first") as primary, Postgres(folder / "second", source=primary) as standby:
            migrated(primary.url)
            with PostgresStore(primary.url) as first, PostgresStore(standby.url) as second:
                first.add("shop", [ROW])
                until(lambda: self.has_caught_up(primary))
                standby.run("ALTER SYSTEM SET primary_conninfo = ''")
                standby.run("SELECT pg_reload_conf()")
                until(lambda: primary.run("SELECT count(*) FROM pg_stat_replication") == 0)
                lost = self.given_by(first, "lost")
                primary.kill()
                standby.run("SELECT pg_promote()")
                given, _ = until_served(lambda: self.given_by(second, "given"))
                assert [40, 40] == [len(lost), len(given)]
                assert set() == lost & given
                assert [False] * 20 == [
                    second.renew("shop", token, ttl=60.0) for kind, token in lost if kind == "token"
                ]

    def given_by(self, store, name):
        """Take leases and bind customers, and return the tokens and the keys."""
        given = set()
        for number in range(20):
            names = frozenset({Identifier(Kind.EXTERNAL_ID, f"{name}-{number}")})
            given.add(("token", store.acquire("shop", names, intent="x", ttl=600.0).token))
            made = store.bind("shop", Change(Binding(f"new-{name}-{number}", f"{name}-{number}@shop.org")))
            given.add(("key", made.binding.key))
        return given

    def has_caught_up(self, primary):
        """Tell whether the standby has all that the primary has."""
        return primary.run("SELECT bool_and(replay_lsn = pg_current_wal_lsn()) FROM pg_stat_replication")

    def assert_not_used(self, stores):
        """Make sure that a standby alone is neither written to nor believed."""
        for store, account in stores:
            for use in (
                lambda store=store, account=account: store.find(account, (ANN,)),
                lambda store=store, account=account: store.remember(account, "name", "value"),
            ):
                with pytest.raises(StoreUnavailableError) as caught:
                    use()
                assert failures.READ_ONLY == str(caught.value)

    def test_a_silent_host_leaves_time_for_the_next(self, server, admin):
        """Where the first of two hosts does not answer, the first call is still answered, by the other."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            places = f"127.0.0.1:{silent.getsockname()[1]},127.0.0.1:{server.port}"
            url = f"postgresql://postgres@{places}/postgres"
            with both(url) as stores, ThreadPoolExecutor(2) as threads:
                calls = [threads.submit(store.count, account) for store, account in stores]
                assert [0, 0] == [call.result() for call in calls]


class TestTls:
    @pytest.fixture(scope="class")
    @classmethod
    def certificates(cls, folder):
        """An authority that nobody knows, and a server's certificate that it signed."""
        place = folder / "certificates"
        place.mkdir()
        return Certificates(place)

    @pytest.fixture(scope="class")
    @classmethod
    def secure(cls, folder, certificates):
        """A server that lets nobody in without TLS."""
        with Postgres(folder / "secure") as server:
            migrated(server.url)
            server.demand_tls(certificates)
            yield server

    def test_an_authority_that_the_url_names_is_trusted(self, secure, certificates):
        """The server's certificate is verified, with its name, against the authority that the URL names."""
        with both(f"{with_password(secure.url)}?sslmode=verify-full&sslrootcert={certificates.authority}") as stores:
            for store, account in stores:
                assert ("added",) == store.add(account, [ROW])

    @pytest.mark.parametrize(
        ("host", "mode", "words"),
        [
            ("127.0.0.1", "sslmode=verify-full&sslrootcert={server}", "certificate verify failed"),
            ("localhost", "sslmode=verify-full&sslrootcert={authority}", "does not match host name"),
            ("127.0.0.1", "sslmode=disable", "no encryption"),
        ],
    )
    def test_what_cannot_be_verified_is_not_used(self, secure, certificates, host, mode, words):
        """The cause says whether it was the authority, the name, or that TLS was not spoken."""
        url = with_password(secure.url).replace("127.0.0.1", host)
        with both(f"{url}?{mode.format(**vars(certificates))}") as stores:
            for store, account in stores:
                with pytest.raises(StoreUnavailableError) as caught:
                    store.count(account)
                assert words in str(caught.value.__cause__)
                assert_untold([caught.value])


class TestDisk:
    def test_a_full_disk_stops_changes_and_nothing_else(self, folder):
        """Without room a change is refused whole, the map is read, and room is all that is needed to go on."""
        with small_disk(folder, "4m") as disk, Postgres(folder / "full") as server, both(server.url) as stores:
            server.give(disk)
            server.run(f"CREATE TABLESPACE small LOCATION '{disk}'")
            migrated(make_conninfo(server.url, options="-c default_tablespace=small"))
            server.run("CREATE TABLE ballast TABLESPACE small AS SELECT repeat('x', 99) FROM generate_series(1, 3000)")
            for store, account in stores:
                store.add(account, [ROW])
            counts = {account: self.filled(store, account) for store, account in stores}
            for store, account in stores:
                assert store.find(account, (ANN,)).matches
                assert 1 + counts[account] == store.count(account)
            server.run("DROP TABLE ballast")
            for store, account in stores:
                assert "bound" == store.bind(account, Change(Binding("ben", None))).status

    def filled(self, store, account):
        """Add rows by the hundred until there is no room for more, and return how many were added."""
        for count in range(0, 1_000_000, 100):
            numbers = range(count, count + 100)
            rows = [Binding(str(number), f"{number}@shop.org", f"P{number}") for number in numbers]
            failed = failure_of(lambda rows=rows: store.add(account, rows))
            if failed is not None:
                assert str(failed).startswith(failures.MEANINGS["53100"].message)
                assert failed.may_retry
                assert_untold([failed])
                return count
        raise AssertionError("the disk was never full")


@pytest.fixture(scope="module")
def pooler(server, folder):
    """PgBouncer before the server, by transactions: one connection to the server does for all."""
    with Pooler(folder, server) as pooler:
        yield pooler


@pytest.fixture
def clock():
    """The server's clock."""
    return SystemClock()


class TestBehindPgbouncer(StoreContract):
    @pytest.fixture
    def store(self, pooler, admin):
        with PostgresStore(pooler.url) as store:
            yield store


class TestAsyncBehindPgbouncer(StoreContract):
    @pytest.fixture
    def store(self, pooler, admin):
        store = BlockingStore(AsyncPostgresStore(pooler.url))
        yield store
        store.stop()


class TestPooler:
    def test_many_connections_share_a_few(self, pooler, admin):
        """Statements of many connections follow each other on a few of the server's, and none minds."""
        with both(pooler.url, size=8) as stores, ThreadPoolExecutor(16) as threads:
            for store, account in stores:
                calls = [threads.submit(store.add, account, [Binding(str(number), None)]) for number in range(64)]
                assert [("added",)] * 64 == [call.result() for call in calls]
                assert 64 == store.count(account)
        sought = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'safeklaviyo'"
        assert 1 <= admin.execute(sought).fetchone()[0] <= pooler.SIZE

    def test_a_server_that_ends_behind_it(self, pooler, server):
        """A restart of the server is unavailability, bounded, and then the same store goes on."""
        with both(pooler.url, timeout=2.0) as stores:
            for store, account in stores:
                store.remember(account, "name", "value")
            server.kill()
            for store, account in stores:
                with pytest.raises(StoreUnavailableError) as caught:
                    store.recall(account, "name")
                assert_untold([caught.value])
            server.start()
            for store, account in stores:
                assert "value" == until_served(lambda store=store, account=account: store.recall(account, "name"))[0]
