"""Reading logs: which format a file has, and several files as one history.

Decided here: how several logs are merged (by time, each corrected by its clock), which account's calls are kept, and
how entries that cannot be used are reported. Not here: the formats (`har`, `lines`).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from safeklaviyo.audit._diagnosis import har, lines
from safeklaviyo.audit._diagnosis.calls import KEY, Call
from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime, timedelta
    from os import PathLike

Format = Literal["har", "jsonl"]
FORMATS: Final = ("har", "jsonl")


@dataclass(frozen=True, slots=True)
class Skipped:
    """One entry of a log that could not be used.

    Attributes:
        source: The log's file.
        index: The entry's place in the file, from 0.
        reason: Why it could not be used, without personal data.
        may_write: The entry may have changed a profile's identifiers.
    """

    source: str
    index: int
    reason: str
    may_write: bool = True

    def __str__(self) -> str:
        return f"entry {self.index} of {self.source} was skipped: {self.reason}"


@dataclass(slots=True)
class Log:
    """One or more logs that were read as one.

    Attributes:
        calls: The calls in the order of their times.
        skipped: The entries that could not be used.
        notes: How the logs were put together.
    """

    calls: list[Call] = field(default_factory=list[Call])
    skipped: list[Skipped] = field(default_factory=list[Skipped])
    notes: list[str] = field(default_factory=list[str])


def read(paths: Iterable[str | PathLike[str]], how: str | None = None) -> Log:
    """Read logs as one history.

    Raises:
        ConfigurationError: A file is no log in a known format.
        OSError: A file cannot be read.
    """
    if how is not None and how not in FORMATS:
        raise ConfigurationError(f"format is one of {', '.join(FORMATS)}, or None")
    # Step 1: read each file. With several, each one's times are corrected by its clock, or they could not be merged.
    log = Log()
    several = [Path(path) for path in paths]
    if not several:
        raise ConfigurationError("give at least one log")
    offsets: dict[str, timedelta | None] = {}
    for path in several:
        calls, ahead = _read_one(path, path.name if len(several) > 1 else "", how, log)
        offsets[path.name] = ahead
        log.calls += calls if ahead is None or len(several) == 1 else (_shifted(call, ahead) for call in calls)
    if len(several) > 1:
        log.notes += map(_clock, offsets.items())
    # Step 2: one order, and one account. A call of another account cannot have made the profile.
    _sort(log)
    _of_one_account(log)
    return log


def _read_one(path: Path, source: str, how: str | None, log: Log) -> tuple[list[Call], timedelta | None]:
    with path.open("rb") as file:
        begin = file.read(4096)
        file.seek(0)
        if (how or guessed(begin)) == "jsonl":
            return _sorted_out(lines.calls_of(file, source), path.name, log), None
        try:
            document: Any = json.load(file)
        except (ValueError, RecursionError):
            document = None
    if not isinstance(document, dict) or "log" not in document:
        raise ConfigurationError(f"{path.name} is no HAR file, and no file of one JSON object a line")
    held = cast("dict[str, Any]", document)
    return _sorted_out(har.calls_of(held, source), path.name, log), har.skew(held)


def guessed(begin: bytes) -> Format:
    """Return which format a file has, by its first bytes."""
    first = begin.lstrip(b"\xef\xbb\xbf \t\r\n").partition(b"\n")[0]
    try:
        line: object = json.loads(first)
    except (ValueError, RecursionError):
        # A HAR is one object, over many lines or longer than these bytes.
        return "har" if b'"log"' in begin[:400] or not begin.lstrip().startswith(b"{") else "jsonl"
    return "har" if not isinstance(line, dict) or "log" in line else "jsonl"


def _sorted_out(found: Iterator[Call | tuple[int, str, bool]], name: str, log: Log) -> list[Call]:
    calls: list[Call] = []
    for each in found:
        if isinstance(each, Call):
            calls.append(each)
        else:
            log.skipped.append(Skipped(name, *each))
    return calls


def _shifted(call: Call, ahead: timedelta) -> Call:
    return replace(call, time=None if call.time is None else call.time - ahead)


def _clock(item: tuple[str, timedelta | None]) -> str:
    name, ahead = item
    if ahead is None:
        return f"{name}: how far its clock is from Klaviyo's is not known; its times are taken as they are"
    seconds = ahead.total_seconds()
    way = "ahead of" if seconds >= 0 else "behind"
    return f"{name}: its clock was {abs(seconds):.1f} s {way} Klaviyo's; its times were corrected by that"


def _sort(log: Log) -> None:
    """Put the calls in the order of their times; a log without times stays as it is."""
    if all(call.time is not None for call in log.calls):
        log.calls.sort(key=_when)
    elif any(call.time is not None for call in log.calls):
        log.notes.append("some calls have no time, so the calls are taken in the order of the files")


def _when(call: Call) -> datetime:
    assert call.time is not None
    return call.time


def _of_one_account(log: Log) -> None:
    """Keep the calls of one account: the one with the most calls."""
    counts = Counter(call.account for call in log.calls if call.account is not None)
    public = [each for each in counts if not each.startswith(KEY)]
    if len(counts) == 2 and len(public) == 1:
        # A browser has the public key, and a backend the private one. Usually both belong to one account.
        log.notes.append("the private key and the public one are taken to be the same account's")
        return
    if len(counts) < 2:
        return
    chosen = max(counts, key=lambda each: (counts[each], each))
    kept: list[Call] = []
    for call in log.calls:
        if call.account == chosen:
            kept.append(call)
        else:
            reason = "its account is not known" if call.account is None else "it is another account's"
            log.skipped.append(Skipped(call.source, call.index, reason, may_write=call.account is None))
    log.calls = kept
    log.notes.append(f"the log has calls of {len(counts)} accounts; those of the one with most calls were taken")
