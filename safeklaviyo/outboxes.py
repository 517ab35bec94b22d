"""What the outbox returns. No `repr` names a person: that of a parked row has neither payload nor identifiers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from safeklaviyo.notices import Notice


@dataclass(frozen=True, slots=True)
class Queued:
    """A call that was written into the outbox.

    Attributes:
        id: The row's number.
        unique_id: The event's idempotency key, fixed here; None for a call that is no event.
        time: The event's time, fixed here; for any other call the time at which it was queued.
        warnings: What was understood in another way than it was given, or left out.
    """

    id: int
    unique_id: str | None
    time: datetime
    warnings: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What one drain has done.

    Attributes:
        delivered: How many rows are done.
        waiting: How many rows wait now.
        dead: How many rows this drain has parked.
        next_due: When the next row that waits may be tried; None if none waits. It is a time that has passed only if
            rows are left that may go now, because of `limit`, or if another drain has all that is left.
        dropped: How many rows this drain has deleted unsent, because their customers were erased.
    """

    delivered: int
    waiting: int
    dead: int
    next_due: datetime | None
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class DeadRow:
    """A row that was parked, because the rules or Klaviyo have refused it.

    Attributes:
        id: The row's number, for `retry` and `drop`.
        verb: What it asks for, such as ``"track"``.
        time: The event's time, or when the call was queued.
        unique_id: The event's idempotency key.
        error: The name of the error that parked it.
        message: What that error said.
        rule: The rule that decided, such as ``"R6"``.
        attempts: How often it was tried.
        payload: What was asked for, personal data and all.
    """

    id: int
    verb: str
    time: datetime
    unique_id: str | None = field(repr=False)
    error: str
    message: str
    rule: str | None
    attempts: int
    payload: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """How many rows there are.

    Attributes:
        waiting: Rows that are still to be carried out.
        dead: Rows that were parked.
        oldest: When the oldest row that waits was queued.
    """

    waiting: int
    dead: int
    oldest: datetime | None
