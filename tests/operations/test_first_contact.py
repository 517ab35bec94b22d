"""First contact (R4, R9, R12): a customer's one profile is found or made before anything else is said about them."""

from __future__ import annotations

import pytest

from safeklaviyo import (
    AmbiguousIdentityError,
    EmailMismatchError,
    ExternalIdMismatchError,
    IdentityDriftError,
    IdOnlyError,
    NoResponseError,
    Policy,
    RetryPolicy,
    ServerError,
)
from safeklaviyo.policy import DAY
from safeklaviyo.testing import KlaviyoSimulator
from support.scenes import (
    ANN,
    BOB,
    NEW,
    Troubled,
    asked,
    bound,
    browse,
    by_hand,
    codes,
    delete,
    edit,
    leases,
    meanwhile,
    ours,
    pairs,
    patiently,
    person_in,
    rejected,
    writes,
)

BOTH = ("ann-1", "ann@shop.test")


def test_r4_nobody_is_created_with_the_pair(client, simulator, store):
    """R4: where nobody is known, the pair is searched for, created conditionally, and bound."""
    result = client().identify({"$first_name": "Ann", "tier": "gold"}, append={"tags": "new"}, **ANN)
    assert ["get_profiles", "get_profiles", "create_profile"] == asked(simulator)
    profile = simulator.profiles[0]
    assert (True, profile.id, "R4", ()) == (result.created, result.profile_id, result.rule, result.warnings)
    assert (BOTH, {"first_name": "Ann"}, {"tier": "gold", "tags": ["new"]}) == (
        (profile.external_id, profile.email),
        profile.attributes,
        profile.properties,
    )
    binding = bound(client(), external_id="ann-1")
    assert (*BOTH, profile.id, simulator.now()) == (
        binding.external_id,
        binding.email,
        binding.profile_id,
        binding.verified_at,
    )
    assert 0 == leases(store)


def test_r12_a_guest_is_created_with_the_email_alone(client, simulator):
    """R12: an email that nobody knows is searched for and created."""
    result = client().identify(email="guest@shop.test")
    assert ["get_profiles", "create_profile"] == asked(simulator)
    assert (True, "R12", {(None, "guest@shop.test")}) == (result.created, result.rule, pairs(simulator))


def test_r4_a_guest_becomes_a_customer(client, simulator):
    """R4, R7: an email that is known without an external id takes the id, on the same profile."""
    kept = client().identify({"tier": "gold"}, email="ann@shop.test")
    result = client().identify({"tier": "new"}, **ANN)
    assert (kept.profile_id, False, "R4") == (result.profile_id, result.created, result.rule)
    assert {BOTH} == pairs(simulator)
    assert {"tier": "new"} == simulator.profiles[0].properties
    assert kept.profile_id == client().identify(external_id="ann-1").profile_id


def test_r4_an_orphan_with_the_email_takes_the_id(client, simulator):
    """R4: a profile that has the email and no id is completed by PATCH, and nothing but the id is written by that."""
    orphan = simulator.add_profile(email="ann@shop.test", first_name="Ann")
    result = client().identify(**ANN)
    assert (orphan.id, False, {BOTH}) == (result.profile_id, result.created, pairs(simulator))
    assert [{"id": orphan.id, "external_id": "ann-1"}] == [person_in(entry) for entry in writes(simulator)]


def test_r4_a_profile_with_the_id_alone_takes_the_email(client, simulator):
    """R4: situation 3: a profile that has the id and no email gets the email."""
    bare = simulator.add_profile(external_id="ann-1")
    result = client().identify(**ANN)
    assert (bare.id, False, {BOTH}) == (result.profile_id, result.created, pairs(simulator))
    assert [{"id": bare.id, "email": "ann@shop.test"}] == [person_in(entry) for entry in writes(simulator)]


def test_r4_the_pairs_own_profile_is_bound_as_it_stands(client, simulator):
    """R4, R12: a profile that has the pair is bound without a write; a found profile's id comes with its email."""
    theirs = simulator.add_profile(**ANN)
    assert theirs.id == client().track("Ordered", **ANN).profile_id
    other = simulator.add_profile(**BOB)
    result = client().track("Ordered", email="bob@shop.test")
    assert (other.id, "bob-2", "R12") == (result.profile_id, result.identity.external_id, result.rule)
    assert ["create_event", "create_event"] == [entry.endpoint for entry in writes(simulator)]


@pytest.mark.parametrize(
    ("there", "kind", "rule", "attributes"),
    [
        ([{"external_id": "eve-3", "email": "ann@shop.test"}], ExternalIdMismatchError, "R7",
         {"current_external_id": "eve-3"}),
        ([{"external_id": "ann-1", "email": "eve@shop.test"}], EmailMismatchError, "R6",
         {"current_email": "eve@shop.test"}),
        ([{"external_id": "ann-1"}, {"email": "ann@shop.test"}], AmbiguousIdentityError, None, {}),
        ([{"external_id": "ann-1"}, {"external_id": "ann-1", "email": "eve@shop.test"}], AmbiguousIdentityError, None,
         {}),
        ([{"email": "ann@shop.test"}, {"external_id": "eve-3", "email": "ann@shop.test"}], AmbiguousIdentityError,
         None, {}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["identify", "track"])
def test_r4_another_owner_is_never_overwritten(client, simulator, store, *, there, kind, rule, attributes, verb):
    """R4, R6, R7, F-4, F-5: where an identifier is somebody else's, nothing is written, and the error says whose."""
    before = [simulator.add_profile(**who) for who in there]
    k = client()
    error = rejected(k.identify, {"tier": "x"}, **ANN) if verb == "identify" else rejected(k.track, "Ordered", **ANN)
    assert (kind, rule, "not_applied", False, "ann-1", "ann@shop.test") == (
        type(error),
        error.rule,
        error.outcome,
        error.may_retry,
        error.external_id,
        error.email,
    )
    assert attributes == {name: getattr(error, name) for name in attributes}
    assert ([], before, 0) == (writes(simulator), simulator.profiles, leases(store))


def test_r12_several_profiles_with_an_email_are_refused(client, simulator):
    """R12, F-5: an email that several profiles have is nobody's to choose."""
    ids = {simulator.add_profile(external_id=name, email="ann@shop.test").id for name in ("a-1", "a-2")}
    error = rejected(client().identify, email="ann@shop.test")
    assert (AmbiguousIdentityError, ids, []) == (type(error), set(error.profile_ids), writes(simulator))


def test_r9_an_unknown_id_is_looked_up(client, simulator):
    """R9: an external id alone leads to the one profile that has it and an email; it is bound, then written."""
    theirs = simulator.add_profile(**ANN)
    result = client().identify({"tier": "gold"}, external_id="ann-1")
    assert ["get_profiles", "get_profile", "update_profile"] == asked(simulator)
    assert (theirs.id, "R8", "ann@shop.test") == (result.profile_id, result.rule, result.identity.email)
    assert theirs.id == bound(client(), email="ann@shop.test").profile_id


@pytest.mark.parametrize("there", [[], [{"external_id": "ann-1"}]])
@pytest.mark.parametrize("verb", ["identify", "track"])
def test_r9_an_id_that_leads_to_no_email_is_refused(client, simulator, there, verb):
    """R9, P1: an external id that leads to no email is refused, because sending it would make a duplicate."""
    for who in there:
        simulator.add_profile(**who)
    k = client()
    error = (
        rejected(k.identify, external_id="ann-1") if verb == "identify" else rejected(k.track, "x", external_id=1001)
    )
    assert (IdOnlyError, "R9", "not_applied", []) == (type(error), error.rule, error.outcome, writes(simulator))


def test_r9_the_policy_may_refuse_without_asking(client, simulator):
    """R9: with ``unknown_id="refuse"`` nobody is asked."""
    simulator.add_profile(**ANN)
    error = rejected(client(policy=Policy(unknown_id="refuse")).identify, external_id="ann-1")
    assert (IdOnlyError, "R9", []) == (type(error), error.rule, simulator.journal)


def test_r9_several_owners_of_an_id_are_refused(client, simulator):
    """R9: an id that several profiles have leads to nobody."""
    for email in ("ann@shop.test", "eve@shop.test"):
        simulator.add_profile(external_id="ann-1", email=email)
    assert isinstance(rejected(client().identify, external_id="ann-1"), AmbiguousIdentityError)


def test_r9_an_email_of_another_customer_is_drift(client, simulator):
    """R9: an id whose email the map gives to another id contradicts the map, and is not adopted."""
    client().bindings.add([{"external_id": "bob-2", "email": "ann@shop.test"}])
    theirs = simulator.add_profile(**ANN)
    error = rejected(client().identify, external_id="ann-1")
    assert (IdentityDriftError, "R15", theirs.id, "ann-1") == (
        type(error),
        error.rule,
        error.profile_id,
        error.found_external_id,
    )


def test_r9_a_guest_found_by_id_becomes_a_customer(client, simulator):
    """R9: where the map knows the found profile as a guest, the guest's binding takes the id."""
    guest = client().identify(email="ann@shop.test")
    edit(simulator, guest.profile_id, external_id="ann-1")
    result = client().track("Ordered", external_id="ann-1")
    assert (guest.profile_id, "ann-1") == (result.profile_id, bound(client(), email="ann@shop.test").external_id)
    assert 1 == len(list(client().bindings))


def test_r9_what_the_map_learns_meanwhile_counts(client, simulator, store, open_client):
    """R9, H5: a look-up that somebody else has overtaken is forgotten, and the map is asked again."""
    theirs = simulator.add_profile(**ANN)
    other = open_client(simulator, store)
    meanwhile(simulator, "get_profile", lambda: other.change_email(NEW, external_id="ann-1"))
    result = client().track("Ordered", external_id="ann-1")
    assert (theirs.id, NEW) == (result.profile_id, result.identity.email)
    assert NEW == bound(client(), external_id="ann-1").email


def test_r4_a_former_address_of_another_is_free(client, simulator):
    """R4: an email that has retired from one customer is bound to whoever comes with it, and is current then."""
    client().identify(**ANN)
    client().change_email(NEW, external_id="ann-1")
    result = client().identify(external_id="bob-2", email="ann@shop.test")
    assert (True, {("ann-1", NEW), ("bob-2", "ann@shop.test")}) == (result.created, pairs(simulator))
    assert result.profile_id == client().track("Ordered", email="ann@shop.test").profile_id


@pytest.mark.parametrize("external_id", [None, "bob-2"])
def test_r15_a_former_address_that_was_put_back_is_repaired_first(client, simulator, store, external_id):
    """R4, R12, H2: a profile that shows an address its owner has left is restored, not taken over."""
    ann = client().identify(**ANN)
    client().change_email(NEW, external_id="ann-1")
    edit(simulator, ann.profile_id, email="ann@shop.test")
    simulator.advance(2 * 365 * DAY)
    result = client().identify(external_id=external_id, email="ann@shop.test")
    assert {("ann-1", NEW), (external_id, "ann@shop.test")} == pairs(simulator)
    assert (["put_back_repaired"], True, 0) == (codes(result), result.created, leases(store))
    assert ann.profile_id == simulator.find(external_id="ann-1").id


def test_r4_a_profile_of_another_in_the_map_is_not_completed(client, simulator):
    """R4: a profile that the map gives to somebody else is not given an id because it shows the email."""
    mine = client().identify(**BOB)
    edit(simulator, mine.profile_id, external_id=None, email="ann@shop.test")
    simulator.journal.clear()
    error = rejected(client().identify, **ANN)
    assert (IdentityDriftError, mine.profile_id, "R15", []) == (
        type(error),
        error.profile_id,
        error.rule,
        writes(simulator),
    )


def test_r4_a_profile_that_is_bound_to_another_is_drift(client, simulator):
    """R4, R15: a profile with the pair that the map gives to another customer is not bound twice."""
    mine = client().identify(**BOB)
    edit(simulator, mine.profile_id, **ANN)
    error = rejected(client().identify, **ANN)
    assert (IdentityDriftError, mine.profile_id, "not_applied") == (type(error), error.profile_id, error.outcome)


def test_r4_drift_may_be_adopted_at_first_contact(client, simulator):
    """R4, R15: with ``drift="adopt"`` the binding of that profile takes the pair that Klaviyo shows."""
    mine = client().identify(**BOB)
    edit(simulator, mine.profile_id, **ANN)
    result = client(policy=Policy(drift="adopt")).identify(**ANN)
    assert (mine.profile_id, ["drift_adopted"]) == (result.profile_id, codes(result))
    assert [("ann-1", "ann@shop.test")] == [(each.external_id, each.email) for each in client().bindings]


def test_r4_trust_skips_the_searches_only(client, simulator):
    """R4: with ``first_contact="trust"`` nothing is searched, and the create is as conditional as ever."""
    k = client(policy=Policy(first_contact="trust"))
    k.identify(**ANN)
    assert ["create_profile"] == asked(simulator)
    theirs = simulator.add_profile(**BOB)
    assert theirs.id == k.identify(**BOB).profile_id
    assert 2 == len(simulator.profiles)


def test_r4_a_search_that_lags_makes_no_duplicate(open_client, store):
    """R4, P6: "not found" is only a hint: the conditional create says who is there, and the owner is read."""
    simulator = KlaviyoSimulator(search_lag="until_drain")
    data = {"type": "profile", "attributes": ANN}
    assert 201 == by_hand(simulator, "POST", "/api/profiles", data).status
    result = open_client(simulator, store).identify({"tier": "gold"}, **ANN)
    assert (False, simulator.profiles[0].id, 1) == (result.created, result.profile_id, len(simulator.profiles))
    assert {"tier": "gold"} == simulator.profiles[0].properties


def test_h7_a_search_is_only_a_pointer(open_client, store):
    """H7: what a late search shows is read by its id before anybody relies on it."""
    simulator = KlaviyoSimulator(search_lag="until_drain")
    theirs = simulator.add_profile(**ANN)
    edit(simulator, theirs.id, email="moved@shop.test")
    error = rejected(open_client(simulator, store).identify, **ANN)
    assert (EmailMismatchError, "moved@shop.test", []) == (type(error), error.current_email, writes(simulator))


@pytest.mark.parametrize("other", [{"external_id": "eve-3", "email": "ann@shop.test"}, {"external_id": "ann-1"}])
def test_f11_an_answer_without_the_identifiers_is_drift(client, simulator, store, other):
    """F-11: a create whose answer does not show what was sent is not bound, and the error says that it was applied."""
    shown = {"data": {"type": "profile", "id": "01OTHER", "attributes": other}}
    simulator.fail_next("create_profile", status=201, body=shown, when="after")
    error = rejected(client().identify, **ANN)
    assert (IdentityDriftError, "R15", "applied", "01OTHER", other["external_id"]) == (
        type(error),
        error.rule,
        error.outcome,
        error.profile_id,
        error.found_external_id,
    )
    assert (None, 0) == (client().bindings.get(external_id="ann-1"), leases(store))
    assert simulator.profiles[0].id == client().identify(**ANN).profile_id


def test_f23_an_answer_that_cannot_be_read_is_read_back(client, simulator):
    """F-23: a create that succeeded with an unreadable answer is looked up, and reported as done."""
    unreadable = {"data": {"type": "profile", "id": "01", "attributes": {"email": ["ann@shop.test"]}}}
    simulator.fail_next("create_profile", status=201, body=unreadable, when="after")
    result = client().identify({"tier": "gold"}, **ANN)
    assert (simulator.profiles[0].id, True, 1) == (result.profile_id, result.created, len(simulator.profiles))


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, None, ServerError),
        (403, b"<html>", NoResponseError),
        (200, b"<html>", NoResponseError),
        (200, {"data": None}, NoResponseError),
        (200, {"data": [{"type": "profile"}]}, NoResponseError),
    ],
)
@pytest.mark.parametrize("where", ["get_profiles", "get_profile"])
def test_p6_a_search_that_fails_writes_nothing(client, simulator, store, *, status, body, kind, where):
    """P6, F-3: a search or a read that fails, or cannot be understood, is not "nobody"."""
    simulator.add_profile(email="ann@shop.test")
    simulator.fail_next(where, status=status, body=body)
    error = rejected(client(retry=RetryPolicy(max_attempts=1)).identify, **ANN)
    assert (kind, "not_applied", [], 0) == (type(error), error.outcome, writes(simulator), leases(store))


def test_r4_a_bound_customer_without_a_profile_is_contacted_by_their_pair(client, simulator):
    """R4: an imported customer is contacted with the pair in the map, whatever part of it a call names."""
    client().bindings.add([ANN])
    result = client().track("Ordered", external_id="ann-1")
    assert ("R4", {BOTH}) == (result.rule, pairs(simulator))
    assert result.profile_id == bound(client(), email="ann@shop.test").profile_id


def test_r4_an_imported_pair_that_klaviyo_contradicts_is_refused(client, simulator):
    """R4: an imported pair is no excuse to overwrite whoever has its identifiers in Klaviyo."""
    client().bindings.add([ANN])
    simulator.add_profile(external_id="eve-3", email="ann@shop.test")
    error = rejected(client().track, "Ordered", external_id="ann-1")
    assert (ExternalIdMismatchError, "eve-3", []) == (type(error), error.current_external_id, writes(simulator))


def test_r4_what_the_map_has_learnt_by_the_time_of_the_lease_counts(client, simulator, open_client):
    """R4, R13: whoever takes the lease second decides again, and finds the customer known."""
    store = Troubled(simulator)
    store.before["acquire"] = lambda: open_client(simulator, store).identify(**ANN)
    result = client(store=store).identify(**ANN)
    assert (1, False, "R3", 0) == (len(simulator.profiles), result.created, result.rule, leases(store))


def test_r4_a_browsers_profile_that_appears_meanwhile_is_adopted(client, simulator):
    """R4, R17: a browser's event that creates the email's profile between search and create makes no duplicate."""
    browse(simulator, email="ann@shop.test")
    meanwhile(simulator, "create_profile", simulator.drain)
    result = client().identify(**ANN)
    assert (1, False, {BOTH}) == (len(simulator.profiles), result.created, pairs(simulator))


def test_r4_a_profile_that_disappears_meanwhile_is_created(client, simulator):
    """R4: an orphan that is deleted before it is completed is no obstacle: the customer is created."""
    orphan = simulator.add_profile(email="ann@shop.test")
    meanwhile(simulator, "update_profile", lambda: delete(simulator, orphan.id))
    result = client().identify(**ANN)
    assert (1, True, {BOTH}) == (len(simulator.profiles), result.created, pairs(simulator))


def test_a_deleted_profile_makes_way_for_a_new_one(client, simulator):
    """A warm write that meets a deleted profile makes contact anew, once the profile surely is gone."""
    first = client().identify(**ANN)
    delete(simulator, first.profile_id)
    result = patiently(simulator, client().identify, {"tier": "gold"}, **ANN)
    assert (True, True, {BOTH}) == (result.created, first.profile_id != result.profile_id, pairs(simulator))


def test_a_search_is_sent_with_everything_encoded(client, simulator):
    """F-6: whatever an identifier holds arrives in the search as it is."""
    client().identify(external_id='a+b "c" \\ &=,)', email="ann+plus@shop.test")
    filters = [entry.query["filter"] for entry in ours(simulator) if entry.endpoint == "get_profiles"]
    assert ['equals(email,"ann+plus@shop.test")', 'equals(external_id,"a+b \\"c\\" \\\\ &=,)")'] == filters
    assert 'a+b "c" \\ &=,)' == simulator.profiles[0].external_id
    assert 200 == by_hand(simulator, "GET", f"/api/profiles/{simulator.profiles[0].id}").status
