"""`identify`, once a customer is known: one PATCH by profile id, without identifiers (R3, R5 to R8, R10, R11, P2)."""

from __future__ import annotations

import pytest

from safeklaviyo import (
    CLEAR,
    BadRequestError,
    EmailMismatchError,
    ExternalIdMismatchError,
    InvalidIdentifierError,
    InvalidPropertyError,
    Policy,
    ProfileNotVisibleError,
    RetryPolicy,
    StoreUnavailableError,
)
from safeklaviyo.policy import DAY
from support.scenes import (
    ANN,
    BOB,
    NEW,
    Troubled,
    asked,
    bound,
    by_hand,
    codes,
    delete,
    meanwhile,
    pairs,
    patiently,
    person_in,
    rejected,
    writes,
)


@pytest.fixture
def known(client, simulator):
    """A client that knows Ann and Bob; the journal is empty."""
    k = client()
    k.identify({"$first_name": "Ann", "tier": "new", "tags": ["a"]}, **ANN)
    k.identify(**BOB)
    simulator.journal.clear()
    return k


@pytest.mark.parametrize(
    ("rule", "who"),
    [("R3", ANN), ("R8", {"external_id": "ann-1"}), ("R10", {"email": " ANN@Shop.test "})],
)
def test_r3_r8_r10_a_known_customer_is_written_by_profile_id(known, simulator, rule, who):
    """R3, R8, R10, P2: one PATCH by profile id, without an identifier, whatever part of the pair was given."""
    profile = simulator.find(external_id="ann-1")
    result = known.identify({"tier": "gold", "$city": "Bern"}, **who)
    assert (profile.id, False, rule, ("ann-1", "ann@shop.test"), ()) == (
        result.profile_id,
        result.created,
        result.rule,
        (result.identity.external_id, result.identity.email),
        result.warnings,
    )
    assert ["update_profile"] == asked(simulator)
    assert {"id": profile.id, "properties": {"tier": "gold"}, "location": {"city": "Bern"}} == person_in(
        writes(simulator)[0]
    )


def test_a_known_customer_about_whom_nothing_is_said_is_read(known, simulator):
    """Without properties there is nothing to write: the profile is read, and so checked."""
    assert "R3" == known.identify(**ANN).rule
    assert ["get_profile"] == asked(simulator)


def test_properties_are_set_changed_and_cleared(known, simulator):
    """Each kind of change arrives, and what is not named stays (F-15)."""
    known.identify({"$first_name": CLEAR, "tier": CLEAR, "size": 40}, append={"tags": "b"}, unset=["gone"], **ANN)
    known.identify(unappend={"tags": "a"}, **ANN)
    profile = simulator.find(external_id="ann-1")
    assert ({}, {"tier": None, "tags": ["b"], "size": 40}) == (profile.attributes, profile.properties)


def test_identifiers_among_the_properties_are_taken(known, simulator):
    """Legacy keys say who it is as well as arguments do."""
    assert "R3" == known.identify({"$id": "ann-1", "$email": "ann@shop.test", "tier": "gold"}).rule
    assert "gold" == simulator.find(external_id="ann-1").properties["tier"]


@pytest.mark.parametrize(
    ("rule", "who", "kind", "current"),
    [
        ("R6", {"external_id": "ann-1", "email": NEW}, EmailMismatchError, {"current_email": "ann@shop.test"}),
        ("R6", {"external_id": "ann-1", "email": "bob@shop.test"}, EmailMismatchError,
         {"current_email": "ann@shop.test"}),
        ("R7", {"external_id": "new-9", "email": "ann@shop.test"}, ExternalIdMismatchError,
         {"current_external_id": "ann-1"}),
    ],
)  # fmt: skip
def test_r6_r7_identify_changes_nobodys_identifier(known, simulator, *, rule, who, kind, current):
    """R6, R7, P3: a pair that is not the customer's is refused without a request; the error names the right one."""
    error = rejected(known.identify, {"tier": "gold"}, **who)
    assert (kind, rule, "not_applied", False, "identify", []) == (
        type(error),
        error.rule,
        error.outcome,
        error.may_retry,
        error.operation,
        simulator.journal,
    )
    assert current == {name: getattr(error, name) for name in current}
    assert (who["external_id"], who["email"]) == (error.external_id, error.email)


def test_r6_the_policy_may_change_the_email(client, known, simulator):
    """R6: with ``email_mismatch="change"`` a new email is changed as `change_email` does, and then written."""
    k = client(policy=Policy(email_mismatch="change"))
    profile = simulator.find(external_id="ann-1")
    result = k.identify({"tier": "gold"}, external_id="ann-1", email=NEW)
    assert (profile.id, "R3", NEW) == (result.profile_id, result.rule, result.identity.email)
    assert ("gold", NEW) == (
        simulator.find(external_id="ann-1").properties["tier"],
        simulator.find(external_id="ann-1").email,
    )
    assert profile.id == k.track("Ordered", email="ann@shop.test").profile_id


def test_r6_the_policy_changes_no_email_that_klaviyo_alone_contradicts(client, simulator):
    """R6: an id that only Klaviyo knows, with another email, is changed by the verb's own rules."""
    theirs = simulator.add_profile(external_id="ann-1", email="ann@shop.test")
    result = client(policy=Policy(email_mismatch="change")).identify(external_id="ann-1", email=NEW)
    assert (theirs.id, {("ann-1", NEW)}) == (result.profile_id, pairs(simulator))


def test_r6_explain_says_that_the_email_would_be_changed(client, known, simulator):
    """R6: with ``email_mismatch="change"`` `explain` shows the change as an action of its own, and sends nothing."""
    k = client(policy=Policy(email_mismatch="change"))
    decision = k.explain(external_id="ann-1", email=NEW)
    assert ("change", "R6", False, []) == (decision.action, decision.rule, decision.rewritten, simulator.journal)
    k.identify(external_id="ann-1", email=NEW)
    assert "send" == k.explain(external_id="ann-1", email=NEW).action


@pytest.mark.parametrize(
    "write", [lambda k, **who: k.identify({"tier": "gold"}, **who), lambda k, **who: k.track("Ordered", **who)],
    ids=["identify", "track"],
)  # fmt: skip
@pytest.mark.usefixtures("known")
def test_r6_an_email_is_changed_once(client, simulator, open_client, store, write):
    """R6: where another program gives the id yet another email, the call stops rather than change it again."""
    k, other = client(policy=Policy(email_mismatch="change")), open_client(simulator, store)

    def change() -> None:
        other.change_email("third@shop.test", external_id="ann-1")
        other.bindings.release_email(NEW)

    # The fourth search is the one that waits for the change to become visible: the map has it by then.
    meanwhile(simulator, "get_profiles", change, turn=4)
    error = rejected(write, k, external_id="ann-1", email=NEW)
    assert "change_email is the verb" in str(error)
    assert (EmailMismatchError, "R6", "third@shop.test", "not_applied") == (
        type(error),
        error.rule,
        error.current_email,
        error.outcome,
    )
    assert {("ann-1", "third@shop.test"), ("bob-2", "bob@shop.test")} == pairs(simulator)


@pytest.mark.parametrize(
    ("rule", "who"),
    [
        ("R5", {"external_id": "ann-1", "email": "ann@shop.test"}),
        ("R11", {"email": "ann@shop.test"}),
        ("R8", {"external_id": "ann-1"}),
    ],
)
def test_r5_r11_a_late_call_goes_to_the_current_address(known, simulator, rule, who):
    """R5, R11, F-13: a call with the old address is written onto its owner, and puts nothing back."""
    profile = simulator.find(external_id="ann-1")
    known.change_email(NEW, external_id="ann-1")
    result = known.identify({"tier": "gold"}, **who)
    assert (profile.id, rule, NEW) == (result.profile_id, result.rule, result.identity.email)
    assert {("ann-1", NEW), ("bob-2", "bob@shop.test")} == pairs(simulator)
    assert "gold" == simulator.find(external_id="ann-1").properties["tier"]


@pytest.mark.parametrize("who", [ANN, {"email": "ann@shop.test"}])
def test_r5_r11_the_policy_may_refuse_late_calls(client, known, simulator, who):
    """R5, R11: with ``retired="refuse"`` a late call is refused, and the error names the current address."""
    known.change_email(NEW, external_id="ann-1")
    simulator.journal.clear()
    error = rejected(client(policy=Policy(retired="refuse")).identify, {"tier": "gold"}, **who)
    assert (EmailMismatchError, NEW, []) == (type(error), error.current_email, simulator.journal)
    assert error.rule in {"R5", "R11"}


def test_r11_a_former_address_is_free_at_the_instant(client, known, simulator):
    """R11: exactly when `retired_for` has passed, an address alone is a new guest."""
    known.change_email(NEW, external_id="ann-1")
    simulator.advance(30 * DAY - 1)
    k = client(policy=Policy(retired_for=30 * DAY, refresh_after=1000 * DAY))
    assert "R11" == k.explain(email="ann@shop.test").rule
    simulator.advance(1)
    result = k.identify(email="ann@shop.test")
    assert ("R12", True, None) == (result.rule, result.created, result.identity.external_id)


@pytest.mark.parametrize(
    ("properties", "path"),
    [
        ({"$first_name": None}, "properties.$first_name"),
        ({"emial": "x"}, "properties.emial"),
        ({"id": "x"}, "properties.id"),
        ({"x": {1, 2}}, "properties.x"),
        ({"$email": "other@shop.test"}, "email"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_anything(client, simulator, properties, path):
    """F-15, F-24, F-25: what the policy refuses is named by its path, before Klaviyo or the map is asked."""
    error = rejected(client(policy=Policy(properties="refuse")).identify, properties, **ANN)
    assert (InvalidPropertyError, path, "not_applied", []) == (
        type(error),
        error.path,
        error.outcome,
        simulator.journal,
    )


@pytest.mark.parametrize(
    ("who", "rule"), [({"external_id": "null"}, "R1"), ({}, "R2"), ({"phone_number": "+12345678901"}, "R2")]
)
def test_r1_r2_nobody_is_refused(client, simulator, who, rule):
    """R1, R2: a call that names nobody is refused, and nobody is asked."""
    error = rejected(client().identify, {"tier": "gold"}, **who)
    assert (InvalidIdentifierError, rule, []) == (type(error), error.rule, simulator.journal)


def test_f23_an_answer_that_cannot_be_read_is_a_success(known, simulator):
    """F-23: a write that succeeded is reported as done, with a warning, whatever its answer looks like."""
    unreadable = {"data": {"type": "profile", "id": "01", "attributes": {"email": ["ann@shop.test"]}}}
    simulator.fail_next("update_profile", status=200, body=unreadable, when="after")
    result = known.identify({"tier": "gold"}, **ANN)
    assert (False, ["answer_unreadable"]) == (result.created, codes(result))
    assert "gold" == simulator.find(external_id="ann-1").properties["tier"]


def test_h36_a_single_404_concludes_nothing(known, simulator):
    """H36: a profile that answers 404 once is not gone: the call says that it may be made again, and the next works."""
    simulator.fail_next("update_profile", status=404)
    error = rejected(known.identify, {"tier": "gold"}, **ANN)
    assert (ProfileNotVisibleError, "not_applied", True) == (type(error), error.outcome, error.may_retry)
    assert {("ann-1", "ann@shop.test"), ("bob-2", "bob@shop.test")} == pairs(simulator)
    known.identify({"tier": "gold"}, **ANN)


def test_a_deleted_profile_is_not_found_again_under_its_old_id(known, simulator):
    """What the map learns from a 404 is written down: the next call makes contact."""
    old = bound(known, external_id="ann-1").profile_id
    delete(simulator, old)
    new = patiently(simulator, known.identify, {"tier": "gold"}, **ANN)
    assert (True, new.profile_id) == (new.created, bound(known, external_id="ann-1").profile_id)


def test_a_refused_write_says_so(known, simulator):
    """A refusal by Klaviyo is raised as it is, with what Klaviyo said."""
    simulator.fail_next("update_profile", status=400)
    error = rejected(known.identify, {"tier": "gold"}, **ANN)
    assert (BadRequestError, "not_applied", False, 400, "invalid") == (
        type(error),
        error.outcome,
        error.may_retry,
        error.status_code,
        error.code,
    )


def test_p6_without_the_map_nothing_is_written(client, simulator):
    """P6: a map that cannot answer ends the call before Klaviyo is asked."""
    store = Troubled(simulator)
    store.failing.add("find")
    error = rejected(client(store=store).identify, **ANN)
    assert (StoreUnavailableError, "not_applied", True, []) == (
        type(error),
        error.outcome,
        error.may_retry,
        simulator.journal,
    )


def test_a_map_that_fails_after_the_write_says_that_it_was_applied(client, simulator):
    """P7: where the profile was created and could not be bound, the error says that Klaviyo changed."""
    store = Troubled(simulator)
    store.failing.add("bind")
    error = rejected(client(store=store).identify, {"tier": "gold"}, **ANN)
    assert (StoreUnavailableError, "applied", True) == (type(error), error.outcome, error.may_retry)
    store.failing.clear()
    simulator.advance(3600)
    again = client(store=store).identify({"tier": "gold"}, **ANN)
    assert (1, False, simulator.profiles[0].id) == (len(simulator.profiles), again.created, again.profile_id)


def test_f19_what_is_appended_is_not_appended_twice(known, simulator):
    """F-19: an append whose answer was lost is not repeated, because Klaviyo could append it twice."""
    simulator.fail_next("update_profile", when="after")
    error = rejected(known.identify, append={"tags": "b"}, **ANN)
    assert ("unknown", False, 1) == (error.outcome, error.may_retry, len(writes(simulator)))
    assert ["a", "b"] == simulator.find(external_id="ann-1").properties["tags"]


def test_a_write_that_may_be_repeated_is_repeated(known, simulator):
    """A PATCH that sets values is repeated after a lost answer, and reported as done."""
    simulator.fail_next("update_profile", when="after")
    assert () == known.identify({"tier": "gold"}, **ANN).warnings
    assert 2 == len(writes(simulator))


def test_explain_says_what_a_call_would_do(known, client, simulator):
    """`explain` reads the map only: it names the action, the pair and the rule, and whether it was rewritten."""
    known.change_email(NEW, external_id="ann-1")
    simulator.journal.clear()
    expected = [
        ({"external_id": "ann-1", "email": NEW}, ("send", "R3", False)),
        (ANN, ("send", "R5", True)),
        ({"external_id": "ann-1", "email": "eve@shop.test"}, ("refuse", "R6", False)),
        ({"external_id": "eve-3", "email": NEW}, ("refuse", "R7", False)),
        ({"external_id": "ann-1"}, ("send", "R8", False)),
        ({"external_id": "eve-3"}, ("lookup", "R9", False)),
        ({"email": NEW, "phone_number": "nonsense"}, ("send", "R10", False)),
        ({"email": "ann@shop.test"}, ("send", "R11", True)),
        ({"email": "eve@shop.test"}, ("contact", "R12", False)),
    ]
    decisions = [known.explain(**who) for who, _ in expected]
    assert [row[1] for row in expected] == [(each.action, each.rule, each.rewritten) for each in decisions]
    assert [] == simulator.journal
    error = rejected(known.explain)
    assert ("R2", "explain") == (error.rule, error.operation)


def test_one_who_is_changed_while_being_written_is_agreed_with(known, simulator, open_client, store):
    """An answer that is older than the map's last change accuses nobody of drift: the profile is read anew (H7)."""
    other = open_client(simulator, store)

    def change() -> None:
        other.change_email(NEW, external_id="ann-1")

    store_before = bound(known, external_id="ann-1")
    meanwhile(simulator, "update_profile", change)
    result = known.identify({"tier": "gold"}, **ANN)
    assert ((), NEW, store_before.profile_id) == (result.warnings, result.identity.email, result.profile_id)
    assert 200 == by_hand(simulator, "GET", f"/api/profiles/{result.profile_id}").status


def test_retries_may_be_left_to_the_caller(client, simulator):
    """With one attempt a 429 is the caller's, who is told when to come back and that it is safe to."""
    simulator.fail_next("get_profiles", status=429, headers={"retry-after": "7"})
    error = rejected(client(retry=RetryPolicy(max_attempts=1)).identify, **ANN)
    assert (429, 7.0, True, "not_applied") == (error.status_code, error.retry_after, error.may_retry, error.outcome)
