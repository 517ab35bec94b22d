"""Requests about profiles, in the current dialect: reading, creating, changing, merging, deleting.

Decided here: bodies, and what repeating each request can do. Not here: who a customer is (`_rules`), what values may be
(`_input`), hosts, keys and timeouts (`_runtime`). Answers are read in `responses`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from safeklaviyo._api.bodies import (
    MAX_PROFILE_BYTES,
    encoded,
    encoded_text,
    profile_body,
    profile_data,
    repeat_of,
)
from safeklaviyo._api.messages import Repeat, Request
from safeklaviyo._api.paths import (
    CREATE_PROFILE,
    DELETIONS_PATH,
    GET_PROFILE,
    GET_PROFILES,
    MERGE_PROFILES,
    MERGES_PATH,
    PROFILES_PATH,
    REQUEST_DELETION,
    UPDATE_PROFILE,
)
from safeklaviyo._api.responses import next_path
from safeklaviyo._input.findings import refused
from safeklaviyo.identity import Identity, Kind, normalise_profile_id
from safeklaviyo.models import CLEAR, Clear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeklaviyo._input.properties import Person

_PAGE_SIZE: Final = 100
IDENTIFIERS: Final = "email,external_id,phone_number"
"""The attributes that name a person."""
SUBSCRIPTIONS: Final = "additional-fields%5Bprofile%5D=subscriptions"
_FILTER_NAMES: Final = {
    Kind.EMAIL: "email", Kind.PHONE_NUMBER: "phone_number", Kind.EXTERNAL_ID: "external_id", Kind.PROFILE_ID: "id",
}  # fmt: skip


def search_profiles(kind: Kind, value: str) -> Request:
    """Ask for the profiles that one identifier names. Several may answer in old accounts."""
    # A JSON string: quotes and backslashes in the value are escaped, so that it cannot end the string and add a clause
    # (F-6).
    wanted = f"equals({_FILTER_NAMES[kind]},{encoded_text(value)})"
    return Request("GET", f"{PROFILES_PATH}?filter={quote(wanted, safe='')}", GET_PROFILES, Repeat.READ)


def search_any(kind: Kind, values: Sequence[str]) -> Request:
    """Ask for the profiles that any of these identifiers names, a page at a time.

    How many values Klaviyo accepts is not known, so the caller has to expect a refusal.
    """
    # One value needs no list: `equals` is what Klaviyo documents for it.
    if len(values) == 1:
        return search_profiles(kind, values[0])
    wanted = f"any({_FILTER_NAMES[kind]},[{','.join(map(encoded_text, values))}])"
    return list_profiles(filter=wanted, fields=IDENTIFIERS)


def list_profiles(
    *,
    filter: str | None = None,
    sort: str | None = None,
    fields: str | None = None,
    page_size: int = _PAGE_SIZE,
    subscriptions: bool = False,
    cursor_url: str | None = None,
) -> Request:
    """Ask for a page of all profiles.

    Args:
        filter: In Klaviyo's filter language.
        fields: The attributes that are wanted, with commas between them; None for all.
        subscriptions: Also their consent and suppression.
        cursor_url: The next page's link or path, which holds everything else; its host is not followed.

    Raises:
        UnreadableAnswer: The link leads elsewhere.
    """
    if cursor_url is not None:
        return Request("GET", next_path(cursor_url), GET_PROFILES, Repeat.READ)
    given = {"filter": filter, "sort": sort, "fields%5Bprofile%5D": fields, "page%5Bsize%5D": str(page_size)}
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in given.items() if value is not None)
    query += f"&{SUBSCRIPTIONS}" * subscriptions
    return Request("GET", f"{PROFILES_PATH}?{query}", GET_PROFILES, Repeat.READ)


def get_profile(profile_id: str, *, subscriptions: bool = False) -> Request:
    """Ask for one profile.

    Args:
        subscriptions: Also its consent and suppression.

    Raises:
        InvalidIdentifierError: The id is not made of letters and digits, so it could name another path.
    """
    query = f"?{SUBSCRIPTIONS}" if subscriptions else ""
    return Request("GET", f"{PROFILES_PATH}/{normalise_profile_id(profile_id)}{query}", GET_PROFILE, Repeat.READ)


def create_profile(identity: Identity, person: Person) -> Request:
    """Create a profile. If another profile has one of the identifiers, Klaviyo answers 409 and changes nothing.

    A new profile has no lists to append to and nothing to clear, so ``append`` gives its first values, and clearing
    is left out.

    Raises:
        InvalidPropertyError: The body is larger than 100 KB.
    """
    # Copies, because the caller's `Person` may be written again by another request.
    attributes = _without_nulls(person.attributes)
    if location := _without_nulls(attributes.pop("location", {})):
        attributes["location"] = location
    if properties := _without_nulls(person.first_values().properties):
        attributes["properties"] = properties
    if identity.external_id is not None:
        attributes["external_id"] = identity.external_id
    if identity.email is not None:
        attributes["email"] = identity.email
    body = profile_body({"data": {"type": "profile", "attributes": attributes}})
    # Safe to repeat: after a create that succeeded, the repeat answers 409 and names the profile that was made.
    return Request("POST", PROFILES_PATH, CREATE_PROFILE, Repeat.IDEMPOTENT, body)


def create_as_written(body: bytes, revision: str | None) -> Request:
    """Create a profile with a document that the caller has written, in the caller's revision. Else as `create_profile`.

    Raises:
        InvalidPropertyError: The body is larger than 100 KB.
    """
    headers = () if revision is None else (("revision", revision),)
    if len(body) > MAX_PROFILE_BYTES:
        raise refused("properties", "are larger than the 100 KB that Klaviyo accepts for a profile")
    return Request("POST", PROFILES_PATH, CREATE_PROFILE, Repeat.IDEMPOTENT, body, headers=headers)


def update_profile(
    profile_id: str,
    person: Person,
    *,
    external_id: str | Clear | None = None,
    email: str | None = None,
    phone_number: str | Clear | None = None,
) -> Request:
    """Change one profile by its id. Only what is given is sent; `CLEAR` is sent as null.

    Raises:
        InvalidIdentifierError: The profile id is not made of letters and digits.
        InvalidPropertyError: The body is larger than 100 KB.
    """
    data = profile_data(person)
    # An identifier that is None is left out, never sent as null: null would clear it in Klaviyo (F-15).
    attributes = data["attributes"]
    if external_id is not None:
        attributes["external_id"] = None if external_id is CLEAR else external_id
    if email is not None:
        attributes["email"] = email
    if phone_number is not None:
        attributes["phone_number"] = None if phone_number is CLEAR else phone_number
    data["id"] = normalise_profile_id(profile_id)
    repeat = repeat_of(person, Repeat.IDEMPOTENT)
    return Request("PATCH", f"{PROFILES_PATH}/{data['id']}", UPDATE_PROFILE, repeat, profile_body({"data": data}))


def merge_profiles(source: str, destination: str) -> Request:
    """Merge one profile into another. It cannot be undone, and happens some time after the answer.

    Raises:
        InvalidIdentifierError: An id is not made of letters and digits.
    """
    # `Repeat.ONCE` below: a merge cannot be undone, so the flow looks at the source before it sends another (F-19).
    sources = [{"type": "profile", "id": normalise_profile_id(source)}]
    data = {
        "type": "profile-merge",
        "id": normalise_profile_id(destination),
        "relationships": {"profiles": {"data": sources}},
    }
    return Request("POST", MERGES_PATH, MERGE_PROFILES, Repeat.ONCE, encoded({"data": data}))


def request_deletion(profile_id: str) -> Request:
    """Ask for a profile's deletion by its id. By an address, Klaviyo would delete every profile that matches it.

    Raises:
        InvalidIdentifierError: The id is not made of letters and digits.
    """
    profile: dict[str, Any] = {"type": "profile", "id": normalise_profile_id(profile_id), "attributes": {}}
    data: dict[str, Any] = {"type": "data-privacy-deletion-job", "attributes": {"profile": {"data": profile}}}
    body = encoded({"data": data})
    return Request("POST", DELETIONS_PATH, REQUEST_DELETION, Repeat.IDEMPOTENT, body)


def _without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
