"""What a client's `timeout` means."""

from __future__ import annotations

from typing import TypeAlias

import httpx

from safeklaviyo.errors import ConfigurationError

Timeout: TypeAlias = httpx.Timeout | float


def limits(timeout: object) -> tuple[dict[str, float], float]:
    """Return how long each phase may take, and all together: as many seconds, or those of connecting and reading.

    Raises:
        ConfigurationError: There is no such limit.
    """
    if isinstance(timeout, httpx.Timeout):
        phases = {phase: 60.0 if limit is None else float(limit) for phase, limit in timeout.as_dict().items()}
        if min(phases.values()) <= 0:
            raise ConfigurationError("each part of timeout has to be positive")
        return phases, phases["connect"] + phases["read"]
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < float("inf"):
        raise ConfigurationError("timeout has to be a positive number of seconds, or an httpx.Timeout")
    return dict.fromkeys(("connect", "read", "write", "pool"), float(timeout)), float(timeout)
