"""What a client's `timeout` means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import httpx

from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

Timeout: TypeAlias = httpx.Timeout | float

LONGEST: Final = 1e9
"""The most seconds that any clock here waits for."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long one attempt may take, in seconds.

    Attributes:
        phases: Each phase of it: ``connect``, ``read`` (each read), ``write``, ``pool``.
        limit: All together.
    """

    phases: Mapping[str, float]
    limit: float

    @property
    def longest(self) -> float:
        """How long one attempt takes at the very most: a caller's own client is cut off a little later."""
        return 1.05 * self.limit + 0.2

    def within(self, seconds: float | None) -> Timeouts:
        """Return the same, but at most so many seconds."""
        if seconds is None or seconds >= self.limit:
            return self
        return Timeouts({phase: min(limit, seconds) for phase, limit in self.phases.items()}, seconds)


def timeouts(timeout: object) -> Timeouts:
    """Return what a client's `timeout` means: as many seconds in all; or those of connecting and reading together.

    Raises:
        ConfigurationError: There is no such limit.
    """
    if isinstance(timeout, httpx.Timeout):
        phases = {phase: 60.0 if limit is None else float(limit) for phase, limit in timeout.as_dict().items()}
        if min(phases.values()) <= 0:
            raise ConfigurationError("each part of timeout has to be positive")
        return Timeouts(phases, phases["connect"] + phases["read"])
    # A bool is an int: `timeout=True` would mean one second.
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= LONGEST:
        raise ConfigurationError("timeout has to be a positive number of seconds, or an httpx.Timeout")
    return Timeouts(dict.fromkeys(("connect", "read", "write", "pool"), float(timeout)), float(timeout))
