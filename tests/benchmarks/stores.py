"""What a warm look-up costs in the shared stores, against the same question put to the driver by hand.

The hand-written call is one round trip on a pooled connection, which leaves the answer as the driver gives it. Servers
are those that the tests use: SAFEKLAVIYO_TEST_POSTGRES and SAFEKLAVIYO_TEST_REDIS, or the usual ports of this machine.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import psycopg
import redis
import redis.asyncio
from psycopg import sql
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from safeklaviyo import Klaviyo
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.calls import Find
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.stores.postgres import SIZE, AsyncPostgresStore, PostgresStore
from safeklaviyo.stores.redis import AsyncRedisStore, RedisStore
from tests.benchmarks.counting import counted
from tests.benchmarks.customers import EVENT
from tests.benchmarks.measuring import ACCOUNT, BODY, HEADERS, KEY, ROW, awaited_cpu, cpu, show
from tests.support.postgres import Queries
from tests.support.redis import Maps, packing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from safeklaviyo import Binding
    from safeklaviyo.stores.base import AsyncIdentityStore, IdentityStore

POSTGRES = os.environ.get("SAFEKLAVIYO_TEST_POSTGRES", "postgresql://127.0.0.1:5432/test")
REDIS = os.environ.get("SAFEKLAVIYO_TEST_REDIS", "redis://127.0.0.1:6379/15")
PAIR = (Identifier(Kind.EXTERNAL_ID, str(ROW.external_id)), Identifier(Kind.EMAIL, str(ROW.email)))
BASE = "the same by the driver"


class Place(NamedTuple):
    """One map of the benchmark's own on a server.

    Attributes:
        name: What the tables say.
        at: Where the server listens.
        store: Makes a store; given another address, one that goes there.
        by_hand: Gives the calls of the driver to compare with.
    """

    name: str
    at: tuple[str, int]
    store: Callable[[tuple[str, int]], IdentityStore]
    async_store: Callable[[], AsyncIdentityStore]
    by_hand: Callable[[], Any]
    async_by_hand: Callable[[], Any]


def _verified() -> Binding:
    return replace(ROW, verified_at=time.time())  # else a call would read the profile first


@contextmanager
def in_postgres() -> Iterator[Place | None]:
    """Give a map in PostgreSQL; None if no server answers."""
    try:
        admin = psycopg.connect(POSTGRES, autocommit=True, connect_timeout=2)
    except psycopg.OperationalError:
        yield None
        return
    schema = f"safeklaviyo_benchmark_{uuid.uuid4().hex[:8]}"

    def store(at: tuple[str, int]) -> PostgresStore:
        return PostgresStore(psycopg.conninfo.make_conninfo(POSTGRES, host=at[0], port=at[1]), schema=schema)

    with admin:
        at = (admin.info.host, admin.info.port)
        with store(at) as first:
            first.migrate()
            first.add(ACCOUNT, [_verified()])
        try:
            yield Place(
                "PostgreSQL",
                at,
                store,
                lambda: AsyncPostgresStore(POSTGRES, schema=schema),
                lambda: _postgres_by_hand(schema),
                lambda: _async_postgres_by_hand(schema),
            )
        finally:
            admin.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


def _statements(schema: str) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Return the store's own statement, and one that reads a single row by an indexed column."""
    find = Queries(schema).query(Find(ACCOUNT, PAIR))
    row = sql.SQL("SELECT email FROM {} WHERE account = %s AND external_id = %s")
    one = row.format(sql.Identifier(schema, "binding")).as_string(None)
    return (find.statement, find.parameters), (one.encode(), (ACCOUNT, ROW.external_id))


@contextmanager
def _postgres_by_hand(schema: str) -> Iterator[dict[str, Callable[[], object]]]:
    find, one = _statements(schema)
    with ConnectionPool(POSTGRES, min_size=1, max_size=SIZE, kwargs={"autocommit": True}) as pool:

        def ask(statement: Any, parameters: Any) -> object:
            with pool.connection() as connection:
                return connection.execute(statement, parameters).fetchall()

        with psycopg.connect(POSTGRES, autocommit=True) as alone:
            yield {
                BASE: lambda: ask(*find),
                "the same on a connection without a pool": lambda: alone.execute(*find).fetchall(),
                "a SELECT of one row by the driver": lambda: ask(*one),
            }


@asynccontextmanager
async def _async_postgres_by_hand(schema: str) -> AsyncIterator[dict[str, Callable[[], Awaitable[object]]]]:
    find, one = _statements(schema)
    async with AsyncConnectionPool(POSTGRES, min_size=1, max_size=SIZE, kwargs={"autocommit": True}) as pool:

        async def ask(statement: Any, parameters: Any) -> object:
            async with pool.connection() as connection:
                return await (await connection.execute(statement, parameters)).fetchall()

        yield {BASE: lambda: ask(*find), "a SELECT of one row by the driver": lambda: ask(*one)}


@contextmanager
def in_redis() -> Iterator[Place | None]:
    """Give a map in Redis; None if no server answers."""
    with redis.Redis.from_url(REDIS, socket_connect_timeout=2) as admin:
        try:
            admin.ping()
        except redis.ConnectionError:
            yield None
            return
        prefix = f"benchmark-{uuid.uuid4().hex[:8]}"
        url = httpx.URL(REDIS)
        at = (url.host, url.port or 6379)

        def store(at: tuple[str, int]) -> RedisStore:
            return RedisStore(str(url.copy_with(host=at[0], port=at[1])), prefix=prefix)

        with store(at) as first:
            first.add(ACCOUNT, [_verified()])
            first.find(ACCOUNT, PAIR)
        try:
            yield Place(
                "Redis",
                at,
                store,
                lambda: AsyncRedisStore(REDIS, prefix=prefix),
                lambda: _redis_by_hand(prefix),
                lambda: _async_redis_by_hand(prefix),
            )
        finally:
            for key in admin.scan_iter(f"{prefix}*", count=1000):
                admin.delete(key)


def _evalsha(prefix: str) -> tuple[Any, ...]:
    return Maps(prefix).command(ACCOUNT, packing.packed(Find(ACCOUNT, PAIR)))[1:]


@contextmanager
def _redis_by_hand(prefix: str) -> Iterator[dict[str, Callable[[], object]]]:
    command = _evalsha(prefix)
    with redis.Redis.from_url(REDIS) as client:
        yield {
            BASE: lambda: client.evalsha(*command),
            "a GET by the driver": lambda: client.get(f"{prefix}-nothing"),
        }


@asynccontextmanager
async def _async_redis_by_hand(prefix: str) -> AsyncIterator[dict[str, Callable[[], Awaitable[object]]]]:
    command = _evalsha(prefix)
    async with redis.asyncio.Redis.from_url(REDIS) as client:
        yield {
            BASE: lambda: client.evalsha(*command),
            "a GET by the driver": lambda: client.get(f"{prefix}-nothing"),
        }


def blocking(place: Place, rounds: int) -> None:
    """Compare a look-up with the driver, one after the other."""
    with place.by_hand() as by_hand, place.store(place.at) as store:
        asked = {**by_hand, "find": lambda: store.find(ACCOUNT, PAIR)}
        show(f"{place.name}, CPU of a look-up", cpu(asked, number=200, rounds=rounds), BASE)


async def awaited(place: Place, rounds: int) -> None:
    """Compare awaited look-ups with the driver: one at a time, and many."""
    async with place.async_by_hand() as by_hand, place.async_store() as store:
        asked = {**by_hand, "find": lambda: store.find(ACCOUNT, PAIR)}
        for in_flight in (1, 64):
            measured = await awaited_cpu(asked, in_flight=in_flight, number=320, rounds=rounds)
            show(f"{place.name}, CPU of an awaited look-up, {in_flight} in flight", measured, BASE)


def round_trips(place: Place) -> None:
    """Count how often a look-up waits for the server."""
    number = 100
    with counted(place.at) as counting, place.store(counting.at) as store:
        store.find(ACCOUNT, PAIR)
        before = counting.turns
        for _ in range(number):
            store.find(ACCOUNT, PAIR)
        print(f"\n{place.name}, round trips of a look-up: {(counting.turns - before) / number:.2f}")


def tracked(url: str, places: list[Place], rounds: int) -> None:
    """Compare a whole warm `track` with a plain POST of the same body, and with the look-up that is in it."""
    stores: dict[str, IdentityStore] = {"memory": MemoryStore()}
    for place in places:
        stores[place.name] = place.store(place.at)
    with httpx.Client(base_url=url, headers=HEADERS) as raw:
        asked: dict[str, Callable[[], object]] = {
            "httpx.Client.post(json=)": lambda: raw.post("/api/events", json=BODY)
        }
        for name, store in stores.items():
            store.add(ACCOUNT, [_verified()])
            asked[f"Klaviyo.track, {name}"] = _track(Klaviyo(KEY, account=ACCOUNT, base_url=url, store=store))
        show("A warm track, CPU per call", cpu(asked, number=100, rounds=rounds), "httpx.Client.post(json=)")
    for store in stores.values():
        store.close()


def _track(client: Klaviyo) -> Callable[[], object]:
    return lambda: client.track("Placed Order", external_id=ROW.external_id, email=ROW.email, properties=EVENT)


def compare(url: str, rounds: int) -> None:
    """Measure each store whose server answers, and say which does not."""
    with in_postgres() as postgres, in_redis() as in_memory:
        for name, variable, place in (
            ("PostgreSQL", "SAFEKLAVIYO_TEST_POSTGRES", postgres),
            ("Redis", "SAFEKLAVIYO_TEST_REDIS", in_memory),
        ):
            if place is None:
                print(f"\nNOT RUN: {name}; no server answers, start one and name it in {variable}")
                continue
            blocking(place, rounds)
            asyncio.run(awaited(place, rounds))
            round_trips(place)
        tracked(url, [place for place in (postgres, in_memory) if place is not None], rounds)
