"""The six situations in which calls by id and calls by email meet, and the race between them: one profile each time."""

from __future__ import annotations

import pytest

from safeklaviyo import ExternalIdMismatchError
from support.scenes import ANN, NEW, browse, meanwhile, pairs, rejected

PAIR = ("ann-1", "ann@shop.test")


def only(simulator):
    """Return the only profile."""
    simulator.drain()
    assert 1 == len(simulator.profiles)
    return simulator.profiles[0]


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("who", [{"external_id": "ann-1"}, {"email": "ann@shop.test"}, ANN])
def test_situations_1_and_2_either_identifier_leads_to_the_profile(client, simulator, mapped, who):
    """Situations 1 and 2: a profile with both identifiers is met by the id, by the email, and by both."""
    k = client()
    profile_id = k.identify(**ANN).profile_id if mapped else simulator.add_profile(**ANN).id
    assert profile_id == k.identify({"tier": "gold"}, **who).profile_id
    assert profile_id == k.track("Ordered", **who).profile_id
    assert (profile_id, PAIR, {"tier": "gold"}) == (only(simulator).id, *pairs(simulator), only(simulator).properties)


@pytest.mark.parametrize("verb", ["identify", "track"])
def test_situation_3_a_profile_with_the_id_gets_the_email(client, simulator, verb):
    """Situation 3: an id-only profile that somebody has left behind gets the email, by its own id."""
    bare = simulator.add_profile(external_id="ann-1")
    k = client()
    result = k.identify(**ANN) if verb == "identify" else k.track("Ordered", **ANN)
    assert (bare.id, bare.id, {PAIR}) == (result.profile_id, only(simulator).id, pairs(simulator))


@pytest.mark.parametrize("verb", ["identify", "track"])
def test_situation_4_a_profile_with_the_email_gets_the_id(client, simulator, verb):
    """Situation 4: an email-only profile, as a form makes it, gets the id."""
    bare = simulator.add_profile(email="ann@shop.test")
    k = client()
    result = k.identify(**ANN) if verb == "identify" else k.track("Ordered", **ANN)
    assert (bare.id, bare.id, {PAIR}) == (result.profile_id, only(simulator).id, pairs(simulator))


@pytest.mark.parametrize("mapped", [True, False])
def test_situation_5_another_id_is_refused(client, simulator, mapped):
    """Situation 5: where Klaviyo would overwrite the id, the call is refused, and the id stays."""
    k = client()
    if mapped:
        k.identify(**ANN)
    else:
        simulator.add_profile(**ANN)
    for call in (k.identify, lambda **who: k.track("Ordered", **who)):
        error = rejected(call, external_id="eve-3", email="ann@shop.test")
        assert (ExternalIdMismatchError, "ann-1") == (type(error), error.current_external_id)
    assert {PAIR} == pairs(simulator)


def test_situation_6_an_email_after_an_id_makes_no_second_profile(client, simulator):
    """Situation 6: the profile that would stay without an email, and be doubled by the next, is never made."""
    k = client()
    assert "R9" == rejected(k.identify, external_id="ann-1").rule
    assert "R9" == rejected(k.track, "Ordered", external_id="ann-1").rule
    k.track("Viewed", email="ann@shop.test")
    k.track("Ordered", **ANN)
    k.track("Ordered", external_id="ann-1")
    only(simulator)
    assert ({PAIR}, 3) == (pairs(simulator), len(simulator.events))


@pytest.mark.parametrize("where", ["get_profiles", "create_profile", "create_event"])
@pytest.mark.parametrize("who", [{"email": "ann@shop.test"}, ANN])
def test_the_race_between_a_call_by_id_and_one_by_email(client, simulator, store, open_client, *, where, who):
    """The race: whenever another call, or a browser, comes between, there is one profile with both identifiers."""
    other = open_client(simulator, store)

    def come_between() -> None:
        browse(simulator, email="ann@shop.test")
        simulator.drain()
        if where == "create_event":
            other.track("Viewed", **who)

    meanwhile(simulator, where, come_between)
    client().track("Ordered", **ANN)
    assert PAIR == (only(simulator).external_id, only(simulator).email)


def test_the_founding_case_an_email_change_makes_no_duplicate(client, simulator):
    """The shop that used the id to change an email: change, then calls by id, by the new and by the old address."""
    k = client()
    k.identify({"$first_name": "Ann"}, **ANN)
    k.change_email(NEW, external_id="ann-1")
    for who in ({"external_id": "ann-1"}, {"email": NEW}, {"email": "ann@shop.test"}, ANN):
        k.track("Ordered", **who)
        k.identify({"tier": "gold"}, **who)
    profile = only(simulator)
    assert (("ann-1", NEW), 4) == ((profile.external_id, profile.email), len(simulator.events))
