"""JSON lines, one call a line: the guard's decision log, and the logs of shops that log their own calls.

Decided here: how hashed identifiers stand for plain ones. Equal hashes mean equal identifiers, and a replay needs no
more. Not here: what the bodies say (`bodies`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qsl

from safeklaviyo.audit._diagnosis.bodies import (
    READS,
    WRITES,
    Unreadable,
    accepted,
    operation_of,
    understood,
)
from safeklaviyo.audit._diagnosis.calls import Call, Named, named, object_of, shown_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

JSON = dict[str, Any]
VERSION: Final = 1


def calls_of(rows: Iterable[bytes], source: str) -> Iterator[Call | tuple[int, str, bool]]:
    """Yield the calls of a file. A line that cannot be used yields its index, why, and whether it may have written."""
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
    """Read a line with the bodies of the request and the answer."""
    body, answer = (_bytes(row.get(name)) for name in ("request", "response"))
    return understood(call, dict(parse_qsl(query)), body, answer)


def _from_people(call: Call, row: JSON) -> Call:
    """Read a line in the schema of the decision log."""
    # The line has the caller's request. Klaviyo got another one, which the line does not have.
    if row.get("mode") == "enforce" and row.get("action", "pass") != "pass":
        raise Unreadable("the guard put it right or refused it, so that Klaviyo got another call")
    answer = object_of(row.get("answer"))
    people = tuple(_person(each) for each in _objects(row.get("people")))
    merged = (object_of(row.get("source")).get("profile_id"), object_of(row.get("destination")).get("profile_id"))
    is_merge = all(isinstance(each, str) for each in merged)
    if call.operation in WRITES and not people and not is_merge:
        raise Unreadable("it names no one")
    moment = _moment(object_of(row.get("event")).get("time"))
    owner = answer.get("duplicate_profile_id")
    return replace(
        call,
        people=people if call.operation not in READS else (),
        shown=tuple(_person(each) for each in _objects(answer.get("profiles"))),
        owner_shown=owner if isinstance(owner, str) else None,
        # The guard's own answer does not say what Klaviyo did.
        accepted=None if row.get("from_klaviyo") is False else accepted(call.status),
        merged=cast("tuple[str, str]", merged) if is_merge else None,
        happened=None if moment is None else moment.timestamp(),
        has_list=row.get("has_list") is True,
    )


def _person(row: JSON) -> Named:
    own_id = object_of(row.get("external_id"))
    found = named(
        profile_id=row.get("profile_id"),
        external_id=_value(row.get("external_id"), "external_id"),
        email=_value(row.get("email"), "email"),
        phone_number=_value(row.get("phone_number"), "phone_number"),
        anonymous_id=_value(row.get("anonymous_id"), "anonymous_id"),
    )
    return replace(found, is_number=True) if own_id.get("kind") in {"int", "float"} else found


def _value(value: object, kind: str) -> object:
    """Return an identifier, or a text that stands for a hashed one."""
    given = object_of(value)
    if not given:
        return value if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    if "value" in given:
        return given["value"]
    hashed = given.get("hash")
    if not isinstance(hashed, str):
        return None
    if given.get("placeholder"):
        # A placeholder names no customer, so one text stands for all of them.
        return "null"
    return _stand_in(hashed, kind, given.get("spelling"))


def _stand_in(hashed: str, kind: str, spelling: object) -> str:
    """Return a text with the form of an identifier: the same for the same hash, another for another one."""
    digest = hashlib.sha256(hashed.encode()).hexdigest()[:24]
    if kind == "phone_number":
        return f"+1{int(digest[:12], 16) % 10**10:010d}"
    if kind != "email":
        return f"h{digest}"
    # Two spellings of one address differ in case, as they do for Klaviyo.
    bits = hashlib.sha256(str(spelling).encode()).digest() if spelling is not None and spelling != hashed else bytes(32)
    return "".join(
        letter.upper() if bit & 1 else letter for letter, bit in zip(f"h{digest}", bits[:25], strict=True)
    ) + "@hashed.test"  # fmt: skip


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
    return [object_of(each) for each in cast("list[object]", value)] if isinstance(value, list) else []
