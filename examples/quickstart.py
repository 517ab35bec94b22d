"""The first steps, against the simulator. With Klaviyo itself: set KLAVIYO_API_KEY, and write ``Klaviyo()``."""

import httpx

from safeklaviyo import EmailMismatchError, Klaviyo
from safeklaviyo.testing import KlaviyoSimulator


def run(klaviyo: Klaviyo) -> None:
    # Somebody signs up: one profile, with the shop's own id and the address on it.
    ada = klaviyo.identify({"first_name": "Ada"}, external_id="1815", email="ada@shop.test")
    print(f"identified by {ada.rule}, created: {ada.created}")

    # From now on either identifier is enough.
    klaviyo.track("Viewed Product", email="ada@shop.test", properties={"sku": "engine"})
    klaviyo.track("Placed Order", external_id="1815", value=12.5, value_currency="EUR", unique_id="order-1")

    # An address is changed by the verb that says so, never in passing.
    try:
        klaviyo.identify(external_id="1815", email="lovelace@shop.test")
    except EmailMismatchError as error:
        print(f"refused by {error.rule}: {error}")
    change = klaviyo.change_email("lovelace@shop.test", external_id="1815")
    print(f"email {change.status}")

    # Whoever still calls with the former address means the same customer.
    late = klaviyo.track("Opened Invoice", email="ada@shop.test")
    print(f"tracked by {late.rule}")
    print(f"explained: {klaviyo.explain(email='ada@shop.test').reason}")


def main() -> None:
    simulator = KlaviyoSimulator()
    with (
        httpx.Client(transport=simulator.transport) as http,
        Klaviyo("pk_example", store="memory://", http_client=http) as klaviyo,
    ):
        run(klaviyo)
    simulator.drain()
    print(f"{len(simulator.profiles)} profile, {len(simulator.events)} events")


if __name__ == "__main__":
    main()
