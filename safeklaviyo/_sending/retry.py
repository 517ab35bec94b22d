"""Sending one request: in its turn, and repeated where that is safe.

Decided here: what a call gets in the end, an answer or an error, and whether Klaviyo may have carried out any of its
attempts (the outcome). Not here: what is in a request or an answer (`_api`), what one attempt is (`attempts`), which
failure allows another (`failures`), when and how often (`line`).

- A call enters the policy only after a first failure, with that failure as the first attempt. A call that succeeds at
  once does not pay for the policy (F-33).
- tenacity reads `time.monotonic` itself. The deadline is therefore counted here, on the `Monotonic` effect.
- `BaseRetrying.iter` does no I/O, so the flow itself waits and sends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenacity import DoSleep, RetryCallState

from safeklaviyo._api.messages import Response
from safeklaviyo._sending.attempts import Sender
from safeklaviyo._sending.deadline import Deadline
from safeklaviyo._sending.failures import Failure
from safeklaviyo.errors import SafeKlaviyoError

if TYPE_CHECKING:
    from safeklaviyo._api.messages import Request
    from safeklaviyo._effects import Flow
    from safeklaviyo._sending.attempts import Again, Before
    from safeklaviyo._sending.failures import Failed
    from safeklaviyo._sending.line import Line


@dataclass(frozen=True, slots=True)
class Exchange:
    """An answer that the caller asked for.

    Attributes:
        doubt: Klaviyo may have carried out an earlier attempt of the same write. A 409 or a 404 may then be the trace
            of that attempt.
    """

    response: Response
    doubt: bool


def transmit(
    line: Line,
    request: Request,
    *,
    accept: frozenset[int] = frozenset(),
    again: Again | None = None,
    before: Before | None = None,
    deadline: Deadline | None = None,
) -> Flow[Exchange]:
    """Send a request in its turn, repeat it where that is safe, and return the answer.

    Args:
        accept: Statuses besides 2xx that the caller can read; they are answers, and never repeated.
        again: Builds the request again after each wait, and so before each repeat. An event's address is read again;
            its key and time stay as they were (P5).
        before: Called before each wait, with the seconds that the wait and the attempt may take, and once more right
            before each attempt, with the seconds of the attempt. It renews a lease, and raises to stop.
        deadline: When the call ends: no attempt, and no wait, goes on after that.

    Raises:
        NotSentError: No connection was made.
        NoResponseError: No answer of Klaviyo's own came back: a write may or may not have been carried out.
        RateLimitError: Klaviyo said 429; or the queue for this endpoint is longer than the deadline, and nothing was
            sent: then `status_code` is 0, `code` is ``"queue_too_long"`` and `retry_after` is the wait refused.
        APIStatusError: Klaviyo refused otherwise, or failed.

    In all these errors

    - `outcome` is ``"unknown"`` if Klaviyo may have carried out any attempt of a write;
    - `may_retry` says whether the same call is safe later, and can succeed.
    """
    # The first attempt is made outside the retry policy, so that a call that succeeds does not pay for it (F-33).
    sender = Sender(line, request, accept=accept, again=again, before=before, deadline=deadline or Deadline())
    result = yield from sender.attempt()
    if isinstance(result, Response):
        line.budget.give()
        return Exchange(result, doubt=False)
    ended = yield from _persist(sender, result)
    if isinstance(ended, Exchange):
        return ended
    try:
        raise ended
    finally:
        del ended, result  # else the error and this frame keep each other alive


def _patience(state: RetryCallState) -> float | None:
    """Return the seconds to wait after a failure before the next attempt; None if there is to be none."""
    # One `Retrying` serves all calls of a client. `begin` clears what it keeps of its last step, which may have been
    # another call's. It keeps that for each thread, and everything that belongs to this call is in `state`.
    state.retry_object.begin()
    step = state.retry_object.iter(state)
    return float(step) if isinstance(step, DoSleep) else None


def _persist(sender: Sender, failed: Failed) -> Flow[Exchange | SafeKlaviyoError]:
    """Repeat after a first failure, as long as the policy says so; return the answer, or the error to raise."""
    # A doubt stays: if Klaviyo refuses a later attempt, an earlier one may still have been carried out (P7).
    doubt = False
    state = RetryCallState(sender.line.retrying, None, (), {})
    while True:
        doubt = doubt or failed.leaves_doubt
        state.set_result(failed)
        wait = _patience(state)
        if wait is None:
            if failed.may_be_repeated and state.attempt_number < sender.line.policy.max_attempts:
                sender.deadline.cuts(failed.at + state.upcoming_sleep)
            return _verdict(failed, doubt=doubt)
        state.prepare_for_next_attempt()
        try:
            yield from sender.pause(wait, "retry")
            result = yield from sender.attempt()
        except SafeKlaviyoError as error:
            _mark(error, doubt=doubt)
            raise
        if isinstance(result, Response):
            sender.line.budget.give(failed.cost)
            return Exchange(result, doubt=doubt)
        # No attempt was made this time. The failure before it is what the caller has to know of, not the long queue.
        if result.failure is Failure.CROWDED:
            return _verdict(failed, doubt=doubt)
        failed = result


def _verdict(failed: Failed, *, doubt: bool) -> SafeKlaviyoError:
    """Return the error to raise."""
    failed.error.may_retry = failed.may_be_repeated
    _mark(failed.error, doubt=doubt)
    return failed.error


def _mark(error: SafeKlaviyoError, *, doubt: bool) -> None:
    """Set the outcome to unknown if an attempt before this error may have been carried out."""
    if doubt:
        error.outcome = "unknown"
