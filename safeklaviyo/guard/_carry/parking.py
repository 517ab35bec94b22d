"""What is refused goes into the outbox, where the client was given one: to wait for a sign-up, or for a person.

Decided here: a refusal is either told or parked, never both, so that a caller who repeats what was refused doubles
nothing. Told, as Klaviyo's own refusal, is

- a single call, but for an event by an id before its sign-up (R9): that one is parked, and accepted as Klaviyo accepts;
- a job with a row that no queue could carry out later, such as a row with unusable identifiers (R1, R2).

Of other jobs the refused rows are parked, and the rest goes. The rows are queued as by ``k.outbox``: those that may
pass by themselves wait, and the drain parks the others as dead letters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from safeklaviyo._flows.outbox.insert import queue_identify, queue_track
from safeklaviyo.errors import ConfigurationError, IdentityError, IdOnlyError, InvalidPropertyError
from safeklaviyo.guard._parse.spans import plain
from safeklaviyo.stores.outbox.calls import Drop

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.errors import SafeKlaviyoError
    from safeklaviyo.guard._carry.case import Case
    from safeklaviyo.guard._decide.by_map import Ruling
    from safeklaviyo.guard._parse.asked import Named

EVENT_JOB: Final = "bulk_create_events"
_JOBS: Final = frozenset({EVENT_JOB, "bulk_import_profiles"})
_IDENTIFIERS: Final = ("external_id", "email", "phone_number")

Refused = tuple["Named", "SafeKlaviyoError"]


def parks_rows(case: Case, refused: Iterable[Ruling]) -> bool:
    """Tell whether rows that the map has refused are left to be parked."""
    return case.has_outbox and case.asked.name in _JOBS and all(each.person.claim is not None for each in refused)


def park(call: Call, case: Case, refused: Sequence[Refused]) -> Flow[bool]:
    """Put into the outbox what was refused; False if it is to be told instead, and nothing was parked."""
    if not case.has_outbox or not _may_park(case, refused):
        return False
    ids: list[int] = []
    try:
        for named, _ in refused:
            if case.asked.name == "bulk_import_profiles":
                queued = yield from queue_identify(call.setup, connection=None, **_person(named))
                ids.append(queued.id)
                continue
            for event in _events(case, named):
                queued = yield from queue_track(call.setup, connection=None, **event)
                ids.append(queued.id)
    except (IdentityError, InvalidPropertyError, ConfigurationError):
        if ids:
            yield from Drop(call.account, tuple(ids))
        return False
    case.parked = tuple(ids)
    return True


def take_back(call: Call, case: Case) -> Flow[None]:
    """Take rows out of the outbox again: Klaviyo has refused the job that they came with, and its caller is told so."""
    ids, case.parked = case.parked, ()
    yield from Drop(call.account, ids)


def _may_park(case: Case, refused: Sequence[Refused]) -> bool:
    if case.asked.name == "create_event":
        return isinstance(refused[0][1], IdOnlyError)
    # An import of which nothing is left would need a receipt of Klaviyo's, with the id of a job that there is not.
    return case.asked.name == EVENT_JOB or (case.asked.name in _JOBS and len(refused) < len(case.people))


def _who(named: Named) -> dict[str, Any]:
    return {name: named.given(name) for name in _IDENTIFIERS}


def _about(named: Named) -> dict[str, Any]:
    """Return what a request says about a person, without who that is."""
    said = _object(plain(named.attributes))
    return {name: value for name, value in said.items() if name not in {*_IDENTIFIERS, "_kx", "anonymous_id"}}


def _person(named: Named) -> dict[str, Any]:
    patches = _object(_object(named.node.get("meta")).get("patch_properties"))
    changes = {name: patches.get(name) for name in ("append", "unappend", "unset")}
    return {"properties": _about(named), **_who(named), **changes}


def _events(case: Case, named: Named) -> Iterator[dict[str, Any]]:
    """Yield the arguments of ``k.outbox.track`` for each event about a person."""
    about = {"customer_properties": _about(named) or None, **_who(named)}
    if case.asked.name == "create_event":
        data = None if case.asked.root is None else case.asked.root.opened("data")
        yield _event(_object(_object(plain(data)).get("attributes")), case.unique_id) | about
        return
    row = case.asked.rows[case.asked.people.index(named)]
    listed = _object(_object(_object(plain(row)).get("attributes")).get("events")).get("data")
    for each in cast("list[object]", listed) if isinstance(listed, list) else ():
        yield _event(_object(_object(each).get("attributes")), None) | about


def _event(attributes: Mapping[str, Any], unique_id: str | None) -> dict[str, Any]:
    metric = _object(_object(_object(attributes.get("metric")).get("data")).get("attributes"))
    given = {name: attributes.get(name) for name in ("properties", "value", "value_currency", "time", "unique_id")}
    if given["unique_id"] is None:
        given["unique_id"] = unique_id
    return {"event": metric.get("name"), **given, "backfill": attributes.get("backfill") is True}


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
