"""What a body may hold: fields, types, formats and sizes (Klaviyo's Profiles and Events API overviews).

Decided here: what is refused with 400, and the JSON pointer of the refusal. A request is checked as a whole before it
changes anything. Not here: how an event's body is laid out (`event_bodies`).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, cast

from safeklaviyo.testing.simulator.persons import LOCATION, Person
from safeklaviyo.testing.simulator.refusals import invalid
from safeklaviyo.testing.simulator.tables import EMAIL, EXTERNAL_ID, KINDS, PHONE_NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo.testing.simulator.readings import Readings
    from safeklaviyo.testing.simulator.records import JSON

KB = 1000
MAX_BODY = 5_000 * KB
MAX_PROFILE = 100 * KB
MAX_STRING = 100 * KB

_MAX_ARRAY = 4000
_MAX_DEPTH = 10
_MAX_EMAIL = 100
_MAX_EXTERNAL_ID = 255
_EMAIL = re.compile(r"[^@\s\"(),:;<>\[\]\\]+@(?:[\w-]+\.)+[\w-]{2,}")
_E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)

TEXTS = ("first_name", "last_name", "organization", "locale", "title", "image")
"""Klaviyo's own attributes that are text."""

PLACES = frozenset({
    "address1", "address2", "city", "country", "latitude", "longitude", "region", "zip", "timezone", "ip",
})  # fmt: skip
"""The fields of a location."""

_KNOWN = frozenset({*KINDS, *TEXTS, LOCATION, "properties"})


class Body:
    """One decoded body, and how strictly it is read.

    Args:
        extra: Further attributes that a profile may have here: ``anonymous_id``, ``_kx``, ``meta``.
    """

    def __init__(self, readings: Readings, extra: Iterable[str] = ()) -> None:
        self._readings = readings
        self._known = _KNOWN.union(extra)

    def person(self, data: JSON, pointer: str, meta: object) -> Person:
        """Read one profile's data.

        Args:
            pointer: Where the data is, such as ``/data``.
            meta: The member that holds ``patch_properties``; where it is in the body depends on the revision.

        Raises:
            Refusal: 400.
        """
        profile_id = data.get("id")
        if not isinstance(profile_id, str | None):
            raise invalid("'id' must be a string.", f"{pointer}/id")
        where = f"{pointer}/attributes"
        attributes = fields(data.get("attributes"), where)
        # Names before values, so that a misspelt field is reported and not what stands in it.
        self._check_names(attributes, where)
        properties = fields(attributes.get("properties"), f"{where}/properties")
        check_values(properties, f"{where}/properties")
        patch = fields(fields(meta, f"{pointer}/meta").get("patch_properties"), f"{pointer}/meta/patch_properties")
        return Person(
            profile_id,
            self._identifiers(attributes, where),
            _attributes(attributes, where),
            properties,
            fields(patch.get("append"), f"{pointer}/meta/patch_properties/append"),
            fields(patch.get("unappend"), f"{pointer}/meta/patch_properties/unappend"),
            _names(patch.get("unset"), f"{pointer}/meta/patch_properties/unset"),
            text(attributes.get("anonymous_id"), f"{where}/anonymous_id"),
        )

    def _check_names(self, attributes: JSON, where: str) -> None:
        if self._readings.unknown_fields == "ignored":
            return
        for name in attributes:
            if name not in self._known:
                raise invalid(f"'{name}' is not a valid field for the resource 'profile'.", f"{where}/{name}")

    def _identifiers(self, attributes: JSON, where: str) -> dict[str, str | None]:
        given = {kind: attributes[kind] for kind in KINDS if kind in attributes}
        return {kind: self.identifier(kind, value, f"{where}/{kind}") for kind, value in given.items()}

    def identifier(self, kind: str, value: object, pointer: str) -> str | None:
        """Return an identifier as Klaviyo stores it; None clears it.

        Raises:
            Refusal: 400.
        """
        if value is None:
            return None
        if kind == EXTERNAL_ID and isinstance(value, int | float) and not isinstance(value, bool):
            # Klaviyo accepts a number, and takes it for its text.
            value = json.dumps(value)
        if not isinstance(value, str):
            raise invalid(f"'{kind}' must be a string.", pointer)
        return _STORED[kind](value.strip(), self._readings, pointer)


def document(body: bytes) -> JSON:
    """Decode a body and return its ``data``.

    Raises:
        Refusal: 400.
    """
    try:
        decoded: object = json.loads(body)
    except (ValueError, RecursionError):
        raise invalid("The body is not valid JSON.", "/data") from None
    data = cast("JSON", decoded).get("data") if isinstance(decoded, dict) else None
    if not isinstance(data, dict):
        raise invalid("'data' is required.", "/data")
    return cast("JSON", data)


def resource(body: bytes, kind: str, limit: int = MAX_BODY) -> JSON:
    """Decode a body and return its ``data``, which must be of one type.

    Raises:
        Refusal: 400.
    """
    data = document(body)
    if len(body) > limit:
        raise invalid(f"The payload is larger than {limit // KB} KB.", "/data")
    if data.get("type") != kind:
        raise invalid(f"'type' must be '{kind}'.", "/data/type")
    return data


def fields(value: object, pointer: str) -> JSON:
    """Return an object; nothing is an empty one.

    Raises:
        Refusal: 400.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid("This must be an object.", pointer)
    return cast("JSON", value)


def text(value: object, pointer: str, longest: int = MAX_STRING) -> str | None:
    """Return a string, or None.

    Raises:
        Refusal: 400.
    """
    if value is None or (isinstance(value, str) and 0 < len(value) <= longest):
        return value
    raise invalid(f"This must be a string of 1 to {longest} characters.", pointer)


def is_phone_number(value: object) -> bool:
    """Whether it is a phone number in the form of E.164."""
    return isinstance(value, str) and _E164.fullmatch(value) is not None


def check_values(value: object, pointer: str, depth: int = 0) -> None:
    """Refuse values that Klaviyo does not take: too deep, too long, too large.

    Raises:
        Refusal: 400.
    """
    # The depth is checked first: what is nested deeper is not walked through.
    if depth > _MAX_DEPTH:
        raise invalid(f"This is nested deeper than {_MAX_DEPTH}.", pointer)
    if isinstance(value, str) and len(value.encode("utf-8", "surrogatepass")) > MAX_STRING:
        raise invalid("A string is larger than 100 KB.", pointer)
    # Klaviyo's numbers are 64 bits wide; Python's are not limited.
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise invalid("A number is larger than 64 bits.", pointer)
    if isinstance(value, dict):
        for name, item in cast("JSON", value).items():
            check_values(item, f"{pointer}/{name}", depth + 1)
    if isinstance(value, list):
        items = cast("list[object]", value)
        if len(items) > _MAX_ARRAY:
            raise invalid(f"An array has more than {_MAX_ARRAY} elements.", pointer)
        for index, item in enumerate(items):
            check_values(item, f"{pointer}/{index}", depth + 1)


def _email(value: str, readings: Readings, pointer: str) -> str:
    if len(value) > _MAX_EMAIL or not _EMAIL.fullmatch(value):
        raise invalid("Invalid email address", pointer)
    return value.lower() if readings.email_case == "lowered" else value


def _phone_number(value: str, _readings: Readings, pointer: str) -> str:
    if not is_phone_number(value):
        raise invalid("Invalid phone number format (Example of a valid format: +12345678901)", pointer)
    return value


def _external_id(value: str, readings: Readings, pointer: str) -> str:
    cut = value[: readings.external_ids_cut_at]
    if not 0 < len(cut) <= _MAX_EXTERNAL_ID:
        raise invalid(f"'external_id' must have 1 to {_MAX_EXTERNAL_ID} characters.", pointer)
    return cut


_STORED = {EMAIL: _email, PHONE_NUMBER: _phone_number, EXTERNAL_ID: _external_id}


def _attributes(attributes: JSON, where: str) -> JSON:
    own: JSON = {name: text_or_empty(attributes[name], f"{where}/{name}") for name in TEXTS if name in attributes}
    if LOCATION in attributes:
        location = fields(attributes[LOCATION], f"{where}/{LOCATION}")
        for name in location:
            if name not in PLACES:
                raise invalid(f"'{name}' is not a valid field for a location.", f"{where}/{LOCATION}/{name}")
        check_values(location, f"{where}/{LOCATION}")
        # None clears the location, while an empty object changes nothing.
        own[LOCATION] = None if attributes[LOCATION] is None else location
    return own


def text_or_empty(value: object, pointer: str) -> str | None:
    """Return a string, which may be empty, or None.

    Raises:
        Refusal: 400.
    """
    return "" if value == "" else text(value, pointer)


def _names(value: object, pointer: str) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value or []
    if not isinstance(names, list) or any(not isinstance(name, str) for name in cast("list[object]", names)):
        raise invalid("This must be a property's name or a list of them.", pointer)
    return tuple(cast("list[str]", names))
