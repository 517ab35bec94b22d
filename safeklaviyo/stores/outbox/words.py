"""The words of the two databases, with which each statement of the outbox is written once.

A statement has ``?`` for a parameter, and in braces the names of the tables and the words of `Dialect`.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass, fields
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
"""Begins a mark: a change of email waits of a person with this name."""
RESERVED: Final = "="
"""Begins a mark: a change of email waits whose new address has this name."""

HELD = " AND EXISTS(SELECT 1 FROM {lane} AS held WHERE held.account = ? AND held.lane = ? AND held.token = ?)"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the two databases differ.

    Attributes:
        now: The clock of the outbox, as SQL.
        texts: The elements of a JSON array that is a parameter, as a query.
        numbers: The same, as numbers.
        names: The names of the row ``o``, as a table ``e`` whose column is ``value``.
        lanes: The numbers of all lanes, as a table ``l`` whose column is ``value``.
        json: A parameter that is JSON.
        lock: Locks the rows that were read.
    """

    now: str
    texts: str
    numbers: str
    names: str
    lanes: str
    json: str
    lock: str

    def filled(self, statement: str, tables: dict[str, str]) -> str:
        """Return a statement with the names of the tables and the words of the database."""
        words = {each.name: getattr(self, each.name) for each in fields(self)}
        return statement.format(**tables, **words, held=HELD.format(**tables))


def sqlite_dialect(now: float) -> Dialect:
    """Return the words of SQLite."""
    texts = "SELECT value FROM json_each(?)"
    lanes = f"json_each('{json.dumps(list(range(LANES)))}') AS l"
    return Dialect(repr(now), texts, texts, "json_each(o.names) AS e", lanes, "?", "")


POSTGRES: Final = Dialect(
    "extract(epoch FROM clock_timestamp())::double precision",
    "SELECT jsonb_array_elements_text(CAST(? AS jsonb))",
    "SELECT CAST(jsonb_array_elements_text(CAST(? AS jsonb)) AS bigint)",
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


def texts_of(value: Any) -> tuple[str, ...]:
    """Return a list of names. Some drivers read JSON themselves."""
    return tuple(json.loads(value) if isinstance(value, str | bytes) else value)


def row_of(row: Sequence[Any]) -> Row:
    """Return a row of the columns above."""
    number, born, lane, names, profile, verb, payload, unique_id, time, at, due, attempts, unsure, rule, error = row
    return Row(
        number, born, lane, texts_of(names), profile, verb, payload, unique_id, time, at, due, attempts, bool(unsure),
        rule, error,
    )  # fmt: skip
