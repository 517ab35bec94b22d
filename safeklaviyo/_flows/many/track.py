"""`track_many`: events of known customers in jobs of a thousand, all others as `track` sends them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from safeklaviyo._api.bulk import GROUP, MOST_EVENTS, ROOM, create_events, event_row
from safeklaviyo._effects import Flow, NewId, Now
from safeklaviyo._flows.call import Call, Setup, run
from safeklaviyo._flows.many.rows import (
    Batch,
    GivenUpError,
    Refused,
    goes_singly,
    rehearsed,
    row_from,
    send_patiently,
    shown_row,
    sorted_by_map,
    take_in,
)
from safeklaviyo._flows.verbs.person import claim_of
from safeklaviyo._flows.verbs.track import refuse_dropped, tracked
from safeklaviyo._input.events import event_from
from safeklaviyo._input.findings import Findings
from safeklaviyo._input.properties import NOTHING, combine, person_from
from safeklaviyo.errors import SafeKlaviyoError
from safeklaviyo.stores.calls import ReadBindings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from safeklaviyo._api.messages import Request
    from safeklaviyo._input.events import Event
    from safeklaviyo._input.properties import Person
    from safeklaviyo.identity import Claim
    from safeklaviyo.models import Binding, TrackResult

_KEYS: Final = frozenset({
    "event", "external_id", "email", "phone_number", "customer_properties", "properties", "value", "value_currency",
    "time", "unique_id", "backfill",
})  # fmt: skip


class EventRow(NamedTuple):
    """One event of many, checked.

    Attributes:
        text: The event as JSON, for a request about many.
    """

    number: int
    row: Mapping[str, Any]
    claim: Claim
    event: Event
    person: Person
    text: bytes

    def __repr__(self) -> str:
        return f"EventRow({self.number})"


def prepare_events(setup: Setup, rows: Iterable[tuple[int, object]]) -> Flow[Batch[EventRow]]:
    """Check events, and write the requests about those of known customers. See `Klaviyo.track_many`."""
    return run(setup, "track_many", lambda call: _prepare(call, rows))


def send_events(setup: Setup, batch: Batch[EventRow]) -> Flow[None]:
    """Send the requests of a batch."""

    def _body(call: Call) -> Flow[None]:
        for job in batch.prepared:
            yield from _send(call, job, batch)

    return run(setup, "track_many", _body)


def track_row(setup: Setup, row: EventRow) -> Flow[TrackResult]:
    """Send one event as `track` does."""
    return run(setup, "track_many", lambda call: tracked(call, row.claim, row.event, row.person))


def rehearse_events(setup: Setup, rows: Iterable[tuple[int, object]]) -> Flow[Batch[EventRow]]:
    """Tell which events would be sent and which refused, by the rows and the map alone."""

    def _body(call: Call) -> Flow[Batch[EventRow]]:
        batch: Batch[EventRow] = Batch()
        yield from rehearsed(call, (yield from _check(call, rows, batch)), batch)
        return batch

    return run(setup, "track_many", _body)


def _prepare(call: Call, rows: Iterable[tuple[int, object]]) -> Flow[Batch[EventRow]]:
    batch: Batch[EventRow] = Batch()
    # Step 1: check each row, and fix what identifies its event.
    checked = yield from _check(call, rows, batch)
    # Step 2: a key that comes twice for one profile and name counts once; Klaviyo may refuse a whole job for it.
    warm, batch.cold = yield from sorted_by_map(call, checked)
    batch.accepted = len(warm)
    seen: set[tuple[str, str, str]] = set()
    once: list[tuple[EventRow, Binding]] = []
    for pair in warm:
        row, binding = pair
        key = (binding.key, row.event.name, row.event.unique_id)
        if key not in seen:
            seen.add(key)
            once.append(pair)
    batch.prepared = list(_jobs(once))
    return batch


def _check(call: Call, rows: Iterable[tuple[int, object]], batch: Batch[EventRow]) -> Flow[list[EventRow]]:
    now = yield from Now()
    first = yield from NewId()
    checked: list[EventRow] = []
    for number, row in rows:
        try:
            checked.append(_checked(call, number, row, now, f"{first}-{number}"))
        except SafeKlaviyoError as error:
            batch.refused.append(Refused(number, shown_row(row), error))
    return checked


def _checked(call: Call, number: int, row: object, now: float, new_id: str) -> EventRow:
    given = row_from(row, _KEYS)
    of = given.get
    findings = Findings()
    person, who = person_from(of("customer_properties"), findings, where="customer_properties")
    who = combine(who, findings, external_id=of("external_id"), email=of("email"), phone_number=of("phone_number"))
    event = event_from(
        of("event"),
        of("properties"),
        findings,
        value=of("value"),
        value_currency=of("value_currency"),
        time=of("time"),
        unique_id=of("unique_id"),
        backfill=of("backfill", False),
        now=now,
        new_id=new_id,
    )
    take_in(call, findings)
    claim = claim_of(call, who)
    refuse_dropped(call, claim.email)
    return EventRow(number, given, claim, event, person, event_row(event))


@dataclass(frozen=True, slots=True)
class _Job:
    """The events of one request, each with its binding."""

    rows: list[tuple[EventRow, Binding]]


def _jobs(rows: list[tuple[EventRow, Binding]]) -> Iterator[_Job]:
    """Split rows into requests that Klaviyo takes: a thousand events, and 5 MB."""
    job, size = _Job([]), 0
    for pair in rows:
        row = pair[0]
        # A profile's own part is counted with each of its events: it is small, and seldom shared.
        extra = len(row.text) + GROUP + (0 if row.person.is_empty else len(str(row.person.attributes)) * 4)
        if job.rows and (size + extra > ROOM or len(job.rows) == MOST_EVENTS):
            yield job
            job, size = _Job([]), 0
        job.rows.append(pair)
        size += extra
    if job.rows:
        yield job


def _send(call: Call, job: _Job, batch: Batch[EventRow]) -> Flow[None]:
    """Send one request; where its answer does not speak for every row, the rows are left to be sent singly."""
    alone = call.policy.event_naming == "profile_id"
    this = object()
    keys = {binding.key for _, binding in job.rows}
    # For changes of identifiers, which wait until no event with the old address is on its way.
    on_their_way = [(key, this) for key in keys]

    def _again() -> Flow[Request]:
        # The profile of each event stays, its address is read again: an old one would come back (H10).
        bindings = yield from ReadBindings(call.account, sorted(keys))
        latest = {binding.key: binding for binding in bindings}
        return create_events(_groups(job, latest), by_profile_id_alone=alone)

    def _before(_seconds: float) -> Flow[None]:
        yield from ()
        if batch.is_given_up:
            raise GivenUpError

    request = create_events(_groups(job, {}), by_profile_id_alone=alone)
    try:
        for each in on_their_way:
            call.setup.in_flight.enter(each)
        yield from send_patiently(call, request, again=_again, before=_before)
    except SafeKlaviyoError as error:
        if not goes_singly(error):
            raise
        batch.accepted -= len(job.rows)
        batch.singly += [row for row, _ in job.rows]
    finally:
        for each in on_their_way:
            call.setup.in_flight.leave(each)


def _groups(job: _Job, latest: Mapping[str, Binding]) -> Iterator[tuple[Binding, Person, list[bytes]]]:
    """Group the events by profile; an event that says something about the person is a group of its own."""
    shared: dict[str, list[bytes]] = {}
    bindings: dict[str, Binding] = {}
    own: list[tuple[EventRow, Binding]] = []
    for pair in job.rows:
        row, before = pair
        if not row.person.is_empty:
            own.append(pair)
        elif before.key in bindings:
            shared[before.key].append(row.text)
        else:
            bindings[before.key], shared[before.key] = before, [row.text]
    for key, texts in shared.items():
        yield _now(bindings[key], latest), NOTHING, texts
    for row, before in own:
        yield _now(before, latest), row.person, [row.text]


def _now(before: Binding, latest: Mapping[str, Binding]) -> Binding:
    """Return a binding as the map has it now, but not with another profile: an event is fixed to its own (P5)."""
    now = latest.get(before.key, before)
    return now if now.profile_id == before.profile_id else before
