"""Comparing Klaviyo's answers with the map (R15), and bindings that were not checked for a while (R16).

A profile counts as evidence against the map only if it was read after the map, while no other call held a lease on the
customer. A profile that was read before the map's last change is read again before an error says drift (H7).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from safeklaviyo._flows.binding import bind
from safeklaviyo._flows.identity.absence import confirm_gone
from safeklaviyo._flows.identity.hints import forget_hint
from safeklaviyo._flows.identity.reads import former_kinds, read_profile, was_put_back
from safeklaviyo._flows.leased.leases import repair_profile, wait_or_finish
from safeklaviyo._flows.required import required
from safeklaviyo._rules.conflicts import drift_error
from safeklaviyo._rules.evidence import compare
from safeklaviyo._rules.shown import email_of
from safeklaviyo.identity import Claim, Identifier, Kind
from safeklaviyo.stores.base import Change, JournalEntry
from safeklaviyo.stores.calls import Find

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.models import Binding, Profile
    from safeklaviyo.stores.base import Found


def refresh(call: Call, binding: Binding) -> Flow[None]:
    """Read a binding's profile and write down what it shows (R16); afterwards the claim has to be decided again."""
    profile = yield from read_profile(call, required(binding.profile_id))
    if profile is None:
        yield from forget_profile(call, binding)
    else:
        yield from check_drift(call, binding, profile, due=True)


def forget_profile(call: Call, binding: Binding) -> Flow[None]:
    """Forget a profile that is gone from Klaviyo: first contact will find the customer's next one, or make it.

    Raises:
        ProfileNotVisibleError: Klaviyo has just answered 404, and that is not yet evidence enough.
    """
    profile_id = required(binding.profile_id)
    yield from confirm_gone(call, profile_id, external_id=binding.external_id, email=binding.email)
    yield from bind(call, Change(replace(binding, profile_id=None), verified=False))


def check_drift(call: Call, binding: Binding, profile: Profile, *, due: bool = False) -> Flow[Binding]:
    """Compare the map with a profile that was just read, resolve a difference, and return the binding as it is then.

    Args:
        due: The time of the check is to be written into the binding.

    Raises:
        IdentityDriftError: The two contradict each other, and the policy does not adopt what Klaviyo shows.
    """
    verdict = compare(binding, profile)
    if verdict == "same":
        if due:
            yield from bind(call, Change(binding))
        return binding
    # They differ. Before that is called drift, both are read again: another call may have changed them (H7).
    current, seen = yield from _latest(call, binding, profile)
    if current is None or seen is None:  # removed from the map, or deleted in Klaviyo, while we looked
        return binding
    verdict = compare(current, seen)
    if verdict == "same":
        return current
    if verdict == "contradicts" or (yield from former_kinds(call, current, seen)):
        return (yield from _contradicted(call, current, seen))
    # A guest's profile has an external id now, or the pair is on another profile: the map learns both.
    external_id = seen.external_id or current.external_id
    learnt = replace(current, external_id=external_id, profile_id=seen.id)
    return (yield from _learn(call, current, learnt, seen, None))


def _latest(call: Call, binding: Binding, profile: Profile) -> Flow[tuple[Binding | None, Profile | None]]:
    """Return the binding and the profile, with the profile read after the binding and no lease on either.

    Returns:
        None for the binding if it is gone or has no profile; None for the profile if it is gone.
    """
    # Repeats until two looks into the map, one before and one after the profile was read, show the same version.
    current, seen = binding, profile
    while True:
        found = yield from Find(call.account, _names(current))
        if found.lease is not None:
            yield from wait_or_finish(call, found.lease)
        fresh = _of_key(found, binding.key)
        if fresh is None or fresh.profile_id is None:
            return None, None
        if found.lease is None and fresh.version == current.version:
            return fresh, seen
        current = fresh
        read = yield from read_profile(call, fresh.profile_id)
        if read is None:
            return fresh, None
        seen = read


def _names(binding: Binding) -> tuple[Identifier, ...]:
    names = Claim(binding.external_id, binding.email).identifiers()
    return names if binding.profile_id is None else (*names, Identifier(Kind.PROFILE_ID, binding.profile_id))


def _of_key(found: Found, key: str) -> Binding | None:
    return next((match.binding for match in found.matches if match.binding.key == key), None)


def _contradicted(call: Call, binding: Binding, profile: Profile) -> Flow[Binding]:
    """Repair a former identifier, adopt what Klaviyo says, or refuse."""
    # First the repair: a former identifier came back by a late event, not by a decision of the shop (H1).
    is_former = yield from was_put_back(call, binding, profile)
    if is_former and (yield from repair_profile(call, profile.id)):
        return binding
    # What was never checked is no decision of the shop's either: it is forgotten, and refuses no one (H34).
    if not is_former and (yield from forget_hint(call, binding)):
        return binding
    shown = email_of(profile)
    if call.policy.drift != "adopt" or shown is None or is_former:
        raise drift_error(binding, profile, "Klaviyo shows another pair than the identity map")
    adopted = replace(binding, external_id=profile.external_id or binding.external_id, email=shown)
    journal = JournalEntry("adopt", binding.email, shown)
    call.notice("drift_adopted", "email", "Klaviyo's pair was taken over into the identity map")
    return (yield from _learn(call, binding, adopted, profile, journal))


def _learn(
    call: Call, binding: Binding, learnt: Binding, profile: Profile, journal: JournalEntry | None
) -> Flow[Binding]:
    """Write what a profile shows into the map.

    Returns:
        The binding as it is then; the one given if another call was quicker.

    Raises:
        IdentityDriftError: Another customer has one of the identifiers in the map.
    """

    def _refuse(_in_the_way: Binding) -> None:
        raise drift_error(binding, profile, "what Klaviyo shows is another customer's in the identity map")

    return (yield from bind(call, Change(learnt, journal=journal), on_conflict=_refuse)) or binding
