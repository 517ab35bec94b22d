"""When a failed request is sent again, and how often.

Decided here: how long a call waits before a repeat, and what ends its repeats: the attempts, the time, the budget. Not
here: whether a request may be repeated at all (`failures`), when an endpoint's queue has a free slot (`pacing`), how
much may be repeated over all calls (`budget`).

The policy is tenacity's: stop, wait and retry callables, which `retry` drives through `BaseRetrying.iter`.
"""

from __future__ import annotations

import random as _random
from typing import TYPE_CHECKING, Final

from tenacity import RetryCallState, Retrying, stop_after_attempt, wait_exponential

from safeklaviyo._sending.budget import Budget
from safeklaviyo._sending.pacing import Pacer

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo._sending.failures import Failed
    from safeklaviyo.policy import RetryPolicy

JITTER: Final = 0.1
"""Seconds by which a repeat comes later than a ``Retry-After`` says, at most."""

FIRST_BACKOFF: Final = 0.5
"""The ceiling of the first wait in seconds, where the answer named none; it doubles with each attempt."""


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

        def _wait(state: RetryCallState) -> float:
            # Random, so that many calls that failed together are not repeated together. A ``Retry-After`` is a floor.
            asked = _failed(state).error.retry_after
            return random() * ceiling(state) if asked is None else asked + JITTER * random()

        self.retrying: Retrying = Retrying(
            retry=lambda state: _failed(state).may_be_repeated,
            wait=_wait,
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


def _failed(state: RetryCallState) -> Failed:
    assert state.outcome is not None
    failed: Failed = state.outcome.result()
    return failed
