"""The file that tells whether a worker is well: written anew every few seconds, and too old if the worker is not alive.

A file and no port, because a probe of Kubernetes' ``httpGet`` does not reach loopback, and a port for all would have to
be guarded. ``exec`` probes, Docker's ``HEALTHCHECK`` and monitoring agents read a file.
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
"""Seconds after which a file says that its worker is not alive."""


@dataclass(frozen=True, slots=True)
class Health:
    """How a worker is. It names no customer.

    Attributes:
        state: ``"working"``, ``"failing"`` (the outbox or Klaviyo cannot be used just now), ``"stuck"`` or
            ``"stopping"``.
        delivered: Rows since the worker began.
        failures: Attempts to drain a lane that failed since the worker began.
        error: The class of the last failure, such as ``"StoreUnavailableError"``, while it is failing.
    """

    state: str
    delivered: int
    failures: int
    error: str | None = None


class HealthFile:
    """The file of one worker."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, health: Health) -> None:
        """Replace the file's content.

        Raises:
            OSError: It cannot be written.
        """
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        text = json.dumps({"pid": os.getpid(), "at": time.time(), **asdict(health)})
        beside.write_text(f"{text}\n", encoding="utf-8")
        # At once, so that a probe never reads half a file.
        beside.replace(self._path)

    def remove(self) -> None:
        """Remove the file: there is no worker any more."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def check(path: Path, now: float | None = None) -> str | None:
    """Return why a worker is not well, by its file; None if it is well.

    A worker that is failing counts as well: starting it again would not bring the outbox or Klaviyo back.
    """
    try:
        # By the file's own time, because a clock that jumped makes the file's and this process's differ as much.
        age = (time.time() if now is None else now) - path.stat().st_mtime
        state = json.loads(path.read_text("utf-8"))["state"]
    except (OSError, ValueError, KeyError, TypeError):
        return "there is no file of a worker, or it cannot be read"
    if age > TOO_OLD:
        return f"the worker has written nothing for {age:.0f} seconds"
    return "the worker is stuck" if state == "stuck" else None
