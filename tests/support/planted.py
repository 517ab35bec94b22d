"""Accounts in which duplicates were planted, with what an audit has to find in them and what it must not plan.

Each scene knows who each profile belongs to, so that a merge of two people's profiles is seen, whatever it looks like.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from safeklaviyo.testing import KlaviyoSimulator

SUBSCRIBED, UNSUBSCRIBED, NEVER, SUPPRESSED = "SUBSCRIBED", "UNSUBSCRIBED", "NEVER_SUBSCRIBED", "SUPPRESSED"
_CONSENTS = (SUBSCRIBED, SUBSCRIBED, NEVER, UNSUBSCRIBED, SUPPRESSED)
_NAMES = ("Ada", "Ben", "Cem", "Dora", "Eve", "Finn", "Gül", "Hugo", "Ida", "Jan")
_PLACEHOLDERS = ("null", "undefined", "[object Object]", "1.0E+05", "anonymous")

Pair = frozenset[str]


@dataclass(slots=True)
class Planted:
    """An account.

    Attributes:
        profiles: Their fields as an export has them; ``person`` says whose each is.
        customers: The rows of the shop's own data.
        expected: What has to be found: the rule, and the ids of the profiles.
        provable: The pairs that the data prove to be one customer's, and whose merge costs no consent.
    """

    random: Random
    profiles: list[dict[str, Any]] = field(default_factory=list)
    customers: list[dict[str, str]] = field(default_factory=list)
    expected: set[tuple[str, Pair]] = field(default_factory=set)
    provable: set[Pair] = field(default_factory=set)
    people: int = 0

    def person(self) -> dict[str, Any]:
        """Return a new person, with an id, an address and a name of its own."""
        self.people += 1
        number = f"{self.random.randrange(10**6)}{self.people}"
        return {
            "person": self.people,
            "id": f"c{number}",
            "email": f"p{number}@shop.test",
            "name": self.random.choice(_NAMES),
        }

    def profile(self, person: dict[str, Any], **shown: str | None) -> dict[str, Any]:
        """Add a profile of a person, with what it shows."""
        name = self.random.choice((person["name"], person["name"], None, f"{person['name'][0]}."))
        made = {
            "profile_id": f"01{len(self.profiles):06d}{self.random.randrange(10**12):012d}", "person": person["person"],
            "external_id": None, "email": None, "phone_number": None, "first_name": name,
            "consent": self.random.choice(_CONSENTS), "last_event": f"2026-0{self.random.randrange(1, 10)}-01", **shown,
        }  # fmt: skip
        if made["email"] is None:
            made["consent"] = NEVER
        self.profiles.append(made)
        return made

    def expect(self, rule: str, *profiles: dict[str, Any]) -> None:
        """Say that something has to be found."""
        self.expected.add((rule, frozenset(each["profile_id"] for each in profiles)))

    def prove(self, source: dict[str, Any], into: dict[str, Any], *, either: bool = False) -> None:
        """Say that the data prove two profiles to be one customer's, unless the merge would cost a consent.

        Args:
            either: Each of the two may be the one that stays.
        """
        ways = [(source, into), (into, source)] if either else [(source, into)]
        if any(is_free(one["consent"], two["consent"]) and two["email"] is not None for one, two in ways):
            self.provable.add(frozenset((source["profile_id"], into["profile_id"])))

    @property
    def owners(self) -> dict[str, int]:
        """Whose each profile is."""
        return {each["profile_id"]: each["person"] for each in self.profiles}

    def write_export(self, path: Path, order: Random | None = None) -> Path:
        """Write the profiles as Klaviyo exports them."""
        rows = list(self.profiles)
        if order is not None:
            order.shuffle(rows)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([
                "Email", "Klaviyo ID", "First Name", "Phone Number", "external_id", "Email Marketing Consent",
                "Email Suppressions", "SMS Marketing Consent", "Last Active",
            ])  # fmt: skip
            for each in rows:
                is_suppressed = each["consent"] == SUPPRESSED
                writer.writerow([
                    each["email"], each["profile_id"], each["first_name"], each["phone_number"], each["external_id"],
                    SUBSCRIBED if is_suppressed else each["consent"], "USER_SUPPRESSED" if is_suppressed else "", NEVER,
                    each["last_event"],
                ])  # fmt: skip
        return path

    def write_customers(self, path: Path) -> Path:
        """Write the shop's own data as `bindings import` takes them."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["external_id", "email", "former_emails"])
            writer.writeheader()
            writer.writerows(self.customers)
        return path

    def fill(self, simulator: KlaviyoSimulator) -> None:
        """Make the profiles in a pretend Klaviyo, under the same ids."""
        for each in self.profiles:
            is_suppressed = each["consent"] == SUPPRESSED
            simulator.add_profile(
                profile_id=each["profile_id"], external_id=each["external_id"], email=each["email"],
                phone_number=each["phone_number"], consent=SUBSCRIBED if is_suppressed else each["consent"],
                suppressed=is_suppressed, **({"first_name": each["first_name"]} if each["first_name"] else {}),
            )  # fmt: skip


def is_free(given: str, kept: str) -> bool:
    """Tell whether a merge costs no consent: the source's consent, and that of the profile that stays."""
    if given == SUBSCRIBED:
        return kept == SUBSCRIBED
    return given == NEVER or kept in {UNSUBSCRIBED, SUPPRESSED}


def plant(seed: int, people: int = 8) -> Planted:
    """Return an account of some scenes; the same for the same seed."""
    account = Planted(Random(seed))
    for _ in range(people):
        account.random.choice(SCENES)(account)
    account.random.shuffle(account.profiles)
    return account


def _clean(account: Planted) -> None:
    person = account.person()
    account.profile(person, external_id=person["id"], email=person["email"])
    account.customers.append({"external_id": person["id"], "email": person["email"]})


def _guest(account: Planted) -> None:
    person = account.person()
    account.profile(person, email=person["email"])


def _id_only(account: Planted) -> None:
    person = account.person()
    account.expect("A1", account.profile(person, external_id=person["id"]))


def _two_spellings(account: Planted) -> None:
    person = account.person()
    own = account.profile(person, external_id=person["id"], email=person["email"])
    other = account.profile(person, email=account.random.choice((person["email"].upper(), person["email"].title())))
    account.expect("A2", own, other)
    account.prove(other, own)


def _two_spellings_of_a_guest(account: Planted) -> None:
    person = account.person()
    one = account.profile(person, email=person["email"])
    two = account.profile(person, email=person["email"].title())
    account.expect("A2", one, two)
    account.prove(one, two, either=True)


def _couple_with_one_mailbox(account: Planted) -> None:
    """Two customers, two ids, one address, and a third profile that is certainly one of theirs."""
    ann, bob = account.person(), account.person()
    one = account.profile(ann, external_id=ann["id"], email=ann["email"])
    two = account.profile(bob, external_id=bob["id"], email=ann["email"].title())
    third = account.profile(bob, email=ann["email"].upper(), first_name=None)
    for pair in ((one, two), (one, third), (two, third)):
        account.expect("A2", *pair)


def _id_twice(account: Planted) -> None:
    person = account.person()
    own = account.profile(person, external_id=person["id"], email=person["email"])
    account.profile(person, external_id=person["id"])
    other = account.profiles[-1]
    account.expect("A3", own, other)
    account.expect("A1", other)
    account.prove(other, own)


def _id_twice_with_two_addresses(account: Planted) -> None:
    person = account.person()
    own = account.profile(person, external_id=person["id"], email=person["email"])
    other = account.profile(person, external_id=person["id"], email=f"new-{person['email']}")
    account.expect("A3", own, other)
    account.prove(other, own, either=True)


def _constant_id(account: Planted) -> None:
    """A shop that sends the name of its till as the customer's id."""
    till = f"till-{account.random.randrange(10**6)}"
    for _ in range(3):
        person = account.person()
        account.profile(person, external_id=till, email=person["email"])
    for at in ((-1, -2), (-1, -3), (-2, -3)):
        account.expect("A3", *(account.profiles[each] for each in at))


def _family(account: Planted) -> None:
    phone = f"+4915{account.random.randrange(10**9):09d}"
    members = [account.person() for _ in range(account.random.randrange(2, 5))]
    made = [account.profile(each, external_id=each["id"], email=each["email"], phone_number=phone) for each in members]
    for at, one in enumerate(made):
        for two in made[:at]:
            account.expect("A4", one, two)


def _twins(account: Planted) -> None:
    """Same name, same number, and one is a guest."""
    phone = f"+4917{account.random.randrange(10**9):09d}"
    one, two = account.person(), account.person()
    two["name"] = one["name"]
    own = account.profile(one, external_id=one["id"], email=one["email"], phone_number=phone)
    other = account.profile(two, email=two["email"], phone_number=phone)
    account.expect("A4", own, other)


def _ghost(account: Planted) -> None:
    person = account.person()
    own = account.profile(person, external_id=person["id"], email=f"new-{person['email']}")
    ghost = account.profile(person, email=person["email"])
    account.customers.append({"external_id": person["id"], "email": own["email"], "former_emails": person["email"]})
    account.expect("A5", ghost, own)
    account.prove(ghost, own)


def _address_of_another_by_now(account: Planted) -> None:
    """Somebody else signed up with an address that a customer had given up."""
    person, heir = account.person(), account.person()
    own = account.profile(person, external_id=person["id"], email=f"new-{person['email']}")
    theirs = account.profile(heir, external_id=heir["id"], email=person["email"])
    account.customers.append({"external_id": person["id"], "email": own["email"], "former_emails": person["email"]})
    account.expect("A5", theirs, own)


def _disagreement(account: Planted) -> None:
    person = account.person()
    own = account.profile(person, external_id=person["id"], email=f"other-{person['email']}")
    account.customers.append({"external_id": person["id"], "email": person["email"]})
    account.expect("A6", own)


def _taken_over(account: Planted) -> None:
    """Another id was written onto a customer's profile (situation 5)."""
    person, other = account.person(), account.person()
    own = account.profile(person, external_id=other["id"], email=person["email"])
    account.customers.append({"external_id": person["id"], "email": person["email"]})
    account.expect("A6", own)


def _email_only_twin(account: Planted) -> None:
    """The founding case: one call by id alone, one by email alone (situation 6)."""
    person = account.person()
    own = account.profile(person, external_id=person["id"])
    twin = account.profile(person, email=person["email"])
    account.customers.append({"external_id": person["id"], "email": person["email"]})
    account.expect("A1", own)
    account.expect("A7", twin, own)
    account.prove(own, twin)


def _variants(account: Planted) -> None:
    one, two = account.person(), account.person()
    local = one["email"].partition("@")[0]
    own = account.profile(one, external_id=one["id"], email=f"{local}@gmail.com")
    spelt = account.random.choice((f"{local}+shop@gmail.com", f"{local[0]}.{local[1:]}@gmail.com"))
    account.expect("A8", own, account.profile(two, email=spelt))


def _placeholder(account: Planted) -> None:
    mark = account.random.choice(_PLACEHOLDERS)
    for person in (account.person(), account.person()):
        account.expect("A9", account.profile(person, external_id=mark, email=person["email"]))


def _heir_who_is_there_twice(account: Planted) -> None:
    """Somebody else has an address that a customer had given up, once with an id and once without."""
    person, heir = account.person(), account.person()
    former = person["email"]
    own = account.profile(person, external_id=person["id"], email=f"new-{former}")
    account.customers.append({"external_id": person["id"], "email": own["email"], "former_emails": former})
    theirs = account.profile(heir, external_id=heir["id"], email=former)
    other = account.profile(heir, email=former.title(), first_name=None)
    account.expect("A2", theirs, other)
    account.expect("A5", theirs, own)
    account.expect("A5", other, own)


def _id_on_the_profile_of_another(account: Planted) -> None:
    """A shop that wrote a customer's id onto the profile of another, whose address the map knows."""
    one, two = account.person(), account.person()
    own = account.profile(one, external_id=one["id"], email=one["email"])
    other = account.profile(two, external_id=one["id"], email=two["email"], first_name=None)
    account.customers.append({"external_id": two["id"], "email": two["email"]})
    account.expect("A3", own, other)
    account.expect("A6", other)


def _halves_beside_another(account: Planted) -> None:
    """The halves of a customer, and a third profile with the same address and the id of somebody else."""
    one, two = account.person(), account.person()
    own = account.profile(one, external_id=one["id"])
    twin = account.profile(two, email=one["email"], first_name=None)
    theirs = account.profile(two, external_id=two["id"], email=one["email"].title())
    account.customers.append({"external_id": one["id"], "email": one["email"]})
    account.expect("A1", own)
    account.expect("A7", twin, own)
    account.expect("A2", twin, theirs)


SCENES: list[Callable[[Planted], None]] = [
    _clean, _guest, _id_only, _two_spellings, _two_spellings_of_a_guest, _couple_with_one_mailbox, _id_twice,
    _id_twice_with_two_addresses, _constant_id, _family, _twins, _ghost, _address_of_another_by_now, _disagreement,
    _taken_over, _email_only_twin, _variants, _placeholder, _heir_who_is_there_twice, _id_on_the_profile_of_another,
    _halves_beside_another,
]  # fmt: skip
