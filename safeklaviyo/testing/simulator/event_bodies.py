"""What a body says about an event and its profile (Klaviyo's *Create Event* and *Bulk Create Events* references).

Decided here: what is refused with 400 before the answer. What becomes of an accepted event is decided in `recording`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import floor, isfinite
from typing import TYPE_CHECKING, Any

from safeklaviyo.testing.simulator import revisions
from safeklaviyo.testing.simulator.checks import KB, Body, check_values, fields, is_phone_number, text
from safeklaviyo.testing.simulator.records import JSON, Event
from safeklaviyo.testing.simulator.refusals import invalid, json_answer
from safeklaviyo.testing.simulator.tables import EMAIL, PHONE_NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.persons import Person
    from safeklaviyo.testing.simulator.records import Asked

MAX_EVENT_PROFILE = 95 * KB

_MAX_PROPERTIES = 400
_MAX_METRIC = 127
_MAX_UNIQUE_ID = 255
_YEAR = 365 * 86_400
_KNOWN = frozenset({"properties", "time", "value", "value_currency", "unique_id", "metric"})


@dataclass(frozen=True, slots=True)
class EventReader:
    """Reads the events of one request. ``at`` is the JSON pointer of the attributes that are read."""

    account: Account
    asked: Asked

    def check_names(self, attributes: JSON, at: str, required: Iterable[str]) -> None:
        """Refuse unknown fields, and the lack of one that is required.

        Raises:
            Refusal: 400.
        """
        known = _KNOWN.union(required)
        if revisions.has_backfill(self.asked.revision):
            known |= {"backfill"}
        for name in attributes:
            if name not in known and self.account.readings.unknown_fields == "refused":
                raise invalid(f"'{name}' is not a valid field for the resource 'event'.", f"{at}/{name}")
        for name in required:
            if attributes.get(name) is None:
                raise invalid(f"'{name}' is required.", f"{at}/{name}")

    def person(self, attributes: JSON, at: str, *, beside: bool) -> Person:
        """Read the profile.

        Args:
            beside: The profile's ``meta`` stands beside its attributes, not among them.

        Raises:
            Refusal: 400.
        """
        at = f"{at}/profile/data"
        data = fields(fields(attributes["profile"], at.removesuffix("/data")).get("data"), at)
        if data.get("type") != "profile":
            raise invalid("'type' must be 'profile'.", f"{at}/type")
        # The profile is encoded again to measure it, which only one that may be of that size is worth.
        if len(self.asked.body) > MAX_EVENT_PROFILE and _is_large(data):
            raise invalid("The profile is larger than 95 KB.", at)
        own = _without_bad_phone(fields(data.get("attributes"), f"{at}/attributes"))
        # Where `meta` stands depends on the revision and on the endpoint.
        extra = {"anonymous_id", "_kx"} if beside else {"anonymous_id", "_kx", "meta"}
        meta = (data if beside else own).get("meta")
        person = Body(self.account.readings, extra).person({**data, "attributes": own}, at, meta)
        if person.profile_id is None and not person.named() and not person.anonymous_id and not own.get("_kx"):
            raise invalid("At least one identifier is required.", f"{at}/attributes")
        # Here null means that an identifier is not given: an event never clears one.
        return replace(person, identifiers=person.named())

    def event(self, attributes: JSON, at: str) -> Event:
        """Read the event itself.

        Raises:
            Refusal: 400.
        """
        properties = fields(attributes["properties"], f"{at}/properties")
        if len(properties) > _MAX_PROPERTIES:
            raise invalid(f"An event has more than {_MAX_PROPERTIES} properties.", f"{at}/properties")
        check_values(properties, f"{at}/properties")
        return Event(
            self.account.event_id(),
            None,
            _metric(attributes, at),
            text(attributes.get("unique_id"), f"{at}/unique_id", _MAX_UNIQUE_ID),
            self._time(attributes.get("time"), f"{at}/time"),
            _number(attributes.get("value"), f"{at}/value"),
            text(attributes.get("value_currency"), f"{at}/value_currency", 3),
            properties,
            backfill=attributes.get("backfill") is True,
        )

    def _time(self, value: Any, at: str) -> int:
        now = self.account.clock.now()
        if value is None:
            return floor(now)
        # Whole seconds: two events of one second without a key are one event to Klaviyo.
        try:
            moment = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise invalid("'time' must be a time in ISO 8601.", at) from None
        seconds = floor((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
        earliest = datetime(self.account.readings.earliest_year, 1, 1, tzinfo=UTC).timestamp()
        if not earliest <= seconds <= now + _YEAR:
            raise invalid("'time' is too long ago or more than a year ahead.", at)
        return seconds


def _is_large(data: JSON) -> bool:
    # No character is longer in JSON than two escapes.
    return len(repr(data)) * 12 > MAX_EVENT_PROFILE and len(json_answer(0, data).body) > MAX_EVENT_PROFILE


def _metric(attributes: JSON, at: str) -> str:
    at = f"{at}/metric/data"
    metric = fields(fields(attributes["metric"], at.removesuffix("/data")).get("data"), at)
    where = f"{at}/attributes/name"
    name = text(fields(metric.get("attributes"), f"{at}/attributes").get("name"), where, _MAX_METRIC)
    if metric.get("type") != "metric" or name is None:
        raise invalid("A metric's name is required.", where)
    return name


def _without_bad_phone(who: JSON) -> JSON:
    """Leave out a malformed phone number beside an email: the Events API overview refuses it only without an email."""
    if who.get(EMAIL) and not is_phone_number(who.get(PHONE_NUMBER)):
        return {name: value for name, value in who.items() if name != PHONE_NUMBER}
    return who


def _number(value: Any, at: str) -> float | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)):
        return value
    raise invalid("'value' must be a number.", at)
