"""What one process remembers of a shared map: the bindings found lately, each for a bounded time.

Decided here: which answers are remembered, and what makes them forgotten. `layered` says why that is safe.
"""

from __future__ import annotations

from contextlib import contextmanager
from os import getpid
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from safeklaviyo.errors import ConfigurationError
from safeklaviyo.stores._ledger import owned
from safeklaviyo.stores._remembering import LONGEST
from safeklaviyo.stores.base import Found, Match

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from safeklaviyo.identity import Identifier
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import AnyStore

_Name: TypeAlias = "tuple[str, Identifier | str]"


class _Entry(NamedTuple):
    """A binding as it was found.

    Attributes:
        at: When it was asked for, by a clock that never jumps.
        now: The shared map's clock then.
    """

    binding: Binding
    at: float
    now: float


class Cache:
    """The bindings found lately, by all that is current on them and by their keys. Safe between threads.

    Attributes:
        changes: How often this process has changed something, or tried to.
        may_until: Until when answers may be remembered, for each account, by its map's own clock (`_remembering`).
    """

    def __init__(self, max_age: float, max_entries: int, clock: Callable[[], float]) -> None:
        if not 0 < max_age <= LONGEST or max_entries < 1:
            raise ConfigurationError(f"max_age has to be above 0 and at most {LONGEST:g} s, and max_entries above 0")
        self.clock = clock
        self.changes = 0
        self._max_age = max_age
        self.may_until: dict[str, float] = {}
        self._max_entries = max_entries
        self._locks: dict[int, Lock] = {}
        self._entries: dict[_Name, _Entry] = {}
        self._order: dict[_Name, None] = {}

    def find(self, account: str, identifiers: Sequence[Identifier]) -> Found | None:
        """Return what is remembered, if it answers the whole question."""
        entry = self._entries.get((account, identifiers[0])) if identifiers else None
        if entry is None:
            return None
        age = self.clock() - entry.at
        if age >= self._max_age or not _has_all(entry.binding, identifiers):
            return None
        return Found(tuple([Match(each, entry.binding) for each in identifiers]), None, entry.now + age)

    def keep(self, account: str, identifiers: Sequence[Identifier], found: Found, at: float, changes: int) -> Found:
        """Remember an answer, if that may be done, and return it.

        Args:
            account: The account.
            identifiers: What was asked for.
            found: The shared map's answer.
            at: When it was asked.
            changes: What `changes` was then: an answer that may be older than a change is not kept.
        """
        binding = found.matches[0].binding if found.matches and found.lease is None else None
        if binding is None or not _has_all(binding, identifiers):
            return found
        with self._lock():
            if changes == self.changes:
                self._put(account, _Entry(binding, at, found.now))
        return found

    @contextmanager
    def changing(self, account: str, names: Iterable[Identifier | str]) -> Generator[list[Identifier | str]]:
        """Forget every binding that has one of these identifiers or keys, or one added meanwhile, once all is done."""
        touched = list(names)
        try:
            yield touched
        finally:
            with self._lock():
                self.changes += 1
                for name in touched:
                    self._drop((account, name))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock():
            self.changes += 1
            self._entries.clear()
            self._order.clear()

    def _put(self, account: str, entry: _Entry) -> None:
        for name in _names(account, entry.binding):
            self._drop(name)
        if len(self._order) >= self._max_entries:
            self._drop(next(iter(self._order)))
        self._order[account, entry.binding.key] = None
        self._entries |= dict.fromkeys(_names(account, entry.binding), entry)

    def _drop(self, name: _Name) -> None:
        entry = self._entries.get(name)
        if entry is not None:
            self._order.pop((name[0], entry.binding.key), None)
            for each in _names(name[0], entry.binding):
                self._entries.pop(each, None)

    def _lock(self) -> Lock:
        # A lock for each process: one that another thread held at a fork would never be released in the child.
        return self._locks.setdefault(getpid(), Lock())


def check_shared(shared: AnyStore) -> None:
    """Refuse a map that no cache may stand before.

    Raises:
        ConfigurationError: It is such a one.
    """
    if not shared.can_be_layered:
        raise ConfigurationError(
            "no cache may stand before another, nor before a store in a transaction of the caller's"
        )


def _has_all(binding: Binding, identifiers: Sequence[Identifier]) -> bool:
    current = owned(binding)
    return all(each in current for each in identifiers)


def _names(account: str, binding: Binding) -> list[_Name]:
    return [(account, binding.key), *((account, each) for each in owned(binding))]
