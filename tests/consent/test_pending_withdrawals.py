"""Withdrawals by people whom nobody knows yet: kept by what they were made with, until somebody has it (H28)."""

from __future__ import annotations

import pytest

from safeklaviyo import ConsentWithdrawnError
from support.consent import UNSUBSCRIBED, can_receive, come_to_rest, subscribed
from support.scenes import ANN, PHONE, rejected

EMAIL = ANN["email"]
LATER = 400.0


@pytest.fixture
def k(client):
    """Returns a client whose map and whose Klaviyo know nobody."""
    return client()


def kept(store):
    """Return the names under which withdrawals are kept."""
    return sorted(name for name, _ in store.notes("SiMuLa").notes if name.startswith("withdrawn:"))


def test_one_beside_another(k, simulator, store):
    """A withdrawal of another channel, of a list, or a suppression does not write over an earlier one."""
    news = simulator.add_list("News")
    k.unsubscribe("email", email=EMAIL)
    k.unsubscribe("sms", email=EMAIL)
    k.unsubscribe("email", email=EMAIL, list_id=news)
    assert [f"withdrawn:email:email:{EMAIL}", f"withdrawn:sms:email:{EMAIL}"] == kept(store)
    simulator.advance(5)
    simulator.add_profile(**ANN)
    simulator.advance(LATER)
    assert ["withdrawn_again"] == [each.finding for each in k.recheck_changes()]
    come_to_rest(simulator, k)
    assert [] == can_receive(simulator)


def test_it_is_carried_out_on_who_has_it_later(k, simulator):
    """A profile that comes later, and that nobody has subscribed since, receives nothing."""
    k.unsubscribe("email", email=EMAIL)
    simulator.advance(5)
    simulator.add_profile(**ANN)
    simulator.advance(LATER)
    assert ["withdrawn_again"] == [each.finding for each in k.recheck_changes()]
    come_to_rest(simulator, k)
    assert ([], UNSUBSCRIBED) == (can_receive(simulator), simulator.find(**ANN).consent)


def test_a_form_since_is_left_and_reported(k, simulator):
    """What a form has subscribed since is a newer consent."""
    k.unsubscribe("email", email=EMAIL)
    simulator.advance(5)
    simulator.submit_form(email=EMAIL)
    simulator.advance(LATER)
    assert ["subscribed_since"] == [each.finding for each in k.recheck_changes()]
    assert [EMAIL] == subscribed(simulator)


def test_it_is_forgotten_a_day_later(k, simulator, store):
    """It is compared after the lag and once more a day later, and then forgotten."""
    k.unsubscribe("email", email=EMAIL)
    simulator.advance(LATER)
    k.recheck_changes()
    assert 1 == len(kept(store))
    simulator.advance(90_000)
    k.recheck_changes()
    assert [] == kept(store)


class TestGiving:
    """A consent of who had withdrawn before they were known."""

    @pytest.mark.parametrize("verb", ["unsubscribe", "suppress"])
    def test_r18_it_is_not_lifted_unasked(self, k, simulator, store, *, verb):
        """R18: the later customer has withdrawn it, although no profile shows it."""
        news = simulator.add_list("News")
        if verb == "suppress":
            k.suppress(email=EMAIL)
            come_to_rest(simulator, k)
        else:
            k.unsubscribe("email", email=EMAIL)
        simulator.advance(10)
        for list_id in (None, news):
            error = rejected(k.subscribe, "email", list_id=list_id, **ANN)
            assert (ConsentWithdrawnError, "email") == (type(error), error.channel)
        assert "accepted" == k.subscribe("email", resubscribe=True, **ANN).status
        assert [] == kept(store)

    def test_r18_a_newer_consent_lifts_it(self, k, simulator):
        """R18: by its date, also of a number: what a program has withdrawn is no STOP."""
        k.unsubscribe(["email", "sms"], email=EMAIL, phone_number=PHONE)
        simulator.advance(10)
        given = {"consented_at": simulator.now() - 5, "phone_number": PHONE}
        assert "accepted" == k.subscribe(["email", "sms"], **given, **ANN).status

    def test_r18_the_other_channels_stay_withdrawn(self, k, simulator, store):
        """R18: a consent to one channel answers the withdrawal of that one alone."""
        k.unsubscribe(["email", "sms"], email=EMAIL)
        simulator.advance(10)
        k.subscribe("email", resubscribe=True, **ANN)
        assert [f"withdrawn:sms:email:{EMAIL}"] == kept(store)
        error = rejected(k.subscribe, "sms", phone_number=PHONE, **ANN)
        assert "sms" == error.channel

    def test_r18_who_left_one_list_may_join_another(self, k, simulator):
        """R18: a list that was left says nothing of another."""
        news, offers = simulator.add_list("News"), simulator.add_list("Offers")
        k.unsubscribe("email", email=EMAIL, list_id=news)
        simulator.advance(10)
        assert isinstance(rejected(k.subscribe, "email", list_id=news, **ANN), ConsentWithdrawnError)
        assert "accepted" == k.subscribe("email", list_id=offers, **ANN).status
