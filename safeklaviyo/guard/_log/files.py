"""Writing the decision log: JSON lines at the end of a file, which another program may rotate at any time."""

from __future__ import annotations

import logging
import os
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("safeklaviyo")


class LogFile:
    """A file of JSON lines.

    Args:
        failed: Called for each line that could not be written.
    """

    def __init__(self, path: str | os.PathLike[str], failed: Callable[[], None]) -> None:
        self._path = Path(path)
        self._failed = failed
        self._has_warned = False

    def write(self, line: dict[str, Any]) -> None:
        """Write one line, or count that it could not be written; never raises."""
        text = dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n"
        # Opened for each line, so that a rotated file is left alone, and one step, so that processes share a file.
        # Readable by its owner alone: it says which customers do what, if not who they are.
        try:
            opened = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(opened, text.encode())
            finally:
                os.close(opened)
        except OSError as error:
            self._failed()
            if not self._has_warned:
                self._has_warned = True
                logger.warning("the decision log cannot be written: %s", type(error).__name__)
