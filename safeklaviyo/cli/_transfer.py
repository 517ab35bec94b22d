"""The commands that copy the identity map from and to files.

Decided here: how an import goes on after an interruption, and that an exported file is complete or does not appear.
Memory does not grow with the file.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from stat import S_ISREG
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Final, cast

from safeklaviyo._files.encodings import opened as opened_text
from safeklaviyo._files.rows import Form, Lines, csv_writer, jsonl_writer, read_csv, read_jsonl
from safeklaviyo.cli._checkpoint import Checkpoint
from safeklaviyo.cli._console import complain, progress, say
from safeklaviyo.cli._map import open_client
from safeklaviyo.cli._rehearsal import rehearsal
from safeklaviyo.errors import ConfigurationError, SafeKlaviyoError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Generator, Iterator
    from io import BufferedIOBase, TextIOWrapper

    from safeklaviyo import Klaviyo
    from safeklaviyo._files.encodings import Encoding
    from safeklaviyo._files.rows import Row, Table

AT_ONCE: Final = 1000
"""Rows in one transaction: as many as `Bindings.add` adds at once, so that a checkpoint is never ahead of the map."""

_STANDARD: Final = "-"
_MARK: Final = "\ufeff"


def import_file(arguments: Namespace) -> int:
    """Add a file's rows to the map."""
    with ExitStack() as opened:
        file, encoding = opened.enter_context(_source(arguments.file, arguments.encoding))
        lines = Lines(file)
        table = _table(arguments, lines, encoding)
        is_rehearsal = arguments.dry_run
        klaviyo = opened.enter_context((rehearsal if is_rehearsal else open_client)(arguments))
        checkpoint = Checkpoint.beside(arguments) if arguments.resume else None
        done = checkpoint.rows() if checkpoint else 0
        kept = opened.enter_context(keeping(arguments.refused, table.header, encoding, goes_on=done > 0))
        report = _Report(table, kept)
        total = None if arguments.file == _STANDARD else Path(arguments.file).stat().st_size
        show = opened.enter_context(progress("importing", total))
        try:
            for part in _parts(table.rows, skip=done):
                report.add(klaviyo, part, trusted=arguments.trusted, verify=arguments.verify)
                done += len(part)
                if checkpoint:
                    checkpoint.save(done)
                show(lines.size)
        except (KeyboardInterrupt, SafeKlaviyoError, OSError):
            complain(f"stopped after {done} rows; run it again: rows that are there count as unchanged")
            raise
    if checkpoint:
        checkpoint.forget()
    if is_rehearsal:
        complain("a dry run: nothing was written to the map")
    verified = f", verified {report.verified}" if arguments.verify else ""
    say(f"added {report.added}, unchanged {report.unchanged}, refused {report.refused}{verified}")
    return 1 if report.refused else 0


def export_file(arguments: Namespace) -> int:
    """Write the map's bindings to a file."""
    with (
        open_client(arguments) as klaviyo,
        _destination(arguments.file) as file,
        progress("exporting", None) as show,
    ):
        write = (jsonl_writer if is_jsonl(arguments) else csv_writer)(file)
        number = 0
        for number, binding in enumerate(klaviyo.bindings, start=1):
            write(binding)
            show(number)
    complain(f"exported {number}")
    return 0


@dataclass(slots=True)
class _Report:
    """The result of an import so far.

    Attributes:
        kept: The file for refused rows, if there is one.
    """

    table: Table
    kept: IO[str] | None
    added: int = 0
    unchanged: int = 0
    refused: int = 0
    verified: int = 0

    def add(self, klaviyo: Klaviyo, part: list[Row], *, trusted: bool, verify: bool) -> None:
        """Add rows to the map, and report those that are refused."""
        readable = [row for row in part if row.values is not None]
        rows = [row.values for row in readable if row.values is not None]
        report = klaviyo.bindings.add(rows, trusted=trusted, verify=verify)
        self.added += report.added
        self.unchanged += report.unchanged
        self.verified += report.verified
        reasons = {row.line: row.problem for row in part if row.values is None}
        reasons |= {readable[number].line: reason for number, reason in report.refused}
        for number, warning in report.warnings:
            complain(f"line {readable[number].line}: {warning}")
        # In the order of the file, which mixes rows that cannot be read with those that the map refuses.
        for row in part:
            if row.line in reasons:
                self._refuse(row, reasons[row.line])

    def _refuse(self, row: Row, reason: str) -> None:
        self.refused += 1
        complain(f"line {row.line}: {reason}")
        if self.kept is not None:
            self.kept.write(self.table.refused(row, reason))


def _table(arguments: Namespace, lines: Lines, encoding: Encoding) -> Table:
    """Read how the file is made, and say so on stderr where that is not plain."""
    form = Form(dict(arguments.map), is_guess=encoding.is_guess, strips=arguments.strip_apostrophes)
    table = (read_jsonl if is_jsonl(arguments) else read_csv)(lines, form)
    written = [f"read as {encoding.codec}"] if encoding.is_guess or not encoding.codec.startswith("utf-8") else []
    if found := "; ".join([*written, table.found] if table.found else written):
        complain(found)
    return table


def is_jsonl(arguments: Namespace) -> bool:
    """Tell whether a file is one of JSON lines, by what the caller says or by its name."""
    by_name = "jsonl" if arguments.file.lower().endswith((".jsonl", ".ndjson")) else "csv"
    return (arguments.format or by_name) == "jsonl"


def _parts(rows: Iterator[Row], *, skip: int) -> Iterator[list[Row]]:
    remaining = islice(rows, skip, None)
    while part := list(islice(remaining, AT_ONCE)):
        yield part


@contextmanager
def _source(name: str, encoding: str | None) -> Generator[tuple[TextIOWrapper, Encoding]]:
    """Open a file or stdin as text."""
    if name == _STANDARD:
        yield opened_text(cast("BufferedIOBase", sys.stdin.buffer), encoding)
        return
    with open(name, "rb") as file:  # noqa: PTH123 - as given
        yield opened_text(file, encoding)


@contextmanager
def keeping(name: str | None, header: str, encoding: Encoding, *, goes_on: bool) -> Generator[IO[str] | None]:
    """Open the file for refused rows, in the encoding of the rows: a new file, or the end of it in a resumed import."""
    if name is None:
        yield None
        return
    mode = "a" if goes_on else "w"
    with open(name, mode, encoding=encoding.codec, errors=encoding.errors, newline="", opener=_private) as file:
        if file.tell() == 0:
            file.write(_MARK + header if encoding.mark else header)
        yield file


def _private(path: str, flags: int) -> int:
    """Open a file for its owner alone, also one that is there already.

    Raises:
        ConfigurationError: It is another user's, who could read the rows.
    """
    descriptor = os.open(path, flags, 0o600)
    if S_ISREG(os.fstat(descriptor).st_mode):
        try:
            os.fchmod(descriptor, 0o600)
        except PermissionError:
            os.close(descriptor)
            raise ConfigurationError("the file for refused rows is another user's; name another one") from None
    return descriptor


@contextmanager
def _destination(name: str) -> Generator[IO[str]]:
    """Open stdout, or a new file that replaces the old one when all is written.

    Raises:
        ConfigurationError: The path leads to something else than a file.
    """
    if name == _STANDARD:
        yield sys.stdout
        sys.stdout.flush()
        return
    path = Path(name).resolve()
    if path.exists() and not path.is_file():
        raise ConfigurationError("there is something else than a file at this path; for stdout give -")
    # In the same folder, because a file can be replaced in one step only within a file system. A temporary file may be
    # read by its owner only.
    with NamedTemporaryFile(
        "w", encoding="utf-8", newline="", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        try:
            yield file.file
            file.flush()
            os.fsync(file.fileno())  # before the replacement, or a power cut could leave an empty file
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink()
            raise
