"""Requests about consent, in the current dialect: subscribing, unsubscribing, suppressing, and what they need to know.

Decided here: bodies, and how answers are read. Who may be named in them is decided by R18 and R19 (`_rules.consent`).
Klaviyo accepts each such request (202), and carries it out minutes later.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

from safeklaviyo._api.bodies import encoded, encoded_text
from safeklaviyo._api.messages import Repeat, Request
from safeklaviyo._api.paths import (
    EVENTS_PATH,
    GET_EVENTS,
    GET_LIST,
    GET_LIST_PROFILES,
    LISTS_PATH,
    SUBSCRIBE_PROFILES,
    SUBSCRIBING_PATH,
    SUPPRESS_PROFILES,
    SUPPRESSING_PATH,
    UNSUBSCRIBE_PROFILES,
    UNSUBSCRIBING_PATH,
    UNSUPPRESS_PROFILES,
    UNSUPPRESSING_PATH,
)
from safeklaviyo._api.responses import UnreadableAnswer
from safeklaviyo.identity import Kind, normalise_profile_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from safeklaviyo._api.messages import Response
    from safeklaviyo._input.consents import Agreement
    from safeklaviyo.consent import Channel

MOST_GIVEN: Final = 1000
"""Rows of one request that subscribes."""
MOST_WITHDRAWN: Final = 100
"""Rows of one request that withdraws or suppresses."""

_KEYS: Final[dict[str, tuple[str, str]]] = {
    "email": ("email", "marketing"),
    "sms": ("sms", "marketing"),
    "sms_transactional": ("sms", "transactional"),
    "whatsapp": ("whatsapp", "marketing"),
    "whatsapp_transactional": ("whatsapp", "transactional"),
}
_DOUBLE: Final = "double_opt_in"


@dataclass(frozen=True, slots=True)
class Addressee:
    """One row of a request that withdraws: an address or a number that a living profile has, and what is withdrawn."""

    channels: tuple[Channel, ...]
    email: str | None = None
    phone_number: str | None = None


def subscribe_profile(
    profile_id: str,
    channels: Sequence[Channel],
    agreement: Agreement,
    *,
    list_id: str | None = None,
    email: str | None = None,
    phone_number: str | None = None,
) -> Request:
    """Give consent for one profile, named by its id.

    Args:
        email: Only where Klaviyo does not take a row with the id alone: the profile's own address. An address of a
            channel that is not among `channels` would be set on the profile (Klaviyo's OpenAPI description).
        phone_number: Same, for its number.
    """
    said: dict[str, Any] = {"consent": "SUBSCRIBED"}
    # Klaviyo takes a date with `historical_import` only; without, every sign-up by date would skip double opt-in.
    if agreement.historical and agreement.consented_at is not None:
        said["consented_at"] = datetime.fromtimestamp(agreement.consented_at, UTC).isoformat(timespec="seconds")
    attributes: dict[str, Any] = {"subscriptions": _subscriptions(channels, said)}
    named = {"email": email, "phone_number": phone_number, "age_gated_date_of_birth": agreement.date_of_birth}
    attributes |= {name: value for name, value in named.items() if value is not None}
    row = {"type": "profile", "id": normalise_profile_id(profile_id), "attributes": attributes}
    job: dict[str, Any] = {"profiles": {"data": [row]}, "historical_import": agreement.historical}
    if agreement.source is not None:
        job["custom_source"] = agreement.source
    return _job("profile-subscription-bulk-create-job", job, list_id, SUBSCRIBING_PATH)


def unsubscribe_profiles(addressees: Iterable[Addressee], *, list_id: str | None = None) -> Request:
    """Withdraw consent. Klaviyo takes no profile id here, and creates a profile for an address that has none.

    Args:
        list_id: Withdraw from this list alone. Klaviyo unsubscribes those who are not in it from everything.
    """
    rows: list[dict[str, Any]] = []
    for each in addressees:
        attributes: dict[str, Any] = {"subscriptions": _subscriptions(each.channels, {"consent": "UNSUBSCRIBED"})}
        if each.email is not None:
            attributes["email"] = each.email
        if each.phone_number is not None:
            attributes["phone_number"] = each.phone_number
        rows.append({"type": "profile", "attributes": attributes})
    job = {"profiles": {"data": rows}}
    return _job("profile-subscription-bulk-delete-job", job, list_id, UNSUBSCRIBING_PATH)


def suppress_profiles(emails: Iterable[str], *, lift: bool = False) -> Request:
    """Suppress addresses, or lift a suppression of that kind (``USER_SUPPRESSED``)."""
    rows = [{"type": "profile", "attributes": {"email": email}} for email in emails]
    kind = f"profile-suppression-bulk-{'delete' if lift else 'create'}-job"
    return _job(kind, {"profiles": {"data": rows}}, None, UNSUPPRESSING_PATH if lift else SUPPRESSING_PATH)


def taken_apart(request: Request) -> tuple[str, list[dict[str, Any]]]:
    """Return what a request says of all its rows, and the rows.

    The texts are equal for requests that may be joined: about one list, with one source, all imports or none.
    """
    document = cast("dict[str, Any]", json.loads(request.body or b""))
    profiles = document["data"]["attributes"]["profiles"]
    rows = cast("list[dict[str, Any]]", profiles.pop("data"))
    return request.path + encoded_text(document), rows


def put_together(request: Request, rows: list[dict[str, Any]]) -> Request:
    """Return a request with the rows of many, and all else as in this one."""
    document = cast("dict[str, Any]", json.loads(request.body or b""))
    document["data"]["attributes"]["profiles"] = {"data": rows}
    return replace(request, body=encoded(document))


_ENDPOINTS: Final = {
    SUBSCRIBING_PATH: SUBSCRIBE_PROFILES,
    UNSUBSCRIBING_PATH: UNSUBSCRIBE_PROFILES,
    SUPPRESSING_PATH: SUPPRESS_PROFILES,
    UNSUPPRESSING_PATH: UNSUPPRESS_PROFILES,
}


def _job(kind: str, attributes: dict[str, Any], list_id: str | None, path: str) -> Request:
    data: dict[str, Any] = {"type": kind, "attributes": attributes}
    if list_id is not None:
        data["relationships"] = {"list": {"data": {"type": "list", "id": list_id}}}
    # Twice is once, while the lease holds: both requests would say the same of the same profile.
    return Request("POST", path, _ENDPOINTS[path], Repeat.IDEMPOTENT, encoded({"data": data}))


def _subscriptions(channels: Iterable[Channel], said: dict[str, Any]) -> dict[str, dict[str, Any]]:
    subscriptions: dict[str, dict[str, Any]] = {}
    for channel in channels:
        medium, purpose = _KEYS[channel]
        subscriptions.setdefault(medium, {})[purpose] = said
    return subscriptions


def said_of(subscriptions: dict[str, Any] | None, channel: Channel) -> dict[str, Any] | None:
    """Return what Klaviyo shows of a channel: None where it shows nothing at all, empty where nothing was ever said."""
    if subscriptions is None:
        return None
    medium, purpose = _KEYS[channel]
    if medium not in subscriptions:
        return None
    return _fields(_fields(subscriptions[medium]).get(purpose))


def get_list(list_id: str) -> Request:
    """Ask for a list."""
    return Request("GET", f"{LISTS_PATH}/{list_id}", GET_LIST, Repeat.READ)


def is_double_opt_in(response: Response) -> bool:
    """Tell whether a list asks its members to confirm.

    Raises:
        UnreadableAnswer: The answer is not about a list.
    """
    attributes = _fields(_fields(_fields(response.json).get("data")).get("attributes"))
    process = attributes.get("opt_in_process")
    if not isinstance(process, str):
        raise UnreadableAnswer("the answer does not say how the list is joined")
    return process == _DOUBLE


def find_in_list(list_id: str, kind: Kind, value: str) -> Request:
    """Ask for the members of a list that have an address or a number. `read_profile_ids` reads the answer."""
    wanted = quote(f"equals({kind.value},{encoded_text(value)})", safe="")
    return Request("GET", f"{LISTS_PATH}/{list_id}/profiles?filter={wanted}", GET_LIST_PROFILES, Repeat.READ)


def get_events_since(profile_id: str, since: float) -> Request:
    """Ask for a profile's events from a moment on, with the names of their metrics."""
    moment = datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds")
    wanted = f"equals(profile_id,{encoded_text(profile_id)}),greater-or-equal(datetime,{moment})"
    path = f"{EVENTS_PATH}?filter={quote(wanted, safe='')}&include=metric&page%5Bsize%5D=1000"
    return Request("GET", path, GET_EVENTS, Repeat.READ)


def read_event_names(response: Response) -> tuple[str, ...]:
    """Return the names of the metrics of the events in an answer."""
    body = _fields(response.json)
    names: dict[object, object] = {}
    for each in _items(body.get("included")):
        if each.get("type") == "metric":
            names[each.get("id")] = _fields(each.get("attributes")).get("name")
    return tuple(_names(_items(body.get("data")), names))


def _names(events: Iterable[dict[str, Any]], names: dict[object, object]) -> Iterator[str]:
    for event in events:
        metric = _fields(_fields(_fields(event.get("relationships")).get("metric")).get("data"))
        name = names.get(metric.get("id"))
        if isinstance(name, str):
            yield name


def _fields(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _items(value: object) -> list[dict[str, Any]]:
    return [_fields(each) for each in cast("list[object]", value)] if isinstance(value, list) else []
