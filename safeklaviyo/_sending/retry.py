"""Sending one request: in its turn, and repeated where that is safe.

Decided here: whether a failed request may be repeated, when, how often, and whether Klaviyo may have carried it out
(the outcome). Not here: what is in a request or an answer (`_api`), when an endpoint's queue has a free slot
(`pacing`), how much may be repeated over all calls (`budget`).

The policy is tenacity's: stop, wait and retry callables, driven through `BaseRetrying.iter`, which does no I/O.

- A call enters the policy only after a first failure, with that failure as the first attempt. A call that succeeds at
  once does not pay for the policy (F-33).
- tenacity reads `time.monotonic` itself. The deadline is therefore counted here, on the `Monotonic` effect.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Final, Literal

from tenacity import DoSleep, RetryCallState, Retrying, stop_after_attempt, wait_exponential

from safeklaviyo._api.messages import Repeat, Request, Response
from safeklaviyo._api.refusals import error_from, retry_after
from safeklaviyo._api.responses import is_from_klaviyo, is_success
from safeklaviyo._effects import Flow, Monotonic, Now, Send, Sleep
from safeklaviyo._sending.budget import RETRY_COST, TIMEOUT_COST, Budget
from safeklaviyo._sending.deadline import Deadline
from safeklaviyo._sending.pacing import Pacer
from safeklaviyo.errors import NoResponseError, NotSentError, RateLimitError, SafeKlaviyoError

if TYPE_CHECKING:
    from safeklaviyo.policy import RetryPolicy

JITTER: Final = 0.1
"""Seconds by which a repeat comes later than a ``Retry-After`` says, at most."""

FIRST_BACKOFF: Final = 0.5
"""The ceiling of the first wait in seconds, where the answer named none; it doubles with each attempt."""

Again = Callable[[], Flow[Request]]
Before = Callable[[float], Flow[None]]


class Failure(Enum):
    """How an attempt failed, which decides with `Repeat` whether there is another."""

    CROWDED = "no turn before the deadline"
    NOT_SENT = "no connection"
    THROTTLED = "429"
    NO_RESPONSE = "sent, and no whole answer"
    FOREIGN = "an answer that Klaviyo did not give"
    BROKEN = "5xx"
    REFUSED = "any other 4xx"


# Klaviyo may have carried the request out.
_UNCERTAIN: Final = frozenset({Failure.NO_RESPONSE, Failure.FOREIGN, Failure.BROKEN})
# Klaviyo has not carried the request out.
_UNDONE: Final = frozenset({Failure.CROWDED, Failure.NOT_SENT, Failure.THROTTLED})

_CLOCK: Final = Monotonic()


def may_repeat(repeat: Repeat, failure: Failure) -> bool:
    """Whether a request may be sent once more after this failure.

    - Not sent, or 429: always, because nothing was done.
    - 5xx, or no answer of Klaviyo's own: only if a second time changes nothing (F-19), a 503 with ``Retry-After`` too.
    - Any other answer: never. It would be the same again.
    """
    if failure in _UNCERTAIN:
        return repeat is not Repeat.ONCE
    return failure in _UNDONE


@dataclass(frozen=True, slots=True)
class Exchange:
    """An answer that the caller asked for.

    Attributes:
        doubt: Klaviyo may have carried out an earlier attempt of the same write. A 409 or a 404 may then be the trace
            of that attempt.
    """

    response: Response
    doubt: bool


class Line:
    """The pacer, the retry budget and the retry policy of one client. Safe between threads and tasks.

    Args:
        random: Returns a number from 0 up to, and without, 1.
        attempt: The seconds that one attempt can take, from its sending to its answer or timeout.
        published: Whether Klaviyo's published limits hold for this host; see `Pacer`.
        shared: The line to share the pacer and the budget with; None for a line with its own.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        random: Callable[[], float] = _random.random,
        attempt: float = 10.0,
        published: bool = True,
        shared: Line | None = None,
    ) -> None:
        self.policy = policy
        self.attempt = attempt
        self.pacer: Pacer = Pacer(published=published) if shared is None else shared.pacer
        self.budget: Budget = Budget() if shared is None else shared.budget
        self._random = random
        self._are_all_made = stop_after_attempt(policy.max_attempts)
        ceiling = wait_exponential(multiplier=FIRST_BACKOFF, max=policy.max_delay)

        def wait(state: RetryCallState) -> float:
            # Random, so that many calls that failed together are not repeated together. A ``Retry-After`` is a floor.
            asked = _failed(state).error.retry_after
            return random() * ceiling(state) if asked is None else asked + JITTER * random()

        self.retrying: Retrying = Retrying(
            retry=lambda state: _failed(state).may_be_repeated,
            wait=wait,
            stop=self._is_over,
            retry_error_callback=_failed,
        )

    def view(self, policy: RetryPolicy, *, attempt: float) -> Line:
        """Return a line with another policy, which shares the pacer and the budget."""
        return Line(policy, random=self._random, attempt=attempt, shared=self)

    def _is_over(self, state: RetryCallState) -> bool:
        failed = _failed(state)
        is_too_long = (failed.error.retry_after or 0.0) > self.policy.max_delay
        is_too_late = failed.at + state.upcoming_sleep > failed.last
        # The budget last, because `take` pays: a repeat that another limit forbids must cost nothing.
        return self._are_all_made(state) or is_too_long or is_too_late or not self.budget.take(failed.cost)


@dataclass(frozen=True, slots=True)
class _Failed:
    """A failed attempt.

    Attributes:
        at: When it had failed, and
        last: when the last attempt must have begun, both by the `Monotonic` effect.
    """

    repeat: Repeat
    failure: Failure
    error: SafeKlaviyoError
    at: float
    last: float

    @property
    def cost(self) -> int:
        """What a retry takes from the budget."""
        return TIMEOUT_COST if self.failure is Failure.NO_RESPONSE else RETRY_COST

    @property
    def may_be_repeated(self) -> bool:
        """Whether the request may be sent again after this failure."""
        return may_repeat(self.repeat, self.failure)

    @property
    def leaves_doubt(self) -> bool:
        """Whether Klaviyo may have carried the request out (P7)."""
        return self.repeat is not Repeat.READ and self.failure in _UNCERTAIN


def _failed(state: RetryCallState) -> _Failed:
    assert state.outcome is not None
    failed: _Failed = state.outcome.result()
    return failed


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
    sender = _Sender(line, request, accept=accept, again=again, before=before, deadline=deadline or Deadline())
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


def _persist(sender: _Sender, failed: _Failed) -> Flow[Exchange | SafeKlaviyoError]:
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


def _verdict(failed: _Failed, *, doubt: bool) -> SafeKlaviyoError:
    """Return the error to raise."""
    failed.error.may_retry = failed.may_be_repeated
    _mark(failed.error, doubt=doubt)
    return failed.error


def _mark(error: SafeKlaviyoError, *, doubt: bool) -> None:
    """Set the outcome to unknown if an attempt before this error may have been carried out."""
    if doubt:
        error.outcome = "unknown"


class _Sender:
    """The attempts of one request."""

    __slots__ = ("_accept", "_again", "_before", "_has_waited", "_last", "_request", "_sent", "deadline", "line")

    def __init__(
        self,
        line: Line,
        request: Request,
        *,
        accept: frozenset[int],
        again: Again | None,
        before: Before | None,
        deadline: Deadline,
    ) -> None:
        self.line = line
        self.deadline = deadline
        self._request = request
        self._accept = accept
        self._again = again
        self._before = before
        self._last: float | None = None  # when the last attempt must have begun
        self._has_waited = False
        self._sent = 0

    def attempt(self) -> Flow[Response | _Failed]:
        """Send once, when it is this request's turn."""
        late = yield from self._turn()
        if isinstance(late, _Failed):
            return late
        try:
            self._sent += 1
            response = yield from Send(self._request, late, self._sent - 1)
        except NotSentError as error:
            return (yield from self._failed(Failure.NOT_SENT, error))
        except NoResponseError as error:
            return (yield from self._failed(Failure.NO_RESPONSE, error))
        # Before the status is read: a proxy's 404 or 409 must not count as Klaviyo's word (F-34).
        if not is_from_klaviyo(self._request.endpoint, response):
            return (yield from self._distrust(response))
        if not is_success(response.status) and response.status not in self._accept:
            return (yield from self._examine(response))
        if self.line.pacer.has_news(self._request.endpoint, response):
            self.line.pacer.learn(self._request.endpoint, response, (yield from _CLOCK))
        return response

    def pause(self, seconds: float, reason: Literal["pacing", "retry"]) -> Flow[None]:
        """Wait, and note that the request has to be built again, because its content may be out of date then."""
        # The lease has to outlive the wait and the attempt after it. Otherwise another call takes it over in between.
        if self._before is not None:
            yield from self._before(seconds + self.line.attempt)
        yield from Sleep(seconds, reason)
        self._has_waited = True

    def _turn(self) -> Flow[_Failed | float | None]:
        """Wait for a free slot in the endpoint's queue.

        Returns:
            A failure if there is no slot in time; else the seconds that the call has left for the attempt.
        """
        slot: float | None = None
        # In a loop, because an answer to another call can close the endpoint while this one waits.
        while True:
            if self._has_waited and self._again is not None:
                self._request = yield from self._again()
            at = yield from _CLOCK
            if self._last is None:
                self._last = min(at + self.line.policy.give_up_after, self.deadline.ends_at)
            slot = self.line.pacer.reserve(self._request.endpoint, at, until=self._last, held=slot)
            if slot > self._last:
                self.deadline.cuts(slot)
                return _Failed(self._request.repeat, Failure.CROWDED, _crowded(slot - at), at, self._last)
            if slot <= at:
                break
            yield from self.pause(slot - at, "pacing")
        # The last step before the request leaves: a lease that was taken over stops it here (P4).
        if self._before is not None:
            yield from self._before(self.line.attempt)
            if self.deadline.ends_at < inf:
                at = yield from _CLOCK  # the store may have taken its time
        left = self.deadline.left(at)
        if left == 0.0:
            self.deadline.has_cut = True
            return _Failed(self._request.repeat, Failure.CROWDED, _crowded(0.0), at, self._last)
        return left

    def _distrust(self, response: Response) -> Flow[_Failed]:
        """Return the failure for an answer that is not Klaviyo's: what Klaviyo did is unknown (F-34)."""
        if response.status == 429 or response.status >= 500:
            # A proxy's 429 or 5xx means "later", as Klaviyo's does, so the caller gets the same error for both.
            return (yield from self._examine(response, Failure.FOREIGN))
        message = f"the answer ({response.status}) is not Klaviyo's: what Klaviyo did is unknown; try again later"
        error = NoResponseError(message, retry_after=retry_after(response.headers))
        return (yield from self._failed(Failure.FOREIGN, error))

    def _examine(self, response: Response, failure: Failure | None = None) -> Flow[_Failed]:
        """Return the failure for an answer, and let the pacer learn from the answer."""
        # The wall clock is read only for a ``Retry-After`` that is a date (F-20).
        is_date = "retry-after" in response.headers and retry_after(response.headers) is None
        now = (yield from Now()) if is_date else None
        error = error_from(response, outcome="not_applied", now=now)
        failed = yield from self._failed(failure or _failure(response.status), error)
        self.line.pacer.learn(self._request.endpoint, response, failed.at, retry_after=error.retry_after)
        return failed

    def _failed(self, failure: Failure, error: SafeKlaviyoError) -> Flow[_Failed]:
        at = yield from _CLOCK
        assert self._last is not None
        # Without its traceback: from Python 3.12 on the traceback's frames hold the frames of this flow, which hold the
        # error, and this reference cycle would outlive the call (F-32). The transport's own error stays the cause.
        failed = _Failed(self._request.repeat, failure, error.with_traceback(None), at, self._last)
        error.outcome = "unknown" if failed.leaves_doubt else "not_applied"
        return failed


def _failure(status: int) -> Failure:
    if status == 429:
        return Failure.THROTTLED
    return Failure.BROKEN if status >= 500 else Failure.REFUSED


def _crowded(wait: float) -> RateLimitError:
    message = "the queue for this endpoint is longer than the time allowed; try again later, or from fewer callers"
    return RateLimitError(message, code="queue_too_long", retry_after=wait)
