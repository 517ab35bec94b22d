"""How fast an endpoint may be called, so that Klaviyo never has to refuse.

Decided here: how long a request waits for its turn. Nothing here sleeps or reads a clock: times come in, waits go out.

Klaviyo counts an account's requests per endpoint in fixed windows of a second and of a minute, and does not say where
a window begins (Klaviyo's *Rate limits and error handling*). A log of the times of sending, kept over a window of the
same length that slides, holds for every position of Klaviyo's. What Klaviyo says about itself corrects it: its
``RateLimit-Limit`` replaces the published limits, and ``RateLimit-Remaining: 0`` or a ``Retry-After`` closes the
endpoint for everybody until then, because other programs draw on the same account.

No library fits. `aiolimiter` has one rate, asyncio's clock and its sleeps. `limits` reads `time.time` itself and says
yes or no without keeping a place in the queue. `pyrate-limiter`'s in-memory bucket is the nearest: it takes times from
outside, but in whole milliseconds, gives no place in the queue to what it turns down, so that all waiters wake for the
same slot, and cannot be closed by a header. None of them learns from an answer.
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
        published: Whether to begin with Klaviyo's published limits; otherwise an endpoint is free until an answer
            names its limits, which suits a host that is not Klaviyo's.
    """

    def __init__(self, *, published: bool = True) -> None:
        self._published = published
        self._queues: dict[str, _Queue] = {}

    def reserve(self, endpoint: Endpoint, at: float, *, until: float = math.inf, held: float | None = None) -> float:
        """Take the next free place in an endpoint's queue and return its time; `at` means now.

        Places are given in the order of asking. A place later than `until` is named, but not taken.

        Args:
            at: Now, by the clock that all calls use.
            until: The latest time that is of use.
            held: The place taken before and waited for. Asked again with it, the answer is now, unless its time has
                not come or the endpoint was closed since. A place given up stays counted, which errs on the safe
                side.
        """
        return self._queue(endpoint).reserve(at, until, held)

    def has_news(self, endpoint: Endpoint, response: Response) -> bool:
        """Whether an answer says anything that `learn` should know; cheap, and mostly False."""
        headers = response.headers
        limit = headers.get("ratelimit-limit")
        if limit is not None and limit != self._queue(endpoint).told:
            return True
        return headers.get("ratelimit-remaining") == "0" or response.status == 429

    def learn(self, endpoint: Endpoint, response: Response, at: float, *, retry_after: float | None = None) -> None:
        """Correct an endpoint's limits by what an answer says.

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
    """The places taken at one endpoint: a sorted log as long as the largest limit.

    Attributes:
        told: The last ``RateLimit-Limit`` adopted, as it stood.
    """

    __slots__ = ("_closed_until", "_lock", "_log", "_spans", "_windows", "told")

    def __init__(self, windows: dict[int, int]) -> None:
        self.told = ""
        self._lock = Lock()
        self._closed_until = -math.inf
        self._log: deque[float] = deque()
        self._set(windows)

    def _set(self, windows: dict[int, int]) -> None:
        self._windows = windows
        self._spans = tuple((limit, seconds + MARGIN) for seconds, limit in windows.items())
        # Growing loses nothing: what the smaller log has dropped is already outside its window.
        self._log = deque(self._log, maxlen=max(windows.values(), default=0))

    def reserve(self, at: float, until: float, held: float | None) -> float:
        with self._lock:
            if held is not None and held - at > _EARLY:
                return held
            if held is not None and self._closed_until <= max(at, held):
                return at
            place = max(at, self._closed_until)
            log = self._log
            taken = len(log)
            if taken and log[-1] > place:
                place = log[-1]
            for limit, span in self._spans:
                if taken >= limit and (free := log[taken - limit] + span) > place:
                    place = free
            if place <= until:
                log.append(place)
            return place

    def adopt(self, told: str) -> None:
        windows = {int(seconds): int(limit) for limit, seconds in _WINDOW.findall(told)}
        with self._lock:
            self.told = told or self.told
            if (merged := {**self._windows, **windows}) != self._windows:
                self._set(merged)

    def close(self, at: float, seconds: float) -> None:
        with self._lock:
            self._closed_until = max(self._closed_until, at + min(seconds, LONGEST_CLOSURE))


def _seconds(text: str) -> float:
    return float(text) if _NUMBER.fullmatch(text) else 0.0
