"""Bindings as text: CSV and JSON lines, read and written a row at a time.

Decided here: how a cell is written that a spreadsheet would take for a formula, and which lines are not rows. Whether
the map accepts a row is decided in `_flows.verbs.bindings`. The reason of a refusal never quotes the row (P8).
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, cast

from safeklaviyo.cli._map import COLUMNS
from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from safeklaviyo.models import Binding

# The beginnings that make a cell a formula (OWASP's "CSV Injection"), full-width characters included.
_FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_GUARD: Final = "'"
_GUARDED: Final = (*_FORMULA, _GUARD)


@dataclass(frozen=True, slots=True, repr=False)
class Row:
    """One row of a file.

    Attributes:
        line: The number of its first line, from 1.
        text: The row as it is in the file.
        values: Its values by name; None if the row cannot be read.
        problem: The reason why it cannot be read.
    """

    line: int
    text: str
    values: dict[str, object] | None
    problem: str = ""


class Lines:
    """The lines of a file. They are kept until `take`, because one row of CSV may have several lines.

    Attributes:
        size: How many characters were read.
    """

    def __init__(self, file: Iterable[str]) -> None:
        self._file = iter(file)
        self._kept: list[str] = []
        self._first = 1
        self.size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self._kept.append(line)
        self.size += len(line)
        return line

    def take(self) -> tuple[int, str]:
        """Return the number of the first line since the last `take`, and the text of all lines since then."""
        first, text = self._first, "".join(self._kept)
        self._first += len(self._kept)
        self._kept.clear()
        return first, text


def read_csv(lines: Lines) -> tuple[str, Iterator[Row]]:
    """Return the header's text, and the rows.

    Raises:
        ConfigurationError: The first line is no header.
    """
    reader = csv.reader(lines)
    header = [cell.strip() for cell in next(reader, list[str]())]
    if "email" not in header or not set(COLUMNS).issuperset(header) or len(set(header)) < len(header):
        # The message does not quote the line: in a file without a header it is a customer (P8).
        raise ConfigurationError(f"the first line has to be a header: email, and of {', '.join(COLUMNS)} what there is")
    return lines.take()[1], _csv_rows(lines, reader, header)


def read_jsonl(lines: Lines) -> tuple[str, Iterator[Row]]:
    """Return no header, and the rows."""
    return "", _jsonl_rows(lines)


def csv_writer(file: IO[str]) -> Callable[[Binding], object]:
    """Write the header, and return what writes a binding."""
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    return lambda binding: writer.writerow([_guarded(getattr(binding, name)) for name in COLUMNS])


def jsonl_writer(file: IO[str]) -> Callable[[Binding], object]:
    """Return what writes a binding."""

    def write(binding: Binding) -> None:
        given = {name: value for name in COLUMNS if (value := getattr(binding, name)) is not None}
        file.write(json.dumps(given) + "\n")

    return write


def _csv_rows(lines: Lines, reader: Iterator[list[str]], header: list[str]) -> Iterator[Row]:
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield Row(*lines.take(), None, "the row is no CSV")
            continue
        line, text = lines.take()
        if len(cells) == len(header):
            yield Row(line, text, dict(zip(header, map(_unguarded, cells), strict=True)))
        elif cells:
            yield Row(line, text, None, "the row has not as many cells as the header")


def _jsonl_rows(lines: Lines) -> Iterator[Row]:
    for content in lines:
        line, text = lines.take()
        if content.isspace():
            continue
        try:
            values: object = json.loads(content)
        except (ValueError, RecursionError):
            yield Row(line, text, None, "the line is no JSON")
            continue
        if isinstance(values, dict):
            yield Row(line, text, cast("dict[str, object]", values))
        else:
            yield Row(line, text, None, "the line is no JSON object")


def _guarded(cell: str | None) -> str:
    """Return the cell in a form that a spreadsheet takes for text."""
    return _GUARD + cell if cell is not None and cell.startswith(_GUARDED) else cell or ""


def _unguarded(cell: str) -> str:
    """Return the cell that `_guarded` was given."""
    return cell[1:] if cell.startswith(_GUARD) and cell[1:].startswith(_GUARDED) else cell
