"""The result of an audit: its findings, and how they are written as JSON, text, a plan or a page.

Decided here: which findings a baseline had (those with the same key), and what a report contains. `_page` decides how
the page looks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast, overload

from safeklaviyo.audit._files import write_private
from safeklaviyo.audit._finding import RULES, Finding, Shown, ShownBinding
from safeklaviyo.audit._plan import ANOTHER_FIRST, NOT_CERTAIN, PlannedMerge, RepairPlan
from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from safeklaviyo.audit._table import Table

KIND: Final = "safeklaviyo audit"
VERSION: Final = 1
_MERGING: Final = ("A2", "A3", "A5", "A7")
_ON_A_PAGE: Final = 1000
"""Findings of each rule that a page gets at most. People have to read it."""

_QUERY: Final = """
    SELECT finding.body, baseline.name IS NULL, merge.source, merge.stays FROM finding
    LEFT JOIN baseline ON baseline.name = finding.name LEFT JOIN merge ON merge.name = finding.name
"""
_ORDER: Final = " ORDER BY finding.rule, finding.name"


class Findings(Sequence[Finding]):
    """Findings in the order of their rules. Each use reads them from the temporary file, so that memory stays flat."""

    def __init__(self, table: Table, where: str = "1") -> None:
        self._table = table
        self._where = where

    def __len__(self) -> int:
        joined = f"SELECT count(*) FROM ({_QUERY} WHERE {self._where})"  # noqa: S608 - our conditions
        (number,) = next(self._table.ask(joined))
        assert isinstance(number, int)
        return number

    def __iter__(self) -> Iterator[Finding]:
        yield from self.some("")

    def some(self, more: str, *given: object) -> Iterator[Finding]:
        """Yield the findings that meet a further condition."""
        for found in self._table.ask(f"{_QUERY} WHERE {self._where} {more or _ORDER}", *given):
            yield _finding(*found)

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> list[Finding]: ...
    def __getitem__(self, index: int | slice) -> Finding | list[Finding]:
        """Return one finding, or some of them."""
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = index if index >= 0 else len(self) + index
        found = next(self.some(f"{_ORDER} LIMIT 1 OFFSET ?", at), None) if at >= 0 else None
        if found is None:
            raise IndexError("there are not so many findings")
        return found

    def __repr__(self) -> str:
        return f"<{len(self)} findings>"


class Audit:
    """What an audit has found. It keeps a temporary file until it is closed, or no longer used.

    Attributes:
        source: ``"api"`` or ``"export"``.
        account: Klaviyo's account; None for an export without a client.
        made_at: When the audit was made.
        findings: All findings, in the order of the rules.
        new: The findings that the baseline does not have; all findings without a baseline.
        checked: The rules that the data could show, such as ``("A2", "A4")``.
        not_checked: The other rules, each with what would be needed to check it.
        profiles: How many profiles were read.
        bindings: How many customers of the map the profiles were compared with.
        unreadable: How many rows of an export could not be read.
    """

    def __init__(
        self, table: Table, *, source: str, account: str | None, made_at: datetime, not_checked: Mapping[str, str],
        baseline: Iterable[str] | None,
    ) -> None:  # fmt: skip
        self._table = table
        counts = table.counts()
        self.source = source
        self.account = account
        self.made_at = made_at
        self.not_checked: Mapping[str, str] = dict(not_checked)
        self.checked: tuple[str, ...] = tuple(rule for rule in RULES if rule not in self.not_checked)
        self.profiles: int = counts.profiles
        self.bindings: int = counts.customers
        self.unreadable: int = counts.unreadable
        self._has_baseline = baseline is not None
        table.write("INSERT OR IGNORE INTO baseline VALUES (?)", ((name,) for name in baseline or ()))
        table.commit()

    @property
    def findings(self) -> Findings:
        """All findings, in the order of the rules."""
        return Findings(self._table)

    @property
    def new(self) -> Findings:
        """The findings that the baseline does not have; all findings without a baseline."""
        return Findings(self._table, "baseline.name IS NULL")

    def plan(self) -> RepairPlan:
        """Return the merges that the data prove, and that cost no consent. Writes nothing to Klaviyo."""
        merges = tuple(
            _planned(found) for found in self.findings.some(f"AND merge.source IS NOT NULL {_ORDER}")
        )  # fmt: skip
        return RepairPlan(self.account, self.made_at, merges, self._left_out())

    def _left_out(self) -> dict[str, int]:
        """Return how many findings of the merging rules are not in the plan, by the reason."""
        # Step 1: findings that speak against their own merge.
        kept = ", ".join(f"'{rule}'" for rule in _MERGING)
        reasons: dict[str, int] = {}
        for why_not, number in self._table.ask(
            f"SELECT why_not, count(*) FROM finding WHERE source IS NULL AND rule IN ({kept}) GROUP BY why_not"  # noqa: S608 - our rules
        ):
            assert isinstance(number, int)
            reasons[str(why_not)] = number
        # Step 2: findings with a safe merge that the plan did not choose.
        for reason, is_in in ((NOT_CERTAIN, "IN"), (ANOTHER_FIRST, "NOT IN")):
            query = (
                "SELECT count(DISTINCT source) FROM finding WHERE source IS NOT NULL "  # noqa: S608 - our words
                f"AND source NOT IN (SELECT source FROM merge) AND source {is_in} (SELECT source FROM doubtful)"
            )
            (number,) = next(self._table.ask(query))
            if isinstance(number, int) and number:
                reasons[reason] = number
        return dict(sorted(reasons.items()))

    def to_dict(self, most: int | None = None) -> dict[str, Any]:
        """Return the audit as its JSON has it. Identifiers are not masked.

        Args:
            most: How many findings of each rule there may be; None for all.
        """
        return {**self._head(), "findings": [each.to_dict() for each in self._listed(most)]}

    def to_json(self) -> str:
        """Return the audit as JSON, for a later audit's baseline. Identifiers are not masked."""
        return "".join(self.json_parts())

    def json_parts(self) -> Iterator[str]:
        """Yield the JSON, one finding at a time, to be written to a file."""
        yield json.dumps(self._head())[:-1] + ', "findings": [\n'
        for number, each in enumerate(self.findings):
            yield (",\n" if number else "") + json.dumps(each.to_dict())
        yield "\n]}\n"

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON to a file that its owner alone may read.

        Args:
            path: The file.

        Raises:
            OSError: The file cannot be written.
        """
        write_private(Path(path), self.json_parts())

    def to_text(self) -> str:
        """Return a summary for people, without identifiers: how much each rule has found, and what was not checked."""
        lines = [f"{self.profiles} profiles read" + self._compared()]
        for rule in self._head()["rules"]:
            if not rule["checked"]:
                lines.append(f"{rule['rule']}  not checked  {rule['title']}: {rule['because']}")
                continue
            new = f", {rule['new']} new" if self._has_baseline else ""
            planned = f", {rule['planned']} in the plan" if rule["rule"] in _MERGING else ""
            lines.append(f"{rule['rule']}  {rule['found']:>11}  {rule['title']}{new}{planned}")
        return "\n".join(lines) + "\n"

    def report(self, path: str | os.PathLike[str], reveal: bool = False) -> None:  # noqa: FBT001, FBT002 - as documented
        """Write a page that a browser shows without the network. Only its owner may read the file.

        Args:
            path: The file.
            reveal: Write identifiers in full; otherwise they are masked.

        Raises:
            ConfigurationError: The extra ``report`` is not installed.
            OSError: The file cannot be written.
        """
        from safeklaviyo.audit._page import render  # noqa: PLC0415 - needs an extra

        text = render(self.to_dict(_ON_A_PAGE), reveal=reveal)
        write_private(Path(path), [text])

    def close(self) -> None:
        """Remove the temporary file. May be called twice."""
        self._table.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Audit of {self.profiles} profiles: {len(self.findings)} findings>"

    def _listed(self, most: int | None) -> Iterator[Finding]:
        if most is None:
            yield from self.findings
            return
        for rule in RULES:
            yield from self.findings.some(f"AND finding.rule = ? {_ORDER} LIMIT ?", rule, most)

    def _head(self) -> dict[str, Any]:
        found: dict[object, tuple[int, int, int]] = {
            rule: _numbers(rest)
            for rule, *rest in self._table.ask(
                f"SELECT rule, count(*), sum(is_new), sum(is_planned) FROM (SELECT finding.rule AS rule, "  # noqa: S608 - our words
                "baseline.name IS NULL AS is_new, merge.source IS NOT NULL AS is_planned "
                f"{_QUERY[_QUERY.index('FROM') :]}) GROUP BY rule"
            )
        }
        rules: list[dict[str, Any]] = [
            {"rule": rule, "title": title, "checked": rule in self.checked, "because": self.not_checked.get(rule, "")}
            | dict(zip(("found", "new", "planned"), self._counted(rule, found), strict=True))
            for rule, title in RULES.items()
        ]
        plan = {"merges": sum(each["planned"] or 0 for each in rules), "left_out": self._left_out()}
        return {
            "kind": KIND, "version": VERSION, "made_at": self.made_at.isoformat(), "source": self.source,
            "account": self.account, "profiles": self.profiles, "unreadable": self.unreadable,
            "bindings": self.bindings, "rules": rules, "has_baseline": self._has_baseline, "gone": self._gone(),
            "plan": plan,
        }  # fmt: skip

    def _counted(self, rule: str, found: Mapping[object, tuple[int, int, int]]) -> tuple[int | None, ...]:
        return found.get(rule, (0, 0, 0)) if rule in self.checked else (None, None, None)

    def _gone(self) -> int | None:
        """Return how many findings of the baseline this audit no longer has; None without a baseline."""
        if not self._has_baseline:
            return None
        (number,) = next(self._table.ask("SELECT count(*) FROM baseline WHERE name NOT IN (SELECT name FROM finding)"))
        assert isinstance(number, int)
        return number

    def _compared(self) -> str:
        compared = f", {self.bindings} customers of the map" if self.bindings else ""
        return compared + (f", {self.unreadable} rows could not be read" if self.unreadable else "")


def keys_of(baseline: Audit | str | os.PathLike[str]) -> list[str]:
    """Return the keys of the findings of an earlier audit.

    Args:
        baseline: The audit, or the file with its JSON.

    Raises:
        ConfigurationError: The file is no audit.
        OSError: The file cannot be read.
    """
    if isinstance(baseline, Audit):
        return [each.key for each in baseline.findings]
    try:
        given: object = json.loads(Path(baseline).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError):
        given = None
    record = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    listed = record.get("findings")
    if record.get("kind") != KIND or not isinstance(listed, list):
        raise ConfigurationError("the baseline is no audit; give a file that --json, or Audit.to_json, has written")
    return [
        str(cast("dict[str, Any]", each).get("key")) for each in cast("list[object]", listed) if isinstance(each, dict)
    ]


def rows_of(findings: Iterable[Finding]) -> Iterator[tuple[object, ...]]:
    """Return findings as the table keeps them."""
    for each in findings:
        source, stays = each.merge or (None, None)
        yield each.rule, each.key, source, stays, each.why_not, json.dumps(asdict(each))


def _finding(body: object, is_new: object, source: object, stays: object) -> Finding:
    given: dict[str, Any] = json.loads(str(body))
    bound: dict[str, Any] | None = given["binding"]
    given["profiles"] = tuple(Shown(**each) for each in given["profiles"])
    if bound is not None:
        bound["former"] = tuple(bound["former"])
        given["binding"] = ShownBinding(**bound)
    merge = None if source is None else (str(source), str(stays))
    return replace(Finding(**given), new=bool(is_new), merge=merge)


def _numbers(counts: Sequence[object]) -> tuple[int, int, int]:
    found, new, planned = (int(str(each)) for each in counts)
    return found, new, planned


def _planned(found: Finding) -> PlannedMerge:
    shown = {each.profile_id: each for each in found.profiles}
    source, into = found.merge or ("", "")
    return PlannedMerge(shown[source], shown[into], found.rule, found.why, found.key, found.binding)
