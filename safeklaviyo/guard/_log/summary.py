"""What a decision log says in all: what was changed, or would have been, by rule and by the shop's line of code."""

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
    """What a log has.

    Attributes:
        calls: Its lines.
        skipped: Lines that could not be read, or have a later version of the schema.
        first: When its first call was made.
        last: When its last call was made.
        modes: Its calls by mode.
        kinds: Its calls by operation, action and rule; of observed calls the action is what the map says.
        sites: The calls that were not simply passed, by the shop's file and line, action and rule.
        statuses: Its calls by the status that the caller was answered.
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
        """Take a line in."""
        self.calls += 1
        at = _text(line.get("at"))
        self.first, self.last = min(self.first or at, at), max(self.last, at)
        mode, by_map = _text(line.get("mode")), line.get("by_map")
        said = cast("dict[str, Any]", by_map) if mode == "observe" and isinstance(by_map, dict) else line
        action, rule = _text(said.get("action")), _text(said.get("rule"), "-")
        self.modes[mode] += 1
        self.kinds[_text(line.get("operation"), "(other)"), action, rule] += 1
        self.statuses[_text(line.get("status"), "no answer")] += 1
        if action != "pass":
            self.sites[_text(line.get("site")), action, rule] += 1

    def as_json(self) -> dict[str, Any]:
        """Return the same for a program."""
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
