"""Merging two profiles: planned first, refused where it might take from anybody, done once, and finished by anybody."""

from __future__ import annotations

from typing import Any

import pytest

from safeklaviyo import (
    AmbiguousIdentityError,
    ConfigurationError,
    EmailTakenError,
    IdentityDriftError,
    InvalidIdentifierError,
    NoResponseError,
    NotFoundError,
    Policy,
    ProfileNotVisibleError,
    RetryPolicy,
)
from safeklaviyo.testing import Readings
from support.scenes import (
    ACCOUNT,
    ANN,
    BOB,
    NEW,
    PHONE,
    Troubled,
    asked,
    bound,
    browse,
    delete,
    edit,
    expire,
    journal_of,
    kill,
    leases,
    meanwhile,
    merge,
    pairs,
    persist,
    recovered,
    rejected,
    writes,
)

OLD = ANN["email"]


AT_ONCE = {"queue_lag": 0.0}
READINGS: list[dict[str, Any]] = [{}, {"merge_status": 201}, {"merged_id": "alias"}]
ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
def settings():
    """Klaviyo merges at once."""
    return AT_ONCE


@pytest.fixture
def ann(client, simulator):
    """Ann's profile, whom the map knows."""
    profile_id = client().identify({"plan": "gold"}, **ANN).profile_id
    simulator.journal.clear()
    return profile_id


@pytest.fixture
def orphan(simulator):
    """A profile that is nobody's, as a newsletter form leaves one."""
    return simulator.add_profile(
        email=NEW, first_name="Ann", phone_number=PHONE, properties={"plan": "none", "a": 1}
    ).id


def asks_for_consent(profile_id):
    """Say of a request whether it reads the consents of a profile."""
    return lambda asked: asked.named == profile_id and "additional-fields[profile]" in asked.query


class TestPlan:
    def test_says_what_would_become_of_everything(self, client, simulator, ann, orphan):
        """A plan names what would move and what would be lost, changes nothing, and allows what costs nobody."""
        plan = client().profiles.plan_merge(orphan, into=ann)
        assert ((orphan, ann), False, ()) == ((plan.source_id, plan.into_id), plan.suppresses, plan.obstacles)
        assert ("phone_number", "first_name", "properties.a", "events") == plan.moves
        assert (("email", "properties.plan"), True) == (plan.lost, plan.is_allowed)
        assert [] == writes(simulator)

    @pytest.mark.parametrize(
        ("source", "into", "suppresses"),
        [
            ({}, {}, False),
            ({"suppressed": True}, {}, True),
            ({"consent": "UNSUBSCRIBED"}, {"consent": "SUBSCRIBED"}, True),
            ({"consent": "UNSUBSCRIBED"}, {"suppressed": True}, False),
            ({"suppressed": True}, {"consent": "UNSUBSCRIBED"}, False),
            ({"consent": "SUBSCRIBED"}, {"suppressed": True}, False),
        ],
    )
    def test_consent_decides(self, client, simulator, source, into, suppresses):
        """What would turn somebody who can be written to into somebody who cannot be is refused, unless asked for."""
        source_id = simulator.add_profile(email=NEW, **source).id
        into_id = simulator.add_profile(**ANN, **into).id
        k = client()
        plan = k.profiles.plan_merge(source_id, into=into_id)
        assert (suppresses, not suppresses) == (plan.suppresses, plan.is_allowed)
        if suppresses:
            error = rejected(k.profiles.merge, source_id, into=into_id)
            assert (AmbiguousIdentityError, "not_applied", (source_id, into_id)) == (
                type(error),
                error.outcome,
                error.profile_ids,
            )
            assert ([], 2) == (writes(simulator), len(simulator.profiles))
        assert "completed" == k.profiles.merge(source_id, into=into_id, allow_suppressed=suppresses).status
        assert {("ann-1", OLD)} == pairs(simulator)

    def test_a_consent_that_klaviyo_does_not_tell_counts_as_one_to_lose(self, client, simulator, ann, orphan):
        """Where Klaviyo does not say who may be written to, nothing is merged without being asked for by name."""
        untold = {"data": {"type": "profile", "id": orphan, "attributes": {"email": NEW}}}
        k = client()
        simulator.fail_next("get_profile", status=200, body=untold, times=4, match=asks_for_consent(orphan))
        plan = k.profiles.plan_merge(orphan, into=ann)
        assert (None, False) == (plan.suppresses, plan.is_allowed)
        assert isinstance(rejected(k.profiles.merge, orphan, into=ann), AmbiguousIdentityError)
        assert [] == writes(simulator)
        assert "completed" == k.profiles.merge(orphan, into=ann, allow_suppressed=True).status

    def test_a_customer_is_never_merged_away(self, client, simulator, ann):
        """P3: a source that is another customer's, to Klaviyo or to the map, is refused; nothing is written."""
        k = client()
        bob = k.identify(**BOB).profile_id
        eve = simulator.add_profile(external_id="eve-3", email="eve@shop.test").id
        edit(simulator, bob, external_id=None)
        simulator.journal.clear()
        for source in (bob, eve):
            (obstacle,) = k.profiles.plan_merge(source, into=ann).obstacles
            error = rejected(k.profiles.merge, source, into=ann, allow_suppressed=True)
            assert (AmbiguousIdentityError, f"the profiles were not merged: {obstacle}") == (type(error), str(error))
        assert (3, []) == (len(simulator.profiles), writes(simulator))

    def test_neither_itself_nor_into_nobody(self, client, simulator, ann, orphan):
        """A profile is not merged into itself, nor into one without an address, whose source's would be all it had."""
        bare = simulator.add_profile(external_id="bare-1").id
        k = client()
        for source, into in ((ann, ann), (orphan, bare)):
            assert 1 == len(k.profiles.plan_merge(source, into=into).obstacles)
            assert isinstance(rejected(k.profiles.merge, source, into=into), AmbiguousIdentityError)
        assert [] == writes(simulator)

    def test_both_have_to_be_there(self, client, simulator, ann):
        """A profile that nobody ever had is Klaviyo's 404, whichever it is; what is no profile id is refused (F-7)."""
        k = client()
        for source, into, which in (("GONE", ann, "source"), (ann, "GONE", "destination")):
            for call in (k.profiles.plan_merge, k.profiles.merge):
                error = rejected(call, source, into=into)
                assert (NotFoundError, True) == (type(error), which in str(error))
        for call in (k.profiles.plan_merge, k.profiles.merge):
            assert isinstance(rejected(call, "..", into=ann), InvalidIdentifierError)
            assert isinstance(rejected(call, ann, into="../x"), InvalidIdentifierError)

    def test_the_legacy_api_merges_nothing(self, client):
        """The legacy dialect cannot merge, and says so."""
        k = client(dialect="legacy", public_key=ACCOUNT, base_url="http://127.0.0.1:1")
        for call in (k.profiles.plan_merge, k.profiles.merge):
            assert isinstance(rejected(call, "A1", into="B2"), ConfigurationError)


class TestMerge:
    @pytest.mark.parametrize(
        "settings", [AT_ONCE | {"readings": Readings(**each)} for each in READINGS], ids=map(str, READINGS)
    )
    def test_the_survivor_speaks_for_the_source(self, client, simulator, store, ann, orphan):
        """Under each reading the source's address and events are the survivor's afterwards, as are late calls."""
        browse(simulator, email=NEW)
        k = client()
        assert "completed" == k.profiles.merge(orphan, into=ann).status
        late = k.track("Ordered", email=NEW)
        simulator.advance(1)
        assert (ann, "R11", 0) == (late.profile_id, late.rule, leases(store))
        assert {("ann-1", OLD)} == pairs(simulator)
        assert {ann} == {event.profile_id for event in simulator.events}
        assert [("merge", NEW, OLD)] == journal_of(store)

    def test_a_guest_is_absorbed(self, client, simulator, store, ann):
        """A guest whom the map knows, with all their former addresses, becomes one with the survivor."""
        k = client()
        guest = k.identify(email="first@shop.test").profile_id
        k.change_email(NEW, old_email="first@shop.test")
        k.track("Viewed", email=NEW)
        result = k.profiles.merge(guest, into=ann)
        assert ("completed", guest, ann) == (result.status, result.source_id, result.into_id)
        for email in (NEW, "first@shop.test"):
            assert ann == k.track("Ordered", email=email).profile_id
        simulator.advance(1)
        assert ({("ann-1", OLD)}, 1, 0) == (pairs(simulator), len(store.page(ACCOUNT).bindings), leases(store))
        assert {ann} == {event.profile_id for event in simulator.events}
        assert ("merge", NEW, OLD) == journal_of(store)[-1]

    def test_strangers_are_made_one(self, client, simulator, store, orphan):
        """Two profiles that the map does not know: the survivor is bound as Klaviyo shows it."""
        into = simulator.add_profile(**ANN).id
        k = client()
        assert "completed" == k.profiles.merge(orphan, into=into).status
        assert ("R3", into) == (k.explain(**ANN).rule, bound(k, email=OLD).profile_id)
        assert ("R11", 0) == (k.explain(email=NEW).rule, leases(store))

    def test_a_survivor_who_is_only_half_known_is_completed(self, client, simulator, store):
        """A pair that the map was given without a profile id gets it, and the source's address retires to it."""
        k = client()
        k.bindings.add([ANN])
        into = simulator.add_profile(**ANN).id
        guest = k.identify(email=NEW).profile_id
        assert "completed" == k.profiles.merge(guest, into=into).status
        assert ("R11", into) == (k.explain(email=NEW).rule, bound(k, email=OLD).profile_id)
        assert into == k.identify(email=NEW).profile_id
        assert ({("ann-1", OLD)}, 0) == (pairs(simulator), leases(store))

    @pytest.mark.parametrize("settings", [{}])
    def test_a_merge_that_takes_its_time_is_requested(self, client, simulator, store, ann, orphan):
        """The wait is bounded; a late call goes to the survivor all the same, beside the lease that stays."""
        start = simulator.now()
        k = client(policy=Policy(merge_wait=4))
        assert "requested" == k.profiles.merge(orphan, into=ann).status
        assert 4 <= simulator.now() - start <= 6
        assert (ann, 1) == (k.track("Ordered", email=NEW).profile_id, leases(store))
        simulator.drain()
        simulator.advance(2)
        assert (["completed"], 0) == ([each.status for each in k.recover()], leases(store))
        assert ({("ann-1", OLD)}, {ann}) == (pairs(simulator), {event.profile_id for event in simulator.events})

    @pytest.mark.parametrize("settings", [{"queue_lag": 2.0}])
    def test_a_merge_is_waited_for(self, client, simulator, ann, orphan):
        """A merge that Klaviyo does within the wait is completed."""
        assert "completed" == client().profiles.merge(orphan, into=ann).status
        assert {("ann-1", OLD)} == pairs(simulator)

    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize(
        "settings", [AT_ONCE, AT_ONCE | {"readings": Readings(merged_id="alias")}], ids=["404", "alias"]
    )
    def test_after_an_unknown_outcome_the_same_call_completes_it(self, *, client, simulator, store, ann, orphan, when):
        """P7, F-19: the source is read before anything is repeated; gone or an alias means that it was done."""
        simulator.fail_next("merge_profiles", when=when)
        k = client(retry=ONCE)
        error = rejected(k.profiles.merge, orphan, into=ann)
        assert (NoResponseError, "unknown", 1) == (type(error), error.outcome, leases(store))
        assert "completed" == persist(simulator, k.profiles.merge, orphan, into=ann).status
        assert ({("ann-1", OLD)}, 0, "R11") == (pairs(simulator), leases(store), k.explain(email=NEW).rule)
        done = [entry for entry in writes(simulator) if entry.endpoint == "merge_profiles" and entry.committed]
        assert 1 == len(done)

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_after_an_unknown_outcome_recover_completes_it(self, *, client, simulator, store, ann, orphan, when):
        """P4: the intent of a merge whose answer was lost is completed by whoever calls `recover`."""
        simulator.fail_next("merge_profiles", when=when)
        k = client(retry=ONCE)
        rejected(k.profiles.merge, orphan, into=ann)
        expire(simulator)
        (recovery,) = recovered(simulator, k)
        assert ("merge", "completed", "ann-1", OLD) == (
            recovery.verb,
            recovery.status,
            recovery.external_id,
            recovery.email,
        )
        assert ({("ann-1", OLD)}, 0, "R11") == (pairs(simulator), leases(store), k.explain(email=NEW).rule)

    def test_a_source_that_vanishes_at_the_last_moment_is_no_success(self, client, simulator, store, ann, orphan):
        """A 404 to the merge itself is not said to be a merge: Klaviyo has accepted none of this call."""
        meanwhile(simulator, "merge_profiles", lambda: merge(simulator, orphan, ann))
        k = client()
        error = rejected(k.profiles.merge, orphan, into=ann)
        assert (ProfileNotVisibleError, "not_applied", 0) == (type(error), error.outcome, leases(store))
        simulator.advance(error.retry_after)
        error = rejected(k.profiles.merge, orphan, into=ann)
        assert (NotFoundError, "not_applied", {("ann-1", OLD)}) == (type(error), error.outcome, pairs(simulator))

    def test_a_source_that_becomes_a_customer_meanwhile_is_not_merged(self, client, simulator, store, ann, orphan):
        """P3: the profiles are read again under the lease, and judged as they are then."""
        meanwhile(simulator, "get_profile", lambda: edit(simulator, orphan, external_id="eve-3"), turn=3)
        assert isinstance(rejected(client().profiles.merge, orphan, into=ann), AmbiguousIdentityError)
        assert ({("ann-1", OLD), ("eve-3", NEW)}, 0) == (pairs(simulator), leases(store))

    def test_a_survivor_that_vanishes_is_reported(self, client, simulator, store, ann, orphan):
        """A survivor that is deleted before the merge is Klaviyo's 404, and nothing is written."""
        meanwhile(simulator, "get_profile", lambda: delete(simulator, ann), turn=3)
        error = rejected(client().profiles.merge, orphan, into=ann)
        assert (NotFoundError, "not_applied", 0) == (type(error), error.outcome, leases(store))
        assert {(None, NEW)} == pairs(simulator)

    def test_whoever_takes_a_slow_merge_over_completes_it_for_both(
        self, *, client, simulator, store, open_client, ann, orphan
    ):
        """R13: a merge whose lease somebody else took over is theirs; the first caller is told that it is completed."""
        other = open_client(simulator, store)

        def take_over() -> None:
            expire(simulator)
            assert ["completed"] == [recovery.status for recovery in other.recover()]

        meanwhile(simulator, "merge_profiles", take_over)
        assert "completed" == client().profiles.merge(orphan, into=ann).status
        assert ({("ann-1", OLD)}, 0) == (pairs(simulator), leases(store))

    def test_an_identify_with_the_sources_address_waits_for_the_merge(
        self, *, client, simulator, store, open_client, ann, orphan
    ):
        """P4: a call about the source meanwhile waits, and lands on the survivor."""
        other = open_client(simulator, store)
        landed: list[object] = []
        meanwhile(simulator, "merge_profiles", lambda: landed.append(other.identify(email=NEW)))
        assert "completed" == client().profiles.merge(orphan, into=ann).status
        assert ([ann], {("ann-1", OLD)}) == ([result.profile_id for result in landed], pairs(simulator))

    def test_a_survivor_whose_address_is_anothers_in_the_map_is_left_to_them(self, client, simulator, store, orphan):
        """P3, P7: where the map gives the survivor's address to another customer, nothing is merged."""
        k = client()
        ann = k.identify(**ANN).profile_id
        edit(simulator, ann, email="else@shop.test")
        into = simulator.add_profile(external_id="eve-3", email=OLD).id
        error = rejected(k.profiles.merge, orphan, into=into)
        assert (IdentityDriftError, "not_applied") == (type(error), error.outcome)
        assert "merge_profiles" not in asked(simulator)
        assert (ann, 1, 0) == (bound(k, email=OLD).profile_id, len(store.page(ACCOUNT).bindings), leases(store))

    @pytest.mark.parametrize("settings", [AT_ONCE | {"search_lag": "until_drain"}])
    def test_a_survivor_that_is_gone_afterwards_leaves_the_map_as_it_was(self, client, simulator, store, ann, orphan):
        """A survivor that is deleted right after the merge is bound to no customer, once that is sure."""
        meanwhile(simulator, "get_profile", lambda: delete(simulator, ann), turn=7)
        k = client()
        error = rejected(k.profiles.merge, orphan, into=ann)
        assert (ProfileNotVisibleError, "applied", 1) == (type(error), error.outcome, leases(store))
        expire(simulator)
        recovered(simulator, k)
        assert (set(), 0) == (pairs(simulator), leases(store))


class TestChangeEmailWithMerge:
    @pytest.mark.parametrize("known", [False, True], ids=["unknown", "guest"])
    def test_an_orphan_with_the_new_address_is_merged(self, client, simulator, store, ann, known):
        """An orphan, also one whom the map knows as a guest, becomes one with the customer, who keeps the consent."""
        k = client()
        if known:
            orphan = k.identify({"a": 1}, email=NEW).profile_id
        else:
            orphan = simulator.add_profile(email=NEW, properties={"a": 1}).id
        change = k.change_email(NEW, external_id="ann-1", on_taken="merge")
        assert ("changed", ann, orphan, OLD, True) == (
            change.status,
            change.profile_id,
            change.merged_profile_id,
            change.old_email,
            change.visible,
        )
        assert ({("ann-1", NEW)}, 1, 0) == (pairs(simulator), len(store.page(ACCOUNT).bindings), leases(store))
        assert {"plan": "gold", "a": 1} == simulator.profiles[0].properties
        assert [ann, ann] == [k.track("Ordered", email=email).profile_id for email in (OLD, NEW)]

    def test_a_guest_is_not_merged_unasked(self, client, simulator, store, ann):
        """P3: without ``on_taken="merge"`` a guest's address is taken, as any other's."""
        k = client()
        guest = k.identify(email=NEW).profile_id
        error = rejected(k.change_email, NEW, external_id="ann-1")
        assert (EmailTakenError, guest, None) == (type(error), error.profile_id, error.external_id)
        assert ({("ann-1", OLD), (None, NEW)}, 0) == (pairs(simulator), leases(store))

    @pytest.mark.parametrize("consent", [{"suppressed": True}, {"consent": "UNSUBSCRIBED"}], ids=str)
    def test_a_consent_is_never_lost_with_it(self, client, simulator, store, ann, consent):
        """F-14: an orphan who cannot be written to is not merged, and the address counts as taken."""
        orphan = simulator.add_profile(email=NEW, **consent).id
        error = rejected(client().change_email, NEW, external_id="ann-1", on_taken="merge")
        assert (EmailTakenError, orphan, "not_applied", 0) == (
            type(error),
            error.profile_id,
            error.outcome,
            leases(store),
        )
        assert (2, []) == (len(simulator.profiles), [e for e in writes(simulator) if e.endpoint == "merge_profiles"])

    @pytest.mark.parametrize("settings", [{}])
    @pytest.mark.parametrize("by", ["identify", "change_email", "recover"])
    def test_a_merge_that_takes_its_time_is_completed_by_whoever_comes_next(self, client, simulator, store, ann, by):
        """The call says that the merge was asked for; once Klaviyo has done it, any next call completes the change."""
        orphan = simulator.add_profile(email=NEW).id
        k = client(policy=Policy(merge_wait=2))
        change = k.change_email(NEW, external_id="ann-1", on_taken="merge")
        assert ("merge_requested", False, ann, orphan, NEW, 1) == (
            change.status,
            change.visible,
            change.profile_id,
            change.merged_profile_id,
            change.new_email,
            leases(store),
        )
        assert {("ann-1", OLD), (None, NEW)} == pairs(simulator)
        simulator.drain()
        simulator.advance(2)
        calls = {
            "identify": lambda: k.identify(external_id="ann-1"),
            "change_email": lambda: k.change_email(NEW, external_id="ann-1"),
            "recover": k.recover,
        }
        calls[by]()
        assert ({("ann-1", NEW)}, NEW, 0) == (pairs(simulator), bound(k, external_id="ann-1").email, leases(store))
        assert 1 == len([entry for entry in writes(simulator) if entry.endpoint == "merge_profiles"])

    @pytest.mark.parametrize("settings", [{}])
    def test_a_merge_that_is_not_done_yet_is_postponed(self, client, simulator, ann):
        """`recover` does not say that a change is completed while Klaviyo has not merged."""
        simulator.add_profile(email=NEW)
        k = client(policy=Policy(merge_wait=2))
        k.change_email(NEW, external_id="ann-1", on_taken="merge")
        simulator.advance(2)
        assert ["postponed"] == [recovery.status for recovery in k.recover()]

    @pytest.mark.parametrize("where", ["merge_profiles", "get_profile:4", "update_profile", "bind"])
    @pytest.mark.parametrize("by", ["identify", "recover"])
    def test_a_killed_merge_is_completed(self, client, simulator, open_client, where, by):
        """P4: whatever step the process dies at, the next one merges and moves, once."""
        store = Troubled(simulator)
        k = open_client(simulator, store)
        k.identify(**ANN)
        orphan = simulator.add_profile(email=NEW).id
        kill(simulator, store, where, k.change_email, NEW, external_id="ann-1", on_taken="merge")
        expire(simulator)
        other = client(store=store)
        if by == "identify":
            other.identify(external_id="ann-1")
        else:
            assert ["completed"] == [recovery.status for recovery in other.recover()]
        assert ({("ann-1", NEW)}, NEW, 0) == (pairs(simulator), bound(other, external_id="ann-1").email, leases(store))
        assert (None, True) == (simulator.find(email=OLD), orphan in simulator.merged)

    def test_an_orphan_that_vanishes_leaves_the_address_free(self, client, simulator, store, ann):
        """An orphan that is deleted before it could be merged is no obstacle any more."""
        orphan = simulator.add_profile(email=NEW).id
        meanwhile(simulator, "get_profile", lambda: delete(simulator, orphan), turn=3)
        assert "changed" == client().change_email(NEW, external_id="ann-1", on_taken="merge").status
        assert ({("ann-1", NEW)}, 0) == (pairs(simulator), leases(store))

    def test_an_orphan_that_becomes_a_customer_meanwhile_is_taken(self, client, simulator, store, ann):
        """P3: the orphan is read once more right before it is merged."""
        orphan = simulator.add_profile(email=NEW).id
        meanwhile(simulator, "get_profile", lambda: edit(simulator, orphan, external_id="eve-3"), turn=3)
        error = rejected(client().change_email, NEW, external_id="ann-1", on_taken="merge")
        assert (EmailTakenError, "not_applied", 0) == (type(error), error.outcome, leases(store))
        assert {("ann-1", OLD), ("eve-3", NEW)} == pairs(simulator)
