"""First contact where Klaviyo drops the external id of a create, because it is another profile's (H38, R17)."""

from __future__ import annotations

import pytest

from safeklaviyo import AmbiguousIdentityError, EmailMismatchError, EmailTakenError, Policy, ProfileConflictError
from safeklaviyo.testing import KlaviyoSimulator, Readings
from support.scenes import (
    ACCOUNT,
    ANN,
    Troubled,
    bound,
    by_hand,
    delete,
    expire,
    kill,
    leases,
    meanwhile,
    pairs,
    recovered,
    rejected,
    writes,
)

OWNER = ("ann-1", "other@shop.test")
ORPHAN = (None, ANN["email"])
UNNAMED = {"errors": [{"id": "r-1", "status": 409, "code": "duplicate_profile", "title": "Conflict.", "detail": "…"}]}


@pytest.fixture
def simulator() -> KlaviyoSimulator:
    """A pretend Klaviyo that drops an external id on create if it is another profile's, and whose search lags."""
    readings = Readings(external_id_unique_on_create="dropped")
    return KlaviyoSimulator(readings, account=ACCOUNT, search_lag="until_drain", queue_lag=0.0)


@pytest.fixture
def owner(simulator):
    """The profile that has the id, which the search does not show before the next `drain`."""
    return hidden(simulator, *OWNER)


def hidden(simulator, external_id, email=None):
    """Create a profile as another program would; return its id."""
    attributes = {"external_id": external_id, **({"email": email} if email else {})}
    answer = by_hand(simulator, "POST", "/api/profiles", {"type": "profile", "attributes": attributes})
    assert 201 == answer.status
    return simulator.profiles[-1].id


@pytest.mark.parametrize("first_contact", ["verify", "trust"])
@pytest.mark.parametrize("verb", ["identify", "track"])
def test_r6_the_owner_of_the_id_is_found_and_the_orphan_reported(
    client, simulator, store, *, owner, first_contact, verb
):
    """R6, R17: the id is asked for once more, its owner is named, and so is the profile that this call has left."""
    k = client(policy=Policy(first_contact=first_contact))
    error = rejected(k.identify, {"$first_name": "Ann"}, **ANN) if verb == "identify" else rejected(k.track, "x", **ANN)
    (orphan,) = [profile.id for profile in simulator.profiles if profile.id != owner]
    assert (EmailMismatchError, "R6", OWNER[1], orphan, False) == (
        type(error),
        error.rule,
        error.current_email,
        error.orphan_profile_id,
        error.may_retry,
    )
    assert {"identify": "applied", "track": "not_applied"}[verb] == error.outcome
    assert ({OWNER, ORPHAN}, 0) == (pairs(simulator), leases(store))
    assert ["create_profile", "update_profile"] == [entry.endpoint for entry in writes(simulator)]


def test_r6_later_calls_make_no_other_and_are_not_blocked(client, simulator, store, owner):
    """R6: each later call names the same orphan; the customer is reached by the id, and can take the address."""
    k = client()
    orphan = rejected(k.identify, **ANN).orphan_profile_id
    for drains in (False, True, False):
        if drains:
            simulator.drain()
        error = rejected(k.identify, **ANN)
        assert (EmailMismatchError, OWNER[1], orphan) == (type(error), error.current_email, error.orphan_profile_id)
        assert drains is False or "not_applied" == error.outcome
    assert {OWNER, ORPHAN} == pairs(simulator)
    assert owner == k.identify(external_id="ann-1").profile_id
    assert owner == k.track("Ordered", external_id=OWNER[0], email=OWNER[1]).profile_id
    error = rejected(k.change_email, ANN["email"], external_id="ann-1")
    assert (EmailTakenError, orphan) == (type(error), error.profile_id)
    assert orphan == k.change_email(ANN["email"], external_id="ann-1", on_taken="merge").merged_profile_id
    simulator.drain()
    assert ({("ann-1", ANN["email"])}, 0) == (pairs(simulator), leases(store))
    assert owner == k.identify(**ANN).profile_id


def test_r6_a_policy_that_changes_the_email_meets_the_orphan(client, simulator, owner):
    """R6: with ``email_mismatch="change"`` the orphan is no customer's to overwrite: the address counts as taken."""
    k = client(policy=Policy(email_mismatch="change"))
    error = rejected(k.identify, **ANN)
    (orphan,) = [profile.id for profile in simulator.profiles if profile.id != owner]
    assert (EmailTakenError, orphan, {OWNER, ORPHAN}) == (type(error), error.profile_id, pairs(simulator))


def test_r17_two_halves_are_named(client, simulator, store):
    """R17: where the owner of the id has no email, the error names both halves of the customer."""
    bare = hidden(simulator, "ann-1")
    error = rejected(client().identify, **ANN)
    (orphan,) = [profile.id for profile in simulator.profiles if profile.id != bare]
    assert (AmbiguousIdentityError, {bare, orphan}, "applied", 0) == (
        type(error),
        set(error.profile_ids),
        error.outcome,
        leases(store),
    )


def test_r4_an_id_that_is_free_by_then_completes_the_profile(client, simulator, owner):
    """R4, F-19: the profile is completed, and what was dropped is written, with each value appended once."""
    meanwhile(simulator, "update_profile", lambda: delete(simulator, owner))
    result = client().identify({"$first_name": "Ann", "tier": "gold"}, append={"tags": "new"}, **ANN)
    (profile,) = simulator.profiles
    assert (True, profile.id, ("ann-1", ANN["email"])) == (
        result.created,
        result.profile_id,
        (profile.external_id, profile.email),
    )
    assert ({"first_name": "Ann"}, {"tier": "gold", "tags": ["new"]}) == (profile.attributes, profile.properties)
    assert profile.id == bound(client(), external_id="ann-1").profile_id


@pytest.mark.parametrize("refusal", ["unnamed", "dropped"])
def test_r17_an_owner_whom_nothing_shows_is_waited_for(client, simulator, store, owner, refusal):
    """R17: if neither the search nor a refusal names the owner, the call may be made again; nothing else is created."""
    k = client()
    if refusal == "unnamed":
        simulator.fail_next("update_profile", status=409, body=UNNAMED, times=2)
    else:
        # A PATCH that drops the id as well.
        k.identify(email=ANN["email"])
        shown = {"data": {"type": "profile", "id": simulator.profiles[-1].id, "attributes": {"email": ANN["email"]}}}
        simulator.fail_next("update_profile", status=200, body=shown, times=2)
    error = rejected(k.identify, **ANN)
    assert (ProfileConflictError, 409, True, "R17") == (
        type(error),
        error.status_code,
        error.may_retry,
        error.rule,
    )
    simulator.drain()
    error = rejected(k.identify, **ANN)
    assert (EmailMismatchError, OWNER[1]) == (type(error), error.current_email)
    assert ({OWNER, ORPHAN}, 0) == (pairs(simulator), leases(store))


@pytest.mark.parametrize("by", ["recover", "identify"])
@pytest.mark.parametrize("where", ["update_profile", "get_profiles:3", "get_profiles:5"])
def test_p4_a_death_after_the_create_leaves_one_orphan(simulator, owner, open_client, *, by, where):
    """P4: a process that dies after Klaviyo has dropped the id leaves one orphan, and no call is blocked by that."""
    store = Troubled(simulator)
    kill(simulator, store, where, open_client(simulator, store).identify, **ANN)
    assert {OWNER, ORPHAN} == pairs(simulator)
    expire(simulator)
    simulator.drain()
    k = open_client(simulator, store)
    if by == "recover":
        assert [("contact", "failed")] == [(each.verb, each.status) for each in recovered(simulator, k)]
    error = rejected(k.identify, **ANN)
    assert (EmailMismatchError, OWNER[1], 0) == (type(error), error.current_email, leases(store))
    assert {OWNER, ORPHAN} == pairs(simulator)
    assert owner == k.identify(external_id="ann-1").profile_id
