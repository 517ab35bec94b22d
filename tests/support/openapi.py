"""Klaviyo's own description of its API, and whether an answer is as it describes.

Schemas are read strictly: a field that the description does not name is a fault, but for those that were recorded.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker

if TYPE_CHECKING:
    from safeklaviyo.testing import Answer

CONTENT_TYPE = "application/vnd.api+json"
REVISION = "2026-07-15"
DESCRIPTION: Any = json.loads(
    (Path(__file__).parent.parent / "simulator" / "openapi" / f"klaviyo-{REVISION}.json").read_text()
)

_TEXT = {"type": "string", "nullable": True}
_OPEN: dict[str, Any] = {"type": "object"}
_RECORDED: list[tuple[set[str], dict[str, Any]]] = [
    # Profiles show two identifiers more, always null; the later revision can show hashes.
    (
        {"external_id", "last_event_date"},
        dict.fromkeys(("anonymous_id", "whatsapp_bsuid", "hashed_email", "hashed_phone_number"), _TEXT),
    ),
    ({"next", "prev"}, dict.fromkeys(("next", "prev"), _TEXT)),
    # Writes and included profiles relate to one conversation.
    ({"lists", "segments", "push-tokens"}, {"conversation": _OPEN}),
    ({"marketing", "open_tracking"}, {"click_tracking": _OPEN}),
    ({"code", "detail", "source", "title", "id"}, {"status": {"type": "integer"}, "links": _OPEN, "meta": _OPEN}),
]
"""What was recorded and is not described: in objects that have the fields first, the fields second."""
_STATUSES = {"merge_profiles": {"202": "201"}}
"""The statuses that were recorded, and those that are described."""

formats = FormatChecker()


@formats.checks("date-time", ValueError)
def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@formats.checks("uri", ValueError)
def _is_address(value: object) -> bool:
    return not isinstance(value, str) or urlsplit(value).scheme in {"http", "https"}


def operations() -> dict[str, tuple[str, str, Any]]:
    """Return the method, the path and the description of each operation, by its id."""
    return {
        found["operationId"]: (method.upper(), path, found)
        for path, methods in DESCRIPTION["paths"].items()
        for method, found in methods.items()
    }


def check(operation_id: str, answer: Answer, *, sparse: bool = False) -> None:
    """Compare an answer with the description.

    Args:
        sparse: Only some fields were asked for, so that required ones may be missing.

    Raises:
        AssertionError: The status or the body is not described so.
    """
    if answer.status >= 500 or answer.headers.get("content-type", CONTENT_TYPE) != CONTENT_TYPE:
        return  # an injected failure
    status = str(answer.status)
    if status.startswith("4"):
        schema: Any = DESCRIPTION["components"]["responses"]["ClientError"]
        validator = _validator(json.dumps(_schema(schema)), sparse=False)
    else:
        described = operations()[operation_id][2]["responses"]
        status = _STATUSES.get(operation_id, {}).get(status, status)
        assert status in described, f"{operation_id} answers {status}"
        if not described[status]["content"]:
            assert answer.body == b"", f"{operation_id} has no body"
            return
        validator = _validator(json.dumps(_schema(described[status])), sparse=sparse)
    body = json.loads(answer.body)
    if operation_id == "merge_profiles" and "data" in body:
        # Recorded, not described.
        assert body["data"].pop("attributes") == {}
    faults = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(body)]
    assert faults == [], f"{operation_id}: {faults}"


def parameter(operation_id: str, name: str) -> Any:
    """Return what a query may say, or None."""
    found = operations()[operation_id][2]["parameters"]
    return next((each for each in found if each["name"] == name), None)


def _schema(response: Any) -> Any:
    return response["content"]["application/vnd.api+json"]["schema"]


@cache
def _validator(schema: str, *, sparse: bool) -> Draft202012Validator:
    return Draft202012Validator(_plain(json.loads(schema), sparse=sparse), format_checker=formats)


def _plain(schema: Any, *, sparse: bool) -> Any:
    """Return a schema of OpenAPI 3.0 as one of JSON Schema, without references, and closed to other fields."""
    merged = _merged(schema)
    if sparse:
        merged.pop("required", None)
    plain = {key: value for key, value in merged.items() if key not in {"nullable", "properties", "oneOf", "items"}}
    if "properties" in merged:
        more = {
            name: each
            for has, fields in _RECORDED
            if has <= merged["properties"].keys()
            for name, each in fields.items()
        }
        plain["properties"] = {
            name: _plain(each, sparse=sparse) for name, each in {**merged["properties"], **more}.items()
        }
        plain["additionalProperties"] = False
    if "items" in merged:
        plain["items"] = _plain(merged["items"], sparse=sparse)
    if "oneOf" in merged:
        # An integer is a number too, so that one of both would never be.
        plain["anyOf"] = [_plain(each, sparse=sparse) for each in merged["oneOf"]]
    return {"anyOf": [plain, {"type": "null"}]} if merged.get("nullable") else plain


def _merged(schema: Any) -> Any:
    """Return a schema with what it refers to, beside its own."""
    merged = dict(schema)
    if "$ref" in merged:
        target = DESCRIPTION["components"]["schemas"][merged.pop("$ref").rpartition("/")[2]]
        merged = {**_merged(target), **merged}
    for each in merged.pop("allOf", ()):
        merged = _united(merged, _merged(each))
    return merged


def _united(one: Any, other: Any) -> Any:
    both = {**one, **other}
    if "required" in one and "required" in other:
        both["required"] = sorted({*one["required"], *other["required"]})
    if "properties" in one and "properties" in other:
        shared = one["properties"].keys() & other["properties"].keys()
        united = {
            name: _united(_merged(one["properties"][name]), _merged(other["properties"][name])) for name in shared
        }
        both["properties"] = {**one["properties"], **other["properties"], **united}
    return both
