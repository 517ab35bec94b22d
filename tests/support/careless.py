"""Shops that call Klaviyo with plain requests, carelessly, for years; and who each profile is, in the end."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from safeklaviyo.testing import KlaviyoSimulator, Readings
from support.scenes import ACCOUNT, by_hand

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

READINGS = Readings(email_case="distinct", external_id_unique_on_create=False, event_replaces_email=False)
"""Those under which each kind of duplicate can come about."""


class Shop:
    """A shop, its own data, and what an audit has to find.

    Attributes:
        expected: The rule, and for each profile what it shows: the external id and the address, as it is written.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.simulator = KlaviyoSimulator(account=ACCOUNT, readings=READINGS, queue_lag=0.0)
        self.owners: dict[str, int] = {}
        self.customers: list[tuple[str, str, str]] = []
        self.expected: list[tuple[str, set[tuple[str | None, str | None]]]] = []
        self.people = 0

    def person(self) -> tuple[str, str]:
        """Return a new person's id and address."""
        self.people += 1
        name = f"{self.people}-{self.random.randrange(10**6)}"
        self.own(f"id-{name}", f"p-{name}@shop.test")
        return f"id-{name}", f"p-{name}@shop.test"

    def own(self, *identifiers: str) -> None:
        """Say that identifiers are those of the person who came last."""
        self.owners |= dict.fromkeys((each.lower() for each in identifiers), self.people)

    def owner(self, external_id: str | None, email: str | None) -> int | None:
        """Return whose a profile is: the email says it, because ids were written onto other people's profiles."""
        return self.owners.get((email or external_id or "").lower())

    def upsert(self, **attributes: str) -> None:
        """Import a profile, as most shops do."""
        body = {"type": "profile", "attributes": attributes}
        assert by_hand(self.simulator, "POST", "/api/profile-import", body).status in {200, 201}

    def create(self, **attributes: str) -> None:
        """Create a profile."""
        body = {"type": "profile", "attributes": attributes}
        assert 201 == by_hand(self.simulator, "POST", "/api/profiles", body).status

    def order(self, **attributes: str) -> None:
        """Send an event, and let Klaviyo apply it."""
        profile = {"data": {"type": "profile", "attributes": attributes}}
        metric = {"data": {"type": "metric", "attributes": {"name": "Placed Order"}}}
        body = {"type": "event", "attributes": {"properties": {}, "metric": metric, "profile": profile}}
        assert 202 == by_hand(self.simulator, "POST", "/api/events", body).status
        self.simulator.drain()

    def change(self, profile_id: str, **attributes: str) -> None:
        """Change a profile by its id."""
        body: dict[str, Any] = {"type": "profile", "id": profile_id, "attributes": attributes}
        assert 200 == by_hand(self.simulator, "PATCH", f"/api/profiles/{profile_id}", body).status

    def write_customers(self, path: Path) -> Path:
        """Write the shop's own data."""
        rows = [",".join(each) for each in self.customers]
        path.write_text("\n".join(["external_id,email,former_emails", *rows]) + "\n")
        return path


def careless(seed: int, years: int = 12) -> Shop:
    """Return a shop after some histories; the same for the same seed."""
    shop = Shop(seed)
    for _ in range(years):
        shop.random.choice(HISTORIES)(shop)
    return shop


def _both(shop: Shop) -> None:
    external_id, email = shop.person()
    shop.upsert(external_id=external_id, email=email)
    shop.order(email=email)
    shop.customers.append((external_id, email, ""))


def _id_here_email_there(shop: Shop) -> None:
    """The back end knows the id, the checkout the email."""
    external_id, email = shop.person()
    shop.upsert(external_id=external_id)
    shop.order(email=email)
    shop.customers.append((external_id, email, ""))
    shop.expected += [("A1", {(external_id, None)}), ("A7", {(external_id, None), (None, email)})]


def _late_event(shop: Shop) -> None:
    """The email is changed, and an order that is still on its way has the old one."""
    external_id, old = shop.person()
    new = f"new-{old}"
    shop.own(new)
    shop.upsert(external_id=external_id, email=old)
    (found,) = [each for each in shop.simulator.profiles if each.external_id == external_id]
    shop.change(found.id, email=new)
    shop.order(email=old)
    shop.customers.append((external_id, new, old))
    shop.expected.append(("A5", {(external_id, new), (None, old)}))


def _typed_by_hand(shop: Shop) -> None:
    """The guest checkout takes the address as it was typed."""
    external_id, email = shop.person()
    shop.upsert(external_id=external_id, email=email)
    shop.order(email=email.title())
    shop.customers.append((external_id, email, ""))
    shop.expected.append(("A2", {(external_id, email), (None, email.title())}))


def _created_twice(shop: Shop) -> None:
    """The new address is written with a create, because a search did not find it."""
    external_id, email = shop.person()
    shop.own(f"new-{email}")
    shop.create(external_id=external_id, email=email)
    shop.create(external_id=external_id, email=f"new-{email}")
    shop.expected.append(("A3", {(external_id, email), (external_id, f"new-{email}")}))


def _taken_over(shop: Shop) -> None:
    """A second account with the same address overwrites the id (situation 5)."""
    external_id, email = shop.person()
    shop.upsert(external_id=external_id, email=email)
    shop.upsert(external_id=f"other-{external_id}", email=email)
    shop.customers.append((external_id, email, ""))
    shop.expected.append(("A6", {(f"other-{external_id}", email)}))


def _no_id_at_all(shop: Shop) -> None:
    """A template that was not filled in."""
    _, email = shop.person()
    shop.create(external_id="undefined", email=email)
    shop.expected.append(("A9", {("undefined", email)}))


def _couple(shop: Shop) -> None:
    """Two people with one number, as old accounts have it."""
    ann, bob = shop.person(), shop.person()
    phone = f"+4915{shop.random.randrange(10**9):09d}"
    for external_id, email in (ann, bob):
        shop.simulator.add_profile(external_id=external_id, email=email, phone_number=phone)
    shop.expected.append(("A4", {ann, bob}))


HISTORIES: list[Callable[[Shop], None]] = [
    _both, _id_here_email_there, _late_event, _typed_by_hand, _created_twice, _taken_over, _no_id_at_all, _couple,
]  # fmt: skip
