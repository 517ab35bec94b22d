"""Phones (R14): attached to a known profile, never used to say who somebody is, never at the cost of the call."""

from __future__ import annotations

import pytest

from safeklaviyo import RetryPolicy
from support.scenes import ANN, BOB, PHONE, Troubled, asked, bound, codes, delete, edit, person_in, rejected, writes

OTHER = "+19876543210"


@pytest.fixture
def known(client, simulator):
    """A client that knows Ann; the journal is empty."""
    k = client()
    k.identify(**ANN)
    simulator.journal.clear()
    return k


@pytest.mark.parametrize("verb", ["identify", "track"])
def test_r14_a_phone_is_attached_after_the_main_write(client, simulator, verb):
    """R14: a create or an event carries no phone; it is attached by PATCH to the known profile, and remembered."""
    k = client()
    result = k.identify(phone_number=PHONE, **ANN) if verb == "identify" else k.track("x", phone_number=PHONE, **ANN)
    assert () == result.warnings
    carriers = [entry.endpoint for entry in writes(simulator) if "phone_number" in person_in(entry)]
    assert ["update_profile"] == carriers
    assert {"id": result.profile_id, "phone_number": PHONE} == person_in(
        next(entry for entry in writes(simulator) if "phone_number" in person_in(entry))
    )
    assert (PHONE, PHONE) == (simulator.profiles[0].phone_number, bound(k, external_id="ann-1").phone_number)


def test_r14_a_phone_that_is_known_costs_nothing(known, simulator):
    """R14: a phone that the binding holds is not sent again."""
    known.track("Ordered", phone_number=PHONE, **ANN)
    simulator.journal.clear()
    assert () == known.track("Ordered", phone_number="+1 (234) 567-8901", **ANN).warnings
    assert ["create_event"] == asked(simulator)


def test_r14_a_phone_that_klaviyo_knows_is_only_remembered(known, simulator):
    """R14: where the profile has the phone already, nothing is written but the map."""
    edit(simulator, simulator.profiles[0].id, phone_number=PHONE)
    assert () == known.identify({"tier": "gold"}, phone_number=PHONE, **ANN).warnings
    assert 1 == len(writes(simulator))
    assert PHONE == bound(known, external_id="ann-1").phone_number


@pytest.mark.parametrize("verb", ["identify", "track"])
def test_r14_an_unusable_phone_is_left_out(known, simulator, verb):
    """R14, F-16: a phone that is none costs the call nothing, and a warning says so."""
    call = known.identify if verb == "identify" else lambda **who: known.track("Ordered", **who)
    result = call(phone_number="call me", **ANN)
    assert (["phone_invalid"], ["phone_number"]) == (codes(result), [each.identifier_kind for each in result.warnings])
    assert None is simulator.profiles[0].phone_number


def test_r14_klaviyo_may_know_better_what_is_a_phone(known, simulator):
    """R14: a phone that Klaviyo refuses costs the call nothing."""
    simulator.fail_next("update_profile", status=400)
    result = known.track("Ordered", phone_number=PHONE, **ANN)
    assert (["phone_invalid"], None) == (codes(result), bound(known, external_id="ann-1").phone_number)


def test_r14_f16_a_shared_phone_hands_nobody_over(known, simulator):
    """R14, F-16: a phone that is another profile's stays there; the call succeeds and says so."""
    bob = simulator.add_profile(phone_number=PHONE, **BOB)
    result = known.identify({"tier": "gold"}, phone_number=PHONE, **ANN)
    assert ["phone_taken"] == codes(result)
    ann = simulator.find(external_id="ann-1")
    assert (None, "gold", PHONE) == (
        ann.phone_number,
        ann.properties["tier"],
        simulator.find(external_id="bob-2").phone_number,
    )
    assert bob.email == simulator.find(phone_number=PHONE).email


def test_r14_f16_another_phone_is_not_replaced(known, simulator):
    """R14, F-16: to replace a phone would cost its consent: it is kept, and a warning says so."""
    known.identify(phone_number=PHONE, **ANN)
    simulator.journal.clear()
    result = known.identify({"tier": "gold"}, phone_number=OTHER, **ANN)
    assert (["phone_differs"], PHONE, 1) == (codes(result), simulator.profiles[0].phone_number, len(writes(simulator)))


def test_r14_another_phone_in_klaviyo_is_not_replaced(known, simulator):
    """R14: a phone that only Klaviyo knows is kept as well."""
    edit(simulator, simulator.profiles[0].id, phone_number=OTHER)
    result = known.track("Ordered", phone_number=PHONE, **ANN)
    assert (["phone_differs"], OTHER) == (codes(result), simulator.profiles[0].phone_number)
    assert None is bound(known, external_id="ann-1").phone_number


@pytest.mark.parametrize(("where", "status"), [("get_profile", 500), ("update_profile", 500), ("update_profile", 401)])
def test_r14_a_phone_that_cannot_be_attached_costs_nothing(known, client, simulator, where, status):
    """R14: whatever fails about the phone, the event was accepted, and the result says what is missing."""
    simulator.fail_next(where, status=status)
    k = client(retry=RetryPolicy(max_attempts=1))
    result = k.track("Ordered", phone_number=PHONE, **ANN)
    assert ["phone_not_attached"] == codes(result)
    simulator.drain()
    assert 1 == len(simulator.events)
    assert () == k.track("Ordered", phone_number=PHONE, **ANN).warnings
    assert PHONE == simulator.profiles[0].phone_number


def test_r14_a_profile_that_is_gone_takes_no_phone(known, simulator):
    """R14: where the profile was deleted meanwhile, the event was accepted all the same."""
    delete(simulator, simulator.profiles[0].id)
    assert ["phone_not_attached"] == codes(known.track("Ordered", phone_number=PHONE, **ANN))


def test_r14_a_map_that_fails_about_the_phone_costs_nothing(client, simulator):
    """R14: a phone that cannot be remembered is attached, and attached again next time."""
    store = Troubled(simulator)
    k = client(store=store)
    k.identify(**ANN)
    store.failing.add("bind")
    assert () == k.track("Ordered", phone_number=PHONE, **ANN).warnings
    assert (PHONE, None) == (simulator.profiles[0].phone_number, bound(k, external_id="ann-1").phone_number)


def test_r14_a_phone_alone_is_nobody(known, simulator):
    """R2, R14: a phone alone identifies nobody, also where its owner is known."""
    known.identify(phone_number=PHONE, **ANN)
    simulator.journal.clear()
    error = rejected(known.track, "Ordered", phone_number=PHONE)
    assert ("R2", []) == (error.rule, simulator.journal)


def test_r14_a_phone_travels_with_no_event_even_among_the_properties(known, simulator):
    """R14: a legacy ``$phone_number`` is taken out, and attached like any other."""
    known.track("Ordered", customer_properties={"$phone_number": PHONE}, **ANN)
    assert ["create_event", "get_profile", "update_profile"] == asked(simulator)
    assert "phone_number" not in person_in(writes(simulator)[0])
