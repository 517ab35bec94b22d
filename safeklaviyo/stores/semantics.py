"""What each operation of the contract does, step by step, over the few things that a store must know how to do.

Decided here: what is judged, in which order, and what changes. Not here: how rows are kept, locked and made durable;
that is the store's own, which calls each function inside one transaction and passes the time read inside it.
Read next: `memory`, where the rows are dictionaries.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import BindOutcome, JournalRow, Lease

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo.stores.base import AddStatus, Change, Match

_OWNED = (Kind.EXTERNAL_ID, Kind.EMAIL, Kind.PROFILE_ID)
_ENTRIES = tuple(each.name for each in fields(Binding) if each.name not in {"verified_at", "version", "key"})


@dataclass(frozen=True, slots=True)
class Place:
    """Whose an identifier is, or was.

    Attributes:
        key: The binding's key.
        retired_at: None while the identifier is current.
    """

    key: str
    retired_at: float | None = None


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
        return Lease(self.token, self.identifiers, self.intent, self.expires - now, taken_over)


class Rows(ABC):
    """The rows of one account, inside one transaction. An identifier has one place, which is rule 2 of the contract."""

    @abstractmethod
    def place(self, identifier: Identifier) -> Place | None:
        """Return whose the identifier is, or was."""

    @abstractmethod
    def put(self, identifier: Identifier, place: Place) -> None:
        """Give the identifier this place, whatever it had before."""

    @abstractmethod
    def forget(self, identifier: Identifier) -> None:
        """Take the identifier's place away, if it has one."""

    @abstractmethod
    def retired(self, key: str) -> dict[Identifier, float]:
        """Return what is retired from a binding, and since when."""

    @abstractmethod
    def binding(self, key: str) -> Binding | None:
        """Return the binding of that key."""

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
    def grant(self, identifiers: frozenset[Identifier], intent: str, expires: float) -> LeaseRow:
        """Write a new lease, with a token higher than all before it."""

    @abstractmethod
    def extend(self, token: int, intent: str, expires: float) -> None:
        """Overwrite the intent and the expiry of a lease."""

    @abstractmethod
    def revoke(self, token: int) -> None:
        """Remove a lease."""

    @abstractmethod
    def write_down(self, row: JournalRow) -> None:
        """Add a row to the journal, under a number of its own."""

    @abstractmethod
    def is_written_down(self, row: JournalRow) -> bool:
        """Tell whether the journal has that row, under whatever number."""

    @abstractmethod
    def inherit(self, key: str, heir: str) -> None:
        """Let the journal's rows about one binding become rows about another."""


def owned(binding: Binding) -> tuple[Identifier, ...]:
    """Return the identifiers that are current on a binding: the phone number is not one, because people share it."""
    values = (binding.external_id, binding.email, binding.profile_id)
    return tuple(Identifier(kind, value) for kind, value in zip(_OWNED, values, strict=True) if value is not None)


def acquire(rows: Rows, identifiers: frozenset[Identifier], intent: str, ttl: float, now: float) -> Lease | None:
    """See `IdentityStore.acquire`."""
    held = {token for each in identifiers if (token := rows.token(each)) is not None}
    for token in sorted(held):
        row = rows.lease(token)
        assert row is not None
        if row.expires <= now:
            rows.revoke(token)
            return rows.grant(row.identifiers, row.intent, now + ttl).seen_at(now, taken_over=True)
    return None if held else rows.grant(identifiers, intent, now + ttl).seen_at(now)


def renew(rows: Rows, token: int, ttl: float, intent: str | None, now: float) -> bool:
    """See `IdentityStore.renew`."""
    row = rows.lease(token)
    if row is None:
        return False
    rows.extend(token, row.intent if intent is None else intent, now + ttl)
    return True


def release(rows: Rows, token: int) -> bool:
    """See `IdentityStore.release`."""
    if rows.lease(token) is None:
        return False
    rows.revoke(token)
    return True


def bind(rows: Rows, change: Change, now: float) -> BindOutcome:
    """See `IdentityStore.bind`."""
    if change.token is not None and rows.lease(change.token) is None:
        return BindOutcome("fenced")
    wanted = change.binding
    stands = rows.binding(wanted.key) if wanted.key else _same_pair(rows, wanted)
    is_expected = stands is not None and stands.version == wanted.version if wanted.key else stands is None
    if not is_expected:
        return BindOutcome("stale", stands)
    for identifier in owned(wanted):
        place = rows.place(identifier)
        if place is not None and place.retired_at is None and place.key not in {wanted.key, *change.absorb}:
            return BindOutcome("conflict", rows.binding(place.key))
    return BindOutcome("bound", _carry_out(rows, change, stands, now))


def add(rows: Rows, binding: Binding) -> AddStatus:
    """Judge and add one row of `IdentityStore.add`."""
    places = [place for each in owned(binding) if (place := rows.place(each)) is not None and place.retired_at is None]
    keys = {place.key for place in places}
    if len(keys) > 1:
        return "conflict"
    stands = rows.binding(keys.pop()) if keys else None
    whole = replace(binding, key="", version=0) if stands is None else _completed(stands, binding)
    if whole is None:
        return "conflict"
    if whole == stands:
        return "unchanged"
    if any(rows.token(each) is not None for each in owned(whole)):
        return "conflict"
    _settle(rows, replace(whole, version=whole.version + 1, verified_at=binding.verified_at))
    return "added"


def remove(rows: Rows, identifier: Identifier) -> bool:
    """See `IdentityStore.remove`."""
    place = rows.place(identifier)
    if place is None or place.retired_at is not None:
        return False
    _dissolve(rows, place.key)
    return True


def release_identifier(rows: Rows, identifier: Identifier) -> bool:
    """See `IdentityStore.release_identifier`."""
    place = rows.place(identifier)
    if place is None or place.retired_at is None:
        return False
    rows.forget(identifier)
    return True


def restore(rows: Rows, match: Match) -> bool:
    """Judge and retire one identifier of `IdentityStore.restore`."""
    assert match.retired_at is not None
    names = owned(match.binding)
    owner = rows.place(names[0]) if names else None
    if owner is None or owner.retired_at is not None or rows.place(match.identifier) is not None:
        return False
    rows.put(match.identifier, Place(owner.key, match.retired_at))
    return True


def restore_journal(rows: Rows, binding: Binding, row: JournalRow) -> bool:
    """Judge and write down one row of `IdentityStore.restore_journal`."""
    places = {rows.place(name) for name in owned(binding)}
    place = places.pop() if len(places) == 1 else None
    if place is None or place.retired_at is not None:
        return False
    row = replace(row, number=0, key=place.key)
    if rows.is_written_down(row):
        return False
    rows.write_down(row)
    return True


def _same_pair(rows: Rows, wanted: Binding) -> Binding | None:
    """Return the binding that has the pair already, if there is a pair to speak of."""
    for identifier in owned(replace(wanted, profile_id=None)):
        place = rows.place(identifier)
        stands = None if place is None or place.retired_at is not None else rows.binding(place.key)
        if stands is not None and stands.identity == wanted.identity:
            return stands
    return None


def _carry_out(rows: Rows, change: Change, stands: Binding | None, now: float) -> Binding:
    """Make the change, once nothing speaks against it."""
    former: dict[Identifier, float] = {}
    absorbed = [key for key in change.absorb if key != change.binding.key]
    for key in absorbed:
        former |= _dissolve(rows, key, now)
    if stands is not None:
        for identifier in owned(stands):
            rows.forget(identifier)
        former |= _all(owned(replace(stands, profile_id=None)), now)
    former |= _all(change.retire, now)
    version = 1 if stands is None else stands.version + 1
    verified_at = now if change.verified else change.binding.verified_at
    bound = _settle(rows, replace(change.binding, version=version, verified_at=verified_at))
    for key in absorbed:
        rows.inherit(key, bound.key)
    for identifier, retired_at in former.items():
        place = rows.place(identifier)
        if place is None or place.retired_at is not None:  # ownership beats retirement
            rows.put(identifier, Place(bound.key, retired_at))
    if change.token is not None:
        rows.revoke(change.token)
    if change.journal is not None:
        rows.write_down(JournalRow(0, now, bound.key, bound.profile_id, bound.external_id, change.journal))
    return bound


def _settle(rows: Rows, binding: Binding) -> Binding:
    """Write a binding, and make its identifiers current on it."""
    saved = rows.save(binding)
    for identifier in owned(saved):
        rows.put(identifier, Place(saved.key))
    return saved


def _dissolve(rows: Rows, key: str, now: float = 0.0) -> dict[Identifier, float]:
    """Remove a binding with all that is or was its, and return that, with the times of retirement."""
    binding = rows.binding(key)
    if binding is None:
        return {}
    former = rows.retired(key) | _all(owned(binding), now)
    for identifier in former:
        rows.forget(identifier)
    rows.drop(key)
    return former


def _all(identifiers: Iterable[Identifier], at: float) -> dict[Identifier, float]:
    return dict.fromkeys(identifiers, at)


def _completed(stands: Binding, row: Binding) -> Binding | None:
    """Return the binding with what it lacks filled in; None where the row contradicts it."""
    given = {name: value for name in _ENTRIES if (value := getattr(row, name)) is not None}
    if any(getattr(stands, name) not in {None, value} for name, value in given.items()):
        return None
    return replace(stands, **given)
