"""Events: one event's own fields, checked, and fixed before the first attempt so that every retry repeats them.

Decided here: what a name, a time and a unique id may be, which fix the event and are refused where they are unusable
(Klaviyo's Create Event reference and its Events API overview). Not here: what the event is worth (`worth`), who the
event is about (`_rules`), how it is written down (`_api`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from itertools import islice
from math import floor
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from uuid import UUID

from safeklaviyo._input.fields import once
from safeklaviyo._input.findings import refused
from safeklaviyo._input.properties import UNKNOWN_KEY, attributes_of
from safeklaviyo._input.reserved_keys import SENT, Role, are_ordinary, meaning_of_event_key
from safeklaviyo._input.values import UnsendableError, is_plain, leaf, mapping_of, sendable, shown
from safeklaviyo._input.worth import currency_of, possible, value_of
from safeklaviyo.identity import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from safeklaviyo._input.fields import Found
    from safeklaviyo._input.findings import Findings

MAX_NAME_LENGTH: Final = 127
MAX_UNIQUE_ID_LENGTH: Final = 255
MAX_EVENT_PROPERTIES: Final = 400

_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
_YEAR: Final = 365 * 86_400
_MILLISECONDS_FROM: Final = 100_000_000_000  # as seconds, the year 5138
# Each takes room in no font, so that two names with and without it look the same and are two metrics.
_INVISIBLE: Final = str.maketrans("", "", "\u200b\u2060\ufeff\u00ad")
_OF_ATTRIBUTES: Final = frozenset({
    "properties", "value", "value_currency", "time", "unique_id", "backfill", "metric", "profile",
})  # fmt: skip


class Event(NamedTuple):
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
    name: object,
    properties: Mapping[str, Any] | None,
    findings: Findings,
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
        findings: Takes what cannot be sent. Where it holds a refusal, the event is not to be used.
        time: An aware datetime, unix seconds, or ISO 8601 with an offset; else now. Truncated to the second.
        unique_id: 1 to 255 characters; else `new_id`.
        now: Unix seconds.
    """
    others, found = _sorted(properties, findings)
    asked_backfill = None if backfill is False else backfill
    # By position, because a call by keywords costs three times as much.
    return Event(
        _name(name, findings),
        others,
        value_of(value, found, findings),
        currency_of(value_currency, found, findings),
        _time(time, found, findings, now),
        once("unique_id", unique_id, _unique_id, found, findings, fixes=True) or new_id,
        bool(once("backfill", asked_backfill, _backfill, found, findings, fixes=True)),
    )


def _sorted(properties: object, findings: Findings) -> tuple[dict[str, Any], Found]:
    """Return the properties of the shop's own, and those that mean a field of the event."""
    where = "properties"
    own = None if properties is None else mapping_of(properties, where, findings)
    if not own:
        return {}, {}
    found: Found = {}
    # The usual case: the keys of a shop's own events, which come again with each event.
    if are_ordinary(own) and len(own) <= MAX_EVENT_PROPERTIES:
        return sendable(own, where, findings, of_person=False), found
    own, where = attributes_of("event", own, where, findings)
    inner = own.get("properties")
    if isinstance(inner, dict) and own.keys() <= _OF_ATTRIBUTES:
        _note_attributes(own, where, found, findings)
        own, where = cast("dict[Any, object]", inner), f"{where}.properties"
    # Most keys are the shop's own, and cost one look-up. The others are few.
    odd = [key for key in own if type(key) is str and meaning_of_event_key(key).role is not Role.CUSTOM]
    taken = [key for key in odd if _is_taken(key, own[key], where, found, findings)]
    if taken:
        own = {key: item for key, item in own.items() if key not in taken}
    if len(own) > MAX_EVENT_PROPERTIES:
        for key in [*own][MAX_EVENT_PROPERTIES:]:
            why = f"comes after {MAX_EVENT_PROPERTIES} others, which is all that Klaviyo takes"
            findings.leave_out(f"{where}.{shown(key)}", why)
        own = dict(islice(own.items(), MAX_EVENT_PROPERTIES))
    return sendable(own, where, findings, of_person=False), found


def _note_attributes(attributes: dict[Any, Any], where: str, found: Found, findings: Findings) -> None:
    """Note the fields of an event that was given as Klaviyo's Create Event has it, one level further out (F-38)."""
    for name, value in attributes.items():
        path = f"{where}.{name}"
        if name in ("metric", "profile"):
            findings.leave_out(path, "is no property; the metric's name and the customer are arguments of track")
        elif name != "properties":
            found[name] = [(path, value)]


def _is_taken(key: str, value: object, where: str, found: Found, findings: Findings) -> bool:
    """Tell whether a key is no property of the shop's own, and note what it is instead."""
    role, name = meaning_of_event_key(key)
    path = f"{where}.{shown(key)}"
    if role is Role.WORTH:
        found[possible(name)] = [(path, value)]
    elif role is Role.UNKNOWN:
        findings.take("key_unknown", path, UNKNOWN_KEY)
    elif role is Role.EVENT:
        found.setdefault(name, []).append((path, value))
    elif role is Role.FIXING:
        findings.refuse(path, name)
    else:
        findings.leave_out(path, name)
    return role not in SENT


def _name(name: object, findings: Findings) -> str:
    # The usual case: there is nothing to make plain.
    if type(name) is str and 0 < len(name) <= MAX_NAME_LENGTH and _is_plain_name(name):
        return name
    text: object = name.value if isinstance(name, Enum) else name
    if not isinstance(text, str):
        findings.refuse("event", "is not a name")
        return ""
    text = str.__str__(text)
    plain = text
    # Each space that does not look like one makes another metric, for which no flow starts.
    if not text.isprintable() or text[:1] == " " or text[-1:] == " ":
        plain = "".join(" " if each.isspace() else each for each in text.translate(_INVISIBLE)).strip()
    if not plain:
        findings.refuse("event", "is not a name")
    elif len(plain) > MAX_NAME_LENGTH:
        findings.refuse("event", f"is longer than {MAX_NAME_LENGTH} characters")
    elif not is_plain(plain):
        _check(plain, "event", findings)
    if plain and plain != text:
        findings.take("name_trimmed", "event", "has blanks around it or in other forms; they were made plain")
    return plain


def _is_plain_name(name: str) -> bool:
    return name.isascii() and name.isprintable() and name == name.strip()


def _check(text: str, path: str, findings: Findings) -> None:
    try:
        leaf(text)
    except UnsendableError as exc:
        findings.refuse(path, exc.why)


def _backfill(flag: object) -> bool:
    # Taken for False by mistake, it would start the flows that the caller wanted to stand still.
    if flag is not True and flag is not False:
        raise UnsendableError("is neither True nor False")
    return flag


def _unique_id(key: object) -> str:
    if type(key) is str and key.isascii() and not key.isspace() and 0 < len(key) <= MAX_UNIQUE_ID_LENGTH:
        return key
    if isinstance(key, bool) or not isinstance(key, str | int | UUID):
        raise UnsendableError(f"is a {type(key).__name__}; give a string")
    # Kept as it is, blanks included: a retry by the caller must give the very same key (P5).
    text = text_of(key)
    if not text.strip() or len(text) > MAX_UNIQUE_ID_LENGTH:
        raise UnsendableError(f"has not 1 to {MAX_UNIQUE_ID_LENGTH} characters")
    leaf(text)
    return text


def moment_from(time: object, where: str = "time") -> float:
    """Return a moment given as an aware datetime, unix seconds, or ISO 8601 with an offset, in unix seconds.

    Raises:
        InvalidPropertyError: The value is none of these. Milliseconds and naive datetimes are refused.
    """
    try:
        return _moment(time)
    except UnsendableError as exc:
        raise refused(where, exc.why) from None


def _moment(time: object) -> float:
    if isinstance(time, str):
        time = _parsed(time)
    if isinstance(time, datetime):
        if time.utcoffset() is None:
            raise UnsendableError("has no time zone; give an aware datetime or an offset such as +00:00")
        time = time.timestamp()
    if isinstance(time, bool) or not isinstance(time, int | float):
        raise UnsendableError(f"is a {type(time).__name__}; give an aware datetime, unix seconds or ISO 8601")
    if not abs(time) < _MILLISECONDS_FROM:  # so that NaN is refused too
        raise UnsendableError("is not in seconds since 1970; divide milliseconds by 1000")
    return float(time)


def _time(time: object, found: Found, findings: Findings, now: float) -> datetime:
    if "time" not in found:
        if time is None:
            return datetime.fromtimestamp(floor(now), UTC)
        if type(time) is int and _EARLIEST <= time <= now + _YEAR:
            return datetime.fromtimestamp(time, UTC)

    def _within(given: object) -> int:
        # Refused here, so that the caller learns of it from this call.
        seconds = _moment(given)
        if not _EARLIEST <= seconds <= now + _YEAR:
            raise UnsendableError("is before the year 2000 or more than a year ahead, which Klaviyo refuses")
        return floor(seconds)

    seconds = once("time", time, _within, found, findings, fixes=True)
    return datetime.fromtimestamp(floor(now) if seconds is None else seconds, UTC)


def _parsed(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        if text.strip().replace(".", "", 1).isdigit():
            raise UnsendableError("is a text of digits; give unix seconds as a number") from None
        # Not chained: the message quotes the text.
        raise UnsendableError("is not ISO 8601, such as 2026-11-23T12:00:00+00:00") from None
