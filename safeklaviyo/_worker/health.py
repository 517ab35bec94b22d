"""The file that tells whether a worker is well. A living worker replaces the file every few seconds.

The worker opens no port. A probe of Kubernetes' ``httpGet`` does not reach loopback, and a port that all can reach
would have to be guarded. ``exec`` probes, Docker's ``HEALTHCHECK`` and monitoring agents can read a file.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

EVERY: Final = 5.0
"""Seconds between two writes."""
TOO_OLD: Final = 30.0
"""Seconds after which a file that was not replaced says that its worker is not alive."""


@dataclass(frozen=True, slots=True)
class Health:
    """How a worker is. It names no customer.

    Attributes:
        state: ``"working"``, ``"failing"`` (the outbox or Klaviyo cannot be used just now), ``"stuck"`` or
            ``"stopping"``.
        delivered: How many rows were delivered since the worker began.
        dropped: How many rows were deleted unsent since the worker began, because their customers were erased.
        failures: How many attempts to drain a lane have failed since the worker began.
        error: The class of the last failure, such as ``"StoreUnavailableError"``; None once a drain has succeeded.
    """

    state: str
    delivered: int
    dropped: int
    failures: int
    error: str | None = None


class HealthFile:
    """The file of one worker."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, health: Health) -> None:
        """Replace the file's content.

        Raises:
            OSError: The file cannot be written.
        """
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        text = json.dumps({"pid": os.getpid(), "at": time.time(), **asdict(health)})
        beside.write_text(f"{text}\n", encoding="utf-8")
        # Replaced in one step, so that a probe never reads half a file.
        beside.replace(self._path)

    def remove(self) -> None:
        """Remove the file: there is no worker any more."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def check(path: Path, now: float | None = None) -> str | None:
    """Return why a worker is not well, by its file; None if it is well.

    A failing worker counts as well: to start it again would not bring the outbox or Klaviyo back.

    Args:
        path: The worker's health file.
        now: The time, in unix seconds; else the clock's.
    """
    try:
        # The file's own time and not the one in it: after a jump of the clock both come from the same clock.
        age = (time.time() if now is None else now) - path.stat().st_mtime
        state = json.loads(path.read_text("utf-8"))["state"]
    except (OSError, ValueError, KeyError, TypeError):
        return "there is no file of a worker, or it cannot be read"
    if age > TOO_OLD:
        return f"the worker has written nothing for {age:.0f} seconds"
    return "the worker is stuck" if state == "stuck" else None
