"""A copy of an account's map on its way from one store to another, and the comparison at its end.

Decided here: what a copy carries, and when it counts as done. Carried are the customers, their former identifiers with
the times at which they became so, the journal of what changed about them, and the notes, among them the marks of those
who were erased; leases and intents are not, so that both maps have to be idle. Everything is read and written part by
part, so that memory does not grow with the map, and what is there already counts as written. How far a copy got is a
note in the map that is written to, so that it vanishes with that map.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from safeklaviyo.cli._console import complain, progress, say
from safeklaviyo.errors import ConfigurationError, SafeKlaviyoError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import IdentityStore, JournalRow, Match

    Phase: TypeAlias = Literal["customers", "journal rows", "notes"]
    Told: TypeAlias = tuple[Binding, JournalRow]

AT_ONCE: Final = 1000
"""Customers to a transaction, rows of the journal to one, and notes to a part."""

PLACE: Final = "copied up to"
"""The name of the note that says how far a copy got."""

_MODULUS: Final = 2**256


@dataclass(frozen=True, slots=True)
class Map:
    """One account's map in a store, read part by part.

    Attributes:
        name: What the command calls it.
    """

    store: IdentityStore
    account: str
    name: str

    def customers(self, after: str | None = None) -> Iterator[tuple[tuple[Binding, ...], str | None]]:
        """Yield the customers behind a place, each part with the place behind it; None after the last."""
        while True:
            page = self.store.page(self.account, after=after, limit=AT_ONCE)
            yield page.bindings, page.next
            after = page.next
            if after is None:
                return

    def former(self, bindings: Sequence[Binding]) -> tuple[Match, ...]:
        """Return what is retired from these customers."""
        return self.store.former(self.account, bindings)

    def journal(self, after: str | None = None) -> Iterator[tuple[list[Told], str | None]]:
        """Yield the journal's rows behind a place with whom they are about, but for those about somebody who is gone.

        Each part comes with the place behind it.
        """
        number = int(after or 0)
        while rows := self.store.journal(self.account, since=0.0, after=number, limit=AT_ONCE):
            keys = list({row.key for row in rows})
            known = {binding.key: binding for binding in self.store.bindings(self.account, keys)}
            number = rows[-1].number
            yield [(known[row.key], row) for row in rows if row.key in known], str(number)

    def notes(self, after: str | None = None) -> Iterator[tuple[list[tuple[str, str]], str | None]]:
        """Yield the notes behind a place, each part with the place behind it, but not what is a map's own."""
        while True:
            part = self.store.notes(self.account, after=after, limit=AT_ONCE)
            yield [note for note in part.notes if note[0] != PLACE], part.next
            after = part.next
            if after is None:
                return

    def refuse_writers(self) -> None:
        """Refuse a map in which somebody writes, or has died while writing.

        Raises:
            ConfigurationError: There is a lease.
        """
        if self.store.expired(self.account, 1):
            raise ConfigurationError(
                f"a change in {self.name} was interrupted, and would be forgotten: call recover() of a client on it"
            )
        if self.store.leases(self.account, 1):
            raise ConfigurationError(f"somebody is writing to {self.name}: stop whatever uses it, and copy then")


@dataclass(frozen=True, slots=True)
class _Place:
    """How far a copy got.

    Attributes:
        subject: A digest of where it is from: a copy from elsewhere does not go on from here.
        after: The place in the source behind which the phase goes on.
        done: How many of the phase are copied.
    """

    subject: str
    phase: Phase = "customers"
    after: str | None = None
    done: int = 0

    def written(self) -> str:
        """Return it as a note says it."""
        return json.dumps([self.subject, self.phase, self.after, self.done])


class Copy:
    """A copy on its way.

    Args:
        source: What is copied.
        target: Where to.
        subject: A digest of where it is from.
    """

    def __init__(self, source: Map, target: Map, subject: str) -> None:
        self._source = source
        self._target = target
        self._place = _Place(subject)

    def go_on(self) -> None:
        """Begin where an earlier run stopped, if there was one from the same store."""
        noted = self._target.store.recall(self._target.account, PLACE)
        place = self._place if noted is None else _Place(*json.loads(noted))
        if place.subject == self._place.subject:
            self._place = place

    def run(self, total: int) -> None:
        """Copy everything.

        Args:
            total: How many customers there are.

        Raises:
            StoreError: One of the stores cannot be used.
        """
        try:
            if self._place.phase == "customers":
                self._phase(self._source.customers, self._add, total)
                self._begin("journal rows")
            if self._place.phase == "journal rows":
                self._phase(self._source.journal, self._tell, None)
                self._begin("notes")
            self._phase(self._source.notes, self._remember, None)
        except (KeyboardInterrupt, SafeKlaviyoError):
            complain(
                f"stopped after {self._place.done} {self._place.phase}; run it again, with --resume to go on there"
            )
            raise
        self._target.store.remember(self._target.account, PLACE, None)

    def _phase(
        self,
        read: Callable[[str | None], Iterator[tuple[Any, str | None]]],
        write: Callable[[Any], None],
        total: int | None,
    ) -> None:
        with progress(f"copying {self._place.phase}", total) as show:
            show(self._place.done)
            for part, after in read(self._place.after):
                write(part)
                self._note(replace(self._place, after=after, done=self._place.done + len(part)))
                show(self._place.done)

    def _begin(self, phase: Phase) -> None:
        self._note(_Place(self._place.subject, phase))

    def _note(self, place: _Place) -> None:
        self._place = place
        self._target.store.remember(self._target.account, PLACE, place.written())

    def _add(self, bindings: tuple[Binding, ...]) -> None:
        store, account = self._target.store, self._target.account
        statuses = store.add(account, bindings)
        kept: list[Binding] = []
        for binding, status in zip(bindings, statuses, strict=True):
            if status != "conflict":
                kept.append(binding)
            else:
                complain(f"customer {binding.key} of FROM: TO says otherwise, or is being written to")
        store.restore(account, self._source.former(kept))

    def _tell(self, rows: list[Told]) -> None:
        self._target.store.restore_journal(self._target.account, rows)

    def _remember(self, notes: list[tuple[str, str]]) -> None:
        for name, value in notes:
            self._target.store.remember(self._target.account, name, value)


@dataclass(slots=True)
class _Sum:
    """What was read of a map. When Klaviyo last confirmed a customer is left out.

    Attributes:
        former: How many identifiers that were retired from the customers.
        rows: How many rows of the journal about them.
        checksum: The same in whatever order all is read.
    """

    customers: int = 0
    former: int = 0
    rows: int = 0
    checksum: int = 0

    def add(self, bindings: Sequence[Binding], former: Sequence[Match]) -> None:
        """Count customers in."""
        self.customers += len(bindings)
        self.former += len(former)
        for binding in bindings:
            self._count("customer", *_all_of(binding))
        for match in former:
            assert match.retired_at is not None
            self._count("former", *match.identifier, _micro(match.retired_at), *_all_of(match.binding))

    def tell(self, told: Sequence[Told]) -> None:
        """Count rows of the journal in."""
        self.rows += len(told)
        for binding, row in told:
            entry = row.entry
            says = (_micro(row.at), row.profile_id, row.external_id, entry.verb, entry.old, entry.new)
            self._count("row", *says, *_all_of(binding))

    def __str__(self) -> str:
        return f"{self.customers} customers, {self.former} former identifiers, {self.rows} journal rows"

    def _count(self, *values: object) -> None:
        self.checksum += int.from_bytes(sha256(json.dumps(values).encode()).digest())
        self.checksum %= _MODULUS


def compare(source: Map, target: Map) -> int:
    """Read both maps, and say whether they are the same; 1 if they are not.

    Raises:
        ConfigurationError: Somebody is writing to one of them.
    """
    ours, theirs = _Sum(), _Sum()
    with progress("comparing customers", 2 * source.store.count(source.account)) as show:
        for one, total in ((source, ours), (target, theirs)):
            for bindings, _ in one.customers():
                total.add(bindings, one.former(bindings))
                show(ours.customers + theirs.customers)
    with progress("comparing journal rows", None) as show:
        for one, total in ((source, ours), (target, theirs)):
            for told, _ in one.journal():
                total.tell(told)
                show(ours.rows + theirs.rows)
    notes, carried = 0, 0
    for part, _ in source.notes():
        notes += len(part)
        carried += sum(target.store.recall(target.account, name) == value for name, value in part)
    source.refuse_writers()
    target.refuse_writers()
    say(f"FROM  {ours}, {notes} notes")
    say(f"TO    {theirs}, {carried} of these notes")
    if ours == theirs and notes == carried:
        say("counts and checksums agree")
        return 0
    complain("the two differ: one is in use, or TO was not empty; stop what uses them, and copy to an empty store")
    return 1


def _all_of(binding: Binding) -> tuple[object, ...]:
    return binding.external_id, binding.email, binding.profile_id, binding.phone_number


def _micro(seconds: float) -> int:
    return round(seconds * 1_000_000)  # a store keeps microseconds at least
