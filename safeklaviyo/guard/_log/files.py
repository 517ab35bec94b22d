"""Writing the decision log: JSON lines at the end of a file, which another program may rotate at any time."""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_KEPT: Final = 1.0
"""Seconds for which a file is kept open."""

logger = logging.getLogger("safeklaviyo")


class LogFile:
    """A file of JSON lines.

    Args:
        path: Where the file is, or is made.
        failed: Called for each line that could not be written.
    """

    def __init__(self, path: str | os.PathLike[str], failed: Callable[[], None]) -> None:
        self._path = Path(path)
        self._failed = failed
        self._has_warned = False
        self._file: int | None = None
        self._until = 0.0

    def write(self, line: dict[str, Any]) -> None:
        """Write one line, or count that it could not be written; never raises."""
        text = dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n"
        try:
            os.write(self._opened(), text.encode())
        except OSError as error:
            # A full disk must not fail the shop's call. The counter has the number; the first failure is also logged.
            self._failed()
            self.close()
            if not self._has_warned:
                self._has_warned = True
                logger.warning("the decision log cannot be written: %s", type(error).__name__)

    def _opened(self) -> int:
        """Return the file's number."""
        # Opened again once a second: after a rotation the number still means the old file.
        now = time.monotonic()
        if self._file is None or now >= self._until:
            self.close()
            # O_APPEND writes each line at the file's end, so several processes can share the file. Only its owner may
            # read it, because it says what customers do, though not who they are.
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            self._until = now + _KEPT
        return self._file

    def close(self) -> None:
        """Close the file. May be called twice."""
        opened, self._file = self._file, None
        if opened is not None:
            with suppress(OSError):
                os.close(opened)
