"""How fast an endpoint may be called, so that Klaviyo never has to refuse.

Decided here: the time at which a request may be sent. Nothing here sleeps or reads a clock: the caller gives the time
and gets a time back.

Klaviyo counts an account's requests per endpoint in fixed windows of a second and of a minute, and does not say where
a window begins (Klaviyo's *Rate limits and error handling*). So the times of sending are kept in a log, over a sliding
window of the same length: what fits into every sliding window fits into Klaviyo's. Klaviyo's answers correct the
limits. A ``RateLimit-Limit`` replaces the published limits. A ``RateLimit-Remaining: 0`` or a ``Retry-After`` closes
the endpoint for all calls of this client, because other programs may use up the same account's limits.

No library fits. `aiolimiter` has one rate, asyncio's clock and its sleeps. `limits` reads `time.time` itself and says
yes or no without reserving a slot. `pyrate-limiter`'s in-memory bucket is the nearest: it takes times from outside, but
in whole milliseconds. It reserves no slot for a request that has to wait, so that all waiters wake for the same slot,
and no header can close it. None of them learns from an answer.
"""

from __future__ import annotations

import math
import re
from collections import deque
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from safeklaviyo._api.messages import Endpoint, Response

MARGIN = 0.05
"""Seconds added to each window, because a request can overtake an earlier one on its way."""

LONGEST_CLOSURE = 60.0
"""Seconds that one answer can close an endpoint: Klaviyo's longest window."""

_EARLY = 0.001
_WINDOW = re.compile(r"(?<![\d.-])([1-9]\d{0,6})\s*;\s*w=([1-9]\d{0,3})(?![\d.])")
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?")


class Pacer:
    """The queues of one client, one for each endpoint. Safe to share between threads and tasks.

    Args:
        published: Whether to begin with Klaviyo's published limits. Otherwise an endpoint has no limits until an answer
            names them, which suits a host that is not Klaviyo's.
    """

    def __init__(self, *, published: bool = True) -> None:
        self._published = published
        self._queues: dict[str, _Queue] = {}

    def reserve(self, endpoint: Endpoint, at: float, *, until: float = math.inf, held: float | None = None) -> float:
        """Reserve the next free slot in an endpoint's queue, and return its time; `at` means "send now".

        Slots are given in the order of the calls. A slot later than `until` is returned, but not reserved.

        Args:
            at: Now, by the clock that all calls use.
            until: The latest time at which the caller can use a slot.
            held: The slot that this request has reserved before and waited for. Then the answer is `at`, unless

                - the slot's time has not come yet: the answer is `held` again;
                - an answer has closed the endpoint since: the answer is a new slot. The old one stays in the log, which
                  errs on the safe side.
        """
        return self._queue(endpoint).reserve(at, until, held)

    def limits(self, endpoint: Endpoint) -> dict[int, int]:
        """Return how many requests fit into a window of so many seconds, as far as that is known."""
        return self._queue(endpoint).windows

    def has_news(self, endpoint: Endpoint, response: Response) -> bool:
        """Whether `learn` would change anything after this answer. Cheap, and nearly always False."""
        headers = response.headers
        limit = headers.get("ratelimit-limit")
        if limit is not None and limit != self._queue(endpoint).adopted:
            return True
        return headers.get("ratelimit-remaining") == "0" or response.status == 429

    def learn(self, endpoint: Endpoint, response: Response, at: float, *, retry_after: float | None = None) -> None:
        """Correct an endpoint's limits by the headers of an answer.

        Args:
            at: When the answer came.
            retry_after: Its ``Retry-After`` in seconds; it closes the endpoint only if the answer is a 429.
        """
        queue = self._queue(endpoint)
        queue.adopt(response.headers.get("ratelimit-limit", ""))
        if response.status == 429:
            queue.close(at, retry_after or 0.0)
        elif response.headers.get("ratelimit-remaining") == "0":
            queue.close(at, _seconds(response.headers.get("ratelimit-reset", "")))

    def _queue(self, endpoint: Endpoint) -> _Queue:
        queue = self._queues.get(endpoint.name)
        if queue is None:
            windows = {1: endpoint.burst, 60: endpoint.steady} if self._published else {}
            queue = self._queues.setdefault(endpoint.name, _Queue(windows))
        return queue


class _Queue:
    """The slots reserved at one endpoint: a sorted log as long as the largest limit.

    Attributes:
        windows: How many requests fit into a window of so many seconds.
        adopted: The last ``RateLimit-Limit`` that was adopted, unparsed, to notice another one cheaply.
    """

    __slots__ = ("_closed_until", "_lock", "_log", "_spans", "adopted", "windows")

    def __init__(self, windows: dict[int, int]) -> None:
        self.adopted = ""
        self._lock = Lock()
        self._closed_until = -math.inf
        self._log: deque[float] = deque()
        self._set(windows)

    def _set(self, windows: dict[int, int]) -> None:
        self.windows = windows
        self._spans = tuple((limit, seconds + MARGIN) for seconds, limit in windows.items())
        # A longer log lacks nothing: the slots that the shorter one has dropped are outside of every window by now.
        self._log = deque(self._log, maxlen=max(windows.values(), default=0))

    def reserve(self, at: float, until: float, held: float | None) -> float:
        """Return the time of the next free slot, and reserve the slot unless it comes too late.

        Args:
            at: Now.
            until: A later slot is not reserved.
            held: The slot that the request has reserved before; None if it has none.
        """
        with self._lock:
            if held is not None and held - at > _EARLY:
                return held
            if held is not None and self._closed_until <= max(at, held):
                return at
            slot = max(at, self._closed_until)
            log = self._log
            taken = len(log)
            # Not before the last reserved slot, so that the log stays sorted and calls are sent in their order.
            if taken and log[-1] > slot:
                slot = log[-1]
            # A window of `limit` requests has room as soon as the slot `limit` places back in the log has left it.
            for limit, span in self._spans:
                if taken >= limit and (free := log[taken - limit] + span) > slot:
                    slot = free
            if slot <= until:
                log.append(slot)
            return slot

    def adopt(self, header: str) -> None:
        """Go by the windows that an answer's ``RateLimit-Limit`` header names."""
        windows = {int(seconds): int(limit) for limit, seconds in _WINDOW.findall(header)}
        with self._lock:
            self.adopted = header or self.adopted
            if (merged := {**self.windows, **windows}) != self.windows:
                self._set(merged)

    def close(self, at: float, seconds: float) -> None:
        """Give out no slot for some seconds, after a 429."""
        with self._lock:
            self._closed_until = max(self._closed_until, at + min(seconds, LONGEST_CLOSURE))


def _seconds(text: str) -> float:
    return float(text) if _NUMBER.fullmatch(text) else 0.0
