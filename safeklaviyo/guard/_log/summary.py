"""The summary of a decision log: what was changed, or would have been, by rule and by the shop's line of code."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION: Final = 1
_UNKNOWN: Final = "(unknown)"


@dataclass(slots=True)
class Summary:
    """The counts of a log.

    Attributes:
        calls: How many calls the log has.
        skipped: How many lines could not be read, or have another version of the schema.
        first: When the first call was made.
        last: When the last call was made.
        modes: The calls by mode.
        kinds: The calls by operation, action and rule. An observed call counts with what the map says about it.
        sites: The calls that the guard did not just pass, by the shop's file and line, action and rule.
        statuses: The calls by the status that the caller got.
    """

    calls: int = 0
    skipped: int = 0
    first: str = ""
    last: str = ""
    modes: Counter[str] = field(default_factory=Counter[str])
    kinds: Counter[tuple[str, str, str]] = field(default_factory=Counter[tuple[str, str, str]])
    sites: Counter[tuple[str, str, str]] = field(default_factory=Counter[tuple[str, str, str]])
    statuses: Counter[str] = field(default_factory=Counter[str])

    def add(self, line: dict[str, Any]) -> None:
        """Count a line."""
        self.calls += 1
        at = _text(line.get("at"))
        self.first, self.last = min(self.first or at, at), max(self.last, at)
        mode, by_map = _text(line.get("mode")), line.get("by_map")
        # An observed call always passed. The log is read to see what enforce would have done, and the map says that.
        said = cast("dict[str, Any]", by_map) if mode == "observe" and isinstance(by_map, dict) else line
        action, rule = _text(said.get("action")), _text(said.get("rule"), "-")
        self.modes[mode] += 1
        self.kinds[_text(line.get("operation"), "(other)"), action, rule] += 1
        self.statuses[_text(line.get("status"), "no answer")] += 1
        if action != "pass":
            self.sites[_text(line.get("site")), action, rule] += 1

    def as_json(self) -> dict[str, Any]:
        """Return the counts for a program."""
        return {
            "calls": self.calls, "skipped": self.skipped, "first": self.first, "last": self.last,
            "modes": dict(self.modes), "statuses": dict(self.statuses),
            "kinds": [
                {"operation": name, "action": action, "rule": rule, "calls": calls}
                for (name, action, rule), calls in self.kinds.most_common()
            ],
            "sites": [
                {"site": site, "action": action, "rule": rule, "calls": calls}
                for (site, action, rule), calls in self.sites.most_common()
            ],
        }  # fmt: skip


def summarised(lines: Iterable[str]) -> Summary:
    """Read a log, a line at a time."""
    summary = Summary()
    for text in lines:
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            line = None
        if isinstance(line, dict) and cast("dict[str, Any]", line).get("v") == VERSION:
            summary.add(cast("dict[str, Any]", line))
        elif text.strip():
            summary.skipped += 1
    return summary


def _text(value: object, otherwise: str = _UNKNOWN) -> str:
    return otherwise if value is None else str(value)[:200]
