"""The endpoints about events (Klaviyo's Events reference): single ones, jobs of many, and reading them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from safeklaviyo.testing.simulator import revisions
from safeklaviyo.testing.simulator.checks import fields, resource
from safeklaviyo.testing.simulator.documents import CONVERSATION, event_document, metric_document, profile_document
from safeklaviyo.testing.simulator.event_bodies import EventReader
from safeklaviyo.testing.simulator.filters import RANGE, SAME, THERE
from safeklaviyo.testing.simulator.pages import Listing
from safeklaviyo.testing.simulator.persons import without_nulls
from safeklaviyo.testing.simulator.recording import Recording, Recordings, key_of
from safeklaviyo.testing.simulator.records import JSON, Answer, Asked, Event
from safeklaviyo.testing.simulator.refusals import Refusal, invalid
from safeklaviyo.testing.simulator.shapes import identifiers, many, one, shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.persons import Person
    from safeklaviyo.testing.simulator.shapes import Shape

MAX_EVENTS = 1000

_AT = "/data/attributes"
_GROUPS = f"{_AT}/events-bulk-create/data"
_INCLUDES = ("attributions", "metric", "profile")
_EVENT_ID = re.compile(r"[0-9A-Za-z]{11}")


def create_event(account: Account, asked: Asked) -> Answer:
    """Accept an event: the answer says that it is valid, not that it is recorded."""
    attributes = fields(resource(asked.body, "event").get("attributes"), _AT)
    reader = EventReader(account, asked)
    reader.check_names(attributes, _AT, ("properties", "metric", "profile"))
    person = reader.person(attributes, _AT, beside=revisions.event_meta_beside_attributes(asked.revision))
    # Queued, and applied later: a call that comes after it may be applied before it.
    account.enqueue(asked.endpoint, Recording(person, reader.event(attributes, _AT)))
    return Answer(202)


def bulk_create_events(account: Account, asked: Asked) -> Answer:
    """Accept up to 1,000 events, grouped by profile: all of them, or none if one is malformed."""
    attributes = fields(resource(asked.body, "event-bulk-create-job").get("attributes"), _AT)
    groups = _rows(fields(attributes.get("events-bulk-create"), f"{_AT}/events-bulk-create"), _GROUPS)
    read = [placed for group, at in groups for placed in _group(account, asked, group, f"{at}/attributes")]
    if len(read) > MAX_EVENTS:
        raise invalid(f"1 to {MAX_EVENTS} events are required.", _GROUPS)
    if account.readings.bulk_repeats != "dropped":
        _refuse_repeats(account, read)
    account.enqueue(asked.endpoint, Recordings(tuple(recording for recording, _ in read)))
    return Answer(202)


def get_events(account: Account, asked: Asked) -> Answer:
    """The recorded events that a filter describes, the oldest first unless the request sorts otherwise."""
    shown = shape(asked, _INCLUDES)
    listing: Listing[Event] = Listing(
        {
            "metric_id": SAME,
            "profile_id": SAME,
            "profile": THERE,
            "metric": THERE,
            "datetime": RANGE,
            "timestamp": RANGE,
        },
        {
            "metric_id": lambda event: account.metrics[event.metric].id,
            "profile_id": lambda event: event.profile_id,
            "profile": lambda event: event.profile_id,
            "metric": lambda event: event.metric,
            "datetime": lambda event: event.time,
            "timestamp": lambda event: event.time,
        },
        {"datetime": lambda event: event.time, "timestamp": lambda event: event.time},
        usual=200,
        largest=1000,
    )
    rows, links = listing.page(asked, account.events)
    return many(asked, [event_document(account, row, shown) for row in rows], links, _included(account, rows, shown))


def get_event(account: Account, asked: Asked) -> Answer:
    """One event."""
    shown, event = shape(asked, _INCLUDES), _existing(account, asked.named)
    return one(asked, event_document(account, event, shown), _included(account, [event], shown))


def get_metric_for_event(account: Account, asked: Asked) -> Answer:
    """The metric of an event."""
    return one(asked, metric_document(account.metrics[_existing(account, asked.named).metric], shape(asked)))


def get_metric_id_for_event(account: Account, asked: Asked) -> Answer:
    """The id of the metric of an event."""
    metric = account.metrics[_existing(account, asked.named).metric]
    return one(asked, identifiers("metric", [metric.id])[0])


def get_profile_for_event(account: Account, asked: Asked) -> Answer:
    """The profile of an event."""
    profile = account.get(_existing(account, asked.named).profile_id or "")
    return one(asked, None if profile is None else profile_document(account, profile, shape(asked)))


def get_profile_id_for_event(account: Account, asked: Asked) -> Answer:
    """The id of the profile of an event."""
    return one(asked, identifiers("profile", [_existing(account, asked.named).profile_id or ""])[0])


def _existing(account: Account, event_id: str) -> Event:
    if _EVENT_ID.fullmatch(event_id) is None:
        raise invalid(f"Invalid Event ID: '{event_id}'", "/data/id")
    for event in account.events:
        if event.id == event_id:
            return event
    raise Refusal(404, f"An event with id {event_id} does not exist.")


def _included(account: Account, events: list[Event], shown: Shape) -> Iterator[JSON]:
    for event in events:
        if "metric" in shown.include:
            yield metric_document(account.metrics[event.metric], shown)
        profile = account.get(event.profile_id or "") if "profile" in shown.include else None
        if profile is not None:
            yield profile_document(account, profile, shown, conversation=CONVERSATION)


def _group(account: Account, asked: Asked, group: JSON, at: str) -> Iterator[tuple[Recording, str]]:
    """Read the events of one profile, each with its place."""
    attributes = fields(group.get("attributes"), at)
    reader = EventReader(account, asked)
    reader.check_names({"profile": attributes.get("profile")}, at, ("profile",))
    person = without_nulls(reader.person(attributes, at, beside=True))
    backfill = attributes.get("backfill") is True
    for row, where in _rows(fields(attributes.get("events"), f"{at}/events"), f"{at}/events/data"):
        own = fields(row.get("attributes"), f"{where}/attributes")
        reader.check_names(own, f"{where}/attributes", ("properties", "metric"))
        event = reader.event(own, f"{where}/attributes")
        event = replace(event, backfill=True) if backfill and not event.backfill else event
        yield Recording(person, event), f"{where}/attributes"
        # The profile is written once for all its events.
        if person.append or person.unappend or person.unset:
            person = replace(person, append={}, unappend={}, unset=())


def _rows(holder: JSON, at: str) -> list[tuple[JSON, str]]:
    listed: Any = holder.get("data")
    rows = cast("list[object]", listed) if isinstance(listed, list) else []
    if not 1 <= len(rows) <= MAX_EVENTS:
        raise invalid(f"1 to {MAX_EVENTS} are required.", at)
    return [(fields(row, f"{at}/{index}"), f"{at}/{index}") for index, row in enumerate(rows)]


def _refuse_repeats(account: Account, read: list[tuple[Recording, str]]) -> None:
    """Refuse a unique id that was recorded, is queued, or is twice in the job, for one profile and metric.

    Raises:
        Refusal: 400.
    """
    # Queued events count as well: Klaviyo answers before it records.
    waiting: list[Recording] = []
    for queued in account.queue:
        task = queued.task
        waiting += task.each if isinstance(task, Recordings) else [task] if isinstance(task, Recording) else []
    seen = {_key(account, each.person, each.event) for each in waiting if each.event is not None}
    for recording, at in read:
        event = recording.event
        if event is None or event.unique_id is None:
            continue
        key = _key(account, recording.person, event)
        if key in seen or key in account.recorded:
            points = account.readings.bulk_repeats == "refused"
            raise invalid("The unique_id is repeated.", f"{at}/unique_id" if points else "/data")
        seen.add(key)


def _key(account: Account, person: Person, event: Event) -> tuple[str, str, str | int]:
    # A profile that does not exist yet is told apart by its identifiers.
    owners = [owner.id for kind, value in person.named().items() for owner in account.live.owners(kind, value)]
    return key_of(event, person.profile_id or next(iter(owners), repr(person.named())))
