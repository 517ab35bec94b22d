"""What the map may learn from a profile of Klaviyo's (`bindings.learn`): pure, over what the map has found.

Learning fills gaps and changes nothing: it never overwrites an identifier, never retires one, and never takes one back
from a former owner (H33). What contradicts the map is reported. What was learnt is a hint: it has no `verified_at`, so
its first use reads the profile (R16, H32).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from safeklaviyo.identity import Kind

if TYPE_CHECKING:
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import Found


@dataclass(frozen=True, slots=True, repr=False)
class Lesson:
    """What a profile teaches.

    Attributes:
        binding: What to write; None if there is nothing.
        contradiction: How the profile contradicts the map; empty if it does not.
    """

    binding: Binding | None = None
    contradiction: str = ""


def learn(shown: Binding, found: Found) -> Lesson:
    """Decide what a profile teaches.

    Args:
        shown: The identifiers that the profile shows, with its id.
        found: What the map knows about them.
    """
    current = (found.current(Kind.EXTERNAL_ID), found.current(Kind.EMAIL), found.current(Kind.PROFILE_ID))
    owners = {owner.key: owner for owner in current if owner is not None}
    if len(owners) > 1:
        return Lesson(contradiction="what it shows is several customers' in the map")
    # A retired identifier stays its former owner's: the profile is a ghost, or the list is older than a change.
    if found.retired(Kind.EMAIL) is not None or found.retired(Kind.EXTERNAL_ID) is not None:
        return Lesson(contradiction="it shows a former identifier of a customer in the map")
    if not owners:
        return Lesson(shown)
    owner = next(iter(owners.values()))
    contradiction = _contradiction(owner, shown)
    if contradiction:
        return Lesson(contradiction=contradiction)
    whole = replace(owner, external_id=shown.external_id, email=shown.email, profile_id=shown.profile_id)
    return Lesson() if whole == owner else Lesson(replace(whole, verified_at=None))


def _contradiction(owner: Binding, shown: Binding) -> str:
    if owner.email not in {None, shown.email}:
        return "the map has this customer with another email"
    # A profile without the id that the map has contradicts the map; a customer without an id may learn one.
    if owner.external_id not in {None, shown.external_id}:
        return "the map has this customer with another external_id, or the profile has none"
    if owner.profile_id not in {None, shown.profile_id}:
        return "the map has this customer on another profile"
    return ""
