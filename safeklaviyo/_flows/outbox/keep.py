"""Looking after the rows: counting, showing, trying again, dropping."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from safeklaviyo._flows.call import Call, Setup, run
from safeklaviyo._flows.outbox.carry import kinds_of
from safeklaviyo.errors import ConfigurationError
from safeklaviyo.outboxes import DeadRow, OutboxCounts
from safeklaviyo.stores.outbox.calls import CountDead, CountRows, DeadRows, Drop, Lanes, LastChange, LookAbout, Retry

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


def retry(setup: Setup, ids: tuple[object, ...], rule: object) -> Flow[int]:
    """See `Outbox.retry`."""
    if rule is not None and not isinstance(rule, str):
        raise ConfigurationError("rule has to be a rule's name, such as R6")
    checked = _checked(ids)

    def _body(call: Call) -> Flow[int]:
        # All rows are found before one is put back: a row that is put back and parked again would be found once more.
        again: list[int] = []
        after = 0
        while rows := (yield from DeadRows(call.account, after, PART)):
            after = rows[-1].id
            for row in rows:
                is_meant = (not checked or row.id in checked) and rule in {None, row.rule}
                if is_meant and not (yield from _is_superseded(call, row)):
                    again.append(row.id)
        return (yield from Retry(call.account, again)) if again else 0

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
    checked = _checked(ids)
    if not checked:
        raise ConfigurationError("name the rows that are to be dropped, by their ids")
    return run(setup, "outbox.drop", lambda call: Drop(call.account, checked).__iter__())


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
