"""`erase`: one customer is deleted by profile id and forgotten, nobody else is, and no late call brings them back."""

from __future__ import annotations

import json
import pickle

import pytest

from safeklaviyo import (
    AmbiguousIdentityError,
    ConfigurationError,
    ErasedError,
    InvalidIdentifierError,
    NoResponseError,
    PermissionDeniedError,
    Policy,
    RetryPolicy,
)
from safeklaviyo.identity import Identifier, Kind
from support.scenes import (
    ACCOUNT,
    ANN,
    BOB,
    NEW,
    Troubled,
    bound,
    browse,
    delete,
    edit,
    expire,
    journal_of,
    leases,
    meanwhile,
    pairs,
    persist,
    recovered,
    rejected,
    rejected_for_good,
    writes,
)

OLD = ANN["email"]


@pytest.fixture
def settings():
    """Klaviyo deletes at once."""
    return {"queue_lag": 0.0}


@pytest.fixture
def known(client, simulator):
    """A client that knows Ann by her second address and second id, and Bob."""
    k = client()
    k.identify(**ANN)
    k.change_email(NEW, external_id="ann-1")
    k.change_external_id("ann-9", old_external_id="ann-1")
    k.identify(**BOB)
    simulator.journal.clear()
    return k


def deleted(simulator):
    """Return whose deletion was asked for, and by which identifier."""
    profiles = [
        entry.body["data"]["attributes"]["profile"]["data"]
        for entry in simulator.journal
        if entry.endpoint == "request_profile_deletion"
    ]
    return [(profile["id"], profile.get("attributes", {})) for profile in profiles]


@pytest.mark.parametrize(
    "who",
    [
        {"external_id": "ann-9"},
        {"email": NEW},
        {"external_id": "ann-1"},
        {"email": OLD},
        {"email": NEW, "external_id": "ann-1"},
    ],
    ids=str,
)
def test_by_any_of_their_names(known, simulator, store, who):
    """Whichever identifier, current or former, is given: the profile is deleted by its id, the map holds Bob alone."""
    ann = simulator.find(external_id="ann-9").id
    erasure = known.erase(**who)
    simulator.advance(1)
    assert ((ann, True), [(ann, {})]) == ((erasure.profile_id, erasure.was_known), deleted(simulator))
    assert {("bob-2", BOB["email"])} == pairs(simulator)
    assert ({"bob-2"}, [], 0) == (
        {binding.external_id for binding in store.page(ACCOUNT).bindings},
        journal_of(store),
        leases(store),
    )


def test_by_their_profile(known, simulator, store):
    """A profile id alone names the customer of that profile, and all their identifiers are forgotten."""
    ann = simulator.find(external_id="ann-9").id
    assert (ann, True) == ((erasure := known.erase(profile_id=ann)).profile_id, erasure.was_known)
    assert ([], None) == (journal_of(store), known.bindings.get(email=NEW))
    assert isinstance(rejected(known.identify, email=OLD), ErasedError)


@pytest.mark.parametrize(
    "late",
    [
        {"external_id": "ann-9"},
        {"external_id": "ann-1"},
        {"email": NEW},
        {"email": OLD},
        {"external_id": "ann-1", "email": NEW},
    ],
    ids=str,
)
@pytest.mark.parametrize("verb", ["identify", "track", "resolve", "change_email", "change_external_id"])
def test_a_late_call_does_not_bring_them_back(known, simulator, late, verb):
    """Each identifier, current or former, is refused by every verb, and nothing is written."""
    known.erase(external_id="ann-9")
    simulator.advance(1)
    simulator.journal.clear()
    renamed = {"external_id": "old_external_id", "email": "old_email"}
    calls = {
        "identify": lambda: known.identify(**late),
        "track": lambda: known.track("Ordered", **late),
        "resolve": lambda: known.resolve(**late),
        "change_email": lambda: known.change_email(
            "third@shop.test", **{renamed[name] if name == "email" else name: value for name, value in late.items()}
        ),
        "change_external_id": lambda: known.change_external_id(
            "ann-7", **{renamed[name] if name == "external_id" else name: value for name, value in late.items()}
        ),
    }
    error = rejected(calls[verb])
    assert (ErasedError, "not_applied", False) == (type(error), error.outcome, error.may_retry)
    assert (late.get("external_id"), late.get("email")) == (error.external_id, error.email)
    assert ([], {("bob-2", BOB["email"])}) == (writes(simulator), pairs(simulator))


def test_nobody_else_is_given_their_names(known, simulator):
    """A late change to an erased address or id does not make the erased customer's calls somebody else's."""
    known.erase(external_id="ann-9")
    simulator.advance(1)
    for error in (
        rejected(known.change_email, NEW, external_id="bob-2"),
        rejected(known.change_external_id, "ann-9", old_external_id="bob-2"),
    ):
        assert (ErasedError, "not_applied") == (type(error), error.outcome)
    assert {("bob-2", BOB["email"])} == pairs(simulator)


@pytest.mark.parametrize("back", [{"email": NEW}, {"external_id": "ann-9", "email": NEW}], ids=str)
def test_whoever_comes_back_is_made_known_again(known, simulator, back):
    """`release_email` says that the erased customer has come back: by the address, or by the pair they had."""
    known.erase(external_id="ann-9")
    simulator.advance(1)
    assert known.bindings.release_email(NEW)
    assert not known.bindings.release_email(NEW)
    assert known.identify(**back).created
    assert isinstance(rejected(known.identify, email=OLD), ErasedError)


def test_what_stays_is_no_address(known, store, simulator):
    """P8: the map keeps keyed hashes, and nothing that names the customer once the second look is over (H23, H31)."""
    known.erase(external_id="ann-9")
    simulator.advance(86_400)
    known.recheck_changes()
    kept = {name: value for name, value in vars(store._accounts[ACCOUNT]).items() if name != "last"}
    assert 4 + 1 == len(kept["notes"])  # the tombstones, and their key
    known.bindings.remove(external_id="bob-2")
    assert not any(word.encode() in pickle.dumps(kept) for word in ("ann-9", "ann-1", NEW, OLD))


def test_somebody_the_map_does_not_know_is_looked_for_in_klaviyo(client, simulator, store):
    """Whoever only Klaviyo knows is deleted by profile id too; all that their profile shows is refused afterwards."""
    eve = simulator.add_profile(external_id="eve-3", email="eve@shop.test")
    k = client()
    erasure = k.erase(email="eve@shop.test")
    assert (eve.id, False) == (erasure.profile_id, erasure.was_known)
    for late in ({"email": "eve@shop.test"}, {"external_id": "eve-3"}):
        assert isinstance(rejected(k.identify, **late), ErasedError)
    zoe = simulator.add_profile(external_id="zoe-4", email="zoe@shop.test")
    assert (zoe.id, False) == ((erasure := k.erase(profile_id=zoe.id)).profile_id, erasure.was_known)
    assert isinstance(rejected(k.identify, email="zoe@shop.test"), ErasedError)
    assert 0 == leases(store)


def test_somebody_whom_nobody_knows_is_refused_from_now_on(client, simulator, store):
    """Where there is no profile, nothing is asked of Klaviyo, and a late call is refused all the same."""
    k = client()
    erasure = k.erase(**ANN)
    assert ((None, False), []) == ((erasure.profile_id, erasure.was_known), deleted(simulator))
    for late in (ANN, {"email": OLD}, {"external_id": "ann-1"}):
        assert isinstance(rejected(k.identify, **late), ErasedError)
    assert ((), 0) == (store.page(ACCOUNT).bindings, leases(store))


def test_a_profile_that_is_gone_already_is_no_obstacle(known, simulator, store):
    """A deletion that Klaviyo answers with 404 has been done; the map is emptied, and a repetition is harmless."""
    ann = simulator.find(external_id="ann-9").id
    delete(simulator, ann)
    assert (ann, True) == ((erasure := persist(simulator, known.erase, email=NEW)).profile_id, erasure.was_known)
    assert (None, 0) == (known.bindings.get(email=NEW), leases(store))
    assert not known.erase(email=NEW).was_known
    assert isinstance(rejected(known.identify, email=NEW), ErasedError)


def test_the_address_is_free_for_the_next_owner_of_a_former_one(known, simulator):
    """P3: an address that had gone to another customer is theirs, also once its former owner is erased."""
    eve = known.identify(external_id="eve-3", email=OLD).profile_id
    known.erase(external_id="ann-9")
    assert eve == known.identify(email=OLD).profile_id
    known.bindings.remove(external_id="eve-3")
    assert eve == known.identify(external_id="eve-3", email=OLD).profile_id


def test_whoever_a_profile_shows_by_mistake_is_not_forgotten(known, simulator, store):
    """P3: a profile that was given another customer's address by hand is deleted, and that customer stays known."""
    bob = simulator.find(external_id="bob-2").id
    edit(simulator, bob, email="else@shop.test")
    edit(simulator, simulator.find(external_id="ann-9").id, email=BOB["email"])
    known.erase(external_id="ann-9")
    assert bob == bound(known, external_id="bob-2").profile_id
    assert bob == known.track("Ordered", external_id="bob-2").profile_id


def test_an_absorbed_guest_is_forgotten_as_well(client, simulator, store):
    """Of a guest who became one with the customer, neither the journal nor a former address stays."""
    k = client()
    k.identify(email="first@shop.test")
    k.change_email(NEW, old_email="first@shop.test")
    k.identify(**ANN)
    k.change_email(NEW, external_id="ann-1", on_taken="merge")
    k.erase(external_id="ann-1")
    assert [] == journal_of(store)
    assert isinstance(rejected(k.identify, email="first@shop.test"), ErasedError)


def test_r11_f43_a_ghost_on_a_former_address_is_erased_too(known, simulator, store):
    """R11, F-43: a profile that a browser has made of an address which the customer has left is deleted, and named."""
    ann = simulator.find(external_id="ann-9").id
    browse(simulator, email=OLD)
    simulator.drain()
    ghost = simulator.find(email=OLD).id
    erasure = known.erase(external_id="ann-9")
    simulator.advance(1)
    assert (ann, (ghost,), ()) == (erasure.profile_id, erasure.ghost_profile_ids, erasure.left_profile_ids)
    assert [(ghost, {}), (ann, {})] == deleted(simulator)
    assert ({("bob-2", BOB["email"])}, 0) == (pairs(simulator), leases(store))
    assert isinstance(rejected(known.identify, email=OLD), ErasedError)


@pytest.mark.parametrize(
    ("shown", "is_erased"),
    [
        ({"external_id": "ann-1"}, True),
        ({"external_id": "ann-1", "email": OLD}, True),
        ({"external_id": "ann-1", "email": "else@shop.test"}, False),
        ({"external_id": "eve-3", "email": OLD}, False),
        ({"external_id": "ann-9", "email": "else@shop.test"}, False),
        ({"email": NEW}, False),
    ],
    ids=str,
)
def test_r8_only_what_resolves_to_the_customer_is_erased_too(known, simulator, shown, is_erased):
    """R8, R11, P3: a profile is erased too if all it shows is the customer's; any other is left, and reported."""
    other = simulator.add_profile(**shown).id
    erasure = known.erase(external_id="ann-9")
    simulator.advance(1)
    ids = ((other,), ()) if is_erased else ((), (other,))
    assert ids == (erasure.ghost_profile_ids, erasure.left_profile_ids)
    rest = set() if is_erased else {(shown.get("external_id"), shown.get("email"))}
    assert {("bob-2", BOB["email"]), *rest} == pairs(simulator)


def test_p3_a_former_identifier_of_another_by_now_is_theirs(known, simulator):
    """P3: neither the profile of the next owner of an address nor that of an imported one is erased or reported."""
    eve = known.identify(external_id="eve-3", email=OLD).profile_id
    known.bindings.add([{"email": "zoe@shop.test"}])
    zoe = simulator.add_profile(external_id="ann-1", email="zoe@shop.test").id
    erasure = known.erase(external_id="ann-9")
    simulator.advance(1)
    assert ((), ()) == (erasure.ghost_profile_ids, erasure.left_profile_ids)
    assert {eve, zoe} <= {profile.id for profile in simulator.profiles}


def test_r11_an_address_that_no_longer_resolves_is_only_reported(known, client, simulator):
    """R11: after `Policy.retired_for` a profile on a former address may be a stranger's: it is left and reported."""
    ghost = simulator.add_profile(email=OLD).id
    simulator.advance(100)
    erasure = client(policy=Policy(retired_for=99)).erase(external_id="ann-9")
    assert ((), (ghost,)) == (erasure.ghost_profile_ids, erasure.left_profile_ids)


def test_a_profile_that_cannot_be_read_is_reported(known, simulator):
    """P6: a profile that only the search shows holds no erasure up, and does not go without a word."""
    ghost = simulator.add_profile(email=OLD).id
    simulator.fail_next("get_profile", status=404, match=lambda asked: asked.path.endswith(ghost))
    erasure = known.erase(external_id="ann-9")
    assert ((), (ghost,), True) == (erasure.ghost_profile_ids, erasure.left_profile_ids, erasure.was_known)


def test_other_profiles_of_somebody_unknown_are_reported(client, simulator):
    """Of a customer whom only Klaviyo knows, nothing says that another profile is theirs too: it is reported."""
    eve = simulator.add_profile(external_id="eve-3", email="eve@shop.test").id
    other = simulator.add_profile(external_id="eve-3", email="else@shop.test").id
    erasure = client().erase(profile_id=eve)
    assert ((), (other,), False) == (erasure.ghost_profile_ids, erasure.left_profile_ids, erasure.was_known)


def test_p3_a_ghost_that_another_customer_takes_in_time_is_theirs(client, simulator, open_client):
    """P3: a customer who takes the former address before the erasure has its lease keeps the profile."""
    store = Troubled(simulator)
    k, other = client(store=store), open_client(simulator, store)
    k.identify(**ANN)
    k.change_email(NEW, external_id="ann-1")
    ghost = simulator.add_profile(email=OLD).id
    store.before["acquire"] = lambda: other.identify(external_id="eve-3", email=OLD)
    assert () == k.erase(external_id="ann-1").ghost_profile_ids
    simulator.advance(1)
    assert {("eve-3", OLD)} == pairs(simulator)
    assert ghost == k.track("Ordered", external_id="eve-3").profile_id


@pytest.mark.parametrize("mapped", [True, False])
def test_different_people_are_not_chosen_from(known, simulator, store, mapped):
    """P3: identifiers that are two customers', in the map or in Klaviyo, erase nobody."""
    if mapped:
        who = {"external_id": "ann-9", "email": BOB["email"]}
    else:
        simulator.add_profile(external_id="eve-3", email="eve@shop.test")
        simulator.add_profile(external_id="zoe-4", email="zoe@shop.test")
        who = {"external_id": "eve-3", "email": "zoe@shop.test"}
    before = pairs(simulator)
    error = rejected(known.erase, **who)
    assert (AmbiguousIdentityError, "not_applied", before, 0) == (
        type(error),
        error.outcome,
        pairs(simulator),
        leases(store),
    )


@pytest.mark.parametrize("who", [{"email": NEW}, {"external_id": "zoe-4"}, {"email": "zoe@shop.test"}], ids=str)
def test_a_profile_that_is_not_whose_name_is_given_is_not_erased(known, simulator, store, who):
    """P3: a profile id beside an identifier has to be that customer's."""
    eve = simulator.add_profile(external_id="eve-3", email="eve@shop.test")
    before = pairs(simulator)
    error = rejected(known.erase, profile_id=eve.id, **who)
    assert (AmbiguousIdentityError, before, 0) == (type(error), pairs(simulator), leases(store))
    assert [] == deleted(simulator)


def test_several_profiles_of_one_address_are_not_chosen_from(client, simulator):
    """F-5: where several profiles answer, the error names them, and each can be erased by its id."""
    ids = {simulator.add_profile(email=OLD).id for _ in range(2)}
    k = client()
    error = rejected(k.erase, email=OLD)
    assert (AmbiguousIdentityError, ids) == (type(error), set(error.profile_ids))
    for profile_id in sorted(ids):
        assert profile_id == k.erase(profile_id=profile_id).profile_id
    simulator.advance(1)
    assert [] == simulator.profiles


def test_nobody_is_erased_without_being_named(client, simulator):
    """R1, R2: an erasure names whom it is about, by a usable identifier."""
    k = client()
    assert "R2" == rejected(k.erase).rule
    for who in ({"email": "nobody"}, {"external_id": "null"}, {"profile_id": "../x"}):
        assert isinstance(rejected(k.erase, **who), InvalidIdentifierError)
    assert [] == simulator.journal


def test_the_legacy_api_erases_nothing(client, simulator):
    """The legacy dialect cannot delete by profile id, and says so."""
    k = client(dialect="legacy", public_key=ACCOUNT, base_url="http://127.0.0.1:1")
    assert isinstance(rejected(k.erase, email=OLD), ConfigurationError)
    assert [] == simulator.journal


def test_a_key_that_may_not_erase_changes_nothing(known, simulator, store):
    """P6, P7: where Klaviyo refuses the deletion, the map keeps what it knows, and no late call is refused."""
    simulator.fail_next("request_profile_deletion", status=403)
    error = rejected(known.erase, external_id="ann-9")
    assert (PermissionDeniedError, "not_applied", 0) == (type(error), error.outcome, leases(store))
    assert "R3" == known.explain(external_id="ann-9", email=NEW).rule


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("by", ["erase", "recover", "identify"])
def test_an_unknown_outcome_is_finished_by_the_next(*, known, client, simulator, store, when, by):
    """P4, P7: whether or not the request arrived, whoever comes next finishes the erasure."""
    simulator.fail_next("request_profile_deletion", when=when)
    k = client(retry=RetryPolicy(max_attempts=1))
    error = rejected(k.erase, external_id="ann-9")
    assert (NoResponseError, "unknown", 1) == (type(error), error.outcome, leases(store))
    expire(simulator)
    if by == "erase":
        persist(simulator, known.erase, external_id="ann-9")
    elif by == "recover":
        assert [("erase", "completed")] == [(each.verb, each.status) for each in recovered(simulator, known)]
    else:
        assert isinstance(persist(simulator, rejected_for_good, known.identify, external_id="ann-9"), ErasedError)
    simulator.advance(1)
    assert ({("bob-2", BOB["email"])}, 0, []) == (pairs(simulator), leases(store), journal_of(store))
    assert isinstance(rejected(known.identify, email=OLD), ErasedError)


def test_an_erasure_waits_for_a_change_of_the_same_customer(known, client, simulator, store, open_client):
    """R13, P4: an erasure that begins while a change is on its way waits, and nothing comes back afterwards."""
    other = open_client(simulator, store)
    meanwhile(simulator, "update_profile", lambda: other.erase(external_id="ann-9"))
    rejected(known.change_email, "third@shop.test", external_id="ann-9")
    simulator.advance(1)
    assert ({("bob-2", BOB["email"])}, 0) == (pairs(simulator), leases(store))
    assert isinstance(rejected(known.identify, email="third@shop.test"), ErasedError)


def test_a_lease_on_the_profile_alone_is_waited_for(known, simulator, store):
    """R13: an intent about the profile is finished first, also where only the profile id is named."""
    ann = simulator.find(external_id="ann-9").id
    store.acquire(
        ACCOUNT,
        frozenset({Identifier(Kind.PROFILE_ID, ann)}),
        intent=json.dumps({"verb": "restore", "profile_id": ann}),
        ttl=1,
    )
    assert ann == known.erase(profile_id=ann).profile_id
    assert 0 == leases(store)


@pytest.mark.parametrize("new", [NEW, "third@shop.test"])
@pytest.mark.parametrize(
    "who", [{"old_email": NEW}, {"external_id": "ann-9"}, {"external_id": "ann-9", "old_email": NEW}]
)
def test_who_was_erased_has_no_email_to_change(known, who, new):
    """Whatever names them, and whatever the new address is, the answer is that they were erased."""
    known.erase(external_id="ann-9")
    assert isinstance(rejected(known.change_email, new, **who), ErasedError)


def test_an_event_is_not_repeated_once_its_customer_is_erased(known, simulator, store, open_client):
    """P4: an event whose first attempt failed does not bring somebody back who was erased meanwhile."""
    other = open_client(simulator, store)
    simulator.fail_next("create_event", status=503, match=lambda _: bool(other.erase(external_id="ann-9")))
    error = rejected(known.track, "Ordered", external_id="ann-9", unique_id="order-1")
    assert (ErasedError, "unknown", "order-1") == (type(error), error.outcome, error.unique_id)
    simulator.advance(1)
    assert {("bob-2", BOB["email"])} == pairs(simulator)
