"""An answer about another profile than was asked for: it is that of a merged profile, or no answer at all (P6)."""

from __future__ import annotations

import pytest

from safeklaviyo import NoResponseError
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator, Readings
from support.scenes import ANN, BOB, NEW, PHONE, asked, bound, codes, edit, meanwhile, merge, pairs, rejected, writes


@pytest.fixture
def ann(client, simulator):
    """The id of Ann's profile; the map knows her, and Klaviyo knows Bob too."""
    profile_id = client().identify(**ANN).profile_id
    simulator.add_profile(**BOB)
    simulator.journal.clear()
    return profile_id


def about(profile_id, external_id=None, email=None):
    """Return a body about a profile."""
    attributes = {"external_id": external_id, "email": email}
    return {"data": {"type": "profile", "id": profile_id, "attributes": attributes}}


def mix_up(simulator, where, *bodies):
    """Let the next answers of an endpoint, each after the request was carried out, be about other profiles."""
    for body in bodies:
        simulator.fail_next(where, status=200, body=body, when="after")


def test_p6_a_read_that_is_answered_about_another_profile_is_made_again(client, simulator, ann):
    """P6: one answer about Bob is none about Ann: she is read once more."""
    mix_up(simulator, "get_profile", about("01BOB", **BOB))
    assert (ann, ANN["email"]) == ((profile := client().profiles.get(ann)).id, profile.email)
    assert ["get_profile"] * 2 == asked(simulator)


def test_p6_two_other_profiles_are_no_answer(client, simulator, ann):
    """P6: where two answers are about two others, nothing is concluded, and the call may be made again."""
    for call in (client().profiles.get, client().profiles.update):
        mix_up(simulator, "get_profile", about("01BOB", **BOB), about("01EVE"))
        error = rejected(call, ann)
        assert (NoResponseError, True) == (type(error), error.may_retry)


def test_h37_a_merged_profile_is_shown_as_its_survivor(open_client):
    """H37: where a merged profile's id leads to the survivor, each read says so, and the survivor is returned."""
    simulator = KlaviyoSimulator(Readings(merged_id="alias"))
    k = open_client(simulator, MemoryStore(clock=simulator.now))
    old, kept = simulator.add_profile(email="old@shop.test"), simulator.add_profile(email="kept@shop.test")
    merge(simulator, old.id, kept.id)
    assert kept.id == k.profiles.get(old.id).id
    assert (kept.id, {"tier": "gold"}) == ((seen := k.profiles.update(old.id, {"tier": "gold"})).id, seen.properties)


def test_p6_a_write_that_is_answered_about_another_profile_is_read_back(client, simulator, ann):
    """P6: the answer to a PATCH of Ann's profile that shows Bob's accuses nobody of drift."""
    k = client()
    mix_up(simulator, "update_profile", about("01BOB", **BOB), about("01BOB", **BOB))
    assert ((), ann) == ((result := k.identify({"tier": "gold"}, **ANN)).warnings, result.profile_id)
    assert (ann, {"tier": "gold", "vip": True}) == ((seen := k.profiles.update(ann, {"vip": True})).id, seen.properties)


@pytest.mark.parametrize("verb", ["change_email", "change_external_id", "change_phone_number"])
def test_p6_a_change_that_is_answered_about_another_profile_is_read_back(client, simulator, ann, verb):
    """P6: a change is written down by what Ann's own profile shows."""
    k = client()
    mix_up(simulator, "update_profile", about("01BOB", **BOB))
    if verb == "change_email":
        k.change_email(NEW, external_id="ann-1")
    elif verb == "change_external_id":
        k.change_external_id("ann-9", old_external_id="ann-1")
    else:
        k.change_phone_number(PHONE, external_id="ann-1")
    (binding,) = list(k.bindings)
    assert ann == binding.profile_id
    profile = simulator.find(email=binding.email)
    assert (ann, binding.external_id, binding.phone_number) == (profile.id, profile.external_id, profile.phone_number)
    assert 1 == len(writes(simulator))


def test_p6_a_first_contact_that_is_answered_about_another_profile_is_read_back(client, simulator):
    """P6, F-11: an orphan that is completed is bound by what its own profile shows."""
    orphan = simulator.add_profile(email=ANN["email"])
    mix_up(simulator, "update_profile", about("01BOB", **BOB))
    assert orphan.id == client().identify(**ANN).profile_id
    assert orphan.id == bound(client(), external_id="ann-1").profile_id


def test_r15_a_repair_that_is_answered_about_another_profile_is_read_back(client, simulator, ann):
    """R15: a profile that was repaired counts as repaired, although the answer was about another one."""
    k = client()
    k.change_email(NEW, external_id="ann-1")
    edit(simulator, ann, email=ANN["email"])
    # The first PATCH is that of `identify`, the second one is the repair.
    meanwhile(simulator, "update_profile", lambda: mix_up(simulator, "update_profile", about("01BOB", **BOB)), turn=2)
    result = k.identify({"tier": "gold"}, external_id="ann-1")
    assert (["put_back_repaired"], ann) == (codes(result), result.profile_id)
    assert {("ann-1", NEW), ("bob-2", BOB["email"])} == pairs(simulator)
