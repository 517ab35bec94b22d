"""The rows of one account: what a store that carries calls out by `semantics` must know how to keep.

Decided here: what there is to keep. How rows are stored, locked and made durable is the store's own. Read next:
`memory`, where the rows are dictionaries.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.records import Lease

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from safeklaviyo.models import Binding
    from safeklaviyo.stores.records import JournalRow, Notes, Page

_OWNED = (Kind.EXTERNAL_ID, Kind.EMAIL, Kind.PROFILE_ID)


def owned(binding: Binding) -> tuple[Identifier, ...]:
    """Return the identifiers that are current on a binding: the phone number is not one, because people share it."""
    values = (binding.external_id, binding.email, binding.profile_id)
    return tuple([Identifier(kind, value) for kind, value in zip(_OWNED, values, strict=True) if value is not None])


@dataclass(frozen=True, slots=True)
class Place:
    """The binding on which an identifier is current, or from which it is retired.

    Attributes:
        key: The binding's key.
        retired_at: None while the identifier is current.
    """

    key: str
    retired_at: float | None = None


LONGEST: Final = 600.0
"""Seconds for which a lease is granted at most, from each renewal."""


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """A lease as it is kept.

    Attributes:
        expires: In unix seconds, by the store's clock.
    """

    token: int
    identifiers: frozenset[Identifier]
    intent: str
    expires: float

    def seen_at(self, now: float, *, taken_over: bool = False) -> Lease:
        """Return the lease as it looks at that time; it has expired when nothing remains."""
        return Lease(self.token, self.identifiers, self.intent, self.left(now), taken_over)

    def left(self, now: float) -> float:
        """Return the seconds for which the lease lives on, zero or less once it has expired.

        A lease that would live longer than any is granted for was granted before the clock was set back, so it counts
        as expired: its customer would be refused for as long as the clock was set back.
        """
        left = self.expires - now
        return left if left <= LONGEST else 0.0


class Rows(ABC):
    """The rows of one account, inside one transaction. An identifier has one place, which is rule 2 of the contract.

    Attributes:
        now: The store's clock, read inside the transaction.
    """

    now: float

    @abstractmethod
    def place(self, identifier: Identifier) -> Place | None:
        """Return where the identifier is current or retired; None if it is neither."""

    @abstractmethod
    def put(self, identifier: Identifier, place: Place) -> None:
        """Give the identifier this place; a place that it had before is lost."""

    @abstractmethod
    def forget(self, identifier: Identifier) -> None:
        """Take the identifier's place away, if it has one."""

    @abstractmethod
    def retired(self, keys: Iterable[str]) -> Iterable[tuple[str, Identifier, float]]:
        """Return what is retired from bindings: the key of each, the identifier, and since when."""

    @abstractmethod
    def binding(self, key: str) -> Binding | None:
        """Return the binding of that key."""

    @abstractmethod
    def bindings(self, keys: Sequence[str]) -> tuple[Binding, ...]:
        """Return the bindings of these keys, each once; a key that is gone is passed over."""

    @abstractmethod
    def page(self, after: str | None, limit: int) -> Page:
        """Return bindings in the order of their keys."""

    @abstractmethod
    def count(self) -> int:
        """Return the number of bindings."""

    @abstractmethod
    def save(self, binding: Binding) -> Binding:
        """Write a binding and return it; one without a key is given one that no binding has ever had."""

    @abstractmethod
    def drop(self, key: str) -> None:
        """Remove a binding, but not the places that point to it."""

    @abstractmethod
    def token(self, identifier: Identifier) -> int | None:
        """Return the token of the lease that covers the identifier."""

    @abstractmethod
    def lease(self, token: int) -> LeaseRow | None:
        """Return the lease of that token."""

    @abstractmethod
    def leases(self, limit: int, *, expired: bool) -> Iterable[LeaseRow]:
        """Return the leases, or those that have expired by now, lowest token first."""

    @abstractmethod
    def grant(self, identifiers: frozenset[Identifier], intent: str, expires: float) -> LeaseRow:
        """Write a new lease, with a token higher than all before it."""

    @abstractmethod
    def extend(self, token: int, intent: str, expires: float) -> None:
        """Overwrite the intent and the expiry of a lease."""

    @abstractmethod
    def revoke(self, token: int) -> None:
        """Remove a lease."""

    @abstractmethod
    def journal(self, since: float, after: int, limit: int) -> tuple[JournalRow, ...]:
        """Return rows written at `since` or later with a number above `after`, lowest first."""

    @abstractmethod
    def write_down(self, row: JournalRow) -> None:
        """Add a row to the journal, under a number of its own."""

    @abstractmethod
    def is_written_down(self, row: JournalRow) -> bool:
        """Tell whether the journal has that row, under any number."""

    @abstractmethod
    def inherit(self, key: str, heir: str) -> None:
        """Let the journal's rows about one binding become rows about another."""

    @abstractmethod
    def forget_journal(self, key: str) -> int:
        """Delete the journal's rows about one binding, and return how many there were."""

    @abstractmethod
    def recall(self, name: str) -> str | None:
        """Return the note of that name."""

    @abstractmethod
    def remember(self, name: str, value: str | None) -> None:
        """Write a note, or with None forget it."""

    @abstractmethod
    def notes(self, after: str | None, limit: int) -> Notes:
        """Return notes behind the given place."""
