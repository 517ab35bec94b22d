"""Why a customer cannot be added to the map: the sentence for each row that contradicts it.

A row of a shop's data, or a profile of Klaviyo's, never changes who owns an identifier (P3): that is for the verbs that
say so. These are pure functions over what the map has found. None of the sentences has an identifier in it (P8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo.identity import Identifier, Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import Found, Match

BUSY = "another call is writing about this customer; add the row again later"


ANOTHER_ROWS = "one of its former identifiers is the current one of another row; leave it out"


def names_of(binding: Binding) -> tuple[Identifier, ...]:
    """Return the identifiers of a row."""
    given = (
        (Kind.EXTERNAL_ID, binding.external_id),
        (Kind.EMAIL, binding.email),
        (Kind.PROFILE_ID, binding.profile_id),
    )
    return tuple(Identifier(kind, value) for kind, value in given if value is not None)


def contradiction(row: Binding, found: Found) -> str | None:
    """Return how a row contradicts the map; None if it does not.

    Args:
        found: What the map knows about the row's identifiers.
    """
    by_id, by_email = found.current(Kind.EXTERNAL_ID), found.current(Kind.EMAIL)
    by_profile = found.current(Kind.PROFILE_ID)
    if by_id is not None and by_email is not None and by_id.key != by_email.key:
        return "the external_id and the email are two customers' in the map"
    if by_id is not None and by_id.email not in {None, row.email}:
        return "the map has this external_id with another email; change_email is the verb that changes it"
    if by_email is not None and row.external_id is not None and by_email.external_id not in {None, row.external_id}:
        return "the map has this email with another external_id; change_external_id is the verb that changes it"
    owner = by_id or by_email
    if by_profile is not None and (by_profile.key != owner.key if owner else not _may_complete(by_profile, row)):
        return "the map has this profile_id for another customer"
    if owner is not None and row.profile_id is not None and owner.profile_id not in {None, row.profile_id}:
        return "the map has this customer with another profile_id"
    return None


def _may_complete(binding: Binding, row: Binding) -> bool:
    return binding.email in {None, row.email} and (row.external_id is None or binding.external_id is None)


def why_refused(row: Binding, found: Found) -> str:
    """Return why the store has refused a row."""
    return contradiction(row, found) or BUSY


def former_conflict(row: Binding, former: Iterable[Match], others: Collection[Identifier]) -> str | None:
    """Return why an identifier cannot be a former one of a row's customer; None if each can.

    An identifier belongs to the customer on whom it is current, and only then to a former owner.

    Args:
        former: What the map knows about the row's former identifiers.
        others: Those that are current in other rows.
    """
    if others:
        return ANOTHER_ROWS
    current = {*names_of(row)}
    for match in former:
        if match.retired_at is None:
            return "one of its former identifiers is current in the map; leave it out"
        if current.isdisjoint(names_of(match.binding)):
            return "one of its former identifiers is another customer's former one in the map; leave it out"
    return None
