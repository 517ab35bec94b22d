"""A shop that calls Klaviyo's endpoints itself, with a guard between: what the tests of the guard share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx

from safeklaviyo import guard
from safeklaviyo.guard._core import COUNTERS, OBSERVED, Core, is_busy
from safeklaviyo.guard._keys import Keys
from safeklaviyo.guard._parse.asked import Asked, read
from safeklaviyo.guard._parse.operations import operation_of, split_url
from safeklaviyo.guard._parse.spans import EACH, scan
from safeklaviyo.guard._plans import Incoming
from safeklaviyo.guard._write.edits import Edits
from safeklaviyo.guard._write.replies import Reply

if TYPE_CHECKING:
    from safeklaviyo import Klaviyo
    from safeklaviyo.testing import KlaviyoSimulator

__all__ = [
    "COUNTERS",
    "EACH",
    "KEY",
    "OBSERVED",
    "REVISION",
    "Asked",
    "Core",
    "Edits",
    "Incoming",
    "Keys",
    "Reply",
    "Shop",
    "bulk_events",
    "bulk_rows",
    "event",
    "is_busy",
    "keys_of",
    "operation_of",
    "profile",
    "read",
    "scan",
    "split_url",
]

KEY = "pk_simulator"
REVISION = "2026-10-15"


class Shop:
    """A shop with plain HTTP calls, through a guard.

    Attributes:
        sent: The bodies that have reached the simulator through the shop's own calls.
    """

    def __init__(self, simulator: KlaviyoSimulator, k: Klaviyo, *, patience: float = 10.0, **options: Any) -> None:
        self.simulator = simulator
        self.sent: list[httpx.Request] = []
        inner = _Recording(simulator, self.sent)
        self.transport = guard.transport(k, inner, **options)
        self.transport.guard.patience = patience  # a busy machine may take longer than an observed call waits
        headers = {"Authorization": f"Klaviyo-API-Key {KEY}", "revision": REVISION}
        self.http = httpx.Client(transport=self.transport, base_url="https://a.klaviyo.com", headers=headers)

    @property
    def counters(self) -> dict[str, int]:
        """What the guard has counted, without what it has not."""
        return {name: number for name, number in self.transport.guard.counters.items() if number}

    def post(self, path: str, data: Any, **options: Any) -> httpx.Response:
        """POST a document."""
        return self.http.post(path, json={"data": data}, **options)

    def event(self, **who: Any) -> httpx.Response:
        """Send an event about a person."""
        return self.post("/api/events", event(**who))

    def upsert(self, **attributes: Any) -> httpx.Response:
        """Create or update a profile."""
        return self.post("/api/profile-import", profile(**attributes))

    def create(self, **attributes: Any) -> httpx.Response:
        """Create a profile."""
        return self.post("/api/profiles", profile(**attributes))

    def patch(self, profile_id: str, **attributes: Any) -> httpx.Response:
        """Update a profile by its id."""
        data = {"type": "profile", "id": profile_id, "attributes": attributes}
        return self.http.patch(f"/api/profiles/{profile_id}", json={"data": data})

    @property
    def last(self) -> Any:
        """The document of the shop's last call as it has reached the simulator."""
        return json.loads(self.sent[-1].content)["data"]


def keys_of(shop: Shop) -> Keys:
    """Return the keys that a shop's guard has given of late."""
    keys = shop.transport.guard._keys
    assert keys is not None
    return keys


class _Recording(httpx.BaseTransport):
    def __init__(self, simulator: KlaviyoSimulator, sent: list[httpx.Request]) -> None:
        self._simulator = simulator
        self._sent = sent

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self._sent.append(request)
        return self._simulator.transport.handle_request(request)


def event(metric: str = "Placed Order", **who: Any) -> dict[str, Any]:
    """Return an event about a person, without a key and a time, as integrations send it."""
    attributes = {
        "properties": {"number": 1},
        "metric": {"data": {"type": "metric", "attributes": {"name": metric}}},
        "profile": {"data": {"type": "profile", "attributes": who}},
    }
    return {"type": "event", "attributes": attributes}


def profile(**attributes: Any) -> dict[str, Any]:
    """Return a profile."""
    return {"type": "profile", "attributes": attributes}


def bulk_events(*people: dict[str, Any]) -> dict[str, Any]:
    """Return a job with one event for each person."""
    metric = {"data": {"type": "metric", "attributes": {"name": "Placed Order"}}}
    listed = [
        {
            "type": "event-bulk-create",
            "attributes": {
                "profile": {"data": profile(**who)},
                "events": {"data": [{"type": "event", "attributes": {"properties": {"n": n}, "metric": metric}}]},
            },
        }
        for n, who in enumerate(people)
    ]
    return {"type": "event-bulk-create-job", "attributes": {"events-bulk-create": {"data": listed}}}


def bulk_rows(kind: str, *people: dict[str, Any], **related: Any) -> dict[str, Any]:
    """Return a job about people."""
    job: dict[str, Any] = {"type": kind, "attributes": {"profiles": {"data": [profile(**who) for who in people]}}}
    if related:
        job["relationships"] = {name: {"data": {"type": name, "id": value}} for name, value in related.items()}
    return job
