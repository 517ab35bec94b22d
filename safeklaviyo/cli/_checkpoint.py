"""The progress of an import: a small file beside the one that is imported.

The file is written after each thousand rows, when the map has them, and the file for refused rows those that it has
not. So it may be behind both, but never ahead.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from errno import ELOOP
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING

from safeklaviyo.cli._map import store_url
from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from argparse import Namespace


@dataclass(frozen=True, slots=True, repr=False)
class Checkpoint:
    """The progress of one import.

    Attributes:
        path: The progress file.
        subject: A digest of the imported file, the store and the options: another import must not go on from here.
    """

    path: Path
    subject: str

    @classmethod
    def beside(cls, arguments: Namespace) -> Checkpoint:
        """Return the checkpoint of an import.

        Raises:
            ConfigurationError: The import reads stdin, which cannot be read again.
        """
        if arguments.file == "-":
            raise ConfigurationError("stdin cannot be resumed; give a file")
        stat = Path(arguments.file).stat()
        # The key stands for the account where none is given; only the digest of both is written.
        account = arguments.account or os.environ["KLAVIYO_API_KEY"]
        names = ("format", "trusted", "verify", "map", "encoding", "strip_apostrophes", "phone_region")
        options = [getattr(arguments, name) for name in names]
        subject = (stat.st_size, stat.st_mtime_ns, store_url(arguments), account, *options)
        return cls(Path(f"{arguments.file}.progress"), sha256(json.dumps(subject).encode()).hexdigest())

    def rows(self) -> int:
        """Return how many rows are done.

        Raises:
            ConfigurationError: The file belongs to another import.
        """
        return self._read()[0]

    def kept(self, refused: str) -> int | None:
        """Return how long the file for refused rows was then; None if that is not known, or was another file."""
        _, name, size = self._read()
        return size if name == _digest(refused) else None

    def _read(self) -> tuple[int, str, int]:
        try:
            with open(self.path, encoding="ascii", opener=_unlinked) as file:
                subject, rows, *kept = file.read().split()
        except FileNotFoundError:
            return 0, "", 0
        except ValueError:
            # Something else stands in it. It is then refused as another import's, and never overwritten.
            subject, rows, kept = "", "0", []
        except OSError as exc:
            if exc.errno != ELOOP:
                raise
            raise ConfigurationError("the .progress file beside is a link; remove it to start again") from None
        if subject != self.subject:
            raise ConfigurationError("the .progress file beside is of another import; remove it to start again")
        name, size = kept or ("", "0")
        return int(rows), name, int(size)

    def save(self, rows: int, kept: IO[str] | None = None) -> None:
        """Write how many rows are done, and how long the file for refused rows is."""
        words = [self.subject, str(rows)]
        if kept is not None:
            words += [_digest(kept.name), str(os.fstat(kept.fileno()).st_size)]
        # Replaced in one step: a process that is killed here leaves the old file or the new one, whole.
        new = self.path.with_name(self.path.name + ".new")
        # An old one is removed first: in a folder that others may write to, it could be a link to any other file.
        new.unlink(missing_ok=True)
        with open(new, "x", encoding="ascii", opener=_unlinked) as file:
            file.write(" ".join(words) + "\n")
        new.replace(self.path)

    def forget(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)


def _digest(name: str) -> str:
    return sha256(name.encode(errors="surrogateescape")).hexdigest()


def _unlinked(path: str, flags: int) -> int:
    """Open a file itself and nothing that it links to; a new file is for its owner alone."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
