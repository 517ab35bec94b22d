"""Each operation of the outbox once, as data: what is asked, and the type of the answer. What each means is in `steps`.

A flow yields them as effects. Those about a lane carry the lane's token, which the statement itself compares.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from safeklaviyo._effects import Effect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeklaviyo.identity import Identifier
    from safeklaviyo.stores.outbox import records

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class OutboxCall(Effect[R_co]):
    """One call of the outbox. Raises `StoreError`, or `ConfigurationError` where there can be no outbox.

    Attributes:
        account: The account whose rows are meant.
        is_read: The call changes nothing.
        in_passing: A direct call asks. Where nobody has an outbox, nothing is asked, and the answer is `absent`.
    """

    is_read: ClassVar[bool] = False
    in_passing: ClassVar[bool] = False
    absent: ClassVar[Any] = None
    account: str


@dataclass(frozen=True, slots=True)
class ReadAbout(OutboxCall["records.About"]):
    """Return what the table says about itself."""

    is_read = True


@dataclass(frozen=True, slots=True)
class LookAbout(OutboxCall["records.About | None"]):
    """Same as `ReadAbout`; None where nobody has an outbox."""

    is_read = True
    in_passing = True


@dataclass(frozen=True, slots=True)
class Insert(OutboxCall[int]):
    """Insert a row, and return its id.

    Attributes:
        about: The id of the table that is meant.
        connection: The caller's, in whose transaction the row is inserted; None for one of the outbox's own.
    """

    row: records.NewRow
    about: str
    connection: object = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class InsertAtOnce(OutboxCall["int | None"]):
    """Insert a row as `Insert` does, and fix its profile by the map in the same statement.

    None if that is not possible here, or the map's answer has to be judged by the rules: nothing was inserted then.

    Attributes:
        identifiers: Whom the map is asked about.
    """

    row: records.NewRow
    identifiers: Sequence[Identifier]
    about: str
    connection: object = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Lanes(OutboxCall["tuple[int, ...]"]):
    """Return the lanes with rows that are due."""

    is_read = True


@dataclass(frozen=True, slots=True)
class Take(OutboxCall["int | None"]):
    """Take a lane, and return its token; None while another drain holds it."""

    lane: int
    ttl: float


@dataclass(frozen=True, slots=True)
class _OfLane(OutboxCall[R_co]):
    lane: int
    token: int


@dataclass(frozen=True, slots=True)
class Keep(_OfLane[bool]):
    """Hold a lane for longer; False if another drain has it."""

    ttl: float


@dataclass(frozen=True, slots=True)
class Leave(_OfLane[bool]):
    """Give a lane back."""


@dataclass(frozen=True, slots=True)
class Ready(OutboxCall["tuple[records.Row, ...]"]):
    """Return rows of a lane that may go, in order, each counted as tried from now on; none if the token is not valid.

    Attributes:
        limit: How many at most.
    """

    is_read = True

    lane: int
    limit: int


@dataclass(frozen=True, slots=True)
class Mark(_OfLane["frozenset[int]"]):
    """Count rows as tried, before they are resolved and sent; return those that are there still.

    None are if another drain has the lane.
    """

    ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class FixRows(_OfLane["records.Fixed | None"]):
    """Write down whom rows mean, and ask again whether they may go; None if another drain has the lane.

    Attributes:
        anew: Ask about all names, not only those that the rows have not had so far: others may have been given names
            since the rows were read.
    """

    rows: Sequence[records.Fix]
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Delete(_OfLane[bool]):
    """Delete rows that are done; False if another drain has the lane.

    Attributes:
        changed: Names of people of whom an identifier or a consent was changed.
        kinds: What was changed.
        at: When the call was made that changed it.
        repeated: Names of people of whom a row was sent more than once.
    """

    ids: Sequence[int]
    changed: Sequence[str] = ()
    kinds: Sequence[str] = ()
    at: float = 0.0
    repeated: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Park(_OfLane[bool]):
    """Park rows: they are dead until somebody tries them again."""

    ids: Sequence[int]
    error: str = field(repr=False)
    rule: str | None


@dataclass(frozen=True, slots=True)
class Wait(_OfLane[bool]):
    """Let rows wait for some seconds.

    Attributes:
        unsure: A request of them may have been carried out.
    """

    ids: Sequence[int]
    seconds: float
    unsure: bool
    error: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LastChange(OutboxCall["float | None"]):
    """Return when the last change was asked for that is done, of people with one of these names.

    Attributes:
        kinds: What kinds of changes count.
    """

    is_read = True

    names: Sequence[str]
    kinds: Sequence[str]


@dataclass(frozen=True, slots=True)
class NoteChange(OutboxCall[None]):
    """Note that a direct call has changed an identifier or a consent of the people with these names.

    Attributes:
        kinds: What it has changed.
        elapsed: How many seconds ago the call began.
    """

    in_passing = True
    names: Sequence[str]
    kinds: Sequence[str]
    elapsed: float


@dataclass(frozen=True, slots=True)
class CountRows(OutboxCall["records.Counted"]):
    """Count the rows."""

    is_read = True


@dataclass(frozen=True, slots=True)
class DeadRows(OutboxCall["tuple[records.Row, ...]"]):
    """Return rows that were parked, lowest id first, with an id above `after`."""

    is_read = True

    after: int
    limit: int


@dataclass(frozen=True, slots=True)
class Retry(OutboxCall[int]):
    """Put rows that were parked at the end, under new ids; return how many."""

    ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class Drop(OutboxCall[int]):
    """Delete rows, waiting or parked; return how many."""

    ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class Expire(OutboxCall[int]):
    """Delete rows that were parked and are older than so many seconds; return how many.

    What is remembered of changes goes with them, because no row is left that it could be about.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class Forget(OutboxCall[int]):
    """Delete all rows with one of these names, waiting or parked; return how many."""

    in_passing = True
    absent = 0
    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class HasRows(OutboxCall[bool]):
    """Tell whether a row waits that has one of these names or marks.

    Attributes:
        tried: Only one that was tried, or that was done lately after it was sent more than once.
        lately: How many seconds ago counts as lately.
        but: A row that does not count.
    """

    is_read = True
    in_passing = True
    absent = False
    names: Sequence[str]
    tried: bool = False
    lately: float = 0.0
    but: int | None = None


@dataclass(frozen=True, slots=True)
class TakeTurn(OutboxCall[float]):
    """Reserve a turn at an endpoint among all workers, and return the seconds until then.

    Attributes:
        limits: How many requests fit into a window of so many seconds.
        latest: The most seconds that the request can wait; a later turn is not reserved.
    """

    endpoint: str
    limits: tuple[tuple[int, int], ...]
    latest: float
