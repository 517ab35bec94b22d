"""A pace that several processes share: each request takes its turn in their common count, besides the client's own.

Decided here: what happens while that count cannot be asked. Then the client keeps its own pace, and Klaviyo's 429
stops what is too much: a 429 has done nothing, so the request is sent again.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final, Protocol

from safeklaviyo._sending.pacing import Pacer
from safeklaviyo.errors import SafeKlaviyoError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from safeklaviyo._api.messages import Endpoint

WARN_EVERY: Final = 60.0

logger = logging.getLogger("safeklaviyo")


class TakingTurns(Protocol):
    """Reserves a turn in the common count."""

    def __call__(self, endpoint: str, limits: Mapping[int, int], latest: float) -> float:
        """Return the seconds until the turn; one later than `latest` is not reserved."""
        ...


class SharedPacer(Pacer):
    """The queues of one client. Its requests also take turns with those of other processes.

    Args:
        take_turn: Asks for a turn, and may block for as long as a database takes.
        published: As for `Pacer`.
    """

    def __init__(self, take_turn: TakingTurns, *, published: bool = True) -> None:
        super().__init__(published=published)
        self._take_turn = take_turn
        self._warned_at = -math.inf

    def reserve(self, endpoint: Endpoint, at: float, *, until: float = math.inf, held: float | None = None) -> float:
        """See `Pacer.reserve`."""
        slot = super().reserve(endpoint, at, until=until, held=held)
        limits = self.limits(endpoint)
        # A held slot has its turn already, and one that comes too late needs none.
        if held is not None or slot > until or not limits:
            return slot
        try:
            wait = self._take_turn(endpoint.name, limits, until - at)
        except SafeKlaviyoError as error:
            if at - self._warned_at >= WARN_EVERY:
                self._warned_at = at
                logger.warning("the pace of all workers is not known, each keeps its own: %s", error)
            return slot
        return max(slot, at + wait)
