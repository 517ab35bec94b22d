"""A holder whose lease somebody else has taken over: fenced at any step, it does no harm, and its call still ends right."""

from __future__ import annotations

from itertools import count

import pytest
from deaths import SCENES, act_after
from scenes import ACCOUNT, ANN, BOB, expire, journal_of, leases, pairs

from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator

OLD = ANN["email"]


def played(open_client, scene, steps, meanwhile):
    """Play a scene in which something happens after so many steps; return None once it is over before."""
    simulator = KlaviyoSimulator(account=ACCOUNT, queue_lag=0.0)
    store = MemoryStore(clock=simulator.now)
    k, other = open_client(simulator, store), open_client(simulator, store)
    for who in (ANN, BOB):
        other.identify(**who)
    prepared = scene.prepare(simulator, other)
    happened = []

    def act() -> None:
        expire(simulator)
        happened.append(meanwhile(other))

    act_after(k, steps, act)
    scene.call(k, prepared)
    simulator.advance(1)
    return (simulator, store) if happened else None


def check(simulator, store):
    """Check that nobody is writing any more, and that the map says what Klaviyo shows."""
    assert 0 == leases(store)
    shown = {profile.id: (profile.external_id, profile.email) for profile in simulator.profiles}
    for binding in store.page(ACCOUNT).bindings:
        assert shown[binding.profile_id] == (binding.external_id, binding.email)
    assert len(shown) == len(set(shown.values()))


@pytest.mark.parametrize("name", SCENES)
def test_somebody_else_completes_it_at_any_step(open_client, name):
    """R13, P4: whoever took the lease over has done it; the slow caller notices, and it is done once."""
    scene = SCENES[name]
    for steps in count(1):
        world = played(open_client, scene, steps, lambda other: other.recover())
        if world is None:
            break
        check(*world)
        simulator, store = world
        assert scene.after == pairs(simulator), steps
        assert all(1 == journal_of(store).count(row) for row in scene.rows), steps
    assert steps > 5


@pytest.mark.parametrize("name", [name for name, scene in SCENES.items() if scene.verb == "change"])
def test_somebody_else_goes_on_from_there_at_any_step(open_client, name):
    """H8, P4: another change of the same customer that comes between is not undone by halves: the last one stands."""
    scene = SCENES[name]
    for steps in count(1):
        world = played(
            open_client,
            scene,
            steps,
            lambda other: other.change_email("third@shop.test", external_id="ann-1", old_email=OLD),
        )
        if world is None:
            break
        check(*world)
        theirs = {pair for pair in pairs(world[0]) if pair[0] in {"ann-1", "ann-9"} or pair[1] == "third@shop.test"}
        assert 1 == len(theirs), steps
