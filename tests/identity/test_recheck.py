"""`recheck_changes`: what Klaviyo's own delays undid after a change is found, told apart, and repaired on request."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from safeklaviyo import CLEAR, NoResponseError, RetryPolicy, SafeKlaviyoError
from safeklaviyo.testing import Readings
from support.scenes import (
    ANN,
    BOB,
    NEW,
    asked,
    bound,
    browse,
    delete,
    edit,
    journal_of,
    leases,
    meanwhile,
    merge,
    pairs,
    persist,
    rejected,
    rejected_for_good,
    writes,
)

OLD = ANN["email"]
DAY = 86_400.0


@pytest.fixture
def moved(client, simulator):
    """A client that moved Ann to her second address; the journal is empty."""
    k = client()
    k.identify(**ANN)
    k.change_email(NEW, external_id="ann-1")
    simulator.journal.clear()
    return k


def shape(review):
    """Return what a review says, without its profiles."""
    return review.finding, review.external_id, review.email, review.old_email, review.repaired


def test_what_agrees_is_not_mentioned(moved, simulator):
    """A change that stands costs two reads, and is no finding; with ``repair`` neither."""
    assert [] == moved.recheck_changes()
    assert ["get_profile", "get_profiles"] == asked(simulator)
    assert ([], []) == (moved.recheck_changes(repair=True), writes(simulator))


def test_nobody_changed_costs_nothing(client, simulator):
    """Only customers whose identifiers changed are looked at."""
    k = client()
    k.identify(**ANN)
    simulator.journal.clear()
    assert ([], []) == (k.recheck_changes(), simulator.journal)


def test_h1_an_event_that_was_queued_puts_the_old_address_back(client, simulator, store):
    """H1: the event names the old pair and is applied after the change; the recheck finds it, and may repair it."""
    k = client()
    k.identify(**ANN)
    k.track("Ordered", external_id="ann-1")
    k.change_email(NEW, external_id="ann-1")
    simulator.drain()
    assert {("ann-1", OLD)} == pairs(simulator)
    (review,) = k.recheck_changes()
    assert (("put_back", "ann-1", NEW, OLD, False), simulator.profiles[0].id) == (shape(review), review.profile_id)
    assert {("ann-1", OLD)} == pairs(simulator)
    (review,) = k.recheck_changes(repair=True)
    assert ("put_back", "ann-1", NEW, OLD, True) == shape(review)
    assert ({("ann-1", NEW)}, 0, ("restore", OLD, NEW)) == (pairs(simulator), leases(store), journal_of(store)[-1])
    assert [] == k.recheck_changes()
    assert 1 == len(simulator.events)


@pytest.mark.parametrize(("new", "current"), [("ann-9", "ann-9"), (CLEAR, None)], ids=["another", "none"])
@pytest.mark.parametrize("by", ["recheck", "identify"])
def test_h1_a_queued_event_puts_an_old_id_back(*, client, simulator, store, new, current, by):
    """H1: a former id that a late event has put back is repaired as a former address is, and is not bound again."""
    k = client()
    k.identify(**ANN)
    k.track("Ordered", external_id="ann-1")
    k.change_external_id(new, old_external_id="ann-1")
    simulator.drain()
    assert {("ann-1", OLD)} == pairs(simulator)
    if by == "recheck":
        assert [("put_back", True)] == [(each.finding, each.repaired) for each in k.recheck_changes(repair=True)]
    else:
        k.identify(email=OLD)
    assert ({(current, OLD)}, current, 0) == (pairs(simulator), bound(k, email=OLD).external_id, leases(store))


def test_a_put_back_that_cannot_be_repaired_says_so(moved, simulator, store):
    """Where the new address has become another's, nothing is taken from them, and the review is not repaired."""
    edit(simulator, simulator.profiles[0].id, email=OLD)
    simulator.add_profile(external_id="eve-3", email=NEW)
    (review,) = moved.recheck_changes(repair=True)
    assert ("put_back", "ann-1", NEW, OLD, False) == shape(review)
    assert ({("ann-1", OLD), ("eve-3", NEW)}, 0) == (pairs(simulator), leases(store))


def test_a_browsers_call_with_the_old_address_makes_a_ghost(moved, simulator, store):
    """F-13: a profile that came of a former address is reported with its id, and left to be merged on request."""
    browse(simulator, email=OLD)
    simulator.drain()
    ghost = simulator.find(email=OLD).id
    (review,) = moved.recheck_changes(repair=True)
    assert (("ghost", "ann-1", NEW, OLD, False), ghost) == (shape(review), review.ghost_profile_id)
    assert 2 == len(simulator.profiles)
    moved.profiles.merge(ghost, into=review.profile_id)
    simulator.drain()
    assert ([], {("ann-1", NEW)}) == (moved.recheck_changes(), pairs(simulator))


def test_every_former_address_is_looked_for(moved, simulator):
    """After a chain of changes a ghost of any former address is found."""
    moved.change_email("third@shop.test", external_id="ann-1")
    ghosts = {email: simulator.add_profile(email=email).id for email in (OLD, NEW)}
    assert ghosts == {review.old_email: review.ghost_profile_id for review in moved.recheck_changes()}


def test_the_address_of_a_source_is_looked_for_as_well(client, simulator):
    """A ghost that comes of a merged profile's address is found like one of a former address."""
    k = client()
    ann = k.identify(**ANN).profile_id
    source = simulator.add_profile(email=NEW).id
    k.profiles.merge(source, into=ann)
    simulator.drain()
    browse(simulator, email=NEW)
    simulator.drain()
    (review,) = k.recheck_changes()
    assert ("ghost", "ann-1", OLD, NEW, False) == shape(review)


@pytest.mark.parametrize("settings", [{"queue_lag": 0.0}])
def test_an_absorbed_guests_former_address_is_looked_for_as_well(client, simulator):
    """What was a guest's before they became one with the customer is the customer's to look for."""
    k = client()
    k.identify(email="first@shop.test")
    k.change_email(NEW, old_email="first@shop.test")
    k.identify(**ANN)
    k.change_email(NEW, external_id="ann-1", on_taken="merge")
    ghost = simulator.add_profile(email="first@shop.test").id
    assert [ghost] == [review.ghost_profile_id for review in k.recheck_changes()]


def test_an_address_that_became_another_customers_is_no_ghost(moved, simulator):
    """P3: a former address that is somebody else's by now is theirs, in the map, and no finding."""
    moved.identify(external_id="eve-3", email=OLD)
    assert [] == moved.recheck_changes(repair=True)
    assert {("ann-1", NEW), ("eve-3", OLD)} == pairs(simulator)


def test_an_address_of_a_customer_without_a_known_profile_is_no_ghost(moved, simulator):
    """P3: so is the address of a customer whose profile the map does not know yet."""
    moved.bindings.add([{"external_id": "eve-3", "email": OLD}])
    simulator.add_profile(external_id="eve-3", email=OLD)
    assert [] == moved.recheck_changes()


def test_another_customers_profile_that_shows_it_is_no_ghost(moved, simulator):
    """A profile that the map gives to somebody is not reported as a ghost, whatever it shows."""
    bob = moved.identify(**BOB).profile_id
    edit(simulator, bob, email=OLD)
    assert [] == moved.recheck_changes()


@pytest.mark.parametrize("shown", [{"email": "else@shop.test"}, {"external_id": "eve-3"}, {"email": None}], ids=str)
def test_r15_what_nobody_here_knows_is_drift(moved, simulator, shown):
    """R15: an edit by hand is reported and not repaired: nobody here knows whether it was meant."""
    edit(simulator, simulator.profiles[0].id, **shown)
    before = pairs(simulator)
    (review,) = moved.recheck_changes(repair=True)
    assert ("drift", "ann-1", NEW, False) == (review.finding, review.external_id, review.email, review.repaired)
    assert (shown.get("email", NEW), before) == (review.old_email, pairs(simulator))


def test_an_id_that_is_somebodys_is_never_overwritten(moved, simulator):
    """A profile that shows a former address and another id is not repaired."""
    edit(simulator, simulator.profiles[0].id, email=OLD, external_id="eve-3")
    (review,) = moved.recheck_changes(repair=True)
    assert (False, {("eve-3", OLD)}) == (review.repaired, pairs(simulator))


def test_a_profile_that_is_gone_is_missing(moved, simulator):
    """A deleted profile is reported, and not made anew."""
    gone = simulator.profiles[0].id
    delete(simulator, gone)
    (review,) = moved.recheck_changes(repair=True)
    assert (("missing", "ann-1", NEW, None, False), gone, []) == (shape(review), review.profile_id, simulator.profiles)


def test_a_binding_without_a_profile_is_missing(moved, simulator):
    """So is one whose profile the map has forgotten already, as it does where first contact cannot make another."""
    delete(simulator, simulator.profiles[0].id)
    simulator.fail_next("create_profile", status=403)
    persist(simulator, rejected_for_good, moved.identify, external_id="ann-1")
    (review,) = moved.recheck_changes()
    assert ("missing", None) == (review.finding, review.profile_id)


@pytest.mark.parametrize("verb", ["change_external_id", "clear"])
def test_a_changed_id_is_rechecked_too(client, simulator, verb):
    """A customer whose id changed is looked at by their profile, and found right, or wrong."""
    k = client()
    k.identify(**ANN)
    k.change_external_id(CLEAR if verb == "clear" else "ann-9", old_external_id="ann-1")
    assert [] == k.recheck_changes()
    edit(simulator, simulator.profiles[0].id, email="else@shop.test")
    assert ["drift"] == [review.finding for review in k.recheck_changes()]


def test_how_far_back_to_look(moved, simulator):
    """Seven days, or since a moment given as unix seconds, as an aware datetime, or as ISO 8601."""
    edit(simulator, simulator.profiles[0].id, email=OLD)
    start = simulator.now()
    simulator.advance(6 * DAY)
    assert 1 == len(moved.recheck_changes())
    simulator.advance(2 * DAY)
    assert [] == moved.recheck_changes()
    for since in (
        start - 1,
        datetime.fromtimestamp(start - 1, UTC),
        datetime.fromtimestamp(start - 1, UTC).isoformat(),
    ):
        assert 1 == len(moved.recheck_changes(since))
    assert [] == moved.recheck_changes(start + DAY)
    for wrong in ("yesterday", datetime(2026, 1, 1), True):  # noqa: DTZ001 - the naive one is the point
        assert isinstance(rejected(moved.recheck_changes, wrong), SafeKlaviyoError)


def test_whoever_was_forgotten_is_passed_over(moved, store):
    """A customer whose binding was removed since is nobody's to compare."""
    moved.bindings.remove(external_id="ann-1")
    assert [] == moved.recheck_changes()


def test_each_customer_is_looked_at_once(moved, simulator):
    """Several changes of one customer are one comparison, with the address as it is now."""
    moved.change_email("third@shop.test", external_id="ann-1")
    moved.change_external_id("ann-9", old_external_id="ann-1")
    edit(simulator, simulator.profiles[0].id, email=OLD)
    (review,) = moved.recheck_changes(repair=True)
    assert ("put_back", "ann-9", "third@shop.test", OLD, True) == shape(review)


@pytest.mark.parametrize("settings", [{"readings": Readings(merged_id="alias")}])
def test_a_profile_that_was_merged_by_hand_is_compared_with_what_it_became(moved, simulator):
    """H11: where a merged id answers as the survivor, the survivor is what is compared."""
    kept = simulator.add_profile(email="kept@shop.test").id
    merge(simulator, simulator.profiles[0].id, kept)
    (review,) = moved.recheck_changes(repair=True)
    assert ("drift", "kept@shop.test", False) == (review.finding, review.old_email, review.repaired)


def test_a_failed_search_ends_it(moved, client, simulator):
    """P6: what Klaviyo could not be asked about is not passed over in silence."""
    simulator.fail_next("get_profiles")
    error = rejected(client(retry=RetryPolicy(max_attempts=1)).recheck_changes)
    assert (NoResponseError, "not_applied") == (type(error), error.outcome)


def test_a_change_of_the_same_customer_meanwhile_wins(client, simulator, open_client, store, moved):
    """H8: a repair that was overtaken by another change leaves the newer address."""
    edit(simulator, simulator.profiles[0].id, email=OLD)
    other = open_client(simulator, store)
    meanwhile(simulator, "update_profile", lambda: other.change_email("third@shop.test", external_id="ann-1"))
    moved.recheck_changes(repair=True)
    assert {("ann-1", bound(moved, external_id="ann-1").email)} == pairs(simulator)
    assert 0 == leases(store)
