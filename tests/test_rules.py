"""The rules R1 to R13 as a table: what each claim means, given what the identity map knows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeklaviyo import errors
from safeklaviyo.identity import Claim, Identifier, Identity, Kind
from safeklaviyo.models import Binding, Decision, Profile
from safeklaviyo.policy import DAY, Policy
from safeklaviyo.stores.base import Found, Lease, Match
from support.examples import examples
from support.rules import (
    claim_from,
    decide,
    decide_mismatch,
    decide_unknown_id,
    is_sent_at_once,
    refusal,
    still_resolves,
)

NOW = 1_800_000_000.0
STRICT = Policy()

ANN = Binding("ann-1", "ann@shop.test", "ANN01", verified_at=NOW, version=3, key="a")
BOB = Binding("bob-2", "bob@shop.test", "BOB02", verified_at=NOW, version=1, key="b")
GUEST = Binding(None, "guest@shop.test", "GUEST3", verified_at=NOW, version=1, key="g")
BARE = Binding("bare-4", None, "BARE04", verified_at=NOW, version=1, key="n")
LEASE = Lease(7, frozenset({Identifier(Kind.EMAIL, "ann@shop.test")}), "{}", 3.0)


def knows(claim: Claim, *current: Binding, former: dict[str, tuple[Binding, float]] | None = None) -> Found:
    """Return what a map with these bindings, and these former identifiers, knows about a claim."""
    matches: list[Match] = []
    for identifier in claim.identifiers():
        owners = [each for each in current if identifier.value in {each.external_id, each.email}]
        if owners:
            matches.append(Match(identifier, owners[0]))
        elif former and identifier.value in former:
            binding, retired_at = former[identifier.value]
            matches.append(Match(identifier, binding, retired_at))
    return Found(tuple(matches), None, NOW)


def decided(claim: Claim, *current: Binding, former=None, policy: Policy = STRICT, needs_profile=True) -> Decision:
    """Return the decision about a claim, given what is known."""
    return decide(claim, knows(claim, *current, former=former), policy, needs_profile=needs_profile)


def shape(decision: Decision) -> tuple[str, str, Binding | None, bool]:
    """Return what counts in a decision besides its pair and its words."""
    return decision.action, decision.rule, decision.binding, decision.rewritten


PAIR = Claim("ann-1", "ann@shop.test")
ID = Claim("ann-1")
EMAIL = Claim(email="ann@shop.test")
AN_HOUR_AGO = NOW - 3600

TABLE = [
    # rule, claim, current bindings, former identifiers, (action, rule, binding, rewritten), pair
    ("R3", PAIR, [ANN, BOB], {}, ("send", "R3", ANN, False), ANN.identity),
    ("R4", PAIR, [], {}, ("contact", "R4", None, False), Identity("ann-1", "ann@shop.test")),
    ("R4-email-of-a-guest", Claim("new-9", "guest@shop.test"), [GUEST], {}, ("contact", "R4", GUEST, False),
     Identity("new-9", "guest@shop.test")),
    ("R4-id-without-email", Claim("bare-4", "new@shop.test"), [BARE], {}, ("contact", "R4", BARE, False),
     Identity("bare-4", "new@shop.test")),
    ("R4-email-retired-from-another", Claim("new-9", "old@shop.test"), [], {"old@shop.test": (ANN, AN_HOUR_AGO)},
     ("contact", "R4", None, False), Identity("new-9", "old@shop.test")),
    ("R4-retired-from-two", Claim("old-1", "old@shop.test"), [],
     {"old-1": (ANN, AN_HOUR_AGO), "old@shop.test": (BOB, AN_HOUR_AGO)}, ("contact", "R4", None, False),
     Identity("old-1", "old@shop.test")),
    ("R5-former-email", Claim("ann-1", "old@shop.test"), [ANN], {"old@shop.test": (ANN, AN_HOUR_AGO)},
     ("send", "R5", ANN, True), ANN.identity),
    ("R5-former-id", Claim("old-1", "ann@shop.test"), [ANN], {"old-1": (ANN, AN_HOUR_AGO)},
     ("send", "R5", ANN, True), ANN.identity),
    ("R5-both-former", Claim("old-1", "old@shop.test"), [],
     {"old-1": (ANN, AN_HOUR_AGO), "old@shop.test": (ANN, AN_HOUR_AGO)}, ("send", "R5", ANN, True), ANN.identity),
    ("R6", Claim("ann-1", "new@shop.test"), [ANN], {}, ("refuse", "R6", ANN, False),
     Identity("ann-1", "new@shop.test")),
    ("R6-email-of-another", Claim("ann-1", "bob@shop.test"), [ANN, BOB], {}, ("refuse", "R6", ANN, False),
     Identity("ann-1", "bob@shop.test")),
    ("R6-email-retired-from-another", Claim("ann-1", "old@shop.test"), [ANN], {"old@shop.test": (BOB, AN_HOUR_AGO)},
     ("refuse", "R6", ANN, False), Identity("ann-1", "old@shop.test")),
    ("R7", Claim("new-9", "ann@shop.test"), [ANN], {}, ("refuse", "R7", ANN, False),
     Identity("new-9", "ann@shop.test")),
    ("R7-id-retired-from-another", Claim("old-2", "ann@shop.test"), [ANN], {"old-2": (BOB, AN_HOUR_AGO)},
     ("refuse", "R7", ANN, False), Identity("old-2", "ann@shop.test")),
    ("R7-id-without-email", Claim("bare-4", "ann@shop.test"), [BARE, ANN], {}, ("refuse", "R7", ANN, False),
     Identity("bare-4", "ann@shop.test")),
    ("R8", ID, [ANN], {}, ("send", "R8", ANN, False), ANN.identity),
    ("R8-former-id", Claim("old-1"), [ANN], {"old-1": (ANN, AN_HOUR_AGO)}, ("send", "R8", ANN, True), ANN.identity),
    ("R8-former-id-of-nobody-with-email", Claim("old-1"), [], {"old-1": (BARE, AN_HOUR_AGO)},
     ("lookup", "R9", None, False), Identity("old-1", None)),
    ("R9", ID, [], {}, ("lookup", "R9", None, False), Identity("ann-1", None)),
    ("R9-id-without-email", Claim("bare-4"), [BARE], {}, ("lookup", "R9", None, False), Identity("bare-4", None)),
    ("R10", EMAIL, [ANN], {}, ("send", "R10", ANN, False), ANN.identity),
    ("R10-guest", Claim(email="guest@shop.test"), [GUEST], {}, ("send", "R10", GUEST, False), GUEST.identity),
    ("R11", Claim(email="old@shop.test"), [ANN], {"old@shop.test": (ANN, AN_HOUR_AGO)}, ("send", "R11", ANN, True),
     ANN.identity),
    ("R11-former-owner-without-email", Claim(email="old@shop.test"), [], {"old@shop.test": (BARE, AN_HOUR_AGO)},
     ("contact", "R12", None, False), Identity(None, "old@shop.test")),
    ("R12", EMAIL, [], {}, ("contact", "R12", None, False), Identity(None, "ann@shop.test")),
]  # fmt: skip


@pytest.mark.parametrize("needs_profile", [True, False])
@pytest.mark.parametrize("checked", [NOW, NOW - 400 * DAY, None])
@pytest.mark.parametrize("profile_id", ["ANN01", None])
@pytest.mark.parametrize("pair", [("ann-1", "ann@shop.test"), ("ann-1", None), (None, "ann@shop.test")], ids=str)
def test_p1_what_is_sent_at_once_is_what_the_rules_send(pair, profile_id, checked, needs_profile):
    """Calls about many ask no more than this about a person whose identifiers are all current on one binding."""
    binding = Binding(*pair, profile_id, verified_at=checked, key="a")
    claims = [claim for claim in (PAIR, ID, EMAIL) if len(knows(claim, binding).matches) == len(claim.identifiers())]
    for claim in claims:
        action = decided(claim, binding, needs_profile=needs_profile).action
        is_sent = is_sent_at_once(binding, NOW, STRICT, needs_profile=needs_profile)
        assert (action == "send") == is_sent
    assert claims


@pytest.mark.parametrize(
    ("claim", "current", "former", "expected", "pair"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_the_table_of_rules(claim, current, former, expected, pair):
    """Each claim has the action, the rule, the binding and the pair that the table of rules names."""
    decision = decided(claim, *current, former=former)
    assert (expected, pair) == (shape(decision), decision.identity)


@pytest.mark.parametrize("claim", [PAIR, ID, EMAIL])
@pytest.mark.parametrize("bindings", [[], [ANN]])
def test_r13_a_lease_comes_before_everything(claim, bindings):
    """R13: while somebody writes about a customer, nothing is decided from what stands in the map."""
    decision = decide(claim, replace(knows(claim, *bindings), lease=LEASE), STRICT)
    expected = ("wait", "R13", None, False), Identity(claim.external_id, claim.email)
    assert expected == (shape(decision), decision.identity)


def test_r6_the_policy_may_change_the_email_instead():
    """R6: with ``email_mismatch="change"`` another email is no refusal: the decision is to change it first."""
    decision = decided(Claim("ann-1", "new@shop.test"), ANN, policy=Policy(email_mismatch="change"))
    expected = ("change", "R6", ANN, False), Identity("ann-1", "new@shop.test")
    assert expected == (shape(decision), decision.identity)


@pytest.mark.parametrize("other", ["new@shop.test", "bob@shop.test"])
def test_r6_the_policy_may_keep_the_email(other):
    """R6: with ``email_mismatch="keep"`` the id decides, even if the email is another customer's."""
    decision = decided(Claim("ann-1", other), ANN, BOB, policy=Policy(email_mismatch="keep"))
    assert (("send", "R6", ANN, False), ANN.identity) == (shape(decision), decision.identity)


@pytest.mark.parametrize(("may_change", "action"), [(True, "change"), (False, "refuse")])
def test_r6_another_email_in_klaviyo_is_decided_as_in_the_map(may_change, action):
    """R6: an id with another email in Klaviyo alone is decided by the same rule, and the refusal names that email."""
    profile = Profile(id="ELSE1", external_id="ann-1", email="Other@shop.test")
    decision = decide_mismatch(Identity("ann-1", "ann@shop.test"), profile, may_change=may_change)
    assert (action, "R6", "ann-1") == (decision.action, decision.rule, decision.identity.external_id)
    error = refusal(decision)
    assert (errors.EmailMismatchError, "other@shop.test") == (type(error), error.current_email)


def test_r9_an_id_without_an_email_anywhere_is_refused():
    """R9: an external id of which neither the map nor Klaviyo knows an email is refused."""
    error = refusal(decide_unknown_id("ann-1"))
    assert (errors.IdOnlyError, "R9", "ann-1") == (type(error), error.rule, error.external_id)


def test_r9_the_policy_may_refuse_unknown_ids():
    """R9: with ``unknown_id="refuse"`` an external id alone that nobody knows is refused at once."""
    assert ("refuse", "R9", None, False) == shape(decided(ID, policy=Policy(unknown_id="refuse")))


@pytest.mark.parametrize(
    ("rule", "claim", "current"),
    [
        ("R5", Claim("ann-1", "old@shop.test"), [ANN]),
        ("R5", Claim("old-1", "ann@shop.test"), [ANN]),
        ("R5", Claim("old-1", "old@shop.test"), []),
        ("R8", Claim("old-1"), []),
        ("R11", Claim(email="old@shop.test"), []),
    ],
)
def test_the_policy_may_refuse_former_identifiers(rule, claim, current):
    """R5, R8, R11: with ``retired="refuse"`` a former identifier is refused, with what was asked for."""
    former = {"old-1": (ANN, AN_HOUR_AGO), "old@shop.test": (ANN, AN_HOUR_AGO)}
    decision = decided(claim, *current, former=former, policy=Policy(retired="refuse"))
    expected = ("refuse", rule, ANN, False), Identity(claim.external_id, claim.email)
    assert expected == (shape(decision), decision.identity)


@pytest.mark.parametrize(
    ("retired_for", "age", "expected"),
    [
        (60.0, 59.999, ANN),
        (60.0, 60.0, None),
        (60.0, 61.0, None),
        (None, 1000 * DAY, ANN),
        (365 * DAY, 364 * DAY, ANN),
    ],
)
def test_a_former_identifier_speaks_until_the_instant(retired_for, age, expected):
    """R8, R11: a former identifier speaks for its owner until exactly `retired_for` has passed, or for ever."""
    match = Match(Identifier(Kind.EMAIL, "old@shop.test"), ANN, NOW - age)
    assert expected == still_resolves(match, NOW, Policy(retired_for=retired_for))


def test_only_a_former_identifier_speaks_for_a_former_owner():
    """An identifier that is current, or that nobody knows, speaks for no former owner."""
    match = Match(Identifier(Kind.EMAIL, "ann@shop.test"), ANN)
    assert (None, None) == (still_resolves(None, NOW, STRICT), still_resolves(match, NOW, STRICT))


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (Claim(email="old@shop.test"), ("contact", "R12", None, False)),
        (Claim("old-1"), ("lookup", "R9", None, False)),
        (Claim("old-1", "old@shop.test"), ("contact", "R4", None, False)),
    ],
)
def test_what_has_retired_too_long_ago_is_free(claim, expected):
    """R8, R11: when `retired_for` has passed, a former identifier is nobody's."""
    former = {"old-1": (ANN, NOW - 60), "old@shop.test": (ANN, NOW - 60)}
    assert expected == shape(decided(claim, former=former, policy=Policy(retired_for=60)))


@pytest.mark.parametrize("claim", [Claim("ann-1", "old@shop.test"), Claim("old-1", "ann@shop.test")])
def test_r5_one_current_identifier_vouches_for_the_other(claim):
    """R5: beside a current identifier of the same customer a former one is understood, however long ago it retired."""
    former = {"old-1": (ANN, NOW - 60), "old@shop.test": (ANN, NOW - 60)}
    assert ("send", "R5", ANN, True) == shape(decided(claim, ANN, former=former, policy=Policy(retired_for=60)))


@pytest.mark.parametrize(
    ("verified_at", "expected"),
    [(NOW - 59.999, ("send", "R3")), (NOW - 60, ("lookup", "R16")), (None, ("lookup", "R16"))],
)
def test_r16_a_binding_is_checked_again_at_the_instant(verified_at, expected):
    """R16: once `refresh_after` has passed since the last check, or without one, the profile is read first."""
    binding = replace(ANN, verified_at=verified_at)
    decision = decided(PAIR, binding, policy=Policy(refresh_after=60))
    assert (*expected, binding, binding.identity) == (
        decision.action,
        decision.rule,
        decision.binding,
        decision.identity,
    )


def test_r16_a_former_identifier_is_still_one_when_the_profile_is_read_first():
    """R16: that an identifier was rewritten is said also where the profile has to be read first."""
    stale = replace(ANN, verified_at=None)
    decision = decided(Claim(email="old@shop.test"), former={"old@shop.test": (stale, AN_HOUR_AGO)})
    assert ("lookup", "R16", stale, True) == shape(decision)


@pytest.mark.parametrize("claim", [PAIR, ID, EMAIL])
def test_r4_a_binding_without_a_profile_is_contacted_first(claim):
    """R4: a customer whose profile is not known yet is contacted with the pair that the map knows."""
    binding = replace(ANN, profile_id=None)
    decision = decided(claim, binding)
    assert (("contact", "R4", binding, False), ANN.identity) == (shape(decision), decision.identity)


@pytest.mark.parametrize("binding", [replace(ANN, profile_id=None), replace(ANN, verified_at=None)])
def test_a_dialect_without_profile_ids_needs_neither_profile_nor_check(binding):
    """Where profiles are not named by Klaviyo's id, what the map knows is sent as it stands."""
    assert ("send", "R3", binding, False) == shape(decided(PAIR, binding, needs_profile=False))


def test_r1_identifiers_are_normalised():
    """R1: an id loses its blanks, an address its case, a phone its punctuation."""
    claim = claim_from(" ann-1 ", " Ann@Shop.TEST", "+1 (234) 567-8901", STRICT)
    assert Claim("ann-1", "ann@shop.test", "+12345678901") == claim


@pytest.mark.parametrize(
    ("external_id", "email", "kind"),
    [
        ("null", None, "external_id"),
        ("undefined", "ann@shop.test", "external_id"),
        ("'0'", None, "external_id"),
        ("00000000-0000-0000-0000-000000000000", None, "external_id"),
        ("x" * 65, None, "external_id"),
        (None, "anonymous", "email"),
        ("ann-1", "not an address", "email"),
        ("ann-1", "", "email"),
    ],
)
def test_r1_an_unusable_identifier_is_refused(external_id, email, kind):
    """R1: a placeholder or a malformed identifier is refused, even beside a good one, and never quoted."""
    with pytest.raises(errors.InvalidIdentifierError) as caught:
        claim_from(external_id, email, None, STRICT)
    error = caught.value
    assert ("R1", kind, "not_applied", False) == (error.rule, error.identifier_kind, error.outcome, error.may_retry)


def test_r1_the_policy_adds_values_and_shortens_ids():
    """R1: blocked values and the longest id are the policy's."""
    policy = Policy(blocked_values=frozenset({"WALK-IN", "till@shop.test"}), max_external_id_length=8)
    for external_id, email in (("walk-in", None), (None, "Till@shop.test"), ("123456789", None)):
        with pytest.raises(errors.InvalidIdentifierError):
            claim_from(external_id, email, None, policy)
    assert Claim("12345678") == claim_from(12345678, None, None, policy)


@pytest.mark.parametrize(
    ("phone", "words"), [(None, "no customer is named"), ("+12345678901", "a phone number alone"), ("x", "a phone")]
)
def test_r2_nobody_is_no_claim(phone, words):
    """R2: a call without an external id and an email is refused; a phone alone identifies nobody."""
    with pytest.raises(errors.InvalidIdentifierError, match=words) as caught:
        claim_from(None, None, phone, STRICT)
    assert "R2" == caught.value.rule


def test_r14_an_unusable_phone_costs_nothing_else():
    """R14: a malformed phone is noted, and the rest of the claim stands."""
    assert Claim("ann-1", "ann@shop.test", None, unusable_phone=True) == claim_from(
        "ann-1", "ann@shop.test", "call me", STRICT
    )


REFUSALS = [
    (Decision("refuse", Identity("ann-1", "new@shop.test"), "R6", "why", binding=ANN), errors.EmailMismatchError,
     {"current_email": "ann@shop.test"}),
    (Decision("refuse", Identity("ann-1", "old@shop.test"), "R5", "why", binding=ANN), errors.EmailMismatchError,
     {"current_email": "ann@shop.test"}),
    (Decision("refuse", Identity(None, "old@shop.test"), "R11", "why", binding=ANN), errors.EmailMismatchError,
     {"current_email": "ann@shop.test"}),
    (Decision("refuse", Identity("old-1", "ann@shop.test"), "R5", "why", binding=ANN), errors.ExternalIdMismatchError,
     {"current_external_id": "ann-1"}),
    (Decision("refuse", Identity("new-9", "ann@shop.test"), "R7", "why", binding=ANN), errors.ExternalIdMismatchError,
     {"current_external_id": "ann-1"}),
    (Decision("refuse", Identity("old-1", None), "R8", "why", binding=ANN), errors.ExternalIdMismatchError,
     {"current_external_id": "ann-1"}),
    (Decision("refuse", Identity("ann-1", None), "R9", "why"), errors.IdOnlyError, {}),
]  # fmt: skip


@pytest.mark.parametrize(("decision", "kind", "attributes"), REFUSALS)
def test_a_refusal_says_what_was_asked_and_what_is_known(decision, kind, attributes):
    """The error of a refused claim names the rule, what was asked, and what the map knows instead."""
    error = refusal(decision)
    # After a sign-up an id is no longer unknown. Every other refusal is refused again.
    may_retry = kind is errors.IdOnlyError
    assert (kind, "why", decision.rule, "not_applied", may_retry) == (
        type(error),
        str(error),
        error.rule,
        error.outcome,
        error.may_retry,
    )
    assert decision.identity == Identity(error.external_id, error.email)
    assert attributes == {name: getattr(error, name) for name in attributes}


IDS = ["1", "2", "3"]
EMAILS = ["x@s.test", "y@s.test", "z@s.test"]


@st.composite
def maps(draw: st.DrawFn) -> tuple[list[Binding], dict[str, tuple[Binding, float]]]:
    """Some bindings, none of which share an identifier, and former identifiers, none of which is current."""
    ids, emails = draw(st.permutations(IDS)), draw(st.permutations(EMAILS))
    bindings = [
        Binding(
            draw(st.sampled_from([external_id, None])),
            draw(st.sampled_from([email, email, None])),
            draw(st.sampled_from([f"P{external_id}", f"P{external_id}", None])),
            verified_at=draw(st.sampled_from([NOW, NOW - 100, None])),
            key=external_id,
        )
        for external_id, email in zip(ids, emails, strict=True)
    ][: draw(st.integers(0, 3))]
    current = {value for each in bindings for value in (each.external_id, each.email)}
    free = [value for value in IDS + EMAILS if value not in current]
    former = st.tuples(st.sampled_from(bindings), st.sampled_from([NOW, NOW - 50, NOW - 100]))
    return bindings, draw(st.dictionaries(st.sampled_from(free), former)) if bindings and free else {}


CLAIMS = st.builds(Claim, st.sampled_from([*IDS, None]), st.sampled_from([*EMAILS, None])).filter(Claim.identifiers)
POLICIES = st.builds(
    Policy,
    retired=st.sampled_from(["rewrite", "refuse"]),
    retired_for=st.sampled_from([None, 60.0]),
    refresh_after=st.sampled_from([60.0, 1000.0]),
    unknown_id=st.sampled_from(["lookup", "refuse"]),
    email_mismatch=st.sampled_from(["refuse", "change", "keep"]),
)


@settings(max_examples=examples(250), deadline=None)
@given(maps(), CLAIMS, POLICIES, st.booleans())
def test_nobody_is_taken_for_somebody_else(known, claim, policy, needs_profile):
    """Whatever the map knows, a decision is about an owner or former owner of a claimed identifier, by their pair."""
    bindings, former = known
    found = knows(claim, *bindings, former=former)
    decision = decide(claim, found, policy, needs_profile=needs_profile)
    about = decision.binding
    assert about is None or about in [match.binding for match in found.matches]
    if decision.action != "send":
        return
    assert about is not None
    assert about.identity == decision.identity
    assert about.email is not None
    if decision.rule == "R6":
        # The policy keeps the email: the id alone has decided.
        assert (policy.email_mismatch, about.external_id) == ("keep", claim.external_id)
        return
    # Two identifiers that were never one customer's are not made so, and ownership beats retirement.
    assert len(claim.identifiers()) == len(found.matches)
    assert {about.key} == {match.binding.key for match in found.matches}
    assert decision.rewritten is any(match.retired_at is not None for match in found.matches)


@settings(max_examples=examples(100), deadline=None)
@given(maps(), CLAIMS, POLICIES, st.booleans())
def test_every_refusal_can_be_raised(known, claim, policy, needs_profile):
    """What is refused, or a change that is not made, has an error that keeps what was asked and changes nothing."""
    bindings, former = known
    decision = decide(claim, knows(claim, *bindings, former=former), policy, needs_profile=needs_profile)
    if decision.action in {"refuse", "change"}:
        error = refusal(decision)
        assert (claim.external_id, claim.email, decision.rule, "not_applied") == (
            error.external_id,
            error.email,
            error.rule,
            error.outcome,
        )
