"""The commands that copy the identity map from and to files.

Decided here: how an import goes on after an interruption, and that an exported file is complete or does not appear.
Memory does not grow with the file.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from stat import S_ISREG
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Final

from safeklaviyo._files.encodings import opened as opened_text
from safeklaviyo._files.rows import Form, Lines, csv_writer, jsonl_writer, read_csv, read_jsonl
from safeklaviyo._input.shop_rows import FORMER
from safeklaviyo.cli._checkpoint import Checkpoint
from safeklaviyo.cli._claims import Claims
from safeklaviyo.cli._console import complain, progress, say
from safeklaviyo.cli._map import check_spelling, open_client, policy_of
from safeklaviyo.cli._rehearsal import rehearsal
from safeklaviyo.cli._report import Report
from safeklaviyo.cli._source import STANDARD, opened_source
from safeklaviyo.errors import ConfigurationError, SafeKlaviyoError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Generator, Iterator

    from safeklaviyo._files.encodings import Encoding, Readable
    from safeklaviyo._files.rows import Row, Table
    from safeklaviyo.cli._source import Source

AT_ONCE: Final = 1000
"""Rows in one transaction: as many as `Bindings.add` adds at once, so that a checkpoint is never ahead of the map."""

_MARK: Final = "\ufeff"
# Keys count in any case, with anything between the words; a key may be written in escapes.
_FORMER_NAME: Final = re.compile(r"former|\\u", re.IGNORECASE)


def import_file(arguments: Namespace) -> int:
    """Add a file's rows to the map."""
    with ExitStack() as opened:
        given = opened.enter_context(_given(arguments))
        klaviyo = opened.enter_context((rehearsal if arguments.dry_run else open_client)(arguments))
        check_spelling(arguments)
        checkpoint = Checkpoint.beside(arguments) if arguments.resume else None
        done = checkpoint.rows() if checkpoint else 0
        whole = checkpoint.kept(arguments.refused) if checkpoint and arguments.refused else None
        kept = opened.enter_context(
            keeping(arguments.refused, given.table.header, given.encoding, goes_on=done > 0, whole=whole)
        )
        report = Report(given.table, given.claims, kept)
        show = opened.enter_context(progress("importing", _size(arguments)))
        try:
            for part in _parts(given.table.rows, skip=done):
                report.add(klaviyo, part, trusted=arguments.trusted, verify=arguments.verify)
                done += len(part)
                if checkpoint:
                    checkpoint.save(done, kept)
                show(given.lines.size)
        except (KeyboardInterrupt, SafeKlaviyoError, OSError):
            complain(f"stopped after {done} rows; run it again: rows that are there count as unchanged")
            raise
        finally:
            report.sum_up()
    if checkpoint:
        checkpoint.forget()
    return _summed_up(arguments, report)


def _summed_up(arguments: Namespace, report: Report) -> int:
    """Say what became of all rows; return the exit code."""
    if arguments.dry_run:
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


@dataclass(frozen=True, slots=True, repr=False)
class _Given:
    """A file that is ready to be imported.

    Attributes:
        claims: What the file says of its former identifiers, if it has any.
    """

    lines: Lines
    table: Table
    encoding: Encoding
    claims: Claims | None = None


@contextmanager
def _given(arguments: Namespace) -> Generator[_Given]:
    """Open the file, and look through all of it first if there are former identifiers in it."""
    with ExitStack() as opened:
        source = opened.enter_context(opened_source(arguments.file))
        given = _read(arguments, source, arguments.encoding)
        _tell(given)
        if not given.table.has_former:
            source.once()
            yield given
            return
        claims = None
        if not is_jsonl(arguments) or _names_former(arguments, source, given.encoding):
            rows = _read(arguments, source.again(), given.encoding).table.rows
            claims = opened.enter_context(Claims(rows, policy_of(arguments)))
        yield replace(_read(arguments, source.again(), given.encoding), claims=claims)


def _names_former(arguments: Namespace, source: Source, encoding: Encoding) -> bool:
    """Tell whether there may be a former identifier in JSON lines, at a glance: without reading the JSON."""
    if any(name in FORMER and column for name, column in arguments.map):
        return True
    text, _ = opened_text(source.again(), encoding)
    return any(_FORMER_NAME.search(line) for line in text)


def _read(arguments: Namespace, file: Readable, encoding: str | Encoding | None) -> _Given:
    """Read how a file is made."""
    text, known = opened_text(file, encoding)
    lines = Lines(text)
    form = Form(dict(arguments.map), is_guess=known.is_guess, strips=arguments.strip_apostrophes)
    return _Given(lines, (read_jsonl if is_jsonl(arguments) else read_csv)(lines, form), known)


def _tell(given: _Given) -> None:
    """Say on stderr how a file is made, where that is not plain."""
    encoding, found = given.encoding, given.table.found
    written = [f"read as {encoding.codec}"] if encoding.is_guess or not encoding.codec.startswith("utf-8") else []
    if told := "; ".join([*written, found] if found else written):
        complain(told)


def _size(arguments: Namespace) -> int | None:
    return None if arguments.file == STANDARD else Path(arguments.file).stat().st_size


def is_jsonl(arguments: Namespace) -> bool:
    """Tell whether a file is one of JSON lines, by what the caller says or by its name."""
    by_name = "jsonl" if arguments.file.lower().endswith((".jsonl", ".ndjson")) else "csv"
    return (arguments.format or by_name) == "jsonl"


def _parts(rows: Iterator[Row], *, skip: int) -> Iterator[list[Row]]:
    remaining = islice(rows, skip, None)
    while part := list(islice(remaining, AT_ONCE)):
        yield part


@contextmanager
def keeping(
    name: str | None, header: str, encoding: Encoding, *, goes_on: bool, whole: int | None
) -> Generator[IO[str] | None]:
    """Open the file for refused rows, in the encoding of the rows: a new file, or the end of it in a resumed import.

    Args:
        whole: What is beyond this was written by a run that was killed then, perhaps in the middle of a row.
    """
    if name is None:
        yield None
        return
    mode = "a" if goes_on else "w"
    with open(name, mode, encoding=encoding.codec, errors=encoding.errors, newline="", opener=_private) as file:
        if goes_on and whole is not None and whole < file.tell():
            file.truncate(whole)
        if file.tell() == 0:
            file.write(_MARK + header if encoding.mark else header)
        yield file


def _private(path: str, flags: int) -> int:
    """Open a file for its owner alone, also one that is there already.

    Raises:
        ConfigurationError: The file belongs to another user, who could read the rows.
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
    if name == STANDARD:
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
