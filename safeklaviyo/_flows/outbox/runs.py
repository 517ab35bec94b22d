"""Events of known customers in one request of up to a thousand.

Decided here: which rows go together, and which have to go singly.

- A row that was sent before goes singly. Klaviyo may refuse a whole request in which one key is repeated (H15).
- The rows of a request that Klaviyo has refused go singly, because one of them may be the reason.
- A row goes singly, by first contact, if the map does not know its customer well enough. So do all later rows of the
  request that share a name with it.
- After an answer that is no acceptance, no later row of the run is sent (H19).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from safeklaviyo._api.bulk import GROUP, MOST_EVENTS, ROOM, create_events, event_row
from safeklaviyo._flows.call import Call, run, send
from safeklaviyo._flows.many.rows import goes_singly, sorted_by_map
from safeklaviyo._flows.outbox import names
from safeklaviyo._flows.outbox.carry import FencedError
from safeklaviyo._flows.outbox.payload import claim_from_payload, decode, event_from_payload, person_from_payload
from safeklaviyo.errors import APIStatusError, SafeKlaviyoError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.calls import Find, Former
from safeklaviyo.stores.outbox.calls import Delete, FixRows, Mark, Wait
from safeklaviyo.stores.outbox.records import Fix

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Setup
    from safeklaviyo._flows.outbox.carry import Lane
    from safeklaviyo._input.events import Event
    from safeklaviyo._input.properties import Person
    from safeklaviyo.identity import Claim
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.outbox.records import Row


@dataclass(slots=True)
class _Sent:
    """One event of a run.

    Attributes:
        number: Its place in the run.
        row: Its payload.
        claim: The person, as the map names them now.
        of: The row of the outbox.
        event: The event.
        person: The properties of the person.
        alone: A change of the person's email waits, so the event names the profile by its id alone (H22).
    """

    number: int
    row: Mapping[str, Any]
    claim: Claim
    of: Row
    event: Event
    person: Person
    alone: bool = False


@dataclass(slots=True)
class Ran:
    """The result of a run.

    Attributes:
        delivered: How many rows are done.
        singly: The rows that have to go singly now.
        failed: The error after which no later row may be sent, and the rows that were sent with it.
    """

    delivered: int = 0
    singly: list[Row] = field(default_factory=list["Row"])
    failed: tuple[SafeKlaviyoError, list[Row]] | None = None


def sorted_out(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Return the rows that may go together, and those that go singly after them."""
    together: list[Row] = []
    singly: list[Row] = []
    held: set[str] = set()
    for row in rows:
        # A later row of a person with a single row goes singly too, or it would overtake that row (H16).
        if row.verb == "track" and not row.unsure and held.isdisjoint(row.names):
            together.append(row)
        else:
            singly.append(row)
            held.update(row.names)
    return together, singly


def run_together(setup: Setup, lane: Lane, rows: list[Row]) -> Flow[Ran]:
    """Carry out events together.

    Raises:
        FencedError: Another drain has the lane.
    """
    return run(setup, "outbox.track", lambda call: _run_together(call, lane, rows))


def _run_together(call: Call, lane: Lane, rows: list[Row]) -> Flow[Ran]:
    ran = Ran()
    of_lane = lane.account, lane.number, lane.token
    # Step 1: count the rows as tried, before any request about them is sent (H13 to H15).
    marked = yield from Mark(*of_lane, [row.id for row in rows])
    if not marked:
        raise FencedError
    rows = [row for row in rows if row.id in marked]  # others were erased or dropped since they were read
    # Step 2: find their customers in the map alone, and ask again which rows may go, by the customers' names (H18).
    known = yield from _known(call, rows)
    warm = yield from _fixed(call, lane, known)
    asked, going = {sent.of.id for sent, _ in known}, {sent.of.id for sent, _ in warm}
    left = [row for row in rows if row.id not in going]
    if left:
        yield from Wait(*of_lane, [row.id for row in left], 0.0, unsure=False)
    # A row that has to wait for an earlier row is read again once that row has gone.
    ran.singly = [row for row in left if row.id not in asked]
    # Step 3: send, until an answer is no acceptance.
    is_stopped = False
    for job in _jobs(warm):
        ids = [sent.of.id for sent, _, _ in job]
        if is_stopped:
            # These rows were not sent, so they may go together the next time.
            yield from Wait(*of_lane, ids, 0.0, unsure=False)
        elif (yield from _send(call, job, ran)):
            ran.delivered += len(ids) * (yield from Delete(*of_lane, ids))
        else:
            is_stopped = True
    if ran.failed is not None:
        ran.singly = []
    return ran


def _known(call: Call, rows: list[Row]) -> Flow[list[tuple[_Sent, Binding]]]:
    """Return the rows that may go together, each with its customer from the map."""
    given = [_read(number, row) for number, row in enumerate(rows)]
    # Step 1: a row with a profile means that profile, even if its identifiers have another owner by now (H13).
    pinned = tuple(dict.fromkeys(Identifier(Kind.PROFILE_ID, row.profile) for row in rows if row.profile))
    found = (yield from Find(call.account, pinned)) if pinned else None
    owners = {match.identifier.value: match.binding for match in found.matches} if found is not None else {}
    for sent in given:
        owner = owners.get(sent.of.profile or "")
        if owner is not None:
            sent.claim = sent.claim._replace(external_id=owner.external_id, email=owner.email)
    # Step 2: all others mean the customer that the rules find in the map.
    warm, _ = yield from sorted_by_map(call, given)
    bindings = {sent.number: binding for sent, binding in warm}
    going: list[tuple[_Sent, Binding]] = []
    held: set[str] = set()
    seen: set[tuple[str, str, str]] = set()
    # Step 3: leave out rows that may not go together, second events with one key, and all later rows of these people.
    for sent in given:
        binding = bindings.get(sent.number)
        key = ("" if binding is None else binding.key, sent.event.name, sent.event.unique_id)
        if binding is None or not _may_go(sent, binding) or key in seen or not held.isdisjoint(sent.of.names):
            held.update(sent.of.names)
        else:
            seen.add(key)
            going.append((sent, binding))
    return going


def _may_go(sent: _Sent, binding: Binding) -> bool:
    """Tell whether nothing has to be done about a row's customer besides sending the event."""
    has_other_phone = sent.claim.unusable_phone or sent.claim.phone_number not in {None, binding.phone_number}
    return binding.profile_id is not None and sent.of.profile in {None, binding.profile_id} and not has_other_phone


def _fixed(call: Call, lane: Lane, going: list[tuple[_Sent, Binding]]) -> Flow[list[tuple[_Sent, Binding]]]:
    """Write into the rows which customers they mean, and leave out rows that have to wait for an earlier one."""
    if not going:
        return []
    bindings = {binding.key: binding for _, binding in going}
    named: dict[str, list[Identifier]] = {key: list(names.of_binding(each)) for key, each in bindings.items()}
    for match in (yield from Former(call.account, tuple(bindings.values()))):
        named[match.binding.key].append(match.identifier)
    hashes = {key: names.hashed(lane.about, call.account, each) for key, each in named.items()}
    fixes = [Fix(sent.of.id, binding.profile_id, hashes[binding.key]) for sent, binding in going]
    fixed = yield from FixRows(call.account, lane.number, lane.token, fixes)
    if fixed is None:
        raise FencedError
    for sent, _ in going:
        sent.alone = sent.of.id in fixed.changing
    return [(sent, binding) for sent, binding in going if sent.of.id not in fixed.behind]


def _read(number: int, row: Row) -> _Sent:
    payload = decode(row)
    event, person = event_from_payload(payload), person_from_payload(payload)
    return _Sent(number, payload, claim_from_payload(payload), row, event, person)


def _jobs(warm: list[tuple[_Sent, Binding]]) -> Iterator[list[tuple[_Sent, Binding, bytes]]]:
    """Split rows into requests that Klaviyo takes: a thousand events, and 5 MB."""
    job: list[tuple[_Sent, Binding, bytes]] = []
    size = 0
    for sent, binding in warm:
        text = event_row(sent.event)
        extra = len(text) + GROUP + (0 if sent.person.is_empty else 4 * len(str(sent.person.attributes)))
        if job and (size + extra > ROOM or len(job) == MOST_EVENTS):
            yield job
            job, size = [], 0
        job.append((sent, binding, text))
        size += extra
    if job:
        yield job


def _send(call: Call, job: list[tuple[_Sent, Binding, bytes]], ran: Ran) -> Flow[bool]:
    """Send one request; tell whether Klaviyo has accepted it.

    If Klaviyo refuses the request, its rows go singly, and each answer decides about its own row.
    """
    alone = call.policy.event_naming == "profile_id"
    # `change_email` of this process looks for events that are on their way (H1).
    on_their_way = [(binding.key, object()) for _, binding, _ in job]
    try:
        for each in on_their_way:
            call.setup.in_flight.enter(each)
        yield from send(call, create_events(_groups(job), by_profile_id_alone=alone), main=True)
    except SafeKlaviyoError as error:
        rows = [sent.of for sent, _, _ in job]
        if isinstance(error, APIStatusError) and goes_singly(error) and error.outcome == "not_applied":
            ran.singly += rows
        else:
            ran.failed = error, rows
        return False
    finally:
        for each in on_their_way:
            call.setup.in_flight.leave(each)
    return True


def _groups(job: list[tuple[_Sent, Binding, bytes]]) -> Iterator[tuple[Binding, Person, list[bytes]]]:
    """Group the events by profile. An event with properties of the person is a group of its own."""
    shared: dict[tuple[str, bool], tuple[Binding, Person, list[bytes]]] = {}
    own: list[tuple[Binding, Person, list[bytes]]] = []
    for sent, binding, text in job:
        # While a change of the person's email waits, an event with the old address would put that back later (H22).
        named = replace(binding, external_id=None, email=None) if sent.alone else binding
        if sent.person.is_empty:
            shared.setdefault((binding.key, sent.alone), (named, sent.person, []))[2].append(text)
        else:
            own.append((named, sent.person, [text]))
    yield from shared.values()
    yield from own
