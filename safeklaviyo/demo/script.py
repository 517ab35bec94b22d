"""The script of the shop's day: its customers, and the calls that its systems make, in order.

Both ways to write a shop play the same script. A call carries the identifiers that the calling system has: a web shop
has the visitor's email, a warehouse the customer's id, a sign-up form both.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

KINDS = 6
"""The number of kinds of day. The first customer has the first kind, and so on, and then again from the first."""

_PLAIN, _MOVER, _RACER, _LENDER, _BORROWER, _THROTTLED = range(KINDS)


@dataclass(frozen=True, slots=True)
class Customer:
    """One customer, and the identifiers that the customer has by the end of the day.

    Attributes:
        kind: The customer's kind of day.
        email: The address in the morning.
        new_email: The address from the afternoon on, if it changes.
        phone_number: The phone number that the customer gives at sign-up.
    """

    number: int
    kind: int
    external_id: str
    email: str
    new_email: str | None = None
    phone_number: str | None = None

    @property
    def current_email(self) -> str:
        """The address in the evening."""
        return self.new_email or self.email


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one of the shop's systems, with the identifiers it has at hand.

    Attributes:
        event: The metric's name, for ``"track"``.
        reference: A name that no other event has, by which recorded events are counted.
    """

    verb: Literal["identify", "track", "change_email"]
    customer: Customer
    external_id: str | None = None
    email: str | None = None
    phone_number: str | None = None
    event: str = ""
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure of the next event, before Klaviyo accepts it or after."""

    status: Literal[429, 503]
    when: Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Moment:
    """Calls within one second.

    Attributes:
        is_race: A worker of its own makes each call, all at once.
        fault: The failure of the first event, if any.
    """

    calls: tuple[Call, ...]
    is_race: bool = False
    fault: Fault | None = None


def customers(number: int) -> list[Customer]:
    """Return so many customers."""
    return [_customer(index) for index in range(number)]


def day(people: Sequence[Customer]) -> list[Moment]:
    """Return the day of these customers."""
    return list(_Script().moments(people))


def _customer(index: int) -> Customer:
    kind = index % KINDS
    # A borrower signs up with the phone number of the customer before, the lender: a couple, or a mistyped digit.
    phone = {_LENDER: index, _BORROWER: index - 1}.get(kind)
    return Customer(
        number=index,
        kind=kind,
        external_id=f"customer-{index:05}",
        email=f"customer-{index:05}@shop.test",
        new_email=f"customer-{index:05}@new.test" if kind == _MOVER else None,
        phone_number=None if phone is None else f"+1202555{phone:04}",
    )


class _Script:
    """Makes the moments of the day, and numbers the events."""

    def __init__(self) -> None:
        self._numbers = count()

    def moments(self, people: Sequence[Customer]) -> Iterator[Moment]:
        """Yield the moments of the day, in their order."""
        racers = [each for each in people if each.kind == _RACER]
        borrowers = [each for each in people if each.kind == _BORROWER]
        others = [each for each in people if each.kind != _BORROWER]
        movers = [each for each in people if each.new_email is not None]
        # The first contacts come before any sign-up: a race needs a customer whom Klaviyo does not have.
        yield from (self._first_contact(each) for each in racers)
        yield from (Moment((_sign_up(each),)) for each in others)
        yield from (Moment((self._browse(each, each.email),)) for each in others)
        # Later than all others, so that the lender's profile has the phone number by now (F-16).
        yield from (Moment((_sign_up(each),)) for each in borrowers)
        yield from (self._order(each, is_first=each.number == _PLAIN) for each in people)
        yield from (Moment((_change_email(each),)) for each in movers)
        # After the change: the address that these calls name is a former one (F-13).
        yield from (Moment((self._late_call(each),)) for each in movers)
        yield from (self._evening(each, is_first=each.number == _THROTTLED) for each in people)

    def _first_contact(self, customer: Customer) -> Moment:
        """Two calls at once: the web shop has the address, the till the id, and Klaviyo has neither yet."""
        order = self._track("Placed Order", customer, external_id=customer.external_id)
        return Moment((order, self._browse(customer, customer.email)), is_race=True)

    def _browse(self, customer: Customer, email: str) -> Call:
        return self._track("Viewed Product", customer, email=email)

    def _order(self, customer: Customer, *, is_first: bool) -> Moment:
        """An order, from a system that has ids only: one event for the order, and one for each of its articles."""
        # Two articles in one second are one event, if the caller sends no unique_id (F-17).
        articles = 2 if customer.kind == _PLAIN else 1
        names = ("Placed Order", *["Ordered Product"] * articles)
        calls = tuple(self._track(name, customer, external_id=customer.external_id) for name in names)
        return Moment(calls, fault=Fault(503, "after") if is_first else None)

    def _late_call(self, customer: Customer) -> Call:
        """A call of a system that still has the former address."""
        return self._track("Opened Invoice", customer, email=customer.email)

    def _evening(self, customer: Customer, *, is_first: bool) -> Moment:
        browse = self._browse(customer, customer.current_email)
        return Moment((browse,), fault=Fault(429, "before") if is_first else None)

    def _track(
        self, event: str, customer: Customer, *, external_id: str | None = None, email: str | None = None
    ) -> Call:
        reference = f"event-{next(self._numbers)}"
        return Call("track", customer, external_id, email, event=event, reference=reference)


def _sign_up(customer: Customer) -> Call:
    return Call("identify", customer, customer.external_id, customer.email, customer.phone_number)


def _change_email(customer: Customer) -> Call:
    return Call("change_email", customer, customer.external_id, customer.new_email)
