"""The words in which the two databases differ, so that each statement of the outbox is written once.

A statement has ``?`` for a parameter. In braces it has the names of the tables, and the words of `Dialect`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final, TypeAlias, TypeVar

from safeklaviyo.stores.outbox.records import LANES, Row

T = TypeVar("T")
Statement: TypeAlias = tuple[str, tuple[Any, ...]]
Rows: TypeAlias = "list[tuple[Any, ...]]"
Steps: TypeAlias = Generator[Statement, Rows, T]

OTHER: Final = (
    "this is another database than the outbox's: give a connection to the outbox's own, or outbox= for this one"
)

COLUMNS = (
    "id, coalesce(born, id), lane, names, profile, verb, payload, unique_id, time, at, due, attempts, unsure, rule,"
    " error"
)


NAME_LENGTH: Final = 32
ESCAPES: Final = str.maketrans({"\0": "\1" + "0", "\1": "\1" + "1"})
"""PostgreSQL's text cannot contain NUL, so the map there stores two other characters for it."""
CHANGING: Final = "!"
"""Begins a mark: a change of email waits for the person with this name."""
RESERVED: Final = "="
"""Begins a mark: a change of email waits, and its new address has this name."""

# Stands in every statement that changes rows of a lane, so that it changes nothing once the lane is lost (H12).
HELD = " AND EXISTS(SELECT 1 FROM {lane} AS held WHERE held.account = ? AND held.lane = ? AND held.token = ?)"


@dataclass(frozen=True, slots=True)
class Dialect:
    """The words of one database.

    Attributes:
        now: The outbox's clock, as an expression.
        in_texts: Whether a text is among the elements of a parameter that is a JSON array.
        in_numbers: The same, for a number.
        names: A table ``e`` with a column ``value``: the names of the row ``o``.
        lanes: A table ``l`` with a column ``value``: the numbers of all lanes.
        json: A parameter that is JSON.
        lock: The clause that locks the rows of a query.
    """

    now: str
    in_texts: str
    in_numbers: str
    names: str
    lanes: str
    json: str
    lock: str

    def filled(self, statement: str, tables: dict[str, str]) -> str:
        """Return a statement with the names of the tables and the words of the database."""
        words = {each.name: getattr(self, each.name) for each in fields(self)}
        return statement.format(**tables, **words, held=HELD.format(**tables))


_CLOCK: Final = ":now"
_AMONG: Final = "IN (SELECT value FROM json_each(?))"
SQLITE: Final = Dialect(
    _CLOCK,
    _AMONG,
    _AMONG,
    "json_each(o.names) AS e",
    f"json_each('{json.dumps(list(range(LANES)))}') AS l",
    "?",
    "",
)
"""The words of SQLite. Its clock is a parameter: `timed` puts the time there."""


def timed(sql: str, parameters: tuple[Any, ...], now: float) -> Statement:
    """Return a statement of SQLite with the time among its parameters, so that its text is always the same.

    SQLite keeps the plans of statements by their text.
    """
    plain, is_clock = _marks_of(sql)
    if not is_clock:
        return plain, parameters
    left = iter(parameters)
    return plain, tuple([now if each else next(left) for each in is_clock])


@lru_cache(maxsize=256)
def _marks_of(sql: str) -> tuple[str, tuple[bool, ...]]:
    """Return a statement with ``?`` alone, and which of these are the time; no marks where none is."""
    marks = [mark == _CLOCK for mark in re.findall(rf"\?|{_CLOCK}", sql)]
    return sql.replace(_CLOCK, "?"), tuple(marks) if any(marks) else ()


POSTGRES: Final = Dialect(
    "extract(epoch FROM clock_timestamp())::double precision",
    # Not IN (SELECT …): that is a join, which PostgreSQL plans badly while it has no statistics of a table that grows.
    "= ANY(ARRAY(SELECT jsonb_array_elements_text(CAST(? AS jsonb))))",
    "= ANY(ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(? AS jsonb)) AS bigint)))",
    "jsonb_array_elements_text(o.names) AS e(value)",
    f"generate_series(0, {LANES - 1}) AS l(value)",
    "CAST(? AS jsonb)",
    " FOR UPDATE",
)
"""The words of PostgreSQL."""


def holding_of(call: Any) -> tuple[Any, ...]:
    """Return the parameters of ``{held}``."""
    return call.account, call.lane, call.token


def as_json(values: Sequence[object]) -> str:
    """Return values as compact JSON."""
    return json.dumps(list(values), separators=(",", ":"))


def names_as_json(names: Sequence[str]) -> str:
    """Return names or marks as JSON. They have no character that has to be escaped, so `json` need not be asked."""
    return '["' + '","'.join(names) + '"]' if names else "[]"


def texts_of(value: Any) -> tuple[str, ...]:
    """Return the names in a JSON value. Some drivers decode JSON themselves, others return its text."""
    return tuple(json.loads(value) if isinstance(value, str | bytes) else value)


def row_of(row: Sequence[Any]) -> Row:
    """Return a row of the table, given the values of `COLUMNS`."""
    number, born, lane, names, profile, verb, payload, unique_id, time, at, due, attempts, unsure, rule, error = row
    return Row(
        number, born, lane, texts_of(names), profile, verb, payload, unique_id, time, at, due, attempts, bool(unsure),
        rule, error,
    )  # fmt: skip
