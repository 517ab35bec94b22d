"""The identity map as SQLite tables: the schema, its statements, and how a row becomes a value.

Decided here: which table holds what. How the file is opened and locked is in `_database`.

- ``place`` has one row for each identifier: the binding that owns it, and since when it is retired. Its primary key
  keeps rules 1 and 2 of the contract.
- ``lease`` has a lease with all its identifiers in one column; ``leased`` has one row for each of them, to find the
  lease by. The primary key of ``leased`` keeps rule 3.

In a condition, ``+account`` stops SQLite from using the index on the account, which would read all rows of the account
where another index leads to a few rows.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Found, JournalEntry, JournalRow, Match, Notes, Page
from safeklaviyo.stores.rows import LONGEST, LeaseRow, Owner, Rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from sqlite3 import Connection

APPLICATION_ID = 0x5AFE_4B1A
VERSION = 1

SCHEMA = (
    """
    CREATE TABLE binding(
        id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, external_id TEXT, email TEXT, profile_id TEXT,
        phone_number TEXT, verified_at REAL, version INTEGER NOT NULL)
    """,
    "CREATE INDEX binding_of_account ON binding(account)",
    """
    CREATE TABLE place(
        account TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL, binding INTEGER NOT NULL, retired_at REAL,
        PRIMARY KEY(account, kind, value)) WITHOUT ROWID
    """,
    "CREATE INDEX place_retired ON place(binding) WHERE retired_at IS NOT NULL",
    """
    CREATE TABLE lease(
        token INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, identifiers TEXT NOT NULL,
        intent TEXT NOT NULL, expires REAL NOT NULL)
    """,
    """
    CREATE TABLE leased(
        account TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL, token INTEGER NOT NULL,
        PRIMARY KEY(account, kind, value)) WITHOUT ROWID
    """,
    """
    CREATE TABLE journal(
        number INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, at REAL NOT NULL, binding INTEGER NOT NULL,
        profile_id TEXT, external_id TEXT, verb TEXT NOT NULL, old TEXT, new TEXT)
    """,
    "CREATE INDEX journal_of_account ON journal(account)",
    "CREATE INDEX journal_of_binding ON journal(binding, at)",
    """
    CREATE TABLE note(
        account TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY(account, name)) WITHOUT ROWID
    """,
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)
"""Makes the tables of an empty file, inside one transaction."""

BINDING = "b.id, b.external_id, b.email, b.profile_id, b.phone_number, b.verified_at, b.version"
_LEASE = "l.token, l.identifiers, l.intent, l.expires"
_LEASED = "SELECT token FROM leased WHERE account = ? AND "
_LEASED_BINDING = " UNION ALL ".join(
    f"{_LEASED}kind = '{kind}' AND value = b.{kind}" for kind in (Kind.EXTERNAL_ID, Kind.EMAIL, Kind.PROFILE_ID)
)

_FIND_ONE = f"""
    SELECT {BINDING} FROM place AS p JOIN binding AS b ON b.id = p.binding
    WHERE p.account = ? AND p.kind = ? AND p.value = ? AND p.retired_at IS NULL
        AND NOT EXISTS({_LEASED_BINDING})
"""  # noqa: S608 - names of this module's own


_AT_ONCE = 10_000
"""Identifiers in one statement: SQLite takes 32,766 values (its *Implementation Limits*)."""


@lru_cache(maxsize=16)
def _find_all(asked: int) -> str:
    values = ", ".join(f"({n}, ?, ?)" for n in range(asked))
    return f"""
        WITH asked(number, kind, value) AS (VALUES {values})
        SELECT a.number, p.retired_at, {BINDING}, {_LEASE} FROM asked AS a
        LEFT JOIN place AS p ON p.account = ? AND p.kind = a.kind AND p.value = a.value
        LEFT JOIN binding AS b ON b.id = p.binding
        LEFT JOIN lease AS l ON l.token = (SELECT min(token) FROM (
            {_LEASED}kind = a.kind AND value = a.value UNION ALL {_LEASED_BINDING}))
    """  # noqa: S608 - numbers and names of this module's own


def find(connection: Connection, account: str, identifiers: Sequence[Identifier], now: float) -> Found:
    """Find the bindings and the lease of identifiers, in one short statement in the usual case.

    The usual case: the first identifier is current on a binding, the binding has all others too, and no lease covers
    it. All else takes the general statement.
    """
    if not identifiers:
        return Found((), None, now)
    # Many are not one customer's.
    if len(identifiers) > len(Kind):
        return _found(connection, account, identifiers, now)
    kind, value = identifiers[0]
    row = connection.execute(_FIND_ONE, (account, kind.value, value, account, account, account)).fetchone()
    if row is not None:
        binding = binding_of(row)
        # A phone number is never found (contract), so it must not count as found by its value here.
        for kind, value in identifiers[1:]:
            if kind is Kind.PHONE_NUMBER or getattr(binding, kind) != value:
                break
        else:
            return Found(tuple([Match(each, binding) for each in identifiers]), None, now)
    return _found(connection, account, identifiers, now)


def _found(connection: Connection, account: str, identifiers: Sequence[Identifier], now: float) -> Found:
    # By the number of the identifier: the matches come in the order in which the identifiers were asked for.
    matches: list[Match | None] = [None] * len(identifiers)
    leases: list[LeaseRow] = []
    for start in range(0, len(identifiers), _AT_ONCE):
        part = identifiers[start : start + _AT_ONCE]
        asked = [text for kind, value in part for text in (str.__str__(kind), value)]
        for row in connection.execute(_find_all(len(part)), (*asked, account, account, account, account, account)):
            number = start + row[0]
            if row[2] is not None:
                matches[number] = Match(identifiers[number], binding_of(row[2:9]), row[1])
            if row[9] is not None:
                leases.append(_lease(row[9:]))
    lease = min(leases, key=lambda each: each.token).seen_at(now) if leases else None
    return Found(tuple([match for match in matches if match is not None]), lease, now)


class SqlRows(Rows):
    """The rows of one account, inside a transaction of this connection."""

    def __init__(self, connection: Connection, account: str, now: float) -> None:
        self.now = now
        self._run = connection.execute
        self._account = account

    def owner(self, identifier: Identifier) -> Owner | None:
        """See `Rows.owner`."""
        sql = "SELECT binding, retired_at FROM place WHERE account = ? AND kind = ? AND value = ?"
        row = self._one(sql, *self._name(identifier))
        return None if row is None else Owner(str(row[0]), row[1])

    def put(self, identifier: Identifier, owner: Owner) -> None:
        """See `Rows.put`."""
        values = (*self._name(identifier), number_of(owner.key), owner.retired_at)
        self._run("INSERT OR REPLACE INTO place VALUES (?, ?, ?, ?, ?)", values)

    def forget(self, identifier: Identifier) -> None:
        """See `Rows.forget`."""
        self._run("DELETE FROM place WHERE account = ? AND kind = ? AND value = ?", self._name(identifier))

    def retired(self, keys: Iterable[str]) -> Iterable[tuple[str, Identifier, float]]:
        """See `Rows.retired`."""
        asked = {number_of(key): key for key in keys}
        sql = """
            SELECT binding, kind, value, retired_at FROM place
            WHERE binding IN (SELECT value FROM json_each(?)) AND +account = ? AND retired_at IS NOT NULL
        """
        rows = self._run(sql, (json.dumps(list(asked)), self._account)).fetchall()
        return [(asked[number], Identifier(Kind(kind), value), at) for number, kind, value, at in rows]

    def binding(self, key: str) -> Binding | None:
        """See `Rows.binding`."""
        sql = f"SELECT {BINDING} FROM binding AS b WHERE id = ? AND account = ?"  # noqa: S608 - own names
        row = self._one(sql, number_of(key), self._account)
        return None if row is None else binding_of(row)

    def bindings(self, keys: Sequence[str]) -> tuple[Binding, ...]:
        """See `Rows.bindings`."""
        sql = f"""
            SELECT {BINDING} FROM binding AS b WHERE id IN (SELECT value FROM json_each(?)) AND +account = ?
        """  # noqa: S608 - own names
        return tuple(
            [binding_of(row) for row in self._run(sql, (json.dumps(list(map(number_of, keys))), self._account))]
        )

    def page(self, after: str | None, limit: int) -> Page:
        """See `Rows.page`."""
        sql = f"SELECT {BINDING} FROM binding AS b WHERE account = ? AND id > ? ORDER BY id LIMIT ?"  # noqa: S608 - own
        start = 0 if after is None else number_of(after)
        rows = self._run(sql, (self._account, start, limit + 1)).fetchall()
        part = tuple([binding_of(row) for row in rows[:limit]])
        return Page(part, part[-1].key if len(rows) > limit else None)

    def count(self) -> int:
        """See `Rows.count`."""
        return int(self._run("SELECT count(*) FROM binding WHERE account = ?", (self._account,)).fetchone()[0])

    def save(self, binding: Binding) -> Binding:
        """See `Rows.save`."""
        number = number_of(binding.key) if binding.key else None
        values = (binding.external_id, binding.email, binding.profile_id, binding.phone_number)
        sql = "INSERT OR REPLACE INTO binding VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        cursor = self._run(sql, (number, self._account, *values, binding.verified_at, binding.version))
        return binding_of((cursor.lastrowid, *values, binding.verified_at, binding.version))

    def drop(self, key: str) -> None:
        """See `Rows.drop`."""
        self._run("DELETE FROM binding WHERE id = ?", (number_of(key),))

    def token(self, identifier: Identifier) -> int | None:
        """See `Rows.token`."""
        sql = "SELECT token FROM leased WHERE account = ? AND kind = ? AND value = ?"
        row = self._one(sql, *self._name(identifier))
        return None if row is None else int(row[0])

    def lease(self, token: int) -> LeaseRow | None:
        """See `Rows.lease`."""
        sql = f"SELECT {_LEASE} FROM lease AS l WHERE token = ? AND account = ?"  # noqa: S608 - own names
        row = self._one(sql, token, self._account)
        return None if row is None else _lease(row)

    def leases(self, limit: int, *, expired: bool) -> Iterable[LeaseRow]:
        """See `Rows.leases`."""
        sql = f"SELECT {_LEASE} FROM lease AS l WHERE account = :account"  # noqa: S608 - own names
        if expired:
            sql += " AND NOT (expires > :now AND expires <= :latest)"
        given = {"account": self._account, "now": self.now, "latest": self.now + LONGEST, "limit": limit}
        return [_lease(row) for row in self._run(f"{sql} ORDER BY token LIMIT :limit", given)]

    def grant(self, identifiers: frozenset[Identifier], intent: str, expires: float) -> LeaseRow:
        """See `Rows.grant`."""
        names = json.dumps(sorted(identifiers))
        cursor = self._run("INSERT INTO lease VALUES (NULL, ?, ?, ?, ?)", (self._account, names, intent, expires))
        token = int(cursor.lastrowid or 0)
        for identifier in identifiers:
            self._run("INSERT INTO leased VALUES (?, ?, ?, ?)", (*self._name(identifier), token))
        return LeaseRow(token, identifiers, intent, expires)

    def extend(self, token: int, intent: str, expires: float) -> None:
        """See `Rows.extend`."""
        self._run("UPDATE lease SET intent = ?, expires = ? WHERE token = ?", (intent, expires, token))

    def revoke(self, token: int) -> None:
        """See `Rows.revoke`."""
        row = self.lease(token)
        for identifier in () if row is None else row.identifiers:
            sql = "DELETE FROM leased WHERE account = ? AND kind = ? AND value = ?"
            self._run(sql, self._name(identifier))
        self._run("DELETE FROM lease WHERE token = ?", (token,))

    def journal(self, since: float, after: int, limit: int) -> tuple[JournalRow, ...]:
        """See `Rows.journal`."""
        sql = """
            SELECT number, at, binding, profile_id, external_id, verb, old, new FROM journal
            WHERE account = ? AND number > ? AND at >= ? ORDER BY number LIMIT ?
        """
        return tuple([_journal_row(*row) for row in self._run(sql, (self._account, after, since, limit))])

    def write_down(self, row: JournalRow) -> None:
        """See `Rows.write_down`."""
        self._run("INSERT INTO journal VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", self._written(row))

    def is_written_down(self, row: JournalRow) -> bool:
        """See `Rows.is_written_down`."""
        sql = """
            SELECT 1 FROM journal WHERE +account = ? AND at = ? AND binding = ?
                AND profile_id IS ? AND external_id IS ? AND verb = ? AND old IS ? AND new IS ?
        """
        return self._one(sql, *self._written(row)) is not None

    def inherit(self, key: str, heir: str) -> None:
        """See `Rows.inherit`."""
        sql = "UPDATE journal SET binding = ? WHERE +account = ? AND binding = ?"
        self._run(sql, (number_of(heir), self._account, number_of(key)))

    def forget_journal(self, key: str) -> int:
        """See `Rows.forget_journal`."""
        sql = "DELETE FROM journal WHERE +account = ? AND binding = ?"
        return self._run(sql, (self._account, number_of(key))).rowcount

    def recall(self, name: str) -> str | None:
        """See `Rows.recall`."""
        row = self._one("SELECT value FROM note WHERE account = ? AND name = ?", self._account, name)
        return None if row is None else str(row[0])

    def remember(self, name: str, value: str | None) -> None:
        """See `Rows.remember`."""
        if value is None:
            self._run("DELETE FROM note WHERE account = ? AND name = ?", (self._account, name))
        else:
            self._run("INSERT OR REPLACE INTO note VALUES (?, ?, ?)", (self._account, name, value))

    def notes(self, after: str | None, limit: int) -> Notes:
        """See `Rows.notes`."""
        sql = "SELECT name, value FROM note WHERE account = ? AND (? IS NULL OR name > ?) ORDER BY name LIMIT ?"
        rows = self._run(sql, (self._account, after, after, limit + 1)).fetchall()
        part = tuple([(str(name), str(value)) for name, value in rows[:limit]])
        return Notes(part, part[-1][0] if len(rows) > limit else None)

    def _written(self, row: JournalRow) -> tuple[Any, ...]:
        about = (number_of(row.key), row.profile_id, row.external_id)
        return self._account, row.at, *about, row.entry.verb, row.entry.old, row.entry.new

    def _name(self, identifier: Identifier) -> tuple[str, str, str]:
        return self._account, identifier.kind.value, identifier.value

    def _one(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._run(sql, values).fetchone()
        return row


def binding_of(row: Sequence[Any]) -> Binding:
    """Return the binding of a row of the table."""
    number, external_id, email, profile_id, phone_number, verified_at, version = row
    return Binding(external_id, email, profile_id, phone_number, verified_at, version, str(number))


def _journal_row(number: int, at: float, binding: int, *about: str | None) -> JournalRow:
    profile_id, external_id, verb, old, new = about
    return JournalRow(number, at, str(binding), profile_id, external_id, JournalEntry(str(verb), old, new))


def _lease(row: Sequence[Any]) -> LeaseRow:
    token, identifiers, intent, expires = row
    names = frozenset(Identifier(Kind(kind), value) for kind, value in json.loads(identifiers))
    return LeaseRow(token, names, intent, expires)


def number_of(key: str) -> int:
    """Return the row number that a key stands for; 0, which no row has, if the key is not one of this store's."""
    return int(key) if key.isascii() and key.isdigit() and len(key) <= 18 else 0
