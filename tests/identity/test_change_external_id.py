"""`change_external_id`: as durable as a change of email; the old id retires, or the account is closed."""

from __future__ import annotations

import pytest

from safeklaviyo import (
    CLEAR,
    AmbiguousIdentityError,
    ExternalIdMismatchError,
    IdentityDriftError,
    IdOnlyError,
    InvalidIdentifierError,
    NoResponseError,
    Policy,
    RetryPolicy,
)
from support.scenes import (
    ANN,
    BOB,
    Troubled,
    bound,
    delete,
    edit,
    expire,
    journal_of,
    kill,
    leases,
    meanwhile,
    pairs,
    persist,
    person_in,
    rejected,
    rejected_for_good,
    writes,
)

OLD = ANN["email"]


@pytest.fixture
def known(client, simulator):
    """A client that knows Ann; the journal is empty."""
    k = client()
    k.identify(**ANN)
    simulator.journal.clear()
    return k


def shape(change):
    """Return what a change says, without its profile."""
    return change.status, change.old_external_id, change.new_external_id, change.email


@pytest.mark.parametrize(
    "who", [{"old_external_id": "ann-1"}, {"email": OLD}, {"old_external_id": "ann-1", "email": OLD}], ids=str
)
def test_the_old_id_retires(known, simulator, store, who):
    """The customer's own profile gets the new id by PATCH; a late call with the old one goes to the new one."""
    profile_id = simulator.profiles[0].id
    change = known.change_external_id(" ann-9 ", **who)
    assert ("changed", "ann-1", "ann-9", OLD) == shape(change)
    assert ((), profile_id) == (change.warnings, change.profile_id)
    assert [{"id": profile_id, "external_id": "ann-9"}] == [person_in(entry) for entry in writes(simulator)]
    assert ([("change_external_id", "ann-1", "ann-9")], 0) == (journal_of(store), leases(store))
    late = known.track("Ordered", external_id="ann-1")
    assert ("R8", "ann-9", profile_id) == (late.rule, late.identity.external_id, late.profile_id)
    assert {("ann-9", OLD)} == pairs(simulator)


def test_a_number_is_its_text(known, simulator):
    """F-9: an id that is given as a number is the same as its text."""
    assert "9" == known.change_external_id(9, old_external_id="ann-1").new_external_id
    assert "unchanged" == known.change_external_id("9", email=OLD).status


def test_a_repetition_is_unchanged(known, simulator, store):
    """Whoever asks twice, by whichever name, changes once."""
    known.change_external_id("ann-9", old_external_id="ann-1")
    for who in ({"old_external_id": "ann-1"}, {"old_external_id": "ann-9"}, {"email": OLD}):
        assert ("unchanged", "ann-9", "ann-9", OLD) == shape(known.change_external_id("ann-9", **who))
    assert (1, 1) == (len(writes(simulator)), len(journal_of(store)))


def test_a_customer_goes_back_to_a_former_id(known, simulator):
    """The id in between is a former one then."""
    known.change_external_id("ann-9", old_external_id="ann-1")
    assert ("changed", "ann-9", "ann-1", OLD) == shape(known.change_external_id("ann-1", old_external_id="ann-9"))
    assert ({("ann-1", OLD)}, "R8") == (pairs(simulator), known.explain(external_id="ann-9").rule)


def test_an_account_is_closed_and_the_profile_kept(known, simulator, store):
    """CLEAR takes the id away; the profile, its address and what it did stay, and the old id still names it."""
    profile_id = simulator.profiles[0].id
    change = known.change_external_id(CLEAR, old_external_id="ann-1")
    assert (("changed", "ann-1", None, OLD), profile_id) == (shape(change), change.profile_id)
    assert [{"id": profile_id, "external_id": None}] == [person_in(entry) for entry in writes(simulator)]
    assert ({(None, OLD)}, 0) == (pairs(simulator), leases(store))
    assert [("change_external_id", "ann-1", None)] == journal_of(store)
    assert profile_id == known.track("Unsubscribed", external_id="ann-1").profile_id
    assert ("unchanged", None, None, OLD) == shape(known.change_external_id(CLEAR, email=OLD))
    assert ("unchanged", None, None, OLD) == shape(known.change_external_id(CLEAR, old_external_id="ann-1"))


def test_a_closed_account_may_be_opened_anew(known, simulator):
    """Whoever comes back with another id is given it, as any guest."""
    known.change_external_id(CLEAR, old_external_id="ann-1")
    assert ("changed", None, "ann-2", OLD) == shape(known.change_external_id("ann-2", email=OLD))
    assert {("ann-2", OLD)} == pairs(simulator)


def test_a_guest_is_given_an_id(client, simulator, store):
    """A customer without an id gets one; nobody is created, and the guest's profile stays theirs."""
    k = client()
    guest = k.identify(email=OLD).profile_id
    change = k.change_external_id("ann-1", email=OLD)
    assert (("changed", None, "ann-1", OLD), guest) == (shape(change), change.profile_id)
    assert ({("ann-1", OLD)}, "R3", 0) == (pairs(simulator), k.explain(**ANN).rule, leases(store))


def test_somebody_unknown_is_bound_first(client, simulator):
    """H9: whoever the map does not know is looked up in Klaviyo, or made known, and then changed."""
    theirs = simulator.add_profile(**ANN).id
    k = client()
    assert (("changed", "ann-1", "ann-9", OLD), theirs) == (
        shape(change := k.change_external_id("ann-9", old_external_id="ann-1")),
        change.profile_id,
    )
    assert ("changed", "bob-2", "bob-9", BOB["email"]) == shape(
        k.change_external_id("bob-9", old_external_id="bob-2", email=BOB["email"])
    )
    assert {("ann-9", OLD), ("bob-9", BOB["email"])} == pairs(simulator)


@pytest.mark.parametrize(
    "policy", [Policy(), Policy(retired="refuse", email_mismatch="change")], ids=["usual", "strict"]
)
def test_a_former_id_says_whose_it_is(known, client, simulator, policy):
    """R8: a former id names its owner here, whatever the policy says of other calls."""
    known.change_external_id("ann-9", old_external_id="ann-1")
    assert "changed" == client(policy=policy).change_external_id("ann-8", old_external_id="ann-1").status
    assert {("ann-8", OLD)} == pairs(simulator)


def test_nobody_is_changed_without_being_named(client, simulator):
    """R1, R2, R9: a change names whose id it is, and a usable one; an id that nobody knows is nobody's."""
    k = client()
    assert "R2" == rejected(k.change_external_id, "ann-9").rule
    assert "R2" == rejected(k.change_external_id, CLEAR).rule
    for wrong in ("null", "", None, True):
        error = rejected(k.change_external_id, wrong, email=OLD)
        assert (InvalidIdentifierError, "external_id") == (type(error), error.identifier_kind)
    assert [] == simulator.journal
    assert isinstance(rejected(k.change_external_id, "ann-9", old_external_id="ann-1"), IdOnlyError)
    assert isinstance(rejected(k.change_external_id, CLEAR, old_external_id="ann-1"), IdOnlyError)
    assert [] == writes(simulator)


@pytest.mark.parametrize(
    ("setup", "owner"),
    [
        (lambda k, _: k.identify(**BOB), "bob-2"),
        (lambda _, sim: sim.add_profile(**BOB), "bob-2"),
        (lambda _, sim: sim.add_profile(external_id="bob-2"), "bob-2"),
    ],
    ids=["customer", "profile", "id-only profile"],
)
@pytest.mark.parametrize("guest", [False, True], ids=["customer", "guest"])
def test_an_id_that_is_anybodys_is_refused(*, client, simulator, store, setup, owner, guest):
    """P3: a new id that is another customer's, or on any other profile, with or without an address, is refused."""
    k = client()
    k.identify(**({"email": OLD} if guest else ANN))
    setup(k, simulator)
    before = {profile.id: profile for profile in simulator.profiles}
    simulator.journal.clear()
    error = rejected(k.change_external_id, "bob-2", email=OLD)
    assert (ExternalIdMismatchError, "not_applied", False, owner) == (
        type(error),
        error.outcome,
        error.may_retry,
        error.current_external_id,
    )
    assert (before, [], 0) == ({each.id: each for each in simulator.profiles}, writes(simulator), leases(store))


def test_an_id_that_becomes_anybodys_meanwhile_is_refused(known, simulator, store):
    """R17: a 409 to the PATCH is worked out: the profile that has the id by now is read, and named."""
    meanwhile(simulator, "update_profile", lambda: simulator.add_profile(**BOB))
    error = rejected(known.change_external_id, "bob-2", old_external_id="ann-1")
    assert (ExternalIdMismatchError, "not_applied", "bob-2", 0) == (
        type(error),
        error.outcome,
        error.current_external_id,
        leases(store),
    )
    assert {("ann-1", OLD), ("bob-2", BOB["email"])} == pairs(simulator)


@pytest.mark.parametrize("new", ["ann-1", CLEAR], ids=["another", "none"])
def test_f4_an_id_that_a_guests_profile_has_gained_is_not_overwritten(client, simulator, store, new):
    """F-4: a guest's profile that shows an id nobody here gave it may be another customer's, and is left as it is."""
    k = client()
    guest = k.identify(email=OLD)
    edit(simulator, guest.profile_id, external_id="eve-3")
    simulator.journal.clear()
    error = rejected(k.change_external_id, new, email=OLD)
    assert isinstance(error, ExternalIdMismatchError | IdentityDriftError)
    assert ("not_applied", {("eve-3", OLD)}, 0) == (error.outcome, pairs(simulator), leases(store))


def test_r15_a_profile_that_shows_another_customer_is_not_changed(known, simulator, store):
    """R15: a profile whose id was changed by hand is drift: nothing is written onto it."""
    edit(simulator, simulator.profiles[0].id, external_id="eve-3")
    for new in ("ann-9", CLEAR):
        error = rejected(known.change_external_id, new, email=OLD)
        assert (IdentityDriftError, "not_applied", "eve-3") == (type(error), error.outcome, error.found_external_id)
    assert ({("eve-3", OLD)}, 0) == (pairs(simulator), leases(store))


@pytest.mark.parametrize("new", ["ann-9", CLEAR], ids=["another", "none"])
def test_f11_an_answer_that_shows_another_id_is_drift(known, simulator, store, new):
    """F-11, P7: a PATCH whose answer does not show what was sent is not written down, and was applied."""
    shown = {"data": {"type": "profile", "id": simulator.profiles[0].id, "attributes": ANN}}
    simulator.fail_next("update_profile", status=200, body=shown)
    error = rejected(known.change_external_id, new, old_external_id="ann-1")
    assert (IdentityDriftError, "applied", "ann-1", 0) == (
        type(error),
        error.outcome,
        bound(known, email=OLD).external_id,
        leases(store),
    )


@pytest.mark.parametrize("new", ["ann-9", CLEAR], ids=["another", "none"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_unknown_outcome_is_finished_by_the_next(*, known, client, simulator, store, new, when):
    """P4, P7: whether or not the write arrived, the next call about the customer finishes it."""
    simulator.fail_next("update_profile", when=when)
    k = client(retry=RetryPolicy(max_attempts=1))
    error = rejected(k.change_external_id, new, old_external_id="ann-1")
    assert (NoResponseError, "unknown", 1) == (type(error), error.outcome, leases(store))
    expire(simulator)
    wanted = None if new is CLEAR else new
    assert wanted == known.track("Ordered", email=OLD).identity.external_id
    assert ({(wanted, OLD)}, 0) == (pairs(simulator), leases(store))
    assert [("change_external_id", "ann-1", wanted)] == journal_of(store)


@pytest.mark.parametrize("where", ["get_profiles", "get_profile", "update_profile", "bind"])
@pytest.mark.parametrize("new", ["ann-9", CLEAR], ids=["another", "none"])
def test_a_killed_change_is_completed(client, simulator, open_client, where, new):
    """P4: whatever step the process dies at, `recover` completes the change, once."""
    store = Troubled(simulator)
    k = open_client(simulator, store)
    k.identify(**ANN)
    kill(simulator, store, where, k.change_external_id, new, old_external_id="ann-1")
    expire(simulator)
    other = client(store=store)
    assert [("change", "completed")] == [(each.verb, each.status) for each in other.recover()]
    wanted = None if new is CLEAR else new
    assert ({(wanted, OLD)}, wanted, 0) == (pairs(simulator), bound(other, email=OLD).external_id, leases(store))
    assert [("change_external_id", "ann-1", wanted)] == journal_of(store)


def test_two_changes_at_once_follow_each_other(client, simulator, store, open_client, known):
    """P4, R13: of two changes of one customer the second waits, and is made from where the first has left."""
    other = open_client(simulator, store)
    meanwhile(simulator, "get_profiles", lambda: other.change_external_id("ann-8", email=OLD))
    known.change_external_id("ann-9", email=OLD)
    binding = bound(known, email=OLD)
    assert {(binding.external_id, OLD)} == pairs(simulator)
    assert ({"ann-1", "ann-8", "ann-9"}, 0) == (
        {name for _, *names in journal_of(store) for name in names},
        leases(store),
    )


def test_a_customer_with_two_profiles_is_not_chosen_for(known, simulator):
    """F-5: where the profile is gone and several answer to the id, nobody is chosen."""
    delete(simulator, simulator.profiles[0].id)
    for email in ("a@shop.test", "b@shop.test"):
        simulator.add_profile(external_id="ann-1", email=email)
    error = persist(simulator, rejected_for_good, known.change_external_id, "ann-9", old_external_id="ann-1")
    assert (AmbiguousIdentityError, 2) == (type(error), len(error.profile_ids))


def test_a_deleted_profile_is_made_anew(known, simulator, store):
    """A customer whose profile was deleted by hand gets a new one, with the new id."""
    delete(simulator, simulator.profiles[0].id)
    assert "changed" == persist(simulator, known.change_external_id, "ann-9", email=OLD).status
    result = known.identify(external_id="ann-9")
    assert ({("ann-9", OLD)}, 0, simulator.profiles[0].id) == (pairs(simulator), leases(store), result.profile_id)


@pytest.mark.parametrize("turns", [1, 3])
def test_h1_a_former_address_that_comes_between_is_put_right(known, simulator, store, turns):
    """H1: an event puts a former address back after the profile was read; the change is made, and the address too."""
    profile_id = simulator.profiles[0].id
    known.change_email("now@shop.test", external_id="ann-1")
    for turn in range(turns):
        meanwhile(simulator, "update_profile", lambda: edit(simulator, profile_id, email=OLD), turn=1 + turn)
    change = known.change_external_id("ann-9", old_external_id="ann-1")
    assert ("changed", "ann-1", "ann-9", "now@shop.test") == shape(change)
    assert ({("ann-9", "now@shop.test")}, 0) == (pairs(simulator), leases(store))
    assert "ann-9" == bound(known, email="now@shop.test").external_id


def test_h1_a_former_address_that_always_comes_between_is_drift(known, simulator, store):
    """A profile that will not stay as it is sent is reported after a few tries, as changed, and blocks nobody."""
    profile_id = simulator.profiles[0].id
    known.change_email("now@shop.test", external_id="ann-1")
    known.change_external_id("ann-5", old_external_id="ann-1")
    for turn in range(4):
        former = {"external_id": "ann-1"} if turn % 2 else {"email": OLD}
        meanwhile(
            simulator, "update_profile", lambda former=former: edit(simulator, profile_id, **former), turn=1 + turn
        )
    error = rejected(known.change_external_id, "ann-9", old_external_id="ann-5")
    assert (IdentityDriftError, "applied", 0) == (type(error), error.outcome, leases(store))
