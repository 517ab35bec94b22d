"""The findings that need the identity map: A5, a ghost on a former address; A6, a contradiction; A7, a twin.

Klaviyo's page *Merge profiles* says where ghosts come from: after a merge or a change of email, an event with the old
address creates a new profile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from safeklaviyo.audit._finding import ShownBinding
from safeklaviyo.audit._judgement import Verdict, finding_of, judge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeklaviyo.audit._finding import Finding
    from safeklaviyo.audit._table import Customer, Row, Table

_OLD: Final = "the address was given up so long ago that another person may have it by now"
_OWN: Final = "it is the customer's own profile, which shows the former address again; recheck_changes puts it right"
_ALONE: Final = "the data do not show the customer's own profile"
_DIFFERS: Final = "a contradiction is looked into, and not merged away"


def ghosts(table: Table, since: float | None) -> Iterator[Finding]:
    """Yield A5: profiles on addresses that were a customer's before.

    Args:
        table: The profiles and the customers of the audit.
        since: Addresses that were retired before this moment are doubtful, in unix seconds; None for no limit.
    """
    query = (
        "SELECT former.mail, former.retired_at, former.customer FROM former JOIN profile USING (mail) "
        "GROUP BY former.mail, former.customer"
    )
    for mail, retired_at, number in table.ask(query):
        # A customer has the address now, so it is no former one: ownership outranks retirement.
        if next(table.customers("mail = ?", mail), None) is not None:
            continue
        customer = next(table.customers("n = ?", number))
        own = own_profile(table, customer)
        is_old = isinstance(retired_at, float | int) and since is not None and retired_at < since
        for row in table.select("mail = ?", mail):
            yield _ghost(table, row, customer, own, doubt=_OLD if is_old else "")


def _ghost(table: Table, row: Row, customer: Customer, own: Row | None, *, doubt: str) -> Finding:
    """Return the finding about one profile on a former address; a pair if the customer's own profile is known."""
    binding = shown(table, customer)
    why = "it lives on an address that was a customer's before, as the map says"
    if own is None or own == row:
        return finding_of("A5", (row,), why, Verdict(_ALONE if own is None else _OWN), binding)
    return finding_of("A5", (row, own), why, judge(table, row, own, doubt), binding)


def of_customers(table: Table) -> Iterator[Finding]:
    """Yield A6 and A7: contradictions between Klaviyo and the map, and profiles beside a customer's own."""
    # Customers without a profile in the data are left out: an export may be a part of the account.
    query = """
        SELECT n FROM customer WHERE profile_id IN (SELECT profile_id FROM profile)
            OR external_id IN (SELECT key FROM profile WHERE key IS NOT NULL)
            OR mail IN (SELECT mail FROM profile WHERE mail IS NOT NULL)
    """
    for (number,) in table.ask(query):
        customer = next(table.customers("n = ?", number))
        own = own_profile(table, customer)
        yield from _disagreement(table, customer, own)
        yield from _twins(table, customer, own)


def _disagreement(table: Table, customer: Customer, own: Row | None) -> Iterator[Finding]:
    """Yield A6 if the customer's own profile shows another email or external id than the map, or lacks one."""
    if own is None:
        return
    mail_differs = customer.mail is not None and own.mail is not None and own.mail != customer.mail
    # A missing email counts only on the very profile that the map names. On another profile it is a finding of A1, or
    # of A7 if the email has a profile too.
    lost_mail = customer.mail is not None and own.email is None and own.profile_id == customer.profile_id
    id_differs = own.external_id != customer.external_id and None not in {own.external_id, customer.external_id}
    lost_id = customer.external_id is not None and own.external_id is None and own.profile_id == customer.profile_id
    differing = [
        name
        for name, differs in (("email", mail_differs or lost_mail), ("external id", id_differs or lost_id))
        if differs
    ]
    if differing:
        why = f"the map and Klaviyo have another {' and another '.join(differing)} for this customer"
        yield finding_of("A6", (own,), why, Verdict(_DIFFERS), shown(table, customer))


def _twins(table: Table, customer: Customer, own: Row | None) -> Iterator[Finding]:
    """Yield A7: an email-only profile with the customer's address, beside the customer's own profile."""
    if own is None or customer.external_id is None or customer.mail is None or own.mail == customer.mail:
        return
    why = "it has only the email that the map gives to a customer, and the customer's external id is on another profile"
    for row in table.select("mail = ? AND external_id IS NULL", customer.mail):
        if row != own:
            yield finding_of("A7", (row, own), why, judge(table, row, own), shown(table, customer))


def own_profile(table: Table, customer: Customer) -> Row | None:
    """Return the customer's own profile: by the id in the map, else by the external id, else by the email.

    If several profiles have the external id (A3), it is the one with the email of the map.
    """
    if customer.profile_id is not None:
        for row in table.select("profile_id = ?", customer.profile_id):
            return row
    if customer.external_id is not None:
        rows = sorted(table.select("key = ?", customer.external_id), key=lambda row: row.content)
        if rows:
            return next((row for row in rows if row.mail == customer.mail), rows[0])
    if customer.mail is not None:
        rows = sorted(
            table.select("mail = ?", customer.mail), key=lambda row: (row.external_id is not None, row.content)
        )
        # An email-only profile comes first: first contact would give that one the customer's id (R4).
        return rows[0] if rows else None
    return None


def shown(table: Table, customer: Customer) -> ShownBinding:
    """Return what the map says about a customer."""
    former = tuple(
        str(mail) for (mail,) in table.ask("SELECT mail FROM former WHERE customer = ? ORDER BY mail", customer.number)
    )
    return ShownBinding(customer.external_id, customer.mail, customer.profile_id, former)
