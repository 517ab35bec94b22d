"""Maps that version 0.1.1 has left in PostgreSQL and in Redis."""

import json

import pytest
import redis
from old_maps import OldMap, text
from psycopg.conninfo import conninfo_to_dict

from safeklaviyo.stores.postgres import PostgresStore
from safeklaviyo.stores.redis import RedisStore
from support.postgres_servers import TABLES, connect, migrated, own_database
from support.redis_servers import own_prefix, url_or_skip

COLUMNS = "FROM information_schema.columns WHERE table_schema = 'safeklaviyo'"


@pytest.fixture(scope="module")
def databases():
    """Two databases, for the old map and for a new one."""
    with own_database() as old, own_database() as new:
        yield old, new


class TestPostgres(OldMap):
    migrated = "the tables are there, and of this version"

    @pytest.fixture
    def url(self, databases):
        """Where the old map is."""
        with connect(databases[0]) as admin:
            admin.execute("DROP SCHEMA IF EXISTS safeklaviyo CASCADE")
            admin.execute(text("postgres.sql"))
        parts = conninfo_to_dict(databases[0])
        login = f"{parts.get('user', '')}:{parts.get('password', '')}"
        return f"postgresql://{login}@{parts['host']}:{parts['port']}/{parts['dbname']}"

    @pytest.fixture
    def old(self, url):
        """The old map."""
        with PostgresStore(url) as store:
            store.url = url
            yield store

    @pytest.fixture
    def empty(self, databases):
        """A map that this version makes."""
        with PostgresStore(migrated(databases[1])) as store:
            store.url = databases[1]
            yield store

    def snapshot(self, store):
        """Return the rows, the columns and the functions."""
        with connect(store.url) as admin:
            asked = (
                *(f"SELECT * FROM safeklaviyo.{table}" for table in (*TABLES, "version")),
                f"SELECT table_name, column_name, data_type, column_default {COLUMNS}",
                "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'safeklaviyo'::regnamespace",
                "SELECT indexdef FROM pg_indexes WHERE schemaname = 'safeklaviyo'",
            )
            return [" | ".join(map(str, row)) for each in asked for row in admin.execute(each)]


class TestRedis(OldMap):
    migrated = "there is nothing to do: only PostgreSQL has to be told to make the tables"

    @pytest.fixture
    def server(self):
        """The server that is there."""
        with redis.Redis.from_url(url_or_skip(), encoding_errors="surrogateescape", decode_responses=True) as server:
            yield server

    @pytest.fixture
    def url(self, server):
        """Where the server is: what has to be done does not depend on the prefix."""
        return url_or_skip()

    @pytest.fixture
    def old(self, server):
        """The old map."""
        with own_prefix(server) as prefix, RedisStore(url_or_skip(), prefix=prefix) as store:
            for key, held in json.loads(text("redis.json")).items():
                if "@schema" in held:
                    server.hset(prefix + key, mapping=held)
                else:
                    server.zadd(prefix + key, held)
            store.keys = server, prefix
            yield store

    @pytest.fixture
    def empty(self, server):
        """A map that this version makes."""
        with own_prefix(server) as prefix, RedisStore(url_or_skip(), prefix=prefix) as store:
            store.keys = server, prefix
            yield store

    def snapshot(self, store):
        """Return each field of each hash, and each member of each sorted set."""
        server, prefix = store.keys
        lines = []
        for key in server.scan_iter(f"{prefix}*"):
            is_hash = server.type(key) == "hash"
            held = server.hgetall(key) if is_hash else dict(server.zrange(key, 0, -1, withscores=True))
            lines += [f"{key.removeprefix(prefix)} {name}\udcff{value}" for name, value in held.items()]
        return lines
