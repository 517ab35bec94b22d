"""A client of the simulator's, for the tests of a shop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from safeklaviyo import Klaviyo

if TYPE_CHECKING:
    from safeklaviyo.testing.simulator import KlaviyoSimulator

__all__ = ["Klaviyo", "client"]


def client(simulator: KlaviyoSimulator, **options: Any) -> Klaviyo:
    """Return a client that sends to a simulator and remembers in memory, unless the options say otherwise."""
    # The client does not close what it is handed. Nothing is open here: the transport has no connection.
    http_client = httpx.Client(transport=simulator.transport)
    usual: dict[str, Any] = {"store": "memory://", "http_client": http_client}
    if "access_token" not in options:
        usual["api_key"] = "pk_simulator"
    return Klaviyo(**usual | options)
