"""JSON lines, one call a line: the guard's decision log, and what shops write that log their own calls.

Decided here: how hashed identifiers stand for plain ones. Equal hashes are equal identifiers, and that is all a replay
needs. Not here: what the bodies say (`bodies`).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

from safeklaviyo.audit._diagnosis.bodies import (
    READS,
    WRITES,
    Unreadable,
    operation_of,
    understood,
)
from safeklaviyo.audit._diagnosis.calls import Call, Named, named, shown_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

JSON = dict[str, Any]
VERSION: Final = 1
_SYNCHRONOUS: Final = frozenset({"create_profile", "update_profile", "create_or_update_profile"})


def calls_of(rows: Iterable[bytes], source: str) -> Iterator[Call | tuple[int, str, bool]]:
    """Yield the calls of a file; for a line that cannot be used: its index, why, and whether it may have written."""
    for index, line in enumerate(rows):
        if not line.strip():
            continue
        try:
            row: object = json.loads(line)
        except (ValueError, RecursionError):
            yield index, "it is no JSON, or cut off", True
            continue
        if not isinstance(row, dict):
            yield index, "it is no JSON object", True
            continue
        try:
            call = _call(cast("JSON", row), index, source)
        except Unreadable as exc:
            yield index, str(exc), True
            continue
        if call is not None:
            yield call


def _call(row: JSON, index: int, source: str) -> Call | None:
    version = row.get("v", VERSION)
    if version != VERSION:
        raise Unreadable("it has another version of the schema than 1")
    method, path = str(row.get("method", "")).upper(), str(row.get("path", ""))
    if not path.startswith("/"):
        raise Unreadable("it has no path")
    path, _, query = path.partition("?")
    operation = operation_of(method, path)
    if not operation:
        return None
    status, took = row.get("status"), row.get("took_ms")
    call = Call(
        index,
        _moment(row.get("at")),
        method,
        shown_path(path),
        source,
        status if isinstance(status, int) else None,
        operation,
        row["account"] if isinstance(row.get("account"), str) else None,
        took=float(took) / 1000 if isinstance(took, int | float) else None,
    )
    if "people" in row:
        return _from_people(call, row)
    return _from_bodies(call, row, query)


def _from_bodies(call: Call, row: JSON, query: str) -> Call:
    """Read a line that has the bodies as they were."""
    from urllib.parse import parse_qsl  # noqa: PLC0415 - few logs have a query

    body, answer = (_bytes(row.get(name)) for name in ("request", "response"))
    return understood(call, dict(parse_qsl(query)), body, answer)


def _from_people(call: Call, row: JSON) -> Call:
    """Read a line of the decision log's schema."""
    from dataclasses import replace  # noqa: PLC0415

    answer = _object(row.get("answer"))
    people = tuple(_person(each) for each in _objects(row.get("people")))
    if call.operation in WRITES and not people and call.operation != "merge_profiles":
        raise Unreadable("it names nobody")
    merged = (_object(row.get("source")).get("profile_id"), _object(row.get("destination")).get("profile_id"))
    event = _object(row.get("event"))
    moment = _moment(event.get("time"))
    accepted = None if call.status is None or call.status >= 500 else 200 <= call.status < 300
    shown = tuple(_person(each) for each in _objects(answer.get("profiles")))
    is_conflict = answer.get("code") == "duplicate_profile"
    # An answer that the guard gave itself says nothing about Klaviyo, and the call never reached it.
    if row.get("from_klaviyo") is False and row.get("action") in {"refuse", "answer"}:
        accepted = False
    return replace(
        call,
        people=people if call.operation not in READS else (),
        shown=() if is_conflict else shown,
        owner_shown=next((each.profile_id for each in shown), None) if is_conflict else None,
        accepted=accepted,
        merged=cast("tuple[str, str]", merged) if all(isinstance(each, str) for each in merged) else None,
        happened=None if moment is None else moment.timestamp(),
        has_list=row.get("has_list") is True,
    )


def _person(row: JSON) -> Named:
    given: JSON = {
        kind: _value(row.get(kind), kind) for kind in ("external_id", "email", "phone_number", "anonymous_id")
    }
    own = _object(row.get("external_id"))
    if own.get("kind") in {"int", "float"} and isinstance(given["external_id"], str):
        found = named(profile_id=row.get("profile_id"), **given)
        return Named(
            found.profile_id, found.external_id, found.email, found.phone_number, found.anonymous_id,
            is_number=True, key=found.key, address=found.address, placeholder=found.placeholder,
        )  # fmt: skip
    return named(profile_id=row.get("profile_id"), **given)


def _value(value: object, kind: str) -> object:
    """Return an identifier, or a text that stands for a hashed one."""
    given = _object(value)
    if not given:
        return value if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    if "value" in given:
        return given["value"]
    if given.get("placeholder"):
        # Every placeholder of one kind is the same value to Klaviyo.
        return "null" if kind != "email" else "null@null.com"
    stands = given.get("hash")
    return stands if isinstance(stands, str) else None


def _moment(value: object) -> datetime | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _bytes(value: object) -> bytes | None:
    if value is None:
        return None
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def _objects(value: object) -> list[JSON]:
    return [_object(each) for each in cast("list[object]", value)] if isinstance(value, list) else []


def _object(value: object) -> JSON:
    return cast("JSON", value) if isinstance(value, dict) else {}
