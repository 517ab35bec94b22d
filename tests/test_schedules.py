"""P4 and P5 over all schedules: every interleaving of each pair of writing operations, and every crash and lost answer.

The bound: two operations at once, each in a process of its own; in one run at most one process dies (all pairs), or one
request or answer is lost (each operation with itself and with the first of its scene), or one write lands late (most of
those), or every lease expires once under its holder, or Klaviyo applies what it queued at any moment. Within it
everything is tried. What nobody finished is then finished as in production: by `recover`, by `recheck_changes`, and by
the next `identify` of each customer.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from functools import cache, partial
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo.errors import (
    ErasedError,
    IdentityError,
    LeaseHeldError,
    NoResponseError,
    NotFoundError,
    ProfileNotVisibleError,
)
from safeklaviyo.models import TrackResult
from safeklaviyo.policy import Policy, RetryPolicy
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator, Readings
from support.flows import Line, Recall, Setup, Shared, operations
from support.simulator import Limits, Point, VirtualClock, World, explore
from support.wire import CurrentDialect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.flows import Flow
    from support.simulator import Explored

pytestmark = pytest.mark.proof

ACCOUNT = "SiMuLa"
ANN, ANN_LATER, BEN = "ann-1", "ann-9", "ben-2"
ONE, TWO, THREE = "one@shop.dev", "two@shop.dev", "three@shop.dev"
WHO = {ANN: "ann", ANN_LATER: "ann", BEN: "ben"}
"""Whose an external id is."""
ADDRESSES = {"ann": {ONE, TWO, THREE}, "ben": {ONE, TWO}}
"""The addresses that each customer gives in these operations."""

EXPECTED = (IdentityError, LeaseHeldError, NoResponseError, NotFoundError)
"""How an operation may end where two are at odds, or an answer is lost."""


def setup(naming: str = "profile_id") -> Setup:
    """Return the state of one process."""
    policy = Policy(lease=1, wait=60, visible_wait=0, merge_wait=0, event_naming=naming)
    line = Line(RetryPolicy(max_attempts=1), random=lambda: 0.5, attempt=1.0, published=False)
    return Setup(CurrentDialect("2026-10-15"), policy, line, Shared(ACCOUNT), "key", 1.0, drops_test_addresses=False)


def identify(external_id: str | None, email: str | None) -> Callable[[Setup], Flow[Any]]:
    """Return an `identify`, to be begun with a process's state."""
    return lambda of: operations.identify(
        of,
        {"plan": "gold"},
        external_id=external_id,
        email=email,
        phone_number=None,
        append=None,
        unappend=None,
        unset=None,
    )


def track(external_id: str | None, email: str | None) -> Callable[[Setup], Flow[Any]]:
    """Return a `track`."""
    return lambda of: operations.track(
        of,
        "Ordered",
        external_id=external_id,
        email=email,
        phone_number=None,
        customer_properties=None,
        properties={"sku": "B-1"},
        value=None,
        value_currency=None,
        time=1_799_999_000,
        unique_id=None,
        backfill=False,
    )


def change_email(
    new: str, external_id: str | None, old: str | None = None, on_taken: str = "refuse"
) -> Callable[[Setup], Flow[Any]]:
    """Return a `change_email`."""
    return lambda of: operations.change_email(of, new, external_id=external_id, old_email=old, on_taken=on_taken)


def change_external_id(new: str, old: str) -> Callable[[Setup], Flow[Any]]:
    """Return a `change_external_id`."""
    return lambda of: operations.change_external_id(of, new, old_external_id=old, email=None)


def change_phone_number(new: str, external_id: str) -> Callable[[Setup], Flow[Any]]:
    """Return a `change_phone_number`."""
    return lambda of: operations.change_phone_number(of, new, external_id=external_id, email=None)


def erase(external_id: str) -> Callable[[Setup], Flow[Any]]:
    """Return an `erase`."""
    return lambda of: operations.erase(of, external_id=external_id, email=None, profile_id=None)


def learn(of: Setup) -> Flow[Any]:
    """Begin to learn from Klaviyo's profiles, of which there is one page."""
    return operations.learn_page(of, operations.Course())


OPERATIONS: dict[str, Callable[[Setup], Flow[Any]]] = {
    "identify(ann, one)": identify(ANN, ONE),
    "identify(ann)": identify(ANN, None),
    "identify(one)": identify(None, ONE),
    "identify(two)": identify(None, TWO),
    "identify(ben, one)": identify(BEN, ONE),
    "identify(ben, two)": identify(BEN, TWO),
    "track(ann, one)": track(ANN, ONE),
    "track(ann)": track(ANN, None),
    "track(one)": track(None, ONE),
    "track(ben, one)": track(BEN, ONE),
    "change_email(ann, one to two)": change_email(TWO, ANN, ONE),
    "change_email(ann to two)": change_email(TWO, ANN),
    "change_email(ann to three)": change_email(THREE, ANN),
    "change_email(one to two)": change_email(TWO, None, ONE),
    "change_email(ben to one)": change_email(ONE, BEN),
    "change_email(ann to two, merge)": change_email(TWO, ANN, on_taken="merge"),
    "change_external_id(ann)": change_external_id(ANN_LATER, ANN),
    "change_phone_number(ann)": change_phone_number("+12345678901", ANN),
    "erase(ann)": erase(ANN),
    "learn": learn,
}

SCENES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # who is known before, and who meets
    "nobody": (
        (),
        (
            "identify(ann, one)",
            "identify(one)",
            "identify(ben, one)",
            "track(ann, one)",
            "track(one)",
            "track(ben, one)",
            "change_email(ann, one to two)",
        ),
    ),
    "ann": (
        ("identify(ann, one)",),
        (
            "identify(ann)",
            "identify(ben, one)",
            "identify(ben, two)",
            "track(ann)",
            "track(one)",
            "change_email(ann to two)",
            "change_email(ann to three)",
            "change_email(one to two)",
            "change_external_id(ann)",
            "change_phone_number(ann)",
        ),
    ),
    "ann and ben": (
        ("identify(ann, one)", "identify(ben, two)"),
        ("change_email(ann to three)", "change_email(ann to two)", "change_email(ben to one)", "track(one)"),
    ),
    "ann and an orphan": (
        ("identify(ann, one)", "orphan(two)"),
        ("change_email(ann to two, merge)", "identify(ben, two)", "identify(two)", "track(ann)"),
    ),
    "ann to be erased": (
        ("identify(ann, one)",),
        ("erase(ann)", "identify(ann)", "change_email(ann to two)", "change_external_id(ann)"),
    ),
    "ann to be erased, and a ghost": (
        ("identify(ann, one)", "change_email(ann to two)", "ghost(one)"),
        ("erase(ann)", "identify(ben, one)", "identify(one)"),
    ),
}
LEARNING: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ann in Klaviyo": (
        ("profile(ann, one)",),
        (
            "learn",
            "identify(ann, one)",
            "identify(ann)",
            "identify(one)",
            "identify(ben, one)",
            "track(ann)",
            "change_email(ann, one to two)",
            "change_external_id(ann)",
            "erase(ann)",
        ),
    ),
    "ann and a newsletter": (
        ("identify(ann, one)", "orphan(two)"),
        (
            "learn",
            "identify(ben, two)",
            "identify(two)",
            "change_email(ann to two, merge)",
            "change_email(ann to three)",
        ),
    ),
    "ann and her ghost": (
        ("identify(ann, one)", "change_email(ann to two)", "ghost(one)"),
        ("learn", "identify(ben, one)", "erase(ann)", "track(one)"),
    ),
}
"""The same, for what `bindings.learn` may meet."""
PAIRS = [
    (scene, *pair)
    for scene, (_, meeting) in SCENES.items()
    for pair in combinations_with_replacement(meeting, 2)
    if not scene.startswith("ann to be erased") or "erase(ann)" in pair
]
FEWER_PAIRS = [
    (scene, one, other) for scene, one, other in PAIRS if one == other or SCENES[scene][1][0] in {one, other}
]
"""Each operation with itself and with the first of its scene."""
LATE_PAIRS = [
    (scene, one, other)
    for scene, one, other in FEWER_PAIRS
    if scene != "ann and an orphan" and not (scene == "nobody" and one == other == "change_email(ann, one to two)")
]
"""The same without merges and without two first contacts that change an address: they take minutes for all orders."""


def world_of(scene: str, *names: str, naming: str = "profile_id") -> Callable[[], World]:
    """Return what builds a world in which the operations named are about to begin, each in a process of its own."""
    before = copy.deepcopy(known_before(scene))

    def build() -> World:
        simulator, store, clock = copy.deepcopy(before)
        world = World(simulator, store, clock)
        for number, name in enumerate(names):
            world.add(f"{number}: {name}", partial(begun, name, naming))
        return world

    return build


def begun(name: str, naming: str) -> Flow[Any]:
    """Return an operation, about to begin in a process that has done nothing before."""
    return OPERATIONS[name](setup(naming))


DROPPED = Readings(external_id_unique_on_create="dropped")


def world_of_a_hidden_profile(*names: str) -> Callable[[], World]:
    """Return what builds a world in which the search does not show Ann's profile yet, and a create drops her id."""

    def build() -> World:
        clock = VirtualClock()
        simulator = KlaviyoSimulator(DROPPED, account=ACCOUNT, start=clock.now, search_lag="until_drain")
        attributes = {"external_id": ANN, "email": TWO}
        profile = {"data": {"type": "profile", "attributes": attributes}}
        headers = {"authorization": "Klaviyo-API-Key pk_by_hand", "revision": "2026-10-15"}
        assert 201 == simulator.handle("POST", "/api/profiles", headers, json.dumps(profile).encode()).status
        world = World(simulator, MemoryStore(clock=clock), clock)
        for number, name in enumerate(names):
            world.add(f"{number}: {name}", partial(begun, name, "profile_id"))
        return world

    return build


def finish_hidden(world: World) -> Iterator[World]:
    """Finish what is unfinished: Ann has her one profile, and there is at most one orphan, on the address given."""
    settle(world)
    world.run(identify(ANN, None)(setup()))
    profiles = sorted((profile.external_id or "", profile.email) for profile in world.simulator.profiles)
    assert profiles in ([(ANN, TWO)], [("", ONE), (ANN, TWO)])
    ours = [(each.external_id, each.email) for each in world.store.page(ACCOUNT).bindings]
    assert (ANN, TWO) in ours
    assert {(ANN, TWO), (None, ONE)} >= set(ours)
    yield world


@cache
def known_before(scene: str) -> tuple[KlaviyoSimulator, MemoryStore, VirtualClock]:
    """Return a pretend Klaviyo and a map in which those are known who are known before a scene begins."""
    clock = VirtualClock()
    world = World(KlaviyoSimulator(account=ACCOUNT, start=clock.now), MemoryStore(clock=clock), clock)
    for name in (SCENES | LEARNING)[scene][0]:
        if name == "orphan(two)":
            world.simulator.add_profile(email=TWO, properties={"from": "newsletter"})
        elif name == "profile(ann, one)":
            world.simulator.add_profile(external_id=ANN, email=ONE, properties={"from": "another backend"})
        elif name == "ghost(one)":
            world.simulator.add_profile(email=ONE, properties={"from": "browser"})
        else:
            world.run(OPERATIONS[name](setup()))
    return world.simulator, world.store, clock


class Check:
    """What must hold once all has come to rest, and what was interrupted is finished.

    Finishing begins from Klaviyo, the map, the time and what is on its way, and asks nobody how it came to that. So it
    is done once for each, and what the operations themselves say is checked against it every time.
    """

    def __init__(self, finish: Callable[[World], Iterator[World]]) -> None:
        self._finish = finish
        self._finished: dict[bytes, list[World]] = {}

    def __call__(self, world: World) -> None:
        """Check one end."""
        start = world.shared()
        if start not in self._finished:
            self._finished[start] = list(self._finish(world))
        for then in self._finished[start]:
            then.actors = world.actors
            check_ends(then)


def finish(world: World) -> Iterator[World]:
    """Finish what is unfinished, and check the map."""
    settle(world)
    check_map(world)
    yield world


def check_ends(world: World) -> None:
    """Each operation succeeded, or failed as it may; each accepted event is recorded; who was erased is gone."""
    for actor in world.actors:
        assert actor.error is None or isinstance(actor.error, EXPECTED), repr(actor.error)
    check_events(world)
    if any(actor.ended == "returned" and actor.name.endswith("erase(ann)") for actor in world.actors):
        assert not [
            profile for profile in world.simulator.profiles if WHO.get(str(profile.external_id), "ann") == "ann"
        ]


def check_map(world: World, ghosts: frozenset[str | None] = frozenset()) -> None:
    """The map and Klaviyo agree, profile by profile; a newsletter's profile may stay as it was, and a known ghost."""
    check_profiles(world)
    bindings = world.store.page(ACCOUNT).bindings
    known = {binding.profile_id for binding in bindings}
    shown = {
        profile.id: (profile.external_id, profile.email)
        for profile in world.simulator.profiles
        if profile.id in known or not ("from" in profile.properties or profile.id in ghosts)
    }
    assert shown == {binding.profile_id: (binding.external_id, binding.email) for binding in bindings}


def finish_late(world: World) -> Iterator[World]:
    """Same for requests still on their way, which land before what was interrupted is finished, or after it.

    In the end nobody but `recheck_changes` has put anything right, and a profile too many is one that it reports.
    """
    for is_early in (True, False):
        then = world.copy()
        if not is_early:
            settle(then)
        while then.late:
            then.land(0)
        if is_early:
            settle(then)
        then.simulator.drain()
        reviews = then.run(operations.recheck_changes(setup(), None, repair=True))
        check_map(then, frozenset(review.ghost_profile_id for review in reviews if review.finding == "ghost"))
        yield then


def call_until_visible(world: World, operation: Callable[[Setup], Flow[Any]]) -> None:
    """Call, and where Klaviyo does not show a profile call again later, as the error advises."""
    try:
        world.run(operation(setup()))
    except ProfileNotVisibleError as error:
        world.clock.now += error.retry_after or 1.0
        world.run(operation(setup()))


def settle(world: World) -> None:
    """Finish what is unfinished, as a shop does: Klaviyo's queue, `recover`, and the next call about each customer."""
    recoveries = []
    for _ in range(3):  # a merge that is asked for has to be done before its change can go on
        world.simulator.drain()
        world.clock.now += 3600
        recoveries = world.run(operations.recover(setup(), None))
    assert [] == recoveries
    world.simulator.drain()
    for binding in world.store.page(ACCOUNT).bindings:
        email = binding.email if binding.external_id is None else None
        try:
            call_until_visible(world, identify(binding.external_id, email))
        except ErasedError:
            continue
    world.simulator.drain()


def check_profiles(world: World) -> None:
    """One customer, one profile, with no identifier of anybody else."""
    profiles = world.simulator.profiles
    owners = [WHO[profile.external_id] for profile in profiles if profile.external_id is not None]
    assert len(set(owners)) == len(owners)
    emails = [profile.email for profile in profiles]
    assert len(set(emails)) == len(emails)
    assert None not in emails
    for profile in profiles:
        if profile.external_id is not None:
            assert profile.email in ADDRESSES[WHO[profile.external_id]]


def check_events(world: World) -> None:
    """Each accepted event is recorded once, on the profile that the caller was told."""
    events = world.simulator.events
    keys = [event.unique_id for event in events if event.unique_id is not None]
    assert len(set(keys)) == len(keys)
    for actor in world.actors:
        if isinstance(actor.result, TrackResult):
            (event,) = [event for event in events if event.unique_id == actor.result.unique_id]
            assert actor.result.profile_id == event.profile_id


@pytest.mark.slow
@pytest.mark.parametrize(("scene", "one", "other"), PAIRS)
def test_p4_every_interleaving(scene: str, one: str, other: str) -> None:
    """P4, P5: in whatever order the effects of two operations happen, and whichever process dies at any point."""
    explored = explore(world_of(scene, one, other), Check(finish), Limits(crashes=1))
    assert explored.endings > 0


@pytest.mark.slow
@pytest.mark.parametrize(("scene", "one", "other"), FEWER_PAIRS)
def test_p4_every_lost_answer(scene: str, one: str, other: str) -> None:
    """P4, P5: whichever request or answer of two operations is lost, in whatever order they happen."""
    explored = explore(world_of(scene, one, other), Check(finish), Limits(losses=1))
    assert explored.endings > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scene", "one", "other"),
    [
        ("nobody", "identify(ann, one)", "identify(ann, one)"),
        ("nobody", "identify(ann, one)", "identify(ben, one)"),
        ("ann", "track(ann)", "change_email(ann to two)"),
    ],
)
def test_p4_every_expiry_under_a_living_holder(scene: str, one: str, other: str) -> None:
    """P4: a holder whose lease expires at any moment is fenced; what it wrote late is put right (H4, H8)."""
    explored = explore(world_of(scene, one, other), Check(finish), Limits(expiries=1))
    assert explored.endings > 0


@pytest.mark.slow
@pytest.mark.parametrize(("scene", "one", "other"), LATE_PAIRS)
def test_p4_every_write_that_lands_late(scene: str, one: str, other: str) -> None:
    """P4, P5, H8: a write lands after it was given up, at any moment; a recheck repairs it, or reports a ghost."""
    explored = explore(world_of(scene, one, other), Check(finish_late), Limits(delays=1))
    assert explored.endings > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "scene", "other"),
    [
        (fault, scene, other)
        for fault in ("crashes", "losses", "expiries")
        for scene, (_, meeting) in LEARNING.items()
        for other in meeting
        # An expiry of each lease of a change takes minutes for all orders.
        if not (fault == "expiries" and other.startswith("change"))
    ],
)
def test_p4_h33_learning_beside_every_operation(fault: str, scene: str, other: str) -> None:
    """P3, P4, H33: however the map learns while a customer is changed, it ends as if it had not, or knows more."""
    explored = explore(world_of(scene, "learn", other), Check(finish), Limits(**{fault: 1}))
    assert explored.endings > 0


@pytest.mark.slow
@pytest.mark.parametrize("naming", ["pair", "profile_id"])
@pytest.mark.parametrize(
    ("scene", "one", "other"),
    [
        ("ann", "track(ann)", "change_email(ann to two)"),
        ("ann", "track(one)", "change_email(ann to two)"),
        ("ann", "track(ann)", "identify(ben, one)"),
        ("ann", "track(ann)", "change_external_id(ann)"),
        ("ann and ben", "track(one)", "change_email(ann to three)"),
    ],
)
def test_p4_events_applied_at_any_moment(scene: str, one: str, other: str, naming: str) -> None:
    """P4, H1: a queued event may land before or after a change; what it puts back is repaired at the next call."""
    explored = explore(world_of(scene, one, other, naming=naming), Check(finish), Limits(applies=True))
    assert explored.endings > 0


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_p4_one_operation_alone(name: str) -> None:
    """P4: whoever is alone and dies at any point, with an answer lost or not, leaves what the next one finishes."""
    scene = "ann and an orphan" if "merge" in name else "ann and ben" if "(ben to" in name else "ann"
    explored = explore(world_of(scene, name), Check(finish), Limits(crashes=1, losses=1))
    assert explored.endings > 0


@pytest.mark.parametrize("limits", [Limits(crashes=1), Limits(losses=1)], ids=["crashes", "losses"])
@pytest.mark.parametrize("other", [None, "track(one)", "identify(ann)"])
def test_p4_h38_an_id_that_a_create_drops(other: str | None, limits: Limits) -> None:
    """P4, H38: whichever process dies and whichever answer is lost, one orphan is left at most, and Ann is reached."""
    names = ["identify(ann, one)", *([] if other is None else [other])]
    explored = explore(world_of_a_hidden_profile(*names), Check(finish_hidden), limits)
    assert explored.endings > 0


@pytest.mark.parametrize(
    ("names", "limits", "finishing", "least"),
    [
        (("nobody", "identify(ann, one)", "identify(ann, one)"), Limits(crashes=1), finish, (827, 58)),
        (("nobody", "identify(ann, one)", "identify(ann, one)"), Limits(losses=1), finish, (637, 56)),
        (("ann", "identify(ann)", "change_email(ann to two)"), Limits(delays=1), finish_late, (254, 19)),
        (("ann", "track(ann)", "change_email(ann to two)"), Limits(applies=True), finish, (102, 10)),
    ],
    ids=["crashes", "losses", "delays", "applies"],
)
def test_as_much_is_tried_as_by_running_all_anew(
    names: tuple[str, str, str],
    limits: Limits,
    finishing: Callable[[World], Iterator[World]],
    least: tuple[int, int],
) -> None:
    """Copied worlds and remembered points leave nothing out: as many states and ends as where each run begins anew.

    Operations that remember the same count as one then, and this leads to the same ends.
    """
    naming = "pair" if limits.applies else "profile_id"
    build, ends = world_of(*names, naming=naming), {True: set[object](), False: set[object]()}
    explored: dict[bool, Explored] = {}
    for merges, found in ends.items():

        def begin(*, merges: bool = merges) -> World:
            return replace(build(), merges=merges)

        def check(world: World, found: set[object] = found) -> None:
            found.add(outcome(world))
            Check(finishing)(world)

        explored[merges] = explore(begin, check, limits)
    states, endings = least
    assert explored[False].states >= states
    assert explored[False].endings >= endings
    assert ends[False] == ends[True]
    assert explored[True].states < explored[False].states


def outcome(world: World) -> tuple[object, ...]:
    """Return how a run has ended, for the customer and for the callers."""
    pairs = sorted((str(each.external_id), str(each.email)) for each in world.simulator.profiles)
    ends = [(actor.ended, type(actor.error).__name__, type(actor.result).__name__) for actor in world.actors]
    return *pairs, *ends, len(world.simulator.events), len(world.simulator.pending)


def test_points_go_on_as_a_flow_from_its_beginning_does() -> None:
    """An operation at a point from which it has gone on already goes on from there as it would have at first."""
    begun, closed = [], []

    def flow() -> Flow[Any]:
        begun.append(None)
        heard = [(yield Recall("a", "first"))]
        try:
            heard.append((yield Recall("a", "second")))
        except NoResponseError as error:
            heard.append(error.rule)
            error.rule = "R4"
        except GeneratorExit:
            closed.append(None)
            raise
        return heard

    first = Point(flow)
    second = first.after("one")
    assert (Recall("a", "first"), Recall("a", "second")) == (first.effect, second.effect)
    assert ["one", "two"] == second.after("two").result
    assert ["other", "two"] == first.after("other").after("two").result
    assert second is first.after("one")
    error = NoResponseError("no answer", outcome="unknown")
    assert [["one", None], ["other", None]] == [first.after(said).after(error).result for said in ("one", "other")]
    runs = len(begun)
    assert [["one", None], ["other", "two"]] == [second.after(error).result, first.after("other").after("two").result]
    assert runs == len(begun)
    second.die()
    second.die()
    assert 1 == len(closed)
