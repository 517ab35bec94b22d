"""The file that an import reads, or stdin: read once, or again from its beginning.

Decided here: what cannot be read twice, such as a pipe, is copied to a temporary file that has no name, until it is
certain that once is enough.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Generator
    from io import BufferedIOBase

STANDARD: Final = "-"
"""The name that stands for stdin or stdout."""

_PART: Final = 1 << 20


class Source:
    """Bytes that are read from the beginning, perhaps more than once.

    Args:
        file: Where they come from.
    """

    def __init__(self, file: BufferedIOBase) -> None:
        self._file = file
        self._copy: IO[bytes] | None = None if file.seekable() else TemporaryFile()  # noqa: SIM115 - closed by `once`

    def read1(self, size: int, /) -> bytes:
        """Read what there is, as files do; only until `again`."""
        part = self._file.read1(size)
        if self._copy is not None:
            self._copy.write(part)
        return part

    def once(self) -> None:
        """Keep nothing more: it will not be read again."""
        if self._copy is not None:
            self._copy.close()
            self._copy = None

    def again(self) -> BufferedIOBase:
        """Return a file that begins at the beginning, in place of the one that was returned before."""
        file = self._file
        if self._copy is not None:
            # What has not been read yet is in no copy.
            while self.read1(_PART):
                pass
            file = cast("BufferedIOBase", self._copy)
        file.seek(0, os.SEEK_SET)
        return file


@contextmanager
def opened_source(name: str) -> Generator[Source]:
    """Open a file, or stdin."""
    with ExitStack() as opened:
        file = cast("BufferedIOBase", sys.stdin.buffer)
        if name != STANDARD:
            file = opened.enter_context(open(name, "rb"))  # noqa: PTH123 - as given
        source = Source(file)
        # The copy, too, is closed when the command ends early.
        opened.callback(source.once)
        yield source
