"""`change_phone_number`: the verb that replaces a number, and says what that may have cost."""

from __future__ import annotations

import pytest

from safeklaviyo import (
    CLEAR,
    IdentityDriftError,
    InvalidIdentifierError,
    NoResponseError,
    ProfileConflictError,
    RetryPolicy,
)
from support.scenes import (
    ANN,
    PHONE,
    Troubled,
    bound,
    codes,
    edit,
    expire,
    journal_of,
    kill,
    leases,
    meanwhile,
    pairs,
    person_in,
    rejected,
    writes,
)

OLD = ANN["email"]
OTHER = "+12025550199"


@pytest.fixture
def known(client, simulator):
    """A client that knows Ann; the journal is empty."""
    k = client()
    k.identify(**ANN)
    simulator.journal.clear()
    return k


def shape(change):
    """Return what a change says, without its profile."""
    return change.status, change.old_phone_number, change.new_phone_number, codes(change)


def numbers(simulator):
    """Return the numbers that Klaviyo shows."""
    return [profile.phone_number for profile in simulator.profiles]


@pytest.mark.parametrize("who", [{"external_id": "ann-1"}, {"email": OLD}, ANN], ids=str)
def test_a_number_is_set(known, simulator, store, who):
    """The customer's own profile gets the number by PATCH; where there was none, there is nothing to warn of."""
    profile_id = simulator.profiles[0].id
    change = known.change_phone_number(" +1 (234) 567-8901 ", **who)
    assert (("changed", None, PHONE, []), profile_id) == (shape(change), change.profile_id)
    assert [{"id": profile_id, "phone_number": PHONE}] == [person_in(entry) for entry in writes(simulator)]
    assert (PHONE, 0, []) == (bound(known, email=OLD).phone_number, leases(store), journal_of(store))


@pytest.mark.parametrize("attached", ["here", "by hand"])
def test_a_replaced_number_can_cost_a_consent(known, simulator, attached):
    """Klaviyo drops the consent that was given for a number: the result says so, wherever the number came from."""
    if attached == "here":
        known.identify(external_id="ann-1", phone_number=PHONE)
    else:
        edit(simulator, simulator.profiles[0].id, phone_number=PHONE)
    change = known.change_phone_number(OTHER, external_id="ann-1")
    assert ("changed", PHONE, OTHER, ["sms_consent"]) == shape(change)
    assert ("phone_number", [OTHER], OTHER) == (
        change.warnings[0].identifier_kind,
        numbers(simulator),
        bound(known, email=OLD).phone_number,
    )


def test_a_number_is_taken_away(known, simulator):
    """CLEAR removes it, from Klaviyo and from the map, so that `identify` may attach another."""
    known.change_phone_number(PHONE, email=OLD)
    assert ("changed", PHONE, None, ["sms_consent"]) == shape(known.change_phone_number(CLEAR, email=OLD))
    assert ([None], None) == (numbers(simulator), bound(known, email=OLD).phone_number)
    assert ("unchanged", None, None, []) == shape(known.change_phone_number(CLEAR, email=OLD))
    assert [] == codes(known.identify(phone_number=OTHER, **ANN))
    assert [OTHER] == numbers(simulator)


def test_a_repetition_is_unchanged(known, simulator):
    """Whoever asks twice changes once, and is warned of nothing the second time."""
    known.change_phone_number(PHONE, email=OLD)
    assert ("unchanged", PHONE, PHONE, []) == shape(known.change_phone_number(PHONE, external_id="ann-1"))
    assert 1 == len(writes(simulator))


def test_a_number_that_klaviyo_shows_already_is_written_down(known, simulator):
    """A number that somebody else has attached is no change, but the map learns of it."""
    edit(simulator, simulator.profiles[0].id, phone_number=PHONE)
    simulator.journal.clear()
    assert ("unchanged", PHONE, PHONE, []) == shape(known.change_phone_number(PHONE, email=OLD))
    assert (PHONE, []) == (bound(known, email=OLD).phone_number, writes(simulator))


def test_somebody_unknown_is_made_known_first(client, simulator):
    """H9: whoever the map does not know is found or made, by the pair, and then given the number."""
    change = client().change_phone_number(PHONE, **ANN)
    assert ("changed", None, PHONE, []) == shape(change)
    assert ({("ann-1", OLD)}, [PHONE]) == (pairs(simulator), numbers(simulator))


def test_a_profile_that_the_map_does_not_know_yet_is_found(client, simulator):
    """A pair that was imported without its profile is contacted first."""
    k = client()
    k.bindings.add([ANN])
    profile = simulator.add_profile(phone_number=OTHER, **ANN)
    change = k.change_phone_number(PHONE, email=OLD)
    assert (("changed", OTHER, PHONE, ["sms_consent"]), profile.id) == (shape(change), change.profile_id)


def test_nothing_usable_is_refused(client, simulator):
    """R1, R2: a number that is none is refused here, unlike beside other data, and nobody is nobody."""
    k = client()
    for wrong in ("555-0199", "", None, 15550199):
        error = rejected(k.change_phone_number, wrong, email=OLD)
        assert (InvalidIdentifierError, "R1", "phone_number") == (type(error), error.rule, error.identifier_kind)
    assert "R2" == rejected(k.change_phone_number, PHONE).rule
    assert [] == simulator.journal


@pytest.mark.parametrize("named", [True, False], ids=["owner named", "nobody named"])
def test_a_number_that_is_anothers_is_refused(known, simulator, store, named):
    """R17, R14: a number that is another profile's stays theirs, whether or not Klaviyo says whose it is."""
    other = simulator.add_profile(external_id="bob-2", email="bob@shop.test", phone_number=PHONE)
    if not named:
        simulator.fail_next("update_profile", status=409, times=9)
    error = rejected(known.change_phone_number, PHONE, email=OLD)
    assert (ProfileConflictError, "phone_number", "R17", 409, "not_applied", not named) == (
        type(error),
        error.identifier,
        error.rule,
        error.status_code,
        error.outcome,
        error.may_retry,
    )
    assert {None, PHONE} == set(numbers(simulator))
    assert (0, None) == (leases(store), bound(known, email=OLD).phone_number)
    if named:
        assert (other.id, "bob-2") == (error.profile_id, error.external_id)


@pytest.mark.parametrize("shown", [None, OTHER])
def test_f11_an_answer_that_shows_another_number_is_drift(known, simulator, store, shown):
    """F-11, P7: a PATCH whose answer does not show the number is not written down, and was applied."""
    attributes = {**ANN, "phone_number": shown}
    body = {"data": {"type": "profile", "id": simulator.profiles[0].id, "attributes": attributes}}
    simulator.fail_next("update_profile", status=200, body=body)
    error = rejected(known.change_phone_number, PHONE, email=OLD)
    assert (IdentityDriftError, "applied", None, 0) == (
        type(error),
        error.outcome,
        bound(known, email=OLD).phone_number,
        leases(store),
    )


def test_f11_an_answer_that_still_shows_a_cleared_number_is_drift(known, simulator):
    """F-11: neither is one that should be gone."""
    known.change_phone_number(PHONE, email=OLD)
    body = {"data": {"type": "profile", "id": simulator.profiles[0].id, "attributes": {**ANN, "phone_number": PHONE}}}
    simulator.fail_next("update_profile", status=200, body=body)
    error = rejected(known.change_phone_number, CLEAR, email=OLD)
    assert (IdentityDriftError, "applied", PHONE) == (type(error), error.outcome, bound(known, email=OLD).phone_number)


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_unknown_outcome_is_finished_by_the_next(known, client, simulator, store, when):
    """P4, P7: whether or not the write arrived, the next call about the customer finishes it."""
    simulator.fail_next("update_profile", when=when)
    k = client(retry=RetryPolicy(max_attempts=1))
    error = rejected(k.change_phone_number, PHONE, email=OLD)
    assert (NoResponseError, "unknown", 1) == (type(error), error.outcome, leases(store))
    expire(simulator)
    known.track("Ordered", external_id="ann-1")
    assert ([PHONE], PHONE, 0) == (numbers(simulator), bound(known, email=OLD).phone_number, leases(store))


@pytest.mark.parametrize("where", ["get_profiles", "get_profile:2", "update_profile", "bind"])
@pytest.mark.parametrize("new", [PHONE, CLEAR], ids=["another", "none"])
def test_a_killed_change_is_completed(client, simulator, open_client, where, new):
    """P4: whatever step the process dies at, `recover` completes the change."""
    store = Troubled(simulator)
    k = open_client(simulator, store)
    k.identify(phone_number=OTHER, **ANN)
    kill(simulator, store, where, k.change_phone_number, new, external_id="ann-1")
    expire(simulator)
    other = client(store=store)
    assert [("change", "completed")] == [(each.verb, each.status) for each in other.recover()]
    wanted = None if new is CLEAR else new
    assert ([wanted], wanted, 0) == (numbers(simulator), bound(other, email=OLD).phone_number, leases(store))


def test_a_customer_who_drifts_is_not_given_a_number(known, simulator, store):
    """R15: a profile that shows another customer by now is not written onto."""
    edit(simulator, simulator.profiles[0].id, external_id="eve-3")
    error = rejected(known.change_phone_number, PHONE, email=OLD)
    assert (IdentityDriftError, "not_applied", [None], 0) == (
        type(error),
        error.outcome,
        numbers(simulator),
        leases(store),
    )


def test_a_number_taken_meanwhile_is_refused(known, simulator):
    """R17: somebody who gets the number between the look and the write keeps it."""
    meanwhile(simulator, "update_profile", lambda: simulator.add_profile(email="zoe@shop.test", phone_number=PHONE))
    error = rejected(known.change_phone_number, PHONE, email=OLD)
    assert (ProfileConflictError, "phone_number") == (type(error), error.identifier)
