"""Events and people as files have them: the fields that a verb takes, and every other column as a property.

Decided here: which column is which argument, what an empty cell means, and that a row which cannot be read as a whole
is refused as a whole. Whether its values make sense is decided by the verb. A reason never quotes the row (P8).
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from safeklaviyo._files.cells import unguarded
from safeklaviyo._files.columns import NAMES, fields_of
from safeklaviyo._files.rows import DELIMITERS, Lines, Row, first_line
from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_WHO: Final = {name: NAMES[name] for name in ("external_id", "email", "phone_number")}
OF_EVENT: Final = _WHO | {
    "event": ("event", "event_name", "metric", "metric_name"),
    "unique_id": ("unique_id", "event_id", "$event_id"),
    "time": ("time", "timestamp", "datetime", "$time"),
    "value": ("value", "$value"),
    "value_currency": ("value_currency", "$value_currency"),
}
OF_PERSON: Final = _WHO
_AS_IT_IS: Final = frozenset({
    "customer_properties", "properties", "backfill", "append", "unappend", "unset",
})  # fmt: skip
"""Keys of JSON lines that are arguments, and that no column can be."""
_DECIDES: Final = frozenset({"external_id", "email", "event", "unique_id", "time"})
"""Fields of which a mark for NULL is no empty cell: the verb refuses it."""
_MARKS: Final = frozenset({"\\N", "#N/A", "<NA>", "NaT", "NULL", "null", "NaN", "nan"})
_WHOLE: Final = re.compile(r"[+-]?(?:0|[1-9]\d*)")
_NUMBER: Final = re.compile(r"[+-]?\d+(?:\.\d+)?")
_SECONDS: Final = re.compile(r"\d{9,10}(?:\.\d+)?")
_UNREADABLE: Final = re.compile("[\ud800-\udfff\0]")


@dataclass(frozen=True, slots=True, repr=False)
class Sheet:
    """What the caller says about a file.

    Attributes:
        known: The fields of the verb, each with the names that files give it.
        chosen: The columns that were given for fields.
        numbers: The columns of which the cells are numbers.
        event: The name of every event, where no column has it.
        strips: An apostrophe before a cell is a spreadsheet's, and is taken off.
        is_guess: The file's encoding is a guess.
    """

    known: Mapping[str, tuple[str, ...]]
    chosen: Mapping[str, str] = field(default_factory=dict[str, str])
    numbers: frozenset[str] = frozenset()
    event: str | None = None
    strips: bool = False
    is_guess: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Records:
    """A file that is being read.

    Attributes:
        rows: Its rows; the values of each are the arguments of the verb.
        columns: The names of the fields that columns were found for; None for JSON lines.
        properties: How many columns are properties.
        header: What a file of its refused rows begins with.
        delimiter: That of CSV; None for JSON lines.
    """

    rows: Iterator[Row]
    columns: tuple[str, ...] | None = None
    properties: int = 0
    header: str = ""
    delimiter: str | None = None

    def refused(self, row: Row, reason: str) -> str:
        """Return a refused row with the reason, in a form in which it can be mended and sent again."""
        if self.delimiter is None:
            return json.dumps({"line": row.line, "reason": reason, "row": row.text.strip()}) + "\n"
        return _line([str(row.line), reason], self.delimiter) + self.delimiter + row.text.rstrip("\r\n") + "\n"


def read_csv(lines: Lines, sheet: Sheet) -> Records:
    """Read the header, and return the records.

    Raises:
        ConfigurationError: The first line is no header, or leaves it open which columns are meant.
    """
    line, text = first_line(lines)
    fields, cells, delimiter = _header(text, sheet, line)
    # Of a file of refused rows, which is sent again, the first two columns are not the row's own.
    skipped = 2 if cells[:2] == ["line", "reason"] else 0
    others = {
        number: cell
        for number, cell in enumerate(cells)
        if cell and number >= skipped and number not in fields.values()
    }
    missing = sheet.numbers - set(cells)
    if missing:
        raise ConfigurationError(f"there is no column called {min(missing)}, which --number names")
    reading = _Cells(fields, others, max(number for number, cell in enumerate(cells, start=1) if cell), sheet)
    header = text if skipped else _line(["line", "reason"], delimiter) + delimiter + text
    rows = _csv_rows(lines, delimiter, reading, skipped)
    return Records(rows, tuple(fields), len(others), header.rstrip("\r\n") + "\n", delimiter)


def read_jsonl(lines: Lines, sheet: Sheet) -> Records:
    """Return the records of a file that has a JSON object in each line."""
    return Records(_jsonl_rows(lines, sheet))


def _header(text: str, sheet: Sheet, line: int) -> tuple[dict[str, int], list[str], str]:
    """Return the fields' columns, the names of all columns, and the delimiter with which most fields are found."""
    problem = (
        "no column is called external_id or email; --map external_id=NAME or --map email=NAME says which one it is"
    )
    best: tuple[dict[str, int], list[str], str] | None = None
    for delimiter in DELIMITERS:
        try:
            cells = [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter, strict=True))]
            fields = fields_of(cells, sheet.chosen, sheet.known)
        except csv.Error:
            continue
        except ConfigurationError as error:
            problem = str(error) if text.count(delimiter) else problem
            continue
        if fields.keys().isdisjoint({"external_id", "email"}):
            continue
        if best is None or (len(fields), len(cells)) > (len(best[0]), len(best[1])):
            best = fields, cells, delimiter
    if best is None:
        raise ConfigurationError(f"line {line} has to be a header: {problem}")
    if "event" in sheet.known and "event" not in best[0] and sheet.event is None:
        raise ConfigurationError("no column has the events' names: give --map event=NAME, or --event for all rows")
    return best


@dataclass(frozen=True, slots=True, repr=False)
class _Cells:
    """How the cells of a row become arguments.

    Attributes:
        fields: The column of each field.
        others: The columns of properties.
        width: How many columns the header names.
    """

    fields: Mapping[str, int]
    others: Mapping[int, str]
    width: int
    sheet: Sheet

    def row(self, line: int, text: str, cells: Sequence[str]) -> Row:
        """Return the row."""
        # A row that lacks cells may be cut off in the middle of an identifier.
        if len(cells) < self.width or any(cell.strip() for cell in cells[self.width :]):
            return Row(line, text, None, "the row has not as many cells as the header")
        problem = _unreadable(text, is_guess=self.sheet.is_guess)
        if problem:
            return Row(line, text, None, problem)
        values: dict[str, object] = {}
        for name, number in self.fields.items():
            cell = unguarded(cells[number], strips=self.sheet.strips)
            if cell.strip() and (name in _DECIDES or cell.strip() not in _MARKS):
                values[name] = float(cell) if name == "time" and _SECONDS.fullmatch(cell.strip()) else cell
        properties: dict[str, object] = {}
        for number, name in self.others.items():
            cell = unguarded(cells[number], strips=self.sheet.strips)
            if not cell.strip() or cell.strip() in _MARKS:
                continue
            given = _number(cell) if name in self.sheet.numbers else cell
            if given is None:
                return Row(line, text, None, "a cell of a column of numbers holds no number such as 1234.5")
            properties[name] = given
        return Row(line, text, _with_properties(values, properties, self.sheet))


def _with_properties(values: dict[str, object], properties: dict[str, object], sheet: Sheet) -> dict[str, object]:
    if properties:
        values["properties"] = properties
    if sheet.event is not None:
        values.setdefault("event", sheet.event)
    return values


def _csv_rows(lines: Lines, delimiter: str, cells: _Cells, skipped: int) -> Iterator[Row]:
    # Strict: a quotation mark that is not closed would join the row with the next ones.
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        try:
            read = next(reader)
        except StopIteration:
            return
        except csv.Error:
            # The first line only: those after it may be rows of their own.
            line, text = lines.take(one=True)
            yield Row(
                line, text, None, "the row is no CSV: a quotation mark is stray or not closed, or a cell too long"
            )
            continue
        line, text = lines.take()
        # Spreadsheets write empty rows as delimiters.
        if not text.strip(delimiter + " \t\r\n"):
            continue
        row = cells.row(line, text, read)
        # A row that was refused before is kept without the line and the reason of then.
        yield row if not skipped else Row(line, _line(read[skipped:], delimiter), row.values, row.problem)


def _jsonl_rows(lines: Lines, sheet: Sheet) -> Iterator[Row]:
    for content in lines:
        line, text = lines.take()
        if content.isspace():
            continue
        problem = _unreadable(text, is_guess=sheet.is_guess)
        try:
            read: object = json.loads(content)
        except (ValueError, RecursionError):
            read, problem = None, problem or "the line is no JSON"
        if not problem and not isinstance(read, dict):
            problem = "the line is no JSON object"
        if problem:
            yield Row(line, text, None, problem)
            continue
        yield _json_row(line, text, cast("dict[str, Any]", read), sheet)


def _json_row(line: int, text: str, given: dict[str, Any], sheet: Sheet) -> Row:
    # A line of a file of refused rows holds the line of then.
    if given.keys() == {"line", "reason", "row"} and isinstance(given["row"], str):
        inner = next(_jsonl_rows(Lines([given["row"]]), sheet), None)
        return (
            Row(line, given["row"], None, "the line is no JSON")
            if inner is None
            else Row(line, given["row"], inner.values, inner.problem)
        )
    names = list(given)
    try:
        fields = fields_of(names, sheet.chosen, sheet.known)
    except ConfigurationError as error:
        return Row(line, text, None, str(error))
    values = {name: given[names[number]] for name, number in fields.items() if given[names[number]] is not None}
    own = {name: given[name] for name in names if name in _AS_IT_IS and given[name] is not None}
    taken = {*own, *_AS_IT_IS, *(names[number] for number in fields.values())}
    others = {name: value for name, value in given.items() if name not in taken and value is not None}
    within = own.pop("properties", {})
    if not isinstance(within, dict):
        return Row(line, text, None, "properties is no JSON object")
    if others.keys() & within.keys():
        return Row(line, text, None, "a property stands both beside properties and in it")
    return Row(line, text, _with_properties(values | own, {**within, **others}, sheet))


def _unreadable(text: str, *, is_guess: bool) -> str:
    """Return why a row is not certain to say what the file says; empty if it is."""
    if text.isascii() and "\0" not in text:
        return ""
    if _UNREADABLE.search(text):
        return (
            "the row has null bytes, or bytes that are no text in the file's encoding; give --encoding if it is another"
        )
    return (
        "the row has letters, and the file's encoding is a guess; say which one it is with --encoding"
        if is_guess
        else ""
    )


def _number(cell: str) -> int | float | None:
    text = cell.strip()
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else None


def _line(cells: Sequence[str], delimiter: str) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator="").writerow(cells)
    return file.getvalue()
