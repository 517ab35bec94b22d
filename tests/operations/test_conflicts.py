"""Conflicts (R17): a 409 is worked out from the owner's profile, decided again, and never answered by a blind write."""

from __future__ import annotations

import pytest

from safeklaviyo import (
    AmbiguousIdentityError,
    EmailMismatchError,
    ExternalIdMismatchError,
    Policy,
    ProfileConflictError,
    RetryPolicy,
)
from safeklaviyo.policy import DAY
from safeklaviyo.testing import KlaviyoSimulator
from support.scenes import ANN, BOB, NEW, by_hand, client_errors, edit, leases, meanwhile, pairs, rejected, writes

PAIR = ("ann-1", "ann@shop.test")
UNNAMED = {"errors": [{"id": "r-1", "status": 409, "code": "duplicate_profile", "title": "Conflict.", "detail": "…"}]}
"""A conflict that does not say with whom."""


@pytest.mark.parametrize(
    ("appears", "expected"),
    [
        ({"external_id": "ann-1", "email": "ann@shop.test"}, None),
        ({"email": "ann@shop.test"}, None),
        ({"external_id": "ann-1"}, None),
        ({"external_id": "eve-3", "email": "ann@shop.test"}, ExternalIdMismatchError),
        ({"external_id": "ann-1", "email": "eve@shop.test"}, EmailMismatchError),
    ],
)
@pytest.mark.parametrize("first_contact", ["verify", "trust"])
def test_r17_whoever_appears_meanwhile_decides(client, simulator, store, *, appears, expected, first_contact):
    """R17, F-1: the owner that a 409 names is read: the customer's own is adopted, another's is left alone."""
    meanwhile(simulator, "create_profile", lambda: simulator.add_profile(first_name="there", **appears))
    k = client(policy=Policy(first_contact=first_contact))
    if expected is None:
        result = k.identify({"tier": "gold"}, **ANN)
        assert (False, {PAIR}) == (result.created, pairs(simulator))
        assert ({"tier": "gold"}, "there") == (
            simulator.profiles[0].properties,
            simulator.profiles[0].attributes["first_name"],
        )
    else:
        error = rejected(k.identify, {"tier": "gold"}, **ANN)
        assert (expected, "not_applied", False, {}) == (
            type(error),
            error.outcome,
            error.may_retry,
            simulator.profiles[0].properties,
        )
    assert (1, 0) == (len(simulator.profiles), leases(store))


def test_r17_two_owners_are_ambiguous(client, simulator):
    """R17: where one profile has the id and another the email, nobody is merged or overwritten."""

    def appear() -> None:
        simulator.add_profile(external_id="ann-1")
        simulator.add_profile(email="ann@shop.test")

    meanwhile(simulator, "create_profile", appear)
    error = rejected(client().identify, {"tier": "gold"}, **ANN)
    assert (AmbiguousIdentityError, 2, "not_applied") == (type(error), len(error.profile_ids), error.outcome)
    assert {("ann-1", None), (None, "ann@shop.test")} == pairs(simulator)


def test_r17_an_owner_that_only_the_409_shows_is_read(open_client, store):
    """R17: a profile that the search does not show yet is found by the id in the 409."""
    simulator = KlaviyoSimulator(search_lag="until_drain")
    data = {"type": "profile", "attributes": {"external_id": "eve-3", "email": "ann@shop.test"}}
    assert 201 == by_hand(simulator, "POST", "/api/profiles", data).status
    error = rejected(open_client(simulator, store).identify, {"tier": "gold"}, **ANN)
    assert (ExternalIdMismatchError, "eve-3") == (type(error), error.current_external_id)
    assert [{"external_id": "eve-3", "email": "ann@shop.test"}] == [
        {"external_id": each.external_id, "email": each.email} for each in simulator.profiles
    ]


@pytest.mark.parametrize("meta", [{}, {"duplicate_profile_id": "01NOBODY"}, {"duplicate_profile_id": "../x"}])
def test_r17_f12_a_conflict_without_an_owner_ends(client, simulator, store, meta):
    """R17, F-12: a 409 that names nobody, or somebody who cannot be read, ends as an error, not as a loop."""
    said = {"id": "r-1", "status": 409, "code": "duplicate_profile", "title": "Conflict.", "detail": "…", "meta": meta}
    simulator.fail_next("create_profile", status=409, body={"errors": [said]}, times=9)
    error = rejected(client().identify, {"tier": "gold"}, **ANN)
    named = meta.get("duplicate_profile_id", "../x")
    assert (ProfileConflictError, "R17", 409, "duplicate_profile", "r-1", "not_applied", True) == (
        type(error),
        error.rule,
        error.status_code,
        error.code,
        error.request_id,
        error.outcome,
        error.may_retry,
    )
    assert (None if ".." in named else named, "ann-1", "ann@shop.test", 0) == (
        error.profile_id,
        error.external_id,
        error.email,
        leases(store),
    )
    assert 2 == len(writes(simulator))


def test_r17_f41_a_conflict_is_retried_as_long_as_lag_can_explain_it(client, simulator):
    """R17, F-41: until `Policy.lag` has passed since the first such refusal; a day later the doubt is a new one."""
    k = client(policy=Policy(lag=60.0))
    simulator.fail_next("create_profile", status=409, times=99)
    seen = []
    for seconds in (0, 20, 39, 1, DAY):
        simulator.advance(seconds)
        error = rejected(k.identify, **ANN)
        seen.append((type(error), error.may_retry, error.retry_after))
    assert [(ProfileConflictError, *each) for each in (
        (True, 60.0), (True, 40.0), (True, 1.0), (False, None), (True, 60.0)
    )] == seen  # fmt: skip
    assert (True, 60.0) == ((other := rejected(k.identify, **BOB)).may_retry, other.retry_after)


def test_r17_the_owner_that_the_search_shows_later_ends_the_conflict(open_client, store):
    """R17: a call that is made again, as its error advises, finds the owner whom the search did not show at first."""
    simulator = KlaviyoSimulator(search_lag="until_drain")
    data = {"type": "profile", "attributes": ANN}
    assert 201 == by_hand(simulator, "POST", "/api/profiles", data).status
    k = open_client(simulator, store)
    simulator.fail_next("create_profile", status=409, body=UNNAMED, times=2)
    error = rejected(k.identify, **ANN)
    assert (ProfileConflictError, True, "not_applied") == (type(error), error.may_retry, error.outcome)
    simulator.drain()
    assert (False, {PAIR}) == (k.identify(**ANN).created, pairs(simulator))


def test_r17_a_change_is_decided_again_once(client, simulator, store):
    """R17: a PATCH that is refused for no visible reason is sent twice, and may be tried again while reads may lag."""
    k = client()
    k.identify(**ANN)
    simulator.journal.clear()
    simulator.fail_next("update_profile", status=409, body=UNNAMED, times=9)
    seen = []
    for _ in range(2):
        error = rejected(k.change_email, NEW, external_id="ann-1")
        seen.append((type(error), error.may_retry, len(writes(simulator)), leases(store)))
        simulator.advance(60)
    assert [(ProfileConflictError, True, 2, 0), (ProfileConflictError, False, 4, 0)] == seen


def test_r17_a_conflict_that_passes_is_overcome(client, simulator):
    """R17: a 409 for somebody who is gone by the time they are read leads to a second, successful create."""
    simulator.fail_next("create_profile", status=409)
    result = client().identify({"tier": "gold"}, **ANN)
    assert (True, {PAIR}) == (result.created, pairs(simulator))


def test_r17_a_409_that_is_this_calls_own_create_is_recognised(client, simulator):
    """R17, P5: the repetition of a create whose answer was lost meets its own profile, and says that it was applied."""
    simulator.fail_next("create_profile", when="after")
    result = client().identify({"tier": "gold"}, **ANN)
    assert ({PAIR}, {"tier": "gold"}, 1) == (
        pairs(simulator),
        simulator.profiles[0].properties,
        len(simulator.profiles),
    )
    assert simulator.profiles[0].id == result.profile_id


def test_r17_an_orphan_that_becomes_somebodys_is_not_taken(client, simulator):
    """R17: an orphan whose completion meets a 409, because somebody else has the id now, is left as it is."""
    simulator.add_profile(email="ann@shop.test")
    meanwhile(simulator, "update_profile", lambda: simulator.add_profile(external_id="ann-1", email="eve@shop.test"))
    error = rejected(client().identify, {"tier": "gold"}, **ANN)
    assert (EmailMismatchError, "eve@shop.test", "not_applied") == (type(error), error.current_email, error.outcome)
    assert {(None, "ann@shop.test"), ("ann-1", "eve@shop.test")} == pairs(simulator)


def test_r17_an_orphan_that_somebody_takes_by_hand_is_refused(client, simulator):
    """R17: an orphan that has got another id by the time it is read is not completed."""
    orphan = simulator.add_profile(email="ann@shop.test")
    meanwhile(simulator, "get_profile", lambda: edit(simulator, orphan.id, external_id="eve-3"))
    error = rejected(client().identify, {"tier": "gold"}, **ANN)
    assert (ExternalIdMismatchError, "eve-3", "not_applied") == (
        type(error),
        error.current_external_id,
        error.outcome,
    )
    assert {("eve-3", "ann@shop.test")} == pairs(simulator)


def test_r17_a_lost_answer_and_a_conflict_leave_a_doubt(client, simulator):
    """R17, P7: where a create got no answer and its repetition a 409 that nobody explains, the outcome is unknown."""
    simulator.fail_next("create_profile")
    simulator.fail_next("create_profile", status=409, times=9)
    error = rejected(client().identify, {"tier": "gold"}, **ANN)
    assert (ProfileConflictError, "unknown") == (type(error), error.outcome)


def test_r17_a_409_to_a_warm_write_is_raised_as_it_is(client, simulator):
    """R17: a warm write carries no identifier that could collide: Klaviyo's 409 is the caller's to see."""
    k = client(retry=RetryPolicy(max_attempts=1))
    k.identify(**ANN)
    simulator.fail_next("update_profile", status=409)
    error = rejected(k.identify, {"tier": "gold"}, **ANN)
    assert (ProfileConflictError, "R17", 409, "not_applied") == (
        type(error),
        error.rule,
        error.status_code,
        error.outcome,
    )


def test_r17_identifiers_are_never_in_the_message(client, simulator):
    """P8: what collides is an attribute, and never in the message or the ``repr``."""
    errors = client_errors(client(), simulator)
    assert {"ProfileConflictError", "EmailTakenError", "ExternalIdMismatchError"} <= {type(e).__name__ for e in errors}
    for error in errors:
        for shown in (str(error), repr(error)):
            assert not [word for word in ("ann-1", "ann@shop.test", NEW, "eve") if word in shown]
