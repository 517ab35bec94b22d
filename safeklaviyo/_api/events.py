"""Requests about events, in the current dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeklaviyo._api.bodies import MAX_EVENT_PROFILE_BYTES, encoded, profile_data, repeat_of
from safeklaviyo._api.messages import Repeat, Request
from safeklaviyo._api.paths import CREATE_EVENT, EVENTS_PATH
from safeklaviyo._input.properties import NOTHING
from safeklaviyo._input.values import refused

if TYPE_CHECKING:
    from safeklaviyo._input.events import Event
    from safeklaviyo._input.properties import Person


def create_event(
    event: Event, *, profile_id: str | None, external_id: str | None, email: str | None, person: Person = NOTHING
) -> Request:
    """Record an event. The request has no phone number, by which Klaviyo could find another customer (R14).

    If the request is repeated, the event counts once. But a list to which `person` appends may then have a value twice.

    Raises:
        InvalidPropertyError: The body is larger than 5 MB, or its profile larger than 95 KB.
    """
    data = profile_data(person)
    # Klaviyo finds the profile by its id first (P2). The pair is sent too, unless `Policy.event_naming` leaves it out.
    if profile_id is not None:
        data["id"] = profile_id
    who = data["attributes"]
    if external_id is not None:
        who["external_id"] = external_id
    if email is not None:
        who["email"] = email
    attributes: dict[str, Any] = {
        "properties": event.properties,
        "time": event.time.isoformat(),
        "unique_id": event.unique_id,
        "metric": {"data": {"type": "metric", "attributes": {"name": event.name}}},
        "profile": {"data": data},
    }
    if event.value is not None:
        attributes["value"] = event.value
    if event.value_currency is not None:
        attributes["value_currency"] = event.value_currency
    if event.backfill:
        attributes["backfill"] = True
    body = encoded({"data": {"type": "event", "attributes": attributes}})
    # The profile is encoded again to measure it, which only a body of that size is worth.
    if len(body) > MAX_EVENT_PROFILE_BYTES and len(encoded(data)) > MAX_EVENT_PROFILE_BYTES:
        raise refused("customer_properties", "are larger than the 95 KB that Klaviyo accepts with an event")
    # The key makes the event count once. Klaviyo does not say that it also makes an appended value count once.
    return Request("POST", EVENTS_PATH, CREATE_EVENT, repeat_of(person, Repeat.KEYED), body)
