"""Create Event and Get Events, in the current dialect, and how an event is recorded, in both.

Decided here (Klaviyo's *Create Event* reference and its Events API overview):

- what is checked before the answer;
- what is decided when the event is recorded: which profile it belongs to, whether it repeats another event (the same
  profile, metric, and unique id or second), and whether it is dropped without a trace.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import floor, isfinite
from typing import TYPE_CHECKING, Any

from safeklaviyo.testing.simulator import matching, revisions
from safeklaviyo.testing.simulator.checks import KB, Body, check_values, fields, is_phone_number, resource, text
from safeklaviyo.testing.simulator.documents import event_document
from safeklaviyo.testing.simulator.records import JSON, Answer, Asked, Event, Record
from safeklaviyo.testing.simulator.refusals import invalid, invalid_parameter, json_answer
from safeklaviyo.testing.simulator.tables import EMAIL, PHONE_NUMBER

if TYPE_CHECKING:
    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.persons import Person

MAX_EVENT_PROFILE = 95 * KB

_AT = "/data/attributes"
_MAX_PROPERTIES = 400
_MAX_METRIC = 127
_MAX_UNIQUE_ID = 255
_YEAR = 365 * 86_400
_TEST_DOMAINS = ("@example.com", "@test.com")
_KNOWN = frozenset({"properties", "time", "value", "value_currency", "unique_id", "metric", "profile"})


@dataclass(frozen=True, slots=True, repr=False)
class Recording(Record):
    """An accepted event, or an accepted update without one.

    Attributes:
        event: The event, still without a profile; None for a legacy identify.
    """

    person: Person
    event: Event | None

    def apply(self, account: Account) -> None:
        """Do it."""
        email = self.person.named().get(EMAIL, "").lower()
        if self.event and account.readings.drops_test_addresses and email.endswith(_TEST_DOMAINS):
            account.dropped.append(replace(self.event, why="a test address"))
            return
        profile = matching.meet(account, self.person)
        if profile is None:
            if self.event:
                account.dropped.append(replace(self.event, why="it names no known profile"))
        elif self.event:
            self._record(account, replace(self.event, profile_id=profile.id))

    def _record(self, account: Account, event: Event) -> None:
        assert event.profile_id is not None
        # Without a unique id the second is the key: two events of one metric in one second count once (F-17).
        key = (event.profile_id, event.metric, event.unique_id or event.time)
        if key in account.recorded:
            account.deduplicated.append(replace(event, why="repeated"))
            return
        account.recorded.add(key)
        account.events.append(event)
        profile = account.live.get(event.profile_id)
        assert profile is not None
        account.put(replace(profile, last_event_date=max(profile.last_event_date or 0.0, float(event.time))))


def create_event(account: Account, asked: Asked) -> Answer:
    """Accept an event: the answer says that it is valid, not that it is recorded."""
    attributes = fields(resource(asked.body, "event").get("attributes"), _AT)
    _check_names(account, attributes, asked)
    person = _person(account, attributes, asked)
    account.enqueue(asked.endpoint, Recording(person, _event(account, attributes)))
    return Answer(202)


def get_events(account: Account, asked: Asked) -> Answer:
    """List the recorded events of one profile, or all, the oldest first."""
    owner = _filtered_profile(asked.query.get("filter"))
    rows = [event_document(event, base=asked.base) for event in account.events if owner in {None, event.profile_id}]
    here = f"{asked.base}{asked.path}"
    return json_answer(200, {"data": rows, "links": {"self": here, "next": None, "prev": None}})


def _filtered_profile(text: str | None) -> str | None:
    if text is None:
        return None
    name, _, value = text.removesuffix(")").partition(",")
    if name != "equals(profile_id":
        raise invalid_parameter("Invalid filter provided: this simulator knows equals(profile_id,…).", "filter")
    return value.strip('"')


def _check_names(account: Account, attributes: JSON, asked: Asked) -> None:
    known = _KNOWN | {"backfill"} if revisions.has_backfill(asked.revision) else _KNOWN
    for name in attributes:
        if name not in known and account.readings.unknown_fields == "refused":
            raise invalid(f"'{name}' is not a valid field for the resource 'event'.", f"{_AT}/{name}")
    for name in ("properties", "metric", "profile"):
        if attributes.get(name) is None:
            raise invalid(f"'{name}' is required.", f"{_AT}/{name}")


def _person(account: Account, attributes: JSON, asked: Asked) -> Person:
    at = f"{_AT}/profile/data"
    data = fields(fields(attributes["profile"], f"{_AT}/profile").get("data"), at)
    if data.get("type") != "profile":
        raise invalid("'type' must be 'profile'.", f"{at}/type")
    # The profile is encoded again to measure it, which only a body of that size is worth.
    if len(asked.body) > MAX_EVENT_PROFILE and len(json_answer(0, data).body) > MAX_EVENT_PROFILE:
        raise invalid("The profile is larger than 95 KB.", at)
    own = _without_bad_phone(fields(data.get("attributes"), f"{at}/attributes"))
    beside = revisions.event_meta_beside_attributes(asked.revision)
    extra = {"anonymous_id", "_kx"} if beside else {"anonymous_id", "_kx", "meta"}
    meta = (data if beside else own).get("meta")
    person = Body(account.readings, extra).person({**data, "attributes": own}, at, meta)
    if person.profile_id is None and not person.named() and not own.get("anonymous_id") and not own.get("_kx"):
        raise invalid("At least one identifier is required.", f"{at}/attributes")
    # Here null means that an identifier is not given: an event never clears one.
    return replace(person, identifiers=person.named())


def _without_bad_phone(who: JSON) -> JSON:
    """Leave out a malformed phone number beside an email: the Events API overview refuses it only without an email."""
    if who.get(EMAIL) and not is_phone_number(who.get(PHONE_NUMBER)):
        return {name: value for name, value in who.items() if name != PHONE_NUMBER}
    return who


def _event(account: Account, attributes: JSON) -> Event:
    at = f"{_AT}/metric/data/attributes/name"
    metric = fields(fields(attributes["metric"], f"{_AT}/metric").get("data"), f"{_AT}/metric/data")
    name = text(fields(metric.get("attributes"), f"{_AT}/metric/data/attributes").get("name"), at, _MAX_METRIC)
    if metric.get("type") != "metric" or name is None:
        raise invalid("A metric's name is required.", at)
    properties = fields(attributes["properties"], f"{_AT}/properties")
    if len(properties) > _MAX_PROPERTIES:
        raise invalid(f"An event has more than {_MAX_PROPERTIES} properties.", f"{_AT}/properties")
    check_values(properties, f"{_AT}/properties")
    return Event(
        account.new_id(),
        None,
        name,
        text(attributes.get("unique_id"), f"{_AT}/unique_id", _MAX_UNIQUE_ID),
        _time(account, attributes.get("time")),
        _number(attributes.get("value")),
        text(attributes.get("value_currency"), f"{_AT}/value_currency", 3),
        properties,
        backfill=attributes.get("backfill") is True,
    )


def _number(value: Any) -> float | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)):
        return value
    raise invalid("'value' must be a number.", f"{_AT}/value")


def _time(account: Account, value: Any) -> int:
    at, now = f"{_AT}/time", account.clock.now()
    if value is None:
        return floor(now)
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise invalid("'time' must be a time in ISO 8601.", at) from None
    seconds = floor((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    earliest = datetime(account.readings.earliest_year, 1, 1, tzinfo=UTC).timestamp()
    if not earliest <= seconds <= now + _YEAR:
        raise invalid("'time' is too long ago or more than a year ahead.", at)
    return seconds
