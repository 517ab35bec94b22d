"""Moments that only a slow, shared or half-broken world brings about, and the calls about the account and the map."""

from __future__ import annotations

from dataclasses import replace

import pytest

from safeklaviyo import (
    ConfigurationError,
    IdentityDriftError,
    InvalidIdentifierError,
    InvalidPropertyError,
    LeaseHeldError,
    NoResponseError,
    NotFoundError,
    Policy,
)
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.base import Change
from support.scenes import (
    ACCOUNT,
    ANN,
    BOB,
    NEW,
    PHONE,
    Troubled,
    asked,
    bound,
    codes,
    delete,
    edit,
    expire,
    hold,
    kill,
    leases,
    meanwhile,
    pairs,
    patiently,
    rejected,
    writes,
)

OLD = "ann@shop.test"


def note_phone(store):
    """Let the first binding's version rise, as when somebody notes a phone."""
    stands = store.page(ACCOUNT).bindings[0]
    store.bind(ACCOUNT, Change(replace(stands, phone_number=PHONE), verified=False))


def test_r13_an_address_that_somebody_is_writing_about_is_waited_for(client, simulator, store):
    """R13: a new address under somebody else's lease, of which a look into the map shows nothing, is waited for."""
    k = client(policy=Policy(wait=5))
    k.identify(**ANN)
    hold(store, Identifier(Kind.EMAIL, NEW), ttl=100)
    error = rejected(k.change_email, NEW, external_id="ann-1")
    assert (LeaseHeldError, "R13", {("ann-1", OLD)}) == (type(error), error.rule, pairs(simulator))


def test_r15_nobody_is_accused_while_somebody_writes(client, simulator, open_client):
    """R15: a contradiction that is seen during an interrupted change is looked at again when that is finished."""
    store = Troubled(simulator)
    k = client(store=store)
    k.identify(**ANN)
    other = open_client(simulator, store)

    def cut_off() -> None:
        kill(simulator, store, "bind", other.change_email, NEW, external_id="ann-1")

    meanwhile(simulator, "update_profile", cut_off)
    result = k.identify({"tier": "gold"}, **ANN)
    assert (NEW, {("ann-1", NEW)}, 0) == (result.identity.email, pairs(simulator), leases(store))


def test_r4_r15_a_found_profile_with_a_former_address_gets_the_current_one(client, simulator):
    """R4, R15: a customer's next profile that shows a former address of theirs is completed, not refused."""
    k = client()
    k.identify(**ANN)
    k.change_email(NEW, external_id="ann-1")
    delete(simulator, simulator.profiles[0].id)
    heir = simulator.add_profile(**ANN)
    assert heir.id == patiently(simulator, k.identify, {"tier": "gold"}, external_id="ann-1").profile_id
    assert {("ann-1", NEW)} == pairs(simulator)


def test_r4_a_put_back_that_cannot_be_restored_is_drift(client, simulator, store):
    """R4, R15: an address that stands on its former owner's profile for good is not given to anybody else."""
    k = client()
    profile_id = k.identify(**ANN).profile_id
    k.change_email(NEW, external_id="ann-1")
    edit(simulator, profile_id, email=OLD)
    simulator.add_profile(external_id="eve-3", email=NEW)
    error = rejected(k.identify, external_id="bob-2", email=OLD)
    assert (IdentityDriftError, "R15", profile_id, 0) == (type(error), error.rule, error.profile_id, leases(store))
    assert {("ann-1", OLD), ("eve-3", NEW)} == pairs(simulator)


def test_r4_a_binding_that_was_touched_during_contact_is_looked_at_again(client, simulator):
    """R4: where an imported binding's version rises during first contact, the map is asked again, and agrees."""
    store = Troubled(simulator)
    k = client(store=store)
    k.bindings.add([ANN])
    store.before["bind"] = lambda: note_phone(store)
    result = k.track("Ordered", **ANN)
    binding = bound(k, external_id="ann-1")
    assert (result.profile_id, PHONE, 1, 0) == (
        binding.profile_id,
        binding.phone_number,
        len(simulator.profiles),
        leases(store),
    )


def test_r15_a_binding_that_was_touched_during_a_repair_is_no_obstacle(client, simulator):
    """R15: where the version rises during a repair, the profile is repaired, and the lease given back."""
    store = Troubled(simulator)
    k = client(store=store)
    profile_id = k.identify(**ANN).profile_id
    k.change_email(NEW, external_id="ann-1")
    edit(simulator, profile_id, email=OLD)
    store.before["bind"] = lambda: note_phone(store)
    assert ["put_back_repaired"] == codes(k.identify({"tier": "gold"}, external_id="ann-1"))
    assert ({("ann-1", NEW)}, 0, PHONE) == (
        pairs(simulator),
        leases(store),
        bound(k, external_id="ann-1").phone_number,
    )


def test_p4_two_may_find_the_same_unfinished_change(client, simulator, open_client):
    """P4, R13: where somebody else finishes an interrupted change first, this call finds it done."""
    store = Troubled(simulator)
    k = client(store=store)
    k.identify(**ANN)
    other = open_client(simulator, store)
    kill(simulator, store, "update_profile", other.change_email, NEW, external_id="ann-1")
    expire(simulator)

    def be_faster() -> None:
        expire(simulator)
        other.track("Ordered", external_id="ann-1")

    store.before["renew"] = be_faster
    assert NEW == k.track("Ordered", external_id="ann-1").identity.email
    assert ({("ann-1", NEW)}, 0) == (pairs(simulator), leases(store))


@pytest.mark.parametrize("domain", ["bücher.test", "xn--bcher-kva.test"])
def test_an_internationalised_address_is_found_in_either_form(client, simulator, domain):
    """One domain has two spellings: whichever Klaviyo holds is the same customer's, and no second profile is made."""
    k = client()
    first = k.identify(external_id="ann-1", email=f"ann@{domain}")
    assert first.profile_id == k.identify({"tier": "gold"}, email="ann@bücher.test").profile_id
    assert "ann@xn--bcher-kva.test" == simulator.profiles[0].email


def test_the_account_is_asked_for_once(client, simulator, store):
    """Without `account`, Klaviyo is asked whose the key is, once, and the answer is kept in the map."""
    client(account=None).identify(**ANN)
    client(account=None).identify({"tier": "gold"}, **ANN)
    assert (1, 1) == (asked(simulator).count("get_accounts"), len(store.page(ACCOUNT).bindings))


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"status": 403}, ConfigurationError),
        ({"status": 403, "body": "<html>", "times": 9}, NoResponseError),
        ({"status": 200, "body": "<html>", "times": 9}, NoResponseError),
        ({"status": 200, "body": {"data": []}}, NoResponseError),
    ],
)
def test_without_an_account_nothing_is_written(client, simulator, fault, kind):
    """P6: where nobody can say whose the key is, the call ends before it writes."""
    simulator.fail_next("get_accounts", **fault)
    error = rejected(client(account=None).identify, **ANN)
    assert (kind, "not_applied", []) == (type(error), error.outcome, writes(simulator))


def test_the_map_is_filled_and_emptied_by_its_owner(client, simulator):
    """Rows are judged one by one; what is refused is named by its number, without its data."""
    k = client()
    rows = [
        ANN,
        {**ANN, "profile_id": "P1", "phone_number": PHONE},
        {**ANN, "profile_id": "P1", "phone_number": ""},
        {"external_id": "eve-3", "email": OLD},
        {"external_id": "id-only"},
        {"email": "nobody"},
        {**BOB, "nickname": "x"},
        {**BOB, "profile_id": "../x"},
        {**BOB, "phone_number": "1"},
        17,
    ]
    report = k.bindings.add(rows)
    assert (3, 1, [3, 4, 5, 6, 7, 9]) == (report.added, report.unchanged, [number for number, _ in report.refused])
    assert [8] == [number for number, _ in report.warnings]
    assert [] == [why for _, why in report.refused if "shop" in why or "eve" in why]
    assert {"P1", None} == {binding.profile_id for binding in k.bindings}
    assert 2 == k.bindings.add(list(k.bindings)).unchanged
    assert ([True, False], None) == (
        [k.bindings.remove(email=OLD) for _ in range(2)],
        k.bindings.get(external_id="ann-1"),
    )
    for wrong in ({}, ANN):
        error = rejected(k.bindings.get, **wrong)
        assert ("R2", "bindings.get") == (error.rule, error.operation)
    assert [] == simulator.journal


def test_profiles_are_searched_read_and_written_by_their_ids(client, simulator):
    """What is found is read by its id; what is written carries no identifier."""
    k = client()
    ann = simulator.add_profile(phone_number=PHONE, **ANN)
    for who in ({"external_id": "ann-1"}, {"email": OLD}, {"phone_number": PHONE}):
        assert [ann.id] == [profile.id for profile in k.profiles.search(**who)]
    assert [] == k.profiles.search(email="nobody@shop.test")
    assert {"tier": "gold"} == k.profiles.update(ann.id, {"tier": "gold"}).properties
    assert (ann.id, ann.id) == (k.profiles.update(ann.id).id, k.profiles.get(ann.id).id)
    for key in ("$email", "$id", "$phone_number"):
        assert isinstance(rejected(k.profiles.update, ann.id, {key: "x"}), InvalidPropertyError)
    for wrong in ({}, {**ANN}):
        assert isinstance(rejected(k.profiles.search, **wrong), InvalidIdentifierError)
    assert isinstance(rejected(k.profiles.get, "01NOBODY"), NotFoundError)
    assert isinstance(rejected(lambda: list(k.profiles.iterate(page_size=0))), ConfigurationError)
    assert [ann.id] == [profile.id for profile in k.profiles.iterate(sort="-updated", page_size=1)]


def test_a_profile_that_is_gone_when_it_is_read_is_not_found(client, simulator):
    """A search that still shows a profile that is gone finds nothing."""
    ann = simulator.add_profile(**ANN)
    meanwhile(simulator, "get_profile", lambda: delete(simulator, ann.id))
    assert [] == client().profiles.search(email=OLD)


def test_r13_who_is_a_moment_too_late_for_the_lease_waits(client, simulator):
    """R13: somebody who takes the lease between this call's look and its own is waited for."""
    store = Troubled(simulator)
    store.before["acquire"] = lambda: hold(store, Identifier(Kind.EMAIL, OLD), ttl=100)
    error = rejected(client(store=store, policy=Policy(wait=3)).identify, **ANN)
    assert (LeaseHeldError, "not_applied", []) == (type(error), error.outcome, writes(simulator))


def test_p4_an_interrupted_repair_of_a_profile_without_an_address_blocks_nobody(client, simulator, open_client):
    """P4, R15: a profile that has lost its address meanwhile is not restored, and its customer not blocked."""
    store = Troubled(simulator)
    k = client(store=store)
    profile_id = k.identify(**ANN).profile_id
    k.change_email(NEW, external_id="ann-1")
    edit(simulator, profile_id, email=OLD)
    kill(simulator, store, "update_profile:2", open_client(simulator, store).identify, {"x": 1}, external_id="ann-1")
    edit(simulator, profile_id, email=None)
    expire(simulator)
    assert NEW == k.track("Ordered", external_id="ann-1").identity.email
    assert 0 == leases(store)


def test_r13_who_always_comes_second_waits_between_looks(client, simulator, open_client):
    """R13: a customer whom others change again and again is looked at with pauses, and at last met."""
    store = Troubled(simulator)
    other = open_client(simulator, store)
    rounds = []

    def forget() -> None:
        rounds.append(simulator.now())
        other.bindings.remove(external_id="ann-1")
        if len(rounds) < 12:
            store.before["find"] = lambda: store.before.update(find=forget)

    simulator.add_profile(**ANN)
    store.before["find"] = forget  # and before every second look from then on: those that decide
    assert OLD == client(store=store).track("Ordered", external_id="ann-1").identity.email
    assert (12, True) == (len(rounds), rounds[-1] > rounds[0])
