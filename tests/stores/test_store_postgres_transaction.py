"""A map in a transaction of the caller's own: what is committed, what is undone, and what the caller keeps."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from safeklaviyo.errors import ConfigurationError, StoreIncompatibleError, StoreUnavailableError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change
from safeklaviyo.stores.postgres import AsyncPostgresStore, PostgresStore
from support.postgres import failures
from support.postgres_servers import connect, emptied, end_all, migrated, own_database, wait_for_a_waiter

ANN = Identifier(Kind.EXTERNAL_ID, "ann")
ROW = Binding("ann", "ann@shop.org", "PANN")
LEASE = {"intent": "x", "ttl": 60.0}


@pytest.fixture(scope="module")
def database():
    """A database with a map, and a table of the shop's own."""
    with own_database() as url, connect(migrated(url)) as admin:
        admin.execute("CREATE TABLE customer(id text PRIMARY KEY)")
        yield url


@pytest.fixture(scope="module")
def admin(database):
    """A connection for what no store does."""
    with connect(database) as connection:
        yield connection


@pytest.fixture
def others(database, admin):
    """The empty map as everybody else sees it."""
    emptied(admin)
    admin.execute("DELETE FROM customer")
    with PostgresStore(database) as store:
        yield store


@pytest.fixture
def connection(database, others):
    """A connection of the shop's."""
    with psycopg.connect(database) as connection:
        yield connection


def test_a_bind_is_committed_with_the_callers_own_row(connection, others):
    """Until the caller commits, nobody else sees the binding; then both rows are there."""
    connection.execute("INSERT INTO customer VALUES ('ann')")
    assert "bound" == PostgresStore(connection=connection).bind("shop", Change(ROW)).status
    assert () == others.find("shop", (ANN,)).matches
    connection.commit()
    assert others.find("shop", (ANN,)).matches
    assert ("ann",) == connection.execute("SELECT id FROM customer").fetchone()


def test_a_bind_is_undone_with_the_callers_own_row(connection, others):
    """What the caller rolls back has not happened."""
    PostgresStore(connection=connection).bind("shop", Change(ROW))
    connection.rollback()
    assert 0 == others.count("shop")


def test_a_refused_bind_leaves_the_transaction_as_it_was(connection, others):
    """After a conflict the caller goes on, and commits what else there was."""
    others.add("shop", [ROW])
    connection.execute("INSERT INTO customer VALUES ('eve')")
    store = PostgresStore(connection=connection)
    assert "conflict" == store.bind("shop", Change(Binding("eve", "ann@shop.org"))).status
    assert "bound" == store.bind("shop", Change(Binding("eve", "eve@shop.org"))).status
    connection.commit()
    assert 2 == others.count("shop")


def test_a_failure_leaves_the_transaction_as_it_was(connection, database, admin):
    """An operation that fails takes nothing of the caller's with it."""
    connection.execute("INSERT INTO customer VALUES ('eve')")
    for call in (lambda store: store.find("shop", (ANN,)), lambda store: store.add("shop", [ROW])):
        with pytest.raises(StoreIncompatibleError):
            call(PostgresStore(connection=connection, schema="elsewhere"))
    assert TransactionStatus.INTRANS == connection.info.transaction_status
    connection.commit()
    assert ("eve",) == admin.execute("SELECT id FROM customer").fetchone()


async def test_a_failure_leaves_an_async_transaction_as_it_was(database, others, admin):
    """The same for the asynchronous store; what it changed is there once the caller has committed."""
    async with await psycopg.AsyncConnection.connect(database) as connection:
        with pytest.raises(StoreIncompatibleError):
            await AsyncPostgresStore(connection=connection, schema="elsewhere").find("shop", (ANN,))
        store = AsyncPostgresStore(connection=connection)
        assert ("added",) == await store.add("shop", [ROW])
        await store.aclose()
        assert 0 == others.count("shop")
    assert 1 == others.count("shop")


@pytest.mark.parametrize("schema", ["mine", "safeklaviyo"])
async def test_migrating_in_a_transaction(database, schema):
    """The tables are made in the caller's transaction too, where they are missing."""
    with psycopg.connect(database) as connection:
        PostgresStore(connection=connection, schema=schema).migrate()
        assert 0 == PostgresStore(connection=connection, schema=schema).count("other")
        connection.rollback()
    async with await psycopg.AsyncConnection.connect(database) as connection:
        store = AsyncPostgresStore(connection=connection, schema=schema)
        await store.migrate()
        assert 0 == await store.count("other")
        await connection.rollback()


async def test_without_a_transaction_each_operation_is_one(database, others):
    """On a connection in autocommit what is done is done."""
    with connect(database) as connection:
        assert ("added",) == PostgresStore(connection=connection).add("shop", [ROW])
        assert 1 == others.count("shop")
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        assert ("added",) == await AsyncPostgresStore(connection=connection).add("shop", [Binding("ben", None)])
        assert 2 == others.count("shop")


def test_a_transaction_block_on_a_connection_in_autocommit(database, others):
    """A block of the caller's is joined like any other transaction."""
    with connect(database) as connection, connection.transaction(force_rollback=True):
        PostgresStore(connection=connection).add("shop", [ROW])
        assert 0 == others.count("shop")
    assert 0 == others.count("shop")


def test_others_wait_for_a_lease_that_is_not_committed(connection, others, admin):
    """Whoever writes about the account waits until the caller has ended, and sees what became of it."""
    lease = PostgresStore(connection=connection).acquire("shop", frozenset({ANN}), **LEASE)
    assert others.find("shop", (ANN,)).lease is None
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(others.acquire, "shop", frozenset({ANN}), **LEASE)
        wait_for_a_waiter(admin)
        connection.commit()
        assert call.result() is None
    assert lease.token == others.find("shop", (ANN,)).lease.token


@pytest.mark.parametrize("level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE])
def test_another_isolation_level_is_refused(connection, level):
    """A transaction that does not see what others have done since it began cannot write, and is told so."""
    connection.isolation_level = level
    store = PostgresStore(connection=connection)
    assert () == store.find("shop", (ANN,)).matches
    with pytest.raises(ConfigurationError) as caught:
        store.add("shop", [ROW])
    assert str(caught.value).startswith(failures.MEANINGS["SK001"].message)
    assert () == store.find("shop", (ANN,)).matches


def test_the_callers_ways_with_rows_are_of_no_consequence(database, others):
    """Rows as dictionaries, statements prepared or made on the client's side: the store asks in its own way."""
    with psycopg.connect(
        database, row_factory=dict_row, prepare_threshold=0, cursor_factory=psycopg.ClientCursor
    ) as connection:
        store = PostgresStore(connection=connection)
        store.add("shop", [ROW])
        assert "PANN" == store.find("shop", (ANN,)).matches[0].binding.profile_id
        assert (
            []
            == connection.execute(
                "SELECT name FROM pg_prepared_statements WHERE statement ILIKE '%safeklaviyo%'"
            ).fetchall()
        )


def test_closing_the_store_leaves_the_connection_alone(connection):
    """The caller goes on after the store has been closed, and closes the connection."""
    store = PostgresStore(connection=connection)
    store.add("shop", [ROW])
    store.close()
    with pytest.raises(StoreUnavailableError):
        store.count("shop")
    assert (1,) == connection.execute("SELECT 1").fetchone()


def test_a_failed_transaction_has_to_be_rolled_back_first(connection):
    """In a transaction that has failed already nothing can be done, and doing it again will not help."""
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute("SELECT 1 / 0")
    with pytest.raises(StoreUnavailableError) as caught:
        PostgresStore(connection=connection).find("shop", (ANN,))
    assert (False, True) == (caught.value.may_retry, "roll it back" in str(caught.value))


async def test_a_connection_that_was_lost(database, others, admin):
    """Where the caller's connection is gone the map is unavailable."""
    with connect(database) as connection:
        end_all(admin)
        with pytest.raises(StoreUnavailableError):
            PostgresStore(connection=connection).find("shop", (ANN,))
    async with await psycopg.AsyncConnection.connect(database) as connection:
        store = AsyncPostgresStore(connection=connection)
        await store.find("shop", (ANN,))
        end_all(admin)
        with pytest.raises(StoreUnavailableError):
            await store.find("shop", (ANN,))
