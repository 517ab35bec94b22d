"""Many rows are added at once as they would be one after the other: each store against the steps of `semantics`."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple, replace
from itertools import count

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.pq import TransactionStatus

from safeklaviyo.errors import StoreError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change, Match
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.stores.postgres import AsyncPostgresStore, PostgresStore
from safeklaviyo.stores.redis import RedisStore
from safeklaviyo.stores.sqlite import SqliteStore
from support.examples import examples
from support.postgres_servers import connect, migrated, own_database, wait_for_a_waiter
from support.redis_servers import shared_prefix, url_or_skip

ROW = Binding("ann", "ann@shop.test", "PANN")
IDLE, INTRANS = TransactionStatus.IDLE, TransactionStatus.INTRANS
KINDS = (Kind.EXTERNAL_ID, Kind.EMAIL, Kind.PROFILE_ID)
VALUES = ("a", "b", "c", "d", "e\0'", "f")
OPTIONAL = st.none() | st.sampled_from(VALUES)
PHONES = st.sampled_from([None, None, "+1", "+2"])
ROWS = st.builds(Binding, OPTIONAL, OPTIONAL, OPTIONAL, PHONES, st.none() | st.just(9.5))
IDENTIFIERS = st.builds(Identifier, st.sampled_from(KINDS), st.sampled_from(VALUES))
BEFORE = st.lists(
    st.one_of(
        st.builds(lambda row: ("add", row), ROWS),
        st.builds(lambda row, to: ("change", row, to), ROWS, ROWS),
        st.builds(lambda name: ("lease", name), IDENTIFIERS),
        st.builds(lambda name, row: ("retire", name, row), IDENTIFIERS, ROWS),
    ),
    max_size=8,
)
MORE = settings(
    max_examples=examples(240),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
accounts = count()


def prepared(store, account, before):
    """Bring a map into a state: bindings, former identifiers, leases that have expired or not."""
    for what, *rest in before:
        if what == "add":
            store.add(account, rest)
        elif what == "lease":
            store.acquire(account, frozenset(rest), intent="i", ttl=500.0)
        elif what == "retire":
            store.restore(account, [Match(rest[0], rest[1], 5.0)])
        else:
            store.add(account, rest[:1])
            stands = store.page(account).bindings
            if stands:
                wanted = replace(rest[1], key=stands[0].key, version=stands[0].version)
                store.bind(account, Change(wanted, verified=False))


def everything(store, account):
    """Return all that a map says, but for what each store chooses for itself."""
    bindings = store.page(account).bindings
    keys = {each.key: astuple(each)[:-1] for each in bindings}
    names = [Identifier(kind, value) for kind in KINDS for value in VALUES]
    told = {
        (match.identifier, keys[match.binding.key], match.retired_at is None)
        for match in store.find(account, names).matches
    }
    return sorted(keys.values(), key=repr), told, {lease.identifiers for lease in store.leases(account, 99)}


def check(store, before, rows):
    """The rows at once, in the store; and one by one, in memory."""
    account = f"account {next(accounts)}"
    with MemoryStore() as memory:
        for each in (memory, store):
            prepared(each, account, before)
        alone = [memory.add(account, [row])[0] for row in rows]
        assert alone == list(store.add(account, rows))
        assert everything(memory, account) == everything(store, account)
        again = [memory.add(account, [row])[0] for row in rows]
        assert again == list(store.add(account, rows))
        assert everything(memory, account) == everything(store, account)


@contextmanager
def in_file(factory):
    """Give a map in a file."""
    with SqliteStore(factory.mktemp("map") / "identity.db") as store:
        yield store


@contextmanager
def in_postgres(_):
    """Give a map in PostgreSQL."""
    with own_database() as url, PostgresStore(migrated(url)) as store:
        yield store


@contextmanager
def in_redis(_):
    """Give a map in Redis."""
    with shared_prefix() as prefix, RedisStore(url_or_skip(), prefix=prefix) as store:
        yield store


@pytest.fixture(scope="module", params=[in_file, in_postgres, in_redis], ids=lambda place: place.__name__)
def store(request, tmp_path_factory):
    """Each store in turn; each example has an account of its own."""
    with request.param(tmp_path_factory) as store:
        yield store


@MORE
@given(before=BEFORE, rows=st.lists(ROWS, max_size=9))
def test_rows_at_once_are_rows_in_turn(store, before, rows):
    """Contradictions, leases, former identifiers and repetitions: the map and the answers are the same."""
    check(store, before, rows)


class TestTurns:
    """On PostgreSQL rows are added in two statements of one transaction."""

    @pytest.fixture
    def map_url(self):
        """A map in a database of its own."""
        with own_database() as url:
            yield migrated(url)

    def test_rows_wait_for_the_writer_before_and_see_what_it_wrote(self, map_url):
        """A customer whom another writer has not committed yet contradicts the row, once that writer is done."""
        with (
            PostgresStore(map_url) as store,
            connect(map_url) as admin,
            psycopg.connect(map_url) as before,
            PostgresStore(connection=before) as other,
            ThreadPoolExecutor(1) as pool,
        ):
            assert ("added",) == other.add("shop", [ROW])
            call = pool.submit(store.add, "shop", [replace(ROW, email="else@shop.test"), replace(ROW, key="x")])
            wait_for_a_waiter(admin)
            before.commit()
            assert ("conflict", "unchanged") == call.result()

    @pytest.mark.parametrize("autocommit", [True, False])
    def test_a_failure_leaves_nothing_behind(self, map_url, autocommit):
        """Rows that cannot be written are refused whole, and the connection goes on."""
        with connect(map_url) as admin, psycopg.connect(map_url, autocommit=autocommit) as connection:
            admin.execute("ALTER TABLE safeklaviyo.place ADD CONSTRAINT no_c CHECK (value <> 'c')")
            with PostgresStore(connection=connection) as store:
                with pytest.raises(StoreError):
                    store.add("shop", [Binding("a", "b"), Binding(None, "c")])
                assert 0 == store.count("shop")
                assert ("added",) == store.add("shop", [Binding("a", "b")])
            assert connection.info.transaction_status == (IDLE if autocommit else INTRANS)

    async def test_a_failure_leaves_nothing_behind_async(self, map_url):
        """The same, awaited, with connections of the store's own."""
        with connect(map_url) as admin:
            admin.execute("ALTER TABLE safeklaviyo.place ADD CONSTRAINT no_c CHECK (value <> 'c')")
        async with AsyncPostgresStore(map_url, size=1) as store:
            with pytest.raises(StoreError):
                await store.add("shop", [Binding("a", "b"), Binding(None, "c")])
            assert 0 == await store.count("shop")
            assert ("added",) == await store.add("shop", [Binding("a", "b")])
