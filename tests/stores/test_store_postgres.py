"""The stores in PostgreSQL keep the contract: with pools, in a caller's transaction, and by two clocks."""

import psycopg
import pytest

from safeklaviyo.stores.postgres import AsyncPostgresStore, PostgresStore
from safeklaviyo.testing.contract import BlockingStore, StoreContract, SystemClock
from support.postgres_servers import ServerClock, connect, emptied, migrated, own_database

STANDING = "Standing 'clock'"


@pytest.fixture(scope="module")
def database():
    """A database with a map by the server's own clock, and one whose clock is set by tests."""
    with own_database() as url:
        migrated(url)
        migrated(url, STANDING)
        yield url


@pytest.fixture(scope="module")
def admin(database):
    """A connection for what no store does."""
    with connect(database) as connection:
        yield connection


@pytest.fixture
def clock():
    """The server's clock."""
    return SystemClock()


class TestPostgres(StoreContract):
    @pytest.fixture
    def store(self, database, admin):
        emptied(admin)
        with PostgresStore(database) as store:
            yield store


class TestAsyncPostgres(StoreContract):
    @pytest.fixture
    def store(self, database, admin):
        emptied(admin)
        store = BlockingStore(AsyncPostgresStore(database))
        yield store
        store.stop()


@pytest.fixture(scope="module")
def connection(database):
    """A connection of a caller's own."""
    with psycopg.connect(database) as connection:
        yield connection


class TestPostgresInATransactionByAStandingClock(StoreContract):
    @pytest.fixture
    def clock(self, admin):
        return ServerClock(admin, STANDING)

    @pytest.fixture
    def store(self, connection, clock):
        yield PostgresStore(connection=connection, schema=STANDING)
        connection.rollback()


@pytest.fixture(scope="module")
def blocking(database):
    """An event loop with a caller's own connection."""

    async def connected():
        return await psycopg.AsyncConnection.connect(database)

    blocking = BlockingStore(None)
    blocking.connection = blocking._run(connected())
    yield blocking
    blocking._run(blocking.connection.close())
    blocking.stop()


class TestAsyncPostgresInATransaction(StoreContract):
    @pytest.fixture
    def store(self, admin, blocking):
        emptied(admin)
        blocking._store = AsyncPostgresStore(connection=blocking.connection)
        yield blocking
        blocking._run(blocking.connection.rollback())
