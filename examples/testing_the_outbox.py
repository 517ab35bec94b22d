"""A shop's own tests of what it queues: ``pytest testing_the_outbox.py``. Beside a map in memory the outbox is, too."""

import pytest

from safeklaviyo import Klaviyo
from safeklaviyo.testing import KlaviyoSimulator


@pytest.fixture
def klaviyo(klaviyo_simulator: KlaviyoSimulator) -> Klaviyo:
    return klaviyo_simulator.client()


def test_an_order_is_queued_and_delivered(klaviyo: Klaviyo, klaviyo_simulator: KlaviyoSimulator) -> None:
    klaviyo.outbox.track("Placed Order", external_id="42", email="ada@shop.test")
    assert klaviyo.outbox.counts().waiting == 1
    klaviyo_simulator.fail_next("create_event", status=503)
    assert klaviyo.outbox.drain().dead == 0


def test_an_order_before_its_sign_up_waits(klaviyo: Klaviyo) -> None:
    klaviyo.outbox.track("Placed Order", external_id="42")
    assert klaviyo.outbox.drain().waiting == 1
    klaviyo.identify(external_id="42", email="ada@shop.test")
    assert klaviyo.outbox.counts().dead == 0
