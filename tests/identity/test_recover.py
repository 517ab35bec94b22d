"""`recover`, and every call that meets what a dead process has left: completed, closed or postponed."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from itertools import count

import pytest

from safeklaviyo import (
    AuthenticationError,
    EmailMismatchError,
    EmailTakenError,
    ErasedError,
    IdentityDriftError,
    NoResponseError,
    NotFoundError,
    Policy,
    RateLimitError,
    RetryPolicy,
    ServerError,
    StoreIncompatibleError,
    StoreUnavailableError,
)
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator
from support.deaths import SCENES, die_after
from support.scenes import (
    ACCOUNT,
    ANN,
    BOB,
    Killed,
    bound,
    delete,
    edit,
    expire,
    hold,
    journal_of,
    leases,
    meanwhile,
    pairs,
    persist,
    recovered,
    rejected,
)

pytestmark = pytest.mark.proof

OLD = ANN["email"]


@cache
def staged(open_client, name):
    """Return what there is before a scene: Klaviyo, the map, and what the scene has prepared. Each run copies it."""
    simulator = KlaviyoSimulator(account=ACCOUNT, queue_lag=0.0)
    store = MemoryStore(clock=simulator.now)
    k = open_client(simulator, store)
    for who in (ANN, BOB):
        k.identify(**who)
    return simulator, store, SCENES[name].prepare(simulator, k)


def killed(open_client, name, steps):
    """Play a scene with a process that dies after so many steps; return None once it gets through alive."""
    simulator, store, prepared = deepcopy(staged(open_client, name))
    before = pairs(simulator), len(journal_of(store))
    mortal = open_client(simulator, store)
    die_after(mortal, steps)
    try:
        SCENES[name].call(mortal, prepared)
    except Killed:
        expire(simulator)
        return simulator, store, prepared, before
    return None


def settled(simulator, store, scene):
    """Check that nothing is left over or written twice, and that the map is what Klaviyo shows; return the pairs."""
    simulator.advance(1)
    assert 0 == leases(store)
    assert all(1 >= journal_of(store).count(row) for row in scene.rows)
    end = pairs(simulator)
    assert len(end) == len(simulator.profiles)
    if end == scene.after:
        shown = {profile.id: (profile.external_id, profile.email) for profile in simulator.profiles}
        for binding in store.page(ACCOUNT).bindings:
            assert shown[binding.profile_id] == (binding.external_id, binding.email)
    return end


@pytest.mark.parametrize("name", SCENES)
def test_recover_after_a_death_at_any_step(open_client, name):
    """P4: whatever step a process dies at, `recover` by another one completes what it had begun, wholly."""
    scene = SCENES[name]
    for steps in count(1):
        played = killed(open_client, name, steps)
        if played is None:
            break
        simulator, store, _, (before, rows) = played
        had_begun = leases(store)
        recoveries = recovered(simulator, open_client(simulator, store))
        assert ["completed"] * had_begun == [each.status for each in recoveries], (steps, recoveries)
        end = settled(simulator, store, scene)
        if scene.verb in {each.verb for each in recoveries}:
            assert scene.after == end, steps
            assert all(1 == journal_of(store)[rows:].count(row) for row in scene.rows)
        else:
            assert end in (before, scene.between, scene.after), steps
    assert steps > 5


@pytest.mark.parametrize("name", SCENES)
def test_the_same_call_after_a_death_at_any_step(open_client, name):
    """P4: whatever step a process dies at, the same call made again by another one ends as if nothing had happened."""
    scene = SCENES[name]
    for steps in count(1):
        played = killed(open_client, name, steps)
        if played is None:
            break
        simulator, store, prepared, _ = played
        had_begun = leases(store)
        k = open_client(simulator, store)
        try:
            persist(simulator, scene.call, k, prepared)
        except NotFoundError:  # a merge that was done and written down: there is no source any more
            assert ("merge", 0) == (scene.verb, had_begun)
        if scene.repairs:
            k.recover()
        assert scene.after == settled(simulator, store, scene), steps


@pytest.mark.parametrize("name", SCENES)
def test_the_next_call_after_a_death_at_any_step(open_client, name):
    """P4: whatever step a process dies at, the next call about the customer finishes it, and lands right."""
    scene = SCENES[name]
    who = {"external_id": "eve-3", "email": "eve@shop.test"} if scene.verb == "contact" else {"email": OLD}
    for steps in count(1):
        played = killed(open_client, name, steps)
        if played is None:
            break
        simulator, store, _, (before, _) = played
        had_begun = leases(store)
        k = open_client(simulator, store)
        try:
            landed = persist(simulator, k.track, "Ordered", unique_id="next", **who).profile_id
        except ErasedError:
            assert "erase" == scene.verb
        else:
            simulator.advance(1)
            assert [landed] == [event.profile_id for event in simulator.events if event.unique_id == "next"]
            assert landed in {profile.id for profile in simulator.profiles}
        if scene.repairs:
            k.recover()
        end = settled(simulator, store, scene)
        assert end in (
            {frozenset(scene.after)}
            if had_begun and not scene.between
            else {frozenset(each) for each in (before, scene.between, scene.after)}
        ), steps


def interrupted(open_client, simulator, store, number=1, email=None):
    """Leave the change of a customer's address behind, as a process does that dies before the PATCH."""
    k = open_client(simulator, store)
    who = {"external_id": f"c-{number}", "email": f"c-{number}@shop.test"}
    profile_id = k.identify(**who).profile_id

    def die() -> None:
        raise Killed

    meanwhile(simulator, "update_profile", die)
    with pytest.raises(Killed):
        k.change_email(email or f"c-{number}@new.test", external_id=who["external_id"])
    return profile_id


class TestRecover:
    def test_nothing_to_do(self, client, simulator):
        """Where nobody died, nothing is asked of Klaviyo."""
        k = client()
        k.identify(**ANN)
        simulator.journal.clear()
        assert ([], []) == (k.recover(), simulator.journal)

    def test_whoever_is_still_at_work_is_left_alone(self, client, open_client, simulator, store):
        """R13: an intent whose lease has not expired is its holder's."""
        interrupted(open_client, simulator, store)
        assert ([], 1) == (client().recover(), leases(store))
        expire(simulator)
        (recovery,) = client().recover()
        assert ("change", "completed", "c-1", "c-1@shop.test", None) == (
            recovery.verb,
            recovery.status,
            recovery.external_id,
            recovery.email,
            recovery.error,
        )
        assert not any(word in repr(recovery) for word in ("c-1@", "new.test"))

    def test_the_oldest_come_first_and_no_more_than_asked_for(self, client, open_client, simulator, store):
        """`limit` bounds the work of one call; the next one goes on where it left."""
        for number in range(1, 6):
            interrupted(open_client, simulator, store, number)
        expire(simulator)
        k = client()
        assert [["c-1", "c-2"], ["c-3"], []] == [[each.external_id for each in k.recover(limit)] for limit in (2, 1, 0)]
        assert ["c-4", "c-5"] == [each.external_id for each in k.recover()]
        assert ([], 0) == (k.recover(), leases(store))

    def test_more_than_a_page_of_them(self, client, open_client, simulator, store):
        """However many there are, each is met once."""
        k = client()
        k.identify(**ANN)
        for number in range(230):
            hold(
                store,
                Identifier(Kind.EMAIL, f"{number}@shop.test"),
                intent=f'{{"verb": "restore", "profile_id": "X{number}"}}',
                ttl=1,
            )
        expire(simulator)
        assert (230, 230) == (len(k.recover()), leases(store))
        expire(simulator)
        assert (230, 0) == (len(k.recover()), leases(store))

    def test_one_failure_does_not_hide_the_others(self, client, open_client, simulator, store):
        """What cannot be done is closed with its reason, what cannot be now is postponed, the rest completed."""
        profiles = [interrupted(open_client, simulator, store, number) for number in (1, 2, 3)]
        simulator.add_profile(external_id="eve-3", email="c-1@new.test")
        expire(simulator)
        simulator.fail_next("update_profile", status=500, times=9, match=lambda asked: asked.named == profiles[1])
        k = client(retry=RetryPolicy(max_attempts=1))
        recoveries = {each.external_id: each for each in k.recover()}
        assert {"c-1": "failed", "c-2": "postponed", "c-3": "completed"} == {
            name: each.status for name, each in recoveries.items()
        }
        assert (EmailTakenError, ServerError) == (type(recoveries["c-1"].error), type(recoveries["c-2"].error))
        assert 1 == leases(store)
        assert {
            ("c-1", "c-1@shop.test"),
            ("eve-3", "c-1@new.test"),
            ("c-2", "c-2@shop.test"),
            ("c-3", "c-3@new.test"),
        } == (pairs(simulator))

    @pytest.mark.parametrize("by", ["recover", "identify"])
    def test_what_cannot_be_done_is_closed_and_blocks_nobody(self, client, open_client, simulator, store, by):
        """An intent whose address became another customer's is closed: the customer keeps what Klaviyo shows."""
        profile_id = interrupted(open_client, simulator, store)
        simulator.add_profile(external_id="eve-3", email="c-1@new.test")
        expire(simulator)
        k = client()
        if by == "recover":
            (recovery,) = k.recover()
            assert ("failed", EmailTakenError) == (recovery.status, type(recovery.error))
        result = k.identify({"plan": "gold"}, external_id="c-1")
        assert (profile_id, "c-1@shop.test", 0) == (result.profile_id, result.identity.email, leases(store))
        assert [] == k.recover()

    def test_h2_a_first_contact_repairs_the_former_owner_first(self, client, simulator, store):
        """H2: an interrupted first contact whose address was put back onto its former owner's profile is completed."""
        k = client()
        k.identify(**ANN)
        k.change_email("ann@new.test", external_id="ann-1")
        edit(simulator, simulator.profiles[0].id, email=OLD)
        names = (Identifier(Kind.EXTERNAL_ID, "eve-3"), Identifier(Kind.EMAIL, OLD))
        hold(store, *names, intent=f'{{"verb": "contact", "external_id": "eve-3", "email": "{OLD}"}}', ttl=1)
        expire(simulator)
        assert ["completed"] == [each.status for each in k.recover()]
        assert ({("ann-1", "ann@new.test"), ("eve-3", OLD)}, 0) == (pairs(simulator), leases(store))

    def test_r6_a_first_contact_whose_id_got_another_address_is_closed(self, client, simulator, store):
        """R6: an interrupted first contact fails if Klaviyo shows another address of the id."""
        intent = '{"verb": "contact", "external_id": "eve-3", "email": "eve@shop.test"}'
        hold(store, Identifier(Kind.EXTERNAL_ID, "eve-3"), intent=intent, ttl=1)
        simulator.add_profile(external_id="eve-3", email="eve@new.test")
        expire(simulator)
        (recovery,) = client(policy=Policy(email_mismatch="change")).recover()
        assert ("failed", EmailMismatchError, "R6", "eve@new.test") == (
            recovery.status,
            type(recovery.error),
            recovery.error.rule,
            recovery.error.current_email,
        )
        assert ({("eve-3", "eve@new.test")}, 0) == (pairs(simulator), leases(store))

    def test_what_was_done_before_it_was_closed_is_seen(self, client, open_client, simulator, store):
        """The map is checked against the profile after an intent was closed: a late write is not the truth."""
        profile_id = interrupted(open_client, simulator, store)
        edit(simulator, profile_id, external_id="eve-3")
        expire(simulator)
        k = client()
        (recovery,) = k.recover()
        assert ("failed", IdentityDriftError) == (recovery.status, type(recovery.error))
        assert "R16" == k.explain(external_id="c-1").rule
        assert isinstance(rejected(k.identify, external_id="c-1"), IdentityDriftError)

    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            ({"status": 401}, AuthenticationError),
            ({"status": 403, "body": "<html>"}, NoResponseError),
            ({"status": 429}, RateLimitError),
            ({"status": 500}, ServerError),
            ({}, NoResponseError),
        ],
        ids=["wrong key", "challenge", "too many", "failure", "lost"],
    )
    @pytest.mark.parametrize("where", ["get_profiles", "get_profile", "update_profile"])
    def test_what_says_nothing_of_the_intent_postpones_it(
        self, *, client, open_client, simulator, store, fault, kind, where
    ):
        """P6: a refused key, or a Klaviyo that cannot answer, neither completes nor closes; the next one does."""
        interrupted(open_client, simulator, store)
        expire(simulator)
        simulator.fail_next(where, **fault)
        k = client(retry=RetryPolicy(max_attempts=1))
        (recovery,) = k.recover()
        assert ("postponed", kind, 1) == (recovery.status, type(recovery.error), leases(store))
        expire(simulator)
        assert ["completed"] == [each.status for each in k.recover()]
        assert ("c-1@new.test", 0) == (bound(k, external_id="c-1").email, leases(store))

    def test_a_profile_that_is_gone_does_not_lose_the_change(self, client, open_client, simulator, store):
        """The customer whose profile was deleted meanwhile is made anew with the new address, not with the old one."""
        delete(simulator, interrupted(open_client, simulator, store))
        expire(simulator)
        k = client()
        assert ["postponed"] == [each.status for each in k.recover()]
        expire(simulator)
        assert ["completed"] == [each.status for each in recovered(simulator, k)]
        k.identify(external_id="c-1")
        assert ({("c-1", "c-1@new.test")}, 0) == (pairs(simulator), leases(store))

    @pytest.mark.parametrize("intent", ["{}", "nothing", '{"verb": "dance"}', '{"verb": "change", "tune": "x"}', "[]"])
    def test_an_intent_of_another_version_is_left_to_it(self, client, simulator, store, intent):
        """What this version cannot read it neither carries out nor closes, and says so."""
        hold(store, Identifier(Kind.EMAIL, OLD), intent=intent, ttl=1)
        expire(simulator)
        k = client()
        (recovery,) = k.recover()
        assert ("unknown", "postponed", StoreIncompatibleError, 1) == (
            recovery.verb,
            recovery.status,
            type(recovery.error),
            leases(store),
        )

    def test_two_at_once_share_the_work(self, client, open_client, simulator, store):
        """R13: an intent is completed by one of two who recover at the same time, and met by neither twice."""
        for number in (1, 2):
            interrupted(open_client, simulator, store, number)
        expire(simulator)
        others: list[object] = []
        other = open_client(simulator, store)
        meanwhile(simulator, "get_profiles", lambda: others.extend(other.recover()))
        mine = client().recover()
        assert ["c-1", "c-2"] == sorted(each.external_id for each in (*mine, *others))
        assert ({("c-1", "c-1@new.test"), ("c-2", "c-2@new.test")}, 0) == (pairs(simulator), leases(store))

    def test_a_lease_that_is_released_meanwhile_is_nobodys(self, client, simulator):
        """An intent that is gone between the list and the taking leaves no lease behind."""
        store = Racing(simulator)
        hold(store, Identifier(Kind.EMAIL, OLD), intent='{"verb": "contact"}', ttl=1)
        expire(simulator)
        assert ([], 0) == (client(store=store).recover(), leases(store))

    def test_a_map_that_is_down_is_an_error(self, client, store):
        """P6: `recover` does not say that there is nothing to do where the map cannot answer."""
        store.close()
        assert isinstance(rejected(client().recover), StoreUnavailableError)

    def test_a_put_back_that_cannot_be_restored_closes_it(self, client, open_client, simulator, store):
        """R15: a new address on its former owner's profile, which cannot be put right, closes the change as taken."""
        k = client()
        bob = k.identify(**BOB).profile_id
        k.change_email("bob@new.test", external_id="bob-2")
        edit(simulator, bob, email=BOB["email"])
        simulator.add_profile(external_id="eve-3", email="bob@new.test")
        interrupted_before = open_client(simulator, store)
        interrupted_before.identify(**ANN)

        def die() -> None:
            raise Killed

        meanwhile(simulator, "get_profiles", die)
        with pytest.raises(Killed):
            interrupted_before.change_email(BOB["email"], external_id="ann-1")
        expire(simulator)
        (recovery,) = k.recover()
        assert ("failed", EmailTakenError, 0) == (recovery.status, type(recovery.error), leases(store))
        assert OLD == k.track("Ordered", external_id="ann-1").identity.email


class Racing(MemoryStore):
    """A map whose expired leases somebody else releases as soon as they have been listed."""

    def __init__(self, simulator):
        super().__init__(clock=simulator.now)

    def expired(self, account, limit):
        listed = super().expired(account, limit)
        for lease in listed:
            self.release(account, lease.token)
        return listed
