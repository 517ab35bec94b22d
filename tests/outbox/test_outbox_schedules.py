"""Every interleaving of drains with each other and with direct calls, every crash, lost answer and expiry.

Whatever happens, each committed event is recorded once in the end, on the customer's profile; nobody's events are
accepted out of order; and no row is left.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo.policy import Policy, RetryPolicy
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator, Readings
from support.flows import Line, Setup, Shared, operations
from support.outbox import OutboxWorld, flows, inserted, rows_of, with_outbox
from support.simulator import Limits, VirtualClock, explore
from support.wire import CurrentDialect

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.flows import Flow
    from support.simulator import Explored

pytestmark = pytest.mark.proof

ACCOUNT = "SiMuLa"
ANN, BEN = "ann-1", "ben-2"
ONE, TWO, THREE = "one@shop.dev", "two@shop.dev", "three@shop.dev"
TIME = 1_799_999_000


def setup() -> Setup:
    """Return the state of one process."""
    policy = Policy(lease=1, wait=60, visible_wait=0, merge_wait=0)
    line = Line(RetryPolicy(max_attempts=1), random=lambda: 0.5, attempt=1.0, published=False)
    of = Setup(CurrentDialect("2026-10-15"), policy, line, Shared(ACCOUNT), "key", 1.0, drops_test_addresses=False)
    return with_outbox(of)


def identify(external_id: str | None, email: str | None) -> Flow[Any]:
    """Return an `identify`."""
    return operations.identify(
        setup(), {"plan": "gold"}, external_id=external_id, email=email, phone_number=None, append=None, unappend=None,
        unset=None,
    )  # fmt: skip


def queue(unique_id: str, external_id: str | None = ANN, email: str | None = None) -> Flow[Any]:
    """Return what queues an event."""
    return flows.queue_track(
        setup(), "Ordered", external_id=external_id, email=email, phone_number=None, customer_properties=None,
        properties=None, value=None, value_currency=None, time=TIME, unique_id=unique_id, backfill=False,
        connection=None,
    )  # fmt: skip


def queue_identify(external_id: str | None = ANN, email: str | None = None) -> Flow[Any]:
    """Return what queues properties."""
    return flows.queue_identify(
        setup(), {"tier": "one"}, external_id=external_id, email=email, phone_number=None, append=None, unappend=None,
        unset=None, connection=None,
    )  # fmt: skip


def queue_change(new_email: str, external_id: str = ANN) -> Flow[Any]:
    """Return what queues a change of email."""
    return flows.queue_change_email(
        setup(), new_email, external_id=external_id, old_email=None, on_taken="refuse", connection=None
    )


def queue_subscribe() -> Flow[Any]:
    """Return what queues a consent."""
    return flows.queue_subscribe(
        setup(), "email", external_id=ANN, email=None, phone_number=None, list_id=None, consented_at=None,
        historical=False, source=None, resubscribe=False, date_of_birth=None, connection=None,
    )  # fmt: skip


def queue_unsubscribe() -> Flow[Any]:
    """Return what queues a withdrawal."""
    return flows.queue_unsubscribe(
        setup(), "email", external_id=ANN, email=None, phone_number=None, list_id=None, connection=None
    )


def drain(lane: int | None = None) -> Flow[Any]:
    """Return a drain."""
    return flows.drain(setup(), limit=None, lane=lane)


def change_email(new: str = TWO) -> Flow[Any]:
    """Return a direct change."""
    return operations.change_email(setup(), new, external_id=ANN, old_email=None, on_taken="refuse")


def erase() -> Flow[Any]:
    """Return an erasure."""
    return operations.erase(setup(), external_id=ANN, email=None, profile_id=None)


def track(external_id: str | None, email: str | None) -> Flow[Any]:
    """Return a direct event."""
    return operations.track(
        setup(), "Seen", external_id=external_id, email=email, phone_number=None, customer_properties=None,
        properties=None, value=None, value_currency=None, time=TIME, unique_id="direct", backfill=False,
    )  # fmt: skip


def world_of(
    before: list[Callable[[], Flow[Any]]], actors: list[Callable[[], Flow[Any]]], readings: Readings | None = None
) -> Callable[[], OutboxWorld]:
    """Return what builds a world in which some flows have run, and others are about to."""

    def build() -> OutboxWorld:
        clock = VirtualClock()
        simulator = KlaviyoSimulator(readings, account=ACCOUNT, start=clock.now)
        world = OutboxWorld(simulator, MemoryStore(clock=clock), clock)
        for begin in before:
            world.run(begin())
        simulator.drain()
        for number, begin in enumerate(actors):
            world.add(f"{number}", begin)
        return world

    return build


KNOWN = partial(identify, ANN, ONE)


def accepted(world: OutboxWorld) -> list[str]:
    """Return the keys of the events in the order in which Klaviyo first accepted them."""
    keys: dict[str, None] = {}
    for entry in world.simulator.journal:
        if entry.committed and entry.body:
            for key in _keys(entry.body):
                keys[key] = None
    return list(keys)


def _keys(value: Any) -> list[str]:
    if isinstance(value, list):
        return [key for each in value for key in _keys(each)]
    if not isinstance(value, dict):
        return []
    own = [value["unique_id"]] if "unique_id" in value else []
    return own + [key for name, each in value.items() if name != "unique_id" for key in _keys(each)]


def finish(world: OutboxWorld, repeated: Callable[[], Flow[Any]] | None = None) -> None:
    """Let time pass, and carry out what is left, as a worker does.

    Args:
        world: The world.
        repeated: A direct call that the shop makes again, because its process may have been killed.
    """
    for _ in range(4):
        while world.late:
            world.land(0)
        world.simulator.drain()
        world.clock.now += 3600
        world.run(operations.recover(setup(), None))
        if repeated is not None:
            world.run(repeated())
        world.run(operations.recheck_changes(setup(), None, repair=True))
        world.run(drain())
    world.simulator.drain()


def check(
    world: OutboxWorld, *, events: list[str], gone: bool = False, repeated: Callable[[], Flow[Any]] | None = None
) -> None:
    """Check what must hold in the end."""
    for actor in world.actors:
        assert actor.error is None or actor.error.may_retry, repr(actor.error)
    finish(world, repeated)
    # A caller that was killed before its row was committed has queued no event.
    events = [key for key in events if key != "u3" or inserted(world.there) == len(events)]
    recorded = [(event.unique_id, event.profile_id) for event in world.simulator.events]
    assert [] == rows_of(world.there, columns="id, state, error")
    if gone:
        # H23: what Klaviyo accepted before the erasure makes the profile anew, until `recheck_changes` has looked.
        assert world.actors[1].ended != "returned" or [] == recorded == world.simulator.profiles
        return
    profiles = world.simulator.profiles
    assert [(ANN,)] == [(profile.external_id,) for profile in profiles if profile.external_id]
    ann = next(profile.id for profile in profiles if profile.external_id == ANN)
    # A direct call may have given up, and no event of it has then been lost.
    assert sorted(events) == sorted(key for key, _ in recorded if key != "direct")
    assert {ann} == {profile_id for _, profile_id in recorded}
    assert events == [key for key in accepted(world) if key in events]


TWO_ROWS = [KNOWN, partial(queue, "u1"), partial(queue, "u2")]
FAULTS = {
    "nothing": Limits(),
    "a crash": Limits(crashes=1),
    "a loss": Limits(losses=1),
    "an expiry": Limits(expiries=1),
    "a late request": Limits(delays=1),
}
READINGS = ["dropped", "refused", "refused_without_pointer"]


PAIRS: dict[str, tuple[list[Any], list[Any], list[str]]] = {
    "one drain": (TWO_ROWS, [drain], ["u1", "u2"]),
    "two drains": (TWO_ROWS, [drain, drain], ["u1", "u2"]),
    "a drain and an erasure": (TWO_ROWS, [drain, erase], []),
    "two drains of a new customer": (
        [partial(queue, "u1", None, ONE), partial(queue, "u2", ANN, ONE)], [drain, drain], ["u1", "u2"],
    ),
    "a drain and an insert": (TWO_ROWS, [drain, partial(queue, "u3")], ["u1", "u2", "u3"]),
    "a drain and a change": (TWO_ROWS, [drain, change_email], ["u1", "u2"]),
    "a drain with a change and a drain": (
        [KNOWN, partial(queue, "u1"), partial(queue_change, TWO), partial(queue, "u2")], [drain, drain], ["u1", "u2"],
    ),
    "a queued change and a call with its address": (
        [KNOWN, partial(queue, "u1"), partial(queue_change, TWO)], [drain, partial(track, None, TWO)], ["u1"],
    ),
    "a sign-up and a drain": (
        [partial(identify, None, ONE), partial(queue, "u1", None, ONE), partial(queue, "u2", ANN, None)],
        [drain, partial(identify, ANN, ONE)], ["u1", "u2"],
    ),
    "properties and consent": (
        [KNOWN, partial(queue, "u1"), queue_identify, queue_subscribe, queue_unsubscribe], [drain, drain], ["u1"],
    ),
}  # fmt: skip
REPEATED = {"a sign-up and a drain": partial(identify, ANN, ONE)}
"""Without it nobody has said whose the id is: its row waits, and may (H24)."""


def explored(name: str, fault: str, reading: Any = "dropped") -> Explored:
    """Try everything that can happen to a pair, and check each end; return how much was tried."""
    before, actors, events = PAIRS[name]
    gone = name == "a drain and an erasure"
    build = world_of(before, actors, Readings(bulk_repeats=reading))
    checking = partial(check, events=events, gone=gone, repeated=REPEATED.get(name))
    return explore(build, checking, FAULTS[fault])


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("fault", [each for each in FAULTS if each != "nothing"])
def test_one_drain(fault: str, reading: Any) -> None:
    """One drain is cut off, or its answer is lost or late, under each reading of a repeated key in bulk (H15)."""
    assert explored("one drain", fault, reading).endings


@pytest.mark.parametrize("name", ["two drains", "a drain and an insert"])
def test_pairs(name: str) -> None:
    """Two drains, or a drain and an insert, in every order."""
    assert explored(name, "nothing").endings


@pytest.mark.slow
@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", [name for name in PAIRS if name != "two drains of a new customer"])
def test_all(name: str, fault: str, reading: Any) -> None:
    """Each pair in every order, with each fault at each moment, under each reading of a repeated key in bulk."""
    assert explored(name, fault, reading).endings


@pytest.mark.slow
def test_new_customer() -> None:
    """Two drains of the rows of a customer whom nobody knows, in every order."""
    assert explored("two drains of a new customer", "nothing").endings


def queue_and_drain(lane: int) -> Flow[Any]:
    """Return what queues an event, and then starts a drain of its lane, as a wake does."""
    yield from queue("u3")
    return (yield from drain(lane))


def test_h20() -> None:
    """A drain that finds its lane held may end: the drain that holds it looks again after its release (H20)."""
    known = world_of(TWO_ROWS, [])()
    (lane,) = known.run(flows.due_lanes(setup()))

    def nothing_is_left(world: OutboxWorld) -> None:
        assert [] == rows_of(world.there, columns="id, state, error")

    explore(world_of(TWO_ROWS, [partial(drain, lane), partial(queue_and_drain, lane)]), nothing_is_left)
