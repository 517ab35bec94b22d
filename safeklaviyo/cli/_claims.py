"""The current identifiers of a file's rows, looked at before the first row is imported.

Decided here: a former identifier is not free if any other row of the file has it as a current one, even if that other
row is refused or cannot be read. So a file with former identifiers is read twice. The identifiers are kept in a
temporary database on the disk, which disappears with the command. Memory does not grow with the file.
"""

from __future__ import annotations

import re
import sqlite3
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Self

from safeklaviyo._input.shop_rows import FORMER, claims_of, shop_row_from
from safeklaviyo.errors import InvalidIdentifierError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from safeklaviyo._files.rows import Row
    from safeklaviyo.identity import Identifier
    from safeklaviyo.policy import Policy

_AT_ONCE: Final = 1000

# In a row that cannot be read, no one knows which text is an identifier. So every text that may be one is protected.
_CELLS: Final = re.compile(r"[,;|\t\r\n\"]+")
_WORDS: Final = re.compile(r"[\s,;|\"':=(){}\[\]<>]+")

_TABLES: Final = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    CREATE TABLE former(kind TEXT, value TEXT, PRIMARY KEY(kind, value)) WITHOUT ROWID;
    CREATE TABLE current(kind TEXT, value TEXT);
"""
_SETTLE: Final = """
    CREATE TABLE taken(kind TEXT, value TEXT, PRIMARY KEY(kind, value)) WITHOUT ROWID;
    INSERT OR IGNORE INTO taken SELECT kind, value FROM current AS c
        WHERE EXISTS (SELECT 1 FROM former AS f WHERE f.kind = c.kind AND f.value = c.value);
    DROP TABLE current;
"""


class Claims:
    """The former identifiers of a file that are not free.

    Args:
        rows: All rows of the file.
        policy: The policy of the import.
    """

    def __init__(self, rows: Iterable[Row], policy: Policy) -> None:
        self._policy = policy
        # Without a name: SQLite keeps it in a file that has no name either, or in memory while it is small.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(_TABLES)
        remaining = iter(rows)
        while part := list(islice(remaining, _AT_ONCE)):
            self._note("INSERT INTO current VALUES (?, ?)", (each for row in part for each in self._claims(row)))
            self._note(
                "INSERT OR IGNORE INTO former VALUES (?, ?)", (each for row in part for each in self._former(row))
            )
        self._database.executescript(_SETTLE)
        self._is_empty = self._one("SELECT 1 FROM taken LIMIT 1") is None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def are_against(self, row: Row) -> bool:
        """Tell whether a former identifier of a row is the current one of another row."""
        return not self._is_empty and any(
            self._one("SELECT 1 FROM taken WHERE kind = ? AND value = ?", *each) for each in self._former(row)
        )

    def _claims(self, row: Row) -> Iterator[Identifier]:
        if row.values is not None:
            yield from claims_of(row.values, self._policy)
            return
        for word in {word.strip().lstrip("'") for each in (_CELLS, _WORDS) for word in each.split(row.text)}:
            yield from claims_of({"email" if "@" in word else "external_id": word}, self._policy)

    def _former(self, row: Row) -> tuple[Identifier, ...]:
        if row.values is None or not any(row.values.get(name) for name in FORMER):
            return ()
        try:
            return shop_row_from(row.values, self._policy).former
        except InvalidIdentifierError:
            return ()  # the row will be refused

    def _note(self, statement: str, identifiers: Iterable[Identifier]) -> None:
        self._database.execute("BEGIN")
        self._database.executemany(statement, ((kind.value, value) for kind, value in identifiers))
        self._database.execute("COMMIT")

    def _one(self, statement: str, *values: str) -> Any:
        return self._database.execute(statement, values).fetchone()
