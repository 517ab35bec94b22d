"""Moving from raw HTTP calls: the same three calls of a shop, before and after, and what each leaves in Klaviyo."""

import httpx

from safeklaviyo import Klaviyo
from safeklaviyo.testing import KlaviyoSimulator


def before(http: httpx.Client) -> None:
    def post(path: str, data: dict[str, object]) -> None:
        http.post(path, json={"data": data}).raise_for_status()

    def track(name: str, **profile: str) -> None:
        metric = {"data": {"type": "metric", "attributes": {"name": name}}}
        person = {"data": {"type": "profile", "attributes": profile}}
        post("/api/events", {"type": "event", "attributes": {"properties": {}, "metric": metric, "profile": person}})

    attributes = {"external_id": "1815", "email": "ada@shop.test"}
    post("/api/profile-import", {"type": "profile", "attributes": attributes})
    attributes = {"external_id": "1815", "email": "lovelace@shop.test"}
    post("/api/profile-import", {"type": "profile", "attributes": attributes})
    track("Opened Invoice", email="ada@shop.test")


def after(klaviyo: Klaviyo) -> None:
    # The keys of the retired API are understood, so that a shop can move its calls over one by one.
    klaviyo.identify({"$id": "1815", "$email": "ada@shop.test"})
    klaviyo.change_email("lovelace@shop.test", external_id="1815")
    klaviyo.track("Opened Invoice", customer_properties={"$email": "ada@shop.test"})


def main() -> None:
    headers = {"Authorization": "Klaviyo-API-Key pk_example", "revision": "2026-10-15"}

    raw = KlaviyoSimulator()
    with httpx.Client(transport=raw.transport, base_url="https://a.klaviyo.com", headers=headers) as http:
        before(http)
    raw.drain()
    print(f"before: {len(raw.profiles)} profiles of one customer")

    safe = KlaviyoSimulator()
    with (
        httpx.Client(transport=safe.transport) as http,
        Klaviyo("pk_example", store="memory://", http_client=http) as klaviyo,
    ):
        # What the shop knows already is told to the map first; `safeklaviyo bindings import` does it from a file.
        klaviyo.bindings.add([{"external_id": "1791", "email": "charles@shop.test"}])
        after(klaviyo)
    safe.drain()
    print(f"after: {len(safe.profiles)} profile of one customer")


if __name__ == "__main__":
    main()
