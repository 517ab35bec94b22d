"""Consent on a shared map: what a process that died had begun, another one completes by what the server's map holds."""

from contextlib import contextmanager
from itertools import count
from time import sleep

import pytest

from safeklaviyo import Policy
from safeklaviyo.stores.postgres import PostgresStore
from safeklaviyo.stores.redis import RedisStore
from safeklaviyo.testing import KlaviyoSimulator
from support.consent import SUBSCRIBED, can_receive, subscribed
from support.deaths import die_after
from support.postgres_servers import migrated, own_database
from support.redis_servers import shared_prefix, url_or_skip
from support.scenes import Killed

LEASE = 0.3
NEXT_LOOK = 1.1


@contextmanager
def in_postgres():
    """Open a map on the PostgreSQL server that is there."""
    with own_database() as url, PostgresStore(migrated(url)) as store:
        yield store


@contextmanager
def in_redis():
    """Open a map on the Redis server that is there."""
    with shared_prefix() as prefix, RedisStore(url_or_skip(), prefix=prefix) as store:
        yield store


@pytest.fixture(params=[in_postgres, in_redis])
def store(request):
    """A map on a server, whose clock is real."""
    with request.param() as store:
        yield store


def addresses(number):
    """Return the addresses of a customer, the present one last."""
    return [f"c{number}-{turn}@shop.test" for turn in range(3)]


def recovered(simulator, k, store, account):
    """Let Klaviyo do what it accepted, and `recover` look at it, until no lease is left."""
    for _ in range(4):
        simulator.drain()
        assert {"completed", "postponed"} >= {each.status for each in k.recover()}
        if not store.leases(account, 1):
            return
        sleep(NEXT_LOOK)
    raise AssertionError("a lease was never given back")


@pytest.mark.parametrize("verb", ["unsubscribe", pytest.param("subscribe", marks=pytest.mark.slow)])
def test_p4_a_process_dies_after_each_step(store, account, open_client, verb):
    """P4, R18, R19: each dies over a customer of its own, who has two ghosts; nobody is made, and all is completed."""
    simulator = KlaviyoSimulator(account=account)
    settings = {"account": account, "timeout": 0.1, "policy": Policy(lease=LEASE, lag=0.1, consent_wait=0.1)}
    k = open_client(simulator, store, **settings)
    begun = {}
    for number in count(1):
        first, second, last = addresses(number)
        k.identify(external_id=f"c{number}", email=first)
        for email in (second, last):
            k.change_email(email, external_id=f"c{number}")
        for email in (first, second):
            simulator.add_profile(email=email, consent=SUBSCRIBED if verb == "unsubscribe" else "NEVER_SUBSCRIBED")
        doomed = open_client(simulator, store, **settings)
        die_after(doomed, number)
        try:
            getattr(doomed, verb)("email", external_id=f"c{number}")
        except Killed:
            begun[number] = None
        else:
            break
    profiles = len(simulator.profiles)
    sleep(LEASE + 0.2)
    recovered(simulator, k, store, account)
    for number in begun:
        getattr(k, verb)("email", external_id=f"c{number}")
    recovered(simulator, k, store, account)
    assert (profiles, True) == (len(simulator.profiles), len(begun) > 8)
    assert () == store.expired(account, 1)
    everyone = [email for number in begun for email in addresses(number)]
    if verb == "unsubscribe":
        assert [] == can_receive(simulator, everyone)
    else:
        assert sorted(addresses(each)[-1] for each in [*begun, len(begun) + 1]) == subscribed(simulator)
