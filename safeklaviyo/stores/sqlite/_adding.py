"""Many rows of an import at once, in SQLite.

Decided here: what the rows are about is read before the first of them, with a few statements for all, and what they
change is written after the last. A row is certainly new if the map knows none of its identifiers, and no other row has
one of them. All other rows are judged by `semantics`, one after the other, as in any other store.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores import semantics
from safeklaviyo.stores.calls import Add
from safeklaviyo.stores.rows import OWNED, Owner
from safeklaviyo.stores.sqlite._tables import BINDING, SqlRows, binding_of, number_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from sqlite3 import Connection

    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import AddStatus

_PART: Final = 500
"""Values in one statement. SQLite takes 999 and more (its *Implementation Limits*)."""

_X, _E, _P = (kind.value for kind in OWNED)
_NEXT: Final = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'binding'"


def add(connection: Connection, account: str, now: float, bindings: Sequence[Binding]) -> tuple[AddStatus, ...]:
    """Add rows, inside a transaction of this connection."""
    ids, emails, profiles = ([getattr(each, name) for each in bindings] for name in (_X, _E, _P))
    rows = _AddedRows(connection, account, now, dict(zip(OWNED, (ids, emails, profiles), strict=True)))
    concerned_x, concerned_e, concerned_p = (rows.concerned(kind, given) for kind, given in rows.asked.items())
    statuses: list[AddStatus] = []
    for binding, external_id, email, profile_id in zip(bindings, ids, emails, profiles, strict=True):
        if external_id in concerned_x or email in concerned_e or profile_id in concerned_p:
            statuses += semantics.perform(rows, Add(account, (binding,)))
        else:
            rows.make(binding, external_id, email, profile_id)
            statuses.append("added")
    rows.flush()
    return tuple(statuses)


class _AddedRows(SqlRows):
    """The rows of one account while rows are added: read at the beginning, and written by `flush`.

    Attributes:
        asked: The values of each kind that the added rows have, None included.
    """

    def __init__(self, connection: Connection, account: str, now: float, asked: dict[Kind, list[str | None]]) -> None:
        super().__init__(connection, account, now)
        self._many = connection.executemany
        self.asked = asked
        self._wanted = {kind: {value for value in values if value is not None} for kind, values in asked.items()}
        self._owners = {
            identifier: Owner(str(key), at) for identifier, key, at in self._named("place", "binding, retired_at")
        }
        # Most maps have no lease at most times.
        has_leases = self._one("SELECT 1 FROM leased WHERE account = ? LIMIT 1", account) is not None
        leased = self._named("leased", "token, NULL") if has_leases else ()
        self._tokens = {identifier: int(token) for identifier, token, _ in leased}
        keys = {owner.key for owner in self._owners.values() if owner.retired_at is None}
        self._bindings = {binding.key: binding for binding in self._read(keys)}
        self._next = int(self._run(_NEXT).fetchone()[0])
        self._made: list[tuple[Any, ...]] = []
        self._placed: list[tuple[Any, ...]] = []
        self._saved: dict[str, Binding] = {}

    def concerned(self, kind: Kind, given: Sequence[str | None]) -> set[str | None]:
        """Return the values that the map knows, or that several of the added rows have."""
        known: set[str | None] = {each.value for each in (*self._owners, *self._tokens) if each.kind is kind}
        if len(self._wanted[kind]) + given.count(None) < len(given):
            known |= {value for value, times in Counter(given).items() if times > 1 and value is not None}
        return known

    def make(self, binding: Binding, external_id: str | None, email: str | None, profile_id: str | None) -> None:
        """Write a new binding. The map knows none of its identifiers."""
        self._next = number = self._next + 1
        account, phone_number = self._account, binding.phone_number
        self._made.append((number, account, external_id, email, profile_id, phone_number, binding.verified_at, 1))
        if external_id is not None:
            self._placed.append((account, _X, external_id, number, None))
        if email is not None:
            self._placed.append((account, _E, email, number, None))
        if profile_id is not None:
            self._placed.append((account, _P, profile_id, number, None))

    def owner(self, identifier: Identifier) -> Owner | None:
        """See `Rows.owner`."""
        return self._owners.get(identifier)

    def put(self, identifier: Identifier, owner: Owner) -> None:
        """See `Rows.put`."""
        if self._owners.get(identifier) != owner:
            self._owners[identifier] = owner
            place = (*self._name(identifier), number_of(owner.key), owner.retired_at)
            self._placed.append(place)

    def binding(self, key: str) -> Binding | None:
        """See `Rows.binding`."""
        return self._bindings.get(key)

    def save(self, binding: Binding) -> Binding:
        """See `Rows.save`."""
        if not binding.key:
            self._next += 1
            binding = replace(binding, key=str(self._next))
        self._bindings[binding.key] = self._saved[binding.key] = binding
        return binding

    def token(self, identifier: Identifier) -> int | None:
        """See `Rows.token`."""
        # A binding that is filled in may have identifiers that no row names.
        is_read = identifier.value in self._wanted[identifier.kind]
        return self._tokens.get(identifier) if is_read else super().token(identifier)

    def flush(self) -> None:
        """Write what has changed."""
        self._made += [
            (number_of(key), self._account, each.external_id, each.email, each.profile_id, each.phone_number,
             each.verified_at, each.version)
            for key, each in self._saved.items()
        ]  # fmt: skip
        self._many("INSERT OR REPLACE INTO binding VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self._made)
        # In the order of the table, so that rows that stand together are written together. Each identifier is there
        # once: one that was given to a binding by a row stays with it.
        self._many("INSERT OR REPLACE INTO place VALUES (?, ?, ?, ?, ?)", sorted(self._placed, key=itemgetter(0, 1, 2)))

    def _named(self, table: str, columns: str) -> Iterator[tuple[Identifier, Any, Any]]:
        """Yield the rows of a table about the identifiers that were asked for."""
        for kind, wanted in self._wanted.items():
            for part in _parts(wanted):
                marks = ", ".join("?" * len(part))
                sql = f"SELECT value, {columns} FROM {table} WHERE account = ? AND kind = ? AND value IN ({marks})"  # noqa: S608 - own names
                for value, first, second in self._run(sql, (self._account, kind.value, *part)):
                    yield Identifier(kind, value), first, second

    def _read(self, keys: Collection[str]) -> Iterator[Binding]:
        for part in _parts(map(number_of, keys)):
            marks = ", ".join("?" * len(part))
            sql = f"SELECT {BINDING} FROM binding AS b WHERE id IN ({marks}) AND +account = ?"  # noqa: S608 - own names
            for row in self._run(sql, (*part, self._account)):
                yield binding_of(row)


def _parts(values: Iterable[Any]) -> Iterator[list[Any]]:
    given = list(values)
    for start in range(0, len(given), _PART):
        yield given[start : start + _PART]
