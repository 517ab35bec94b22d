"""One line of the decision log: what a call asked for, what the guard decided, and what the caller was answered.

A line holds no identifier of a person, only keyed hashes.

The schema is published: ``decision-log.schema.json`` beside this package, and ``docs/decision-log.md``.
"""

from __future__ import annotations

import re
from json import loads
from typing import TYPE_CHECKING, Any, Final, cast

from safeklaviyo._api.responses import is_profile_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo.guard._log.hashes import Hashes
    from safeklaviyo.guard._parse.asked import Asked, Named
    from safeklaviyo.guard._plans import Plan
    from safeklaviyo.guard._write.replies import Reply

VERSION: Final = 1
_IDENTIFIERS: Final = ("external_id", "email", "phone_number", "anonymous_id")
_OF_PROFILES: Final = ("external_id", "email", "phone_number")
_MOST_PEOPLE: Final = 10_000
_LARGEST: Final = 1_000_000
_PATH: Final = re.compile(r"[A-Za-z0-9_/.-]{1,200}", re.ASCII)
_WORDS: Final = re.compile(r"[a-z][a-z_]{0,49}", re.ASCII)


def entry(plan: Plan, reply: Reply | None, took: float, hashes: Hashes, *, from_klaviyo: bool) -> dict[str, Any]:
    """Return the line of one call.

    Args:
        plan: The call, with its case and its verdict.
        reply: The answer that the caller got; None if there was none.
        took: Seconds from the call to the answer.
        hashes: What stands in the log for identifiers.
        from_klaviyo: The answer is Klaviyo's and not the guard's own.
    """
    case, verdict = plan.case, plan.verdict
    assert case is not None
    assert verdict is not None
    asked, rulings = case.asked, case.rulings
    line: dict[str, Any] = {
        "v": VERSION,
        "at": verdict.at.isoformat().replace("+00:00", "Z"),
        "account": verdict.account,
        "operation": asked.name,
        "method": asked.method,
        # A path that Klaviyo does not have may hold anything, an address too (P8).
        "path": asked.path if _PATH.fullmatch(asked.path) else None,
        "revision": asked.revision,
        "mode": plan.mode,
        "action": verdict.action,
        "rule": verdict.rule,
        "reason": verdict.reason,
        "by_map": None if rulings is None else {"action": rulings.action, "rule": rulings.rule},
        "rewritten": list(verdict.rewritten),
        "site": plan.site,
        "status": None if reply is None else reply.status,
        "from_klaviyo": from_klaviyo,
        "key": hashes.name,
        "people": [_person(asked, named, number, hashes) for number, named in enumerate(asked.people[:_MOST_PEOPLE])],
    }
    if reply is not None:
        line["took_ms"] = round(took * 1000, 3)
        line["answer"] = _answer(reply, hashes)
    return line | _of_operation(asked, hashes)


def _of_operation(asked: Asked, hashes: Hashes) -> dict[str, Any]:
    """Return what only the lines of some operations have."""
    if asked.name in {"create_event", "create_back_in_stock_subscription"}:
        event = _event(asked.attribute("metric"), asked.attribute("unique_id"), asked.attribute("time"), hashes)
        return {"event": event}
    return _merge(asked) if asked.name == "merge_profiles" else {}


def _person(asked: Asked, named: Named, number: int, hashes: Hashes) -> dict[str, Any]:
    given = named.profile_id
    shown: dict[str, Any] = {"pointer": named.pointer, "profile_id": given if is_profile_id(given) else None}
    shown |= {name: hashes.identifier(name, named.given(name)) for name in _IDENTIFIERS}
    if asked.name == "bulk_create_events":
        shown["events"] = [
            _event(each.get("metric"), each.get("unique_id"), each.get("time"), hashes)
            for each in _events_of(asked, number)
        ]
    return shown


def _events_of(asked: Asked, number: int) -> Iterable[dict[str, Any]]:
    """Yield the events of one person of a bulk request; none if the body has another shape."""
    # The guard opens only the places of people, so the events are decoded here, in the log's own thread.
    value: Any = loads(asked.text)
    for step in ("data", "attributes", "events-bulk-create", "data", number, "attributes", "events", "data"):
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return
    for each in cast("list[object]", value) if isinstance(value, list) else ():
        attributes = _fields(_fields(each).get("attributes"))
        yield attributes


def _event(metric: Any, unique_id: Any, time: Any, hashes: Hashes) -> dict[str, Any]:
    name = _fields(_fields(_fields(metric).get("data")).get("attributes")).get("name")
    return {
        "metric": name if isinstance(name, str) else None,
        "unique_id": None if unique_id is None else hashes.of(str(unique_id)),
        "time": time if isinstance(time, str) else None,
    }


def _merge(asked: Asked) -> dict[str, Any]:
    data = None if asked.root is None else asked.root.opened("data")
    listed: Any = asked.related("profiles")
    source = _fields(cast("list[object]", listed)[0]).get("id") if isinstance(listed, list) and listed else None
    into = None if data is None else data.get("id")
    return {
        "source": {"profile_id": source if is_profile_id(source) else None},
        "destination": {"profile_id": into if is_profile_id(into) else None},
    }


def _answer(reply: Reply, hashes: Hashes) -> dict[str, Any] | None:
    """Return the profiles that an answer shows, and the code of an error; None if the answer cannot be read."""
    # Decoding a very long answer would hold up the lines of other calls.
    if not reply.body or len(reply.body) > _LARGEST:
        return None
    try:
        document = _fields(loads(reply.body))
    except (ValueError, RecursionError):
        return None
    data = document.get("data")
    listed = cast("list[object]", data) if isinstance(data, list) else [data]
    profiles = [_fields(each) for each in listed if _fields(each).get("type") == "profile"]
    errors = document.get("errors")
    first = _fields(cast("list[object]", errors)[0]) if isinstance(errors, list) and errors else {}
    code, owner = first.get("code"), _fields(first.get("meta")).get("duplicate_profile_id")
    return {
        "profiles": [_profile(each, hashes) for each in profiles],
        "code": code if isinstance(code, str) and _WORDS.fullmatch(code) else None,
        "duplicate_profile_id": owner if is_profile_id(owner) else None,
    }


def _profile(data: dict[str, Any], hashes: Hashes) -> dict[str, Any]:
    attributes, profile_id = _fields(data.get("attributes")), data.get("id")
    shown = {name: hashes.identifier(name, attributes.get(name)) for name in _OF_PROFILES}
    return {"profile_id": profile_id if is_profile_id(profile_id) else None, **shown}


def _fields(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
