"""The identity map in memory: for tests, and for one process that may forget everything when it ends.

Decided here: that the rows are dictionaries under one lock, and that an operation is done whole or not at all, also
where a signal handler raises in the middle of it. The contract is in `base`, its logic in `_ledger`.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Self, TypeVar

from safeklaviyo.errors import StoreUnavailableError
from safeklaviyo.stores import _ledger
from safeklaviyo.stores._ledger import LeaseRow, Place, Rows
from safeklaviyo.stores._twin import Twin
from safeklaviyo.stores.base import Found, IdentityStore, JournalRow, Lease, Match, Notes, Page

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from safeklaviyo.identity import Identifier
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import AddStatus, BindOutcome, Change

K = TypeVar("K")
V = TypeVar("V")


@dataclass(slots=True)
class _Last:
    """The numbers given last, in all accounts: what one account was given means nothing in another."""

    key: int = 0
    token: int = 0
    row: int = 0


class _Account(Rows):
    """One account's rows. What the containers hold never changes, so that copying them copies the account.

    As a context it is one operation: what was changed in it is undone if it raises.
    """

    def __init__(self, last: _Last) -> None:
        self.last = last
        self.places: dict[Identifier, Place] = {}
        self.bindings: dict[str, Binding] = {}
        self.leases: dict[int, LeaseRow] = {}
        self.covered: dict[Identifier, int] = {}
        self.journal: list[JournalRow] = []
        self.written: set[JournalRow] = set()  # the journal's rows, with the number 0
        self.notes: dict[str, str] = {}
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []  # what the operation has changed, and what stood there
        self._begun: list[JournalRow] = self.journal
        self._rows_begun = 0

    def __enter__(self) -> Self:
        self._undo.clear()
        self._begun, self._rows_begun = self.journal, len(self.journal)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            return
        while self._undo:
            table, name, value = self._undo.pop()
            _put(table, name, value)
        if self.journal is not self._begun or len(self.journal) != self._rows_begun:
            self.keep(self._begun[: self._rows_begun])

    def _set(self, table: dict[K, V], name: K, value: V | None) -> None:
        """Let an entry have this value, or with None be gone; what it was is kept until the operation is done."""
        self._undo.append((table, name, table.get(name)))
        _put(table, name, value)

    def copy(self, last: _Last) -> _Account:
        """Return an account that changes apart from this one."""
        twin = _Account(last)
        for name, value in vars(self).items():
            if name != "last" and not name.startswith("_"):
                setattr(twin, name, value.copy())
        return twin

    def place(self, identifier: Identifier) -> Place | None:
        """See `Rows.place`."""
        return self.places.get(identifier)

    def put(self, identifier: Identifier, place: Place) -> None:
        """See `Rows.put`."""
        self._set(self.places, identifier, place)

    def forget(self, identifier: Identifier) -> None:
        """See `Rows.forget`."""
        self._set(self.places, identifier, None)

    def retired(self, key: str) -> dict[Identifier, float]:
        """See `Rows.retired`."""
        return {
            identifier: place.retired_at
            for identifier, place in self.places.items()
            if place.key == key and place.retired_at is not None
        }

    def binding(self, key: str) -> Binding | None:
        """See `Rows.binding`."""
        return self.bindings.get(key)

    def save(self, binding: Binding) -> Binding:
        """See `Rows.save`."""
        if not binding.key:
            self.last.key += 1
            binding = replace(binding, key=f"{self.last.key:012d}")
        self._set(self.bindings, binding.key, binding)
        return binding

    def drop(self, key: str) -> None:
        """See `Rows.drop`."""
        self._set(self.bindings, key, None)

    def token(self, identifier: Identifier) -> int | None:
        """See `Rows.token`."""
        return self.covered.get(identifier)

    def lease(self, token: int) -> LeaseRow | None:
        """See `Rows.lease`."""
        return self.leases.get(token)

    def grant(self, identifiers: frozenset[Identifier], intent: str, expires: float) -> LeaseRow:
        """See `Rows.grant`."""
        self.last.token += 1
        row = LeaseRow(self.last.token, identifiers, intent, expires)
        self._set(self.leases, row.token, row)
        for identifier in identifiers:
            self._set(self.covered, identifier, row.token)
        return row

    def extend(self, token: int, intent: str, expires: float) -> None:
        """See `Rows.extend`."""
        self._set(self.leases, token, replace(self.leases[token], intent=intent, expires=expires))

    def revoke(self, token: int) -> None:
        """See `Rows.revoke`."""
        for identifier in self.leases[token].identifiers:
            self._set(self.covered, identifier, None)
        self._set(self.leases, token, None)

    def write_down(self, row: JournalRow) -> None:
        """See `Rows.write_down`."""
        self.last.row += 1
        self.journal.append(replace(row, number=self.last.row))
        self.written.add(row)

    def is_written_down(self, row: JournalRow) -> bool:
        """See `Rows.is_written_down`."""
        return row in self.written

    def inherit(self, key: str, heir: str) -> None:
        """See `Rows.inherit`."""
        self.keep([replace(row, key=heir) if row.key == key else row for row in self.journal])

    def keep(self, journal: list[JournalRow]) -> None:
        """Let these be the journal's rows."""
        self.journal = journal
        self.written = {replace(row, number=0) for row in journal}

    def find(self, identifiers: Sequence[Identifier], now: float) -> Found:
        """Return what is known of these identifiers."""
        places = [(each, place) for each in identifiers if (place := self.places.get(each)) is not None]
        matches = tuple(Match(each, self.bindings[place.key], place.retired_at) for each, place in places)
        concerned = {*identifiers, *(each for match in matches for each in _ledger.owned(match.binding))}
        tokens = [self.covered[each] for each in concerned if each in self.covered]
        return Found(matches, self.leases[min(tokens)].seen_at(now) if tokens else None, now)


def _put(table: dict[K, V], name: K, value: V | None) -> None:
    if value is None:
        table.pop(name, None)
    else:
        table[name] = value


class MemoryStore(IdentityStore):
    """The identity map of one process. `copy.deepcopy` takes a snapshot of it.

    Args:
        clock: The store's clock, in unix seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = Lock()
        self._is_closed = False
        self._last = _Last()
        self._accounts: dict[str, _Account] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = type(self)(clock=copy.deepcopy(self._clock, memo))
        memo[id(self)] = twin
        with self._lock:
            last = replace(self._last)
            accounts = {name: account.copy(last) for name, account in self._accounts.items()}
            vars(twin).update(_accounts=accounts, _last=last, _is_closed=self._is_closed)
        return twin

    def find(self, account: str, identifiers: Sequence[Identifier]) -> Found:
        """See `IdentityStore.find`."""
        with self._lock, self._rows(account) as rows:
            return rows.find(identifiers, self._clock())

    def acquire(self, account: str, identifiers: frozenset[Identifier], *, intent: str, ttl: float) -> Lease | None:
        """See `IdentityStore.acquire`."""
        with self._lock, self._rows(account) as rows:
            return _ledger.acquire(rows, identifiers, intent, ttl, self._clock())

    def renew(self, account: str, token: int, *, ttl: float, intent: str | None = None) -> bool:
        """See `IdentityStore.renew`."""
        with self._lock, self._rows(account) as rows:
            return _ledger.renew(rows, token, ttl, intent, self._clock())

    def release(self, account: str, token: int) -> bool:
        """See `IdentityStore.release`."""
        with self._lock, self._rows(account) as rows:
            return _ledger.release(rows, token)

    def bind(self, account: str, change: Change) -> BindOutcome:
        """See `IdentityStore.bind`."""
        with self._lock, self._rows(account) as rows:
            return _ledger.bind(rows, change, self._clock())

    def add(self, account: str, bindings: Sequence[Binding]) -> tuple[AddStatus, ...]:
        """See `IdentityStore.add`."""
        with self._lock, self._rows(account) as rows:
            return tuple(_ledger.add(rows, binding) for binding in bindings)

    def remove(self, account: str, identifier: Identifier) -> bool:
        """See `IdentityStore.remove`."""
        with self._lock, self._rows(account) as rows:
            return _ledger.remove(rows, identifier)

    def release_identifier(self, account: str, identifier: Identifier) -> bool:
        """See `IdentityStore.release_identifier`."""
        with self._lock, self._rows(account) as rows:
            return _ledger.release_identifier(rows, identifier)

    def expired(self, account: str, limit: int) -> tuple[Lease, ...]:
        """See `IdentityStore.expired`."""
        with self._lock, self._rows(account) as rows:
            now = self._clock()
            over = sorted(token for token, row in rows.leases.items() if row.expires <= now)
            return tuple(rows.leases[token].seen_at(now) for token in over[:limit])

    def leases(self, account: str, limit: int) -> tuple[Lease, ...]:
        """See `IdentityStore.leases`."""
        with self._lock, self._rows(account) as rows:
            now = self._clock()
            return tuple(rows.leases[token].seen_at(now) for token in sorted(rows.leases)[:limit])

    def journal(self, account: str, *, since: float, after: int = 0, limit: int = 1000) -> tuple[JournalRow, ...]:
        """See `IdentityStore.journal`."""
        with self._lock, self._rows(account) as rows:
            return tuple(row for row in rows.journal if row.number > after and row.at >= since)[:limit]

    def forget_journal(self, account: str, key: str) -> int:
        """See `IdentityStore.forget_journal`."""
        with self._lock, self._rows(account) as rows:
            kept = [row for row in rows.journal if row.key != key]
            gone = len(rows.journal) - len(kept)
            rows.keep(kept)
            return gone

    def page(self, account: str, *, after: str | None = None, limit: int = 1000) -> Page:
        """See `IdentityStore.page`."""
        with self._lock, self._rows(account) as rows:
            keys = sorted(key for key in rows.bindings if after is None or key > after)
            part = tuple(rows.bindings[key] for key in keys[:limit])
            return Page(part, part[-1].key if len(keys) > limit else None)

    def bindings(self, account: str, keys: Sequence[str]) -> tuple[Binding, ...]:
        """See `IdentityStore.bindings`."""
        with self._lock, self._rows(account) as rows:
            return tuple(rows.bindings[key] for key in dict.fromkeys(keys) if key in rows.bindings)

    def former(self, account: str, bindings: Sequence[Binding]) -> tuple[Match, ...]:
        """See `IdentityStore.former`."""
        with self._lock, self._rows(account) as rows:
            asked = {binding.key: binding for binding in bindings}
            return tuple(
                Match(identifier, asked[place.key], place.retired_at)
                for identifier, place in rows.places.items()
                if place.retired_at is not None and place.key in asked
            )

    def restore(self, account: str, former: Sequence[Match]) -> int:
        """See `IdentityStore.restore`."""
        with self._lock, self._rows(account) as rows:
            return sum([_ledger.restore(rows, match) for match in former])

    def restore_journal(self, account: str, rows: Sequence[tuple[Binding, JournalRow]]) -> int:
        """See `IdentityStore.restore_journal`."""
        with self._lock, self._rows(account) as here:
            return sum([_ledger.restore_journal(here, binding, row) for binding, row in rows])

    def count(self, account: str) -> int:
        """See `IdentityStore.count`."""
        with self._lock, self._rows(account) as rows:
            return len(rows.bindings)

    def recall(self, account: str, name: str) -> str | None:
        """See `IdentityStore.recall`."""
        with self._lock, self._rows(account) as rows:
            return rows.notes.get(name)

    def remember(self, account: str, name: str, value: str | None) -> None:
        """See `IdentityStore.remember`."""
        with self._lock, self._rows(account) as rows:
            if value is None:
                rows.notes.pop(name, None)
            else:
                rows.notes[name] = value

    def notes(self, account: str, *, after: str | None = None, limit: int = 1000) -> Notes:
        """See `IdentityStore.notes`."""
        with self._lock, self._rows(account) as rows:
            names = sorted(name for name in rows.notes if after is None or name > after)
            part = tuple((name, rows.notes[name]) for name in names[:limit])
            return Notes(part, part[-1][0] if len(names) > limit else None)

    def close(self) -> None:
        """See `IdentityStore.close`."""
        with self._lock:
            self._is_closed = True

    def _rows(self, account: str) -> _Account:
        # The lock is taken by each caller itself: where Python code took it, a signal handler that raises in between
        # would leave it taken.
        if self._is_closed:
            raise StoreUnavailableError("the identity map has been closed; open it again")
        return self._accounts.setdefault(account, _Account(self._last))


class AsyncMemoryStore(Twin):
    """The asynchronous twin of `MemoryStore`, which never makes anybody wait.

    Args:
        clock: The store's clock, in unix seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(MemoryStore(clock=clock))
