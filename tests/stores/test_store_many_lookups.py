"""A thousand identifiers are looked up at once: one statement, one round trip."""

import sqlite3

import httpx
from benchmarks.counting import counted

from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.postgres import PostgresStore
from safeklaviyo.stores.redis import RedisStore
from safeklaviyo.stores.sqlite import SqliteStore
from support.postgres_servers import migrated, own_database
from support.redis_servers import shared_prefix, url_or_skip

ROWS = [Binding(f"c{number}", f"c{number}@shop.test") for number in range(500)]
ASKED = [Identifier(Kind.EMAIL, f"c{number}@shop.test") for number in range(400, 1_300)]
ASKED += [Identifier(Kind.EXTERNAL_ID, f"c{number}") for number in range(100)]


def asked_for(store):
    """Ask, and check the answer: 100 addresses and 100 ids are known."""
    found = store.find("shop", ASKED)
    assert 200 == len(found.matches)
    assert ROWS[400].email == found.matches[0].identifier.value
    assert ROWS[99].external_id == found.matches[-1].binding.external_id


def test_one_statement_in_sqlite(tmp_path, monkeypatch):
    """One SELECT, whatever the number."""
    ran, connect = [], sqlite3.connect

    def watched(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.set_trace_callback(ran.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", watched)
    with SqliteStore(tmp_path / "identity.db") as store:
        store.add("shop", ROWS)
        store.find("shop", ())
        ran.clear()
        asked_for(store)
        assert 1 == len(ran)
        more = [Identifier(Kind.EMAIL, f"c{number}@shop.test") for number in range(20_000)]
        assert [row.email for row in ROWS] == [match.binding.email for match in store.find("shop", more).matches]


def test_one_round_trip_to_postgres():
    """In autocommit that is one statement."""
    with own_database() as url:
        migrated(url)
        parts = dict(part.split("=", 1) for part in url.split())
        at = (parts.get("host", "127.0.0.1"), int(parts.get("port", "5432")))
        given = {**parts, "host": "127.0.0.1"}
        with counted(at) as relay:
            given |= {"port": str(relay.at[1]), "sslmode": "disable"}
            with PostgresStore(" ".join(f"{name}={value}" for name, value in given.items())) as store:
                store.add("shop", ROWS)
                before = relay.turns
                asked_for(store)
                assert 1 == relay.turns - before


def test_one_round_trip_to_redis():
    """One script, in one command."""
    url = httpx.URL(url_or_skip())
    with shared_prefix() as prefix, counted((url.host, url.port or 6379)) as relay:
        near = url.copy_with(host=relay.at[0], port=relay.at[1])
        with RedisStore(str(near), prefix=prefix) as store:
            store.add("shop", ROWS)
            asked_for(store)
            before = relay.turns
            asked_for(store)
            assert 1 == relay.turns - before
