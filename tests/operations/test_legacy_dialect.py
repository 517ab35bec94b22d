"""The legacy dialect: R4's searches, pairing, retries and `change_email` hold; what needs an answer does not."""

from __future__ import annotations

import json

import pytest

from safeklaviyo import (
    BadRequestError,
    ConfigurationError,
    EmailMismatchError,
    EmailTakenError,
    ExternalIdMismatchError,
    GoneError,
    IdOnlyError,
    InvalidPropertyError,
    NoResponseError,
    NotFoundError,
)
from safeklaviyo.testing import KlaviyoSimulator
from support.scenes import ANN, NEW, PHONE, asked, bound, codes, leases, ours, pairs, rejected

OLD = "ann@shop.test"


@pytest.fixture
def simulator():
    """A server that still speaks the retired API, and does what is queued as soon as time passes."""
    return KlaviyoSimulator(account="SiMuLa", legacy="alive")


@pytest.fixture
def legacy(client):
    """A client that speaks it."""
    return client(dialect="legacy", public_key="SiMuLa", base_url="http://127.0.0.1:9")


def data_of(entry):
    """Return what a Track or Identify request says."""
    return json.loads(entry.body["data"])


def test_r4_the_pair_is_searched_for_and_identified(legacy, simulator):
    """R4: nobody is found, so the pair is sent; the answer names neither the profile nor whether it is new."""
    result = legacy.identify({"$first_name": "Ann", "tier": "gold"}, **ANN)
    assert ["search_people", "search_people", "identify"] == asked(simulator)
    assert (None, None, "R4", ()) == (result.profile_id, result.created, result.rule, result.warnings)
    simulator.drain()
    assert ({("ann-1", OLD)}, {"tier": "gold"}) == (pairs(simulator), simulator.profiles[0].properties)


def test_r3_r8_r10_whoever_is_known_is_named_by_the_pair(legacy, simulator):
    """R3, R8, R10, P1: once known, every call sends the pair, whatever part of it was given, and searches nothing."""
    legacy.identify(**ANN)
    simulator.journal.clear()
    for who in (ANN, {"external_id": "ann-1"}, {"email": OLD}):
        assert None is legacy.identify({"tier": "gold"}, **who).created
        legacy.track("Ordered", properties={"sku": 1}, value=5, **who)
    assert ["identify", "track"] * 3 == asked(simulator)
    for entry in ours(simulator):
        customer = data_of(entry).get("customer_properties") or data_of(entry)["properties"]
        assert ("ann-1", OLD) == (customer["$id"], customer["$email"])
    simulator.drain()
    assert (1, 3) == (len(simulator.profiles), len(simulator.events))


def test_p5_a_retry_repeats_the_event(legacy, simulator):
    """P5: key and time are fixed in this dialect too."""
    legacy.identify(**ANN)
    simulator.fail_next("track", when="after")
    result = legacy.track("Ordered", **ANN)
    simulator.drain()
    assert ([result.unique_id], 1) == ([event.unique_id for event in simulator.events], len(simulator.deduplicated))


@pytest.mark.parametrize(
    ("there", "kind"),
    [
        ({"external_id": "eve-3", "email": OLD}, ExternalIdMismatchError),
        ({"external_id": "ann-1", "email": "eve@shop.test"}, EmailMismatchError),
    ],
)
def test_r4_another_owner_is_never_overwritten(legacy, simulator, there, kind):
    """R4, R6, R7: where the search shows another owner, nothing is sent."""
    simulator.add_profile(**there)
    assert isinstance(rejected(legacy.identify, **ANN), kind)
    assert "identify" not in asked(simulator)


@pytest.mark.parametrize("there", [{"external_id": "ann-1"}, {"email": OLD}])
def test_r4_an_orphan_is_completed_by_its_id(legacy, simulator, there):
    """R4: a person with one of the identifiers gets the other, by its own id."""
    person = simulator.add_profile(**there)
    legacy.identify({"tier": "gold"}, **ANN)
    simulator.drain()
    assert (person.id, {("ann-1", OLD)}) == (simulator.profiles[0].id, pairs(simulator))
    assert "update_person" in asked(simulator)


def test_r9_an_unknown_id_is_looked_up(legacy, simulator):
    """R9: an id alone leads to the person who has it and an email, and else is refused."""
    simulator.add_profile(**ANN)
    assert OLD == legacy.track("Ordered", external_id="ann-1").identity.email
    assert isinstance(rejected(legacy.track, "Ordered", external_id="bob-2"), IdOnlyError)


def test_change_email_moves_the_person(legacy, simulator, store):
    """`change_email`: the person is found, moved by its id, and late calls go to the new address."""
    legacy.identify(**ANN)
    simulator.drain()
    change = legacy.change_email(NEW, external_id="ann-1")
    assert ("changed", True, {("ann-1", NEW)}, 0) == (change.status, change.visible, pairs(simulator), leases(store))
    assert NEW == legacy.track("Ordered", email=OLD).identity.email
    simulator.drain()
    assert ({("ann-1", NEW)}, 1) == (pairs(simulator), len(simulator.events))


def test_change_email_of_somebody_who_is_still_queued_is_postponed(legacy, simulator, store):
    """`change_email`: while Klaviyo does not show the customer yet, the error says to come back."""
    legacy.identify(**ANN)
    error = rejected(legacy.change_email, NEW, external_id="ann-1")
    assert (NotFoundError, "not_applied", True, 0) == (type(error), error.outcome, error.may_retry, leases(store))
    simulator.drain()
    assert "changed" == legacy.change_email(NEW, external_id="ann-1").status


def test_change_email_refuses_a_taken_address(legacy, simulator):
    """`change_email`, P3: an address of somebody else is refused."""
    legacy.identify(**ANN)
    simulator.add_profile(external_id="eve-3", email=NEW)
    simulator.drain()
    assert isinstance(rejected(legacy.change_email, NEW, external_id="ann-1"), EmailTakenError)


def test_r14_a_phone_without_a_profile_id_is_left_out(legacy, simulator):
    """R14: where the profile is not known by its id, the phone is not sent, and a warning says so."""
    result = legacy.identify({"tier": "gold"}, phone_number=PHONE, **ANN)
    simulator.drain()
    assert (["phone_not_attached"], None) == (codes(result), simulator.profiles[0].phone_number)


def test_r14_a_phone_is_attached_to_a_person_who_was_found(legacy, simulator):
    """R14: a person who was found is known by the id, and takes the phone."""
    simulator.add_profile(**ANN)
    assert () == legacy.track("Ordered", phone_number=PHONE, **ANN).warnings
    assert PHONE == simulator.profiles[0].phone_number


@pytest.mark.parametrize(
    ("body", "kind", "outcome"), [("0", BadRequestError, "not_applied"), ("?", NoResponseError, "unknown")]
)
@pytest.mark.parametrize("verb", ["identify", "track"])
@pytest.mark.parametrize("is_known", [True, False])
def test_p7_an_answer_that_is_no_1_is_an_error(legacy, simulator, store, *, body, kind, outcome, verb, is_known):
    """P7: ``0`` says that nothing was done; anything else says nothing."""
    if is_known:
        legacy.identify(**ANN)
    where = verb if is_known or verb == "identify" else "identify"
    simulator.fail_next(where, status=200, body=body, times=4 if body == "?" else 1)
    call = legacy.identify if verb == "identify" else lambda **who: legacy.track("Ordered", **who)
    error = rejected(call, **ANN)
    assert isinstance(error, kind)
    assert outcome == error.outcome or (verb == "track" and not is_known and error.outcome == "not_applied")
    simulator.advance(3600)
    call(**ANN)
    simulator.drain()
    assert ({("ann-1", OLD)}, 0) == (pairs(simulator), leases(store))


def test_p7_a_0_to_a_repeat_leaves_the_first_attempt_in_doubt(legacy, simulator):
    """P7: where the first attempt got no answer, the ``0`` to its repeat does not say that nothing was done."""
    legacy.identify(**ANN)
    simulator.fail_next("identify")
    simulator.fail_next("identify", status=200, body="0")
    error = rejected(legacy.identify, {"plan": "gold"}, **ANN)
    assert (BadRequestError, "unknown") == (type(error), error.outcome)


def test_p6_a_404_that_is_no_search_result_is_not_nobody(legacy, client, simulator):
    """P6, F-3: a proxy's 404 page does not say that nobody has the address."""
    simulator.fail_next("search_people", status=404, body="<html>not here</html>", times=9)
    error = rejected(legacy.identify, **ANN)
    assert (NoResponseError, "not_applied") == (type(error), error.outcome)
    assert {"search_people"} == set(asked(simulator))


def test_what_this_dialect_cannot_say_is_refused(legacy, simulator):
    """Lists, clearing and profiles by id are the current dialect's."""
    for given in ({"append": {"tags": "x"}}, {"unset": "x"}):
        assert isinstance(rejected(legacy.identify, **ANN, **given), InvalidPropertyError)
    person = simulator.add_profile(email="bob@shop.test")
    assert isinstance(rejected(legacy.profiles.update, person.id, {"x": 1}), ConfigurationError)
    assert isinstance(rejected(lambda: list(legacy.profiles.iterate())), ConfigurationError)
    assert person.id == legacy.profiles.get(person.id).id


def test_r16_a_binding_is_not_checked(legacy, simulator):
    """R16 does not hold here: a known customer is sent without a look, however long ago the last one was."""
    legacy.identify(**ANN)
    simulator.advance(400 * 86_400)
    simulator.journal.clear()
    legacy.track("Ordered", **ANN)
    assert (["track"], None) == (asked(simulator), bound(legacy, external_id="ann-1").profile_id)


def test_the_retired_api_says_so(open_client, store):
    """Where the API answers 410, the error says what to do."""
    gone = KlaviyoSimulator()
    k = open_client(gone, store, dialect="legacy", public_key="SiMuLa", base_url="http://127.0.0.1:9")
    error = rejected(k.identify, **ANN)
    assert (GoneError, "not_applied", []) == (type(error), error.outcome, gone.profiles)
    assert "current" in str(error)


@pytest.mark.parametrize("who", [ANN, {"email": OLD}])
def test_h10_a_retry_reads_the_address_anew(legacy, simulator, who):
    """H10: a repeated event finds its customer in the map by what they are known by there."""
    legacy.identify(**who)
    simulator.fail_next("track", status=503)
    legacy.track("Ordered", **who)
    simulator.drain()
    assert (1, 1) == (len(simulator.events), len(simulator.profiles))
