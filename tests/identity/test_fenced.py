"""A holder whose lease somebody else took over: fenced at any step, it does no harm, and its call ends right."""

from __future__ import annotations

from itertools import count

import pytest

from safeklaviyo import Binding, IdentityDriftError, LeaseHeldError, NotFoundError, Policy
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.base import Change
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator
from support.deaths import SCENES, act_after
from support.scenes import (
    ACCOUNT,
    ANN,
    BOB,
    NEW,
    Troubled,
    bound,
    expire,
    hold,
    journal_of,
    leases,
    meanwhile,
    merge,
    pairs,
    persist,
    recovered,
    rejected,
    rejected_for_good,
)

pytestmark = pytest.mark.proof

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
        happened.append(meanwhile(simulator, other))

    act_after(k, steps, act)
    persist(simulator, scene.call, k, prepared)
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
        world = played(open_client, scene, steps, recovered)
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
            lambda _, other: other.change_email("third@shop.test", external_id="ann-1", old_email=OLD),
        )
        if world is None:
            break
        check(*world)
        theirs = {pair for pair in pairs(world[0]) if pair[0] in {"ann-1", "ann-9"} or pair[1] == "third@shop.test"}
        assert 1 == len(theirs), steps


class TestTheMapMeanwhile:
    """What stands in the map when a change is written down is not what stood there when it began."""

    def test_a_binding_that_is_removed_is_looked_at_again(self, client, simulator):
        """A customer who is forgotten between the PATCH and its writing down is found again in Klaviyo."""
        store = Troubled(simulator)
        k = client(store=store)
        k.identify(**ANN)
        store.before["bind"] = lambda: store.remove(ACCOUNT, Identifier(Kind.EMAIL, OLD))
        assert "changed" == k.change_email(NEW, external_id="ann-1", old_email=OLD).status
        assert ({("ann-1", NEW)}, NEW, 0) == (pairs(simulator), bound(k, external_id="ann-1").email, leases(store))

    def test_a_binding_that_keeps_changing_is_decided_again(self, client, simulator):
        """P4: where other calls write the binding twice while a change is written down, it is decided again."""
        store = Troubled(simulator)
        k = client(store=store)
        k.identify(**ANN)
        checks = [1, 2]

        def check() -> None:
            checks.pop()
            current = store.find(ACCOUNT, (Identifier(Kind.EMAIL, OLD),)).current(Kind.EMAIL)
            assert current is not None
            store.bind(ACCOUNT, Change(current))
            if checks:
                store.before["bind"] = check

        store.before["bind"] = check
        start = simulator.now()
        assert "changed" == k.change_email(NEW, external_id="ann-1").status
        assert ([], {("ann-1", NEW)}, 0) == (checks, pairs(simulator), leases(store))
        assert simulator.now() - start < 1  # the first lease was given back, not waited for

    def test_an_address_that_the_map_has_given_away_is_drift(self, client, simulator):
        """P3, P7: an address that the map gives to somebody else by then stays theirs, and the error says "applied"."""
        store = Troubled(simulator)
        k = client(store=store)
        k.identify(**ANN)
        store.before["bind"] = lambda: store.bind(ACCOUNT, Change(Binding("eve-3", NEW)))
        error = rejected(k.change_email, NEW, external_id="ann-1")
        assert (IdentityDriftError, "applied", "eve-3") == (type(error), error.outcome, bound(k, email=NEW).external_id)
        assert (OLD, 0) == (bound(k, external_id="ann-1").email, leases(store))

    def test_a_survivor_that_the_map_has_changed_is_left_as_it_is(self, client, simulator):
        """A merge that cannot be written down has been done all the same."""
        store = Troubled(simulator)
        k = client(store=store)
        ann = k.identify(**ANN).profile_id
        orphan = simulator.add_profile(email=NEW).id
        store.before["bind"] = lambda: store.remove(ACCOUNT, Identifier(Kind.EMAIL, OLD))
        meanwhile(simulator, "merge_profiles", lambda: merge(simulator, orphan, ann))
        assert isinstance(persist(simulator, rejected_for_good, k.profiles.merge, orphan, into=ann), NotFoundError)
        assert ({("ann-1", OLD)}, 0) == (pairs(simulator), leases(store))

    @pytest.mark.parametrize("call", ["recover", "identify"])
    def test_a_lease_that_its_holder_renews_is_left_to_them(self, client, simulator, call):
        """R13: an expired lease that is renewed before it could be taken over is its holder's."""
        store = Troubled(simulator)
        k = client(store=store, policy=Policy(wait=1))
        token = hold(store, Identifier(Kind.EMAIL, OLD), intent='{"verb": "contact"}', ttl=1)
        expire(simulator)
        store.before["acquire"] = lambda: store.renew(ACCOUNT, token, ttl=60)
        if call == "recover":
            assert [] == k.recover()
        else:
            assert isinstance(rejected(k.identify, **ANN), LeaseHeldError)
        assert 1 == leases(store)
