"""A shop's own tests of its consent: ``pytest testing_consent.py``, beside the checkout's example."""

import pytest
from consent_at_checkout import place_order

from safeklaviyo import Klaviyo
from safeklaviyo.testing import KlaviyoSimulator


@pytest.fixture
def klaviyo(klaviyo_simulator: KlaviyoSimulator) -> Klaviyo:
    return klaviyo_simulator.client()


def test_a_ticked_box_subscribes(klaviyo: Klaviyo, klaviyo_simulator: KlaviyoSimulator) -> None:
    klaviyo_simulator.add_list("News", opt_in_process="double_opt_in")
    assert place_order(klaviyo, "42", "ada@shop.test", None, ["email"]) == "Please confirm our mail."
    klaviyo_simulator.drain()
    assert klaviyo.consent(external_id="42").channels["email"].status == "never_subscribed"
    klaviyo_simulator.confirm_opt_in("ada@shop.test")
    assert klaviyo.consent(external_id="42").channels["email"].status == "subscribed"


def test_whoever_withdraws_is_left_alone(klaviyo: Klaviyo, klaviyo_simulator: KlaviyoSimulator) -> None:
    klaviyo_simulator.add_list("News")
    assert place_order(klaviyo, "42", "ada@shop.test", None, ["email"]) == "Thank you."
    klaviyo_simulator.drain()
    klaviyo.unsubscribe("email", email="ada@shop.test")
    klaviyo_simulator.drain()
    assert not klaviyo.consent(external_id="42").channels["email"].can_receive
