"""Looking after the rows: counting, showing, trying again, dropping."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from safeklaviyo._flows.call import Call, Setup, run
from safeklaviyo._flows.outbox.carry import kinds_of
from safeklaviyo.errors import ConfigurationError
from safeklaviyo.outboxes import DeadRow, OutboxCounts
from safeklaviyo.stores.outbox.calls import (
    CountDead,
    CountRows,
    DeadRows,
    Drop,
    Lanes,
    LastChange,
    LookAbout,
    OtherAccounts,
    Retry,
)

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo.stores.outbox.records import Row

PART = 100


def due_lanes(setup: Setup) -> Flow[tuple[int, ...]]:
    """See `Outbox.lanes`."""
    return run(setup, "outbox.lanes", lambda call: Lanes(call.account).__iter__())


def counts(setup: Setup) -> Flow[OutboxCounts]:
    """See `Outbox.counts`."""

    def _body(call: Call) -> Flow[OutboxCounts]:
        counted = yield from CountRows(call.account)
        return OutboxCounts(counted.waiting, counted.dead, _moment(counted.oldest))

    return run(setup, "outbox.counts", _body)


def count_dead(setup: Setup) -> Flow[int]:
    """Count the parked rows, for a worker, which asks each minute. `counts` reads all rows."""
    return run(setup, "outbox.counts", lambda call: CountDead(call.account).__iter__())


def other_accounts(setup: Setup) -> Flow[tuple[str, ...]]:
    """Return other accounts whose rows wait in this outbox, two at most."""
    return run(setup, "outbox.counts", lambda call: OtherAccounts(call.account).__iter__())


def counts_if_any(setup: Setup) -> Flow[OutboxCounts | None]:
    """Count the rows; None if the shop has no outbox."""

    def _body(call: Call) -> Flow[OutboxCounts | None]:
        if (yield from LookAbout(call.account)) is None:
            return None
        counted = yield from CountRows(call.account)
        return OutboxCounts(counted.waiting, counted.dead, _moment(counted.oldest))

    return run(setup, "outbox.counts", _body)


def dead_rows(setup: Setup, after: int) -> Flow[tuple[DeadRow, ...]]:
    """Return the next parked rows with an id above `after`. See `Outbox.dead`."""

    def _body(call: Call) -> Flow[tuple[DeadRow, ...]]:
        rows = yield from DeadRows(call.account, after, PART)
        return tuple(_shown(row) for row in rows)

    return run(setup, "outbox.dead", _body)


class Retried(NamedTuple):
    """What became of the rows that were to be tried again.

    Attributes:
        again: How many were put at the end.
        superseded: Those that stay parked, because a later change was made since.
        missing: Those that were named, and that are not parked or were refused by another rule.
    """

    again: int
    superseded: tuple[int, ...]
    missing: tuple[int, ...]


def retry(setup: Setup, ids: tuple[object, ...], rule: object) -> Flow[int]:
    """See `Outbox.retry`."""
    return (yield from try_again(setup, ids, rule)).again


def try_again(setup: Setup, ids: tuple[object, ...], rule: object) -> Flow[Retried]:
    """Put parked rows at the end, and tell which of them were not."""
    if rule is not None and not isinstance(rule, str):
        raise ConfigurationError("rule has to be a rule's name, such as R6")
    checked = _checked(ids)

    def _body(call: Call) -> Flow[Retried]:
        # All rows are found before one is put back: a row that is put back and parked again would be found once more.
        again: list[int] = []
        superseded: list[int] = []
        after = 0
        while rows := (yield from DeadRows(call.account, after, PART)):
            after = rows[-1].id
            for row in rows:
                if (not checked or row.id in checked) and rule in {None, row.rule}:
                    (superseded if (yield from _is_superseded(call, row)) else again).append(row.id)
        number = (yield from Retry(call.account, again)) if again else 0
        missing = set(checked).difference(again, superseded)
        return Retried(number, tuple(superseded), tuple(sorted(missing)))

    return run(setup, "outbox.retry", _body)


def _is_superseded(call: Call, row: Row) -> Flow[bool]:
    """Tell whether a row would undo a later change (H21)."""
    kinds = kinds_of(row)
    if not kinds:
        return False
    last = yield from LastChange(call.account, row.names, kinds)
    return last is not None and last > row.at


def drop(setup: Setup, ids: tuple[object, ...]) -> Flow[int]:
    """See `Outbox.drop`."""
    # Of none it deletes none: a program that drops what it has found may have found nothing.
    return len((yield from drop_rows(setup, _checked(ids), also_waiting=True)))


def drop_rows(setup: Setup, ids: tuple[int, ...], *, also_waiting: bool) -> Flow[frozenset[int]]:
    """Delete parked rows, or also those that wait, and return those that were there."""
    return run(setup, "outbox.drop", lambda call: Drop(call.account, ids, also_waiting).__iter__())


def _checked(ids: tuple[object, ...]) -> tuple[int, ...]:
    numbers = tuple(each for each in ids if isinstance(each, int) and not isinstance(each, bool))
    if len(numbers) != len(ids):
        raise ConfigurationError("a row's id has to be a number")
    return numbers


def _moment(at: float | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at, UTC)


def _shown(row: Row) -> DeadRow:
    told = json.loads(row.error or "{}")
    return DeadRow(
        id=row.id,
        verb=row.verb,
        time=datetime.fromtimestamp(row.time, UTC),
        unique_id=row.unique_id,
        error=told.get("error", ""),
        message=told.get("message", ""),
        rule=row.rule,
        attempts=row.attempts,
        payload=json.loads(row.payload),
    )
