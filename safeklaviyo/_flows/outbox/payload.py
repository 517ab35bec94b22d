"""The arguments of a row's verb, as JSON. They were checked when the row was queued, and are not checked again."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from safeklaviyo._input.events import Event
from safeklaviyo._input.properties import Person
from safeklaviyo.identity import Claim

if TYPE_CHECKING:
    from safeklaviyo.stores.outbox.records import Row


def encode(claim: Claim, **parts: Any) -> str:
    """Return a row's payload."""
    return json.dumps({"claim": asdict(claim), **parts}, separators=(",", ":"))


def decode(row: Row) -> dict[str, Any]:
    """Return a row's payload."""
    payload: dict[str, Any] = json.loads(row.payload)
    return payload


def claim_from_payload(payload: dict[str, Any]) -> Claim:
    """Return the claim that a row was queued with."""
    return Claim(**payload["claim"])


def event_parts(event: Event) -> dict[str, Any]:
    """Return an event as parts of a payload."""
    fields = asdict(event)
    return fields | {"time": event.time.timestamp()}


def event_from_payload(payload: dict[str, Any]) -> Event:
    """Return the event that a row was queued with."""
    fields = payload["event"]
    return Event(**fields | {"time": datetime.fromtimestamp(fields["time"], UTC)})


def person_from_payload(payload: dict[str, Any]) -> Person:
    """Return the properties that a row was queued with."""
    fields = payload["person"]
    return Person(**fields | {"unset": tuple(fields["unset"])})
