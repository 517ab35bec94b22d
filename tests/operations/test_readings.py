"""What Klaviyo has not confirmed: the life of a customer is right under each reading, and under those that interact."""

from __future__ import annotations

from itertools import product

import pytest

from safeklaviyo import Policy
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator, Readings
from support.scenes import ANN, NEW, bound, pairs, rejected

pytestmark = pytest.mark.proof

OLD = "ann@shop.test"
BY_ID = Policy(event_naming="profile_id")


def named(readings: Readings) -> str:
    """Return in what a reading differs from the usual one."""
    usual = Readings()
    names = [name for name in Readings.__dataclass_fields__ if getattr(readings, name) != getattr(usual, name)]
    return ", ".join(f"{name}={getattr(readings, name)}" for name in names) or "usual"


def open_shop(open_client, readings, **arguments):
    """Return a simulator and a client of its own."""
    simulator = KlaviyoSimulator(readings)
    return simulator, open_client(simulator, MemoryStore(clock=simulator.now), **arguments)


INTERACTING = [
    Readings(
        event_conflict=conflict,
        event_email_first=email_first,
        event_replaces_email=replaces,
        external_id_unique_on_create=unique,
        merged_id=merged,
    )
    for conflict, email_first, replaces, unique, merged in product(
        ("merge_alone", "merge", "keep"), (False, True), (False, True), (False, True, "dropped"), ("missing", "alias")
    )
]


def orders(simulator, profile_id):
    """Count the orders of a profile."""
    return sum(event.profile_id == profile_id and event.metric == "Ordered" for event in simulator.events)


@pytest.mark.parametrize("policy", [Policy(), BY_ID], ids=["pair", "profile_id"])
@pytest.mark.parametrize("readings", [*Readings.each(), *INTERACTING], ids=named)
def test_the_life_of_a_customer(open_client, readings, policy):
    """Sign up, browse by email, order by id, change the address, late calls: one profile, every event once."""
    simulator, k = open_shop(open_client, readings, policy=policy)
    signed_up = k.identify({"$first_name": "Ann", "size": {"shoe": 40}}, external_id="ann-1", email="Ann@Shop.test")
    k.track("Ordered", email="ANN@shop.test")
    k.track("Ordered", external_id="ann-1")
    simulator.drain()
    changed = k.change_email("Ann@New.test", external_id="ann-1")
    k.track("Ordered", email=OLD, unique_id="late", time=simulator.now())
    k.track("Ordered", **ANN, unique_id="late", time=simulator.now())
    k.identify({"tier": "gold"}, email=OLD)
    simulator.drain()
    assert ("changed", signed_up.profile_id) == (changed.status, changed.profile_id)
    assert ({("ann-1", NEW)}, 3) == (pairs(simulator), orders(simulator, signed_up.profile_id))
    assert ("gold", "Ann") == (
        simulator.profiles[0].properties["tier"],
        simulator.profiles[0].attributes["first_name"],
    )
    assert signed_up.profile_id == bound(k, external_id="ann-1").profile_id


@pytest.mark.parametrize("readings", INTERACTING, ids=named)
def test_two_customers_and_one_address(open_client, readings):
    """Bob takes the address that Ann has left, while her event is queued: each keeps their own profile and events."""
    simulator, k = open_shop(open_client, readings, policy=BY_ID)
    ann = k.track("Ordered", **ANN).profile_id
    k.change_email(NEW, external_id="ann-1")
    bob = k.identify({"tier": "bob"}, external_id="bob-2", email=OLD).profile_id
    k.track("Ordered", email=OLD)
    k.track("Ordered", external_id="ann-1")
    assert rejected(k.change_email, OLD, external_id="ann-1").profile_id == bob
    simulator.drain()
    assert {("ann-1", NEW), ("bob-2", OLD)} == pairs(simulator)
    assert (2, 1) == (orders(simulator, ann), orders(simulator, bob))
    for external_id, profile_id in (("ann-1", ann), ("bob-2", bob)):
        assert profile_id == k.identify(external_id=external_id).profile_id


@pytest.mark.parametrize("readings", INTERACTING, ids=named)
def test_a_late_event_is_repaired(open_client, readings):
    """An event that names the pair and lands after the change puts back what `identify` then repairs."""
    simulator, k = open_shop(open_client, readings)
    ann = k.track("Ordered", **ANN).profile_id
    k.change_email(NEW, external_id="ann-1")
    simulator.drain()
    k.identify(external_id="ann-1")
    assert ({("ann-1", NEW)}, 1) == (pairs(simulator), orders(simulator, ann))


@pytest.mark.parametrize("readings", [*Readings.each()], ids=named)
def test_the_six_situations_under_each_reading(open_client, readings):
    """Id-only and email-only profiles that others have left behind are completed, never doubled."""
    for there in ({"external_id": "ann-1"}, {"email": OLD}, ANN):
        simulator, k = open_shop(open_client, readings)
        profile = simulator.add_profile(**there)
        k.track("Ordered", **ANN)
        simulator.drain()
        assert ({("ann-1", OLD)}, 1) == (pairs(simulator), orders(simulator, profile.id))
