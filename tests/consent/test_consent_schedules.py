"""R18, R19 over all schedules: a consent or a withdrawal crossed with every other verb that writes.

The bound is that of the other schedules: two operations at once, each in a process of its own; in one run at most one
process dies, or one request or answer is lost, or one write lands late, or every lease expires once under its holder,
or Klaviyo carries out what it has accepted at any moment. What is unfinished is then finished as in production.
"""

from __future__ import annotations

import copy
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo.errors import (
    ConsentWithdrawnError,
    IdentityError,
    LeaseHeldError,
    NoResponseError,
    NotFoundError,
)
from safeklaviyo.policy import Policy, RetryPolicy
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator
from support.consent import SUBSCRIBED, can_receive
from support.flows import Line, Setup, Shared, operations
from support.simulator import Limits, VirtualClock, World, explore
from support.wire import CurrentDialect

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.flows import Flow

pytestmark = pytest.mark.proof

ACCOUNT = "SiMuLa"
ANN, BEN = "ann-1", "ben-2"
ONE, TWO, THREE = "one@shop.dev", "two@shop.dev", "three@shop.dev"
HERS = (ONE, TWO, THREE)
EXPECTED = (IdentityError, LeaseHeldError, NoResponseError, NotFoundError, ConsentWithdrawnError)


def setup() -> Setup:
    """Return the state of one process."""
    policy = Policy(lease=1, wait=3, visible_wait=0, merge_wait=0, event_naming="profile_id", consent_wait=30, lag=1)
    line = Line(RetryPolicy(max_attempts=2), random=lambda: 0.5, attempt=1.0, published=False)
    return Setup(CurrentDialect("2026-10-15"), policy, line, Shared(ACCOUNT), "key", 1.0, drops_test_addresses=False)


def subscribe(of: Setup, *, again: bool = False) -> Flow[Any]:
    """Let Ann consent."""
    rest = dict.fromkeys(("phone_number", "list_id", "consented_at", "source", "date_of_birth", "email"))
    return operations.subscribe(of, "email", external_id=ANN, historical=False, resubscribe=again, **rest)


def unsubscribe(of: Setup) -> Flow[Any]:
    """Let Ann withdraw."""
    return operations.unsubscribe(of, "email", external_id=ANN, email=None, phone_number=None, list_id=None)


def identify(external_id: str | None, email: str | None) -> Callable[[Setup], Flow[Any]]:
    """Return an `identify`."""
    rest = dict.fromkeys(("phone_number", "append", "unappend", "unset"))
    return lambda of: operations.identify(of, {"plan": "gold"}, external_id=external_id, email=email, **rest)


def track(of: Setup) -> Flow[Any]:
    """Let Ann do something."""
    rest = dict.fromkeys(("email", "phone_number", "customer_properties", "value", "value_currency", "unique_id"))
    return operations.track(of, "Ordered", external_id=ANN, properties={}, time=1_799_999_000, backfill=False, **rest)


def change_email(new: str, external_id: str = ANN) -> Callable[[Setup], Flow[Any]]:
    """Return a `change_email`."""
    return lambda of: operations.change_email(of, new, external_id=external_id, old_email=None, on_taken="refuse")


OPERATIONS: dict[str, Callable[[Setup], Flow[Any]]] = {
    "subscribe": subscribe,
    "resubscribe": partial(subscribe, again=True),
    "unsubscribe": unsubscribe,
    "suppress": lambda of: operations.suppress(of, external_id=ANN, email=None),
    "identify": identify(ANN, None),
    "track": track,
    "first contact on a former address": identify(BEN, ONE),
    "change_email": change_email(THREE),
    "change_external_id": lambda of: operations.change_external_id(of, "ann-9", old_external_id=ANN, email=None),
    "change_phone_number": lambda of: operations.change_phone_number(of, "+12345678901", external_id=ANN, email=None),
    "erase": lambda of: operations.erase(of, external_id=ANN, email=None, profile_id=None),
}
PAIRS = [(one, other) for one in ("subscribe", "unsubscribe") for other in OPERATIONS]
QUICK = [("unsubscribe", "change_email"), ("unsubscribe", "resubscribe"), ("subscribe", "change_email")]


@cache
def known_before(consent: str) -> tuple[KlaviyoSimulator, MemoryStore, VirtualClock]:
    """Return a Klaviyo and a map in which Ann has moved from one to two, and a ghost on one has that consent."""
    clock = VirtualClock()
    world = World(KlaviyoSimulator(account=ACCOUNT, start=clock.now), MemoryStore(clock=clock), clock)
    for begin in (identify(ANN, ONE), change_email(TWO)):
        world.run(begin(setup()))
    world.simulator.add_profile(email=ONE, consent=consent)
    if consent == SUBSCRIBED:
        world.run(subscribe(setup()))
        finish(world)
    clock.now += 10
    return world.simulator, world.store, clock


def world_of(*names: str) -> Callable[[], World]:
    """Return what builds a world in which the operations named are about to begin."""
    before = copy.deepcopy(known_before(SUBSCRIBED if "unsubscribe" in names else "NEVER_SUBSCRIBED"))

    def build() -> World:
        simulator, store, clock = copy.deepcopy(before)
        world = World(simulator, store, clock)
        for number, name in enumerate(names):
            world.add(f"{number}: {name}", partial(begun, name))
        return world

    return build


def begun(name: str) -> Flow[Any]:
    """Return an operation, about to begin in a process that has done nothing before."""
    return OPERATIONS[name](setup())


def finish(world: World) -> None:
    """Finish what is unfinished: Klaviyo's queue, `recover`, and `recheck_changes` a while later."""
    for _ in range(5):
        world.simulator.drain()
        world.clock.now += 100
        world.run(operations.recover(setup(), None))
    assert () == world.store.expired(ACCOUNT, 1)


def check(world: World) -> None:
    """Whoever has withdrawn receives nothing, nobody is made or loses an address, and no lease is left."""
    is_late = bool(world.late)
    while world.late:
        world.land(0)
    finish(world)
    for _ in range(2):
        world.run(operations.recheck_changes(setup(), None, repair=True))
        finish(world)
    ended = {actor.name.partition(": ")[2]: actor for actor in world.actors}
    for actor in world.actors:
        assert actor.error is None or isinstance(actor.error, EXPECTED), repr(actor.error)
    check_withdrawn(world, ended)
    emails = [profile.email for profile in world.simulator.profiles if profile.email in HERS]
    assert len(set(emails)) == len(emails)
    # A request that is lost, or lands late, may create the address anew once it has been given up: it is reported.
    made = 2 if "erase" not in ended else 0
    owners = [profile.external_id for profile in world.simulator.profiles if profile.external_id is not None]
    assert len(set(owners)) == len(owners)
    is_free = is_late or any(kind in {"lose", "refuse", "expire"} for kind, _ in world.moves)
    assert len(emails) <= 2 or is_free, emails
    if made and not is_free and "first contact on a former address" not in ended:
        assert 2 == len(emails)


def check_withdrawn(world: World, ended: dict[str, Any]) -> None:
    """Nothing reaches Ann if she has withdrawn, and nobody has given a newer consent."""
    has_withdrawn = any(
        actor.ended == "returned" for name, actor in ended.items() if name in {"unsubscribe", "suppress"}
    )
    if has_withdrawn and "resubscribe" not in ended and "subscribe" not in ended:
        others = {profile.email for profile in world.simulator.profiles if profile.external_id == BEN}
        assert [] == can_receive(world.simulator, [each for each in HERS if each not in others])
    # A consent that was refused for the withdrawal has not lifted it.
    refused = [actor for actor in ended.values() if isinstance(actor.error, ConsentWithdrawnError)]
    if refused and has_withdrawn:
        own = [str(each.email) for each in world.simulator.profiles if each.external_id == ANN]
        assert [] == can_receive(world.simulator, own)


@pytest.mark.parametrize("pair", QUICK, ids=" and ".join)
def test_every_interleaving(pair: tuple[str, str]) -> None:
    """R18, R19: in whatever order the steps of two operations happen."""
    assert explore(world_of(*pair), check, Limits()).endings > 0


@pytest.mark.parametrize("name", ["subscribe", "unsubscribe"])
def test_one_alone(name: str) -> None:
    """R18, R19, P4: alone, whichever step its process dies after, and whichever answer is lost."""
    assert explore(world_of(name), check, Limits(crashes=1, losses=1)).endings > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("limits", [Limits(crashes=1), Limits(losses=1), Limits(applies=True)], ids=str)
@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_every_pair(pair: tuple[str, str], limits: Limits) -> None:
    """R18, R19, P4: each verb that writes, with deaths, lost answers, and jobs carried out at any moment."""
    assert explore(world_of(*pair), check, limits).endings > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("limits", [Limits(delays=1), Limits(expiries=1)], ids=str)
@pytest.mark.parametrize("pair", QUICK, ids=" and ".join)
def test_late_writes_and_expired_leases(pair: tuple[str, str], limits: Limits) -> None:
    """R18, R19, H8, H31: a request that lands late, and leases that expire under their holders."""
    assert explore(world_of(*pair), check, limits).endings > 0
