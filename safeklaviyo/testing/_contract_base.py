"""What the tests of the store contract share: two clocks, the fixtures to override, and short names for values."""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import pytest

from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change, JournalEntry

if TYPE_CHECKING:
    from safeklaviyo.stores.base import IdentityStore, Lease, Match

SHOP = "AbCdEf"
LONG = 3600.0
"""A lease that outlives its test."""


class StoreClock(Protocol):
    """How a test lets time pass for a store.

    Attributes:
        moment: The shortest time, in seconds, that a test can rely on the clock to show.
        is_exact: Time stands still unless a test advances it.
    """

    moment: float
    is_exact: bool

    def advance(self, seconds: float) -> None:
        """Let time pass."""


class ManualClock:
    """A clock for stores that take one: it stands still until it is advanced."""

    moment = 1.0
    is_exact = True

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time, in unix seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class SystemClock:
    """The clock of a store for which no test can set the time, such as a server's: time passes by waiting."""

    moment = 0.01
    is_exact = False

    def advance(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class StoreFixtures:
    """The fixtures that a subclass overrides."""

    @pytest.fixture
    def clock(self) -> StoreClock:
        """The clock that the store goes by."""
        return SystemClock()

    @pytest.fixture
    @abstractmethod
    def store(self, clock: StoreClock) -> IdentityStore:
        """An empty store, closed when the test has ended."""
        raise NotImplementedError


def email(value: str) -> Identifier:
    """Return an address."""
    return Identifier(Kind.EMAIL, value)


def external_id(value: str) -> Identifier:
    """Return a shop's own id."""
    return Identifier(Kind.EXTERNAL_ID, value)


def profile_id(value: str) -> Identifier:
    """Return a profile id of Klaviyo's."""
    return Identifier(Kind.PROFILE_ID, value)


def bound(store: IdentityStore, change: Change) -> Binding:
    """Make a change that the store must accept, and return the binding as it is then."""
    outcome = store.bind(SHOP, change)
    assert outcome.status == "bound"
    assert outcome.binding is not None
    return outcome.binding


def ann(store: IdentityStore) -> Binding:
    """Bind a customer with an external id, an address and a profile."""
    return bound(store, Change(Binding("ann", "ann@shop.org", "PANN")))


def ben(store: IdentityStore) -> Binding:
    """Bind another one."""
    return bound(store, Change(Binding("ben", "ben@shop.org", "PBEN")))


def leased(store: IdentityStore, *identifiers: Identifier, intent: str = "an intent", ttl: float = LONG) -> Lease:
    """Take a lease that the store must grant."""
    lease = store.acquire(SHOP, frozenset(identifiers), intent=intent, ttl=ttl)
    assert lease is not None
    return lease


def renamed(store: IdentityStore, binding: Binding, address: str) -> Binding:
    """Change an address, with a row in the journal."""
    change = Change(replace(binding, email=address), journal=JournalEntry("change_email", binding.email, address))
    return bound(store, change)


def match_of(store: IdentityStore, identifier: Identifier) -> Match | None:
    """Return the match of one identifier, if there is one."""
    matches = store.find(SHOP, (identifier,)).matches
    assert len(matches) <= 1
    return matches[0] if matches else None


def owner(store: IdentityStore, identifier: Identifier) -> Binding | None:
    """Return the binding on which an identifier is current."""
    match = match_of(store, identifier)
    return None if match is None or match.retired_at is not None else match.binding


def former_owner(store: IdentityStore, identifier: Identifier) -> Binding | None:
    """Return the binding from which an identifier is retired."""
    match = match_of(store, identifier)
    return None if match is None or match.retired_at is None else match.binding


def now(store: IdentityStore) -> float:
    """Return the time by the store's clock."""
    return store.find(SHOP, ()).now


def everything(store: IdentityStore) -> tuple[object, ...]:
    """Return all that the contract shows of bindings, leases and journal, to check that nothing has changed."""
    page = store.page(SHOP)
    names = [Identifier(kind, f"{who}{tail}") for who in ("ann", "ben", "PANN", "PBEN") for kind, tail in _SPELLINGS]
    matches = tuple(match_of(store, name) for name in names)
    # Without the time that remains, which passes by itself.
    leases = tuple(
        None if lease is None else (lease.token, lease.identifiers, lease.intent)
        for lease in (store.find(SHOP, (name,)).lease for name in names)
    )
    return page, matches, leases, store.journal(SHOP, since=0)


_SPELLINGS = (
    (Kind.EXTERNAL_ID, ""),
    (Kind.EMAIL, "@shop.org"),
    (Kind.EMAIL, "@old.org"),
    (Kind.PROFILE_ID, ""),
)
