"""The commands about where the identity map is: making its tables, and copying it from one store to another.

Decided here: what a copy carries, and when it counts as done. Carried are the customers, their former identifiers with
the times at which they became so, and the notes, among them the marks of those who were erased. Not carried are the
journal, leases and intents: a map with something unfinished is not copied at all, because whoever went on with the copy
would never finish it. How far a copy got is a note in the map that is written to, so that it vanishes with that map.
"""

from __future__ import annotations

import json
import re
from contextlib import ExitStack, closing
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from safeklaviyo import stores
from safeklaviyo.cli._console import complain, progress, require, say
from safeklaviyo.cli._map import store_url
from safeklaviyo.errors import ConfigurationError, SafeKlaviyoError
from safeklaviyo.stores._ledger import owned

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator

    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import IdentityStore, Match

AT_ONCE: Final = 1000
"""Customers to a transaction, and notes to a part."""

_PLACE: Final = "copied up to"
_MODULUS: Final = 2**256


def migrate(arguments: Namespace) -> int:
    """Make the tables of a map in PostgreSQL, or print the SQL that makes them."""
    url = store_url(arguments)
    if arguments.sql:
        require("psycopg", extra="postgres")
        from safeklaviyo.stores._postgres.schema import migration_sql, named  # noqa: PLC0415 - an extra

        say(migration_sql(arguments.schema or named(url)[1]))
        return 0
    with closing(stores.open_store(url)):  # which refuses a URL that names no store
        if not stores._is_postgres(url):  # noqa: SLF001 - the same package
            say("there is nothing to do: only PostgreSQL has to be told to make the tables")
            return 0
    from safeklaviyo.stores.postgres import PostgresStore  # noqa: PLC0415 - an extra

    with PostgresStore(url, schema=arguments.schema) as store:
        store.migrate()
    say("the tables are there, and of this version")
    return 0


def copy(arguments: Namespace) -> int:
    """Copy an account's map from one store to another, and compare the two."""
    with ExitStack() as opened:
        source, target = (
            _Map(opened.enter_context(stores.open_store(url)), arguments.account)
            for url in (arguments.source, arguments.target)
        )
        source.refuse_unfinished()
        total = source.store.count(source.account)
        if not total:
            raise ConfigurationError("FROM knows no customer of this account")
        moving = _Copy(source, target, _subject(arguments.source))
        if arguments.resume:
            moving.go_on()
        with progress("copying", total) as show:
            moving.run(show)
        source.refuse_unfinished()
        with progress("comparing", 2 * total) as show:
            return _compare(source, target, show)


@dataclass(frozen=True, slots=True)
class _Map:
    """One account's map in a store."""

    store: IdentityStore
    account: str

    def parts(self, place: str | None = None) -> Iterator[tuple[tuple[Binding, ...], str | None]]:
        """Yield the customers behind a place part by part, each with the place behind it; None after the last."""
        while True:
            page = self.store.page(self.account, after=place, limit=AT_ONCE)
            yield page.bindings, page.next
            place = page.next
            if place is None:
                return

    def former(self, bindings: list[Binding] | tuple[Binding, ...]) -> tuple[Match, ...]:
        """Return what is retired from these customers."""
        return self.store.former(self.account, bindings)

    def notes(self) -> Iterator[tuple[str, str]]:
        """Yield all notes, but for how far a copy got."""
        place: str | None = None
        while True:
            part = self.store.notes(self.account, after=place, limit=AT_ONCE)
            yield from (note for note in part.notes if note[0] != _PLACE)
            place = part.next
            if place is None:
                return

    def refuse_unfinished(self) -> None:
        """Refuse a map in which somebody who died left something to finish.

        Raises:
            ConfigurationError: There is such a lease.
        """
        if self.store.expired(self.account, 1):
            raise ConfigurationError(
                "a change in FROM was interrupted, and a copy would forget it: call recover() of a client on FROM first"
            )

    def refuse_writers(self, bindings: tuple[Binding, ...]) -> None:
        """Refuse a map in which somebody is writing about one of these customers.

        Raises:
            ConfigurationError: There is a lease.
        """
        names = [name for binding in bindings for name in owned(binding)[:1]]
        if self.store.find(self.account, names).lease is not None:
            raise ConfigurationError("somebody is writing to FROM: stop whatever uses it, and copy then")


class _Copy:
    """A copy on its way.

    Args:
        source: What is copied.
        target: Where to.
        subject: A digest of where it is from: a copy from elsewhere does not go on from its place.
    """

    def __init__(self, source: _Map, target: _Map, subject: str) -> None:
        self._source = source
        self._target = target
        self._subject = subject
        self._place: str | None = None
        self._done = 0

    def go_on(self) -> None:
        """Begin where an earlier run stopped, if there was one from the same store."""
        noted = self._target.store.recall(self._target.account, _PLACE) or ""
        subject, _, rest = noted.partition(" ")
        if subject == self._subject:
            done, self._place = rest.split()
            self._done = int(done)

    def run(self, show: Callable[[int], None]) -> None:
        """Copy everything.

        Raises:
            ConfigurationError: Somebody is writing to the source.
            StoreError: One of the stores cannot be used.
        """
        try:
            for bindings, place in self._source.parts(self._place):
                self._source.refuse_writers(bindings)
                self._add(bindings)
                self._note(place)
                show(self._done)
            for name, value in self._source.notes():
                self._target.store.remember(self._target.account, name, value)
        except (KeyboardInterrupt, SafeKlaviyoError):
            if self._done:
                complain(f"stopped after {self._done} customers; run it again, with --resume to go on from there")
            raise

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
        self._done += len(bindings)

    def _note(self, place: str | None) -> None:
        value = None if place is None else f"{self._subject} {self._done} {place}"
        self._target.store.remember(self._target.account, _PLACE, value)


class _Sum:
    """A checksum of a map, the same in whatever order it is read. When Klaviyo last confirmed a customer is left out.

    Attributes:
        customers: How many were read.
        former: How many identifiers that were retired from them.
    """

    def __init__(self) -> None:
        self.customers = 0
        self.former = 0
        self._total = 0

    def add(self, bindings: tuple[Binding, ...], former: tuple[Match, ...]) -> None:
        """Count a part in."""
        self.customers += len(bindings)
        self.former += len(former)
        for binding in bindings:
            self._count(_all_of(binding))
        for match in former:
            assert match.retired_at is not None
            # A store keeps microseconds at least.
            self._count((*match.identifier, round(match.retired_at * 1_000_000), *_all_of(match.binding)))

    def equals(self, other: _Sum) -> bool:
        """Tell whether the same was counted in."""
        return (self.customers, self.former, self._total) == (other.customers, other.former, other._total)

    def _count(self, values: tuple[object, ...]) -> None:
        self._total += int.from_bytes(sha256(json.dumps(values).encode()).digest())
        self._total %= _MODULUS


def _all_of(binding: Binding) -> tuple[object, ...]:
    return binding.external_id, binding.email, binding.profile_id, binding.phone_number


def _compare(source: _Map, target: _Map, show: Callable[[int], None]) -> int:
    """Read both maps, and say whether they are the same; 1 if they are not."""
    ours, theirs = _Sum(), _Sum()
    for one, total in ((source, ours), (target, theirs)):
        for bindings, _ in one.parts():
            total.add(bindings, one.former(bindings))
            show(ours.customers + theirs.customers)
    notes, carried = 0, 0
    for name, value in source.notes():
        notes += 1
        carried += target.store.recall(target.account, name) == value
    say(f"FROM  {ours.customers} customers, {ours.former} former identifiers, {notes} notes")
    say(f"TO    {theirs.customers} customers, {theirs.former} former identifiers, {carried} of these notes")
    if ours.equals(theirs) and notes == carried:
        say("counts and checksums agree")
        return 0
    complain("the two differ: one is in use, or TO was not empty; stop what uses them, and copy to an empty store")
    return 1


def _subject(url: str) -> str:
    """Return a digest of where a store is, without whoever uses it and with what password."""
    place = re.sub(r"//[^/]*@", "//", url).partition("?")[0]
    return sha256(place.encode()).hexdigest()
