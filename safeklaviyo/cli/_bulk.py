"""The commands that send a file: `track` and `identify`.

Decided here: that a file may be sent again without doubling an event, how a run goes on after an interruption, and what
becomes of a row that is refused. Memory does not grow with the file.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal, cast
from uuid import uuid4

from safeklaviyo import Policy
from safeklaviyo._client.bulk_verbs import rehearse
from safeklaviyo._files.encodings import opened as opened_text
from safeklaviyo._files.records import OF_EVENT, OF_PERSON, Sheet, read_csv, read_jsonl
from safeklaviyo._files.rows import Lines
from safeklaviyo.cli._checkpoint import Checkpoint
from safeklaviyo.cli._console import complain, progress, say
from safeklaviyo.cli._map import open_client, store_url
from safeklaviyo.cli._transfer import is_jsonl, keeping
from safeklaviyo.errors import ConfigurationError, SafeKlaviyoError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Generator, Iterator, Mapping
    from io import BufferedIOBase
    from types import FrameType

    from safeklaviyo import BatchReport, Klaviyo
    from safeklaviyo._files.encodings import Encoding
    from safeklaviyo._files.records import Records
    from safeklaviyo._files.rows import Row
    from safeklaviyo.models import Progress

EVENTS_AT_ONCE: Final = 5000
"""Rows after which the progress is saved. Within them `track_many` has several jobs on their way; a run that goes on
after a kill sends at most so many again, under their keys."""
PEOPLE_AT_ONCE: Final = 10_000
"""The same for people: after each part the imports are waited for, which tell the rows that failed."""
TERMINATED: Final = 143
_STANDARD: Final = "-"
_DIGITS: Final = 32
"""Characters of the file's digest in a key: two files with the same ones do not occur."""

Verb = Literal["track", "identify"]


class Terminated(BaseException):
    """SIGTERM came. No `Exception`, so that nothing takes it for a failure of what it interrupts."""


def track(arguments: Namespace) -> int:
    """Record a file's events."""
    return _send(arguments, "track", EVENTS_AT_ONCE)


def identify(arguments: Namespace) -> int:
    """Write a file's properties onto profiles."""
    return _send(arguments, "identify", PEOPLE_AT_ONCE)


def _send(arguments: Namespace, verb: Verb, at_once: int) -> int:
    try:
        with ExitStack() as opened:
            opened.enter_context(_ending_on_sigterm())
            return _send_file(arguments, verb, at_once, opened)
    except Terminated:
        return TERMINATED


def _send_file(arguments: Namespace, verb: Verb, at_once: int, opened: ExitStack) -> int:
    # Step 1: read how the file is made, before a client is opened for a file that cannot be sent.
    file, encoding = opened.enter_context(_source(arguments.file, arguments.encoding))
    lines = Lines(file)
    records = _records(arguments, verb, lines, encoding)
    # A file is mended and sent again, so what cannot be sent as it stands is refused with the reason.
    refusing = Policy(properties="refuse")
    klaviyo = opened.enter_context(open_client(arguments)).with_options(deadline=None, policy=refusing)
    # Step 2: find the place after which an earlier run has stopped.
    digest = _digest(arguments)
    checkpoint = _checkpoint(arguments, verb, digest) if arguments.resume else None
    done = checkpoint.rows() if checkpoint else 0
    if done:
        complain(f"going on after {done} rows")
    whole = checkpoint.kept(arguments.refused) if checkpoint and arguments.refused else None
    kept = opened.enter_context(keeping(arguments.refused, records.header, encoding, goes_on=done > 0, whole=whole))
    run = _Run(klaviyo, verb, records, kept, digest, is_rehearsal=arguments.dry_run, backfill=_backfill(arguments))
    show = opened.enter_context(progress(f"{verb}ing", _size(arguments), unit="rows"))
    # Step 3: send the rest, part by part.
    read = lines.size
    try:
        for part in _parts(records.rows, done, at_once):
            run.send(part, partial(_show_within, show, (read, lines.size), done))
            done, read = done + len(part), lines.size
            run.save(done, checkpoint)
            show(read, done)
    except (KeyboardInterrupt, Terminated, SafeKlaviyoError, OSError):
        complain(_how_to_go_on(arguments, done))
        raise
    if checkpoint:
        checkpoint.forget()
    return run.end()


def _show_within(show: Callable[..., None], size: tuple[int, int], done: int, progress_of_part: Progress) -> None:
    """Show how far a part is. All its bytes have been read already.

    Args:
        show: What draws the bar.
        size: The bytes before the part, and with it.
        done: The rows before the part.
        progress_of_part: How many of its rows are done.
    """
    before, after = size
    share = progress_of_part.done / max(progress_of_part.total or 0, 1)
    show(before + (after - before) * share, done + progress_of_part.done)


def _parts(rows: Iterator[Row], skip: int, at_once: int) -> Iterator[list[Row]]:
    """Yield the rows in parts, without those that an earlier run has sent."""
    remaining = islice(rows, skip, None)
    while part := list(islice(remaining, at_once)):
        yield part


@dataclass(slots=True)
class _Run:
    """One run of a command.

    Attributes:
        kept: The file for refused rows, if there is one.
        digest: That of the file's content.
        backfill: The events are history.
    """

    klaviyo: Klaviyo
    verb: Verb
    records: Records
    kept: IO[str] | None
    digest: str
    is_rehearsal: bool
    backfill: bool
    counts: Counter[str] = field(default_factory=Counter[str])

    def send(self, part: list[Row], on_progress: Callable[[Progress], None]) -> None:
        """Send rows, and report those that are refused, in the order of the file."""
        # Two lists: `on_refused` counts the rows that were sent, and those that could not be read are not among them.
        readable = [row for row in part if row.values is not None]
        failed: dict[int, tuple[str, str]] = {row.line: ("refused", row.problem) for row in part if row.values is None}

        def _on_refused(number: int, _row: Mapping[str, Any], error: SafeKlaviyoError) -> None:
            kind = "unknown" if error.outcome == "unknown" else "refused"
            failed[readable[number].line] = (kind, str(error))

        rows = [self._row(row) for row in readable]
        if self.is_rehearsal:
            self.counts["accepted"] += rehearse(self.klaviyo, self.verb, rows, _on_refused)
        else:
            verb = self.klaviyo.track_many if self.verb == "track" else self.klaviyo.identify_many
            self._count(verb(rows, on_refused=_on_refused, on_progress=on_progress))
        # Only now, in the order of the file: rows are refused in the order in which their requests end.
        for row in part:
            if row.line in failed:
                self._tell(row, *failed[row.line])

    def save(self, done: int, checkpoint: Checkpoint | None) -> None:
        """Save the progress, if there is a checkpoint."""
        # The refused rows first: a process that is killed in between must not leave one in memory alone.
        if self.kept is not None:
            self.kept.flush()
        if checkpoint:
            checkpoint.save(done, self.kept)

    def _row(self, row: Row) -> dict[str, Any]:
        given = dict(row.values or {})
        if self.verb == "track":
            # The same file has the same keys in each run, and no key in common with another file.
            given.setdefault("unique_id", f"{self.digest}-{row.line}")
            if self.backfill:
                given["backfill"] = True
        return given

    def _count(self, report: BatchReport) -> None:
        self.counts["accepted"] += report.accepted

    def _tell(self, row: Row, kind: str, reason: str) -> None:
        self.counts[kind] += 1
        complain(f"line {row.line}: {reason}" + (" (it may have arrived)" if kind == "unknown" else ""))
        # A row that may have arrived is sent again by the same file, where it has the same key.
        if self.kept is not None and kind == "refused":
            self.kept.write(self.records.refused(row, reason))

    def end(self) -> int:
        """Say what has become of all rows; return the exit code."""
        accepted, refused, unknown = (self.counts[kind] for kind in ("accepted", "refused", "unknown"))
        if self.is_rehearsal:
            complain("a dry run: nothing was sent")
        if unknown:
            complain("rows that may have arrived: send the same file again; what has arrived is not doubled")
        say(f"accepted {accepted}, refused {refused}" + (f", unknown {unknown}" if unknown else ""))
        return 1 if refused or unknown else 0


def _records(arguments: Namespace, verb: Verb, lines: Lines, encoding: Encoding) -> Records:
    """Read how the file is made, and say so on stderr."""
    sheet = Sheet(
        OF_EVENT if verb == "track" else OF_PERSON,
        dict(arguments.map),
        frozenset(arguments.number),
        arguments.event if verb == "track" else None,
        strips=arguments.strip_apostrophes,
        is_guess=encoding.is_guess,
    )
    records = (read_jsonl if is_jsonl(arguments) else read_csv)(lines, sheet)
    if encoding.is_guess or not encoding.codec.startswith("utf-8"):
        complain(f"read as {encoding.codec}")
    if records.columns is not None:
        complain(f"columns: {', '.join(records.columns)}; and {records.properties} as properties")
        if verb == "track" and "time" not in records.columns:
            complain("no column has the time: each event counts as of now")
    return records


def _size(arguments: Namespace) -> int | None:
    """Return the file's size in bytes; None for stdin."""
    return None if arguments.file == _STANDARD else Path(arguments.file).stat().st_size


def _digest(arguments: Namespace) -> str:
    """Return a digest of the file's content, from which rows without a key get theirs."""
    if arguments.file == _STANDARD:
        # Stdin is read once, as it comes, so its content is not known before the first row is sent.
        return uuid4().hex
    digest = sha256()
    with open(arguments.file, "rb") as file:  # noqa: PTH123 - as given
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()[:_DIGITS]


def _checkpoint(arguments: Namespace, verb: Verb, digest: str) -> Checkpoint:
    if arguments.file == _STANDARD:
        raise ConfigurationError("stdin cannot be resumed; give a file")
    options = (arguments.format, sorted(arguments.map), arguments.encoding, arguments.account, arguments.base_url)
    # The progress counts rows as they were read then. With other options, another map or another file it would skip the
    # wrong ones.
    subject = repr((verb, digest, store_url(arguments), *options))
    return Checkpoint(Path(f"{arguments.file}.progress"), sha256(subject.encode()).hexdigest())


def _backfill(arguments: Namespace) -> bool:
    return bool(getattr(arguments, "backfill", False))


def _how_to_go_on(arguments: Namespace, done: int) -> str:
    if arguments.dry_run:
        return f"stopped after {done} rows; nothing was sent"
    if arguments.file == _STANDARD:
        return f"stopped after {done} rows of stdin; rows after that may have been sent"
    again = "run it again to go on there" if arguments.resume else "run it again with --resume, or as it was"
    return f"stopped after {done} rows; {again}: what has arrived is not doubled"


@contextmanager
def _source(name: str, encoding: str | None) -> Generator[tuple[IO[str], Encoding]]:
    """Open a file or stdin as text."""
    if name == _STANDARD:
        yield opened_text(cast("BufferedIOBase", sys.stdin.buffer), encoding)
        return
    with open(name, "rb") as file:  # noqa: PTH123 - as given
        yield opened_text(file, encoding)


@contextmanager
def _ending_on_sigterm() -> Generator[None]:
    """Let SIGTERM end the command as Ctrl-C does: what is on its way is finished, and nothing more is begun."""

    def _end(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
