"""Makes `maps_0_1_1`: one shop's map as version 0.1.1 leaves it in each store, with calls that were cut off.

It is run with that version and not by the tests, which read what it has written. With 0.1.1 of the package, psycopg and
redis on the path, `pg_dump` installed, and an empty database and an empty Redis database at these URLs:

    python tests/stores/make_maps.py POSTGRES_URL REDIS_URL

The times in a map are those at which it was made: its leases have expired by the time that anybody reads the files.
"""

import json
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import httpx
import redis

import safeklaviyo
from safeklaviyo import Klaviyo, ProfileNotVisibleError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.postgres import PostgresStore
from safeklaviyo.stores.redis import RedisStore
from safeklaviyo.stores.sqlite import SqliteStore
from safeklaviyo.testing import KlaviyoSimulator

FOLDER = Path(__file__).with_name("maps_0_1_1")
ACCOUNT = "SiMuLa"
KEY = "pk_0123456789abcdef"


class Killed(BaseException):
    """What ends a call as the death of its process would: under a lease that stays."""


class Transport(httpx.BaseTransport):
    """The way to the simulator, on which a request to one path does not arrive."""

    def __init__(self, simulator, deadly=None):
        self._simulator = simulator
        self._deadly = deadly

    def handle_request(self, request):
        if (request.method, request.url.path) == self._deadly:
            raise Killed
        return self._simulator.transport.handle_request(request)


def client(simulator, store, deadly=None, account=ACCOUNT):
    """Return a client; one with a deadly path dies of its first request there."""
    return Klaviyo(KEY, account=account, store=store, http_client=httpx.Client(transport=Transport(simulator, deadly)))


def cut_off(simulator, store, method, path, call):
    """Make a call that dies of that request, whose intent stays in the map."""
    try:
        call(client(simulator, store, (method, path)))
    except Killed:
        return
    raise AssertionError(f"no {method} {path} was sent")


def who(name, number):
    """Return how a customer is named."""
    return {"external_id": f"{name}-{number}", "email": f"{name}@shop.test"}


def settle(simulator, k):
    """Bring about what no call is cut off in."""
    k.identify(**who("ann", 1))
    k.change_email("ann@new.test", external_id="ann-1")
    k.change_phone_number("+12025550199", external_id="ann-1")
    k.identify(**who("bob", 2))
    k.change_external_id("bob-20", email="bob@shop.test")
    k.identify(email="cat@shop.test")
    k.bindings.add([who("dan", 4)])
    k.identify(**who("ida", 5))
    k.erase(external_id="ida-5")
    source = simulator.add_profile(email="kim@old.test")
    k.profiles.merge(source.id, into=k.identify(**who("kim", 6)).profile_id)


def doubt(k, store):
    """Let a profile be missed once: the map has it, and Klaviyo answers 404."""
    store.add(ACCOUNT, [Binding(**who("jon", 7), profile_id="01J0000000000000000000GONE")])
    try:
        k.identify(**who("jon", 7))
    except ProfileNotVisibleError:
        return
    raise AssertionError("one 404 was believed")


def interrupt(simulator, k, store):
    """Cut off one call of each kind."""
    k.identify(**who("fay", 9))
    eve, gil = (k.identify(**who(*each)).profile_id for each in (("eve", 8), ("gil", 10)))
    source = simulator.add_profile(email="gil@old.test")
    profile = f"/api/profiles/{eve}"
    cut_off(simulator, store, "PATCH", profile, lambda k: k.change_email("eve@new.test", external_id="eve-8"))
    cut_off(simulator, store, "POST", "/api/data-privacy-deletion-jobs", lambda k: k.erase(external_id="fay-9"))
    cut_off(simulator, store, "POST", "/api/profile-merge", lambda k: k.profiles.merge(source.id, into=gil))
    cut_off(simulator, store, "POST", "/api/profiles", lambda k: k.identify(**who("hal", 11)))


def fill(store):
    """Leave in an empty map all that there can be, and return the profiles that Klaviyo has then."""
    simulator = KlaviyoSimulator(account=ACCOUNT, queue_lag=0.0)
    k = client(simulator, store)
    settle(simulator, k)
    doubt(k, store)
    client(simulator, store, account=None).identify(email="cat@shop.test")  # notes whose key it is
    interrupt(simulator, k, store)
    kept = ("id", "external_id", "email", "phone_number")
    return [{name: getattr(profile, name) for name in kept} for profile in simulator.profiles]


def fill_and_cache(store):
    """Do so as 0.1.1, note that somebody caches, and write down what Klaviyo has, which is the same each time."""
    from safeklaviyo.stores.layered import LayeredStore

    written("klaviyo.json", as_json(fill(store)))
    LayeredStore(store).find(ACCOUNT, (Identifier(Kind.EMAIL, "cat@shop.test"),))


def written(name, text):
    """Write a file of the folder."""
    (FOLDER / name).write_text(text, "utf-8")


def as_json(value):
    """Return a value as lines of ASCII, in which a byte that is no UTF-8 stands as its surrogate."""
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def make_sqlite():
    """Write the map as SQL, with the two numbers by which SQLite knows it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "identity.db"
        with SqliteStore(path) as store:
            fill_and_cache(store)
        with closing(sqlite3.connect(path)) as file:
            told = {name: file.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")}
            numbers = [f"PRAGMA {name} = {number};" for name, number in told.items()]
            written("sqlite.sql", "\n".join([*file.iterdump(), *numbers, ""]))


def make_postgres(url):
    """Write the map with its functions as SQL, without what only `psql` or one version of the server understands."""
    with PostgresStore(url) as store:
        store.migrate()
        fill_and_cache(store)
    command = ["pg_dump", "--inserts", "--no-owner", "--no-privileges", "--schema=safeklaviyo", url]
    dump = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    foreign = ("--", "\\", "SET ", "SELECT pg_catalog.set_config")
    kept = [line for line in dump.splitlines() if not line.startswith(foreign)]
    written("postgres.sql", "\n".join(["SET check_function_bodies = false;", *kept, ""]))


def make_redis(url):
    """Write the keys, without their prefix, and what each holds."""
    with RedisStore(url) as store:
        fill_and_cache(store)
    with redis.Redis.from_url(url, encoding_errors="surrogateescape", decode_responses=True) as server:
        keys = {}
        for key in server.scan_iter("safeklaviyo:*"):
            is_hash = server.type(key) == "hash"
            held = server.hgetall(key) if is_hash else dict(server.zrange(key, 0, -1, withscores=True))
            keys[key.removeprefix("safeklaviyo")] = held
        written("redis.json", as_json(keys))


if __name__ == "__main__":
    assert safeklaviyo.__version__ == "0.1.1", safeklaviyo.__version__
    FOLDER.mkdir(exist_ok=True)
    make_sqlite()
    make_postgres(sys.argv[1])
    make_redis(sys.argv[2])
