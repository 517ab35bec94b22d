"""One attempt to send a request: its turn, and what its answer counts as.

Decided here: when the request leaves, whether an answer is Klaviyo's, and which failure it is. Not here: whether there
is another attempt (`retry`).
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Final, Literal

from safeklaviyo._api.messages import Request, Response
from safeklaviyo._api.refusals import error_from, retry_after
from safeklaviyo._api.responses import is_from_klaviyo, is_success
from safeklaviyo._effects import Flow, Monotonic, Now, Send, Sleep
from safeklaviyo._sending.failures import Failed, Failure
from safeklaviyo.errors import NoResponseError, NotSentError, RateLimitError, SafeKlaviyoError

if TYPE_CHECKING:
    from safeklaviyo._sending.deadline import Deadline
    from safeklaviyo._sending.line import Line

Again = Callable[[], Flow[Request]]
"""Builds a request again, after a wait."""
Before = Callable[[float], Flow[None]]
"""Is called before a wait, and right before an attempt, with the seconds that these may take."""

_CLOCK: Final = Monotonic()


class Sender:
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

    def attempt(self) -> Flow[Response | Failed]:
        """Send once, when it is this request's turn."""
        late = yield from self._turn()
        if isinstance(late, Failed):
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

    def _turn(self) -> Flow[Failed | float | None]:
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
                return Failed(self._request.repeat, Failure.CROWDED, _crowded(slot - at), at, self._last)
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
            return Failed(self._request.repeat, Failure.CROWDED, _crowded(0.0), at, self._last)
        return left

    def _distrust(self, response: Response) -> Flow[Failed]:
        """Return the failure for an answer that is not Klaviyo's: what Klaviyo did is unknown (F-34)."""
        if response.status == 429 or response.status >= 500:
            # A proxy's 429 or 5xx means "later", as Klaviyo's does, so the caller gets the same error for both.
            return (yield from self._examine(response, Failure.FOREIGN))
        message = f"the answer ({response.status}) is not Klaviyo's: what Klaviyo did is unknown; try again later"
        error = NoResponseError(message, retry_after=retry_after(response.headers))
        return (yield from self._failed(Failure.FOREIGN, error))

    def _examine(self, response: Response, failure: Failure | None = None) -> Flow[Failed]:
        """Return the failure for an answer, and let the pacer learn from the answer."""
        # The wall clock is read only for a ``Retry-After`` that is a date (F-20).
        is_date = "retry-after" in response.headers and retry_after(response.headers) is None
        now = (yield from Now()) if is_date else None
        error = error_from(response, outcome="not_applied", now=now)
        failed = yield from self._failed(failure or _failure(response.status), error)
        self.line.pacer.learn(self._request.endpoint, response, failed.at, retry_after=error.retry_after)
        return failed

    def _failed(self, failure: Failure, error: SafeKlaviyoError) -> Flow[Failed]:
        at = yield from _CLOCK
        assert self._last is not None
        # Without its traceback: from Python 3.12 on the traceback's frames hold the frames of this flow, which hold the
        # error, and this reference cycle would outlive the call (F-32). The transport's own error stays the cause.
        failed = Failed(self._request.repeat, failure, error.with_traceback(None), at, self._last)
        error.outcome = "unknown" if failed.leaves_doubt else "not_applied"
        return failed


def _failure(status: int) -> Failure:
    if status == 429:
        return Failure.THROTTLED
    return Failure.BROKEN if status >= 500 else Failure.REFUSED


def _crowded(wait: float) -> RateLimitError:
    message = "the queue for this endpoint is longer than the time allowed; try again later, or from fewer callers"
    return RateLimitError(message, code="queue_too_long", retry_after=wait)
