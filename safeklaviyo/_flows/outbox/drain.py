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
from safeklaviyo._flows.outbox.carry import BehindError, FencedError, Lane, carry_out
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
from safeklaviyo.stores.outbox.steps import FIXED_BY_TIME

if TYPE_CHECKING:
    from safeklaviyo.stores.outbox.records import Row

RUN = 100
"""Rows that are read at once."""
_LEASE = 15.0
"""Seconds that a lane is held beyond the time of one call."""
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
        is_over: Klaviyo does not answer, so that the other rows wait too.
    """

    left: int | None
    delivered: int = 0
    dead: int = 0
    dropped: int = 0
    is_over: bool = False

    @property
    def may_go_on(self) -> bool:
        """Whether further rows may be sent."""
        return not self.is_over and (self.left is None or self.delivered < self.left)


def drain(setup: Setup, *, limit: int | None, lane: int | None) -> Flow[DrainReport]:
    """See `Outbox.drain`."""
    return run(setup, "outbox.drain", lambda call: _drain(call, limit, lane))


def _drain(call: Call, limit: int | None, lane: int | None) -> Flow[DrainReport]:
    tally = _Tally(limit)
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
    return _LEASE + 2 * (call.setup.deadline or call.setup.attempt)


def _empty(call: Call, lane: Lane, tally: _Tally) -> Flow[tuple[int, ...]]:
    """Carry out what may go in a lane; return the rows that could not, although they may."""
    while tally.may_go_on:
        rows = yield from Ready(call.account, lane.number, RUN)
        if not rows:
            return ()
        for row in rows:
            kept = yield from Keep(call.account, lane.number, lane.token, _ttl(call))
            if not kept:
                return tuple(each.id for each in rows)
            # After an answer that is no acceptance the rows are read again: it may hold back others of this run (H19).
            if not (yield from _one(call.setup, lane, row, tally)):
                break
            if not tally.may_go_on:
                return ()
    return ()


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
        yield from _refused(setup, lane, row, error, tally)
        return False
    changed = row.names if row.verb in FIXED_BY_TIME else ()
    repeated = row.names if row.unsure else ()
    done = yield from Delete(
        lane.account, lane.number, lane.token, (row.id,), changed=changed, at=row.at, repeated=repeated
    )
    tally.delivered += done
    return done


def _refused(setup: Setup, lane: Lane, row: Row, error: SafeKlaviyoError, tally: _Tally) -> Flow[None]:
    """Decide what becomes of a row that was not done.

    Raises:
        SafeKlaviyoError: Every further row would end the same way.
    """
    of_lane = lane.account, lane.number, lane.token
    unsure = row.unsure or error.outcome != "not_applied"
    told = _told(error)
    if isinstance(error, ErasedError):
        tally.dropped += yield from Delete(*of_lane, (row.id,))
    elif isinstance(error, _ENDING):
        yield from Wait(*of_lane, (row.id,), 0.0, unsure, told)
        raise error
    elif isinstance(error, _AWAY) and error.may_retry:
        tally.is_over = True
        yield from Wait(*of_lane, (row.id,), _pause(row, error), unsure, told)
    elif error.may_retry and (yield from Now()) - row.at < setup.policy.outbox_wait:
        yield from Wait(*of_lane, (row.id,), _pause(row, error), unsure, told)
    else:
        tally.dead += yield from Park(*of_lane, (row.id,), told, error.rule)


def _pause(row: Row, error: SafeKlaviyoError) -> float:
    return max(error.retry_after or 0.0, min(2.0 ** min(row.attempts, 20), _LONGEST_PAUSE))


def _told(error: SafeKlaviyoError) -> str:
    """Return what a row says about its error: the message names nobody (P8)."""
    return json.dumps({"error": type(error).__name__, "message": str(error), "outcome": error.outcome})
