"""Customers as text: CSV and JSON lines, read and written a row at a time.

Decided here: which delimiter a file has, which lines are not rows, how a cell is written that a spreadsheet would take
for a formula, and how refused rows are written. Whether the map accepts a row is decided in
`_flows.verbs.add_bindings`. The reason of a refusal never quotes the row (P8).

The header decides the delimiter: it is the one with which the header has the most known columns. `csv.Sniffer` looks at
the distances between letters instead: of 96 files of the shape ``id, email, name`` it found another delimiter in 14,
and none in a file of one column.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, cast

from safeklaviyo._files.cells import csv_line, ended, guarded, has_apostrophe, own_columns, unguarded
from safeklaviyo._files.columns import FIELDS, NAMES, fields_of
from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from safeklaviyo.models import Binding

COLUMNS: Final = ("external_id", "email", "profile_id", "phone_number")
"""The columns of an exported map."""

DELIMITERS: Final = (",", ";", "\t", "|")


_LONGEST: Final = 200
"""Lines of one row. A quotation mark that is never closed would make the rest of the file one row."""

_TOLD: Final = 10
"""Columns that a warning names."""

_KEPT: Final = ("line", "reason")
"""The columns that stand before a refused row."""

_FORMER: Final = ("former_emails", "former_external_ids")

_STRAY: Final = "the row is no CSV: a quotation mark in it is stray or not closed"
_TOO_LONG: Final = "the row is no CSV: a cell of it is too long"
_APOSTROPHE: Final = (
    "the external_id begins with an apostrophe, which Shopify and spreadsheets put before numbers; "
    "--strip-apostrophes takes it off"
)

# Excel's own line before the header, which tells it the delimiter.
_EXCELS: Final = re.compile(r'"?sep=.?"?\s*', re.IGNORECASE)
_UNDECODED: Final = re.compile("[\ud800-\udfff]")
# What tells that the first line is a customer already.
_DATA: Final = re.compile(r"[^\s,;|\t]@[^\s,;|\t]")


@dataclass(frozen=True, slots=True, repr=False)
class Row:
    """One row of a file.

    Attributes:
        line: The number of its first line, from 1.
        text: The row as it is in the file.
        values: Its values by the field's name; None if the row cannot be read.
        problem: The reason why it cannot be read.
    """

    line: int
    text: str
    values: dict[str, object] | None
    problem: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Form:
    """What the caller says about a file.

    Attributes:
        chosen: The names of columns that were given for fields.
        is_guess: The file's encoding is a guess.
        strips: An apostrophe before a cell is a spreadsheet's and is taken off.
    """

    chosen: Mapping[str, str]
    is_guess: bool = False
    strips: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Table:
    """A file of rows that is being read.

    Attributes:
        header: What a file of its refused rows begins with.
        refused: Writes a row and why it was refused, in a form in which the row can be mended and imported again.
        found: What was found out about the file, for people; empty if all is as `export_file` writes it.
        has_former: There may be former identifiers in it.
    """

    rows: Iterator[Row]
    header: str
    refused: Callable[[Row, str], str]
    found: str = ""
    has_former: bool = True


class Lines:
    """The lines of a file. They are kept until `take`, because one row of CSV may have several lines.

    Attributes:
        size: How many characters were read.
    """

    def __init__(self, file: Iterable[str]) -> None:
        self._file = iter(file)
        self._again: list[str] = []
        self._kept: list[str] = []
        self._first = 1
        self.size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self._kept) >= _LONGEST:
            raise csv.Error
        if self._again:
            line = self._again.pop()
        else:
            line = next(self._file)
            self.size += len(line)
        self._kept.append(line)
        return line

    def take(self, *, one: bool = False) -> tuple[int, str]:
        """Return the number of the first line since the last `take`, and the text of all lines since then.

        Args:
            one: Take the first line only; the others are read again.
        """
        if one:
            self._again += reversed(self._kept[1:])
            del self._kept[1:]
        first, text = self._first, "".join(self._kept)
        self._first += len(self._kept)
        self._kept.clear()
        return first, text


def read_csv(lines: Lines, form: Form) -> Table:
    """Read the header, and return the table.

    Raises:
        ConfigurationError: The first line is no header, or leaves it open which columns are meant.
    """
    line, text = first_line(lines)
    fields, cells, delimiter = understood(text, form.chosen, line)
    # Columns at the end that have no name are those of delimiters at the end of lines.
    width = max(number for number, cell in enumerate(cells, start=1) if cell)
    rows = _csv_rows(lines, delimiter, _Cells(fields, width, form))
    prefix = csv_line(_KEPT, delimiter) + delimiter
    # A file of refused rows that is imported again has these two columns already. They are replaced, not doubled.
    again = own_columns(delimiter) if cells[:2] == list(_KEPT) else None

    def _without(row: str) -> str:
        return row if again is None else again.sub("", row, count=1)

    def _refused(row: Row, reason: str) -> str:
        return csv_line([str(row.line), reason], delimiter) + delimiter + _without(ended(row.text))

    found = _found(fields, cells, delimiter, form.chosen)
    has_former = not fields.keys().isdisjoint(_FORMER)
    return Table(rows, prefix + _without(ended(text)), _refused, found, has_former)


def read_jsonl(lines: Lines, form: Form) -> Table:
    """Return the table of a file that has a JSON object in each line."""

    def _refused(row: Row, reason: str) -> str:
        try:
            given = json.loads(row.text)
        except (ValueError, RecursionError):
            given = None
        kept = cast("dict[str, object]", given) if isinstance(given, dict) else {"text": row.text.strip()}
        if tuple(kept)[:2] == _KEPT:  # this library's own, of the import before
            kept = {name: kept[name] for name in tuple(kept)[2:]}
        return json.dumps({"line": row.line, "reason": reason} | kept) + "\n"

    return Table(_jsonl_rows(lines, form), "", _refused)


def csv_writer(file: IO[str]) -> Callable[[Binding], object]:
    """Write the header, and return what writes a binding."""
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    return lambda binding: writer.writerow([guarded(getattr(binding, name)) for name in COLUMNS])


def jsonl_writer(file: IO[str]) -> Callable[[Binding], object]:
    """Return what writes a binding."""

    def _write(binding: Binding) -> None:
        given = {name: value for name in COLUMNS if (value := getattr(binding, name)) is not None}
        file.write(json.dumps(given) + "\n")

    return _write


def first_line(lines: Lines) -> tuple[int, str]:
    """Return the header's line, after empty ones and Excel's."""
    for content in lines:
        line, text = lines.take()
        if content.strip() and not _EXCELS.fullmatch(content):
            return line, text
    raise ConfigurationError("the file is empty; its first line has to be a header that names the columns")


def understood(
    text: str, chosen: Mapping[str, str], line: int, known: Mapping[str, tuple[str, ...]] = NAMES
) -> tuple[dict[str, int], list[str], str]:
    """Return the fields' columns, the names of all columns, and the delimiter.

    Raises:
        ConfigurationError: No delimiter leaves a column for the email.
    """
    problem = "no column is called email; --map email=NAME says which one it is"
    best: tuple[dict[str, int], list[str], str] | None = None
    for delimiter in DELIMITERS:
        try:
            cells = [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter, strict=True))]
        except csv.Error:
            continue
        try:
            fields = fields_of(cells, chosen, known)
        except ConfigurationError as error:
            # A name that is missing with one delimiter may be there with another. Of several complaints the one with
            # the delimiter that divides the line is about the file.
            problem = str(error) if len(cells) > 1 or delimiter == DELIMITERS[0] else problem
            continue
        if "email" in fields and (best is None or (len(fields), len(cells)) > (len(best[0]), len(best[1]))):
            best = fields, cells, delimiter
    if best is not None:
        return best
    # The line is not quoted: in a file without a header it is a customer (P8).
    if _DATA.search(text):
        problem = "it has an address and no names of columns; put a line such as external_id,email before it"
    raise ConfigurationError(f"line {line} has to be a header: {problem}")


@dataclass(frozen=True, slots=True, repr=False)
class _Cells:
    """How the cells of a row become its values.

    Attributes:
        fields: The column of each field.
        width: How many columns the header names.
    """

    fields: Mapping[str, int]
    width: int
    form: Form

    def row(self, line: int, text: str, cells: list[str]) -> Row:
        """Return the row."""
        # Cells beyond the header are harmless where they are empty. A row that lacks cells may be cut off in the middle
        # of an identifier.
        if len(cells) < self.width or any(cell.strip() for cell in cells[self.width :]):
            return Row(line, text, None, "the row has not as many cells as the header")
        values: dict[str, object] = {}
        for field, number in self.fields.items():
            cell = cells[number]
            # Not for an address, which may begin so, nor for a phone number, which costs no row.
            if field == "external_id" and not self.form.strips and has_apostrophe(cell):
                return Row(line, text, None, _APOSTROPHE)
            values[field] = unguarded(cell, strips=self.form.strips)
        return _readable(line, text, values, self.form)


def _readable(line: int, text: str, values: dict[str, object], form: Form) -> Row:
    """Return the row, unless a value may not be what the file says."""
    for field, value in values.items():
        problem = _misread(value, is_guess=form.is_guess)
        if problem:
            return Row(line, text, None, f"the {field} has {problem}")
    return Row(line, text, values)


def _misread(cell: object, *, is_guess: bool) -> str:
    """Return why a value is not certain to be what the file says; empty if it is."""
    if not isinstance(cell, str) or cell.isascii():
        return ""
    if _UNDECODED.search(cell):
        return "bytes that are no text in the file's encoding; if that is another one, give --encoding"
    # A name may be misread and costs nothing, because it is passed over. An identifier would be another customer's.
    return "letters, and the file's encoding is a guess; say which one it is with --encoding" if is_guess else ""


def _csv_rows(lines: Lines, delimiter: str, cells: _Cells) -> Iterator[Row]:
    # Strict: a quotation mark that is not closed would join the row with the next ones, and a stray one would change
    # a cell.
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        try:
            read = next(reader)
        except StopIteration:
            return
        except csv.Error:
            # The first line only: those after it may be rows of their own.
            line, text = lines.take(one=True)
            problem = _TOO_LONG if len(text) > csv.field_size_limit() else _STRAY
            yield Row(line, text, None, problem)
            continue
        line, text = lines.take()
        # Spreadsheets write empty rows as delimiters.
        if text.strip(delimiter + " \t\r\n"):
            yield cells.row(line, text, read)


def _jsonl_rows(lines: Lines, form: Form) -> Iterator[Row]:
    for content in lines:
        line, text = lines.take()
        if content.isspace():
            continue
        try:
            read: object = json.loads(content)
        except (ValueError, RecursionError):
            yield Row(line, text, None, "the line is no JSON")
            continue
        if not isinstance(read, dict):
            yield Row(line, text, None, "the line is no JSON object")
            continue
        given = cast("dict[str, object]", read)
        names = list(given)
        try:
            values = {field: given[names[at]] for field, at in fields_of(names, form.chosen).items()}
        except ConfigurationError as error:
            yield Row(line, text, None, str(error))
        else:
            yield _readable(line, text, values, form)


def _found(fields: Mapping[str, int], cells: list[str], delimiter: str, chosen: Mapping[str, str]) -> str:
    """Say what was taken for what, unless all is plain."""
    passed_over = sum(bool(cell) for cell in cells) - len(fields)
    if delimiter == DELIMITERS[0] and not passed_over and all(cells[at] == field for field, at in fields.items()):
        return ""
    # These names are known ones, or the caller's own: no name of a customer is among them.
    named = {field: cells[fields[field]] for field in FIELDS if field in fields}
    taken = ", ".join(field if field == name else f"{field} from {name}" for field, name in named.items())
    between = {"\t": "tabs", ";": "semicolons", "|": "bars"}.get(delimiter, "commas")
    columns = "1 column" if passed_over == 1 else f"{passed_over} columns"
    found = f"{between} between the columns; {taken}; {columns} passed over"
    is_without = "external_id" not in fields and "external_id" not in chosen
    return found + _guests(fields, cells) if passed_over and is_without else found


def _guests(fields: Mapping[str, int], cells: list[str]) -> str:
    """Warn that the shop's customers become guests without their ids, which is seen only when a call with an id fails.

    Such a line has a column for the email, so it is a header, and its names may be told; but no address (P8).
    """
    unknown = [cell for at, cell in enumerate(cells) if cell and at not in fields.values()]
    told = [cell for cell in unknown if cell.isprintable() and not _DATA.search(cell)]
    named = ", ".join(told[:_TOLD]) + (", …" if len(told) > _TOLD else "")
    return (
        f"\nWARNING: no column is taken for external_id, so every row becomes a guest. Passed over: {named}. If one of "
        "these holds the shop's ids, stop and add --map external_id=NAME; if none does, --map external_id="
    )
