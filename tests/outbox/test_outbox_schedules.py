"""Every interleaving of drains with each other and with direct calls, every crash, lost answer and expiry.

Whatever happens, each committed event is recorded once in the end, on the customer's profile; nobody's events are
accepted out of order; and no row is left.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo.policy import Policy, RetryPolicy
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator, Readings
from support.consent import can_receive
from support.flows import Line, Setup, Shared, operations
from support.outbox import OutboxWorld, flows, inserted, rows_of, with_outbox
from support.simulator import Limits, VirtualClock, explore
from support.wire import CurrentDialect

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.flows import Flow
    from support.simulator import Explored

    Begin = Callable[[], Flow[Any]]

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


def queue_subscribe(*, again: bool = False) -> Flow[Any]:
    """Return what queues a consent, or a renewed one."""
    return flows.queue_subscribe(
        setup(), "email", external_id=ANN, email=None, phone_number=None, list_id=None, consented_at=None,
        historical=False, source=None, resubscribe=again, date_of_birth=None, connection=None,
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


def unsubscribe() -> Flow[Any]:
    """Return a direct withdrawal."""
    return operations.unsubscribe(setup(), "email", external_id=ANN, email=None, phone_number=None, list_id=None)


def track(external_id: str | None, email: str | None) -> Flow[Any]:
    """Return a direct event."""
    return operations.track(
        setup(), "Seen", external_id=external_id, email=email, phone_number=None, customer_properties=None,
        properties=None, value=None, value_currency=None, time=TIME, unique_id="direct", backfill=False,
    )  # fmt: skip


def world_of(before: list[Begin], actors: list[Begin], readings: Readings | None = None) -> Callable[[], OutboxWorld]:
    """Return what builds a world in which some flows have run, and others are about to."""

    def build() -> OutboxWorld:
        clock = VirtualClock()
        simulator = KlaviyoSimulator(readings, account=ACCOUNT, start=clock.now)
        world = OutboxWorld(simulator, MemoryStore(clock=clock), clock)
        for begin in before:
            world.run(begin())
        simulator.drain()
        clock.now += 10  # what was queued before is older than what happens now
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


@dataclass(frozen=True)
class Pair:
    """What has happened, what happens at once, and what must hold in the end.

    Attributes:
        before: What has run to its end.
        actors: What happens at once.
        events: The keys of the events that the rows record, in their order.
        erases: The second actor erases the customer.
        withdraws: The second actor withdraws a consent that waits.
        repeated: A direct call that the shop makes again, because its process may have been killed.
    """

    before: list[Begin]
    actors: list[Begin]
    events: list[str] = field(default_factory=list)
    erases: bool = False
    withdraws: bool = False
    repeated: Begin | None = None


def finish(world: OutboxWorld, pair: Pair) -> None:
    """Let time pass, and carry out what is left, as a worker does."""
    for _ in range(4):
        while world.late:
            world.land(0)
        world.simulator.drain()
        world.clock.now += 3600
        world.run(operations.recover(setup(), None))
        if pair.repeated is not None:
            world.run(pair.repeated())
        world.run(operations.recheck_changes(setup(), None, repair=True))
        world.run(drain())
    world.simulator.drain()


def check(pair: Pair, world: OutboxWorld) -> None:
    """Check what must hold in the end."""
    for actor in world.actors:
        assert actor.error is None or actor.error.may_retry, repr(actor.error)
    finish(world, pair)
    # A caller that was killed before its row was committed has queued no event.
    events = [key for key in pair.events if key != "u3" or inserted(world.there) == len(pair.events)]
    recorded = [(event.unique_id, event.profile_id) for event in world.simulator.events]
    has_ended = world.actors[-1].ended == "returned"
    check_left(world, may_be_refused=pair.withdraws)
    if pair.erases:
        # H23: what Klaviyo accepted before the erasure makes the profile anew, until `recheck_changes` has looked.
        assert not has_ended or [] == recorded == world.simulator.profiles
        return
    profiles = world.simulator.profiles
    assert [(ANN,)] == [(profile.external_id,) for profile in profiles if profile.external_id]
    ann = next(profile.id for profile in profiles if profile.external_id == ANN)
    # A direct call may have given up, and no event of it has then been lost.
    assert sorted(events) == sorted(key for key, _ in recorded if key != "direct")
    assert {ann} >= {profile_id for _, profile_id in recorded}
    assert events == [key for key in accepted(world) if key in events]
    # A consent that was queued earlier does not lift a withdrawal (H21, R19).
    assert not (pair.withdraws and has_ended) or [] == can_receive(world.simulator, [ONE])


def check_left(world: OutboxWorld, *, may_be_refused: bool) -> None:
    """No row is left, but for a consent that was refused for the withdrawal since."""
    left = rows_of(world.there, columns="id, state, error")
    refusals = [json.loads(error)["error"] for _, state, error in left if state == "dead" and may_be_refused]
    assert len(left) == len(refusals), left
    assert {"SupersededError", "ConsentWithdrawnError"} >= set(refusals)


TWO_ROWS = [KNOWN, partial(queue, "u1"), partial(queue, "u2")]
FAULTS = {
    "nothing": Limits(),
    "a crash": Limits(crashes=1),
    "a loss": Limits(losses=1),
    "an expiry": Limits(expiries=1),
    "a late request": Limits(delays=1),
}
READINGS = ["dropped", "refused", "refused_without_pointer"]
LARGE = {
    "two drains of a new customer", "a queued withdrawal and a change", "a queued consent and a change",
    "properties, consent and an erasure", "a drain and an erasure", "a drain and a change", "a sign-up and a drain",
}  # fmt: skip
"""Pairs of which one takes seconds."""


PAIRS = {
    "one drain": Pair(TWO_ROWS, [drain], ["u1", "u2"]),
    "two drains": Pair(TWO_ROWS, [drain, drain], ["u1", "u2"]),
    "a drain and an erasure": Pair(TWO_ROWS, [drain, erase], erases=True),
    "two drains of a new customer": Pair(
        [partial(queue, "u1", None, ONE), partial(queue, "u2", ANN, ONE)], [drain, drain], ["u1", "u2"]
    ),
    "a drain and an insert": Pair(TWO_ROWS, [drain, partial(queue, "u3")], ["u1", "u2", "u3"]),
    "a drain and a change": Pair(TWO_ROWS, [drain, change_email], ["u1", "u2"]),
    "a drain with a change and a drain": Pair(
        [KNOWN, partial(queue, "u1"), partial(queue_change, TWO), partial(queue, "u2")], [drain, drain], ["u1", "u2"]
    ),
    "a queued change and a call with its address": Pair(
        [KNOWN, partial(queue, "u1"), partial(queue_change, TWO)], [drain, partial(track, None, TWO)], ["u1"]
    ),
    # The sign-up is repeated: else nobody has said whose the id is, and its row may wait (H24).
    "a sign-up and a drain": Pair(
        [partial(identify, None, ONE), partial(queue, "u1", None, ONE), partial(queue, "u2", ANN, None)],
        [drain, partial(identify, ANN, ONE)], ["u1", "u2"], repeated=partial(identify, ANN, ONE),
    ),
    "a queued sign-up": Pair(
        [partial(queue, "u1", ANN, None), partial(queue_identify, ANN, ONE), partial(queue, "u2", ANN, None)],
        [drain, drain], ["u1", "u2"],
    ),
    "properties and a sign-up": Pair(
        [partial(identify, None, ONE), partial(queue_identify, None, ONE), partial(queue, "u1", None, ONE)],
        [drain, partial(identify, ANN, ONE)], ["u1"], repeated=partial(identify, ANN, ONE),
    ),
    "properties and a change": Pair([KNOWN, queue_identify], [drain, change_email]),
    "properties and consent": Pair(
        [KNOWN, partial(queue, "u1"), queue_identify, queue_subscribe, queue_unsubscribe], [drain, drain], ["u1"]
    ),
    "properties, consent and an erasure": Pair([KNOWN, queue_identify, queue_subscribe], [drain, erase], erases=True),
    # Even a renewed consent does not: it was given before the withdrawal (H30).
    "a queued consent and a withdrawal": Pair(
        [KNOWN, partial(queue_subscribe, again=True)], [drain, unsubscribe], withdraws=True
    ),
    "a queued consent and a change": Pair([KNOWN, queue_subscribe], [drain, change_email]),
    "a queued withdrawal and a change": Pair([KNOWN, queue_subscribe, drain, queue_unsubscribe], [drain, change_email]),
}  # fmt: skip


def explored(name: str, fault: str, reading: Any = "dropped") -> Explored:
    """Try everything that can happen to a pair, and check each end; return how much was tried."""
    pair = PAIRS[name]
    return explore(
        world_of(pair.before, pair.actors, Readings(bulk_repeats=reading)), partial(check, pair), FAULTS[fault]
    )


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("fault", [each for each in FAULTS if each != "nothing"])
def test_one_drain(fault: str, reading: Any) -> None:
    """One drain is cut off, or its answer is lost or late, under each reading of a repeated key in bulk (H15)."""
    assert explored("one drain", fault, reading).endings


@pytest.mark.parametrize("name", [each for each in PAIRS if each not in LARGE])
def test_pairs(name: str) -> None:
    """Each pair in every order, without a fault."""
    assert explored(name, "nothing").endings


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("name", "reading"),
    # Only where several events wait is there a job in bulk, in which a key can be repeated.
    [(name, each) for name, pair in PAIRS.items() for each in READINGS[: 3 if len(pair.events) > 1 else 1]],
)
def test_all(name: str, reading: Any, fault: str) -> None:
    """Each pair in every order, with each fault at each moment, under each reading of a repeated key in bulk."""
    assert explored(name, fault, reading).endings


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
