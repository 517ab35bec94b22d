"""`drain`: the rows of a lane, one after the other, under the lane's token.

Decided here: what becomes of a row after each answer.

- A row is counted as tried before any request about it is sent (H13 to H15).
- A row is deleted only after Klaviyo has accepted it, by its id, and only while the drain holds the lane (H12).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from safeklaviyo._effects import Flow, Monotonic, Now
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
    CountLeft,
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
from safeklaviyo.stores.outbox.records import LANES

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo.stores.outbox.records import Row

RUN = 1000
"""Rows that are read at once."""
_LEASE = 5.0
"""Seconds that a lane is held beyond the time of one call."""
_LONGEST_CALL = 60.0
"""Seconds that one call is expected to take at most, if it has no deadline."""
_EXPIRY = 60.0
"""Seconds between two looks of a client for parked rows that are too old."""
_LONGEST_PAUSE = 300.0
"""Seconds before a row is tried again, at most."""
_ENDING = (AuthenticationError, ConfigurationError, GoneError, PermissionDeniedError, StoreError)
"""Errors that end the drain: every further row would fail with the same one."""
_AWAY = (APIConnectionError, RateLimitError, ServerError, StoreError, DeadlineExceededError)
"""Errors that say nothing about the row itself: Klaviyo or the store is away."""


@dataclass(frozen=True, slots=True)
class Done:
    """What one drain of a lane has done. The counts are those of `DrainReport`."""

    delivered: int
    dead: int
    dropped: int


@dataclass(slots=True)
class _Tally:
    """What a drain has done so far.

    Attributes:
        left: How many rows the drain may deliver; None for no limit.
        is_stopped: Called before each row; true ends the drain.
        delivered: How many rows Klaviyo has accepted.
        dead: How many rows were parked.
        dropped: How many rows about erased customers were deleted.
        is_over: Klaviyo does not answer, so the drain ends and all other rows wait.
    """

    left: int | None
    is_stopped: Callable[[], bool]
    delivered: int = 0
    dead: int = 0
    dropped: int = 0
    is_over: bool = False

    @property
    def done(self) -> Done:
        """What the drain has done so far, for its caller."""
        return Done(self.delivered, self.dead, self.dropped)

    @property
    def room(self) -> int:
        """How many rows may still be delivered, if there is a limit."""
        return max(0, (self.left or 0) - self.delivered)

    @property
    def may_go_on(self) -> bool:
        """Whether further rows may be sent."""
        has_room = self.left is None or self.delivered < self.left
        return not self.is_over and has_room and not self.is_stopped()


def drain(setup: Setup, *, limit: int | None, lane: int | None) -> Flow[DrainReport]:
    """See `Outbox.drain`.

    Args:
        setup: The client's setup.
        limit: How many rows to deliver at most; None for no limit.
        lane: The only lane to drain; None for all lanes.

    Raises:
        ConfigurationError: Before anything is asked: there is no such lane, or the limit is no number of rows.
    """
    if lane is not None and not (_is_number(lane) and lane < LANES):
        raise ConfigurationError(f"lane has to be a number from 0 to {LANES - 1}, or None for all lanes")
    if limit is not None and not _is_number(limit):
        raise ConfigurationError("limit has to be a number of rows, or None for all rows")

    def _body(call: Call) -> Flow[DrainReport]:
        tally = _Tally(limit, lambda: False)
        done = yield from _drain(call, tally, lane)
        # Rows that were due and are left wait for others, or for the one after which the drain ended; without a limit.
        left = yield from CountLeft(call.account, are_held=lane is None and (limit is None or tally.room > 0))
        due = None if left.next_due is None else datetime.fromtimestamp(left.next_due, UTC)
        return DrainReport(done.delivered, left.waiting, done.dead, due, done.dropped)

    return run(setup, "outbox.drain", _body)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def drain_lane(setup: Setup, *, limit: int, lane: int, is_stopped: Callable[[], bool] = lambda: False) -> Flow[Done]:
    """Carry out some rows of one lane, for a worker that comes back to the lane.

    It does not count the rows that are left, as `drain` does. Before each thousand of a million rows, that would take
    longer than to carry the thousand out.

    Args:
        setup: The client's setup.
        limit: How many rows to deliver at most.
        lane: The lane.
        is_stopped: Called before each row; true ends the drain. A worker that is told to stop uses this.
    """
    return run(setup, "outbox.drain", lambda call: _drain(call, _Tally(limit, is_stopped), lane))


def _drain(call: Call, tally: _Tally, lane: int | None) -> Flow[Done]:
    # Step 1: delete parked rows that are older than the policy keeps them.
    yield from _expire(call)
    # Step 2: drain all lanes, round after round until a round does nothing. A row may have waited for a row of a later
    # lane, and can go once that lane was drained.
    while tally.may_go_on:
        before = tally.delivered + tally.dead + tally.dropped
        lanes = (lane,) if lane is not None else (yield from Lanes(call.account))
        for number in lanes:
            yield from _drain_lane(call, number, tally)
        if tally.delivered + tally.dead + tally.dropped == before:
            break
    if tally.dropped:
        logger.info("outbox: %s rows about erased customers were dropped", tally.dropped)
    return tally.done


def _expire(call: Call) -> Flow[None]:
    # Once in a while for each client: no index has the ages, so all parked rows are read, and a worker drains each
    # second. A minute is little beside the days for which rows are kept.
    now = yield from Monotonic()
    if now < call.setup.shared.expiry:
        return
    call.setup.shared.expiry = now + _EXPIRY
    expired = yield from Expire(call.account, call.policy.outbox_keep)
    if expired:
        logger.warning("outbox: %s rows were parked for longer than they are kept, and are gone", expired)


def _drain_lane(call: Call, number: int, tally: _Tally) -> Flow[None]:
    """Take a lane, carry out its rows, and leave it; do nothing while another drain holds it."""
    about = yield from ReadAbout(call.account)
    seen: tuple[int, ...] = ()
    while tally.may_go_on:
        # Step 1: take the lane for as long as one call may take. `_empty` holds it for longer before each row.
        token = yield from Take(call.account, number, _ttl(call))
        if token is None:
            return
        # Step 2: carry out its rows. The lane is left after an error too, so that the next drain need not wait until
        # the token expires.
        lane = Lane(call.account, about, number, token)
        try:
            seen = yield from _empty(call, lane, tally)
        except SafeKlaviyoError:
            yield from Leave(call.account, number, token)
            raise
        yield from Leave(call.account, number, token)
        # Step 3: look once more, now that the lane is free. A row may have come after the last look, and the drain that
        # was started for it has found the lane held and gone away (H20).
        again = yield from Ready(call.account, number, 1)
        if not again or again[0].id in seen:
            return


def _ttl(call: Call) -> float:
    return _LEASE + (call.setup.deadline or _LONGEST_CALL)


def _empty(call: Call, lane: Lane, tally: _Tally) -> Flow[tuple[int, ...]]:
    """Carry out the rows of a lane that may go.

    Returns:
        The ids of the rows that were read last, if another drain has taken the lane: they are that drain's now.
    """
    while tally.may_go_on:
        # Step 1: read the rows that may go. Each turn of the loop reads them again, because an answer can change it.
        rows = yield from Ready(call.account, lane.number, RUN if tally.left is None else min(RUN, tally.room))
        if not rows:
            return ()
        # Step 2: send the events that may go together. Those that may not go singly, in their order.
        together, singly = sorted_out(rows)
        if len(together) > 1:
            rest = yield from _together(call, lane, together, tally)
            singly = sorted((*rest, *singly), key=lambda row: row.id)
        else:
            singly = list(rows)
        # Step 3: carry out the others one by one, each under a lane that is held for the whole call.
        for row in singly:
            if not tally.may_go_on:
                return ()
            kept = yield from Keep(call.account, lane.number, lane.token, _ttl(call))
            if not kept:
                return tuple(each.id for each in rows)
            # A row that was not accepted may hold back later rows of this run, so the rows are read again (H19).
            if not (yield from _one(call.setup, lane, row, tally)):
                break
    return ()


def _together(call: Call, lane: Lane, rows: list[Row], tally: _Tally) -> Flow[list[Row]]:
    """Send events together, in few requests; return the rows that have to go singly."""
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
        # The request itself may not be repeated, but each of its events may: the event's key makes a second copy
        # harmless (P5).
        error.may_retry = True
        yield from _refused(call.setup, lane, failed, error, tally)
    return ran.singly


def _one(setup: Setup, lane: Lane, row: Row, tally: _Tally) -> Flow[bool]:
    """Carry out one row; tell whether it was done and deleted."""
    # Step 1: count the row as tried. If this process is killed after the sending, the next drain sees it (H13 to H15).
    marked = yield from Mark(lane.account, lane.number, lane.token, (row.id,))
    if not marked:
        # An operator has dropped the row, or another drain has it.
        return False
    # Step 2: carry it out, as the verb would.
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
    # Step 3: delete it, while the lane is held. The same statement marks what was changed, for older rows (H21).
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
    """Delete, keep or park rows after an error.

    Args:
        setup: The client's setup.
        lane: The lane, which the drain holds.
        rows: The rows; several if they were sent in one request.
        error: Why they were not done.
        tally: The drain's counts, to be changed.

    Raises:
        SafeKlaviyoError: The error itself, if every further row would fail with it.
    """
    of_lane = lane.account, lane.number, lane.token
    row, ids = rows[0], [row.id for row in rows]
    unsure = row.unsure or error.outcome != "not_applied"
    told = _told(error)
    # An erased customer's rows must not stay, parked ones neither (H23).
    if isinstance(error, ErasedError):
        tally.dropped += yield from Delete(*of_lane, ids)
    # The rows wait, without a pause: they go as soon as the settings are right, or the store is back.
    elif isinstance(error, _ENDING):
        yield from Wait(*of_lane, ids, 0.0, unsure, told)
        raise error
    # Klaviyo is away: a row for which that lasts long is as good as on the first day, so it is never parked.
    elif isinstance(error, _AWAY) and error.may_retry:
        tally.is_over = True
        yield from Wait(*of_lane, ids, _pause(row, error), unsure, told)
    # What the row needs may still come, such as the sign-up of its customer (H24).
    elif error.may_retry and (yield from Now()) - row.at < setup.policy.outbox_wait:
        yield from Wait(*of_lane, ids, _pause(row, error), unsure, told)
    # An operator has to look at the row.
    else:
        tally.dead += yield from Park(*of_lane, ids, told, error.rule)


def _pause(row: Row, error: SafeKlaviyoError) -> float:
    """Return the seconds before rows are tried again: doubled each time, and never less than Klaviyo asks for."""
    return max(error.retry_after or 0.0, min(2.0 ** min(row.attempts, 20), _LONGEST_PAUSE))


def _told(error: SafeKlaviyoError) -> str:
    """Return what is kept in a row about its error. No error's message holds personal data (P8)."""
    return json.dumps({"error": type(error).__name__, "message": str(error), "outcome": error.outcome})
