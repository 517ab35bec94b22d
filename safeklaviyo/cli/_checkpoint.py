"""How far an import got: a small file beside the one that is imported.

It is written after each thousand rows that the map has taken, so that it may be behind but never ahead.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from safeklaviyo.cli._map import store_url
from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from argparse import Namespace


@dataclass(frozen=True, slots=True, repr=False)
class Checkpoint:
    """How far one import got.

    Attributes:
        path: Where that is kept.
        subject: A digest of what is imported and where to: another import does not go on from here.
    """

    path: Path
    subject: str

    @classmethod
    def beside(cls, arguments: Namespace) -> Checkpoint:
        """Return the checkpoint of an import.

        Raises:
            ConfigurationError: It comes from stdin.
        """
        if arguments.file == "-":
            raise ConfigurationError("stdin cannot be resumed; give a file")
        stat = Path(arguments.file).stat()
        whose = arguments.account or os.environ["KLAVIYO_API_KEY"]
        subject = (stat.st_size, stat.st_mtime_ns, store_url(arguments), whose, arguments.format, arguments.trusted)
        return cls(Path(f"{arguments.file}.progress"), sha256(json.dumps(subject).encode()).hexdigest())

    def rows(self) -> int:
        """Return how many rows are done.

        Raises:
            ConfigurationError: The file is of another import.
        """
        try:
            subject, rows = self.path.read_text("ascii").split()
        except FileNotFoundError:
            return 0
        except ValueError:
            subject, rows = "", "0"
        if subject != self.subject:
            raise ConfigurationError("the .progress file beside is of another import; remove it to begin anew")
        return int(rows)

    def save(self, rows: int) -> None:
        """Write down how many rows are done."""
        new = self.path.with_name(self.path.name + ".new")
        new.write_text(f"{self.subject} {rows}\n", "ascii")
        new.replace(self.path)

    def forget(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
