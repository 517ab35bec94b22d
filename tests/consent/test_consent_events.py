"""Klaviyo's own events about consent, where they can be read: what they say is carried out, and nothing more (H30)."""

from __future__ import annotations

import pytest

from safeklaviyo.testing import Readings
from support.consent import SUBSCRIBED, can_receive, come_to_rest, requests, subscribed
from support.scenes import ANN, PHONE, leases

EMAIL = ANN["email"]
LATER = 400.0
pytestmark = pytest.mark.parametrize("settings", [{"readings": Readings(consent_events=True)}], ids=["recorded"])

LEAVING = {
    "the link": ("email", {"email": EMAIL}),
    "a spam report": ("email", {"email": EMAIL, "reason": "SPAM_COMPLAINT"}),
    "STOP": ("sms", {"phone_number": PHONE}),
}


@pytest.fixture
def k(client, simulator):
    """Returns a client; Ann is known, with a number."""
    simulator.add_profile(**ANN, phone_number=PHONE)
    k = client()
    k.identify(**ANN)
    return k


def look_again(simulator, k):
    """Let the scheduled jobs run a while later, and return what they have found."""
    come_to_rest(simulator, k)
    simulator.advance(LATER)
    found = [each.finding for each in k.recheck_changes()]
    come_to_rest(simulator, k)
    return found


@pytest.mark.parametrize("how", LEAVING)
def test_h30_who_leaves_before_klaviyo_carries_it_out(k, simulator, store, *, how):
    """H30: what Klaviyo itself has recorded since the call is carried out again once the effect shows."""
    channel, left = LEAVING[how]
    k.subscribe(channel, **ANN)
    simulator.advance(5)
    simulator.withdraw(**left)
    come_to_rest(simulator, k)
    (profile,) = simulator.profiles
    assert SUBSCRIBED != (profile.consent if channel == "email" else profile.sms_consent)
    assert ([], 0) == (look_again(simulator, k), leases(store))


def test_h30_what_was_withdrawn_before_the_call_is_lifted(k, simulator, store):
    """H30: events of before say nothing against a newer consent."""
    k.subscribe("email", **ANN)
    come_to_rest(simulator, k)
    simulator.advance(5)
    simulator.withdraw(email=EMAIL)
    simulator.advance(5)
    k.subscribe("email", resubscribe=True, **ANN)
    assert ([], [EMAIL], 0) == (look_again(simulator, k), subscribed(simulator), leases(store))


def test_h30_a_withdrawal_of_ours_before_the_call_is_lifted(k, simulator):
    """H30: likewise where a program has withdrawn, which Klaviyo records as well."""
    k.subscribe("email", **ANN)
    come_to_rest(simulator, k)
    k.unsubscribe("email", **ANN)
    come_to_rest(simulator, k)
    simulator.advance(5)
    k.subscribe("email", resubscribe=True, **ANN)
    assert ([], [EMAIL], 3) == (look_again(simulator, k), subscribed(simulator), len(requests(simulator)))


@pytest.mark.parametrize("order", [(0, 0), (1, 0)], ids=["in order", "crossed"])
def test_h27_a_withdrawal_beside_a_consent(k, simulator, store, *, order):
    """H27: in whatever order Klaviyo carries them out, the withdrawal stands, and is not repeated for ever."""
    k.subscribe("email", **ANN)
    simulator.advance(5)
    k.unsubscribe("email", **ANN)
    for each in order:
        simulator.step(each)
    assert [] == look_again(simulator, k)
    asked = len(requests(simulator))
    assert ([], [], 0) == (look_again(simulator, k), can_receive(simulator), leases(store))
    assert asked == len(requests(simulator))


def test_h30_another_channel_says_nothing(k, simulator):
    """H30: STOP by text message says nothing of a consent to email."""
    k.subscribe(["email", "sms"], **ANN)
    come_to_rest(simulator, k)
    simulator.advance(5)
    k.subscribe("email", consented_at=simulator.now(), **ANN)
    simulator.withdraw(phone_number=PHONE)
    assert ([], [EMAIL]) == (look_again(simulator, k), subscribed(simulator))
