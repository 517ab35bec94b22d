"""The result of an import so far, with a line on stderr for each row that was refused or was not taken whole."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final

from safeklaviyo._rules.additions import ANOTHER_ROWS
from safeklaviyo.cli._console import complain

if TYPE_CHECKING:
    from safeklaviyo import Klaviyo
    from safeklaviyo._files.rows import Row, Table
    from safeklaviyo.cli._claims import Claims

_TOLD: Final = 100
"""Warnings that are told one by one. More, such as for a column of unusable numbers, would hide the refusals."""


@dataclass(slots=True)
class Report:
    """The result of an import so far.

    Attributes:
        claims: What the whole file says of its former identifiers, if it has any.
        kept: The file for refused rows, if there is one.
    """

    table: Table
    claims: Claims | None
    kept: IO[str] | None
    added: int = 0
    unchanged: int = 0
    refused: int = 0
    verified: int = 0
    _warned: int = 0
    _untold: Counter[str] = field(default_factory=Counter[str])

    def add(self, klaviyo: Klaviyo, part: list[Row], *, trusted: bool, verify: bool) -> None:
        """Add rows to the map, and report those that are refused."""
        # Step 1: refuse what the file alone shows: unreadable rows, and identifiers that another row claims too.
        reasons = {row.line: row.problem for row in part if row.values is None}
        if self.claims is not None:
            reasons |= {row.line: ANOTHER_ROWS for row in part if self.claims.are_against(row)}
        # Step 2: add the others to the map, which may refuse further ones.
        rows = [(row.line, row.values) for row in part if row.values is not None and row.line not in reasons]
        report = klaviyo.bindings.add([values for _, values in rows], trusted=trusted, verify=verify)
        self.added += report.added
        self.unchanged += report.unchanged
        self.verified += report.verified
        reasons |= {rows[number][0]: reason for number, reason in report.refused}
        for number, warning in report.warnings:
            self._warn(rows[number][0], warning)
        # Step 3: report the refused rows in the order of the file.
        for row in part:
            if row.line in reasons:
                self._refuse(row, reasons[row.line])
        # Before the progress is noted: a row that was refused must not be lost with a process that is killed.
        if reasons and self.kept is not None:
            self.kept.flush()

    def sum_up(self) -> None:
        """Say how many warnings of each kind were not told."""
        for warning, number in self._untold.items():
            complain(f"{number} more lines: {warning}")
        self._untold.clear()

    def _warn(self, line: int, warning: str) -> None:
        self._warned += 1
        if self._warned <= _TOLD:
            complain(f"line {line}: {warning}")
        else:
            self._untold[warning] += 1

    def _refuse(self, row: Row, reason: str) -> None:
        self.refused += 1
        complain(f"line {row.line}: {reason}")
        if self.kept is not None:
            self.kept.write(self.table.refused(row, reason))
