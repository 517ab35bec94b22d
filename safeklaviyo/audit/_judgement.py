"""Whether two profiles may be merged, and which of them stays: by the rules of merges, by consent, and by caution.

Decided here, for each direction of a pair:

- what the rules of merges say (`_rules.merge_plan`);
- whether a consent may be lost. Klaviyo's rules for a destination that was never asked are not certain, so such a merge
  may lose the consent of the source;
- what makes a pair doubtful although the rules allow it: other first names, a third profile, the map.

A name only ever speaks against a merge. Two people with one name or one number may still be two people.
"""

from __future__ import annotations

import unicodedata
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from safeklaviyo._rules.merge_plan import planned_merge
from safeklaviyo.audit._finding import Finding
from safeklaviyo.models import Binding, Profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeklaviyo.audit._finding import ShownBinding, ShownConsent
    from safeklaviyo.audit._table import Customer, Row, Table

_REFUSING: Final = frozenset({"unsubscribed", "suppressed"})
_RANK: Final[dict[str, int]] = {
    "subscribed": 3,
    "unsubscribed": 2,
    "suppressed": 2,
    "never_subscribed": 1,
    "unknown": 0,
}

NO_IDS: Final = "the data do not say Klaviyo's ids of the profiles, so a merge cannot name them"
OTHER_NAMES: Final = "the two have different first names"
THIRD: Final = "a third profile has the email of one of them, and another external id"
OTHERS_EMAIL: Final = "the map gives the email of one of them to another customer"
PLACEHOLDER: Final = "an identifier of one of them is a placeholder"


class Verdict(NamedTuple):
    """The judgement on a pair.

    Attributes:
        why_not: What speaks against a merge; empty if nothing does.
        merge: The profile that ends and the one that stays; None if the two must not be merged.
    """

    why_not: str
    merge: tuple[Row, Row] | None = None


def judge(table: Table, one: Row, two: Row, doubt: str = "") -> Verdict:
    """Judge a pair.

    Args:
        table: The profiles and the customers of the audit.
        one: One profile.
        two: The other one.
        doubt: A reason against a merge that the caller knows already; empty without one.
    """
    # Step 1: reasons against both directions.
    reason = doubt or _against_both(one, two) or _third(table, one, two) or _of_others(table, one, two)
    if reason:
        return Verdict(reason)
    # Step 2: the better direction first, then the other one.
    reasons: list[str] = []
    for source, into in directions(one, two):
        found = next(_against(table, source, into), None)
        if found is None:
            return Verdict("", (source, into))
        reasons.append(found)
    # The reason against the better direction says most.
    return Verdict(reasons[0])


def finding_of(
    rule: str, rows: tuple[Row, ...], why: str, verdict: Verdict, binding: ShownBinding | None = None
) -> Finding:
    """Return a finding about one profile, or about two."""
    # The key depends on the profiles alone and not on their place in the data, so that the next audit finds the same.
    names = sorted(row.profile_id or repr((row.external_id, row.email, row.phone_number)) for row in rows)
    key = sha256("\n".join((rule, *names)).encode()).hexdigest()[:20]
    merge = None if verdict.merge is None else (verdict.merge[0].profile_id or "", verdict.merge[1].profile_id or "")
    shown = tuple(row.shown for row in rows)
    return Finding(key, rule, shown, why, verdict.why_not, verdict.merge is not None, binding, merge=merge)


def directions(one: Row, two: Row) -> list[tuple[Row, Row]]:
    """Return both directions of a pair, each with its source first. The better direction comes first."""
    into, source = sorted((one, two), key=_worth, reverse=True)
    return [(source, into), (into, source)]


def consent_cost(source: Row, into: Row) -> str:
    """Return how a merge may cost a consent; empty if it cannot."""
    # The source's consents: one to email belongs to an address, one to SMS to a number. Without it there is none.
    costs = _cost_of("email", source.consent, into.consent) if source.email is not None else ""
    if source.phone_number is not None:
        costs = costs or _cost_of("SMS", source.sms, into.sms)
    if costs:
        return costs
    if set(source.others.split()) - set(into.others.split()):
        return "the source is subscribed to a channel to which the destination is not"
    # The destination's own consent: a withdrawal of the source wins over it in Klaviyo.
    for channel, given, kept in (("email", source.consent, into.consent), ("SMS", source.sms, into.sms)):
        if kept == "subscribed" and given in _REFUSING:
            return f"the {channel} consent of the one that stays would be lost, because the other has withdrawn it"
    return ""


def profile_of_row(row: Row) -> Profile:
    """Return a row as a profile, for the rules of merges."""
    # A profile without an email cannot have been subscribed to one.
    word: ShownConsent = "never_subscribed" if row.email is None and row.consent == "unknown" else row.consent
    marketing: dict[str, Any] = {"consent": word.upper(), "suppression": []}
    if word == "suppressed":
        marketing = {"consent": "SUBSCRIBED", "suppression": [{"reason": "USER_SUPPRESSED"}]}
    subscriptions = None if word == "unknown" else {"email": {"marketing": marketing}}
    return Profile(
        id=row.profile_id or "", external_id=row.external_id, email=row.email, phone_number=row.phone_number,
        subscriptions=subscriptions,
    )  # fmt: skip


def _cost_of(channel: str, given: ShownConsent, kept: ShownConsent) -> str:
    if given == "unknown":
        return f"the data do not say whether the source is subscribed to {channel}"
    if given == "subscribed" and kept != "subscribed":
        return f"the {channel} consent of the source may be lost, because the destination has none"
    return ""


def _against_both(one: Row, two: Row) -> str:
    if one.profile_id is None or two.profile_id is None:
        return NO_IDS
    if {"email", "external_id"} & {*one.spoilt.split(), *two.spoilt.split()}:
        return PLACEHOLDER
    is_one = one.key is not None and one.key == two.key and one.mail == two.mail
    if not is_one and not _may_be_one_name(one.first_name, two.first_name):
        return OTHER_NAMES
    return ""


def _third(table: Table, one: Row, two: Row) -> str:
    """Return a reason if a third profile has an email of the two and another external id; else an empty text."""
    known = (one.external_id or "", two.external_id or "")
    for mail in {one.mail, two.mail} - {None}:
        where = "mail = ? AND external_id IS NOT NULL AND external_id NOT IN (?, ?)"
        if next(table.select(where, mail, *known), None) is not None:
            return THIRD
    return ""


def _of_others(table: Table, one: Row, two: Row) -> str:
    """Return a reason if the map gives an email of the two to another external id; else an empty text."""
    if not table.has_customers:
        return ""
    for row in (one, two):
        for customer in table.customers("mail = ?", row.mail):
            if None not in {customer.external_id, row.key} and customer.external_id != row.key:
                return OTHERS_EMAIL
    return ""


def _against(table: Table, source: Row, into: Row) -> Iterator[str]:
    """Yield the reasons against merging the source into the destination."""
    # Step 1: the rules of merges, which hold for `profiles.merge` too.
    source_owner, owner = owner_of(table, source), owner_of(table, into)
    plan = planned_merge(
        profile_of_row(source), profile_of_row(into),
        source_owner=_binding(source_owner), owner=_binding(owner),
    )  # fmt: skip
    yield from plan.obstacles
    # Step 2: the map.
    yield from _against_map(table, source, into)
    if source.bound and not into.bound:
        yield "the identity map has this customer on the profile that would end"
    # Step 3: consent. Last, because it says least about whether the two are one customer.
    yield from filter(None, (consent_cost(source, into),))
    if plan.suppresses is None:
        yield "the data do not say whether the consent of either would be lost"
    elif plan.suppresses:
        yield "the destination would become suppressed, as the source is"


def _against_map(table: Table, source: Row, into: Row) -> Iterator[str]:
    """Yield how the map contradicts a merge after which the customer has the destination's address."""
    if not table.has_customers:
        return
    customer = customer_of(table, into)
    if customer is not None and customer.mail is not None and customer.mail != into.mail:
        yield "the map has this customer with another address than the profile that would stay"
    number = None if customer is None else customer.number
    if any(former != number for (former,) in table.ask("SELECT customer FROM former WHERE mail = ?", source.mail)):
        yield "the map says that the address of the one was another customer's"


def customer_of(table: Table, row: Row) -> Customer | None:
    """Return the customer with one of a profile's identifiers as a current one; the profile's id decides first."""
    for where, value in (("profile_id = ?", row.profile_id), ("external_id = ?", row.key), ("mail = ?", row.mail)):
        for customer in table.customers(where, value) if value is not None else ():
            return customer
    return None


def owner_of(table: Table, row: Row) -> Customer | None:
    """Return the customer to whom the map gives a profile: by the profile's id, else by its identifiers."""
    if not table.has_customers:
        return None
    if row.profile_id is not None:
        for customer in table.customers("profile_id = ?", row.profile_id):
            return customer
    # A customer with a profile id in the map owns that profile, and not this one.
    for where, value in (("external_id = ?", row.key), ("mail = ?", row.mail)):
        for customer in table.customers(where, value) if value is not None else ():
            if customer.profile_id is None:
                return customer
    return None


def _binding(customer: Customer | None) -> Binding | None:
    if customer is None:
        return None
    return Binding(customer.external_id, customer.mail, customer.profile_id, key=str(customer.number))


def _worth(row: Row) -> tuple[object, ...]:
    """Return a profile's worth. Of two, the one stays that is the customer's own, or has consent, or is livelier."""
    return (
        row.key is not None, row.mail is not None, bool(row.bound), _RANK[row.consent] + _RANK[row.sms],
        row.last_event or "", row.created or "", row.content,
    )  # fmt: skip


def _may_be_one_name(one: str | None, two: str | None) -> bool:
    """Tell whether two first names may be one person's: they are the same, one is missing, or begins the other."""
    first, second = _folded(one), _folded(two)
    return not first or not second or first.startswith(second) or second.startswith(first)


def _folded(name: str | None) -> str:
    plain = unicodedata.normalize("NFKD", name or "").casefold()
    return "".join(each for each in plain if each.isalnum())
