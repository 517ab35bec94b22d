"""What a call says of a person or an event: which values can be sent, and what a key means.

The readers of a call note what they find; here each is run with its findings, so that a test sees either the error by
which they are refused or the notices by which they are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from safeklaviyo._input import events, properties, values
from safeklaviyo._input.events import MAX_EVENT_PROPERTIES, Event
from safeklaviyo._input.findings import Findings
from safeklaviyo._input.phones import phone_number_from
from safeklaviyo._input.properties import NO_IDENTIFIERS, NOTHING, GivenIdentifiers, Person
from safeklaviyo._input.reserved_keys import (
    ATTRIBUTES,
    IDENTIFIERS,
    LOCATION,
    Meaning,
    Role,
    meaning_of_event_key,
    meaning_of_person_key,
)
from safeklaviyo._input.values import LEFT_OUT, MAX_DEPTH, MAX_INT, MAX_ITEMS, MAX_TEXT_BYTES, MIN_INT, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo.models import Notice

T = TypeVar("T")


def read(reader: Callable[[Findings], T], policy: Literal["drop", "refuse"]) -> tuple[T, tuple[Notice, ...]]:
    """Run a reader, and return what it read and the notices, or raise as the policy says."""
    findings = Findings()
    result = reader(findings)
    return result, findings.notices(policy)


def sendable(given: Any, where: str, *, of_person: bool) -> dict[str, Any]:
    """Read properties of which none may be left out."""
    return read(lambda found: values.sendable(given, where, found, of_person=of_person), "refuse")[0]


def sendable_value(given: Any, where: str, *, of_person: bool) -> Any:
    """Read one value, which may not be left out."""
    return read(lambda found: values.sendable_value(given, where, found, of_person=of_person), "refuse")[0]


def person_from(given: Any, **changes: Any) -> tuple[Person, GivenIdentifiers]:
    """Read a person of whom nothing may be left out."""
    return read(lambda found: properties.person_from(given, found, **changes), "refuse")[0]


def combine(given: GivenIdentifiers, **arguments: Any) -> GivenIdentifiers:
    """Join identifiers."""
    return read(lambda found: properties.combine(given, found, **arguments), "drop")[0]


def event_from(*args: Any, **fields: Any) -> Event:
    """Read an event of which nothing may be left out."""
    name, given = args
    return read(lambda found: events.event_from(name, given, found, **fields), "refuse")[0]


def person_without_problems(given: Any, **changes: Any) -> tuple[Person, tuple[Notice, ...]]:
    """Read a person, and leave out what cannot be sent."""
    (person, _), notices = read(lambda found: properties.person_from(given, found, **changes), "drop")
    return person, notices


def event_without_problems(name: Any, given: Any, **fields: Any) -> tuple[Event, tuple[Notice, ...]]:
    """Read an event, and leave out what cannot be sent."""
    return read(lambda found: events.event_from(name, given, found, **fields), "drop")


__all__ = [
    "ATTRIBUTES",
    "IDENTIFIERS",
    "LEFT_OUT",
    "LOCATION",
    "MAX_DEPTH",
    "MAX_EVENT_PROPERTIES",
    "MAX_INT",
    "MAX_ITEMS",
    "MAX_TEXT_BYTES",
    "MIN_INT",
    "NOTHING",
    "NO_IDENTIFIERS",
    "Event",
    "Findings",
    "GivenIdentifiers",
    "Meaning",
    "Person",
    "Role",
    "combine",
    "event_from",
    "event_without_problems",
    "meaning_of_event_key",
    "meaning_of_person_key",
    "person_from",
    "person_without_problems",
    "phone_number_from",
    "sendable",
    "sendable_value",
    "shown",
]
