"""What a merge would do, from the two profiles as they were read: pure functions over evidence.

Decided here: what would move, what would be lost, which consent wins, and what forbids it (Klaviyo's help on merging
profiles: the destination's values win, the source fills gaps, and suppressed with active becomes suppressed). A merge
cannot be undone, so what is not known forbids it. Not here: doing it (`_flows.leased.merge`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from safeklaviyo._rules.shown import email_of
from safeklaviyo.errors import AmbiguousIdentityError
from safeklaviyo.models import MergePlan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeklaviyo.models import Binding, Profile

_FIELDS = (
    "external_id", "email", "phone_number", "first_name", "last_name", "organization", "title", "image", "locale",
)  # fmt: skip
_GONE = frozenset({"UNSUBSCRIBED"})


def planned_merge(
    source: Profile, into: Profile, *, source_owner: Binding | None = None, owner: Binding | None = None
) -> MergePlan:
    """Return what merging one profile into another would do.

    Args:
        source_owner: The binding to which the source belongs in the map.
        owner: The binding to which the destination belongs in the map.
    """
    # What Klaviyo does not say about consent stays unknown here: the caller must not take None for "no" (F-14).
    before, after = is_unreachable(into), is_unreachable(source)
    suppresses = None if before is None or after is None else after and not before
    return MergePlan(
        source_id=source.id,
        into_id=into.id,
        moves=tuple(_moves(source, into)),
        lost=tuple(_lost(source, into)),
        suppresses=suppresses,
        obstacles=tuple(_obstacles(source, into, source_owner, owner)),
    )


def merge_refusal(plan: MergePlan, source: Profile, *, may_suppress: bool) -> AmbiguousIdentityError | None:
    """Return the error for a merge that is not allowed; None if it is.

    Args:
        may_suppress: The destination may become suppressed by the merge.
    """
    reasons = list(plan.obstacles)
    # What is not known is refused as well: a consent that a merge has cost cannot be given back.
    if plan.suppresses is None and not may_suppress:
        reasons.append("Klaviyo does not say whether the consent of either would be lost")
    elif plan.suppresses and not may_suppress:
        reasons.append("the destination would become suppressed, as the source is; allow_suppressed=True accepts that")
    if not reasons:
        return None
    return AmbiguousIdentityError(
        f"the profiles were not merged: {reasons[0]}",
        profile_ids=(plan.source_id, plan.into_id),
        external_id=source.external_id,
        email=email_of(source),
    )


def is_unreachable(profile: Profile) -> bool | None:
    """Tell whether a profile is suppressed or unsubscribed; None where Klaviyo does not say."""
    marketing = _fields(_fields(profile.subscriptions).get("email")).get("marketing")
    consent = _fields(marketing)
    if "consent" not in consent and "suppression" not in consent:
        return None
    return bool(consent.get("suppression")) or consent.get("consent") in _GONE


def is_half(source: Profile, into: Profile, owner: Binding | None) -> bool:
    """Tell whether two profiles are the halves of one customer: one has the id alone, the other the email alone.

    That is what one call by the id and one by the email leave behind. The map has to say that the id and the email are
    one customer's: Klaviyo cannot.

    Args:
        owner: The binding to which the profile with the email belongs in the map.
    """
    if owner is None or owner.external_id is None or source.external_id != owner.external_id:
        return False
    return source.email is None and into.external_id is None and email_of(into) == owner.email is not None


def _obstacles(source: Profile, into: Profile, source_owner: Binding | None, owner: Binding | None) -> Iterator[str]:
    if source.id == into.id:
        yield "the two are one profile"
    # Klaviyo's word and the map's are each enough: either may know of the other customer first.
    is_another = source.external_id is not None and source.external_id != into.external_id
    if is_another and not is_half(source, into, owner):
        yield "the source has an external_id of its own, so it is another customer"
    is_other = source_owner is not None and (owner is None or source_owner.key != owner.key)
    if is_other and source_owner is not None and source_owner.external_id is not None:
        yield "the identity map gives the source to another customer"
    # Without an email the destination could not be named afterwards: the library names by id and email (P2).
    if into.email is None:
        yield "the destination has no email"


def _moves(source: Profile, into: Profile) -> Iterator[str]:
    for name in _FIELDS:
        if getattr(source, name) is not None and getattr(into, name) is None:
            yield name
    yield from (f"properties.{key}" for key in source.properties if key not in into.properties)
    yield "events"


def _lost(source: Profile, into: Profile) -> Iterator[str]:
    for name in _FIELDS:
        value, kept = getattr(source, name), getattr(into, name)
        if value is not None and kept is not None and value != kept:
            yield name
    for key, value in source.properties.items():
        if key in into.properties and into.properties[key] != value:
            yield f"properties.{key}"


def _fields(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
