"""Bodies of requests: JSON, within the sizes that Klaviyo accepts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import to_json

from safeklaviyo._api.messages import Repeat
from safeklaviyo._input.findings import refused
from safeklaviyo._input.values import KB

if TYPE_CHECKING:
    from safeklaviyo._input.properties import Person

MAX_PROFILE_BYTES: Final = 100 * KB
MAX_EVENT_PROFILE_BYTES: Final = 95 * KB
MAX_BODY_BYTES: Final = 5000 * KB

# Without the check for cycles, which costs time: `_input.values` refuses values that are nested too deep, so there are
# no cycles.
encoded_text = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode


def encoded_bytes(document: dict[str, Any]) -> bytes:
    """Return the document with the values that `encoded_text` writes, at a quarter of the time.

    Some numbers have another form, such as ``1e16`` for ``1e+16``.

    Raises:
        ValueError: As `encoded_text` does, for what is no JSON.
    """
    try:
        body = to_json(document)
    except (TypeError, ValueError):
        body = None  # json's own error is raised below
    # What is no number would be written as a word.
    if body is None or b"NaN" in body or b"Infinity" in body:
        return encoded_text(document).encode()
    return body


def encoded(document: dict[str, Any]) -> bytes:
    """Return the document as JSON.

    Raises:
        InvalidPropertyError: The document is larger than 5 MB, or was changed after the check.
    """
    try:
        body = encoded_text(document).encode()
    except (TypeError, ValueError, RecursionError):
        # Not chained: the codec's message quotes the text.
        raise refused("properties", "were changed while they were being sent; send a copy") from None
    if len(body) > MAX_BODY_BYTES:
        raise refused("properties", "make a request larger than the 5 MB that Klaviyo accepts")
    return body


def profile_body(document: dict[str, Any]) -> bytes:
    """Return a document about one profile as the body of a request.

    Raises:
        InvalidPropertyError: The document is larger than Klaviyo accepts, or was changed after the check.
    """
    body = encoded(document)
    if len(body) > MAX_PROFILE_BYTES:
        raise refused("properties", "are larger than the 100 KB that Klaviyo accepts for a profile")
    return body


def profile_data(person: Person) -> dict[str, Any]:
    """Return the resource object of a profile with these properties, without identifiers."""
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


def repeat_of(person: Person, otherwise: Repeat) -> Repeat:
    """Return how a write of these properties may be repeated; `otherwise` is how it may be without appended values."""
    # Klaviyo does not say whether it appends a value that the list already has, so a repeat may append it twice (F-19).
    return Repeat.ONCE if person.append or person.unappend else otherwise
