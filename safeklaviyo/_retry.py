"""Sending one request, with patience: pacing, repeats, and what is known of Klaviyo afterwards.

Decided here: whether a failed request may be repeated, when, how often, and what the outcome is in the end. What is in
a request or an answer is `_wire`'s; how long an endpoint's queue is, `_pacing`'s; how much may be repeated over all
calls, `_budget`'s.

The policy is tenacity's: stop, wait and retry callables, driven through `BaseRetrying.iter`, which does no I/O. It is
entered only after a first failure, with that failure as its first attempt, because a copy per call can be measured.
tenacity reads `time.monotonic` itself; the deadline is therefore counted here, on the `Monotonic` effect.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from tenacity import DoSleep, RetryCallState, Retrying, stop_after_attempt, stop_any, wait_exponential

from safeklaviyo._budget import RETRY_COST, SUCCESS_GAIN, TIMEOUT_COST, Budget
from safeklaviyo._flow import Flow, Monotonic, Now, Repeat, Request, Response, Send, Sleep
from safeklaviyo._pacing import Pacer
from safeklaviyo._wire import error_from
from safeklaviyo.errors import NoResponseError, NotSentError, Outcome, RateLimitError, SafeKlaviyoError
from safeklaviyo.policy import RetryPolicy

FIRST_BACKOFF = 0.5
"""The ceiling of the first wait in seconds, where nobody said how long; it doubles with each attempt."""

Again = Callable[[], Flow[Request]]
Before = Callable[[float], Flow[None]]


class Failure(Enum):
    """How an attempt failed, which decides with `Repeat` whether there is another."""

    NOT_SENT = "no connection"
    NO_RESPONSE = "sent, and no whole answer"
    THROTTLED = "429"
    POSTPONED = "503 with Retry-After"
    BROKEN = "any other 5xx"
    REFUSED = "any other 4xx"
    STRANGE = "neither a success nor an error"


_REFUSALS = frozenset({Failure.NOT_SENT, Failure.THROTTLED, Failure.REFUSED})
"""The failures after which Klaviyo has surely not changed."""


def may_repeat(repeat: Repeat, failure: Failure) -> bool:
    """Whether a request may be sent once more after this failure.

    - Not sent, or 429: always, because nothing was done.
    - 503 with ``Retry-After``: always. The service turned the request away before it did anything, and named the time
      to come back; a 503 without it may come from a proxy that lost an answer, and counts as any other 5xx.
      The outcome is still called unknown, because nobody promises it, and `Exchange.doubt` tells the caller.
    - Any other 5xx, or no answer: only where doing it twice is doing it once.
    - Any other answer: never. It would be the same again.
    """
    match failure:
        case Failure.NOT_SENT | Failure.THROTTLED | Failure.POSTPONED:
            return True
        case Failure.NO_RESPONSE | Failure.BROKEN:
            return repeat is not Repeat.ONCE
        case Failure.REFUSED | Failure.STRANGE:
            return False


@dataclass(frozen=True, slots=True)
class Exchange:
    """An answer that the caller asked for.

    Attributes:
        doubt: An earlier attempt of the same write may have been carried out, so that a 409 or a 404 may be the
            trace of it.
    """

    response: Response
    doubt: bool


class Line:
    """What all calls of one client share: pacing, retry budget and retry policy. Safe between threads and tasks.

    Args:
        random: Returns a number from 0 up to, and without, 1.
        attempt: The seconds that one attempt can take, from its sending to its answer or timeout.
        published: Whether Klaviyo's published limits hold for this host; see `Pacer`.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        random: Callable[[], float] = _random.random,
        attempt: float = 10.0,
        published: bool = True,
    ) -> None:
        self.policy = policy
        self.attempt = attempt
        self.pacer = Pacer(published=published)
        self.budget = Budget()
        ceiling = wait_exponential(multiplier=FIRST_BACKOFF, max=policy.max_delay)

        def wait(state: RetryCallState) -> float:
            retry_after = _failed(state).error.retry_after
            return random() * ceiling(state) if retry_after is None else retry_after + random()

        self._retrying = Retrying(
            retry=lambda state: may_repeat(_failed(state).repeat, _failed(state).failure),
            wait=wait,
            stop=stop_any(stop_after_attempt(policy.max_attempts), self._is_too_late, self._is_too_dear),
            retry_error_callback=_failed,
        )

    def retrying(self) -> Retrying:
        """A controller of its own for one failing call: tenacity keeps a call's state in its controller."""
        controller = self._retrying.copy()
        controller.begin()
        return controller

    def _is_too_late(self, state: RetryCallState) -> bool:
        failed = _failed(state)
        too_long = (failed.error.retry_after or 0.0) > self.policy.max_delay
        return too_long or failed.at + state.upcoming_sleep > failed.deadline

    def _is_too_dear(self, state: RetryCallState) -> bool:
        return not self.budget.take(_failed(state).cost)


@dataclass(frozen=True, slots=True)
class _Failed:
    """A failed attempt.

    Attributes:
        at: When it had failed, and
        deadline: when the last attempt must have begun, both by the `Monotonic` effect.
    """

    repeat: Repeat
    failure: Failure
    error: SafeKlaviyoError
    at: float
    deadline: float

    @property
    def cost(self) -> int:
        return TIMEOUT_COST if self.failure is Failure.NO_RESPONSE else RETRY_COST

    @property
    def leaves_doubt(self) -> bool:
        return self.repeat is not Repeat.READ and self.failure not in _CERTAIN


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
) -> Flow[Exchange]:
    """Send a request in its turn, repeat it where that is safe, and return the answer.

    Args:
        accept: Statuses besides 2xx that the caller can read; they are answers, and never repeated.
        again: Builds the request anew after each wait, so before each repeat: an event's address is read anew, its
            key and time are not.
        before: Called before each wait and again right before each attempt, with the seconds that the two, or the
            attempt alone, may take; it renews a lease, and raises to stop.

    Raises:
        NotSentError: No connection was made.
        NoResponseError: A write may or may not have been carried out.
        RateLimitError: Klaviyo said 429; or the queue for this endpoint is longer than the deadline, and nothing was
            sent: then `status_code` is 0, `code` is ``"queue_too_long"`` and `retry_after` is the wait refused.
        APIStatusError: Klaviyo refused otherwise, or failed.

    Of all these, `outcome` is ``"unknown"`` if any attempt of a write may have been carried out, and `may_retry` says
    whether the same call is safe, and of any use, later.
    """
    sender = _Sender(line, request, accept, again, before)
    result = yield from sender.attempt()
    if isinstance(result, Response):
        line.budget.give(SUCCESS_GAIN)
        return Exchange(result, doubt=False)
    ended = yield from _persist(sender, result)
    if isinstance(ended, Exchange):
        return ended
    try:
        raise ended
    finally:
        del ended, result  # else the error and this frame keep each other alive


def _persist(sender: _Sender, failed: _Failed) -> Flow[Exchange | SafeKlaviyoError]:
    """Repeat after a first failure, as long as the policy says so; return the answer, or the error to raise."""
    doubtful: SafeKlaviyoError | None = None
    retrying = sender.line.retrying()
    state = RetryCallState(retrying, None, (), {})
    while True:
        if failed.leaves_doubt:
            doubtful = failed.error
        state.set_result(failed)
        step = retrying.iter(state)
        if not isinstance(step, DoSleep):
            return _verdict(failed, doubtful)
        state.prepare_for_next_attempt()
        try:
            yield from sender.pause(float(step))
            result = yield from sender.attempt()
        except SafeKlaviyoError as error:
            _mark(error, failed.repeat, doubtful)
            raise
        if isinstance(result, Response):
            sender.line.budget.give(failed.cost)
            return Exchange(result, doubt=doubtful is not None)
        if result.failure is Failure.CROWDED:
            return _verdict(failed, doubtful)
        failed = result


def _verdict(failed: _Failed, doubtful: SafeKlaviyoError | None) -> SafeKlaviyoError:
    """The error to raise: the last one, but never one called retryable for a write that must not be made twice."""
    error = failed.error
    error.may_retry = may_repeat(failed.repeat, failed.failure)
    if failed.repeat is Repeat.ONCE and doubtful is not None:
        error = doubtful
    _mark(error, failed.repeat, doubtful)
    return error


def _mark(error: SafeKlaviyoError, repeat: Repeat, doubtful: SafeKlaviyoError | None) -> None:
    if doubtful is not None:
        error.outcome = "unknown"
        error.may_retry = error.may_retry and repeat is not Repeat.ONCE


class _Sender:
    """The attempts of one request."""

    __slots__ = ("_accept", "_again", "_before", "_deadline", "_is_stale", "_request", "line")

    def __init__(
        self, line: Line, request: Request, accept: frozenset[int], again: Again | None, before: Before | None
    ) -> None:
        self.line = line
        self._request = request
        self._accept = accept
        self._again = again
        self._before = before
        self._deadline: float | None = None
        self._is_stale = False

    def attempt(self) -> Flow[Response | _Failed]:
        """Send once, when it is this request's turn."""
        result = yield from self._attempt()
        if not isinstance(result, Response):
            return (yield from self._examine(result))
        pacer, endpoint = self.line.pacer, self._request.endpoint
        if 200 <= result.status < 300 or result.status in self._accept:
            if pacer.has_news(endpoint, result):
                pacer.learn(endpoint, result, (yield from _CLOCK))
            return result
        return (yield from self._examine(result))
