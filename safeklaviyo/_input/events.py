"""Events: one event's own fields, checked, and fixed before the first attempt so that every retry repeats them.

Decided here: what a name, a value, a time and a unique id may be (Klaviyo's Create Event reference and its Events API
overview). Not here: who the event is about (`_rules`), how it is written down (`_api`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from math import floor
from typing import Any, Final, TypeVar, cast
from uuid import UUID

from safeklaviyo._input.reserved_keys import Role, meaning_of_event_key
from safeklaviyo._input.values import refused, sendable, sendable_value, shown
from safeklaviyo.identity import text_of

T = TypeVar("T")

MAX_NAME_LENGTH: Final = 127
MAX_UNIQUE_ID_LENGTH: Final = 255
MAX_EVENT_PROPERTIES: Final = 400

_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
_YEAR: Final = 365 * 86_400
_MILLISECONDS_FROM: Final = 100_000_000_000  # as seconds, the year 5138


@dataclass(frozen=True, slots=True, repr=False)
class Event:
    """One event, ready for JSON.

    Attributes:
        time: In UTC, to the second.
        unique_id: The idempotency key: of several events with it, of one profile and name, Klaviyo records the first.
        backfill: Record it without triggering flows.
    """

    name: str
    properties: dict[str, Any]
    value: int | float | None
    value_currency: str | None
    time: datetime
    unique_id: str
    backfill: bool = False

    def __repr__(self) -> str:
        return f"Event({self.name!r}, {len(self.properties)} properties, time={self.time.isoformat()!r})"


def event_from(
    name: str,
    properties: Mapping[str, Any] | None,
    *,
    value: object = None,
    value_currency: object = None,
    time: object = None,
    unique_id: object = None,
    backfill: object = False,
    now: float,
    new_id: str,
) -> Event:
    """Check one event and fix what identifies it.

    Args:
        properties: None in it is JSON null. ``$event_id``, ``$value`` and ``$value_currency`` mean the arguments.
        time: An aware datetime, unix seconds, or ISO 8601 with an offset; else now. Truncated to the second.
        unique_id: 1 to 255 characters; else `new_id`.
        now: Unix seconds.

    Raises:
        InvalidPropertyError: Something cannot be sent, or is given twice with different values.
    """
    own, others = _sorted(properties)
    if backfill is not True and backfill is not False:
        raise refused("backfill", "is neither True nor False")
    return Event(
        name=_name(name),
        properties=others,
        value=_once("value", _value, value, own),
        value_currency=_once("value_currency", _currency, value_currency, own),
        time=_time(time, now),
        unique_id=_once("unique_id", _unique_id, unique_id, own) or new_id,
        backfill=backfill,
    )


def _sorted(properties: object) -> tuple[dict[str, list[object]], dict[str, Any]]:
    """Tell the properties that mean a field of the event, by that field's name, from those of the shop's own."""
    if properties is None:
        return {}, {}
    if not isinstance(properties, Mapping):
        raise refused("properties", f"is a {type(properties).__name__}; give a mapping")
    given = cast("Mapping[str, Any]", properties)
    if len(given) > MAX_EVENT_PROPERTIES:
        raise refused("properties", f"has more than {MAX_EVENT_PROPERTIES} keys")
    # Checked as a whole first: `$value` and the like are then read from what the caller gave, as arguments are.
    sent = sendable(given, "properties", of_person=False)
    own: dict[str, list[object]] = {}
    taken: set[str] = set()
    for key in sent:
        role, name = meaning_of_event_key(key)
        if role is Role.EVENT:
            own.setdefault(name, []).append(given[key])
            taken.add(key)
        elif role is Role.REFUSED:
            raise refused(f"properties.{shown(key)}", name)
    return own, {key: item for key, item in sent.items() if key not in taken} if taken else sent


def _once(name: str, check: Callable[[object], T | None], argument: object, own: dict[str, list[object]]) -> T | None:
    """Check a field wherever it was given, and return the one value of it."""
    checked = check(argument)
    for other in own.get(name, ()):
        value = check(other)
        if checked is None:
            checked = value
        elif value is not None and value != checked:
            raise refused(name, "is given twice, with different values")
    return checked


def _name(name: object) -> str:
    text: object = name.value if isinstance(name, Enum) else name
    if not isinstance(text, str) or not text.strip():
        raise refused("event", "is not a name")
    if len(text) > MAX_NAME_LENGTH:
        raise refused("event", f"is longer than {MAX_NAME_LENGTH} characters")
    return cast("str", sendable_value(text, "event", of_person=False))


def _value(value: object) -> int | float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise refused("value", f"is a {type(value).__name__}; give a number")
    sent = sendable_value(value, "value", of_person=False)
    # A Decimal with more digits than a number carries: the nearest number is what Klaviyo would read in any case.
    return float(sent) if isinstance(sent, str) else cast("int | float", sent)


def _currency(code: object) -> str | None:
    if code is None:
        return None
    if not isinstance(code, str) or len(code) != 3 or not (code.isascii() and code.isalpha()):
        raise refused("value_currency", "is not an ISO 4217 code, such as EUR")
    return code.upper()


def _unique_id(key: object) -> str | None:
    if key is None:
        return None
    if isinstance(key, bool) or not isinstance(key, str | int | UUID):
        raise refused("unique_id", f"is a {type(key).__name__}; give a string")
    # Kept as it is, blanks included: a retry by the caller must give the very same key (P5).
    text = text_of(key)
    if not text.strip() or len(text) > MAX_UNIQUE_ID_LENGTH:
        raise refused("unique_id", f"has not 1 to {MAX_UNIQUE_ID_LENGTH} characters")
    return cast("str", sendable_value(text, "unique_id", of_person=False))


def moment_from(time: object, where: str = "time") -> float:
    """Return a moment given as an aware datetime, unix seconds, or ISO 8601 with an offset, in unix seconds.

    Raises:
        InvalidPropertyError: It is none of these; milliseconds and naive datetimes are refused.
    """
    if isinstance(time, str):
        time = _parsed(time, where)
    if isinstance(time, datetime):
        if time.utcoffset() is None:
            raise refused(where, "has no time zone; give an aware datetime or an offset such as +00:00")
        time = time.timestamp()
    if isinstance(time, bool) or not isinstance(time, int | float):
        raise refused(where, f"is a {type(time).__name__}; give an aware datetime, unix seconds or ISO 8601")
    if not abs(time) < _MILLISECONDS_FROM:  # so that NaN is refused too
        raise refused(where, "is not in seconds since 1970; divide milliseconds by 1000")
    return float(time)


def _time(time: object, now: float) -> datetime:
    if time is None:
        return datetime.fromtimestamp(floor(now), UTC)
    # Refused here, so that the caller learns of it from this call.
    seconds = moment_from(time)
    if not _EARLIEST <= seconds <= now + _YEAR:
        raise refused("time", "is before the year 2000 or more than a year ahead, which Klaviyo refuses")
    return datetime.fromtimestamp(floor(seconds), UTC)


def _parsed(text: str, where: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        # Not chained: the message quotes the text.
        raise refused(where, "is not ISO 8601, such as 2026-11-23T12:00:00+00:00") from None
