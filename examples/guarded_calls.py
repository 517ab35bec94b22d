"""Code that calls Klaviyo itself, put right without a change: observed first, then enforced for one operation.

Shown with a pretend Klaviyo, so it needs no key. In a shop the clients are made with the shop's keys, and stay as long
as the process: ``guard.install(klaviyo_de, klaviyo_fr, mode=…, decision_log=…)``.
"""

import httpx

from safeklaviyo import Klaviyo, guard
from safeklaviyo.testing import KlaviyoSimulator

HEADERS = {"Authorization": "Klaviyo-API-Key pk_shop", "revision": "2026-10-15"}


def order_shipped(url: str, email: str) -> int:
    """Send an event, as the shop has done it for years: by whatever address its order has."""
    profile = {"data": {"type": "profile", "attributes": {"email": email}}}
    metric = {"data": {"type": "metric", "attributes": {"name": "Order Shipped"}}}
    attributes = {"properties": {}, "metric": metric, "profile": profile}
    body = {"data": {"type": "event", "attributes": attributes}}
    return httpx.post(f"{url}/api/events", headers=HEADERS, json=body).status_code


def run() -> None:
    """Change a customer's address, and let the shop go on with the old one."""
    simulator = KlaviyoSimulator(account="AAAAAA", queue_lag=0.0)
    with simulator.serve() as url, Klaviyo("pk_shop", account="AAAAAA", store="memory://", base_url=url) as klaviyo:
        klaviyo.identify(external_id="1815", email="ada@shop.test")
        klaviyo.change_email("ada@new.test", external_id="1815")
        modes: guard.Modes = {"create_event": "enforce", "bulk_unsubscribe_profiles": "enforce"}  # others: observed
        with guard.install(klaviyo, mode=modes, on_store_failure="refuse") as installed:
            print("answered", order_shipped(url, "ada@shop.test"))
            print(installed.counters["rewritten"], "rewritten,", installed.counters["refused"], "refused")
        simulator.drain()
        print(len(simulator.profiles), "profile,", len(simulator.events), "event")


if __name__ == "__main__":
    run()
