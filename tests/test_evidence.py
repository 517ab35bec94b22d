"""What Klaviyo's own answers permit: first contact, contradictions (R15) and conflicts (R17), as pure tables."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeklaviyo import errors
from safeklaviyo.identity import Identity, Kind
from safeklaviyo.models import Binding, Profile
from support.rules import (
    ContactStep,
    ambiguity_error,
    compare,
    contact_step,
    differences,
    drift_error,
    email_of,
    has_email,
    other_with,
    owner_of_external_id,
    taken_error,
    unexplained_conflict,
)
from support.wire import Response

PAIRED = Profile(id="PAIR1", external_id="ann-1", email="Ann@Shop.test")
ADDRESSED = Profile(id="ADDR1", email="ann@shop.test")
IDENTIFIED = Profile(id="IDEN1", external_id="ann-1")
ELSEWHERE = Profile(id="ELSE1", external_id="ann-1", email="other@shop.test")
FOREIGN = Profile(id="FORE1", external_id="bob-2", email="ann@shop.test")
STRANGER = Profile(id="STRA1", external_id="eve-3", email="eve@shop.test")
PHONED = Profile(id="PHON1", external_id="pia-5", phone_number="+12345678901")
BINDING = Binding("ann-1", "ann@shop.test", "PAIR1", version=2, key="a")


@pytest.mark.parametrize(
    ("shown", "email", "expected"),
    [
        ("ann@shop.test", "ann@shop.test", True),
        (" Ann@SHOP.test ", "ann@shop.test", True),
        ("bob@shop.test", "ann@shop.test", False),
        (None, "ann@shop.test", False),
        ("ann@shop.test", None, False),
        (None, None, False),
    ],
)
def test_f8_addresses_are_compared_without_case(shown, email, expected):
    """F-8: the case and the blanks in which Klaviyo shows an address do not make it another one."""
    assert expected is has_email(Profile(id="P1", email=shown), email)


@pytest.mark.parametrize(
    ("shown", "expected"), [(" Ann@Shop.test", "ann@shop.test"), (None, None), ("", None), ("  ", None)]
)
def test_an_empty_address_is_none(shown, expected):
    """An address is taken in the form in which it is compared, and an empty one is none."""
    assert expected == email_of(Profile(id="P1", email=shown))


@pytest.mark.parametrize(
    ("external_id", "profiles", "expected"),
    [
        (None, [], ContactStep("create")),
        (None, [STRANGER], ContactStep("create")),
        (None, [STRANGER, ADDRESSED], ContactStep("bind", ADDRESSED)),
        (None, [PAIRED], ContactStep("bind", PAIRED)),
        ("ann-1", [], ContactStep("create")),
        ("ann-1", [STRANGER], ContactStep("create")),
        ("ann-1", [PAIRED], ContactStep("bind", PAIRED)),
        ("ann-1", [ADDRESSED, PAIRED, IDENTIFIED, FOREIGN], ContactStep("bind", PAIRED)),
        ("ann-1", [ADDRESSED], ContactStep("identify", ADDRESSED)),
        ("ann-1", [IDENTIFIED], ContactStep("address", IDENTIFIED)),
        ("ann-1", [ELSEWHERE], ContactStep("mismatch", ELSEWHERE)),
        ("ann-1", [ELSEWHERE, ADDRESSED], ContactStep("mismatch", ELSEWHERE, orphan=ADDRESSED)),
    ],
)
def test_r4_r12_where_somebody_belongs(external_id, profiles, expected):
    """R4, R12: the pair's own profile is theirs, an orphan is completed, and only where nobody is one is created."""
    assert expected == contact_step(external_id, "ann@shop.test", profiles)


@pytest.mark.parametrize(
    ("external_id", "profiles", "kind", "rule", "attributes"),
    [
        ("ann-1", [FOREIGN], errors.ExternalIdMismatchError, "R7", {"current_external_id": "bob-2"}),
        ("ann-1", [FOREIGN, IDENTIFIED], errors.ExternalIdMismatchError, "R7", {"current_external_id": "bob-2"}),
        ("ann-1", [IDENTIFIED, ADDRESSED], errors.AmbiguousIdentityError, None, {"profile_ids": ("IDEN1", "ADDR1")}),
        ("ann-1", [ADDRESSED, FOREIGN], errors.AmbiguousIdentityError, None, {"profile_ids": ("ADDR1", "FORE1")}),
        ("ann-1", [IDENTIFIED, ELSEWHERE], errors.AmbiguousIdentityError, None, {"profile_ids": ("IDEN1", "ELSE1")}),
        ("ann-1", [PAIRED, PAIRED.model_copy(update={"id": "PAIR2"})], errors.AmbiguousIdentityError, None,
         {"profile_ids": ("PAIR1", "PAIR2")}),
        (None, [ADDRESSED, FOREIGN], errors.AmbiguousIdentityError, None, {"profile_ids": ("ADDR1", "FORE1")}),
    ],
)  # fmt: skip
def test_f5_nobody_is_placed_where_somebody_else_is(external_id, profiles, kind, rule, attributes):
    """F-4, F-5: another owner, or several profiles, are refused with what is known of them."""
    with pytest.raises(kind) as caught:
        contact_step(external_id, "ann@shop.test", profiles)
    error = caught.value
    assert (kind, rule, external_id, "ann@shop.test", "not_applied") == (
        type(error),
        error.rule,
        error.external_id,
        error.email,
        error.outcome,
    )
    assert attributes == {name: getattr(error, name) for name in attributes}


IDS = st.sampled_from([None, "ann-1", "bob-2"])
EMAILS = st.sampled_from([None, "ann@shop.test", "ANN@shop.test", "bob@shop.test"])
PROFILES = st.lists(st.builds(lambda external_id, email: (external_id, email), IDS, EMAILS), max_size=4).map(
    lambda rows: [Profile(id=f"P{n}", external_id=row[0], email=row[1]) for n, row in enumerate(rows)]
)


@settings(max_examples=300, deadline=None)
@given(IDS, PROFILES)
def test_no_placement_takes_an_identifier_away(external_id, profiles):
    """Whatever profiles there are, nobody's identifier would be overwritten, and nobody would be made twice."""
    try:
        placement = contact_step(external_id, "ann@shop.test", profiles)
    except errors.IdentityError:
        return
    chosen = placement.profile
    if placement.kind == "create":
        assert chosen is None
        assert not [each for each in profiles if has_email(each, "ann@shop.test")]
        assert external_id is None or not [each for each in profiles if each.external_id == external_id]
        return
    assert chosen in profiles
    assert chosen is not None
    kept = {
        "bind": has_email(chosen, "ann@shop.test") and external_id in {None, chosen.external_id},
        "identify": has_email(chosen, "ann@shop.test") and chosen.external_id is None and external_id is not None,
        "mismatch": not has_email(chosen, "ann@shop.test") and chosen.external_id == external_id is not None,
        "address": chosen.email is None and chosen.external_id == external_id is not None,
    }
    assert kept[placement.kind]


@settings(max_examples=100, deadline=None)
@given(IDS, PROFILES, st.randoms(use_true_random=False))
def test_the_order_of_the_answers_decides_nothing(external_id, profiles, random):
    """F-5: whoever comes first in a search has no more right than the others."""

    def outcome(known: list[Profile]) -> object:
        try:
            return contact_step(external_id, "ann@shop.test", known)
        except errors.IdentityError as error:
            return type(error)

    shuffled = list(profiles)
    random.shuffle(shuffled)
    assert outcome(profiles) == outcome(shuffled)


def test_r9_the_owner_of_an_external_id_has_an_email():
    """R9: the one profile with the id and an email is its owner."""
    assert PAIRED == owner_of_external_id("ann-1", [STRANGER, PAIRED])


@pytest.mark.parametrize("profiles", [[], [STRANGER], [IDENTIFIED]])
def test_r9_an_external_id_may_lead_to_no_email(profiles):
    """R9: no profile, another customer's, or one without an email is the owner of no id."""
    assert None is owner_of_external_id("ann-1", profiles)


@pytest.mark.parametrize("profiles", [[PAIRED, ELSEWHERE], [PAIRED, IDENTIFIED]])
def test_r9_an_external_id_that_leads_to_several_profiles_is_refused(profiles):
    """R9, F-5: of several profiles with an id none is chosen."""
    with pytest.raises(errors.AmbiguousIdentityError) as caught:
        owner_of_external_id("ann-1", profiles)
    assert "ann-1" == caught.value.external_id


@pytest.mark.parametrize(
    ("binding", "profile", "kinds", "expected"),
    [
        (BINDING, PAIRED, [Kind.EMAIL, Kind.EXTERNAL_ID], {}),
        (BINDING, ADDRESSED, [Kind.EMAIL, Kind.EXTERNAL_ID], {Kind.EXTERNAL_ID: "ann-1"}),
        (BINDING, ADDRESSED, [Kind.EMAIL], {}),
        (BINDING, STRANGER, [Kind.EXTERNAL_ID, Kind.EMAIL],
         {Kind.EXTERNAL_ID: "ann-1", Kind.EMAIL: "ann@shop.test"}),
        (BINDING, PHONED, [Kind.PHONE_NUMBER], {Kind.PHONE_NUMBER: None}),
        (Binding("ann-1", None), IDENTIFIED, [Kind.EMAIL, Kind.EXTERNAL_ID], {}),
    ],
)  # fmt: skip
def test_r15_a_difference_is_what_the_map_says(binding, profile, kinds, expected):
    """R15: the identifiers in which a profile differs are named with the map's value, in the order asked for."""
    found = differences(binding, profile, kinds)
    assert list(expected.items()) == list(found.items())


@pytest.mark.parametrize(
    ("binding", "profile", "expected"),
    [
        (BINDING, PAIRED, "same"),
        (replace(BINDING, profile_id="OLD01"), PAIRED, "moved"),
        (BINDING, ELSEWHERE, "contradicts"),
        (BINDING, IDENTIFIED, "contradicts"),
        (BINDING, FOREIGN, "contradicts"),
        (BINDING, ADDRESSED, "contradicts"),
        (replace(BINDING, external_id=None), PAIRED, "gained_external_id"),
        (replace(BINDING, external_id=None, profile_id="ADDR1"), ADDRESSED, "same"),
        (replace(BINDING, external_id=None, email="other@shop.test"), ADDRESSED, "contradicts"),
    ],
)
def test_r15_how_an_answer_compares_with_the_map(binding, profile, expected):
    """R15: only another id or another email contradicts the map; a gained id and a new profile id are news."""
    assert expected == compare(binding, profile)


def test_r15_drift_says_what_was_found():
    """R15: the error holds what the map knows and what Klaviyo shows, and its message neither."""
    error = drift_error(BINDING, ELSEWHERE, "they differ")
    assert ("they differ", "R15", "not_applied", "ELSE1", "ann-1", "other@shop.test", "ann-1", "ann@shop.test") == (
        str(error),
        error.rule,
        error.outcome,
        error.profile_id,
        error.found_external_id,
        error.found_email,
        error.external_id,
        error.email,
    )


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], None),
        ([PAIRED], None),
        ([STRANGER], None),
        ([PAIRED, STRANGER, FOREIGN], FOREIGN),
        ([ADDRESSED], ADDRESSED),
        ([IDENTIFIED], IDENTIFIED),
        ([PHONED], PHONED),
    ],
)
def test_whoever_else_shows_an_identifier_is_found(others, expected):
    """Any profile but the customer's own that shows the address, the id or the phone wanted stands in the way."""
    wanted = replace(BINDING, phone_number="+12345678901")
    assert expected == other_with(wanted, PAIRED, others)


def test_what_is_not_wanted_is_in_nobodys_way():
    """A profile without an id or a phone does not collide with somebody who wants none."""
    assert None is other_with(Binding(None, "new@shop.test"), PAIRED, [ADDRESSED, STRANGER, Profile(id="BARE1")])


@pytest.mark.parametrize(
    ("other", "kind", "words", "attributes"),
    [
        (FOREIGN, errors.EmailTakenError, "the new email is another customer's; check it with the customer",
         {"profile_id": "FORE1"}),
        (ADDRESSED, errors.EmailTakenError, "the new email is on another profile; merge the two first",
         {"profile_id": "ADDR1"}),
        (ELSEWHERE, errors.ExternalIdMismatchError,
         "the new external_id is on another profile; merge the two profiles first", {"current_external_id": "ann-1"}),
        (PHONED, errors.ProfileConflictError, "the new phone number is another profile's; check it with the customer",
         {"identifier": "phone_number", "profile_id": "PHON1", "status_code": 409, "rule": "R17"}),
    ],
)  # fmt: skip
def test_an_identifier_that_is_taken_is_named(other, kind, words, attributes):
    """The error says which identifier is taken, and whose it is."""
    error = taken_error(replace(BINDING, phone_number="+12345678901"), other)
    assert (kind, words, "not_applied", other.external_id, email_of(other)) == (
        type(error),
        str(error),
        error.outcome,
        error.external_id,
        error.email,
    )
    assert attributes == {name: getattr(error, name) for name in attributes}


def test_r17_an_unexplained_conflict_keeps_what_klaviyo_said():
    """R17: the error of a conflict that nobody can explain says what Klaviyo did, for its support."""
    said = {"id": "req-1", "code": "duplicate_profile", "meta": {"duplicate_profile_id": "FORE1"}}
    error = unexplained_conflict(
        Response(409, {}, json.dumps({"errors": [said]}).encode()), Identity("ann-1", "ann@shop.test")
    )
    assert ("R17", 409, "duplicate_profile", "req-1", (said,), "FORE1", "ann-1", "ann@shop.test", "not_applied") == (
        error.rule,
        error.status_code,
        error.code,
        error.request_id,
        error.errors,
        error.profile_id,
        error.external_id,
        error.email,
        error.outcome,
    )


def test_r17_a_conflict_without_an_answer_is_still_one():
    """R17: where no answer was kept, the error still says what happened."""
    error = unexplained_conflict(None, Identity("ann-1", None))
    assert (409, None, (), None, None, "R17") == (
        error.status_code,
        error.code,
        error.errors,
        error.request_id,
        error.profile_id,
        error.rule,
    )


def test_f5_ambiguity_names_each_profile_once():
    """F-5: the profiles that answer are named, each once."""
    error = ambiguity_error("several", "ann-1", None, [PAIRED, ELSEWHERE, PAIRED])
    assert ("PAIR1", "ELSE1") == error.profile_ids
