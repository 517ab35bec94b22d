"""The two halves that a call by the id alone and a call by the email alone leave behind (situation 6): made one."""

from __future__ import annotations

import pytest

from safeklaviyo import AmbiguousIdentityError
from safeklaviyo.identity import Identifier, Kind
from support.scenes import ACCOUNT, ANN, bound, edit, journal_of, leases, meanwhile, pairs, rejected, writes

ID, EMAIL = ANN["external_id"], ANN["email"]


@pytest.fixture
def settings():
    """Klaviyo merges at once."""
    return {"queue_lag": 0.0}


@pytest.fixture
def halves(simulator):
    """Ann's profile with the id alone, and the one with the email alone."""
    return simulator.add_profile(external_id=ID).id, simulator.add_profile(email=EMAIL, consent="SUBSCRIBED").id


def test_the_map_says_that_they_are_one(client, simulator, store, halves):
    """What the map has as one customer becomes one profile, under the lease of both, and the consent stays."""
    with_id, with_email = halves
    k = client()
    k.bindings.add([ANN])
    assert k.profiles.plan_merge(with_id, into=with_email).is_allowed
    assert "completed" == k.profiles.merge(with_id, into=with_email).status
    assert ({(ID, EMAIL)}, with_email) == (pairs(simulator), bound(k, email=EMAIL).profile_id)
    assert ("subscribed", 0) == (k.consent(email=EMAIL).channels["email"].status, leases(store))
    assert ("merge", None, EMAIL) == journal_of(store)[-1]
    assert "R3" == k.identify({"plan": "gold"}, **ANN).rule


def test_the_lease_covers_the_id_too(client, simulator, store, halves):
    """R13: a call by the id of one half waits for the merge, as one by the email of the other does."""
    k = client()
    k.bindings.add([ANN])
    names = (Identifier(Kind.EXTERNAL_ID, ID), Identifier(Kind.EMAIL, EMAIL))
    held: list[bool] = []
    look = lambda: held.extend(store.find(ACCOUNT, [each]).lease is not None for each in names)  # noqa: E731 - a step
    meanwhile(simulator, "merge_profiles", look)
    k.profiles.merge(halves[0], into=halves[1])
    assert [True, True] == held


def test_a_half_of_which_the_map_has_another_email_is_left(client, simulator, halves):
    """P3: where the map has the profile with the email, but with another email, the two contradict each other."""
    k = client()
    k.bindings.add([{"external_id": ID, "email": "else@shop.test", "profile_id": halves[1]}])
    simulator.journal.clear()
    assert isinstance(rejected(k.profiles.merge, halves[0], into=halves[1]), AmbiguousIdentityError)
    assert ([], 2) == (writes(simulator), len(simulator.profiles))


@pytest.mark.parametrize(
    ("known", "shown"),
    [
        ([], {}),
        ([{"external_id": ID, "email": "else@shop.test"}], {}),
        ([{"external_id": "eve-3", "email": EMAIL}], {}),
        ([ANN], {"email": "first@shop.test"}),
    ],
    ids=["nothing", "another email", "another id", "an address of its own"],
)
def test_otherwise_they_are_two(client, simulator, known, shown, halves):
    """P3: without the map's word, or with an address of its own on the half with the id, nothing is merged."""
    with_id, with_email = halves
    if shown:
        edit(simulator, with_id, **shown)
    k = client()
    k.bindings.add(known)
    simulator.journal.clear()
    assert isinstance(rejected(k.profiles.merge, with_id, into=with_email), AmbiguousIdentityError)
    assert ([], 2) == (writes(simulator), len(simulator.profiles))


def test_an_id_that_did_not_come_with_the_merge_is_written_by_the_next_call(client, simulator, store, halves):
    """Klaviyo says nowhere that a merge moves the external id: where it does not, first contact writes it (R4)."""
    with_id, with_email = halves
    k = client()
    k.bindings.add([ANN])
    meanwhile(simulator, "get_profile", lambda: edit(simulator, with_email, external_id=None), turn=8)
    assert "completed" == k.profiles.merge(with_id, into=with_email).status
    assert ({(None, EMAIL)}, None) == (pairs(simulator), bound(k, email=EMAIL).profile_id)
    assert ("R4", with_email) == ((done := k.identify({"plan": "gold"}, **ANN)).rule, done.profile_id)
    assert ({(ID, EMAIL)}, 0) == (pairs(simulator), leases(store))
