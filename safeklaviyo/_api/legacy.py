"""The legacy dialect: Klaviyo's retired Track, Identify and People endpoints, as requests and answers.

Decided here: paths, bodies and special keys of the v1 and v2 API. What these endpoints cannot express is refused before
anything is sent. Klaviyo's own host answers 410 to all of them (Klaviyo's API retirement FAQ). The dialect is for
servers that still offer that API, and for testing a migration. Not here: who a customer is (`_rules`), the current
dialect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn, cast
from urllib.parse import quote, urlencode

from safeklaviyo._api.bodies import encoded
from safeklaviyo._api.messages import Answer, Endpoint, Repeat, Request
from safeklaviyo._api.responses import UnreadableAnswer, is_profile_id, profile_of
from safeklaviyo._input.findings import refused
from safeklaviyo._input.reserved_keys import ATTRIBUTES, IDENTIFIERS, LOCATION
from safeklaviyo._input.values import shown
from safeklaviyo.errors import BadRequestError, InvalidIdentifierError
from safeklaviyo.identity import Identity, Kind, normalise_profile_id
from safeklaviyo.models import CLEAR, Clear

if TYPE_CHECKING:
    from collections.abc import Mapping

    from safeklaviyo._api.messages import Response
    from safeklaviyo._input.events import Event
    from safeklaviyo._input.properties import Person
    from safeklaviyo._secrets import Secret
    from safeklaviyo.models import Profile

# Klaviyo publishes no limits for retired endpoints. Track and Identify get those of the endpoints that replaced them.
# The People endpoints get a lower tier, because their 429 could ask to wait for most of a minute.
GET_PERSON: Final = Endpoint("legacy_get_person", burst=10, steady=150, answer=Answer.LEGACY_OBJECT)
IDENTIFY: Final = Endpoint("legacy_identify", burst=75, steady=750, answer=Answer.LEGACY_RECEIPT)
SEARCH_PERSON: Final = Endpoint("legacy_search_person", burst=10, steady=150, answer=Answer.LEGACY_OBJECT)
TRACK: Final = Endpoint("legacy_track", burst=350, steady=3500, answer=Answer.LEGACY_RECEIPT)
UPDATE_PERSON: Final = Endpoint("legacy_update_person", burst=10, steady=150, answer=Answer.LEGACY_OBJECT)
ENDPOINTS: Final = (GET_PERSON, IDENTIFY, SEARCH_PERSON, TRACK, UPDATE_PERSON)

_FORM: Final = "application/x-www-form-urlencoded"
_PERSON: Final = "/api/v1/person"
# The other fields of the current API have no special key in the reference, so Klaviyo may not keep them under one.
_SPECIAL: Final = frozenset({*ATTRIBUTES, *LOCATION} - {"locale", "ip"})
_ALSO_BARE: Final = frozenset({"email", "first_name", "last_name"})


def identify(public_key: str, identity: Identity, person: Person) -> Request:
    """Create or update a person, some time after the answer.

    Raises:
        InvalidPropertyError: The endpoint cannot express it: clearing, changing lists, or a newer field.
    """
    document = {"token": public_key, "properties": _customer(identity, person, "properties")}
    return _form("/api/identify", document, IDENTIFY, Repeat.IDEMPOTENT)


def track(public_key: str, event: Event, identity: Identity, person: Person) -> Request:
    """Record an event, some time after the answer; of several with one ``$event_id`` the first counts.

    Raises:
        InvalidPropertyError: The endpoint cannot express it: a backfill, clearing, changing lists, or a newer field.
    """
    if event.backfill:
        raise refused("backfill", 'cannot be asked of the legacy API, which would run flows; use dialect="current"')
    properties = {**event.properties, "$event_id": event.unique_id}
    if event.value is not None:
        properties["$value"] = event.value
    if event.value_currency is not None:
        # The reference has no key for it. This is the name under which the current API keeps it.
        properties["$value_currency"] = event.value_currency
    document = {
        "token": public_key,
        "event": event.name,
        "customer_properties": _customer(identity, person, "customer_properties"),
        "properties": properties,
        "time": int(event.time.timestamp()),
    }
    return _form("/api/track", document, TRACK, Repeat.KEYED)


def search_person(api_key: Secret, kind: Kind, value: str) -> Request:
    """Ask for the one person that an identifier names.

    Raises:
        InvalidIdentifierError: The identifier is a profile id, by which a person is read, not searched.
    """
    if kind is Kind.PROFILE_ID:
        raise InvalidIdentifierError("a profile_id cannot be searched for; read the person", identifier_kind=kind)
    query = _query({"api_key": api_key.reveal(), kind.value: value})
    return Request("GET", f"/api/v2/people/search?{query}", SEARCH_PERSON, Repeat.READ)


def get_person(api_key: Secret, profile_id: str) -> Request:
    """Ask for one person.

    Raises:
        InvalidIdentifierError: The id is not made of letters and digits, so it could name another path.
    """
    path = f"{_PERSON}/{normalise_profile_id(profile_id)}"
    return Request("GET", f"{path}?{_query({'api_key': api_key.reveal()})}", GET_PERSON, Repeat.READ)


def update_person(
    api_key: Secret,
    profile_id: str,
    *,
    external_id: str | Clear | None = None,
    email: str | None = None,
    phone_number: str | Clear | None = None,
) -> Request:
    """Change the identifiers of one person by id. Only what is given is sent, in the query, as the reference says.

    Raises:
        InvalidIdentifierError: The profile id is not made of letters and digits.
        InvalidPropertyError: An identifier is to be cleared.
    """
    given: dict[str, str] = {"api_key": api_key.reveal()}
    for key, value in (("id", external_id), ("email", email), ("phone_number", phone_number)):
        if value is CLEAR:
            _refuse_clearing("external_id" if key == "id" else key)
        if value is not None:
            given[f"${key}"] = value
    path = f"{_PERSON}/{normalise_profile_id(profile_id)}"
    return Request("PUT", f"{path}?{_query(given)}", UPDATE_PERSON, Repeat.IDEMPOTENT)


def failure_in(response: Response) -> BadRequestError | None:
    """Return the error for a successful answer of Track or Identify that is ``0``: nothing was done. None otherwise."""
    if response.body.strip() != b"0":
        return None
    return BadRequestError("Klaviyo did not understand the request", status_code=response.status)


def read_search(response: Response) -> str | None:
    """Return the id of the person that a search has found; None if Klaviyo answers that there is none.

    Raises:
        UnreadableAnswer: The answer is neither. A 404 that is not in Klaviyo's form may be a proxy's (F-34).
    """
    body = _object(response)
    if response.status == 404 and isinstance(body.get("detail"), str):
        return None
    found = body.get("id")
    if response.status == 404 or not is_profile_id(found):
        raise UnreadableAnswer("the answer names no person")
    return found


def read_person(response: Response) -> Profile:
    """Read one person: special keys become Klaviyo's fields, and every other key a property.

    Raises:
        UnreadableAnswer: There is none in the body, or its identifiers are no text.
    """
    body = _object(response)
    if not is_profile_id(body.get("id")):
        raise UnreadableAnswer("the answer names no person")
    fields: dict[str, Any] = {"id": body.pop("id")}
    body.pop("object", None)
    for name in ("created", "updated"):
        fields[name] = _in_utc(body.pop(name, None))
    fields["external_id"] = _filled(body.pop("$id", None))
    for name in (*IDENTIFIERS[1:], *ATTRIBUTES):
        special = body.pop(f"${name}", None)
        fields[name] = _filled(special, body.pop(name, None)) if name in _ALSO_BARE else _filled(special)
    fields["location"] = {name: body.pop(f"${name}") for name in LOCATION if f"${name}" in body}
    return profile_of({**fields, "properties": body})


def _customer(identity: Identity, person: Person, where: str) -> dict[str, Any]:
    """Return a person in special keys.

    Two things are refused: clearing, because Klaviyo's reference of these endpoints does not say what null does; and
    changing lists, because only ``PUT /api/v1/person`` can do that.
    """
    if person.append or person.unappend or person.unset:
        raise refused(where, 'cannot append, unappend or unset in the legacy API; use dialect="current"')
    attributes = dict(person.attributes)
    attributes.update(attributes.pop("location", {}))
    for name, value in (*attributes.items(), *person.properties.items()):
        if value is None:
            _refuse_clearing(f"{where}.{shown(name)}")
    for name in attributes:
        if name not in _SPECIAL:
            raise refused(f"{where}.{name}", 'is not known to the legacy API; use dialect="current"')
    customer = {**person.properties, **{f"${name}": value for name, value in attributes.items()}}
    if identity.external_id is not None:
        customer["$id"] = identity.external_id
    if identity.email is not None:
        customer["$email"] = identity.email
    return customer


def _refuse_clearing(path: str) -> NoReturn:
    raise refused(path, 'cannot be cleared in the legacy API; use dialect="current"')


def _form(path: str, document: dict[str, Any], endpoint: Endpoint, repeat: Repeat) -> Request:
    # Klaviyo's reference also allows JSON. It describes the form first, and documents the answers 1 and 0 for it.
    body = urlencode({"data": encoded(document)}).encode()
    return Request("POST", path, endpoint, repeat, body, _FORM)


def _query(given: Mapping[str, str]) -> str:
    return urlencode(given, quote_via=quote, safe="")


def _object(response: Response) -> dict[str, Any]:
    """Return a copy of the answer's object, because its readers take fields out of it."""
    body = response.json
    return dict(cast("dict[str, Any]", body)) if isinstance(body, dict) else {}


def _filled(*values: object) -> object:
    """Return the first value that is neither None nor an empty text. These endpoints use both for "missing"."""
    return next((value for value in values if value is not None and value != ""), None)


def _in_utc(moment: object) -> object:
    """Add the zone that these endpoints leave out: ``2021-11-04 09:06:13``."""
    return f"{moment}+00:00" if isinstance(moment, str) and len(moment) == 19 else moment
