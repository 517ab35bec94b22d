"""Requests about events, in the current dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from safeklaviyo._api.bodies import MAX_EVENT_PROFILE_BYTES, encoded, profile_data, repeat_of
from safeklaviyo._api.messages import Repeat, Request
from safeklaviyo._api.paths import CREATE_EVENT, EVENTS_PATH
from safeklaviyo._input.findings import refused
from safeklaviyo._input.properties import NOTHING

if TYPE_CHECKING:
    from safeklaviyo._input.events import Event
    from safeklaviyo._input.properties import Person


class EventForm(NamedTuple):
    """What a revision makes of Create Event (Klaviyo's changelog, and its schemas of each revision).

    Attributes:
        meta_beside_attributes: The profile's ``meta``, with changes of lists, stands beside its attributes, not among
            them. Where it is not looked for, it is dropped without a word.
        has_backfill: An event can be kept from starting flows.
    """

    meta_beside_attributes: bool = True
    has_backfill: bool = True

    @classmethod
    def of(cls, revision: str) -> EventForm:
        """Return the form in a revision. A retired one is answered as the oldest that is live, in the older form."""
        # Klaviyo's sources disagree on whether 2026-04-15 knows `backfill`. The later date is safe either way.
        return cls(revision >= "2026-10-15", revision >= "2026-07-15")


def create_event(
    event: Event,
    *,
    profile_id: str | None,
    external_id: str | None,
    email: str | None,
    person: Person = NOTHING,
    form: EventForm = EventForm(),  # noqa: B008 - immutable
) -> Request:
    """Record an event. The request has no phone number, by which Klaviyo could find another customer (R14).

    If the request is repeated, the event counts once. But a list to which `person` appends may then have a value twice.

    Raises:
        InvalidPropertyError: The body is larger than 5 MB, its profile larger than 95 KB, or the event a backfill that
            the revision would not know from an event of today.
    """
    check_backfill(event, form)
    data = profile_data(person)
    # Klaviyo finds the profile by its id first (P2). The pair is sent too, unless `Policy.event_naming` leaves it out.
    if profile_id is not None:
        data["id"] = profile_id
    who = data["attributes"]
    if "meta" in data and not form.meta_beside_attributes:
        who["meta"] = data.pop("meta")
    if external_id is not None:
        who["external_id"] = external_id
    if email is not None:
        who["email"] = email
    attributes = event_attributes(event)
    attributes["profile"] = {"data": data}
    body = encoded({"data": {"type": "event", "attributes": attributes}})
    # The profile is encoded again to measure it, which only a body of that size is worth.
    if len(body) > MAX_EVENT_PROFILE_BYTES and len(encoded(data)) > MAX_EVENT_PROFILE_BYTES:
        raise refused("customer_properties", "are larger than the 95 KB that Klaviyo accepts with an event")
    # The key makes the event count once. Klaviyo does not say that it also makes an appended value count once.
    return Request("POST", EVENTS_PATH, CREATE_EVENT, repeat_of(person, Repeat.KEYED), body)


def check_backfill(event: Event, form: EventForm) -> None:
    """Refuse a backfill that the revision would not know from an event of today.

    Raises:
        InvalidPropertyError: The revision does not know ``backfill``, and would run flows.
    """
    if event.backfill and not form.has_backfill:
        raise refused("backfill", "is not known to this revision, which would run flows; use 2026-07-15 or later")


def event_attributes(event: Event) -> dict[str, Any]:
    """Return an event's own attributes, without its profile."""
    attributes: dict[str, Any] = {
        "properties": event.properties,
        "time": event.time.isoformat(),
        "unique_id": event.unique_id,
        "metric": {"data": {"type": "metric", "attributes": {"name": event.name}}},
    }
    if event.value is not None:
        attributes["value"] = event.value
    if event.value_currency is not None:
        attributes["value_currency"] = event.value_currency
    if event.backfill:
        attributes["backfill"] = True
    return attributes
