"""P4 over the merge of two halves: every interleaving with another call, every death, lost answer and late write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo.errors import IdentityError, LeaseHeldError, NoResponseError, NotFoundError, ProfileNotVisibleError
from safeklaviyo.policy import Policy, RetryPolicy
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator
from support.flows import Line, Setup, Shared, operations
from support.scenes import ACCOUNT
from support.simulator import Limits, VirtualClock, World, explore
from support.wire import CurrentDialect

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.flows import Flow

ID, EMAIL, NEW = "ann-1", "one@shop.dev", "two@shop.dev"
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


def identify(external_id: str | None, email: str | None) -> Flow[Any]:
    """Begin an `identify`."""
    given = {"external_id": external_id, "email": email, "phone_number": None}
    return operations.identify(setup(), {"plan": "gold"}, **given, append=None, unappend=None, unset=None)


OTHERS: dict[str, Callable[[], Flow[Any]]] = {
    "merge": merge,
    "identify(ann, one)": lambda: identify(ID, EMAIL),
    "identify(ann)": lambda: identify(ID, None),
    "identify(one)": lambda: identify(None, EMAIL),
    "change_email(ann to two)": lambda: operations.change_email(
        setup(), NEW, external_id=ID, old_email=None, on_taken="refuse"
    ),
    "erase(ann)": lambda: operations.erase(setup(), external_id=ID, email=None, profile_id=None),
}


def world_of(other: str | None) -> Callable[[], World]:
    """Return what builds a world with the two halves, of which the map says that they are one."""

    def build() -> World:
        clock = VirtualClock()
        simulator = KlaviyoSimulator(account=ACCOUNT, start=clock.now)
        simulator.add_profile(profile_id=FIRST, external_id=ID)
        simulator.add_profile(profile_id=SECOND, email=EMAIL, consent="SUBSCRIBED")
        world = World(simulator, MemoryStore(clock=clock), clock)
        world.run(operations.add_bindings(setup(), [{"external_id": ID, "email": EMAIL}], trusted=False, verify=False))
        world.add("merge", merge)
        if other is not None:
            world.add(other, OTHERS[other])
        return world

    return build


def check(world: World) -> None:
    """Whoever has died: one merge was carried out at most, and the next calls leave one profile with the pair."""
    assert [] == [
        each.error for each in world.actors if each.error is not None and not isinstance(each.error, EXPECTED)
    ]
    is_erased = any(each.name == "erase(ann)" for each in world.actors)
    for _ in range(4):
        world.simulator.drain()
        world.clock.now += 3600
        world.run(operations.recover(setup(), None))
    if not is_erased:
        for begin in (merge, lambda: identify(ID, None)):
            try:
                world.run(begin())
            except (IdentityError, NotFoundError, ProfileNotVisibleError):
                assert begin is merge  # it is done, or the address is another one by now
            world.simulator.drain()
            world.clock.now += 3600
            world.run(operations.recover(setup(), None))
        ((external_id, email, consent),) = [
            (each.external_id, each.email, each.consents.get("email.marketing")) for each in world.simulator.profiles
        ]
        assert (ID, True, "SUBSCRIBED") == (external_id, email in {EMAIL, NEW}, consent.status if consent else None)
        ((binding),) = world.store.page(ACCOUNT).bindings
        assert (ID, email, SECOND) == (binding.external_id, binding.email, binding.profile_id)
    merges = [each for each in world.simulator.journal if each.endpoint == "merge_profiles" and each.committed]
    assert len(merges) <= 1
    assert () == world.store.expired(ACCOUNT, 1)


@pytest.mark.parametrize(
    "limits", [Limits(crashes=1), Limits(losses=1), Limits(delays=1)], ids=["dies", "lost", "late"]
)
def test_p4_the_merge_alone(limits: Limits) -> None:
    """P4: a process that dies at any point, with an answer lost or not, leaves what the next one finishes."""
    assert explore(world_of(None), check, limits).endings > 0


@pytest.mark.slow
@pytest.mark.parametrize("other", OTHERS)
def test_p4_the_merge_beside_another_call(other: str) -> None:
    """P4: so does one that is interleaved with another call about either half, and one of which one dies."""
    assert explore(world_of(other), check, Limits(crashes=1)).endings > 0
