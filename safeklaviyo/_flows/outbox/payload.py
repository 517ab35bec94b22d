"""The arguments of a row's verb, as JSON. They were checked when the row was queued, and are not checked again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import to_json

from safeklaviyo._input.events import Event
from safeklaviyo._input.findings import refused
from safeklaviyo._input.properties import Person
from safeklaviyo.identity import Claim

if TYPE_CHECKING:
    from safeklaviyo.stores.outbox.records import Row


def encode(claim: Claim, **parts: Any) -> str:
    """Return a row's payload.

    Raises:
        InvalidPropertyError: A value was changed after it had been checked.
    """
    document = {"claim": claim._asdict(), **parts}
    try:
        text = to_json(document)
        if text.isascii():
            return text.decode()
    except (TypeError, ValueError):
        pass  # json decides whether it can be written
    try:
        # Other letters as escapes: the caller's connection may have an encoding that lacks them.
        return json.dumps(document, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        # Not chained: the codec's message quotes the text.
        raise refused("properties", "were changed while they were being queued; queue a copy") from None


def fields_of(person: Person) -> dict[str, Any]:
    """Return the fields of a person by their names. Unlike `asdict` it copies nothing."""
    return dict(zip(_OF_PERSON, _read_person(person), strict=True))


_OF_PERSON: Final[tuple[str, ...]] = tuple(Person.__slots__)
_read_person: Final = attrgetter(*_OF_PERSON)


def decode(row: Row) -> dict[str, Any]:
    """Return a row's payload."""
    payload: dict[str, Any] = json.loads(row.payload)
    return payload


def claim_from_payload(payload: dict[str, Any]) -> Claim:
    """Return the claim that a row was queued with."""
    return Claim(**payload["claim"])


def event_parts(event: Event) -> dict[str, Any]:
    """Return an event as parts of a payload."""
    parts = event._asdict()
    parts["time"] = event.time.timestamp()
    return parts


def event_from_payload(payload: dict[str, Any]) -> Event:
    """Return the event that a row was queued with."""
    fields = payload["event"]
    return Event(**fields | {"time": datetime.fromtimestamp(fields["time"], UTC)})


def person_from_payload(payload: dict[str, Any]) -> Person:
    """Return the properties that a row was queued with."""
    fields = payload["person"]
    return Person(**fields | {"unset": tuple(fields["unset"])})
