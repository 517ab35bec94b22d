"""How values are converted for PostgreSQL and back: parameters, JSON, and the rows of an answer.

PostgreSQL's text cannot contain NUL, so NUL is stored as two other characters.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.records import BindOutcome, Found, JournalEntry, JournalRow, Lease, Match, Notes, Page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from safeklaviyo.stores.records import AddStatus, Change

Rows: TypeAlias = "list[tuple[Any, ...]]"

_ESCAPES: Final = str.maketrans({"\0": "\1" + "0", "\1": "\1" + "1"})


def written(text: str) -> str:
    """Return a text in its stored form, in which NUL is two other characters."""
    return text.translate(_ESCAPES) if "\0" in text or "\1" in text else text


def plain(text: str | None) -> str | None:
    """Return the text of a stored form: the reverse of `written`."""
    if text is None or "\1" not in text:
        return text
    return text.replace("\1" + "0", "\0").replace("\1" + "1", "\1")


def name_of(identifier: Identifier) -> tuple[str, str]:
    """Return an identifier as its kind and its value."""
    return identifier.kind.value, written(identifier.value)


def names_of(identifiers: Sequence[Identifier]) -> str:
    """Return identifiers as JSON, each as its kind and its value."""
    # The usual case, without NUL or its escape, is one call of the encoder; JSON writes both characters as "\\u000…".
    text = json.dumps(identifiers)
    return as_json([name_of(each) for each in identifiers]) if "\\u000" in text else text


def as_json(value: object) -> str:
    """Return a value as compact JSON."""
    return json.dumps(value, separators=(",", ":"))


def number_of(key: str) -> int:
    """Return the row number that a key stands for; 0, which no row has, if the key is not one of this store's."""
    return int(key) if key.isascii() and key.isdigit() and len(key) <= 18 else 0


def columns_of(binding: Binding) -> dict[str, object]:
    """Return the columns of a binding's row, without its key and version."""
    texts = {
        "external_id": binding.external_id,
        "email": binding.email,
        "profile_id": binding.profile_id,
        "phone_number": binding.phone_number,
    }
    return _written(texts) | {"verified_at": binding.verified_at}


def added_rows(bindings: Sequence[Binding]) -> list[dict[str, object]]:
    """Return the columns of rows that are added at once, with ``again`` for those that share an identifier."""
    rows = [columns_of(each) for each in bindings]
    first: dict[tuple[str, object], dict[str, object]] = {}
    for row in rows:
        for name in ("external_id", "email", "profile_id"):
            value = row.get(name)
            if value is not None and first.setdefault((name, value), row) is not row:
                row["again"] = first[name, value]["again"] = True
    return rows


def journal_columns_of(row: JournalRow) -> dict[str, object]:
    """Return the columns of a journal's row, without its number and its binding."""
    texts = {
        "profile_id": row.profile_id,
        "external_id": row.external_id,
        "verb": row.entry.verb,
        "old": row.entry.old,
        "new": row.entry.new,
    }
    return _written(texts) | {"at": row.at}


def _written(texts: Mapping[str, str | None]) -> dict[str, object]:
    return {name: written(text) for name, text in texts.items() if text is not None}


def change_of(change: Change) -> dict[str, object]:
    """Return a change as the SQL function ``bind`` takes it."""
    binding, entry = change.binding, change.journal
    columns = {"id": number_of(binding.key) if binding.key else None, "version": binding.version}
    return {
        "binding": columns | columns_of(binding),
        "verified": change.verified,
        "token": change.token,
        "retire": [name_of(each) for each in sorted(change.retire)],
        "absorb": [number_of(key) for key in change.absorb],
        "journal": None
        if entry is None
        else [None if text is None else written(text) for text in (entry.verb, entry.old, entry.new)],
    }


def read_found(rows: Rows, identifiers: Sequence[Identifier]) -> Found:
    """Read a find: each row has the time, one identifier's owner, the owner's binding, and a lease."""
    # There is at least one row, also for no identifier: its columns but the time are NULL then.
    now = rows[0][0]
    bindings: dict[int, Binding] = {}
    matches: list[Match] = []
    leases: Rows = []
    for row in rows:
        number = row[3]
        if number is not None:
            # One object for each binding: a pair's two matches are the same binding, which need not be built twice.
            if number not in bindings:
                bindings[number] = _binding(row[3:10])
            matches.append(Match(identifiers[int(row[1]) - 1], bindings[number], row[2]))
        if row[10] is not None:
            leases.append(row[10:])
    if not leases:
        return Found(tuple(matches), None, now)
    # The token is the first column, so this is the lease with the lowest token, as the contract wants it.
    token, names, intent, expires = min(leases)
    return Found(tuple(matches), _lease((token, names, intent, expires - now, False)), now)


def _binding(row: Sequence[Any]) -> Binding:
    number, external_id, email, profile_id, phone_number, verified_at, version = row
    texts = (plain(external_id), plain(email), plain(profile_id), plain(phone_number))
    return Binding(*texts, verified_at, version, str(number))


def read_bindings(rows: Rows) -> tuple[Binding, ...]:
    """Read bindings."""
    return tuple([_binding(row) for row in rows])


def read_page(rows: Rows, limit: int) -> Page:
    """Read bindings, of which one more than the limit was asked for."""
    part = read_bindings(rows[:limit])
    return Page(part, part[-1].key if len(rows) > limit else None)


def read_former(rows: Rows, asked: Mapping[int, Binding]) -> tuple[Match, ...]:
    """Read what is retired from the bindings asked for."""
    return tuple(
        [Match(Identifier(Kind(kind), str(plain(value))), asked[number], at) for kind, value, number, at in rows]
    )


def _lease(row: Sequence[Any]) -> Lease:
    token, names, intent, remaining, taken_over = row
    identifiers = frozenset(Identifier(Kind(kind), str(plain(value))) for kind, value in json.loads(names))
    return Lease(token, identifiers, str(plain(intent)), remaining, taken_over)


def read_leases(rows: Rows) -> tuple[Lease, ...]:
    """Read leases."""
    return tuple([_lease(row) for row in rows])


def read_acquired(rows: Rows) -> Lease | None:
    """Read the lease that was taken, if one was."""
    return _lease(rows[0]) if rows else None


def read_outcome(rows: Rows) -> BindOutcome:
    """Read what became of a change."""
    status, *row = rows[0]
    return BindOutcome(status, None if row[0] is None else _binding(row))


def read_statuses(rows: Rows) -> tuple[AddStatus, ...]:
    """Read what became of each row that was to be added."""
    return tuple([row[0] for row in rows])


def read_journal(rows: Rows) -> tuple[JournalRow, ...]:
    """Read rows of the journal."""
    return tuple([_journal_row(*row) for row in rows])


def _journal_row(
    number: int, at: float, binding: int, profile_id: str | None, external_id: str | None, *entry: str | None
) -> JournalRow:
    verb, old, new = map(plain, entry)
    return JournalRow(
        number, at, str(binding), plain(profile_id), plain(external_id), JournalEntry(str(verb), old, new)
    )


def read_one(rows: Rows) -> Any:
    """Read the one value that is the answer."""
    return rows[0][0]


def read_note(rows: Rows) -> str | None:
    """Read a note, if there is one."""
    return plain(rows[0][0]) if rows else None


def read_notes(rows: Rows, limit: int) -> Notes:
    """Read notes, of which one more than the limit was asked for."""
    part = tuple([(str(plain(name)), str(plain(value))) for name, value in rows[:limit]])
    return Notes(part, part[-1][0] if len(rows) > limit else None)
