"""`drain`: the rows of a lane, one after the other, under the lane's token.

Decided here: what becomes of a row after each answer. A row is counted as tried before anything about it is asked or
sent (H13 to H15). It is deleted only after it was accepted, by its id, and only while the lane is held (H12).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from safeklaviyo._effects import Flow, Now
from safeklaviyo._flows.call import Call, Setup, logger, run
from safeklaviyo._flows.outbox.carry import BehindError, FencedError, Lane, carry_out, kinds_of
from safeklaviyo._flows.outbox.runs import run_together, sorted_out
from safeklaviyo.errors import (
    APIConnectionError,
    AuthenticationError,
    ConfigurationError,
    DeadlineExceededError,
    ErasedError,
    GoneError,
    PermissionDeniedError,
    RateLimitError,
    SafeKlaviyoError,
    ServerError,
    StoreError,
)
from safeklaviyo.outboxes import DrainReport
from safeklaviyo.stores.outbox.calls import (
    CountRows,
    Delete,
    Expire,
    Keep,
    Lanes,
    Leave,
    Mark,
    Park,
    ReadAbout,
    Ready,
    Take,
    Wait,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo.stores.outbox.records import Row

RUN = 1000
"""Rows that are read at once."""
_LEASE = 5.0
"""Seconds that a lane is held beyond the time of one call."""
_LONGEST_CALL = 60.0
"""Seconds that are taken for one call without a deadline."""
_LONGEST_PAUSE = 300.0
_ENDING = (AuthenticationError, ConfigurationError, GoneError, PermissionDeniedError, StoreError)
"""What ends the drain: each further row would end the same way."""
_AWAY = (APIConnectionError, RateLimitError, ServerError, StoreError, DeadlineExceededError)
"""What says nothing about the row itself."""


@dataclass(slots=True)
class _Tally:
    """What a drain has done so far.

    Attributes:
        left: How many rows it may still deliver; None for no limit.
        is_stopped: Asked before each row whether to stop.
        is_over: Klaviyo does not answer, so that the other rows wait too.
    """

    left: int | None
    is_stopped: Callable[[], bool]
    delivered: int = 0
    dead: int = 0
    dropped: int = 0
    is_over: bool = False

    @property
    def room(self) -> int:
        """How many rows may still be delivered, where there is a limit."""
        return max(0, (self.left or 0) - self.delivered)

    @property
    def may_go_on(self) -> bool:
        """Whether further rows may be sent."""
        has_room = self.left is None or self.delivered < self.left
        return not self.is_over and has_room and not self.is_stopped()


def drain(
    setup: Setup, *, limit: int | None, lane: int | None, is_stopped: Callable[[], bool] = lambda: False
) -> Flow[DrainReport]:
    """See `Outbox.drain`. The worker asks it to stop when it is told to stop itself."""
    return run(setup, "outbox.drain", lambda call: _drain(call, _Tally(limit, is_stopped), lane))


def _drain(call: Call, tally: _Tally, lane: int | None) -> Flow[DrainReport]:
    expired = yield from Expire(call.account, call.policy.outbox_keep)
    if expired:
        logger.warning("outbox: %s rows were parked for longer than they are kept, and are gone", expired)
    # Round after round: a row may have waited for one of another lane that has gone since.
    while tally.may_go_on:
        before = tally.delivered + tally.dead + tally.dropped
        lanes = (lane,) if lane is not None else (yield from Lanes(call.account))
        for number in lanes:
            yield from _drain_lane(call, number, tally)
        if tally.delivered + tally.dead + tally.dropped == before:
            break
    if tally.dropped:
        logger.info("outbox: %s rows about erased customers were dropped", tally.dropped)
    counted = yield from CountRows(call.account)
    due = None if counted.next_due is None else datetime.fromtimestamp(counted.next_due, UTC)
    return DrainReport(tally.delivered, counted.waiting, tally.dead, due)


def _drain_lane(call: Call, number: int, tally: _Tally) -> Flow[None]:
    about = yield from ReadAbout(call.account)
    seen: tuple[int, ...] = ()
    while tally.may_go_on:
        token = yield from Take(call.account, number, _ttl(call))
        if token is None:
            return
        lane = Lane(call.account, about, number, token)
        try:
            seen = yield from _empty(call, lane, tally)
        except SafeKlaviyoError:
            yield from Leave(call.account, number, token)
            raise
        yield from Leave(call.account, number, token)
        # A row may have come after the last look, whose own drain has found the lane held (H20).
        again = yield from Ready(call.account, number, 1)
        if not again or again[0].id in seen:
            return


def _ttl(call: Call) -> float:
    return _LEASE + (call.setup.deadline or _LONGEST_CALL)


def _empty(call: Call, lane: Lane, tally: _Tally) -> Flow[tuple[int, ...]]:
    """Carry out what may go in a lane; return the rows that were read last, if the lane is another drain's by now."""
    while tally.may_go_on:
        rows = yield from Ready(call.account, lane.number, RUN if tally.left is None else min(RUN, tally.room))
        if not rows:
            return ()
        together, singly = sorted_out(rows)
        if len(together) > 1:
            rest = yield from _together(call, lane, together, tally)
            singly = sorted((*rest, *singly), key=lambda row: row.id)
        else:
            singly = list(rows)
        for row in singly:
            if not tally.may_go_on:
                return ()
            kept = yield from Keep(call.account, lane.number, lane.token, _ttl(call))
            if not kept:
                return tuple(each.id for each in rows)
            # After an answer that is no acceptance the rows are read again: it may hold back others of this run (H19).
            if not (yield from _one(call.setup, lane, row, tally)):
                break
    return ()


def _together(call: Call, lane: Lane, rows: list[Row], tally: _Tally) -> Flow[list[Row]]:
    """Carry out events in few requests; return the rows that are to go singly now."""
    kept = yield from Keep(call.account, lane.number, lane.token, _ttl(call))
    if not kept:
        return []
    try:
        ran = yield from run_together(call.setup, lane, rows)
    except FencedError:
        return []
    tally.delivered += ran.delivered
    if ran.failed is not None:
        error, failed = ran.failed
        # The request cannot be repeated as it is, but each of its events can.
        error.may_retry = True
        yield from _refused(call.setup, lane, failed, error, tally)
    return ran.singly


def _one(setup: Setup, lane: Lane, row: Row, tally: _Tally) -> Flow[bool]:
    """Carry out one row; False if it was not done."""
    marked = yield from Mark(lane.account, lane.number, lane.token, (row.id,))
    if not marked:
        # It was dropped, or is another drain's.
        return False
    try:
        yield from carry_out(setup, lane, row)
    except BehindError:
        yield from Wait(lane.account, lane.number, lane.token, (row.id,), 0.0, row.unsure)
        return False
    except FencedError:
        return False
    except SafeKlaviyoError as error:
        yield from _refused(setup, lane, [row], error, tally)
        return False
    kinds = kinds_of(row)
    done = yield from Delete(
        lane.account,
        lane.number,
        lane.token,
        (row.id,),
        changed=row.names if kinds else (),
        kinds=kinds,
        at=row.at,
        repeated=row.names if row.unsure else (),
    )
    tally.delivered += done
    return done


def _refused(setup: Setup, lane: Lane, rows: list[Row], error: SafeKlaviyoError, tally: _Tally) -> Flow[None]:
    """Decide what becomes of rows that were not done; several were sent in one request.

    Raises:
        SafeKlaviyoError: Every further row would end the same way.
    """
    of_lane = lane.account, lane.number, lane.token
    row, ids = rows[0], [row.id for row in rows]
    unsure = row.unsure or error.outcome != "not_applied"
    told = _told(error)
    if isinstance(error, ErasedError):
        tally.dropped += yield from Delete(*of_lane, ids)
    elif isinstance(error, _ENDING):
        yield from Wait(*of_lane, ids, 0.0, unsure, told)
        raise error
    elif isinstance(error, _AWAY) and error.may_retry:
        tally.is_over = True
        yield from Wait(*of_lane, ids, _pause(row, error), unsure, told)
    elif error.may_retry and (yield from Now()) - row.at < setup.policy.outbox_wait:
        yield from Wait(*of_lane, ids, _pause(row, error), unsure, told)
    else:
        tally.dead += yield from Park(*of_lane, ids, told, error.rule)


def _pause(row: Row, error: SafeKlaviyoError) -> float:
    return max(error.retry_after or 0.0, min(2.0 ** min(row.attempts, 20), _LONGEST_PAUSE))


def _told(error: SafeKlaviyoError) -> str:
    """Return what a row says about its error: the message names nobody (P8)."""
    return json.dumps({"error": type(error).__name__, "message": str(error), "outcome": error.outcome})
