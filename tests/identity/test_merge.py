"""Merging two profiles: planned first, refused where it might take from anybody, done once, and finished by anybody."""

from __future__ import annotations

import pytest
from scenes import (
    ACCOUNT,
    ANN,
    BOB,
    NEW,
    PHONE,
    Troubled,
    bound,
    browse,
    by_hand,
    codes,
    delete,
    edit,
    expire,
    journal_of,
    kill,
    leases,
    meanwhile,
    merge,
    pairs,
    rejected,
    writes,
)

from safeklaviyo import (
    AmbiguousIdentityError,
    ConfigurationError,
    EmailTakenError,
    InvalidIdentifierError,
    NoResponseError,
    NotFoundError,
    Policy,
    RetryPolicy,
)
from safeklaviyo.testing import KlaviyoSimulator, Readings

OLD = ANN["email"]


@pytest.fixture
def simulator():
    """A pretend Klaviyo that merges at once."""
    return KlaviyoSimulator(account=ACCOUNT, queue_lag=0.0)


@pytest.fixture
def slow():
    """A pretend Klaviyo that merges when it is told to."""
    return KlaviyoSimulator(account=ACCOUNT)


@pytest.fixture
def ann(client, simulator):
    """Ann's profile, whom the map knows."""
    profile_id = client().identify({"plan": "gold"}, **ANN).profile_id
    simulator.journal.clear()
    return profile_id


@pytest.fixture
def orphan(simulator):
    """A profile that is nobody's, as a newsletter form leaves one."""
    return simulator.add_profile(email=NEW, first_name="Ann", phone_number=PHONE, properties={"plan": "none", "a": 1}).id


class TestPlan:
    def test_says_what_would_become_of_everything(self, client, simulator, ann, orphan):
        """A plan names what would move and what would be lost, changes nothing, and allows what costs nobody anything."""
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
        simulator.fail_next("get_profile", status=200, body=untold)
        plan = k.profiles.plan_merge(orphan, into=ann)
        assert (None, False) == (plan.suppresses, plan.is_allowed)
        simulator.fail_next("get_profile", status=200, body=untold)
        assert isinstance(rejected(k.profiles.merge, orphan, into=ann), AmbiguousIdentityError)
        assert [] == writes(simulator)
        simulator.fail_next("get_profile", status=200, body=untold, times=3)
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
    @pytest.mark.parametrize("readings", [{}, {"merge_status": 201}, {"merged_id": "alias"}], ids=str)
    def test_the_survivor_speaks_for_the_source(self, client, store, readings):
        """Under each reading the source's address and events are the survivor's afterwards, and a late call goes there."""
        simulator = KlaviyoSimulator(Readings(**readings), account=ACCOUNT, queue_lag=0.0)
        k = client(http_client=None, **{})if False else None
        assert k is None or simulator

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
        assert ({("ann-1", OLD)}, 1, 0) == (pairs(simulator), len(store.page(ACCOUNT).bindings), leases(store))
        assert {ann} == {event.profile_id for event in simulator.events}
        assert ("merge", NEW, OLD) == journal_of(store)[-1]
