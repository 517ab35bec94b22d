"""The identity map in memory: for tests, and for one process that may lose its map when it ends.

Decided here: the rows are dictionaries under one lock, and an undo log makes an operation whole or nothing, also where
a signal handler raises in the middle of it. The contract is in `base`, its logic in `semantics`.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field, fields, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Self, TypeVar

from safeklaviyo.errors import StoreUnavailableError
from safeklaviyo.stores import semantics
from safeklaviyo.stores.adapter import AsyncAdapter
from safeklaviyo.stores.base import IdentityStore, Notes, Page
from safeklaviyo.stores.rows import LeaseRow, Owner, Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from safeklaviyo.identity import Identifier
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import JournalRow
    from safeklaviyo.stores.calls import Call

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


@dataclass(slots=True)
class _Last:
    """The numbers given last. All accounts share them, so that a token or key of one account is none in another."""

    key: int = 0
    token: int = 0
    row: int = 0


@dataclass
class _Account:
    """The rows of one account. The values in the containers are immutable, so a shallow copy copies the account.

    Attributes:
        covered: The token of the lease that covers an identifier.
        written: The journal's rows, each with the number 0, to find out whether a row is written already.
    """

    last: _Last
    owners: dict[Identifier, Owner] = field(default_factory=dict["Identifier", Owner])
    bindings: dict[str, Binding] = field(default_factory=dict["str", "Binding"])
    leases: dict[int, LeaseRow] = field(default_factory=dict[int, LeaseRow])
    covered: dict[Identifier, int] = field(default_factory=dict["Identifier", int])
    journal: list[JournalRow] = field(default_factory=list["JournalRow"])
    written: set[JournalRow] = field(default_factory=set["JournalRow"])
    notes: dict[str, str] = field(default_factory=dict[str, str])

    def copy(self, last: _Last) -> _Account:
        """Return a copy; a change of either account does not show in the other."""
        return _Account(last, *[getattr(self, each.name).copy() for each in fields(self)[1:]])


class _Rows(Rows):
    """One operation on an account, as a context manager: an operation that raises is undone."""

    def __init__(self, account: _Account, now: float) -> None:
        self.now = now
        self._of = account
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []  # each entry changed: table, name, value before
        # The journal needs no undo log: it only grows, or is replaced by a new list, which leaves this one as it is.
        self._journal, self._written = account.journal, len(account.journal)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            return
        # Last change first: of an entry that was changed twice, the oldest value has to win.
        while self._undo:
            table, name, value = self._undo.pop()
            _put(table, name, value)
        if self._of.journal is not self._journal or len(self._journal) != self._written:
            self._keep(self._journal[: self._written])

    def _set(self, table: dict[K, V], name: K, value: V | None) -> None:
        """Set an entry, or with None delete it, and note its value before in the undo log."""
        # The note comes first: a signal handler that raises in between finds an undo step that changes nothing.
        self._undo.append((table, name, table.get(name)))
        _put(table, name, value)

    def owner(self, identifier: Identifier) -> Owner | None:
        """See `Rows.owner`."""
        return self._of.owners.get(identifier)

    def put(self, identifier: Identifier, owner: Owner) -> None:
        """See `Rows.put`."""
        self._set(self._of.owners, identifier, owner)

    def forget(self, identifier: Identifier) -> None:
        """See `Rows.forget`."""
        self._set(self._of.owners, identifier, None)

    def retired(self, keys: Iterable[str]) -> Iterable[tuple[str, Identifier, float]]:
        """See `Rows.retired`."""
        asked = frozenset(keys)
        return [
            (owner.key, identifier, owner.retired_at)
            for identifier, owner in self._of.owners.items()
            if owner.key in asked and owner.retired_at is not None
        ]

    def binding(self, key: str) -> Binding | None:
        """See `Rows.binding`."""
        return self._of.bindings.get(key)

    def bindings(self, keys: Sequence[str]) -> tuple[Binding, ...]:
        """See `Rows.bindings`."""
        return tuple([self._of.bindings[key] for key in dict.fromkeys(keys) if key in self._of.bindings])

    def page(self, after: str | None, limit: int) -> Page:
        """See `Rows.page`."""
        keys = sorted(key for key in self._of.bindings if after is None or key > after)
        return Page(self.bindings(keys[:limit]), keys[limit - 1] if len(keys) > limit else None)

    def count(self) -> int:
        """See `Rows.count`."""
        return len(self._of.bindings)

    def save(self, binding: Binding) -> Binding:
        """See `Rows.save`."""
        if not binding.key:
            self._of.last.key += 1
            # Twelve digits: `page` sorts keys as texts, which has to be the order in which they were given.
            binding = replace(binding, key=f"{self._of.last.key:012d}")
        self._set(self._of.bindings, binding.key, binding)
        return binding

    def drop(self, key: str) -> None:
        """See `Rows.drop`."""
        self._set(self._of.bindings, key, None)

    def token(self, identifier: Identifier) -> int | None:
        """See `Rows.token`."""
        return self._of.covered.get(identifier)

    def lease(self, token: int) -> LeaseRow | None:
        """See `Rows.lease`."""
        return self._of.leases.get(token)

    def leases(self, limit: int, *, expired: bool) -> Iterable[LeaseRow]:
        """See `Rows.leases`."""
        rows = [row for _, row in sorted(self._of.leases.items()) if not expired or row.left(self.now) <= 0]
        return rows[:limit]

    def grant(self, identifiers: frozenset[Identifier], intent: str, expires: float) -> LeaseRow:
        """See `Rows.grant`."""
        self._of.last.token += 1
        row = LeaseRow(self._of.last.token, identifiers, intent, expires)
        self._set(self._of.leases, row.token, row)
        for identifier in identifiers:
            self._set(self._of.covered, identifier, row.token)
        return row

    def extend(self, token: int, intent: str, expires: float) -> None:
        """See `Rows.extend`."""
        self._set(self._of.leases, token, replace(self._of.leases[token], intent=intent, expires=expires))

    def revoke(self, token: int) -> None:
        """See `Rows.revoke`."""
        for identifier in self._of.leases[token].identifiers:
            self._set(self._of.covered, identifier, None)
        self._set(self._of.leases, token, None)

    def journal(self, since: float, after: int, limit: int) -> tuple[JournalRow, ...]:
        """See `Rows.journal`."""
        return tuple([row for row in self._of.journal if row.number > after and row.at >= since][:limit])

    def write_down(self, row: JournalRow) -> None:
        """See `Rows.write_down`."""
        self._of.last.row += 1
        self._of.journal.append(replace(row, number=self._of.last.row))
        self._of.written.add(row)

    def is_written_down(self, row: JournalRow) -> bool:
        """See `Rows.is_written_down`."""
        return row in self._of.written

    def inherit(self, key: str, heir: str) -> None:
        """See `Rows.inherit`."""
        self._keep([replace(row, key=heir) if row.key == key else row for row in self._of.journal])

    def forget_journal(self, key: str) -> int:
        """See `Rows.forget_journal`."""
        kept = [row for row in self._of.journal if row.key != key]
        gone = len(self._of.journal) - len(kept)
        self._keep(kept)
        return gone

    def _keep(self, journal: list[JournalRow]) -> None:
        self._of.journal = journal
        self._of.written = {replace(row, number=0) for row in journal}

    def recall(self, name: str) -> str | None:
        """See `Rows.recall`."""
        return self._of.notes.get(name)

    def remember(self, name: str, value: str | None) -> None:
        """See `Rows.remember`."""
        self._set(self._of.notes, name, value)

    def notes(self, after: str | None, limit: int) -> Notes:
        """See `Rows.notes`."""
        names = sorted(name for name in self._of.notes if after is None or name > after)
        part = tuple([(name, self._of.notes[name]) for name in names[:limit]])
        return Notes(part, part[-1][0] if len(names) > limit else None)


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

    @property
    def clock(self) -> Callable[[], float]:
        """The store's clock."""
        return self._clock

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # By hand, because a lock cannot be copied.
        snapshot = type(self)(clock=copy.deepcopy(self._clock, memo))
        memo[id(self)] = snapshot
        with self._lock:
            last = replace(self._last)
            accounts = {name: account.copy(last) for name, account in self._accounts.items()}
            vars(snapshot).update(_accounts=accounts, _last=last, _is_closed=self._is_closed)
        return snapshot

    def perform(self, call: Call[T]) -> T:
        """See `IdentityStore.perform`."""
        # A `with` on the lock itself. A context manager written in Python could be interrupted by a signal handler
        # between taking the lock and entering the block, and would leave the lock taken.
        with self._lock:
            if self._is_closed:
                raise StoreUnavailableError("the identity map has been closed; open it again")
            account = self._accounts.get(call.account)
            if account is None:
                account = self._accounts[call.account] = _Account(self._last)
            with _Rows(account, self._clock()) as rows:
                return semantics.perform(rows, call)

    def close(self) -> None:
        """See `IdentityStore.close`."""
        with self._lock:
            self._is_closed = True


class AsyncMemoryStore(AsyncAdapter):
    """Same as `MemoryStore`, awaited. No call blocks the event loop for long, because nothing does I/O.

    Args:
        clock: The store's clock, in unix seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(MemoryStore(clock=clock))
