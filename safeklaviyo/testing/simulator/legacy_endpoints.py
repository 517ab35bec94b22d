"""The retired Track, Identify and People endpoints, for shops that still have to migrate from them.

Decided here: how their bodies are read and answered (Klaviyo's v1 and v2 references). The profile of a call is found as
that of an event: later, and by the same order of identifiers. Not here: whether the endpoints answer at all
(`simulators`).
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from math import floor
from typing import TYPE_CHECKING, Any, cast

from safeklaviyo.testing.simulator import matching
from safeklaviyo.testing.simulator.checks import Body
from safeklaviyo.testing.simulator.persons import LOCATION, Person
from safeklaviyo.testing.simulator.recording import Recording
from safeklaviyo.testing.simulator.records import JSON, Answer, Asked, Event, Profile, form
from safeklaviyo.testing.simulator.refusals import Refusal, json_answer
from safeklaviyo.testing.simulator.tables import EMAIL, EXTERNAL_ID, KINDS, PHONE_NUMBER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from safeklaviyo.testing.simulator.accounts import Account

RETIRED = (
    "This API has been retired and is no longer in service. Please review our migration resources for help migrating "
    "to our new APIs. https://developers.klaviyo.com/en/docs/migration_resources"
)

_JSON = "application/json"
_NOBODY = "There is no profile matching the given parameters."
_PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_IDENTIFIERS = {
    "$id": EXTERNAL_ID, "id": EXTERNAL_ID, "$email": EMAIL, "email": EMAIL,
    "$phone_number": PHONE_NUMBER, "phone_number": PHONE_NUMBER,
}  # fmt: skip
_OWN = {f"${name}": name for name in ("first_name", "last_name", "organization", "title", "image", "locale")}
_PLACES = {
    f"${name}": name for name in ("address1", "address2", "city", "region", "country", "zip", "timezone", "latitude",
    "longitude")
}  # fmt: skip
_EVENT = frozenset({"$event_id", "$value", "$value_currency"})
_PATCHES = frozenset({"$append", "$unappend", "$unset"})


def track(account: Account, asked: Asked) -> Answer:
    """Accept an event: ``1``, or ``0`` for a body that cannot be read."""
    data = _data(asked)
    customer = _object(data.get("customer_properties"))
    person = _person(account, customer)
    name = data.get("event")
    # The receipt says only that the body can be read.
    if not data.get("token") or not isinstance(name, str) or not name or person is None:
        return _receipt(asked, accepted=False)
    account.enqueue(asked.endpoint, Recording(person, _event(account, name, data)))
    return _receipt(asked, accepted=True)


def identify(account: Account, asked: Asked) -> Answer:
    """Accept a person's properties: ``1``, or ``0`` for a body that cannot be read."""
    data = _data(asked)
    person = _person(account, _object(data.get("properties")))
    if not data.get("token") or person is None:
        return _receipt(asked, accepted=False)
    account.enqueue(asked.endpoint, Recording(person, None))
    return _receipt(asked, accepted=True)


def search_people(account: Account, asked: Asked) -> Answer:
    """Return the id of the person with one identifier."""
    given = [(kind, asked.query[kind]) for kind in KINDS if asked.query.get(kind)]
    if len(given) != 1:
        return json_answer(400, {"detail": "Exactly one identifier is required."}, _JSON)
    # By the search's own view, which may be late.
    owners = account.shown.owners(*given[0])
    if not owners:
        return json_answer(404, {"detail": _NOBODY}, _JSON)
    return json_answer(200, {"id": owners[0].id}, _JSON)


def get_person(account: Account, asked: Asked) -> Answer:
    """One person by its id."""
    profile = account.get(asked.named)
    if profile is None:
        return json_answer(404, {"detail": _NOBODY}, _JSON)
    return json_answer(200, _shown(profile), _JSON)


def update_person(account: Account, asked: Asked) -> Answer:
    """Change one person by its id, its identifiers too, unless one belongs to another profile."""
    profile = account.get(asked.named)
    if profile is None:
        return json_answer(404, {"detail": _NOBODY}, _JSON)
    given = {**asked.query, **form(asked.body)}
    given.pop("api_key", None)
    person = _person(account, {name: _patch(name, value) for name, value in given.items()})
    if person is None:
        return json_answer(400, {"detail": "An identifier is malformed."}, _JSON)
    try:
        changed = matching.update(account, profile, person)
    except Refusal as refusal:
        return json_answer(refusal.status, {"detail": "A profile already exists with this identifier."}, _JSON)
    return json_answer(200, _shown(changed), _JSON)


def refuse_key(*, given: bool) -> Answer:
    """Return the answer to a key that is not accepted, or is missing."""
    words = "The API key specified is invalid." if given else "You must specify an API key to make requests."
    return json_answer(403, {"status": 403, "message": words}, _JSON)


def _data(asked: Asked) -> JSON:
    """Decode the data, which may be base64 in the query, a form, or JSON."""
    try:
        # A plus in a query is decoded as a blank, and base64 has pluses.
        if asked.method == "GET":
            text = base64.b64decode(asked.query.get("data", "").replace(" ", "+"))
        elif asked.body[:1] == b"{":
            text = asked.body
        else:
            text = form(asked.body).get("data", "").encode()
        return _object(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def _object(value: Any) -> JSON:
    return cast("JSON", value) if isinstance(value, dict) else {}


def _receipt(asked: Asked, *, accepted: bool) -> Answer:
    # With ``i=1`` the call comes from an image in a mail or a page, which wants an image as its answer.
    if asked.query.get("i") == "1":
        return Answer(200, {"content-type": "image/gif"}, _PIXEL)
    return Answer(200, {"content-type": "text/html; charset=utf-8"}, b"1" if accepted else b"0")


def _person(account: Account, given: Mapping[str, Any]) -> Person | None:
    """Read a person's identifiers and properties; None for an identifier that is malformed."""
    body = Body(account.readings)
    try:
        # These endpoints take an empty text for an identifier that is not given.
        identifiers = {
            _IDENTIFIERS[name]: body.identifier(_IDENTIFIERS[name], _text(given[name]), "")
            for name in _IDENTIFIERS
            if given.get(name) not in (None, "")
        }
    except Refusal:
        return None
    places = {_PLACES[name]: value for name, value in given.items() if name in _PLACES}
    attributes = {_OWN[name]: value for name, value in given.items() if name in _OWN}
    others = {
        name: value
        for name, value in given.items()
        if not {name} & (_IDENTIFIERS.keys() | _OWN.keys() | _PLACES.keys() | _PATCHES)
    }
    return Person(
        None,
        identifiers,
        {**attributes, LOCATION: places} if places else attributes,
        others,
        _object(given.get("$append")),
        _object(given.get("$unappend")),
        tuple(_names(given.get("$unset"))),
    )


def _text(value: Any) -> Any:
    # These endpoints took a number for its text.
    return str(value) if isinstance(value, int) else value


def _names(value: Any) -> list[str]:
    names = [value] if isinstance(value, str) else value
    return [str(name) for name in names] if isinstance(names, list) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _patch(name: str, value: str) -> Any:
    """Decode a query parameter that holds JSON."""
    try:
        return json.loads(value) if name in _PATCHES else value
    except ValueError:
        return value


def _event(account: Account, name: str, data: JSON) -> Event:
    properties = _object(data.get("properties"))
    unique_id, value, time = properties.get("$event_id"), properties.get("$value"), data.get("time")
    return Event(
        account.event_id(),
        None,
        name,
        None if unique_id is None else str(unique_id),
        floor(time if isinstance(time, int | float) else account.clock.now()),
        value if isinstance(value, int | float) else None,
        properties.get("$value_currency"),
        {key: each for key, each in properties.items() if key not in _EVENT},
    )


def _shown(profile: Profile) -> JSON:
    location = profile.attributes.get(LOCATION, {})
    own = {marked: profile.attributes.get(name) for marked, name in _OWN.items()}
    return {
        **profile.properties,
        "object": "person",
        "id": profile.id,
        "$email": profile.email,
        "$id": profile.external_id,
        "$phone_number": profile.phone_number,
        **own,
        **{marked: location.get(name) for marked, name in _PLACES.items()},
        "created": _moment(profile.created),
        "updated": _moment(profile.updated),
        "email": profile.email,
        "first_name": own["$first_name"],
        "last_name": own["$last_name"],
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
