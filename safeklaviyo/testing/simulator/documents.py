"""Profiles as JSON:API documents (Klaviyo's *Get Profile* reference)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from safeklaviyo.testing.simulator.checks import PLACES, TEXTS
from safeklaviyo.testing.simulator.consent_documents import moment, subscriptions
from safeklaviyo.testing.simulator.persons import LOCATION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo.testing.simulator.records import JSON, Event, Profile

KLAVIYO = "https://a.klaviyo.com"
SUBSCRIPTIONS = "subscriptions"
PREDICTIVE_ANALYTICS = "predictive_analytics"
ADDITIONAL = frozenset({SUBSCRIPTIONS, PREDICTIVE_ANALYTICS})
NAMES = frozenset({
    "email", "phone_number", "external_id", "anonymous_id", "whatsapp_bsuid", *TEXTS, "created", "updated",
    "last_event_date", LOCATION, "properties", *ADDITIONAL,
})  # fmt: skip
"""The attributes that ``fields[profile]`` may name."""

_RELATED = ("lists", "segments", "push-tokens", "conversation")


def profile_document(
    profile: Profile, *, base: str = KLAVIYO, additional: Iterable[str] = (), only: frozenset[str] | None = None
) -> JSON:
    """Return one profile.

    Args:
        base: Scheme and host of the links.
        additional: Of `ADDITIONAL`.
        only: The attributes to keep; None for all.
    """
    attributes = _attributes(profile)
    if SUBSCRIPTIONS in additional:
        attributes[SUBSCRIPTIONS] = subscriptions(profile)
    if PREDICTIVE_ANALYTICS in additional:
        attributes[PREDICTIVE_ANALYTICS] = None
    if only is not None:
        attributes = {name: value for name, value in attributes.items() if name in only}
    url = f"{base}/api/profiles/{quote(profile.id)}"
    return {
        "type": "profile",
        "id": profile.id,
        "attributes": attributes,
        "relationships": {
            name: {"links": {"self": f"{url}/relationships/{name}", "related": f"{url}/{name}"}} for name in _RELATED
        },
        "links": {"self": url},
    }


def _attributes(profile: Profile) -> JSON:
    location = profile.attributes.get(LOCATION, {})
    return {
        "email": profile.email,
        "phone_number": profile.phone_number,
        "external_id": profile.external_id,
        "anonymous_id": None,
        "whatsapp_bsuid": None,
        **{name: profile.attributes.get(name) for name in TEXTS},
        "created": moment(profile.created),
        "updated": moment(profile.updated),
        "last_event_date": moment(profile.last_event_date),
        LOCATION: {name: location.get(name) for name in sorted(PLACES)},
        "properties": profile.properties,
    }


def event_document(event: Event, *, base: str = KLAVIYO) -> JSON:
    """Return one event, as *Get Events* shows it: the unique id and the value among the properties."""
    shown = {**event.properties, "$event_id": event.unique_id or str(event.time)}
    if event.value is not None:
        shown["$value"] = event.value
    if event.value_currency is not None:
        shown["$value_currency"] = event.value_currency
    return {
        "type": "event",
        "id": event.id,
        "attributes": {
            "timestamp": event.time,
            "event_properties": shown,
            "datetime": datetime.fromtimestamp(event.time, UTC).isoformat(),
            "uuid": event.id,
        },
        "relationships": {"profile": {"data": {"type": "profile", "id": event.profile_id}}},
        "links": {"self": f"{base}/api/events/{event.id}"},
    }
