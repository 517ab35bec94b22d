"""Copying an account's map from one store to another, and the comparison at the end.

Decided here:

- what is copied: the customers, their former identifiers with the times of retirement, the journal of their changes,
  and the notes, which include the tombstones of erased customers. Leases and intents are not copied, so both maps have
  to be idle;
- everything is read and written part by part, so that memory does not grow with the map;
- rows that the target has already count as copied, so that a copy can be repeated;
- the progress of a copy is a note in the target, so that it disappears with the target.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from safeklaviyo._flows.identity import tombstones
from safeklaviyo.cli._console import complain, progress, say
from safeklaviyo.errors import ConfigurationError, SafeKlaviyoError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import IdentityStore, JournalRow, Match

    Phase: TypeAlias = Literal["customers", "journal rows", "notes"]
    RowOfBinding: TypeAlias = tuple[Binding, JournalRow]

AT_ONCE: Final = 1000
"""Customers, or rows of the journal, in one transaction; notes in one part."""

PROGRESS: Final = "copied up to"
"""The name of the note with the progress of a copy."""

_MODULUS: Final = 2**256


@dataclass(frozen=True, slots=True)
class Map:
    """One account's map in a store, read part by part.

    Attributes:
        name: ``"FROM"`` or ``"TO"``, for messages.
    """

    store: IdentityStore
    account: str
    name: str

    def customers(self, after: str | None = None) -> Iterator[tuple[tuple[Binding, ...], str | None]]:
        """Yield parts of the customers, each with the cursor after it, which is None after the last part."""
        while True:
            page = self.store.page(self.account, after=after, limit=AT_ONCE)
            yield page.bindings, page.next
            after = page.next
            if after is None:
                return

    def former(self, bindings: Sequence[Binding]) -> tuple[Match, ...]:
        """Return what is retired from these customers."""
        return self.store.former(self.account, bindings)

    def journal(self, after: str | None = None) -> Iterator[tuple[list[RowOfBinding], str | None]]:
        """Yield parts of the journal, each with the cursor after it. Each row comes with the binding that it is about.

        Rows about bindings that were removed are left out.
        """
        # Here the cursor is a row's number.
        number = int(after or 0)
        while rows := self.store.journal(self.account, since=0.0, after=number, limit=AT_ONCE):
            keys = list({row.key for row in rows})
            by_key = {binding.key: binding for binding in self.store.bindings(self.account, keys)}
            number = rows[-1].number
            yield [(by_key[row.key], row) for row in rows if row.key in by_key], str(number)

    def notes(self, after: str | None = None) -> Iterator[tuple[list[tuple[str, str]], str | None]]:
        """Yield parts of the notes, each with the cursor after it, without the progress of a copy to this map."""
        while True:
            part = self.store.notes(self.account, after=after, limit=AT_ONCE)
            yield [note for note in part.notes if note[0] != PROGRESS], part.next
            after = part.next
            if after is None:
                return

    def refuse_writers(self) -> None:
        """Refuse a map in which a call is writing, or in which a process died while it wrote.

        Raises:
            ConfigurationError: There is a lease.
        """
        # Expired leases first: their message says what to do about them, while all others end by themselves.
        if self.store.expired(self.account, 1):
            raise ConfigurationError(
                f"a change in {self.name} was interrupted, and would be lost: call recover() of a client on it"
            )
        if self.store.leases(self.account, 1):
            raise ConfigurationError(f"a call is writing to {self.name}: stop all programs that use it, and copy then")


@dataclass(frozen=True, slots=True)
class _Progress:
    """The progress of a copy.

    Attributes:
        subject: A digest of the source's address: a copy from another source must not go on from here.
        after: The cursor in the source after which the phase goes on.
        done: How many items of the phase are copied.
    """

    subject: str
    phase: Phase = "customers"
    after: str | None = None
    done: int = 0

    def written(self) -> str:
        """Return the value of the note."""
        return json.dumps([self.subject, self.phase, self.after, self.done])


class Copy:
    """One run of the copying.

    Args:
        source: The map to copy.
        target: The map to write to.
        subject: A digest of the source's address.
    """

    def __init__(self, source: Map, target: Map, subject: str) -> None:
        self._source = source
        self._target = target
        self._progress = _Progress(subject)

    def resume(self) -> None:
        """Begin where an earlier run stopped, if it copied from the same store."""
        # The note is in the target: a target that was made again has none, and is copied from the beginning.
        noted = self._target.store.recall(self._target.account, PROGRESS)
        earlier = self._progress if noted is None else _Progress(*json.loads(noted))
        if earlier.subject == self._progress.subject:
            self._progress = earlier

    def run(self, total: int) -> None:
        """Copy everything.

        Args:
            total: How many customers there are.

        Raises:
            StoreError: One of the stores cannot be used.
        """
        try:
            # The customers first: the journal's rows are attached to them.
            if self._progress.phase == "customers":
                self._phase(self._source.customers, self._add, total)
                self._begin("journal rows")
            if self._progress.phase == "journal rows":
                self._phase(self._source.journal, self._add_rows, None)
                self._begin("notes")
            self._phase(self._source.notes, self._remember, None)
        except (KeyboardInterrupt, SafeKlaviyoError):
            reached = self._progress
            complain(f"stopped after {reached.done} {reached.phase}; run it again, with --resume to go on there")
            raise
        self._target.store.remember(self._target.account, PROGRESS, None)

    def _phase(
        self,
        read: Callable[[str | None], Iterator[tuple[Any, str | None]]],
        write: Callable[[Any], None],
        total: int | None,
    ) -> None:
        with progress(f"copying {self._progress.phase}", total) as show:
            show(self._progress.done)
            for part, after in read(self._progress.after):
                # The part first, then the note: a run that is killed in between copies a part again, which is harmless.
                write(part)
                self._note(replace(self._progress, after=after, done=self._progress.done + len(part)))
                show(self._progress.done)

    def _begin(self, phase: Phase) -> None:
        self._note(_Progress(self._progress.subject, phase))

    def _note(self, reached: _Progress) -> None:
        self._progress = reached
        self._target.store.remember(self._target.account, PROGRESS, reached.written())

    def _add(self, bindings: tuple[Binding, ...]) -> None:
        store, account = self._target.store, self._target.account
        statuses = store.add(account, bindings)
        kept: list[Binding] = []
        for binding, status in zip(bindings, statuses, strict=True):
            if status != "conflict":
                kept.append(binding)
            else:
                # By its key: an address or id must not be printed (P8).
                complain(f"customer {binding.key} of FROM: TO contradicts it, or is being written to")
        store.restore(account, self._source.former(kept))

    def _add_rows(self, rows: list[RowOfBinding]) -> None:
        self._target.store.restore_journal(self._target.account, rows)

    def _remember(self, notes: list[tuple[str, str]]) -> None:
        store, account = self._target.store, self._target.account
        for name, value in notes:
            # The keys of the target's own tombstones stay, because a tombstone is found under its own key alone.
            is_keys = name == tombstones.KEYS
            store.remember(account, name, tombstones.joined(store.recall(account, name), value) if is_keys else value)


@dataclass(slots=True)
class _Sum:
    """The counts and the checksum of a map. The time when Klaviyo last confirmed a customer is left out.

    Attributes:
        former: How many identifiers are retired from the customers.
        rows: How many rows of the journal are about them.
        checksum: A sum of digests, so that it does not depend on the order of reading.
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

    def add_rows(self, rows: Sequence[RowOfBinding]) -> None:
        """Count rows of the journal in."""
        self.rows += len(rows)
        # Keys and numbers are left out: each store gives its own.
        for binding, row in rows:
            entry = row.entry
            says = (_micro(row.at), row.profile_id, row.external_id, entry.verb, entry.old, entry.new)
            self._count("row", *says, *_all_of(binding))

    def __str__(self) -> str:
        return f"{self.customers} customers, {self.former} former identifiers, {self.rows} journal rows"

    def _count(self, *values: object) -> None:
        self.checksum += int.from_bytes(sha256(json.dumps(values).encode()).digest())
        self.checksum %= _MODULUS


def compare(source: Map, target: Map) -> int:
    """Read both maps, and print whether they are the same; 1 if they are not.

    Raises:
        ConfigurationError: A call is writing to one of them.
    """
    # Step 1: sum both maps up, part by part. The sums do not depend on the order, which differs between stores.
    ours, theirs = _Sum(), _Sum()
    with progress("comparing customers", 2 * source.store.count(source.account)) as show:
        for one, total in ((source, ours), (target, theirs)):
            for bindings, _ in one.customers():
                total.add(bindings, one.former(bindings))
                show(ours.customers + theirs.customers)
    with progress("comparing journal rows", None) as show:
        for one, total in ((source, ours), (target, theirs)):
            for rows, _ in one.journal():
                total.add_rows(rows)
                show(ours.rows + theirs.rows)
    # Step 2: the notes, one by one: the target may have others of its own.
    notes, carried = 0, 0
    for part, _ in source.notes():
        notes += len(part)
        carried += sum(target.store.recall(target.account, name) == value for name, value in part)
    # Step 3: look for writers again. A call that wrote during the copy may have changed rows that were read already.
    source.refuse_writers()
    target.refuse_writers()
    say(f"FROM  {ours}, {notes} notes")
    say(f"TO    {theirs}, {carried} of these notes")
    if ours == theirs and notes == carried:
        say("counts and checksums are the same")
        return 0
    complain("the two differ: one is in use, or TO was not empty; stop what uses them, and copy to an empty store")
    return 1


def _all_of(binding: Binding) -> tuple[object, ...]:
    return binding.external_id, binding.email, binding.profile_id, binding.phone_number


def _micro(seconds: float) -> int:
    return round(seconds * 1_000_000)  # a store keeps microseconds at least
