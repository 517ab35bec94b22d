"""PostgreSQL as it really is: not migrated, away, ended, slow, full, read-only, behind a pooler (P6, P8)."""

import asyncio
import logging
import os
import socket
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.conninfo import make_conninfo

from safeklaviyo.errors import ConfigurationError, StoreError, StoreIncompatibleError, StoreUnavailableError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores import open_async_store, open_store
from safeklaviyo.stores.base import Change, JournalEntry
from safeklaviyo.stores.calls import Add, Find
from safeklaviyo.stores.postgres import AsyncPostgresStore, PostgresStore, migration_sql
from support.postgres import async_connections, connections, failures, queries, values
from support.postgres_servers import (
    connect,
    emptied,
    end_all,
    migrated,
    own_database,
    wait_for_a_waiter,
    wait_until_nobody_is_connected,
    writers_held_up,
)

ANN = Identifier(Kind.EXTERNAL_ID, "ann")
MAIL = Identifier(Kind.EMAIL, "ann@shop.org")
ROW = Binding("ann", "ann@shop.org", "PANN")
CODES = sorted(
    {each.sqlstate for each in vars(psycopg.errors).values() if isinstance(getattr(each, "sqlstate", None), str)}
)
LEASE = {"intent": "x", "ttl": 60.0}
# A call that gave up waits on in the server, and may take its lease while the next test runs.
LATER = Identifier(Kind.EMAIL, "later@shop.org")


@pytest.fixture(scope="module")
def database():
    """A database with a map."""
    with own_database() as url:
        yield migrated(url)


@pytest.fixture(scope="module")
def admin(database):
    """A connection for what no store does."""
    with connect(database) as connection:
        yield connection


@pytest.fixture
def store(database, admin):
    """An empty map."""
    emptied(admin)
    with PostgresStore(database) as store:
        yield store


@pytest.fixture
async def async_store(database, admin):
    """The same, asynchronous."""
    emptied(admin)
    async with AsyncPostgresStore(database) as store:
        yield store


@contextmanager
def raises_only(error, message):
    """Expect an error with that message, and nothing personal or secret anywhere in what would be logged of it."""
    with pytest.raises(error) as caught:
        yield caught
    assert str(caught.value).startswith(message)
    whole = "".join(traceback.format_exception(caught.value))
    assert not [word for word in ("ann@shop.org", "hunter2") if word in whole]


def dead_port():
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class TestMigration:
    @pytest.fixture
    def elsewhere(self, database, admin):
        """A schema that is not there yet."""
        admin.execute("DROP SCHEMA IF EXISTS elsewhere CASCADE")
        return "elsewhere"

    def tables(self, admin):
        sought = "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('elsewhere')"
        return admin.execute(sought).fetchone()[0]

    @pytest.mark.parametrize(
        "use",
        [lambda store: store.find("shop", (ANN,)), lambda store: store.add("shop", [ROW]), lambda s: s.count("x")],
    )
    def test_a_missing_map_is_never_made_silently(self, database, admin, elsewhere, use):
        """Without its tables the map says what to run, and makes nothing."""
        with (
            PostgresStore(database, schema=elsewhere) as store,
            raises_only(StoreIncompatibleError, "the identity map's tables are missing") as caught,
        ):
            use(store)
        assert "safeklaviyo store migrate" in str(caught.value)
        assert 0 == self.tables(admin)

    def test_migrating_twice_changes_nothing(self, database, elsewhere):
        """A map that stands there is left as it is, with what is in it."""
        with PostgresStore(database, schema=elsewhere) as store:
            store.migrate()
            store.add("shop", [ROW])
            store.migrate()
            assert 1 == store.count("shop")

    def test_several_may_migrate_at_once(self, database, elsewhere):
        """Of those that migrate at the same time one makes the map, and nobody fails."""

        def migrate(_):
            with PostgresStore(database, schema=elsewhere) as store:
                store.migrate()
                return store.count("shop")

        with ThreadPoolExecutor(4) as pool:
            assert [0] * 4 == list(pool.map(migrate, range(4)))

    async def test_the_async_store_migrates_too(self, database, elsewhere):
        """The asynchronous store makes the same map, once."""
        async with AsyncPostgresStore(database, schema=elsewhere) as store:
            await store.migrate()
            await store.migrate()
            assert ("added",) == await store.add("shop", [ROW])

    async def test_somebody_elses_schema_is_left_alone(self, database, admin, elsewhere):
        """Where tables of the same names stand, nothing is made."""
        admin.execute("CREATE SCHEMA elsewhere CREATE TABLE place(x int)")
        with (
            PostgresStore(database, schema=elsewhere) as store,
            raises_only(StoreIncompatibleError, "the identity map's tables are missing"),
        ):
            store.migrate()
        async with AsyncPostgresStore(database, schema=elsewhere) as store:
            for use in (store.migrate(), store.count("shop")):
                with raises_only(StoreIncompatibleError, "the identity map's tables are missing"):
                    await use
        assert 1 == self.tables(admin)

    @pytest.mark.parametrize(("found", "message"), [("DELETE FROM", "older"), ("UPDATE {} SET number = 2", "newer")])
    def test_another_version_is_refused(self, database, admin, elsewhere, found, message):
        """An older or a newer map is neither used nor migrated by this version."""
        admin.execute(migration_sql(elsewhere))
        admin.execute("DELETE FROM elsewhere.version")
        if message == "newer":
            admin.execute("INSERT INTO elsewhere.version VALUES (2)")
        with PostgresStore(database, schema=elsewhere) as store:
            for use in (lambda: store.find("shop", (ANN,)), store.migrate):
                with raises_only(StoreIncompatibleError, f"the identity map's tables are {message} than this version"):
                    use()

    @pytest.mark.parametrize("name", ['Their "map" 100%', "{planning} {schema}", "it's $$; SELECT $_$, $body"])
    def test_shops_may_run_the_sql_themselves(self, database, admin, name):
        """The text makes a map in a schema of any name, which a role with rights on rows alone can use."""
        schema, role = sql.Identifier(name), sql.Identifier("safeklaviyo_test_user")
        admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(role))
        admin.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
        admin.execute(migration_sql(name))
        admin.execute(sql.SQL("CREATE ROLE {}").format(role))
        for grant in ("USAGE ON SCHEMA {}", "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {}"):
            admin.execute(sql.SQL("GRANT {} TO {}").format(sql.SQL(grant).format(schema), role))
        try:
            with psycopg.connect(database, autocommit=True) as connection:
                connection.execute(sql.SQL("SET ROLE {}").format(role))
                store = PostgresStore(connection=connection, schema=name)
                use_all(store)
                store.acquire("shop", frozenset({ANN}), intent="x", ttl=-1.0)
                assert store.acquire("shop", frozenset({ANN}), **LEASE).taken_over
                with raises_only(ConfigurationError, "the database user may not use the identity map's tables"):
                    PostgresStore(connection=connection).count("shop")
        finally:
            admin.execute(sql.SQL("DROP OWNED BY {}").format(role))
            admin.execute(sql.SQL("DROP ROLE {}").format(role))

    @pytest.mark.parametrize("name", ["", "a\0b", "é" * 32])
    def test_a_schema_needs_a_name(self, name):
        """A name that PostgreSQL would refuse or cut off is refused."""
        for make in (PostgresStore, AsyncPostgresStore):
            with raises_only(ConfigurationError, "schema has to be a name of 1 to 63 bytes"):
                make("postgresql://", schema=name)

    def test_the_search_path_is_of_no_consequence(self, database, store, admin):
        """Whatever is first in the search path, the map's own tables and PostgreSQL's own functions are used."""
        admin.execute("CREATE SCHEMA IF NOT EXISTS decoy")
        admin.execute("CREATE TABLE IF NOT EXISTS decoy.binding(id int)")
        admin.execute("CREATE OR REPLACE FUNCTION decoy.clock() RETURNS int LANGUAGE sql AS 'SELECT 1 / 0'")
        with PostgresStore(make_conninfo(database, options="-c search_path=decoy")) as other:
            use_all(other)
        assert 1 == store.count("shop")

    def test_only_utf8_will_do(self):
        """A database that cannot hold every customer's name gets no map."""
        with (
            own_database("LATIN1") as url,
            PostgresStore(url) as store,
            raises_only(ConfigurationError, "the identity map needs a database that is encoded in UTF8"),
        ):
            store.migrate()


def use_all(store):
    """Do a little of everything."""
    lease = store.acquire("shop", frozenset({ANN}), **LEASE)
    assert store.renew("shop", lease.token, ttl=60.0)
    change = Change(ROW, token=lease.token, retire=frozenset({Identifier(Kind.EMAIL, "old@shop.org")}))
    binding = store.bind("shop", change).binding
    other = store.bind("shop", Change(Binding("ben", "ben@shop.org", "PBEN"))).binding
    store.bind("shop", Change(binding, absorb=(other.key,), journal=JournalEntry("x")))
    store.add("shop", [Binding("eve", None), Binding("ann", None, phone_number="+12025550123")])
    lease = store.acquire("shop", frozenset({ANN}), **LEASE)
    assert store.find("shop", (ANN, MAIL)).lease == lease or store.release("shop", lease.token)
    assert store.remove("shop", Identifier(Kind.EXTERNAL_ID, "eve"))
    assert store.release_identifier("shop", Identifier(Kind.EMAIL, "old@shop.org"))
    assert 1 == len(store.journal("shop", since=0))
    assert 1 == store.forget_journal("shop", binding.key)
    store.remember("shop", "name", "value")
    assert "value" == store.recall("shop", "name")
    store.remember("shop", "name", None)
    assert (1, ()) == (len(store.page("shop").bindings), store.expired("shop", 9))


class TestUrl:
    @pytest.mark.parametrize("url", ["postgresql://shop:hunter2@h/db?nonsense=1", "hunter2 here", "host='hunter2"])
    @pytest.mark.parametrize("make", [PostgresStore, AsyncPostgresStore])
    def test_what_libpq_does_not_understand_is_refused(self, make, url):
        """The error does not quote the URL, which may hold a password."""
        with raises_only(
            ConfigurationError,
            "the PostgreSQL URL of the identity map is not understood; write postgresql://host/database",
        ):
            make(url)

    @pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
    async def test_urls_open_stores_of_their_kind(self, scheme):
        """Both schemes open a store without connecting, in the schema that the URL names."""
        url = f"{scheme}://shop:hunter2@127.0.0.1:{dead_port()}/db?sslmode=disable&schema=my%20map"
        with open_store(url) as store:
            assert isinstance(store, PostgresStore)
            assert b'"my map".find(' in store._ask.query(Find("shop", ())).statement
        async with open_async_store(url) as store:
            assert isinstance(store, AsyncPostgresStore)

    def test_the_argument_beats_the_url(self):
        """A schema given by itself counts, and without any it is the library's own name."""
        both = PostgresStore("postgresql:///?schema=one", schema="two")
        assert b'"two".' in both._ask.query(Find("shop", ())).statement
        assert b'"safeklaviyo".' in PostgresStore("host=h dbname=d?schema=x")._ask.query(Find("shop", ())).statement

    def test_a_url_and_a_connection_are_one_too_many(self, database):
        """Where the map is has to be said once, and with a connection of the right sort."""
        with connect(database) as connection:
            with raises_only(ConfigurationError, "give a PostgreSQL URL or a connection, not both"):
                PostgresStore(database, connection=connection)
            with raises_only(ConfigurationError, "connection has to be a psycopg.AsyncConnection"):
                AsyncPostgresStore(connection=connection)
        with raises_only(ConfigurationError, "connection has to be a psycopg.Connection"):
            PostgresStore()


class TestAway:
    def test_a_refused_connection_is_told_at_once(self, caplog):
        """Where nobody listens the map is unavailable, again and again, without a word of the password."""
        caplog.set_level(logging.DEBUG)
        with PostgresStore(f"postgresql://shop:hunter2@127.0.0.1:{dead_port()}/db", timeout=60.0) as store:
            for _ in range(2):
                with raises_only(StoreUnavailableError, failures.UNREACHABLE) as caught:
                    store.find("shop", (ANN,))
                assert caught.value.may_retry
            with raises_only(StoreUnavailableError, failures.UNREACHABLE):
                store.migrate()
        assert "hunter2" not in caplog.text

    async def test_the_async_store_is_told_too(self):
        """The same for the asynchronous store."""
        async with AsyncPostgresStore(f"postgresql://shop:hunter2@127.0.0.1:{dead_port()}/db") as store:
            with raises_only(StoreUnavailableError, failures.UNREACHABLE):
                await store.find("shop", (ANN,))

    def test_a_database_that_is_not_there(self, database):
        """An unknown database is told like a server that is not there, with PostgreSQL's words as the cause."""
        with (
            PostgresStore(make_conninfo(database, dbname="nowhere")) as store,
            raises_only(StoreUnavailableError, failures.UNREACHABLE) as caught,
        ):
            store.count("shop")
        assert "nowhere" in str(caught.value.__cause__)

    def test_a_server_that_is_silent_is_given_up(self):
        """Who accepts a connection and then says nothing keeps nobody waiting for longer than the URL says."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"postgresql://127.0.0.1:{listener.getsockname()[1]}/db?connect_timeout=1"
            with (
                PostgresStore(url, timeout=1.0) as store,
                raises_only(StoreUnavailableError, failures.UNREACHABLE),
            ):
                store.count("shop")


class TestEnded:
    def test_a_restart_between_two_calls_goes_unnoticed(self, store, admin):
        """Connections that the server ended while they were idle are not used, in whichever thread."""
        store.add("shop", [ROW])
        for _ in range(3):
            end_all(admin)
            assert store.find("shop", (ANN,)).matches

    async def test_a_restart_goes_unnoticed_in_a_loop(self, async_store, admin):
        """The same for the asynchronous store."""
        await async_store.add("shop", [ROW])
        for _ in range(3):
            await asyncio.to_thread(end_all, admin)
            assert (await async_store.find("shop", (ANN,))).matches

    def test_a_connection_lost_in_the_middle(self, store, database, admin):
        """A statement whose connection breaks is unavailable, whatever became of it; the next one is answered."""
        with writers_held_up(database), ThreadPoolExecutor(1) as pool:
            call = pool.submit(store.acquire, "shop", frozenset({ANN}), **LEASE)
            admin.execute("SELECT pg_terminate_backend(%s)", (wait_for_a_waiter(admin),))
            with raises_only(StoreUnavailableError, failures.MEANINGS["57"].message):
                call.result()
        assert store.acquire("shop", frozenset({ANN}), **LEASE) is not None

    async def test_a_connection_lost_in_the_middle_of_a_loop(self, async_store, database, admin):
        """The same for the asynchronous store."""
        await async_store.count("shop")
        with writers_held_up(database):
            call = asyncio.create_task(async_store.acquire("shop", frozenset({ANN}), **LEASE))
            waiter = await asyncio.to_thread(wait_for_a_waiter, admin)
            await asyncio.to_thread(admin.execute, "SELECT pg_terminate_backend(%s)", (waiter,))
            with raises_only(StoreUnavailableError, failures.MEANINGS["57"].message):
                await call
        assert await async_store.acquire("shop", frozenset({ANN}), **LEASE) is not None

    def test_others_go_on_when_the_pool_is_let_go(self, store, database, admin):
        """A loss in one thread does not fail another one's call."""
        store.add("shop", [ROW])
        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(self.find_often, store) for _ in range(4)]
            for _ in range(5):
                store._to._discard(store._to._pool())
            assert [True] * 4 == [call.result() for call in calls]

    async def test_other_tasks_go_on_when_the_pool_is_let_go(self, async_store):
        """The same for tasks of one loop."""
        await async_store.add("shop", [ROW])

        async def find_often():
            return all([(await async_store.find("shop", (ANN,))).matches for _ in range(30)])

        calls = [asyncio.create_task(find_often()) for _ in range(4)]
        for _ in range(5):
            await asyncio.sleep(0.01)
            home = async_store._to._here()
            await async_connections._discard(home, home.pool or await async_store._to._open(home))
        assert [True] * 4 == await asyncio.gather(*calls)

    async def test_a_pool_is_let_go_once(self, store, async_store):
        """Whoever meets the same loss later does not let go of what was opened since."""
        store.count("shop")
        await async_store.count("shop")
        old, home = store._to._pool(), async_store._to._here()
        async_old = home.pool
        opened = []
        for _ in range(2):
            store._to._discard(old)
            await async_connections._discard(home, async_old)
            store.count("shop")
            await async_store.count("shop")
            opened.append((store._to._current[1], home.pool))
        assert (old, async_old) != opened[0] == opened[1]

    async def test_closing_after_a_loss(self, database):
        """A store whose pool was let go closes like any other."""
        async with AsyncPostgresStore(database) as store:
            await store.count("shop")
            home = store._to._here()
            await async_connections._discard(home, home.pool)
        with pytest.raises(StoreUnavailableError):
            await store.count("shop")

    async def test_what_another_process_opened_is_left_alone(self, store, async_store):
        """A pool that was inherited is neither used nor closed nor forgotten, which would close it."""
        store.count("shop")
        await async_store.count("shop")
        pool, home = store._to._pool(), async_store._to._here()
        store._to._current = (0, pool)
        home.pid = 0
        assert (0, 0) == (store.count("shop"), await async_store.count("shop"))
        assert (False, False) == (pool.closed, home.pool.closed)
        assert [pool, home] == [each for each in connections.inherited if each in (pool, home)]
        pool.close()
        home.pid = os.getpid()
        await home.closer.aclose()
        connections.inherited.clear()

    def find_often(self, store):
        return all(store.find("shop", (ANN,)).matches for _ in range(50))


class TestSlow:
    def test_other_writers_are_waited_for_within_limits(self, store, database, admin):
        """A turn that does not come in time is unavailable, and nothing was done."""
        admin.execute("ALTER FUNCTION safeklaviyo.acquire SET lock_timeout = '50ms'")
        try:
            with (
                writers_held_up(database),
                raises_only(StoreUnavailableError, failures.MEANINGS["55P03"].message),
            ):
                store.acquire("shop", frozenset({ANN}), **LEASE)
        finally:
            admin.execute("ALTER FUNCTION safeklaviyo.acquire SET lock_timeout = '4s'")
        assert store.find("shop", (ANN,)).lease is None

    def test_readers_and_other_accounts_wait_for_nobody(self, store, database):
        """While somebody writes, a find is answered, and so are the writers of other accounts."""
        store.add("shop", [ROW])
        with writers_held_up(database):
            assert store.find("shop", (ANN,)).matches
            assert store.acquire("other", frozenset({ANN}), **LEASE) is not None

    @pytest.mark.parametrize(
        "forget",
        [
            lambda store, token: store.remove("shop", ANN, token=token),
            lambda store, token: store.remember("shop", "name", None, token=token),
            lambda store, token: store.remember("shop", "name", "other", token=token),
        ],
    )
    def test_a_token_is_judged_once_the_turn_has_come(self, store, database, admin, forget):
        """Who waits for a writer that ends the lease is fenced, whatever stood there when it began to wait."""
        store.add("shop", [ROW])
        store.remember("shop", "name", "value")
        lease = store.acquire("shop", frozenset({ANN}), **LEASE)
        with writers_held_up(database) as other, ThreadPoolExecutor(1) as pool:
            call = pool.submit(forget, store, lease.token)
            wait_for_a_waiter(admin)
            assert PostgresStore(connection=other).release("shop", lease.token)
            other.commit()
            assert call.result() is False
        assert (1, "value") == (store.count("shop"), store.recall("shop", "name"))

    def test_a_lease_that_is_held_stays_until_all_is_done(self, store, database, admin):
        """Who waited for a writer that renewed the lease goes on, and finds the lease as it is by then."""
        store.add("shop", [ROW])
        lease = store.acquire("shop", frozenset({ANN}), **LEASE)
        with writers_held_up(database) as other, ThreadPoolExecutor(1) as pool:
            call = pool.submit(store.remove, "shop", ANN, token=lease.token)
            wait_for_a_waiter(admin)
            assert PostgresStore(connection=other).renew("shop", lease.token, ttl=9.0, intent="later")
            other.commit()
            assert call.result() is True
        assert "later" == store.find("shop", (ANN,)).lease.intent

    def test_the_servers_own_time_limit(self, database):
        """A statement that the server breaks off is unavailable."""
        url = make_conninfo(database, options="-c statement_timeout=50")
        with (
            PostgresStore(url) as store,
            writers_held_up(database),
            raises_only(StoreUnavailableError, failures.MEANINGS["57014"].message),
        ):
            store.acquire("shop", frozenset({ANN}), **LEASE)

    async def test_the_servers_own_time_limit_in_a_loop(self, database):
        """The same for the asynchronous store, whose connection stays in use."""
        async with AsyncPostgresStore(make_conninfo(database, options="-c statement_timeout=200")) as store:
            await store.count("shop")
            with (
                writers_held_up(database),
                raises_only(StoreUnavailableError, failures.MEANINGS["57014"].message),
            ):
                await store.acquire("shop", frozenset({ANN}), **LEASE)
            assert 1 == len(store._to._here().connections)

    def test_no_answer_in_time(self, store, database):
        """A server that goes silent is given up after the store's timeout, and asked anew when it speaks again."""
        with PostgresStore(database, timeout=0.3) as hasty:
            hasty.count("shop")
            with writers_held_up(database), raises_only(StoreUnavailableError, failures.LOST):
                hasty.acquire("shop", frozenset({ANN}), **LEASE)
            assert 0 == hasty.count("shop")

    async def test_no_answer_in_time_in_a_loop(self, async_store, database):
        """The same for the asynchronous store."""
        async with AsyncPostgresStore(database, timeout=0.3) as hasty:
            await hasty.count("shop")
            with writers_held_up(database), raises_only(StoreUnavailableError, failures.LOST):
                await hasty.acquire("shop", frozenset({ANN}), **LEASE)
            assert 0 == await hasty.count("shop")

    def test_no_connection_becomes_free(self, database, admin):
        """More callers than connections wait for one, within limits."""
        emptied(admin)
        with PostgresStore(database, size=1, timeout=0.3) as store, ThreadPoolExecutor(1) as pool:
            store.count("shop")
            store._to._timeout = 30.0
            with writers_held_up(database):
                call = pool.submit(store.acquire, "shop", frozenset({LATER}), **LEASE)
                wait_for_a_waiter(admin)
                with raises_only(StoreUnavailableError, failures.BUSY):
                    store.count("shop")
            assert call.result() is not None

    async def test_no_connection_becomes_free_in_a_loop(self, database, admin):
        """The same for the asynchronous store."""
        emptied(admin)
        async with AsyncPostgresStore(database, size=1, timeout=0.3) as store:
            await store.count("shop")
            store._to._timeout = 30.0
            with writers_held_up(database):
                call = asyncio.create_task(store.acquire("shop", frozenset({LATER}), **LEASE))
                await asyncio.to_thread(wait_for_a_waiter, admin)
                with raises_only(StoreUnavailableError, failures.BUSY):
                    await store.count("shop")
            assert await call is not None

    def test_a_long_addition_may_take_its_time(self):
        """The more rows are added at once, the longer their answer is waited for."""
        asked = queries.Queries("x")
        assert 5.0 == asked.query(Add("shop", [ROW] * 1000)).patience
        assert 0.0 == asked.query(Find("shop", ())).patience


class TestReadOnly:
    def test_a_replica_is_not_used(self, database):
        """A server on which nothing can be written is no identity map, not even for reading: it may be behind."""
        url = make_conninfo(database, options="-c default_transaction_read_only=on")
        with PostgresStore(url) as store, raises_only(StoreUnavailableError, failures.READ_ONLY):
            store.find("shop", (ANN,))

    async def test_nor_in_a_loop(self, database):
        """The same for the asynchronous store, and in a caller's own transaction."""
        url = make_conninfo(database, options="-c default_transaction_read_only=on")
        async with AsyncPostgresStore(url) as store:
            with raises_only(StoreUnavailableError, failures.READ_ONLY):
                await store.find("shop", (ANN,))
        with connect(url) as connection, raises_only(StoreUnavailableError, failures.READ_ONLY):
            PostgresStore(connection=connection).find("shop", (ANN,))

    def test_a_server_that_was_demoted_is_left(self, store):
        """A write that meets a read-only server fails, and the next one looks for the primary."""
        store.count("shop")
        with store._to._pool().connection() as connection:
            connection.execute("SET default_transaction_read_only = on")
        with raises_only(StoreUnavailableError, failures.READ_ONLY):
            store.add("shop", [ROW])
        assert ("added",) == store.add("shop", [ROW])

    async def test_a_server_that_was_demoted_is_left_in_a_loop(self, async_store):
        """The same for the asynchronous store."""
        await async_store.count("shop")
        async with async_store._to._current.pool.connection() as connection:
            await connection.execute("SET default_transaction_read_only = on")
        with raises_only(StoreUnavailableError, failures.READ_ONLY):
            await async_store.add("shop", [ROW])
        assert ("added",) == await async_store.add("shop", [ROW])


class TestFailures:
    def test_every_failure_of_postgresql_has_a_meaning(self):
        """Each SQLSTATE that the driver knows becomes an error of ours, without PostgreSQL's own words."""
        for code in CODES:
            error = failures.store_error(psycopg.errors.lookup(code)("ann@shop.org"))
            assert isinstance(error, (StoreError, ConfigurationError))
            assert str(error).endswith(f"(SQLSTATE {code})")
            assert "ann@" not in str(error)

    def test_every_class_that_can_come_up_is_in_the_table(self):
        """What is left to the general sentence is what no statement of the map can meet."""
        left = {code[:2] for code in CODES} - {code[:2] for code in failures.MEANINGS}
        assert {
            "02",
            "03",
            "09",
            "0B",
            "0F",
            "0L",
            "0P",
            "0Z",
            "20",
            "21",
            "24",
            "26",
            "27",
            "2B",
            "2D",
            "2F",
            "34",
            "38",
            "39",
            "3B",
            "44",
            "10",
            "72",
            "F0",
            "HV",
        } == left

    @pytest.mark.parametrize(
        ("code", "error", "may_retry"),
        [
            ("53100", StoreUnavailableError, True),
            ("53200", StoreUnavailableError, True),
            ("53300", StoreUnavailableError, True),
            ("57P01", StoreUnavailableError, True),
            ("57P03", StoreUnavailableError, True),
            ("40001", StoreUnavailableError, True),
            ("40P01", StoreUnavailableError, True),
            ("58030", StoreUnavailableError, True),
            ("08006", StoreUnavailableError, True),
            ("XX001", StoreUnavailableError, False),
            ("54000", StoreUnavailableError, False),
            ("HV000", StoreUnavailableError, False),
            ("28P01", ConfigurationError, False),
            ("3D000", ConfigurationError, False),
            ("42883", StoreIncompatibleError, False),
            ("42P01", StoreIncompatibleError, False),
            ("23505", StoreIncompatibleError, False),
        ],
    )
    def test_what_a_failure_means(self, code, error, may_retry):
        """Whoever retries is told whether that can help."""
        told = failures.store_error(psycopg.errors.lookup(code)())
        assert (error, may_retry) == (type(told), told.may_retry)

    def test_what_postgresql_quotes_stays_out_of_logs(self, store, admin):
        """A failure in whose words a customer's address stands is told without it, down to the traceback."""
        admin.execute("ALTER TABLE safeklaviyo.binding ADD CONSTRAINT nobody CHECK (email IS NULL)")
        try:
            with raises_only(StoreIncompatibleError, "the identity map's tables are missing, or not those"):
                store.bind("shop", Change(ROW))
        finally:
            admin.execute("ALTER TABLE safeklaviyo.binding DROP CONSTRAINT nobody")
        assert 0 == store.count("shop")


class TestPooler:
    def test_a_session_keeps_nothing(self, database, store):
        """No statement is prepared, no lock outlives its transaction, no setting stays: any connection will do next."""
        with PostgresStore(database, size=1) as one:
            use_all(one)
            with one._to._pool().connection() as connection:
                for kept in (
                    "pg_prepared_statements",
                    "pg_cursors",
                    "pg_listening_channels() AS name",
                    "pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
                    "pg_settings WHERE source = 'session'",
                ):
                    assert [] == connection.execute(f"SELECT * FROM {kept}").fetchall()

    def test_each_call_may_have_another_connection(self, database, admin):
        """Nothing depends on being served by the same backend twice."""
        emptied(admin)
        with PostgresStore(database, size=3) as store:
            pool = store._to._pool()
            backends = [pool.getconn() for _ in range(3)]
            for each in backends:
                pool.putconn(each)
            assert 3 == len({each.info.backend_pid for each in backends})
            use_all(store)

    def test_a_find_is_one_round_trip(self, database, admin, tmp_path):
        """The warm path sends one statement and waits once."""
        emptied(admin)
        with (tmp_path / "trace").open("w+") as trace, PostgresStore(database, size=1) as store:
            store.add("shop", [ROW])
            with store._to._pool().connection() as connection:
                connection.pgconn.trace(trace.fileno())
            assert 2 == len(store.find("shop", (ANN, MAIL)).matches)
            with store._to._pool().connection() as connection:
                connection.pgconn.untrace()
            trace.seek(0)
            sent = [line.split("\t")[3] for line in trace.read().splitlines() if line.split("\t")[1] == "F"]
        assert ["Parse", "Bind", "Describe", "Execute", "Sync"] == sent


class TestText:
    @given(st.text(st.characters(codec="utf-8") | st.sampled_from("\0\x01" + "01")))
    @settings(max_examples=200, deadline=None)
    def test_every_text_survives_without_nul(self, text):
        """A text is stored without NUL and comes back as it was; one without NUL is stored as it stands."""
        stored = values.written(text)
        assert "\0" not in stored
        assert text == values.plain(stored)
        assert "\0" in text or "\1" in text or text == stored

    def test_control_characters_are_kept_apart(self, store):
        """Identifiers that differ in a NUL or in what stands for it are different ones."""
        alike = ["a\0", "a\1", "a\0010", "a\0011", "a0"]
        store.add("shop", [Binding(each, None) for each in alike])
        asked = [Identifier(Kind.EXTERNAL_ID, each) for each in alike]
        assert alike == [match.binding.external_id for match in store.find("shop", asked).matches]
        assert alike == [store.find("shop", (each,)).matches[0].binding.external_id for each in asked]


class TestLoops:
    def test_one_loop_after_another(self, database, admin):
        """A store may outlive the loop in which it was first used; each loop closes what was opened in it."""
        emptied(admin)
        store = AsyncPostgresStore(database)

        async def use(number):
            await store.add("shop", [Binding(str(number), None)])
            return await store.count("shop")

        assert [1, 2, 3] == [asyncio.run(use(number)) for number in (1, 2, 3)]
        asyncio.run(store.aclose())
        with pytest.raises(StoreUnavailableError):
            asyncio.run(use(4))
        wait_until_nobody_is_connected(admin)

    async def test_many_tasks_share_one_pool(self, database, admin):
        """Tasks that begin at once open one pool, and no more connections than it may have."""
        wait_until_nobody_is_connected(admin)
        async with AsyncPostgresStore(database, size=3) as store:
            await asyncio.gather(*[store.find("shop", (ANN,)) for _ in range(50)])
            sought = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientRead' AND application_name = %s"
            (connections_open,) = admin.execute(
                sought + " AND datname = current_database()", ("safeklaviyo",)
            ).fetchone()
            assert 1 <= connections_open <= 3

    async def test_a_cancelled_call_leaves_the_store_usable(self, async_store, database, admin):
        """Whoever stops waiting gives the connection back."""
        await async_store.count("shop")
        with writers_held_up(database):
            call = asyncio.create_task(async_store.acquire("shop", frozenset({ANN}), **LEASE))
            await asyncio.to_thread(wait_for_a_waiter, admin)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        assert (await async_store.find("shop", (ANN,))).lease is None

    async def test_what_was_never_used_can_be_closed(self):
        """Closing opens nothing."""
        awaited, blocking = AsyncPostgresStore("postgresql://"), PostgresStore("postgresql://")
        await awaited.aclose()
        blocking.close()
        assert (None, None) == (awaited._to._current, blocking._to._current)
        with raises_only(StoreUnavailableError, failures.CLOSED):
            blocking.count("shop")


def test_threads_share_one_pool(store):
    """Threads that begin at once open one pool, and each gets its answers."""
    store.close()
    with PostgresStore(store._to._conninfo, size=2) as fresh, ThreadPoolExecutor(6) as pool:
        barrier = threading.Barrier(6)

        def add(number):
            barrier.wait()
            return fresh.add("shop", [Binding(str(number), None)])

        assert [("added",)] * 6 == list(pool.map(add, range(6)))
        assert 6 == fresh.count("shop")


def test_the_server_is_told_who_asks(store, admin):
    """Whoever looks at the server's connections sees which are the map's."""
    store.count("shop")
    names = admin.execute("SELECT application_name FROM pg_stat_activity WHERE datname = current_database()").fetchall()
    assert ("safeklaviyo",) in names


def test_rows_of_a_dump_keep_their_numbers(store, admin):
    """Rows that are put back into tables made anew are found as before, and new numbers are above theirs."""
    ann = Identifier(Kind.EXTERNAL_ID, "ann")
    before = store.bind("shop", Change(Binding("ann", "ann@shop.org"))).binding
    admin.execute("CREATE TEMP TABLE dumped AS SELECT * FROM safeklaviyo.binding")
    admin.execute("DELETE FROM safeklaviyo.binding")
    admin.execute("INSERT INTO safeklaviyo.binding SELECT * FROM dumped")
    admin.execute("DROP TABLE dumped")
    assert before == store.find("shop", (ann,)).matches[0].binding
    assert int(before.key) < int(store.bind("shop", Change(Binding("ben", "ben@shop.org"))).binding.key)


def test_this_module_is_marked(request):
    """What needs a server is left out by ``-m "not server"``."""
    assert request.node.get_closest_marker("server") is not None
