"""A storm: processes that do what a shop does about few customers, and what befalls them meanwhile.

Each place of work has a list of calls, as a task queue would hand them out: a call that ends in an error that may be
repeated is repeated, and so is one in the middle of which its process died. What became of each attempt is a line in
the place's file, so that it outlives whoever wrote it.
"""

import asyncio
import json
import os
import signal
import time
from inspect import isawaitable
from random import Random
from typing import NamedTuple

import httpx

from safeklaviyo import AsyncKlaviyo, Klaviyo, Policy, RetryPolicy, SafeKlaviyoError
from safeklaviyo.stores.base import AsyncIdentityStore
from safeklaviyo.stores.postgres import AsyncPostgresStore, PostgresStore
from safeklaviyo.stores.redis import AsyncRedisStore, RedisStore
from support.clients import BOTH

IMPORTS = [
    "pytest",
    "httpx",
    "email_validator",
    *BOTH,
    "safeklaviyo.stores.postgres",
    "safeklaviyo.stores.redis",
]
"""What takes a process long to import."""
TIMEOUT = 0.8
LEASE = 0.2
PATIENCE = 60.0
STORES = {
    "postgres": (PostgresStore, AsyncPostgresStore),
    "redis": (RedisStore, AsyncRedisStore),
}
EVENT_TIME = 1_799_999_000

PLACES = 4
GAP = 7
"""How many requests there are at least from one thing that befalls them to the next."""


class Storm(NamedTuple):
    """How much there is of it.

    Attributes:
        customers: Whom it is about.
        calls: How many are made at each place.
        shares: The shares of what is called: `identify`, `track`, and the changes of email, id and phone number.
        times: How often each kind of thing befalls them.
    """

    customers: int
    calls: int
    shares: tuple[int, ...]
    times: int


STORM = Storm(3, 20, (3, 4, 4, 1, 1), 3)

SHARED = "both@shop.test"
"""An address that the first two customers both want."""


def ids(number):
    """Return the external ids by which a customer may be known."""
    return [f"c-{number}", f"d-{number}"]


def addresses(number):
    """Return the addresses that are a customer's; the first is the one that they begin with."""
    own = [f"c-{number}@{domain}.test" for domain in ("old", "new", "late")]
    return own if number > 1 else [*own, SHARED]


def phone_numbers(number):
    """Return the phone numbers that are a customer's."""
    return [f"+120255501{number}{digit}" for digit in "12"]


def owner_of(unique_id):
    """Return the number of the customer whom an event is about."""
    return int(unique_id.partition(":")[0])


def calls_of(storm, seed, place):
    """Return all that is to be done at a place: verbs and their arguments."""
    rng = Random(f"{seed}:{place}")
    verbs = rng.choices([_identify, _track, _change_email, _change_id, _change_phone], storm.shares, k=storm.calls)
    return [verb(rng, rng.randrange(storm.customers), f"{place}:{turn}") for turn, verb in enumerate(verbs)]


def _who(rng, number):
    external_id, email = ids(number)[0], addresses(number)[0]
    known = {"external_id": external_id, "email": email}
    return rng.choice([known, known, {"external_id": external_id}, {"email": email}])


def _identify(rng, number, turn):
    return "identify", {"properties": {"turn": turn}, **_who(rng, number)}


def _track(rng, number, turn):
    event = {"event": "Ordered", "unique_id": f"{number}:{turn}", "time": EVENT_TIME}
    return "track", event | _who(rng, number)


def _change_email(rng, number, _):
    old = {"external_id": ids(number)[0], "old_email": addresses(number)[0]}
    return "change_email", {"new_email": rng.choice(addresses(number)), **old}


def _change_id(rng, number, _):
    old = {"old_external_id": ids(number)[0], "email": addresses(number)[0]}
    return "change_external_id", {"new_external_id": rng.choice(ids(number)), **old}


def _change_phone(rng, number, _):
    return "change_phone_number", {"new_phone_number": rng.choice(phone_numbers(number)), **_who(rng, number)}


# Who works.


def store_at(kind, url, *, is_async=False):
    """Open the map as each process has its own."""
    return STORES[kind][is_async](url, timeout=TIMEOUT)


def settings(url):
    """Return what all clients are set to. The key says to the pretend Klaviyo who asks."""
    return {
        "api_key": f"pk_{os.getpid()}",
        "base_url": url,
        "timeout": TIMEOUT,
        "policy": Policy(lease=LEASE, wait=PATIENCE, visible_wait=0.1),
        "retry": RetryPolicy(max_attempts=2, max_delay=0.1),
    }


class Worker:
    """One process's client, blocking or not as its map is, which counts the writes that it sends."""

    def __init__(self, store, account, url):
        self.writes = 0
        self._runner = asyncio.Runner() if isinstance(store, AsyncIdentityStore) else None
        kinds, count_one = (Klaviyo, httpx.Client), self._count
        if self._runner is not None:
            kinds, count_one = (AsyncKlaviyo, httpx.AsyncClient), self._count_later
        self._http = kinds[1](event_hooks={"request": [count_one]})
        self._client = kinds[0](account=account, store=store, http_client=self._http, **settings(url))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in (self._client, self._http):
            if self._runner is None:
                each.close()
            else:
                self._runner.run(each.aclose())
        if self._runner is not None:
            self._runner.close()

    def call(self, verb, arguments=None):
        """Make a call, and return its result."""
        result = getattr(self._client, verb)(**(arguments or {}))
        return self._runner.run(result) if isawaitable(result) else result

    def _count(self, request):
        self.writes += request.method != "GET"

    async def _count_later(self, request):
        self._count(request)


def work(where, account, url, storm, *, seed, place, path):
    """Do what is still to be done at a place."""
    done = len([line for line in lines(path) if line["is_over"]])
    store = store_at(*where, is_async=place % 2 == 1)
    with path.open("a", buffering=1) as file, Worker(store, account, url) as worker:
        for verb, arguments in calls_of(storm, seed, place)[done:]:
            is_over = False
            while not is_over:
                line = attempt(worker, verb, arguments)
                is_over = line["is_over"]
                file.write(json.dumps(line) + "\n")


def attempt(worker, verb, arguments):
    """Make a call once, and return what is to be told of it."""
    before = worker.writes
    told = {"verb": verb, "unique_id": arguments.get("unique_id"), "error": None, "outcome": "applied", "is_over": True}
    try:
        result = worker.call(verb, arguments)
    except SafeKlaviyoError as error:
        time.sleep(0.05 if error.may_retry else 0.0)
        told |= {"error": type(error).__name__, "outcome": error.outcome, "is_over": not error.may_retry}
    else:
        told["profile_id"] = result.profile_id
    return told | {"writes": worker.writes - before}


def lines(path):
    """Return what has been told of the calls at a place."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


# What befalls them.


class Weather:
    """What becomes of the requests to Klaviyo, and of those who send them, one after so many.

    Args:
        storm: Says how often.
        seed: Decides the order of what happens.
        kill_server: Ends the map's server at once.
    """

    LOST, DONE, KILLED_LOST, KILLED_DONE, OTHER_KILLED, SERVER_KILLED = range(6)
    AFTER = frozenset({DONE, KILLED_DONE, SERVER_KILLED})
    """What happens once a write has been done."""

    def __init__(self, storm, seed, kill_server):
        self._rng = Random(seed)
        self.coming = list(range(6)) * storm.times
        self._rng.shuffle(self.coming)
        self.alive = []
        self.is_server_away = False
        self._kill_server = kill_server
        self._met = 0

    def over(self, simulator):
        """Let it begin."""
        simulator.fail_next(match=self._before, times=1_000_000)
        simulator.fail_next(match=self._after, when="after", times=1_000_000)

    def _before(self, asked):
        """Tell whether a request is lost before it is done."""
        self._met += 1
        what = self._drawn(is_done=False)
        if what == self.OTHER_KILLED:
            self._kill(self._rng.choice(self.alive))
        elif what == self.KILLED_LOST:
            self._kill(_pid_of(asked))
        return what in {self.LOST, self.KILLED_LOST}

    def _after(self, asked):
        """Tell whether the answer of a request, which will be done, is lost."""
        what = None if asked.method == "GET" else self._drawn(is_done=True)
        if what == self.SERVER_KILLED:
            self._kill_server()
            self.is_server_away = True
        elif what == self.KILLED_DONE:
            self._kill(_pid_of(asked))
        return what == self.DONE

    def _drawn(self, *, is_done):
        """Return what is next, if it is time for it; None otherwise."""
        if self._met < GAP or not self.coming or (self.coming[-1] in self.AFTER) != is_done:
            return None
        self._met = 0
        return self.coming.pop()

    def _kill(self, pid):
        if pid in self.alive:
            self.alive.remove(pid)
            os.kill(pid, signal.SIGKILL)


def _pid_of(asked):
    return int(asked.headers["authorization"].rpartition("_")[2])
