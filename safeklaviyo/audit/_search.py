"""Looking for the findings A1 to A9 in the profiles that were read: single profiles, and pairs that share something.

    A1  An external id without an email: no call by email reaches it, and the next one makes a second profile.
    A2  One email in two spellings.
    A3  One external id on two profiles.
    A4  One phone number on two profiles. Families share one, so it is shown and never planned.
    A5  A live profile on an address that was a customer's before.
    A6  The map and Klaviyo disagree about a customer.
    A7  An email-only profile beside the profile of the customer to whom the map gives that email.
    A8  Addresses that differ by a plus or by dots. They may be two people, so they are shown and never planned.
    A9  A placeholder in place of an identifier.

A finding has two profiles at most: if A goes with B and B with C, that says nothing about A and C. `_judgement` decides
which pairs may be merged. `_map_findings` looks for A5 to A7.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Final

from safeklaviyo.audit._judgement import Verdict, finding_of, judge
from safeklaviyo.audit._map_findings import ghosts, of_customers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from safeklaviyo.audit._finding import Finding
    from safeklaviyo.audit._table import Row, Table

_ALL_PAIRS: Final = 8
"""Up to so many profiles with one identifier, every two are a pair. Of more, each is a pair with the first."""
_CONSTANT: Final = 3
"""With so many different addresses, one external id may be a constant in the shop's code."""

_FAMILIES: Final = "families, twins and colleagues share a number, so the two may be two people"
_VARIANTS: Final = (
    "to Klaviyo these are two addresses, and they may be two people's: not every mail service unites them"
)
_MAY_BE_CONSTANT: Final = "several profiles with other emails have this external id, so it may be no customer's own"


def search(table: Table, checked: Collection[str], *, since: float | None) -> Iterator[Finding]:
    """Yield the findings of the rules that the data can show.

    Args:
        table: The profiles and the customers of the audit.
        checked: The rules that the data can show.
        since: An address that was given up before this moment may have a new owner by now; in unix seconds, None for
            no limit.
    """
    found: dict[str, Callable[[Table], Iterator[Finding]]] = {
        "A1": _without_email, "A2": _same_mail, "A3": _same_key, "A4": _same_number,
        "A5": lambda of: ghosts(of, since), "A8": _variants, "A9": _placeholders,
    }  # fmt: skip
    for rule, look in found.items():
        if rule in checked:
            yield from look(table)
    yield from (each for each in of_customers(table) if each.rule in checked)


def _without_email(table: Table) -> Iterator[Finding]:
    why = "it has an external id and no email, so a call with the email makes a second profile"
    why_not = "no other profile is known to be the same customer's"
    for row in table.select("key IS NOT NULL AND email IS NULL"):
        yield finding_of("A1", (row,), why, Verdict(why_not))


def _same_mail(table: Table) -> Iterator[Finding]:
    for (mail,) in table.ask("SELECT mail FROM profile WHERE mail IS NOT NULL GROUP BY mail HAVING count(*) > 1"):
        for one, two in _pairs(table, "mail", mail):
            spelling = "one email, written in two ways" if one.email != two.email else "the same email"
            yield finding_of("A2", (one, two), f"both have {spelling}", judge(table, one, two))


def _same_key(table: Table) -> Iterator[Finding]:
    query = "SELECT key, count(DISTINCT mail) FROM profile WHERE key IS NOT NULL GROUP BY key HAVING count(*) > 1"
    for key, mails in table.ask(query):
        for one, two in _pairs(table, "key", key):
            # Merging the customers of a constant would make one person of many.
            doubt = _MAY_BE_CONSTANT if number_of(mails) >= _CONSTANT else ""
            yield finding_of("A3", (one, two), "both have the same external id", judge(table, one, two, doubt))


def _same_number(table: Table) -> Iterator[Finding]:
    query = "SELECT number FROM profile WHERE number IS NOT NULL GROUP BY number HAVING count(*) > 1"
    for (number,) in table.ask(query):
        for pair in _pairs(table, "number", number):
            yield finding_of("A4", pair, "both have the same phone number", Verdict(_FAMILIES))


def _variants(table: Table) -> Iterator[Finding]:
    why = "their addresses differ only by a plus or by dots"
    query = """
        SELECT variant FROM profile WHERE variant IS NOT NULL GROUP BY variant HAVING count(DISTINCT mail) > 1
        UNION SELECT one.variant FROM profile one JOIN profile two ON two.mail = one.variant
    """
    for (variant,) in table.ask(query):
        # One profile of each address: two profiles with the same address are a finding of A2.
        rows: dict[str | None, Row] = {}
        for row in sorted(table.select("variant = ? OR mail = ?", variant, variant), key=lambda each: each.content):
            rows.setdefault(row.mail, row)
        for pair in _each_pair(list(rows.values())):
            yield finding_of("A8", pair, why, Verdict(_VARIANTS))


def _placeholders(table: Table) -> Iterator[Finding]:
    for row in table.select("spoilt <> ''"):
        names = " and the ".join(row.spoilt.split())
        why = f"the {names} is a placeholder, or spoilt by an export, and no customer's own"
        yield finding_of("A9", (row,), why, Verdict("a placeholder says nothing about who a person is"))


def _pairs(table: Table, column: str, value: object) -> Iterator[tuple[Row, Row]]:
    """Yield the pairs of profiles that share a value, in an order that depends on the profiles alone."""
    (number,) = next(table.ask(f"SELECT count(*) FROM profile WHERE {column} = ?", value))  # noqa: S608 - our columns
    if number_of(number) <= _ALL_PAIRS:
        yield from _each_pair(sorted(table.select(f"{column} = ?", value), key=lambda each: each.content))
        return
    # Thousands may share a value, and millions of pairs would be no finding. The first is compared with each other one,
    # and only two are in memory at a time.
    order = "profile_id, external_id, email, phone_number, first_name, last_name, created, last_event"
    rows = table.select(f"{column} = ? ORDER BY {order}", value)
    first = next(rows)
    yield from ((first, row) for row in rows)


def _each_pair(rows: list[Row]) -> Iterator[tuple[Row, Row]]:
    if len(rows) > _ALL_PAIRS:
        yield from ((rows[0], row) for row in rows[1:])
        return
    yield from combinations(rows, 2)


def number_of(count: object) -> int:
    """Return a count that SQLite has answered."""
    assert isinstance(count, int)
    return count
