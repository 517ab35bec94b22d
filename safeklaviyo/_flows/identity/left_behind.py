"""Other profiles that show an erased customer's identifiers, current or former: which of them are the customer's.

A late call or a browser may have made a profile of an identifier which the customer has left. Such a profile is the
customer's if each identifier that it shows still resolves to them (R8, R11). The map decides that, never a likeness.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from safeklaviyo._flows.identity.reads import read_profile, search, spellings
from safeklaviyo._rules.claims import still_resolves
from safeklaviyo._rules.shown import email_of
from safeklaviyo.identity import Claim, Identifier, Kind
from safeklaviyo.stores.calls import Find, Former

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.models import Binding, Profile

Owner: TypeAlias = Literal["theirs", "another", "unclear"]
"""The owner of a profile: the erased customer, another customer in the map, or it is not certain."""


def profiles_with(call: Call, names: Iterable[Identifier], *, but: str | None) -> Flow[dict[str, Profile | None]]:
    """Return each profile that the search shows for one of these identifiers, by its id; None if it cannot be read.

    Args:
        but: The customer's own profile, which is left out.
    """
    found: set[str] = set()
    for name in sorted(names):
        for spelling in spellings(name.kind, name.value):
            found.update((yield from search(call, name.kind, spelling)))
    profiles: dict[str, Profile | None] = {}
    for profile_id in sorted(found - {but}):
        profile = yield from read_profile(call, profile_id)
        # A profile that was merged away may be shown as the customer's own.
        if profile is None or profile.id != but:
            profiles[profile_id if profile is None else profile.id] = profile
    return profiles


def owner_for_erasure(call: Call, binding: Binding | None, profile: Profile) -> Flow[Owner]:
    """Tell which customer owns a profile that shows one of the erased customer's identifiers.

    Args:
        binding: The customer's binding; None if the map does not know the customer.
    """
    # Step 1: the map may give the profile, or what it shows, to another customer.
    shown = Claim(profile.external_id, email_of(profile)).identifiers()
    found = yield from Find(call.account, (Identifier(Kind.PROFILE_ID, profile.id), *shown))
    key = None if binding is None else binding.key
    if any(match.retired_at is None and match.binding.key != key for match in found.matches):
        return "another"
    # Step 2: it is theirs, if one identifier is a former one, and each of the others is theirs too.
    theirs = {match.identifier for match in found.matches if match.binding.key == key and match.retired_at is None}
    former = {
        match.identifier
        for match in found.matches
        if match.binding.key == key and still_resolves(match, found.now, call.policy) is not None
    }
    return "theirs" if former and set(shown) <= theirs | former else "unclear"


def names_of(call: Call, binding: Binding | None) -> Flow[set[Identifier]]:
    """Return the external ids and addresses that are or were a customer's, by the map."""
    if binding is None:
        return set()
    former = yield from Former(call.account, (binding,))
    current = Claim(binding.external_id, binding.email).identifiers()
    names = {*current, *(match.identifier for match in former)}
    return {name for name in names if name.kind is not Kind.PROFILE_ID}
