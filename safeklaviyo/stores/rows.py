"""The rows of one account, as `semantics` reads and writes them: an interface for the stores of one host.

Decided here: which rows there are. Each store decides how rows are stored, locked and made durable. Read next:
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

_X, _E, _P = OWNED = (Kind.EXTERNAL_ID, Kind.EMAIL, Kind.PROFILE_ID)
"""The kinds of the identifiers that a binding owns."""


def owned(binding: Binding) -> tuple[Identifier, ...]:
    """Return the identifiers that are current on a binding. The phone number is none: people share phone numbers."""
    names: list[Identifier] = []
    if binding.external_id is not None:
        names.append(Identifier(_X, binding.external_id))
    if binding.email is not None:
        names.append(Identifier(_E, binding.email))
    if binding.profile_id is not None:
        names.append(Identifier(_P, binding.profile_id))
    return tuple(names)


@dataclass(frozen=True, slots=True)
class Owner:
    """The binding that an identifier belongs to, or, once the identifier is retired, belonged to.

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
        """Return the lease with the time that remains of it, which is zero or less once it has expired."""
        return Lease(self.token, self.identifiers, self.intent, self.left(now), taken_over)

    def left(self, now: float) -> float:
        """Return the seconds for which the lease lives on, zero or less once it has expired.

        A lease that would live longer than any is granted for was granted before the clock was set back, so it counts
        as expired: its customer would be refused for as long as the clock was set back.
        """
        left = self.expires - now
        return left if left <= LONGEST else 0.0


class Rows(ABC):
    """The rows of one account, inside one transaction. An identifier has one owner: rule 2 of the contract.

    Attributes:
        now: The store's clock, read inside the transaction.
    """

    now: float

    @abstractmethod
    def owner(self, identifier: Identifier) -> Owner | None:
        """Return the binding on which the identifier is current or from which it is retired, if there is one."""

    @abstractmethod
    def put(self, identifier: Identifier, owner: Owner) -> None:
        """Give the identifier this owner, in place of the one before."""

    @abstractmethod
    def forget(self, identifier: Identifier) -> None:
        """Delete the identifier's row, if there is one: it is neither current nor retired then."""

    @abstractmethod
    def retired(self, keys: Iterable[str]) -> Iterable[tuple[str, Identifier, float]]:
        """Return what is retired from bindings: the binding's key, the identifier, and since when."""

    @abstractmethod
    def binding(self, key: str) -> Binding | None:
        """Return the binding of that key."""

    @abstractmethod
    def bindings(self, keys: Sequence[str]) -> tuple[Binding, ...]:
        """Return the bindings of these keys, each once; a key without a binding is skipped."""

    @abstractmethod
    def page(self, after: str | None, limit: int) -> Page:
        """Return bindings in the order of their keys."""

    @abstractmethod
    def count(self) -> int:
        """Return the number of bindings."""

    @abstractmethod
    def save(self, binding: Binding) -> Binding:
        """Write a binding and return it. A binding without a key gets one that no binding has ever had."""

    @abstractmethod
    def drop(self, key: str) -> None:
        """Remove a binding, but not the identifiers' rows that name it as their owner."""

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
        """Add a row to the journal, under a new number that is higher than all before."""

    @abstractmethod
    def is_written_down(self, row: JournalRow) -> bool:
        """Tell whether the journal has a row that differs in its number at most."""

    @abstractmethod
    def inherit(self, key: str, heir: str) -> None:
        """Change the journal's rows about one binding into rows about another, its heir."""

    @abstractmethod
    def forget_journal(self, key: str) -> int:
        """Delete the journal's rows about one binding, and return how many there were."""

    @abstractmethod
    def recall(self, name: str) -> str | None:
        """Return the note of that name."""

    @abstractmethod
    def remember(self, name: str, value: str | None) -> None:
        """Write a note, or with None delete it."""

    @abstractmethod
    def notes(self, after: str | None, limit: int) -> Notes:
        """Return notes after the given cursor."""
