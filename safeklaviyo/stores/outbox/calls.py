"""Each operation of the outbox once, as data: the question, and the type of the answer. `steps` has the statements.

A flow yields these calls as effects. A call about a lane carries the lane's token. The statement itself compares the
token, so that a drain that has lost its lane changes nothing (H12).
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
    """One call of the outbox. Yielding it raises `StoreError`, or `ConfigurationError` if there can be no outbox.

    Attributes:
        account: The call is about the rows of this account.
        is_read: The call changes nothing.
        in_passing: A direct verb makes the call. If the shop has no outbox, no database is asked, and the answer is
            `absent`.
        absent: The answer if the shop has no outbox.
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
    """Same as `ReadAbout`; None if the shop has no outbox."""

    is_read = True
    in_passing = True


@dataclass(frozen=True, slots=True)
class Insert(OutboxCall[int]):
    """Insert a row, and return its id.

    Attributes:
        row: The row.
        about: The id of the tables that the row is for. Tables with another id take no row.
        connection: The caller's connection; the row becomes part of its transaction. None commits the row at once,
            over a connection of the outbox's own.
    """

    row: records.NewRow
    about: str
    connection: object = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class InsertAtOnce(OutboxCall["int | None"]):
    """Insert a row as `Insert` does, and fix its profile by the map in the same statement.

    The answer is None if this database cannot do that, or if the rules have to judge what the map says. Then no row was
    inserted.

    Attributes:
        row: As for `Insert`.
        identifiers: The identifiers of the person, which the map is asked about.
        about: As for `Insert`.
        connection: As for `Insert`.
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
    """Take a lane, and return its token; None while another drain holds the lane.

    Attributes:
        lane: The lane's number.
        ttl: Seconds for which the lane is held.
    """

    lane: int
    ttl: float


@dataclass(frozen=True, slots=True)
class _OfLane(OutboxCall[R_co]):
    lane: int
    token: int


@dataclass(frozen=True, slots=True)
class Keep(_OfLane[bool]):
    """Hold a lane for `ttl` seconds from now; False if another drain has taken the lane."""

    ttl: float


@dataclass(frozen=True, slots=True)
class Leave(_OfLane[bool]):
    """Give a lane back."""


@dataclass(frozen=True, slots=True)
class Ready(OutboxCall["tuple[records.Row, ...]"]):
    """Return rows of a lane that may go, in order.

    Attributes:
        lane: The lane's number.
        limit: The most rows to return.
    """

    is_read = True

    lane: int
    limit: int


@dataclass(frozen=True, slots=True)
class Later(OutboxCall["tuple[records.Row, ...]"]):
    """Return waiting rows with an id above `after` and one of these names, lowest id first.

    Attributes:
        names: The names.
        after: The id.
        limit: The most rows to return.
    """

    is_read = True

    names: Sequence[str]
    after: int
    limit: int


@dataclass(frozen=True, slots=True)
class Mark(_OfLane["frozenset[int]"]):
    """Count rows as tried, before they are resolved and sent; return those that still exist.

    The answer is empty if another drain has the lane.
    """

    ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class FixRows(_OfLane["records.Fixed | None"]):
    """Write into rows which customers they mean, and ask again whether they may go; None if another drain has the lane.

    Attributes:
        rows: The rows, each with its customer's profile and names.
        all_names: Look for earlier rows under all names, and not only under names that are new to a row. Since the
            rows were read, other rows may have been given the same names.
    """

    rows: Sequence[records.Fix]
    all_names: bool = False


@dataclass(frozen=True, slots=True)
class Delete(_OfLane[bool]):
    """Delete rows that are done; False if another drain has the lane.

    Attributes:
        ids: The rows.
        changed: The names of people with a changed identifier or consent.
        kinds: The kinds of those changes.
        at: When the shop asked for the change, in unix seconds.
        repeated: The names of people with a row that was sent more than once.
    """

    ids: Sequence[int]
    changed: Sequence[str] = ()
    kinds: Sequence[str] = ()
    at: float = 0.0
    repeated: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Park(_OfLane[bool]):
    """Park rows: they are dead until an operator tries them again with `Retry`.

    Attributes:
        ids: The rows.
        error: Why, as JSON.
        rule: The rule that refused them; None if none did.
    """

    ids: Sequence[int]
    error: str = field(repr=False)
    rule: str | None


@dataclass(frozen=True, slots=True)
class Wait(_OfLane[bool]):
    """Let rows wait for some seconds; False if another drain has the lane.

    Attributes:
        ids: The rows.
        seconds: How long.
        unsure: Klaviyo may have carried out a request about them.
        error: Why they wait, as JSON; None keeps the error that they have.
    """

    ids: Sequence[int]
    seconds: float
    unsure: bool
    error: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LastChange(OutboxCall["float | None"]):
    """Return when the shop asked for the latest finished change of people with one of these names; None without one.

    Attributes:
        names: The names.
        kinds: The kinds of changes that count.
    """

    is_read = True

    names: Sequence[str]
    kinds: Sequence[str]


@dataclass(frozen=True, slots=True)
class NoteChange(OutboxCall[None]):
    """Note that a direct call has changed an identifier or a consent of the people with these names.

    Attributes:
        names: The names.
        kinds: The kinds of changes that it has made.
        elapsed: How many seconds ago the call began.
    """

    in_passing = True
    names: Sequence[str]
    kinds: Sequence[str]
    elapsed: float


@dataclass(frozen=True, slots=True)
class CountRows(OutboxCall["records.Counted"]):
    """Count the rows. All of them are read, because no index has the time at which a row was inserted."""

    is_read = True


@dataclass(frozen=True, slots=True)
class CountDead(OutboxCall[int]):
    """Count the parked rows, by an index alone."""

    is_read = True


@dataclass(frozen=True, slots=True)
class CountLeft(OutboxCall["records.Left"]):
    """Count the rows that wait, by the indexes alone.

    Attributes:
        are_held: All rows that are due already are held back by others: the next one to be tried is not among them.
    """

    is_read = True

    are_held: bool = False


@dataclass(frozen=True, slots=True)
class OtherAccounts(OutboxCall["tuple[str, ...]"]):
    """Return other accounts with rows that wait: the first and the last one by name, of how many there may be.

    Two looks into an index, no matter how many rows wait.
    """

    is_read = True


@dataclass(frozen=True, slots=True)
class DeadRows(OutboxCall["tuple[records.Row, ...]"]):
    """Return parked rows with an id above `after`, lowest id first."""

    is_read = True

    after: int
    limit: int


@dataclass(frozen=True, slots=True)
class Retry(OutboxCall[int]):
    """Put parked rows at the end, under new ids; return how many."""

    ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class Drop(OutboxCall["frozenset[int]"]):
    """Delete rows; return those that were there.

    Attributes:
        ids: The rows.
        also_waiting: Rows that still wait are deleted, too.
    """

    ids: Sequence[int]
    also_waiting: bool = True


@dataclass(frozen=True, slots=True)
class Expire(OutboxCall[int]):
    """Delete parked rows that are older than so many seconds; return how many.

    The marks of changes as old as that are deleted with them: no row is left that such a mark could hold back.
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
    """Tell whether a row with one of these names or marks waits.

    Attributes:
        names: The names or marks.
        tried: Count only rows that were tried, and rows that were finished lately after more than one sending.
        lately: How many seconds ago counts as lately.
        but: The id of a row that does not count.
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
    """Reserve a turn at an endpoint among all workers, and return the seconds until that turn.

    Attributes:
        endpoint: The endpoint's name.
        limits: The windows of the endpoint: seconds, and how many requests fit into them.
        latest: The most seconds that the request can wait. A later turn is not reserved.
    """

    endpoint: str
    limits: tuple[tuple[int, int], ...]
    latest: float
