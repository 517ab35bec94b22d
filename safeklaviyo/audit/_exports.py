"""An export of Klaviyo's profiles, read a row at a time.

Decided here: which columns are understood, which words mean which consent, and which rows cannot be read. The caller
names columns in other languages. A shop's file of customers, in place of the map, is read here too.
"""

from __future__ import annotations

import csv
import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from safeklaviyo._files.cells import unguarded
from safeklaviyo._files.columns import NAMES, fields_of
from safeklaviyo._files.encodings import opened
from safeklaviyo._files.rows import Form, Lines, first_line, read_csv, read_jsonl, understood
from safeklaviyo._input.shop_rows import shop_row_from
from safeklaviyo.audit._compared import row_of, storable
from safeklaviyo.audit._table import Customer
from safeklaviyo.errors import ConfigurationError, InvalidIdentifierError
from safeklaviyo.identity import Kind
from safeklaviyo.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from io import TextIOWrapper

    from safeklaviyo._files.encodings import Encoding
    from safeklaviyo.audit._finding import ShownConsent
    from safeklaviyo.audit._table import Row, Table

# First the names in Klaviyo's export, then those of its API, then those that other programs write.
COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "external_id": NAMES["external_id"],
    "email": NAMES["email"],
    "profile_id": NAMES["profile_id"],
    "phone_number": NAMES["phone_number"],
    "first_name": ("first_name", "$first_name", "given_name"),
    "last_name": ("last_name", "$last_name", "family_name"),
    "consent": ("email_marketing_consent", "email_consent", "email_marketing"),
    "suppressed": ("email_suppressions", "email_suppression", "suppressions", "suppressed"),
    "sms": ("sms_marketing_consent", "sms_consent", "sms_marketing"),
    "created": ("profile_created_on", "created", "created_at", "date_added"),
    "last_event": ("last_event_date", "last_active", "last_event"),
}
"""The fields of an export, each with the names of columns that are taken for it."""

_WORDS: Final[dict[str, ShownConsent]] = {
    "subscribed": "subscribed", "yes": "subscribed", "true": "subscribed", "1": "subscribed",
    "unsubscribed": "unsubscribed", "suppressed": "suppressed",
    "neversubscribed": "never_subscribed", "notsubscribed": "never_subscribed", "never": "never_subscribed",
}  # fmt: skip
_NOT_SUPPRESSED: Final = frozenset({"", "[]", "{}", "none", "null", "no", "false", "0", "n/a", "-"})
_UNDECODED: Final = re.compile("[\ud800-\udfff]")
IDENTIFYING: Final = ("external_id", "email", "phone_number")
_AT_ONCE: Final = 5000


@dataclass(frozen=True, slots=True)
class Export:
    """An export of Klaviyo's profiles.

    Attributes:
        path: The file: CSV, or JSON lines if its name ends with ``.jsonl`` or ``.ndjson``.
        columns: Column names by field, for columns that are not recognised. The fields are ``external_id``, ``email``,
            ``profile_id`` (Klaviyo's own id), ``phone_number``, ``first_name``, ``last_name``, ``consent``,
            ``suppressed``, ``sms``, ``created`` and ``last_event``. An empty name means no such column.
        encoding: The file's encoding, if it is not recognised.
    """

    path: str | Path
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    encoding: str | None = None

    def __post_init__(self) -> None:
        unknown = sorted(set(self.columns) - set(COLUMNS))
        if unknown:
            raise ConfigurationError(f"an export has no field {unknown[0]}; it has {', '.join(COLUMNS)}")


@dataclass(frozen=True, slots=True)
class Read:
    """What an export has.

    Attributes:
        fields: The fields with a column.
        unreadable: How many rows could not be read.
    """

    fields: frozenset[str]
    unreadable: int


def read_export(
    export: Export, table: Table, blocked: frozenset[str], on_part: Callable[[int, int, int], object]
) -> Read:
    """Read an export into the table.

    Args:
        export: The export.
        table: Where the profiles are kept.
        blocked: Further identifiers that count as placeholders.
        on_part: Called after each part with the numbers of rows and characters that were read, and of unreadable rows.

    Raises:
        ConfigurationError: The file is no export, or it is not certain which columns are meant.
        OSError: The file cannot be read.
    """
    with _text(export.path, export.encoding) as (file, encoding):
        lines = Lines(file)
        reader = _Reader(blocked, is_guess=encoding.is_guess)
        rows = reader.jsonl(lines, export.columns) if _is_jsonl(export.path) else reader.csv(lines, export.columns)
        done = 0
        while part := list(islice(rows, _AT_ONCE)):
            table.add_profiles(row for row in part if row is not None)
            done += len(part)
            on_part(done, lines.size, reader.unreadable)
    table.note("unreadable", str(reader.unreadable))
    table.commit()
    return Read(frozenset(reader.fields), reader.unreadable)


def read_customers(path: str | Path, table: Table) -> int:
    """Read a shop's file of customers into the table, in place of the map; return how many rows are unusable.

    Raises:
        ConfigurationError: The file is no file of customers.
        OSError: The file cannot be read.
    """
    refused = 0
    policy = Policy()

    def _customers() -> Iterator[tuple[Customer, list[tuple[str, float | None]]]]:
        nonlocal refused
        for number, row in enumerate(rows.rows, start=1):
            try:
                given = shop_row_from(row.values or {}, policy)
            except InvalidIdentifierError:
                refused += 1
                continue
            binding = given.binding
            former: list[tuple[str, float | None]] = [
                (each.value, None) for each in given.former if each.kind is Kind.EMAIL
            ]
            yield Customer(number, binding.external_id, binding.email, binding.profile_id), former

    with _text(path, None) as (file, _):
        rows = (read_jsonl if _is_jsonl(path) else read_csv)(Lines(file), Form({}))
        found = _customers()
        while part := list(islice(found, _AT_ONCE)):
            table.add_customers(part)
    table.commit()
    return refused


class _Reader:
    """Reads rows. For a row that cannot be read it yields None, and counts it.

    Args:
        blocked: Further identifiers that count as placeholders.
        is_guess: The file's encoding is a guess, so that letters beyond ASCII may be wrong.

    Attributes:
        fields: The fields with a column.
        unreadable: How many rows could not be read so far.
    """

    def __init__(self, blocked: frozenset[str], *, is_guess: bool) -> None:
        self._blocked = blocked
        self._is_guess = is_guess
        self.fields: set[str] = set()
        self.unreadable = 0

    def csv(self, lines: Lines, chosen: Mapping[str, str]) -> Iterator[Row | None]:
        """Yield the rows of a CSV file. A row with fewer cells than the header may be cut off, so it is passed over."""
        line, text = first_line(lines)
        fields, cells, delimiter = understood(text, chosen, line, COLUMNS)
        self.fields |= set(fields)
        width = max(number for number, cell in enumerate(cells, start=1) if cell)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            try:
                read = next(reader)
            except StopIteration:
                return
            except csv.Error:
                # The next row begins at the next line, even if the reader has gone further to find the quote's end.
                lines.take(one=True)
                yield self._passed_over()
                continue
            line, text = lines.take()
            if not any(read):
                continue
            if len(read) >= width:
                # Most rows are plain: their cells need no second look.
                plain = [unguarded(cell) for cell in read] if "'" in text else read
                values = [cell.strip() for cell in plain]
                given = {name: values[at] for name, at in fields.items()}
                yield self._row(given, line) if text.isascii() else self._odd_row(given, line)
            else:
                yield self._passed_over()

    def jsonl(self, lines: Lines, chosen: Mapping[str, str]) -> Iterator[Row | None]:
        """Yield the rows of a file that has a JSON object in each line."""
        for content in lines:
            line, _ = lines.take()
            if content.isspace():
                continue
            try:
                read: object = json.loads(content)
            except (ValueError, RecursionError):
                read = None
            if not isinstance(read, dict):
                yield self._passed_over()
                continue
            given = cast("dict[str, object]", read)
            names = list(given)
            # A field that an object lacks is missing in that row only.
            here = {name: column for name, column in chosen.items() if column in {"", *names}}
            fields = fields_of(names, here, COLUMNS)
            self.fields |= set(fields)
            yield self._odd_row({name: _word(given[names[at]]) for name, at in fields.items()}, line)

    def _passed_over(self) -> Row | None:
        self.unreadable += 1
        return None

    def _odd_row(self, given: dict[str, str], line: int) -> Row | None:
        """Return a row with letters beyond ASCII; None if an identifier of the row may be misread."""
        if any(self._is_misread(given.get(name, "")) for name in IDENTIFYING):
            return self._passed_over()
        return self._row({name: storable(value) for name, value in given.items()}, line)

    def _row(self, given: dict[str, str], line: int) -> Row:
        given["sms"] = _consent(given.get("sms", ""))
        given["consent"] = _consent(given.get("consent", ""))
        suppressed = given.get("suppressed")
        if suppressed and suppressed.lower() not in _NOT_SUPPRESSED and given["consent"] != "unsubscribed":
            given["consent"] = "suppressed"
        return row_of(given, line=line, blocked=self._blocked)

    def _is_misread(self, cell: str) -> bool:
        """Tell whether an identifier may be misread: bytes of it are no text, or the file's encoding is a guess."""
        return not cell.isascii() and (self._is_guess or bool(_UNDECODED.search(cell)))


@lru_cache(maxsize=100)
def _consent(cell: str) -> ShownConsent:
    return _WORDS.get(cell.lower().replace("_", "").replace(" ", "").replace("-", ""), "unknown")


def _word(value: object) -> str:
    """Return a JSON value as the text of a CSV cell."""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    return text.strip()


def _is_jsonl(path: str | Path) -> bool:
    return str(path).lower().endswith((".jsonl", ".ndjson"))


@contextmanager
def _text(path: str | Path, encoding: str | None) -> Generator[tuple[TextIOWrapper, Encoding]]:
    with Path(path).open("rb") as file:
        yield opened(file, encoding)
