"""A profile that Klaviyo does not show is in doubt, and counts as gone by the evidence of H36 and H37 alone."""

from __future__ import annotations

import pytest

from safeklaviyo import NotFoundError, Policy, ProfileNotVisibleError, RetryableError, RetryPolicy
from support.scenes import ACCOUNT, ANN, BOB, NEW, asked, bound, delete, leases, meanwhile, merge, pairs, rejected

OLD = ANN["email"]
LAG = Policy().lag
MONTH = 31 * 86_400


@pytest.fixture
def known(client, simulator):
    """A client who has known Ann for an hour."""
    made = client()
    made.identify(**ANN)
    simulator.advance(3600)
    return made


def test_h36_the_first_404_marks_the_doubt_and_concludes_nothing(known, simulator):
    """H36: the binding keeps its profile, which its next use reads first; the error says when to come back."""
    before = bound(known, external_id="ann-1")
    simulator.fail_next("update_profile", status=404)
    error = rejected(known.identify, {"tier": "gold"}, **ANN)
    assert isinstance(error, NotFoundError)
    assert isinstance(error, RetryableError)
    assert ("not_applied", True, LAG) == (error.outcome, error.may_retry, error.retry_after)
    after = bound(known, external_id="ann-1")
    assert (before.profile_id, before.email, None) == (after.profile_id, after.email, after.verified_at)
    assert "R16" == known.explain(**ANN).rule
    assert before.profile_id == known.track("Ordered", **ANN).profile_id


@pytest.mark.parametrize("seconds", [0, LAG / 2, LAG - 1])
def test_h36_two_404s_within_the_lag_are_one(known, simulator, seconds):
    """H36: both may come from the same replica."""
    old = bound(known, external_id="ann-1").profile_id
    delete(simulator, old)
    rejected(known.identify, {"tier": "gold"}, **ANN)
    simulator.advance(seconds)
    error = rejected(known.track, "Ordered", **ANN)
    assert (ProfileNotVisibleError, LAG - seconds) == (type(error), pytest.approx(error.retry_after))
    assert old == bound(known, external_id="ann-1").profile_id


def test_a_second_404_after_the_lag_makes_the_profile_gone(known, simulator):
    """The next profile is made once Klaviyo has twice not shown the old one, a lag apart."""
    old = bound(known, external_id="ann-1").profile_id
    delete(simulator, old)
    rejected(known.identify, {"tier": "gold"}, **ANN)
    simulator.advance(LAG)
    result = known.identify({"tier": "gold"}, **ANN)
    assert (True, {("ann-1", OLD)}, False) == (result.created, pairs(simulator), old == result.profile_id)


def test_h36_right_after_a_write_of_ours_a_404_says_nothing(client, simulator):
    """H36: the mark is not even set while the profile was written a moment ago."""
    k = client()
    k.identify(**ANN)
    simulator.advance(LAG / 4)
    simulator.fail_next("update_profile", status=404)
    error = rejected(k.identify, {"tier": "gold"}, **ANN)
    assert (ProfileNotVisibleError, LAG * 3 / 4) == (type(error), pytest.approx(error.retry_after))
    assert bound(k, external_id="ann-1").verified_at is not None


def test_a_doubt_that_was_settled_does_not_count_later(known, simulator):
    """A profile that was seen between two 404s is in doubt anew with the second."""
    old = bound(known, external_id="ann-1").profile_id
    simulator.fail_next("update_profile", status=404)
    rejected(known.identify, {"tier": "gold"}, **ANN)
    known.identify({"tier": "gold"}, **ANN)
    simulator.advance(MONTH)
    simulator.fail_next("get_profile", status=404)
    error = rejected(known.track, "Ordered", **ANN)
    assert (ProfileNotVisibleError, LAG) == (type(error), error.retry_after)
    assert old == bound(known, external_id="ann-1").profile_id


def test_h37_a_search_that_shows_the_profile_denies_the_doubt(known, simulator):
    """H37: as long as the search shows that profile id, the profile is not gone, however often a read says 404."""
    old = bound(known, external_id="ann-1").profile_id
    simulator.fail_next("get_profile", status=404, times=20)
    simulator.advance(MONTH)
    for _ in range(4):
        assert isinstance(rejected(known.track, "Ordered", **ANN), ProfileNotVisibleError)
        simulator.advance(LAG)
    assert old == bound(known, external_id="ann-1").profile_id
    assert "create_profile" not in asked(simulator)[5:]


def test_h37_a_merged_profile_moves_to_its_survivor(known, simulator):
    """H37: the search shows the survivor, not that profile id, and the binding moves there."""
    old = bound(known, external_id="ann-1").profile_id
    kept = simulator.add_profile(phone_number="+12345678901")
    merge(simulator, old, kept.id)
    rejected(known.identify, {"tier": "gold"}, **ANN)
    simulator.advance(LAG)
    assert kept.id == known.identify({"tier": "gold"}, **ANN).profile_id


def test_a_clock_that_was_set_back_begins_the_doubt_anew(known, simulator, store):
    """A mark from the future is none: it would block the customer until that time."""
    delete(simulator, bound(known, external_id="ann-1").profile_id)
    rejected(known.identify, {"tier": "gold"}, **ANN)
    ((name, mark),) = store.notes(ACCOUNT).notes
    moment, _, version = mark.partition(" ")
    store.remember(ACCOUNT, name, f"{float(moment) + MONTH} {version}")
    assert LAG == rejected(known.identify, {"tier": "gold"}, **ANN).retry_after
    simulator.advance(LAG)
    assert known.identify({"tier": "gold"}, **ANN).created


def test_the_search_and_a_read_that_contradict_each_other_decide_nothing(client, simulator, store):
    """P6: the search shows a profile that answers 404, so nobody is created, and the call may be made again."""
    orphan = simulator.add_profile(email=OLD)
    simulator.fail_next("get_profile", status=404)
    error = rejected(client().identify, **ANN)
    assert (ProfileNotVisibleError, "not_applied", 0) == (type(error), error.outcome, leases(store))
    assert {(None, OLD)} == pairs(simulator)
    assert orphan.id == client().identify(**ANN).profile_id


def test_a_change_in_doubt_leaves_the_map_as_it_was(known, simulator, store):
    """B01: one 404 while an email is changed onto an orphan's blocks the customer in no way."""
    simulator.add_profile(email=NEW)
    before = bound(known, external_id="ann-1")
    meanwhile(simulator, "get_profile", lambda: simulator.fail_next("get_profile", status=404))
    error = rejected(known.change_email, NEW, external_id="ann-1")
    assert (ProfileNotVisibleError, "not_applied", 0) == (type(error), error.outcome, leases(store))
    after = bound(known, external_id="ann-1")
    assert (before.email, before.profile_id) == (after.email, after.profile_id)
    assert before.profile_id == known.track("Ordered", **ANN).profile_id


@pytest.mark.parametrize("verb", ["erase", "merge"])
def test_klaviyos_own_404_to_what_cannot_be_undone_is_no_success(known, simulator, store, verb):
    """1.2: a deletion or a merge that Klaviyo answers with its own 404 is not done, and the map keeps the customer."""
    ann = bound(known, external_id="ann-1").profile_id
    orphan = simulator.add_profile(email=NEW).id
    where = {"erase": "request_profile_deletion", "merge": "merge_profiles"}[verb]
    simulator.fail_next(where, status=404)
    call = {
        "erase": lambda: known.erase(external_id="ann-1"),
        "merge": lambda: known.profiles.merge(orphan, into=ann),
    }[verb]
    error = rejected(call)
    assert (ProfileNotVisibleError, "not_applied", 0) == (type(error), error.outcome, leases(store))
    assert ann == bound(known, external_id="ann-1").profile_id
    simulator.drain()
    assert 2 == len(simulator.profiles)
    call()
    simulator.drain()
    assert 1 == len(simulator.profiles)


def test_an_event_that_klaviyo_answers_with_404_is_kept(known, simulator):
    """1.4: the event is not recorded, the error carries its key, and the same call later records it."""
    delete(simulator, bound(known, external_id="ann-1").profile_id)
    simulator.fail_next("create_event", status=404)
    error = rejected(known.track, "Ordered", unique_id="o1", **ANN)
    assert (ProfileNotVisibleError, True, "o1") == (type(error), error.may_retry, error.unique_id)
    simulator.advance(LAG)
    known.track("Ordered", unique_id=error.unique_id, time=error.time, **ANN)
    simulator.drain()
    assert (["o1"], {("ann-1", OLD)}) == ([event.unique_id for event in simulator.events], pairs(simulator))


def test_a_binding_that_another_call_changes_is_not_marked(client, simulator, store, open_client):
    """The mark is compare-and-set: what another call has just written down is newer than this 404."""
    k, other = client(retry=RetryPolicy(max_attempts=1)), open_client(simulator, store)
    k.identify(**BOB)
    simulator.advance(MONTH)
    meanwhile(simulator, "get_profile", lambda: other.track("Viewed", **BOB))
    simulator.fail_next("get_profile", status=404, match=lambda asked: asked.at > 0)
    rejected(k.track, "Ordered", **BOB)
    assert k.track("Ordered", **BOB).profile_id == simulator.profiles[0].id
