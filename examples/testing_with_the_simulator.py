"""A shop's own tests, with the fixture that comes with the package: ``pytest testing_with_the_simulator.py``."""

from collections.abc import Iterator

import httpx
import pytest

from safeklaviyo import Klaviyo, RetryPolicy, ServerError
from safeklaviyo.testing import KlaviyoSimulator


def place_order(klaviyo: Klaviyo, customer_id: str, order_id: str) -> None:
    """The shop's code under test."""
    klaviyo.track("Placed Order", external_id=customer_id, unique_id=order_id)


@pytest.fixture
def klaviyo(klaviyo_simulator: KlaviyoSimulator) -> Iterator[Klaviyo]:
    with (
        httpx.Client(transport=klaviyo_simulator.transport) as http,
        Klaviyo("pk_test", store="memory://", http_client=http, retry=RetryPolicy(max_attempts=1)) as client,
    ):
        yield client


def test_an_order_is_recorded_once(klaviyo: Klaviyo, klaviyo_simulator: KlaviyoSimulator) -> None:
    klaviyo.identify(external_id="1815", email="ada@shop.test")
    place_order(klaviyo, "1815", "order-1")
    place_order(klaviyo, "1815", "order-1")
    klaviyo_simulator.drain()
    assert [event.unique_id for event in klaviyo_simulator.events] == ["order-1"]


def test_an_outage_is_reported(klaviyo: Klaviyo, klaviyo_simulator: KlaviyoSimulator) -> None:
    klaviyo.identify(external_id="1815", email="ada@shop.test")
    klaviyo_simulator.fail_next("create_event", status=503)
    with pytest.raises(ServerError) as caught:
        place_order(klaviyo, "1815", "order-2")
    assert caught.value.unique_id == "order-2"
