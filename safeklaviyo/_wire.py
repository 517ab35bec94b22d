"""The current dialect: Klaviyo's JSON:API, revision 2026-10-15, as requests; its answers are read in `_answers`.

Decided here: paths, bodies, and what repeating each request can do. Not here: who somebody is (`_rules`), what the
values may be (`_properties`), hosts, keys and timeouts (`_client`). The legacy dialect is in `_wire_legacy`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from safeklaviyo._answers import PROFILES_PATH as _PROFILES
from safeklaviyo._answers import (
    Page,
    UnreadableAnswer,
    duplicate_profile_id,
    error_class,
    error_from,
    is_from_klaviyo,
    is_success,
    next_path,
    read_account_id,
    read_profile,
    read_profile_ids,
    read_profiles,
    retry_after,
)
from safeklaviyo._flow import Answer, Endpoint, Repeat, Request
from safeklaviyo._properties import NOTHING
from safeklaviyo._values import KB, refused
from safeklaviyo.identity import Identity, Kind, normalise_profile_id
from safeklaviyo.models import CLEAR, Clear

if TYPE_CHECKING:
    from safeklaviyo._event import Event
    from safeklaviyo._properties import Person

__all__ = [
    "ACCOUNTS",
    "CREATE_EVENT",
    "CREATE_PROFILE",
    "ENDPOINTS",
    "GET_PROFILE",
    "GET_PROFILES",
    "MERGE_PROFILES",
    "REQUEST_DELETION",
    "UPDATE_PROFILE",
    "Page",
    "UnreadableAnswer",
    "create_event",
    "create_profile",
    "duplicate_profile_id",
    "error_class",
    "error_from",
    "get_account",
    "get_profile",
    "is_from_klaviyo",
    "is_success",
    "list_profiles",
    "merge_profiles",
    "read_account_id",
    "read_profile",
    "read_profile_ids",
    "read_profiles",
    "request_deletion",
    "retry_after",
    "search_profiles",
    "update_profile",
]

ACCOUNTS: Final = Endpoint("get_accounts", burst=1, steady=15)
CREATE_EVENT: Final = Endpoint("create_event", burst=350, steady=3500, answer=Answer.RECEIPT)
CREATE_PROFILE: Final = Endpoint("create_profile", burst=75, steady=750)
GET_PROFILE: Final = Endpoint("get_profile", burst=75, steady=750)
GET_PROFILES: Final = Endpoint("get_profiles", burst=75, steady=750)
MERGE_PROFILES: Final = Endpoint("merge_profiles", burst=10, steady=150)
REQUEST_DELETION: Final = Endpoint("request_profile_deletion", burst=3, steady=60, answer=Answer.RECEIPT)
UPDATE_PROFILE: Final = Endpoint("update_profile", burst=75, steady=750)
ENDPOINTS: Final = (
    ACCOUNTS, CREATE_EVENT, CREATE_PROFILE, GET_PROFILE, GET_PROFILES, MERGE_PROFILES, REQUEST_DELETION, UPDATE_PROFILE,
)  # fmt: skip

MAX_PROFILE_BYTES: Final = 100 * KB
MAX_EVENT_PROFILE_BYTES: Final = 95 * KB
MAX_BODY_BYTES: Final = 5000 * KB

_PAGE_SIZE: Final = 100
_SUBSCRIPTIONS: Final = "additional-fields%5Bprofile%5D=subscriptions"
_FILTER_NAMES: Final = {
    Kind.EMAIL: "email", Kind.PHONE_NUMBER: "phone_number", Kind.EXTERNAL_ID: "external_id", Kind.PROFILE_ID: "id",
}  # fmt: skip
# Without the check for cycles: `_values` refuses what is nested too deep, so there are none.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode


def search_profiles(kind: Kind, value: str) -> Request:
    """Ask for the profiles that one identifier names. Several may answer in old accounts."""
    # A JSON string: the quotes and backslashes of the value are escaped, so that it cannot end and go on as a clause.
    wanted = f"equals({_FILTER_NAMES[kind]},{_encode(value)})"
    return Request("GET", f"{_PROFILES}?filter={quote(wanted, safe='')}", GET_PROFILES, Repeat.READ)


def list_profiles(
    *, filter: str | None = None, sort: str | None = None, page_size: int = _PAGE_SIZE, cursor_url: str | None = None
) -> Request:
    """Ask for a page of all profiles.

    Args:
        filter: In Klaviyo's filter language.
        cursor_url: The next page's link or path, which holds everything else; its host is not followed.

    Raises:
        UnreadableAnswer: The link leads elsewhere.
    """
    if cursor_url is not None:
        return Request("GET", next_path(cursor_url), GET_PROFILES, Repeat.READ)
    given = {"filter": filter, "sort": sort, "page%5Bsize%5D": str(page_size)}
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in given.items() if value is not None)
    return Request("GET", f"{_PROFILES}?{query}", GET_PROFILES, Repeat.READ)


def get_profile(profile_id: str, *, subscriptions: bool = False) -> Request:
    """Ask for one profile.

    Args:
        subscriptions: Also its consent and suppression.

    Raises:
        InvalidIdentifierError: The id is not made of letters and digits, so it could name another path.
    """
    query = f"?{_SUBSCRIPTIONS}" if subscriptions else ""
    return Request("GET", f"{_PROFILES}/{normalise_profile_id(profile_id)}{query}", GET_PROFILE, Repeat.READ)


def create_profile(identity: Identity, person: Person) -> Request:
    """Create a profile, unless one of its identifiers is another's: then Klaviyo answers 409 and changes nothing.

    A new profile has no lists to append to and nothing to clear, so ``append`` gives its first values, and clearing
    is left out.

    Raises:
        InvalidPropertyError: The body is larger than 100 KB.
    """
    attributes = _without_nulls(person.attributes)
    if location := _without_nulls(attributes.pop("location", {})):
        attributes["location"] = location
    properties = _without_nulls(person.properties)
    properties.update((key, _as_list(value)) for key, value in person.append.items())
    if properties:
        attributes["properties"] = properties
    if identity.external_id is not None:
        attributes["external_id"] = identity.external_id
    if identity.email is not None:
        attributes["email"] = identity.email
    body = _profile_body({"data": {"type": "profile", "attributes": attributes}})
    # Conditional: a repetition answers 409, which says whose the identifiers are.
    return Request("POST", _PROFILES, CREATE_PROFILE, Repeat.IDEMPOTENT, body)


def update_profile(
    profile_id: str,
    person: Person,
    *,
    external_id: str | Clear | None = None,
    email: str | None = None,
    phone_number: str | Clear | None = None,
) -> Request:
    """Change a known profile. Only what is given is sent; `CLEAR` is sent as null.

    Raises:
        InvalidIdentifierError: The profile id is not made of letters and digits.
        InvalidPropertyError: The body is larger than 100 KB.
    """
    data = _profile_data(person)
    attributes = data["attributes"]
    if external_id is not None:
        attributes["external_id"] = None if external_id is CLEAR else external_id
    if email is not None:
        attributes["email"] = email
    if phone_number is not None:
        attributes["phone_number"] = None if phone_number is CLEAR else phone_number
    data["id"] = normalise_profile_id(profile_id)
    repeat = _repeat(person, Repeat.IDEMPOTENT)
    return Request("PATCH", f"{_PROFILES}/{data['id']}", UPDATE_PROFILE, repeat, _profile_body({"data": data}))


def create_event(
    event: Event, *, profile_id: str | None, external_id: str | None, email: str | None, person: Person = NOTHING
) -> Request:
    """Record an event. It never carries a phone number, by which Klaviyo could take it for another customer's.

    Repeated, the event counts once; a list that `person` appends to along with it may then hold a value twice.

    Raises:
        InvalidPropertyError: The body is larger than 5 MB, or its profile larger than 95 KB.
    """
    data = _profile_data(person)
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
    # Only a body that could hold such a profile is encoded again to weigh it.
    if len(body) > MAX_EVENT_PROFILE_BYTES and len(encoded(data)) > MAX_EVENT_PROFILE_BYTES:
        raise refused("customer_properties", "are larger than the 95 KB that Klaviyo accepts with an event")
    # The key makes the event count once; nobody says that it holds for values appended to the profile.
    return Request("POST", "/api/events", CREATE_EVENT, _repeat(person, Repeat.KEYED), body)


def merge_profiles(source: str, destination: str) -> Request:
    """Merge one profile into another. It cannot be undone, and happens some time after the answer.

    Raises:
        InvalidIdentifierError: An id is not made of letters and digits.
    """
    sources = [{"type": "profile", "id": normalise_profile_id(source)}]
    data = {
        "type": "profile-merge",
        "id": normalise_profile_id(destination),
        "relationships": {"profiles": {"data": sources}},
    }
    return Request("POST", "/api/profile-merge", MERGE_PROFILES, Repeat.ONCE, encoded({"data": data}))


def request_deletion(profile_id: str) -> Request:
    """Ask for a profile's deletion by its id, because Klaviyo deletes every profile that an address matches.

    Raises:
        InvalidIdentifierError: The id is not made of letters and digits.
    """
    profile: dict[str, Any] = {"type": "profile", "id": normalise_profile_id(profile_id), "attributes": {}}
    data: dict[str, Any] = {"type": "data-privacy-deletion-job", "attributes": {"profile": {"data": profile}}}
    body = encoded({"data": data})
    return Request("POST", "/api/data-privacy-deletion-jobs", REQUEST_DELETION, Repeat.IDEMPOTENT, body)


def get_account() -> Request:
    """Ask whose key this is."""
    return Request("GET", "/api/accounts", ACCOUNTS, Repeat.READ)


def encoded(document: dict[str, Any]) -> bytes:
    """Return the document as JSON.

    Raises:
        InvalidPropertyError: It is larger than 5 MB, or was changed after it had been checked.
    """
    try:
        body = _encode(document).encode()
    except (TypeError, ValueError, RecursionError):
        # Not chained: the codec's message quotes the text.
        raise refused("properties", "were changed while they were being sent") from None
    if len(body) > MAX_BODY_BYTES:
        raise refused("properties", "make a request larger than the 5 MB that Klaviyo accepts")
    return body


def _repeat(person: Person, otherwise: Repeat) -> Repeat:
    # Klaviyo does not say whether it appends a value that is there already.
    return Repeat.ONCE if person.append or person.unappend else otherwise


def _profile_body(document: dict[str, Any]) -> bytes:
    body = encoded(document)
    if len(body) > MAX_PROFILE_BYTES:
        raise refused("properties", "are larger than the 100 KB that Klaviyo accepts for a profile")
    return body


def _profile_data(person: Person) -> dict[str, Any]:
    attributes = dict(person.attributes)
    if person.properties:
        attributes["properties"] = person.properties
    data: dict[str, Any] = {"type": "profile", "attributes": attributes}
    patch: dict[str, Any] = {}
    if person.append:
        patch["append"] = person.append
    if person.unappend:
        patch["unappend"] = person.unappend
    if person.unset:
        patch["unset"] = list(person.unset)
    if patch:
        data["meta"] = {"patch_properties": patch}
    return data


def _without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]  # pyright: ignore[reportUnknownVariableType] - JSON
