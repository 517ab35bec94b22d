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
        reads_map: The outbox carries `InsertAtOnce` out: it has the map beside it.
    """

    id: str
    key: str = field(repr=False)
    reads_map: bool = False


@dataclass(frozen=True, slots=True)
class NewRow:
    """A row to be inserted.

    Attributes:
        lane: The lane that the row is put into, to spread the work.
        names: Keyed hashes of all the person's identifiers. Rows that share a name are carried out in order.
        marks: Further names, which hold back no row; see `_flows.outbox.names`.
        profile: The person's profile id; None if the map did not know the person.
        verb: The verb to carry out.
        payload: The verb's arguments, as JSON.
        unique_id: The idempotency key of an event; None for other verbs.
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
    """A row that waits, or was parked. The other attributes are those of `NewRow`.

    Attributes:
        id: The row's place in the order. No id is ever given twice.
        born: The row's first id. `Retry` gives a row a new `id`, and keeps this one.
        at: When the row was inserted, by the outbox's clock, in unix seconds.
        due: When the row may be tried, by the same clock.
        attempts: How often the row was tried; counted before the request is sent.
        unsure: Klaviyo may have carried out a request about the row.
        rule: The rule for which the row was parked.
        error: Why the row waits or was parked, as JSON.
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
    """The customer that a row means, as found before the row is sent.

    Attributes:
        id: The row.
        profile: The customer's profile id.
        names: The customer's names. The row keeps those that it had.
    """

    id: int
    profile: str | None
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fixed:
    """What the outbox says about rows that are about to be sent.

    Attributes:
        behind: The rows that have to wait for an earlier row of the same person.
        changing: The rows of people with a waiting change of email.
    """

    behind: frozenset[int] = frozenset()
    changing: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Counted:
    """How many rows there are.

    Attributes:
        waiting: How many wait.
        dead: How many are parked.
        oldest: When the oldest waiting row was inserted, in unix seconds; None if none waits.
    """

    waiting: int
    dead: int
    oldest: float | None


@dataclass(frozen=True, slots=True)
class Left:
    """What is left for later drains.

    Attributes:
        waiting: How many rows wait.
        next_due: When the next row may be tried, in unix seconds; None if none waits.
    """

    waiting: int
    next_due: float | None
