"""`change_email`: search, read, decide, PATCH by profile id, check, write down; each step repeatable."""

from __future__ import annotations

from dataclasses import replace

import pytest

from safeklaviyo import (
    AmbiguousIdentityError,
    ConfigurationError,
    EmailMismatchError,
    EmailTakenError,
    IdentityDriftError,
    InvalidIdentifierError,
    NoResponseError,
    Policy,
    ProfileConflictError,
    ProfileNotVisibleError,
    RetryPolicy,
    StoreUnavailableError,
)
from safeklaviyo.stores.base import Change
from safeklaviyo.testing import KlaviyoSimulator
from support.scenes import (
    ACCOUNT,
    ANN,
    BOB,
    NEW,
    PHONE,
    Troubled,
    bound,
    codes,
    delete,
    edit,
    expire,
    journal_of,
    leases,
    meanwhile,
    merge,
    pairs,
    patiently,
    person_in,
    rejected,
    rejected_for_good,
    writes,
)

OLD = "ann@shop.test"


@pytest.fixture
def known(client, simulator):
    """A client that knows Ann; the journal is empty."""
    k = client()
    k.identify(**ANN)
    simulator.journal.clear()
    return k


def shape(change):
    """Return what a change says, without its profile."""
    return change.status, change.external_id, change.old_email, change.new_email, change.visible, codes(change)


@pytest.mark.parametrize(
    "who", [{"external_id": "ann-1"}, {"old_email": OLD}, {"external_id": "ann-1", "old_email": OLD}]
)
def test_a_customers_own_profile_moves(known, simulator, store, who):
    """The customer's profile gets the new address by PATCH, under its own id, and the old one retires."""
    profile = simulator.profiles[0]
    change = known.change_email(" Ann@New.test ", **who)
    assert ("changed", "ann-1", OLD, NEW, True, []) == shape(change)
    assert (profile.id, None) == (change.profile_id, change.merged_profile_id)
    assert ({("ann-1", NEW)}, profile.id) == (pairs(simulator), simulator.profiles[0].id)
    assert [{"id": profile.id, "email": NEW}] == [person_in(entry) for entry in writes(simulator)]
    assert ([("change_email", OLD, NEW)], 0) == (journal_of(store), leases(store))
    assert profile.id == known.track("Ordered", email=OLD).profile_id
    assert "R11" == known.explain(email=OLD).rule


def test_a_map_that_a_cache_once_stood_before_is_like_any_other(known, simulator, store):
    """The note by which an earlier version's cache announced itself in the map makes no change wait."""
    store.remember(ACCOUNT, "remembered", repr(simulator.now()))
    start = simulator.now()
    assert "changed" == known.change_email(NEW, external_id="ann-1").status
    assert [start] == [entry.at for entry in writes(simulator)]


def test_a_guest_moves_as_well(client, simulator, store):
    """A customer without an external id is moved by their old address, and needs none."""
    k = client()
    guest = k.identify(email=OLD)
    change = k.change_email(NEW, old_email=OLD)
    assert ("changed", None, OLD, NEW, True, []) == shape(change)
    assert (guest.profile_id, {(None, NEW)}, 0) == (change.profile_id, pairs(simulator), leases(store))


def test_nothing_to_change_is_unchanged(known, simulator):
    """Where the map and Klaviyo show the new address already, nothing is written."""
    assert ("unchanged", "ann-1", OLD, OLD, True, []) == shape(known.change_email(OLD, external_id="ann-1"))
    assert [] == writes(simulator)
    known.change_email(NEW, external_id="ann-1")
    assert "unchanged" == known.change_email(NEW, old_email=OLD).status
    assert 1 == len(writes(simulator))


def test_a_customer_goes_back_to_a_former_address(known, simulator, store):
    """R5: only this verb goes back; the address in between is a former one then."""
    known.change_email(NEW, external_id="ann-1")
    assert ("changed", "ann-1", NEW, OLD, True, []) == shape(known.change_email(OLD, external_id="ann-1"))
    assert ({("ann-1", OLD)}, "R11") == (pairs(simulator), known.explain(email=NEW).rule)
    assert 2 == len(journal_of(store))


def test_a_customer_who_is_not_mapped_is_bound_first(client, simulator, store):
    """H9: whoever the map does not know is looked up or contacted, and then moved."""
    theirs = simulator.add_profile(**ANN)
    assert ("changed", "ann-1", OLD, NEW, True, []) == shape(client().change_email(NEW, external_id="ann-1"))
    assert (theirs.id, {("ann-1", NEW)}) == (simulator.profiles[0].id, pairs(simulator))
    change = client().change_email("bob@new.test", old_email="bob@shop.test", external_id="bob-2")
    assert ("changed", "bob-2", "bob@shop.test", "bob@new.test", True, []) == shape(change)
    assert 2 == len(simulator.profiles)


def test_whoever_has_no_email_gets_their_first(client, simulator, store):
    """R9: an external id that nobody knows an email of has none to change: the new one is its first."""
    bare = simulator.add_profile(external_id="ann-1")
    change = client().change_email(NEW, external_id="ann-1")
    assert ("changed", "ann-1", None, NEW, True, []) == shape(change)
    assert ({("ann-1", NEW)}, bare.id) == (pairs(simulator), change.profile_id)
    assert ("changed", "bob-2", None) == shape(client().change_email("bob@shop.test", external_id="bob-2"))[:3]


def test_nobody_is_changed_without_being_named(client, simulator):
    """R1, R2: a change names whose address it is, and a usable address."""
    k = client()
    assert "R2" == rejected(k.change_email, NEW).rule
    for wrong in ("nobody", None, "null"):
        error = rejected(k.change_email, wrong, external_id="ann-1")
        assert (InvalidIdentifierError, "R1", "email") == (type(error), error.rule, error.identifier_kind)
    assert isinstance(rejected(k.change_email, NEW, external_id="ann-1", on_taken="x"), ConfigurationError)
    assert [] == simulator.journal


def test_r9_an_id_beside_an_unknown_policy_is_still_refused(client, simulator):
    """R9: with ``unknown_id="refuse"`` and an old address, the pair is contacted, never the id alone."""
    k = client(policy=Policy(unknown_id="refuse"))
    change = k.change_email(NEW, external_id="ann-1", old_email=OLD)
    assert ("changed", {("ann-1", NEW)}) == (change.status, pairs(simulator))


def test_r6_an_old_address_of_somebody_else_is_refused(known, simulator):
    """R6: an old address that is not the customer's is refused."""
    known.identify(**BOB)
    error = rejected(known.change_email, NEW, external_id="ann-1", old_email="bob@shop.test")
    assert (EmailMismatchError, "R6", OLD, "not_applied") == (
        type(error),
        error.rule,
        error.current_email,
        error.outcome,
    )


@pytest.mark.parametrize("retired", ["rewrite", "refuse"])
def test_a_former_address_says_whose_it_is(known, client, retired, simulator):
    """R11: a former address names its owner here, whatever the policy says of other calls."""
    known.change_email(NEW, external_id="ann-1")
    k = client(policy=Policy(retired=retired, email_mismatch="change"))
    assert "changed" == k.change_email("ann@third.test", old_email=OLD).status
    assert {("ann-1", "ann@third.test")} == pairs(simulator)


@pytest.mark.parametrize(
    ("setup", "external_id"),
    [
        (lambda k, _: k.identify(**BOB), "bob-2"),
        (lambda k, _: k.identify(email="bob@shop.test"), None),
        (lambda _, sim: sim.add_profile(**BOB), "bob-2"),
        (lambda _, sim: sim.add_profile(email="bob@shop.test"), None),
    ],
)
def test_a_new_address_that_is_anybodys_is_refused(known, simulator, store, setup, external_id):
    """P3: a new address that is another customer's, or on any other profile, is refused, and nobody is written."""
    setup(known, simulator)
    other = simulator.find(email="bob@shop.test").id
    before = simulator.profiles
    simulator.journal.clear()
    error = rejected(known.change_email, "bob@shop.test", external_id="ann-1")
    assert (EmailTakenError, "not_applied", False, "bob@shop.test", other, external_id) == (
        type(error),
        error.outcome,
        error.may_retry,
        error.email,
        error.profile_id,
        error.external_id,
    )
    assert (before, [], 0, OLD) == (
        simulator.profiles,
        writes(simulator),
        leases(store),
        bound(known, external_id="ann-1").email,
    )


def test_a_new_address_that_becomes_somebodys_meanwhile_is_refused(known, simulator, store):
    """R17: a 409 to the PATCH is worked out: the profile that has the address now is read, and named."""
    meanwhile(simulator, "update_profile", lambda: simulator.add_profile(external_id="eve-3", email=NEW))
    error = rejected(known.change_email, NEW, external_id="ann-1")
    assert (EmailTakenError, "not_applied", "eve-3", 0) == (
        type(error),
        error.outcome,
        error.external_id,
        leases(store),
    )
    assert {("ann-1", OLD), ("eve-3", NEW)} == pairs(simulator)


def test_r15_a_new_address_that_was_put_back_elsewhere_is_repaired_first(known, simulator, store):
    """R15: the address is on a profile whose owner has left it: that one is restored, and then this one moves."""
    bob = known.identify(**BOB)
    known.change_email("bob@new.test", external_id="bob-2")
    edit(simulator, bob.profile_id, email="bob@shop.test")
    change = known.change_email("bob@shop.test", external_id="ann-1")
    assert ("changed", ["put_back_repaired"]) == (change.status, codes(change))
    assert ({("ann-1", "bob@shop.test"), ("bob-2", "bob@new.test")}, 0) == (pairs(simulator), leases(store))


def test_a_put_back_that_nobody_can_repair_ends(known, simulator, store):
    """R15: where the put-back address cannot be restored, the call ends with an error, not with a loop."""
    bob = known.identify(**BOB)
    known.change_email("bob@new.test", external_id="bob-2")
    edit(simulator, bob.profile_id, email="bob@shop.test")
    simulator.add_profile(external_id="eve-3", email="bob@new.test")
    error = rejected(known.change_email, "bob@shop.test", external_id="ann-1")
    assert "not_applied" == error.outcome
    assert {("ann-1", OLD), ("bob-2", "bob@shop.test"), ("eve-3", "bob@new.test")} == pairs(simulator)
    assert 0 == leases(store)


@pytest.mark.parametrize("shown", [{"external_id": "eve-3"}, {"email": "eve@shop.test"}])
def test_r15_a_profile_that_shows_somebody_else_is_not_moved(known, simulator, store, shown):
    """R15: a profile whose id or address was changed by hand is drift: nothing is written onto it."""
    edit(simulator, simulator.profiles[0].id, **shown)
    simulator.journal.clear()
    error = rejected(known.change_email, NEW, external_id="ann-1")
    assert (IdentityDriftError, "R15", "not_applied", [], 0) == (
        type(error),
        error.rule,
        error.outcome,
        writes(simulator),
        leases(store),
    )


def test_r15_adopt_moves_a_profile_whose_address_was_changed_by_hand(known, client, simulator):
    """R15: with ``drift="adopt"`` an address that was changed by hand is no obstacle."""
    edit(simulator, simulator.profiles[0].id, email="eve@shop.test")
    assert "changed" == client(policy=Policy(drift="adopt")).change_email(NEW, external_id="ann-1").status
    assert {("ann-1", NEW)} == pairs(simulator)


def test_a_put_back_of_the_customers_own_is_no_drift(known, simulator):
    """R15: a former address of the customer's own, put back by a late event, is overwritten by the change."""
    known.change_email(NEW, external_id="ann-1")
    edit(simulator, simulator.profiles[0].id, email=OLD)
    assert "changed" == known.change_email("ann@third.test", external_id="ann-1").status
    assert {("ann-1", "ann@third.test")} == pairs(simulator)


def test_an_id_that_was_cleared_is_given_back(known, simulator):
    """A profile that has lost its external id gets it again with the new address."""
    edit(simulator, simulator.profiles[0].id, external_id=None)
    assert "changed" == known.change_email(NEW, external_id="ann-1").status
    assert {("ann-1", NEW)} == pairs(simulator)


def test_a_guests_gained_id_is_written_down(client, simulator):
    """A guest whose profile has got an id by hand is bound with it when the address changes."""
    k = client()
    guest = k.identify(email=OLD)
    edit(simulator, guest.profile_id, external_id="ann-1")
    change = k.change_email(NEW, old_email=OLD)
    assert ("changed", "ann-1") == (change.status, change.external_id)
    assert NEW == bound(k, external_id="ann-1").email


def test_a_deleted_profile_is_made_anew(known, simulator, store):
    """A customer whose profile was deleted by hand gets a new one with the pair, which then moves."""
    old = simulator.profiles[0].id
    delete(simulator, old)
    change = patiently(simulator, known.change_email, NEW, external_id="ann-1")
    assert ("changed", {("ann-1", NEW)}, 0) == (change.status, pairs(simulator), leases(store))
    assert change.profile_id != old


def test_a_merged_profile_is_followed_by_the_external_id(known, simulator):
    """H11: a profile that was merged away by hand is found by the external id that went along."""
    old = simulator.profiles[0].id
    kept = simulator.add_profile(email="kept@shop.test")
    merge(simulator, old, kept.id)
    error = patiently(simulator, rejected_for_good, known.change_email, NEW, external_id="ann-1")
    assert (EmailMismatchError, "kept@shop.test") == (type(error), error.current_email)


def test_a_guests_merged_profile_is_followed_by_its_address(client, simulator):
    """H11: a guest's profile that is gone is followed to the bare profile that has the address now."""
    k = client()
    guest = k.identify(email=OLD)
    delete(simulator, guest.profile_id)
    heir = simulator.add_profile(email=OLD)
    change = patiently(simulator, k.change_email, NEW, old_email=OLD)
    assert (heir.id, {(None, NEW)}) == (change.profile_id, pairs(simulator))


def test_several_heirs_of_a_profile_are_refused(known, simulator):
    """F-5: where the profile is gone and several answer to the id, nobody is chosen."""
    delete(simulator, simulator.profiles[0].id)
    for email in ("a@shop.test", "b@shop.test"):
        simulator.add_profile(external_id="ann-1", email=email)
    error = patiently(simulator, rejected_for_good, known.change_email, NEW, external_id="ann-1")
    assert isinstance(error, AmbiguousIdentityError)


def test_f11_an_answer_without_the_new_address_is_drift(known, simulator, store):
    """F-11, P7: a PATCH whose answer shows another address is not written down, and the error says "applied"."""
    profile_id = simulator.profiles[0].id
    shown = {"data": {"type": "profile", "id": profile_id, "attributes": ANN}}
    simulator.fail_next("update_profile", status=200, body=shown, when="after")
    error = rejected(known.change_email, NEW, external_id="ann-1")
    assert (IdentityDriftError, "applied", 0) == (type(error), error.outcome, leases(store))
    assert "unchanged" != known.change_email(NEW, external_id="ann-1").status
    assert NEW == bound(known, external_id="ann-1").email


def test_f23_an_answer_that_cannot_be_read_is_read_back(known, simulator):
    """F-23: a PATCH that succeeded with an unreadable answer is confirmed by reading the profile."""
    simulator.fail_next("update_profile", status=200, body=b"<html>", when="after")
    assert ("changed", "ann-1", OLD, NEW, True, []) == shape(known.change_email(NEW, external_id="ann-1"))


def test_f23_an_unreadable_answer_of_a_profile_that_is_gone(known, simulator):
    """F-23: where the profile is gone by the time it is read back, the customer is made anew with the new address."""
    old = simulator.profiles[0].id
    simulator.fail_next("update_profile", status=200, body=b"<html>", when="after")
    meanwhile(simulator, "get_profile", lambda: delete(simulator, old), turn=2)
    assert "changed" == known.change_email(NEW, external_id="ann-1").status
    assert {("ann-1", NEW)} == pairs(simulator)


def test_r17_a_conflict_that_no_profile_explains_is_reported(known, simulator, store):
    """R17, F-12: a 409 that goes on, without any profile that shows why, ends as `ProfileConflictError`."""
    simulator.fail_next("update_profile", status=409, times=9)
    error = rejected(known.change_email, NEW, external_id="ann-1")
    assert (ProfileConflictError, "R17", 409, "not_applied", None, 0) == (
        type(error),
        error.rule,
        error.status_code,
        error.outcome,
        error.profile_id,
        leases(store),
    )


def test_an_unknown_outcome_leaves_the_intent_for_the_next(known, client, simulator, store):
    """P4, P7: after a lost answer lease and intent stay; whoever comes next, once they expire, finishes the change."""
    simulator.fail_next("update_profile", when="after")
    error = rejected(client(retry=RetryPolicy(max_attempts=1)).change_email, NEW, external_id="ann-1")
    assert (NoResponseError, "unknown", True, 1) == (type(error), error.outcome, error.may_retry, leases(store))
    expire(simulator)
    result = known.track("Ordered", external_id="ann-1")
    assert (NEW, 0, {("ann-1", NEW)}) == (result.identity.email, leases(store), pairs(simulator))
    assert [("change_email", OLD, NEW)] == journal_of(store)


def test_a_map_that_fails_after_the_patch_keeps_the_intent(client, simulator):
    """P4, P7: a change that was applied and could not be written down is finished by the next call."""
    store = Troubled(simulator)
    k = client(store=store)
    k.identify(**ANN)
    store.failing.add("bind")
    error = rejected(k.change_email, NEW, external_id="ann-1")
    assert (StoreUnavailableError, "applied", True, 1) == (type(error), error.outcome, error.may_retry, leases(store))
    store.failing.clear()
    expire(simulator)
    assert "unchanged" == k.change_email(NEW, external_id="ann-1").status
    assert (NEW, [("change_email", OLD, NEW)]) == (bound(k, external_id="ann-1").email, journal_of(store))


def test_a_phone_that_is_noted_meanwhile_is_kept(client, simulator):
    """A version that rose for something else than the address is no obstacle: the change is written over it."""
    store = Troubled(simulator)
    k = client(store=store)
    k.identify(**ANN)

    def note_phone() -> None:
        stands = store.page("SiMuLa").bindings[0]
        store.bind("SiMuLa", Change(replace(stands, phone_number=PHONE), verified=False))

    store.before["bind"] = note_phone
    assert "changed" == k.change_email(NEW, external_id="ann-1").status
    binding = bound(k, external_id="ann-1")
    assert (NEW, PHONE) == (binding.email, binding.phone_number)


def test_a_search_that_lags_is_waited_for_and_then_reported(open_client, store):
    """`visible` says whether Klaviyo's search shows the new address; the wait is bounded, and without a lease."""
    simulator = KlaviyoSimulator(search_lag=2.0)
    k = open_client(simulator, store)
    k.identify(**ANN)
    simulator.advance(10)
    start = simulator.now()
    change = k.change_email(NEW, external_id="ann-1")
    assert ("changed", True, []) == (change.status, change.visible, codes(change))
    assert 2.0 <= simulator.now() - start <= 3.0
    k = open_client(simulator, store, policy=Policy(visible_wait=1.0))
    start = simulator.now()
    change = k.change_email("ann@third.test", external_id="ann-1")
    assert ("changed", False, ["not_visible_yet"]) == (change.status, change.visible, codes(change))
    assert 1.0 <= simulator.now() - start <= 2.0


def test_a_search_that_fails_at_the_end_costs_nothing(known, client, simulator):
    """The change stands, whatever the last look at the search says."""
    k = client(retry=RetryPolicy(max_attempts=1))
    simulator.fail_next("get_profiles", status=500, match=lambda _: len(writes(simulator)) == 1)
    change = k.change_email(NEW, external_id="ann-1")
    assert ("changed", False, ["not_visible_yet"]) == (change.status, change.visible, codes(change))


def test_h7_a_late_search_neither_skips_nor_retires(open_client, store):
    """H7: a search that shows the new address already, by mistake, does not stand in for the PATCH."""
    simulator = KlaviyoSimulator(search_lag="until_drain")
    k = open_client(simulator, store)
    k.identify(**ANN)
    simulator.drain()
    edit(simulator, simulator.profiles[0].id, email=NEW)
    simulator.drain()
    edit(simulator, simulator.profiles[0].id, email=OLD)
    change = k.change_email(NEW, external_id="ann-1")
    assert ("changed", {("ann-1", NEW)}) == (change.status, pairs(simulator))


def test_h8_a_change_that_was_taken_over_restores_before_it_goes_on(client, simulator, store, open_client):
    """H8, R13: a PATCH that lands after another change has completed is undone, and the later change stands."""
    k = client()
    k.identify(**ANN)
    other = open_client(simulator, store, policy=Policy(wait=60))
    meanwhile(simulator, "update_profile", lambda: other.change_email("ann@third.test", external_id="ann-1"))
    change = k.change_email(NEW, external_id="ann-1")
    assert ("changed", "ann@third.test") == (change.status, change.new_email)
    assert ["put_back_repaired", "superseded"] == codes(change)
    assert {("ann-1", "ann@third.test")} == pairs(simulator)
    assert "ann@third.test" == bound(k, external_id="ann-1").email
    assert [("change_email", OLD, NEW), ("change_email", NEW, "ann@third.test"),
            ("restore", NEW, "ann@third.test")] == journal_of(store)  # fmt: skip


def test_somebody_elses_finished_change_of_a_guest_is_seen(client, simulator, store, open_client):
    """A guest whose address was changed by somebody else in the meantime is moved on from there."""
    store = Troubled(simulator)
    k = client(store=store)
    k.identify(email=OLD)
    store.before["acquire"] = lambda: open_client(simulator, store).change_email(NEW, old_email=OLD)
    change = k.change_email("ann@third.test", old_email=OLD)
    assert ("changed", {(None, "ann@third.test")}, 0) == (change.status, pairs(simulator), leases(store))


def test_somebody_who_takes_the_new_address_first_in_the_map_keeps_it(client, simulator, open_client):
    """P3: an address that another customer takes between the look and the lease is theirs."""
    store = Troubled(simulator)
    k = client(store=store)
    k.identify(**ANN)
    store.before["acquire"] = lambda: open_client(simulator, store).identify(external_id="eve-3", email=NEW)
    error = rejected(k.change_email, NEW, external_id="ann-1")
    assert (EmailTakenError, "eve-3", 0) == (type(error), error.external_id, leases(store))
    assert {("ann-1", OLD), ("eve-3", NEW)} == pairs(simulator)


def test_a_customer_who_is_removed_meanwhile_is_looked_at_again(client, simulator, open_client):
    """A binding that is removed between the look and the lease is found again in Klaviyo."""
    store = Troubled(simulator)
    k = client(store=store)
    k.identify(**ANN)
    store.before["acquire"] = lambda: open_client(simulator, store).bindings.remove(external_id="ann-1")
    assert "changed" == k.change_email(NEW, external_id="ann-1").status
    assert ({("ann-1", NEW)}, 0) == (pairs(simulator), leases(store))


def test_a_profile_with_the_id_alone_is_completed_and_moved(client, simulator):
    """R4: an old address that nobody has in Klaviyo completes the profile with the id, which then moves."""
    bare = simulator.add_profile(external_id="ann-1")
    change = client().change_email(NEW, external_id="ann-1", old_email=OLD)
    assert (bare.id, {("ann-1", NEW)}) == (change.profile_id, pairs(simulator))


def test_a_profile_that_cannot_be_written_is_reported(known, simulator):
    """R17: a profile that can be read, and answers 404 whenever it is written, ends as an error, not as a loop."""
    simulator.fail_next("update_profile", status=404, times=10)
    error = rejected(known.change_email, NEW, external_id="ann-1")
    assert (ProfileNotVisibleError, 404, "not_applied") == (type(error), error.status_code, error.outcome)
    assert {("ann-1", OLD)} == pairs(simulator)
