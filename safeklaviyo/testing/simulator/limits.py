"""Rate limits: fixed windows for each key and endpoint (Klaviyo's *Rate limits, status codes, and errors*)."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from safeklaviyo.testing.simulator.refusals import throttled

if TYPE_CHECKING:
    from safeklaviyo.testing.simulator.records import Answer

BURST, STEADY = 1, 60
"""The windows, in seconds."""

Limits = tuple[int, int]
"""Requests in each window."""

TIERS: dict[str, Limits] = {
    "XS": (1, 15), "S": (3, 60), "M": (10, 150), "L": (75, 750), "XL": (350, 3500),
}  # fmt: skip


class Windows:
    """How many requests each key has made at each endpoint, in the current windows."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str, int], tuple[int, int]] = {}

    def take(self, key: str, endpoint: str, limits: Limits, now: float) -> dict[str, str] | Answer:
        """Count one request; return the headers that its answer carries, or the refusal.

        A refused request is not counted.
        """
        windows = list(zip((BURST, STEADY), limits, strict=True))
        used = [self._count(key, endpoint, length, now) for length, _ in windows]
        # Both windows are looked at before one is counted, so that a refused request uses up neither.
        full = [_left(length, now) for (length, limit), count in zip(windows, used, strict=True) if count >= limit]
        if full:
            # The longer wait: after the shorter one the request would be refused again. Klaviyo names whole seconds.
            return throttled(max(1, ceil(max(full))))
        for (length, _), count in zip(windows, used, strict=True):
            self._used[key, endpoint, length] = (int(now // length), count + 1)
        # The headers are about the window that has fewer requests left.
        remaining, length = min(
            (limit - count - 1, length) for (length, limit), count in zip(windows, used, strict=True)
        )
        return {
            "ratelimit-limit": f"{limits[0]}, {limits[0]};w={BURST}, {limits[1]};w={STEADY}",
            "ratelimit-remaining": str(remaining),
            "ratelimit-reset": str(int(_left(length, now))),
        }

    def _count(self, key: str, endpoint: str, length: int, now: float) -> int:
        # Fixed windows, as Klaviyo's are. They begin at multiples of their length, so a test can choose where it is.
        window, count = self._used.get((key, endpoint, length), (0, 0))
        return count if window == int(now // length) else 0


def _left(length: int, now: float) -> float:
    return length - now % length
