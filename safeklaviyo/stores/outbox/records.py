"""The values that go into the outbox and come out of it. Nothing is decided here; read `steps`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

LANES: Final = 64
"""Into how many lanes the rows are spread. A lane is drained by one worker at a time."""

Verb: TypeAlias = Literal["track", "identify", "change_email", "subscribe", "unsubscribe"]


@dataclass(frozen=True, slots=True)
class About:
    """What a table of rows says about itself.

    Attributes:
        id: A random id, which no other table has.
        key: The random key of the names.
    """

    id: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewRow:
    """A row to be inserted.

    Attributes:
        lane: Where it is put, to spread the work.
        names: Keyed hashes of all that names the person. Two rows that share one are carried out in order.
        marks: Further names, which hold nothing back; see `_flows.outbox.names`.
        profile: The profile, where the map knew the person.
        verb: What is to be done.
        payload: How, as JSON.
        unique_id: The idempotency key, of an event.
        time: When the call was made, or the event's time, in unix seconds.
    """

    lane: int
    names: tuple[str, ...]
    marks: tuple[str, ...]
    profile: str | None
    verb: Verb
    payload: str = field(repr=False)
    unique_id: str | None
    time: float


@dataclass(frozen=True, slots=True)
class Row:
    """A row that waits, or was parked.

    Attributes:
        id: Its place in the order. No id is ever given twice.
        born: Its first id; another one than `id` if the row was tried again.
        at: When it was inserted, by the outbox's clock, in unix seconds.
        due: When it may be tried, likewise.
        attempts: How often it was tried; counted before the request is sent.
        unsure: A request of it may have been carried out.
        rule: The rule that parked it.
        error: Why it waits or was parked, as JSON.
    """

    id: int
    born: int
    lane: int
    names: tuple[str, ...]
    profile: str | None
    verb: str
    payload: str = field(repr=False)
    unique_id: str | None
    time: float
    at: float
    due: float
    attempts: int
    unsure: bool
    rule: str | None = None
    error: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Fix:
    """Whom a row means, as found out before it is sent.

    Attributes:
        names: The names that the row has from now on, besides those that it had.
    """

    id: int
    profile: str | None
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fixed:
    """What the outbox says about rows that are about to be sent.

    Attributes:
        behind: The rows that have to wait for an earlier row of the same person.
        changing: The rows of people of whom a change of email waits.
    """

    behind: frozenset[int] = frozenset()
    changing: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Counted:
    """How many rows there are.

    Attributes:
        oldest: When the oldest that waits was inserted, in unix seconds.
        next_due: When the next one may be tried.
    """

    waiting: int
    dead: int
    oldest: float | None
    next_due: float | None
