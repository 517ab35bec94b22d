"""What is asked of the identity map in PostgreSQL: for each operation its statement, its parameters, and its answer.

Decided here: how values travel. A query is executed by whoever holds a connection, as one statement; what the
statements call is in ``version_1.sql``. PostgreSQL's text holds no NUL, so that character is written as two others.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from safeklaviyo.errors import StoreIncompatibleError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import BindOutcome, Found, JournalEntry, JournalRow, Lease, Match, Notes, Page
from safeklaviyo.stores.postgres import _schema as schema
from safeklaviyo.stores.semantics import owned

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from safeklaviyo.stores.base import AddStatus, Change

T = TypeVar("T")
Rows: TypeAlias = "list[tuple[Any, ...]]"

SCAN: Final = 60.0
PER_ROW: Final = 0.005
_ESCAPES: Final = str.maketrans({"\0": "\1" + "0", "\1": "\1" + "1"})
_SETTING: Final = "SELECT max(number), current_setting('transaction_read_only') = 'on' FROM {}.version"


@dataclass(frozen=True, slots=True)
class Query(Generic[T]):
    """One statement.

    Attributes:
        parameters: None for a text of several statements.
        read: Makes the result of the rows.
        patience: Seconds that it may take beyond the store's timeout.
        has_rows: There is an answer to read.
    """

    statement: bytes
    parameters: tuple[object, ...] | None
    read: Callable[[Rows], T]
    patience: float = 0.0
    has_rows: bool = True


class Queries:
    """The queries of an identity map in one schema."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._schema = schema.quoted(name)
        self._find = self._call("find", 2)
        self._acquire = self._call("acquire", 4)
        self._bind = self._call("bind", 2)
        self._add = self._call("add", 2)

    def find(self, account: str, identifiers: Sequence[Identifier]) -> Query[Found]:
        """See `IdentityStore.find`."""

        def read(rows: Rows) -> Found:
            return _found(rows, identifiers)

        return Query(self._find, (written(account), _names(identifiers)), read)

    def acquire(self, account: str, identifiers: frozenset[Identifier], intent: str, ttl: float) -> Query[Lease | None]:
        """See `IdentityStore.acquire`."""
        values = (written(account), _names(sorted(identifiers)), written(intent), ttl)
        return Query(self._acquire, values, _acquired)

    def renew(self, account: str, token: int, ttl: float, intent: str | None) -> Query[bool]:
        """See `IdentityStore.renew`."""
        values = (written(account), token, ttl, None if intent is None else written(intent))
        return Query(self._call("renew", 4), values, _one)

    def release(self, account: str, token: int) -> Query[bool]:
        """See `IdentityStore.release`."""
        return Query(self._call("release", 2), (written(account), token), _one)

    def bind(self, account: str, change: Change) -> Query[BindOutcome]:
        """See `IdentityStore.bind`."""
        return Query(self._bind, (written(account), _json(_change(change))), _outcome)

    def add(self, account: str, bindings: Sequence[Binding]) -> Query[tuple[AddStatus, ...]]:
        """See `IdentityStore.add`."""
        rows = _json([_columns(each) for each in bindings])
        return Query(self._add, (written(account), rows), _statuses, PER_ROW * len(bindings))

    def remove(self, account: str, identifier: Identifier) -> Query[bool]:
        """See `IdentityStore.remove`."""
        return Query(self._call("remove", 3), (written(account), *_name(identifier)), _one)

    def release_identifier(self, account: str, identifier: Identifier) -> Query[bool]:
        """See `IdentityStore.release_identifier`."""
        return Query(self._call("release_identifier", 3), (written(account), *_name(identifier)), _one)

    def expired(self, account: str, limit: int) -> Query[tuple[Lease, ...]]:
        """See `IdentityStore.expired`."""
        statement = self._own(
            "SELECT token, identifiers, intent, expires - now, false FROM {0}.lease, {0}.clock() AS now"
            " WHERE account = %s AND expires <= now ORDER BY token LIMIT %s"
        )
        return Query(statement, (written(account), limit), _leases, SCAN)

    def leases(self, account: str, limit: int) -> Query[tuple[Lease, ...]]:
        """See `IdentityStore.leases`."""
        statement = self._own(
            "SELECT token, identifiers, intent, expires - now, false FROM {0}.lease, {0}.clock() AS now"
            " WHERE account = %s ORDER BY token LIMIT %s"
        )
        return Query(statement, (written(account), limit), _leases, SCAN)

    def journal(self, account: str, since: float, after: int, limit: int) -> Query[tuple[JournalRow, ...]]:
        """See `IdentityStore.journal`."""
        statement = self._own(
            "SELECT number, at, binding, profile_id, external_id, verb, old, new FROM {0}.journal_page(%s, %s, %s, %s)"
        )
        return Query(statement, (written(account), since, after, limit), _journal, SCAN)

    def forget_journal(self, account: str, key: str) -> Query[int]:
        """See `IdentityStore.forget_journal`."""
        statement = self._own(
            "WITH gone AS (DELETE FROM {0}.journal WHERE account = %s AND binding = %s RETURNING number)"
            " SELECT count(*) FROM gone"
        )
        return Query(statement, (written(account), _number(key)), _one)

    def page(self, account: str, after: str | None, limit: int) -> Query[Page]:
        """See `IdentityStore.page`."""
        statement = self._own(
            "SELECT id, external_id, email, profile_id, phone_number, verified_at, version FROM {0}.page(%s, %s, %s)"
        )

        def read(rows: Rows) -> Page:
            part = tuple([_binding(row) for row in rows[:limit]])
            return Page(part, part[-1].key if len(rows) > limit else None)

        return Query(statement, (written(account), 0 if after is None else _number(after), limit + 1), read, SCAN)

    def bindings(self, account: str, keys: Sequence[str]) -> Query[tuple[Binding, ...]]:
        """See `IdentityStore.bindings`."""
        statement = self._own(
            "SELECT id, external_id, email, profile_id, phone_number, verified_at, version FROM"
            " (SELECT * FROM {0}.binding WHERE id = ANY(%s) OFFSET 0) AS b WHERE account = %s"
        )
        return Query(statement, ([_number(key) for key in keys], written(account)), _bindings, SCAN)

    def former(self, account: str, bindings: Sequence[Binding]) -> Query[tuple[Match, ...]]:
        """See `IdentityStore.former`."""
        asked = {_number(binding.key): binding for binding in bindings}
        statement = self._own(
            "SELECT kind, value, binding, retired_at FROM"
            " (SELECT * FROM {0}.place WHERE binding = ANY(%s) AND retired_at IS NOT NULL OFFSET 0) AS p"
            " WHERE account = %s"
        )

        def read(rows: Rows) -> tuple[Match, ...]:
            return tuple([_former(kind, value, asked[number], at) for kind, value, number, at in rows])

        return Query(statement, (list(asked), written(account)), read, SCAN)

    def restore(self, account: str, former: Sequence[Match]) -> Query[int]:
        """See `IdentityStore.restore`."""
        rows = [
            (*_name(owner), *_name(match.identifier), match.retired_at)
            for match in former
            for owner in owned(match.binding)[:1]
        ]
        return Query(self._call("restore", 2), (written(account), _json(rows)), _one, PER_ROW * len(former))

    def restore_journal(self, account: str, rows: Sequence[tuple[Binding, JournalRow]]) -> Query[int]:
        """See `IdentityStore.restore_journal`."""
        told = [([_name(each) for each in owned(binding)], _journal_columns(row)) for binding, row in rows]
        return Query(self._call("restore_journal", 2), (written(account), _json(told)), _one, PER_ROW * len(rows))

    def count(self, account: str) -> Query[int]:
        """See `IdentityStore.count`."""
        statement = self._own("SELECT count(*) FROM {0}.binding WHERE account = %s")
        return Query(statement, (written(account),), _one, SCAN)

    def recall(self, account: str, name: str) -> Query[str | None]:
        """See `IdentityStore.recall`."""
        statement = self._own("SELECT value FROM {0}.note WHERE account = %s AND name = %s")
        return Query(statement, (written(account), written(name)), _note)

    def remember(self, account: str, name: str, value: str | None) -> Query[None]:
        """See `IdentityStore.remember`."""
        key = (written(account), written(name))
        if value is None:
            return Query(
                self._own("DELETE FROM {0}.note WHERE account = %s AND name = %s"), key, _nothing, has_rows=False
            )
        statement = self._own(
            "INSERT INTO {0}.note VALUES (%s, %s, %s) ON CONFLICT (account, name) DO UPDATE SET value = excluded.value"
        )
        return Query(statement, (*key, written(value)), _nothing, has_rows=False)

    def notes(self, account: str, after: str | None, limit: int) -> Query[Notes]:
        """See `IdentityStore.notes`."""
        statement = self._own("SELECT name, value FROM {0}.note_page(%s, %s, %s)")
        place = None if after is None else written(after)

        def read(rows: Rows) -> Notes:
            part = tuple([(str(_plain(name)), str(_plain(value))) for name, value in rows[:limit]])
            return Notes(part, part[-1][0] if len(rows) > limit else None)

        return Query(statement, (written(account), place, limit + 1), read, SCAN)

    def check(self) -> Query[bool]:
        """Make sure that the map is of this version; True if it is read-only."""
        return Query(self._own(_SETTING), (), _checked)

    def migration(self) -> Generator[Query[Any], Any, None]:
        """Yield what has to be asked, one after the other, to make the map where it is missing.

        Raises:
            StoreIncompatibleError: Something else stands there.
        """
        is_there = yield Query(b"SELECT to_regclass(%s) IS NOT NULL", (f"{self._schema}.version",), _one)
        if not is_there:
            text = schema.migration_sql(self._name).encode()
            try:
                yield Query(text, None, _nothing, SCAN, has_rows=False)
            except StoreIncompatibleError:
                pass  # another process may have been faster
            else:
                return
        yield self.check()

    def _call(self, function: str, arguments: int) -> bytes:
        return self._own(f"SELECT * FROM {{0}}.{function}({', '.join(['%s'] * arguments)})")  # noqa: S608 - own names

    def _own(self, statement: str) -> bytes:
        # A per cent sign in the schema's name must not look like a parameter.
        return statement.format(self._schema.replace("%", "%%")).encode()


def written(text: str) -> str:
    """Return a text as it is stored: NUL, which PostgreSQL cannot hold, as two other characters."""
    return text.translate(_ESCAPES) if "\0" in text or "\1" in text else text


def _plain(text: str | None) -> str | None:
    if text is None or "\1" not in text:
        return text
    return text.replace("\1" + "0", "\0").replace("\1" + "1", "\1")


def _names(identifiers: Sequence[Identifier]) -> str:
    """Return identifiers as JSON, each as its kind and its value."""
    text = json.dumps(identifiers)
    return _json([_name(each) for each in identifiers]) if "\\u000" in text else text


def _name(identifier: Identifier) -> tuple[str, str]:
    return identifier.kind.value, written(identifier.value)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _columns(binding: Binding) -> dict[str, object]:
    texts = {
        "external_id": binding.external_id,
        "email": binding.email,
        "profile_id": binding.profile_id,
        "phone_number": binding.phone_number,
    }
    columns: dict[str, object] = {name: written(text) for name, text in texts.items() if text is not None}
    return columns | {"verified_at": binding.verified_at}


def _journal_columns(row: JournalRow) -> dict[str, object]:
    texts = {
        "profile_id": row.profile_id,
        "external_id": row.external_id,
        "verb": row.entry.verb,
        "old": row.entry.old,
        "new": row.entry.new,
    }
    columns: dict[str, object] = {name: written(text) for name, text in texts.items() if text is not None}
    return columns | {"at": row.at}


def _change(change: Change) -> dict[str, object]:
    binding, entry = change.binding, change.journal
    columns = {"id": _number(binding.key) if binding.key else None, "version": binding.version}
    return {
        "binding": columns | _columns(binding),
        "verified": change.verified,
        "token": change.token,
        "retire": [_name(each) for each in sorted(change.retire)],
        "absorb": [_number(key) for key in change.absorb],
        "journal": None
        if entry is None
        else [None if text is None else written(text) for text in (entry.verb, entry.old, entry.new)],
    }


def _number(key: str) -> int:
    """Return the row number that a key stands for; 0, which is no row's, if it is not a key of this store."""
    return int(key) if key.isascii() and key.isdigit() and len(key) <= 18 else 0


def _found(rows: Rows, identifiers: Sequence[Identifier]) -> Found:
    """Read a find: each row has the time, one identifier's place, that place's binding, and a lease."""
    now = rows[0][0]
    bindings: dict[int, Binding] = {}
    matches: list[Match] = []
    leases: Rows = []
    for row in rows:
        number = row[3]
        if number is not None:
            if number not in bindings:
                bindings[number] = _binding(row[3:10])
            matches.append(Match(identifiers[int(row[1]) - 1], bindings[number], row[2]))
        if row[10] is not None:
            leases.append(row[10:])
    if not leases:
        return Found(tuple(matches), None, now)
    token, names, intent, expires = min(leases)
    return Found(tuple(matches), _lease((token, names, intent, expires - now, False)), now)


def _binding(row: Sequence[Any]) -> Binding:
    number, external_id, email, profile_id, phone_number, verified_at, version = row
    texts = (_plain(external_id), _plain(email), _plain(profile_id), _plain(phone_number))
    return Binding(*texts, verified_at, version, str(number))


def _bindings(rows: Rows) -> tuple[Binding, ...]:
    return tuple([_binding(row) for row in rows])


def _former(kind: str, value: str, binding: Binding, retired_at: float) -> Match:
    return Match(Identifier(Kind(kind), str(_plain(value))), binding, retired_at)


def _lease(row: Sequence[Any]) -> Lease:
    token, names, intent, remaining, taken_over = row
    identifiers = frozenset(Identifier(Kind(kind), str(_plain(value))) for kind, value in json.loads(names))
    return Lease(token, identifiers, str(_plain(intent)), remaining, taken_over)


def _leases(rows: Rows) -> tuple[Lease, ...]:
    return tuple([_lease(row) for row in rows])


def _acquired(rows: Rows) -> Lease | None:
    return _lease(rows[0]) if rows else None


def _outcome(rows: Rows) -> BindOutcome:
    status, *row = rows[0]
    return BindOutcome(status, None if row[0] is None else _binding(row))


def _statuses(rows: Rows) -> tuple[AddStatus, ...]:
    return tuple([row[0] for row in rows])


def _journal(rows: Rows) -> tuple[JournalRow, ...]:
    return tuple([_journal_row(*row) for row in rows])


def _journal_row(
    number: int, at: float, binding: int, profile_id: str | None, external_id: str | None, *entry: str | None
) -> JournalRow:
    verb, old, new = map(_plain, entry)
    return JournalRow(
        number, at, str(binding), _plain(profile_id), _plain(external_id), JournalEntry(str(verb), old, new)
    )


def _one(rows: Rows) -> Any:
    return rows[0][0]


def _note(rows: Rows) -> str | None:
    return _plain(rows[0][0]) if rows else None


def _nothing(_: Rows) -> None:
    """Read no rows."""


def _checked(rows: Rows) -> bool:
    version, is_read_only = rows[0]
    schema.check(version)
    return bool(is_read_only)
