"""The deadline of one call: when it begins, which part of it the map may use, and the error when it is over.

Read `_sending.deadline` for the clock of one deadline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._effects import Monotonic, StartDeadline
from safeklaviyo.errors import APIConnectionError, DeadlineExceededError, RetryableError, ServerError

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.errors import SafeKlaviyoError

_HELPED_BY_TIME = (RetryableError, APIConnectionError, ServerError)
"""Failures that more time could have helped. What Klaviyo or the map has refused stays what it is."""


def start_deadline(call: Call) -> Flow[None]:
    """Start the client's whole deadline: for a call, or for the next person of a call about many."""
    seconds = call.setup.deadline
    if seconds is not None:
        call.deadline.start((yield from StartDeadline(seconds)), seconds)
        call.patience_ends = None


def share_deadline(call: Call, share: float) -> Flow[None]:
    """Let the map use only a part of the time that the call has left; 1 lets it use all."""
    left = call.deadline.left((yield from Monotonic()))
    if left is not None:
        yield from StartDeadline(left * share)


def exceeded_by(call: Call, error: SafeKlaviyoError) -> Flow[DeadlineExceededError | None]:
    """Return the error to raise in place of another, if the deadline is the reason; else None."""
    if call.setup.deadline is None or not isinstance(error, _HELPED_BY_TIME):
        return None
    if not (call.deadline.has_cut or call.deadline.is_over((yield from Monotonic()))):
        return None
    exceeded = DeadlineExceededError(
        "the call was not done within its deadline; its outcome says whether to make it again",
        may_retry=error.may_retry, retry_after=error.retry_after, outcome=error.outcome, rule=error.rule,
    )  # fmt: skip
    exceeded.operation, exceeded.unique_id, exceeded.time = error.operation, error.unique_id, error.time
    return exceeded
