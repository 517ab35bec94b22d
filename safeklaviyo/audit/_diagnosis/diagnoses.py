"""`diagnose`: from logs to the calls that made a second profile, and to what would have prevented it.

The steps:

1. read the logs (`logs`);
2. find out which calls are about one person (`people`);
3. replay the linked calls, and search for the cause (`causes`);
4. explain the cause (`explaining`);
5. send the same calls through the client (`prevention`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from safeklaviyo.audit._diagnosis import causes, logs
from safeklaviyo.audit._diagnosis.explaining import explained, words_of
from safeklaviyo.audit._diagnosis.people import groups, join, people_of
from safeklaviyo.audit._diagnosis.prevention import prevented
from safeklaviyo.audit._diagnosis.starting import profiles_before
from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike

    from safeklaviyo.audit._diagnosis.calls import Call
    from safeklaviyo.audit._diagnosis.causes import Cause
    from safeklaviyo.audit._diagnosis.logs import Log, Skipped

_NONE: Final = "In this log no customer gets a second profile"


@dataclass(frozen=True, slots=True, repr=False)
class Diagnosis:
    """Why a customer has two profiles.

    Attributes:
        cause: The call that made the second profile; None if no customer of these logs has two.
        calls: The calls that together made the second profile, in the order of the log. None can be left out.
        certain: The log's own order proves the cause, under every answer to the questions that Klaviyo leaves open.
        assumes: What has to be assumed otherwise: a delay, a race, or Klaviyo's answer to an open question.
        situation: The number in the list of Klaviyo's staff, or a word, such as ``race``; None if no name fits.
        rule: The rule of this library that prevents the second profile.
        explanation: What happened, in one sentence.
        prevented: For each of `calls`, what it would have done through this library.
        skipped: How many entries of the logs could not be used.
        entries: The entries that could not be used, each with its reason.
        notes: How several logs were put together.
    """

    cause: Call | None = None
    calls: tuple[Call, ...] = ()
    certain: bool = False
    assumes: tuple[str, ...] = ()
    situation: str | None = None
    rule: str | None = None
    explanation: str = _NONE
    prevented: tuple[str, ...] = ()
    skipped: int = 0
    entries: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        return f"Diagnosis(cause={self.cause!r}, situation={self.situation!r}, certain={self.certain})"

    def to_json(self) -> str:
        """Return the diagnosis as JSON, without any customer's identifiers."""
        return json.dumps(
            {
                "cause": None if self.cause is None else _shown(self.cause),
                "calls": [_shown(call) for call in self.calls],
                "certain": self.certain,
                "assumes": self.assumes,
                "situation": self.situation,
                "rule": self.rule,
                "explanation": self.explanation,
                "prevented": self.prevented,
                "skipped": self.skipped,
                "entries": [str(each) for each in self.entries],
                "notes": self.notes,
            },
            indent=2,
        )


def diagnose(
    *paths: str | PathLike[str],
    format: str | None = None,
    profiles: Sequence[str] | None = None,
    start: str | PathLike[str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Diagnosis:
    """Find the calls that gave one customer two profiles.

    The calls of the logs are replayed into the simulator, as they were sent and in the other orders that Klaviyo's
    delays allow. Where the logs have Klaviyo's answers, only what agrees with them counts.

    Args:
        paths: The logs: HAR 1.2, the guard's decision log, or JSON lines of the shop's own. Several are merged by time.
        format: ``"har"`` or ``"jsonl"``; None to recognise the format.
        profiles: The ids of the two profiles that should be one; None for the first customer who gets two.
        start: An export of the account's profiles as it was before the logs begin; None for an empty account.
        on_progress: Called with how many customers were looked at, and how many there are.

    Raises:
        ConfigurationError: A file is no log in a known format, or the logs do not name the two profiles.
        OSError: A file cannot be read.
    """
    log = logs.read(paths, format)
    return diagnosed(log, profiles=profiles, start=start, on_progress=on_progress)


def diagnosed(
    log: Log,
    *,
    profiles: Sequence[str] | None = None,
    start: str | PathLike[str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Diagnosis:
    """Same as `diagnose`, for logs that were read already."""
    before = [] if start is None else profiles_before(start, log.calls)
    people = people_of(log.calls, before)
    asked = None if profiles is None else join(people, profiles)
    if asked is not None and not asked:
        raise ConfigurationError(
            "the logs do not say which customer has these profiles; leave them out, or give an export as start"
        )
    linked = groups(log.calls, people, before, profiles or ())
    search = causes.Search(asked=asked)

    def _progress(done: int) -> None:
        if on_progress is not None:
            on_progress(done, len(linked))

    cause = search.run(linked, _progress)
    rest: dict[str, Any] = {
        "skipped": len(log.skipped), "entries": tuple(log.skipped), "notes": tuple(log.notes),
    }  # fmt: skip
    return Diagnosis(**rest) if cause is None else _diagnosis(cause, log, rest)


def _diagnosis(cause: Cause, log: Log, rest: dict[str, Any]) -> Diagnosis:
    parts = cause.stage.parts
    calls = tuple(parts[number].call for number in cause.in_log_order)
    found = explained(cause)
    assumes = tuple(_assumed(cause, log))
    return Diagnosis(
        parts[cause.plan.order[-1]].call,
        calls,
        cause.rank == causes.CERTAIN and not assumes,
        assumes,
        found.situation or None,
        found.rule or None,
        found.sentence,
        prevented(cause),
        **rest,
    )


def _assumed(cause: Cause, log: Log) -> list[str]:
    """Return what has to be assumed for a cause, in sentences. Without assumptions the cause is certain."""
    parts = cause.stage.parts
    found: list[str] = []
    if cause.change is not None:
        one, other = words_of(parts[cause.change.one].call), words_of(parts[cause.change.other].call)
        found.append({
            "delayed": f"delay: Klaviyo applied {one} after {other}",
            "racing": f"race: Klaviyo looked up the customers of {one} and of {other} before it wrote either",
            "earlier": f"order: {one} reached Klaviyo before {other}",
            "away": f"outcome: {one} was not carried out",
        }[cause.change.operator])  # fmt: skip
    if cause.reading.deviates is not None:
        found.append(cause.reading.words(cause.reading.deviates))
    elif cause.disagrees is not None and cause.disagrees.deviates is not None:
        found.append(cause.reading.words(cause.disagrees.deviates))
    found += [
        f"outcome: Klaviyo carried out {words_of(parts[number].call)}, which got no answer"
        for number in cause.carried_out
    ]
    found += [
        f"outcome: Klaviyo did not carry out {words_of(parts[number].call)}, which got no answer"
        for number in cause.away
    ]
    if cause.before:
        found.append(
            "start: the customer had a profile before the log begins, as its answers show; give an export as start"
        )
    unread = [each for each in log.skipped if each.may_write]
    if unread:
        found.append(f"log: the {len(unread)} calls that could not be read did nothing to this customer")
    return found


def _shown(call: Call) -> dict[str, Any]:
    return {
        "index": call.index,
        "time": None if call.time is None else call.time.isoformat(),
        "method": call.method,
        "path": call.path,
        "source": call.source,
        "status": call.status,
    }
