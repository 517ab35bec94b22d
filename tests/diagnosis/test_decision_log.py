"""The guard's own decision log is a log that can be diagnosed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from safeklaviyo import guard
from safeklaviyo.audit import diagnose
from safeklaviyo.testing import KlaviyoSimulator

if TYPE_CHECKING:
    from pathlib import Path


def event(**who: str) -> dict[str, Any]:
    """Return an event's body."""
    metric = {"data": {"type": "metric", "attributes": {"name": "Paid"}}}
    profile = {"data": {"type": "profile", "attributes": who}}
    return {"data": {"type": "event", "attributes": {"properties": {}, "metric": metric, "profile": profile}}}


def test_an_observed_day_is_diagnosed(tmp_path: Path) -> None:
    """From hashes alone: the sign-up, the change of address, and the event by the former one in another spelling."""
    log, simulator = tmp_path / "decisions.jsonl", KlaviyoSimulator(queue_lag=0.0)
    headers = {"Authorization": "Klaviyo-API-Key pk_simulator", "revision": "2026-07-15"}
    signed_up = {"external_id": "1815", "email": "ada@shop.test"}
    with simulator.client(account="SiMuLa") as klaviyo:
        hook = guard.transport(klaviyo, simulator.transport, mode="observe", decision_log=log)
        with httpx.Client(base_url="https://a.klaviyo.com", transport=hook, headers=headers) as http:
            made = http.post("/api/profile-import", json={"data": {"type": "profile", "attributes": signed_up}})
            profile_id = made.json()["data"]["id"]
            new = {"data": {"type": "profile", "id": profile_id, "attributes": {"email": "ada@new.test"}}}
            http.patch(f"/api/profiles/{profile_id}", json=new)
            http.post("/api/events", json=event(email="ADA@shop.test"))
    assert "ada@" not in log.read_text().lower()
    found = diagnose(log)
    assert ("old address", [0, 1, 2], True) == (found.situation, [call.index for call in found.calls], found.certain)
    assert [] == [each for each in found.prevented if "Error" in each]
