"""P4 over the merge of two halves: every death, every lost answer, and every late write."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo.errors import IdentityError, LeaseHeldError, NoResponseError, NotFoundError
from safeklaviyo.policy import Policy, RetryPolicy
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator
from support.flows import Line, Setup, Shared, operations
from support.scenes import ACCOUNT
from support.simulator import Limits, VirtualClock, World, explore
from support.wire import CurrentDialect

if TYPE_CHECKING:
    from support.flows import Flow

pytestmark = pytest.mark.proof

ID, EMAIL = "ann-1", "one@shop.dev"
FIRST, SECOND = "01HALF0WITH0ID", "01HALF0WITH0EMAIL"
EXPECTED = (IdentityError, LeaseHeldError, NoResponseError, NotFoundError)


def setup() -> Setup:
    """Return the state of one process."""
    policy = Policy(lease=1, wait=60, visible_wait=0, merge_wait=0)
    line = Line(RetryPolicy(max_attempts=1), random=lambda: 0.5, attempt=1.0, published=False)
    return Setup(CurrentDialect("2026-10-15"), policy, line, Shared(ACCOUNT), "key", 1.0, drops_test_addresses=False)


def merge() -> Flow[Any]:
    """Begin the merge."""
    return operations.merge_profiles(setup(), FIRST, SECOND, allow_suppressed=False)


def identify() -> Flow[Any]:
    """Begin an `identify` by the id alone."""
    given = {"external_id": ID, "email": None, "phone_number": None}
    return operations.identify(setup(), {"plan": "gold"}, **given, append=None, unappend=None, unset=None)


def world() -> World:
    """Return a world with the two halves, of which the map says that they are one; the merge is about to begin."""
    clock = VirtualClock()
    simulator = KlaviyoSimulator(account=ACCOUNT, start=clock.now)
    simulator.add_profile(profile_id=FIRST, external_id=ID)
    simulator.add_profile(profile_id=SECOND, email=EMAIL, consent="SUBSCRIBED")
    made = World(simulator, MemoryStore(clock=clock), clock)
    made.run(operations.add_bindings(setup(), [{"external_id": ID, "email": EMAIL}], trusted=False, verify=False))
    made.add("merge", merge)
    return made


def check(world: World) -> None:
    """Whoever has died: one merge was carried out at most, and the next calls leave one profile with the pair."""
    errors = [actor.error for actor in world.actors if actor.error is not None]
    assert [] == [error for error in errors if not isinstance(error, EXPECTED)]
    for _ in range(4):
        world.simulator.drain()
        world.clock.now += 3600
        world.run(operations.recover(setup(), None))
    for begin in (merge, identify):
        with suppress(*(EXPECTED if begin is merge else ())):  # the merge may be done already
            world.run(begin())
        world.simulator.drain()
        world.clock.now += 3600
        world.run(operations.recover(setup(), None))
    (profile,) = world.simulator.profiles
    (binding,) = world.store.page(ACCOUNT).bindings
    assert (SECOND, ID, EMAIL) == (profile.id, profile.external_id, profile.email)
    assert (ID, EMAIL, SECOND) == (binding.external_id, binding.email, binding.profile_id)
    assert "SUBSCRIBED" == profile.consents["email.marketing"].status
    assert 1 == sum(each.endpoint == "merge_profiles" and each.committed for each in world.simulator.journal)
    assert () == world.store.expired(ACCOUNT, 1)


@pytest.mark.parametrize(
    "limits", [Limits(crashes=1), Limits(losses=1), Limits(delays=1)], ids=["dies", "lost", "late"]
)
def test_p4_the_merge_alone(limits: Limits) -> None:
    """P4: a process that dies at any point, with an answer lost or not, leaves what the next one finishes."""
    assert explore(world, check, limits).endings > 0
