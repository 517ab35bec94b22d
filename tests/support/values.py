"""What a call says of a person or an event: which values can be sent, and what a key means."""

from safeklaviyo._input.events import MAX_EVENT_PROPERTIES, Event, event_from
from safeklaviyo._input.properties import NO_IDENTIFIERS, NOTHING, GivenIdentifiers, Person, combine, person_from
from safeklaviyo._input.reserved_keys import (
    ATTRIBUTES,
    IDENTIFIERS,
    LOCATION,
    Meaning,
    Role,
    meaning_of_event_key,
    meaning_of_person_key,
)
from safeklaviyo._input.values import (
    MAX_DEPTH,
    MAX_INT,
    MAX_ITEMS,
    MAX_TEXT_BYTES,
    MIN_INT,
    sendable,
    sendable_value,
    shown,
)

__all__ = [
    "ATTRIBUTES",
    "IDENTIFIERS",
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
    "GivenIdentifiers",
    "Meaning",
    "Person",
    "Role",
    "combine",
    "event_from",
    "meaning_of_event_key",
    "meaning_of_person_key",
    "person_from",
    "sendable",
    "sendable_value",
    "shown",
]
