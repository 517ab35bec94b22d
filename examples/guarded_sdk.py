"""Klaviyo's own SDK, `klaviyo-api`: a nightly sync, which makes duplicates, and the same code guarded.

The functions know nothing of safeklaviyo. A shop adds one line, which puts the guard into its client of the SDK.
"""

from typing import Any, cast

from klaviyo_api import KlaviyoAPI  # pyright: ignore[reportMissingTypeStubs] - it has none
from openapi_client.exceptions import ApiException

from safeklaviyo import Klaviyo, guard
from safeklaviyo.testing import KlaviyoSimulator

# The shop, as it has been for years.


def sync_customer(api: Any, customer: str, email: str) -> str:
    """Create or update a customer, and return the id of their profile."""
    attributes = {"external_id": customer, "email": email}
    answer = api.Profiles.create_or_update_profile({"data": {"type": "profile", "attributes": attributes}})
    return str(answer.data.id)


def change_address(api: Any, profile_id: str, email: str) -> None:
    data = {"type": "profile", "id": profile_id, "attributes": {"email": email}}
    api.Profiles.update_profile(profile_id, {"data": data})


def sync_event(api: Any, name: str, key: str, **who: str) -> bool:
    attributes = {
        "unique_id": key,
        "properties": {},
        "metric": {"data": {"type": "metric", "attributes": {"name": name}}},
        "profile": {"data": {"type": "profile", "attributes": who}},
    }
    try:
        api.Events.create_event({"data": {"type": "event", "attributes": attributes}})
    except ApiException as error:
        print("  refused:", cast("Any", error).status)
        return False
    return True


# A night of it: invoices name the address of the order, and the till names nobody but an id of its own.


def night(api: Any) -> None:
    profile_id = sync_customer(api, "1815", "Ada@Shop.test")
    change_address(api, profile_id, "ada@new.test")
    sync_event(api, "Sent Invoice", "invoice-7", email="ada@shop.test")
    is_taken = sync_event(api, "Paid At Till", "till-1", external_id="1852")  # before the customer has signed up
    sync_customer(api, "1852", "byron@shop.test")
    if not is_taken:  # what was refused is sent again
        sync_event(api, "Paid At Till", "till-1", external_id="1852")


def told(simulator: KlaviyoSimulator, way: str) -> None:
    simulator.drain()
    customers = {each.id for each in simulator.profiles if each.external_id and each.email}
    theirs = sum(1 for each in simulator.events if each.profile_id in customers)
    print(f"{way}: {len(simulator.profiles) - 2} duplicate, {theirs} of 2 events on their customers")


def main() -> None:
    simulator = KlaviyoSimulator(account="AbC123", queue_lag=0.0)
    with simulator.serve() as url:
        night(KlaviyoAPI("pk_shop", max_retries=1, test_host=url))
    told(simulator, "raw")

    simulator = KlaviyoSimulator(account="AbC123", queue_lag=0.0)
    with (
        simulator.serve() as url,
        Klaviyo("pk_shop", account="AbC123", store="memory://", base_url=url) as klaviyo,
    ):
        api: Any = KlaviyoAPI("pk_shop", max_retries=1, test_host=url)
        api.api_client.rest_client = guard.sdk(klaviyo, api.api_client.rest_client, mode="enforce")
        night(api)
    told(simulator, "guarded")


if __name__ == "__main__":
    main()
