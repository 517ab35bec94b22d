"""Reading the bodies of a call: which people a request names, and which profiles an answer shows.

Decided here: where in each endpoint's body a profile stands, in the current dialect, in the retired one, and in the
browser's endpoints. Not here: the file that a call stands in (`har`, `lines`).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qs, unquote

from safeklaviyo.audit._diagnosis.calls import Call, Named, named, object_of
from safeklaviyo.testing.simulator import routes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

JSON = dict[str, Any]

CLIENT: Final = {
    "/client/events": "create_client_event",
    "/client/event-bulk-create": "bulk_create_client_events",
    "/client/profiles": "create_client_profile",
    "/client/subscriptions": "create_client_subscription",
    "/client/back-in-stock-subscriptions": "create_client_back_in_stock_subscription",
    "/client/push-tokens": "create_client_push_token",
}
"""The endpoints for browsers, which this library never calls. Klaviyo's Client reference."""

READS: Final = frozenset({"get_profiles", "get_profile", "search_people", "get_person"})
"""The reads that show which identifiers one profile has."""

WRITES: Final = frozenset({
    "create_profile", "update_profile", "create_or_update_profile", "merge_profiles", "request_profile_deletion",
    "create_event", "bulk_create_events", "bulk_import_profiles", "bulk_subscribe_profiles",
    "bulk_unsubscribe_profiles", "bulk_suppress_profiles", "create_push_token",
    "create_back_in_stock_subscription", "track", "identify", "update_person", *CLIENT.values(),
})  # fmt: skip
"""The calls that can make or change a profile's identifiers."""

_LEGACY: Final = frozenset({"track", "identify", "update_person"})
_KINDS: Final = ("external_id", "email", "phone_number")
_MARKED: Final = {"external_id": ("$id", "id"), "email": ("$email", "email"), "phone_number": ("$phone_number",)}
_EQUALS: Final = re.compile(r"""equals\(\s*(email|external_id|phone_number)\s*,\s*(["'])(.*?)(?<!\\)\2\s*\)""")


class Unreadable(Exception):  # noqa: N818 - what is said of an entry
    """A body that cannot be used; the message says why."""


def operation_of(method: str, path: str) -> str:
    """Return Klaviyo's name of an endpoint; an empty text if the endpoint has nothing to do with identities."""
    path = path.rstrip("/")
    if path in CLIENT:
        return CLIENT[path] if method == "POST" else ""
    found, _ = routes.find(path)
    name = next((route.name for route in found if method in route.methods), "")
    return name if name in READS or name in WRITES else ""


def understood(call: Call, query: Mapping[str, str], body: bytes | None, answer: bytes | None) -> Call:
    """Return a call, filled from its bodies.

    Args:
        call: The call with its operation, path and status.
        query: The decoded query.
        body: The request's body; None if the log has none.
        answer: The answer's body; None if the log has none.

    Raises:
        Unreadable: The request's body is missing, cut off, or not what the endpoint takes.
    """
    # Step 1: the answer. It is evidence only, so a missing one does no harm.
    shown, owner = _answered(call, answer)
    filled = replace(call, shown=shown, owner_shown=owner, accepted=_is_accepted(call, answer))
    # Step 2: the request, by the kind of endpoint: a read, a retired one, or one of today's.
    if call.operation in READS:
        searched = _searched(call.operation, query)
        if call.operation == "search_people" and searched is not None:
            # The retired search answers with an id alone. The identifier that was searched for is that profile's.
            own: JSON = dict([searched])
            filled = replace(filled, shown=tuple(named(profile_id=each.profile_id, **own) for each in shown))
        return replace(filled, searched=searched, people=_read(call))
    if call.operation in _LEGACY:
        data = _retired_data(call, query, body)
        return replace(filled, people=_retired_people(call, data, query), happened=_seconds(data.get("time")))
    data = _data(body)
    attributes = object_of(data.get("attributes"))
    return replace(
        filled,
        people=tuple(_people(call, data, attributes)),
        merged=_merge(data) if call.operation == "merge_profiles" else None,
        happened=_seconds(attributes.get("time")),
        has_list=attributes.get("historical_import") is True or "list" in object_of(data.get("relationships")),
    )


def _is_accepted(call: Call, answer: bytes | None) -> bool | None:
    # The retired endpoints refuse a call with a 0 under status 200.
    if call.operation in _LEGACY and answer is not None and answer.strip() == b"0":
        return False
    return accepted(call.status)


def accepted(status: int | None) -> bool | None:
    """Tell whether Klaviyo took a call; None if there was no answer, or a server error."""
    return None if status is None or status >= 500 else 200 <= status < 300


def _people(call: Call, data: JSON, attributes: JSON) -> Iterator[Named]:
    operation = call.operation
    if operation in {"create_profile", "create_or_update_profile", "update_profile", "create_client_profile"}:
        own = {**data, "id": _last(call.path)} if operation == "update_profile" else data
        yield _profile(own)
    elif operation == "bulk_create_events":
        for group in _rows(attributes.get("events-bulk-create")):
            yield _profile(_inner(object_of(group.get("attributes")).get("profile")))
    elif operation.startswith("bulk_") and operation != "bulk_create_client_events":
        yield from map(_profile, _rows(attributes.get("profiles")))
    elif operation != "merge_profiles":
        yield _profile(_inner(attributes.get("profile")))


def _profile(data: JSON) -> Named:
    """Read a profile, in today's form or in that of 2023, which had the retired names."""
    attributes = object_of(data.get("attributes"))
    if not attributes and "attributes" not in data:
        given: JSON = {kind: next((data[name] for name in _MARKED[kind] if name in data), None) for kind in _KINDS}
        if any(name.startswith("$") for name in data):
            return named(**given)
    # A null is not a missing identifier: in some calls it clears one.
    clears = frozenset(kind for kind in _KINDS if kind in attributes and attributes[kind] is None)
    own: JSON = {kind: attributes.get(kind) for kind in (*_KINDS, "anonymous_id")}
    return named(profile_id=data.get("id"), clears=clears, **own)


def _inner(profile: object) -> JSON:
    holder = object_of(profile)
    return object_of(holder["data"]) if "data" in holder else holder


def _merge(data: JSON) -> tuple[str, str]:
    sources = _rows(object_of(data.get("relationships")).get("profiles"))
    source, destination = sources[0].get("id") if len(sources) == 1 else None, data.get("id")
    if not isinstance(source, str) or not isinstance(destination, str):
        raise Unreadable("its body names no two profiles")
    return source, destination


def _retired_data(call: Call, query: Mapping[str, str], body: bytes | None) -> JSON:
    if call.operation == "update_person":
        return {}
    if call.method == "GET":
        try:
            text: bytes | None = base64.b64decode(query.get("data", "").replace(" ", "+"))
        except (binascii.Error, ValueError):
            raise Unreadable("its data is no base64") from None
    elif body is not None and body[:1] != b"{":
        text = next(iter(parse_qs(body.decode("utf-8", "replace")).get("data", [])), "").encode()
    else:
        text = body
    return decoded(text)


def _retired_people(call: Call, data: JSON, query: Mapping[str, str]) -> tuple[Named, ...]:
    name = {"track": "customer_properties", "identify": "properties"}.get(call.operation)
    holder: Mapping[str, Any] = query if name is None else object_of(data.get(name))
    given: JSON = {kind: next((holder[each] for each in _MARKED[kind] if holder.get(each)), None) for kind in _KINDS}
    return (named(profile_id=_last(call.path) if call.operation == "update_person" else None, **given),)


def _read(call: Call) -> tuple[Named, ...]:
    return (named(profile_id=_last(call.path)),) if call.operation in {"get_profile", "get_person"} else ()


def _searched(operation: str, query: Mapping[str, str]) -> tuple[str, str] | None:
    if operation == "search_people":
        return next(((kind, query[kind]) for kind in _KINDS if query.get(kind)), None)
    found = _EQUALS.fullmatch(query.get("filter", "").strip())
    return None if found is None else (found.group(1), re.sub(r"\\(.)", r"\1", found.group(3)))


def _answered(call: Call, answer: bytes | None) -> tuple[tuple[Named, ...], str | None]:
    """Return the profiles that an answer shows, and the owner that a conflict names."""
    try:
        document = decoded(answer)
    except Unreadable:
        # An answer that cannot be read proves nothing. The call itself still counts.
        return (), None
    errors = document.get("errors")
    if isinstance(errors, list):
        metas = [object_of(object_of(error).get("meta")) for error in cast("list[object]", errors)]
        owner = next((meta["duplicate_profile_id"] for meta in metas if meta.get("duplicate_profile_id")), None)
        return (), owner if isinstance(owner, str) else None
    if call.operation in {"search_people", "get_person", "update_person"}:
        own = named(profile_id=document.get("id"), external_id=document.get("$id"), email=document.get("$email"))
        return ((own,) if own.profile_id else ()), None
    data: Any = document.get("data")
    rows = cast("list[object]", data) if isinstance(data, list) else [data]
    shown = (object_of(row) for row in rows)
    # A merge answers with the destination's id alone, which shows no identifiers.
    return tuple(_profile(row) for row in shown if row.get("type") == "profile" and row.get("attributes")), None


def decoded(body: bytes | None) -> JSON:
    """Return a body's JSON object.

    Raises:
        Unreadable: The body is missing, cut off, or no JSON.
    """
    if not body:
        raise Unreadable("its body is missing")
    try:
        document: object = json.loads(body)
    except (ValueError, RecursionError):
        raise Unreadable("its body is cut off, or no JSON") from None
    return object_of(document)


def _data(body: bytes | None) -> JSON:
    data = decoded(body).get("data")
    if not isinstance(data, dict):
        raise Unreadable("its body is not what the endpoint takes")
    return cast("JSON", data)


def _rows(holder: object) -> list[JSON]:
    rows: Any = object_of(holder).get("data")
    return [object_of(row) for row in cast("list[object]", rows)] if isinstance(rows, list) else []


def _last(path: str) -> str:
    return unquote(path.rstrip("/").rpartition("/")[2])


def _seconds(value: object) -> float | None:
    """Return a time in unix seconds, from the forms of both dialects."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
