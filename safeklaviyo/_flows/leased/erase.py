"""What `erase` does under its lease: the deletion in Klaviyo by profile id, and the forgetting here.

Everything can be repeated: the deletion job of a profile that is gone answers 404 (which counts once `absence` says
so), and what is forgotten stays so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from safeklaviyo._api.profiles import request_deletion
from safeklaviyo._effects import Now
from safeklaviyo._flows.call import MISSING, Call, release, renew, send
from safeklaviyo._flows.identity.absence import confirm_gone
from safeklaviyo._flows.identity.left_behind import owner_for_erasure
from safeklaviyo._flows.identity.reads import read_profile
from safeklaviyo._flows.identity.second_looks import look_again
from safeklaviyo._flows.identity.tombstones import set_tombstones
from safeklaviyo._flows.outbox.passing import forget_rows
from safeklaviyo._rules.shown import email_of
from safeklaviyo.identity import Claim, Identifier, Kind
from safeklaviyo.stores.calls import Find, ForgetJournal, Former, Remove

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.leased.intents import EraseIntent
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import Lease, Match


def erase_under_lease(
    call: Call, lease: Lease, intent: EraseIntent, *, main: bool = False
) -> Flow[tuple[str, ...] | Literal[False]]:
    """Delete, set tombstones, forget, and release the lease.

    Returns:
        The ghosts that were deleted; False if the map gives the customer's own profile to another pair by now, and
        everything has to be decided again.

    Raises:
        LeaseLostError: Another call took the lease over.
        ProfileNotVisibleError: Klaviyo does not know the profile, and that is not evidence enough yet.
    """
    # Step 1: make sure that the map still gives the profile to the customer meant. A deletion cannot be undone (P3).
    found = yield from Find(call.account, tuple(intent.identifiers()))
    own = [match for match in found.matches if match.identifier == (Kind.PROFILE_ID, intent.profile_id)]
    owner = own[0].binding if own else None
    if owner is not None and (owner.external_id, owner.email) != (intent.external_id, intent.email):
        yield from release(call, lease)
        return False
    # Step 2: delete in Klaviyo first: if this call dies in between, the map still says which profile it is. The ghosts
    # come before the customer's own profile, because only the map tells that they are the customer's.
    deleted = yield from _delete_ghosts(call, lease, intent, _owned(found.matches, intent))
    if intent.profile_id is not None:
        yield from _delete(call, lease, intent.profile_id, Claim(intent.external_id, intent.email), main=main)
    # Step 3: forget, and give the lease back last, because it protects the forgetting.
    yield from _forget(call, lease, intent)
    yield from release(call, lease)
    return deleted


def _delete(call: Call, lease: Lease, profile_id: str, shown: Claim, *, main: bool) -> Flow[None]:
    """Ask for the deletion of one profile.

    Raises:
        ProfileNotVisibleError: Klaviyo does not know the profile, and that is not evidence enough yet.
    """
    response = yield from send(call, request_deletion(profile_id), main=main, accept=MISSING, lease=lease)
    if response.status in MISSING:
        # It may be gone already, or Klaviyo's reads lag: only the first is a success.
        yield from confirm_gone(call, profile_id, external_id=shown.external_id, email=shown.email)


def _delete_ghosts(
    call: Call, lease: Lease, intent: EraseIntent, bindings: dict[str, Binding]
) -> Flow[tuple[str, ...]]:
    """Delete the profiles on former identifiers that are the customer's still, now that they are protected.

    Returns:
        The ids of those that were deleted.
    """
    # Only the map tells that they are the customer's. If it no longer does, another call has erased the customer.
    if not bindings:
        return ()
    deleted: list[str] = []
    left = intent
    for profile_id in intent.ghost_ids:
        shown = yield from _shown_by_ghost(call, profile_id, next(iter(bindings.values())))
        if shown is not None:
            yield from _delete(call, lease, profile_id, shown, main=False)
            deleted.append(profile_id)
        # Each once: to a repeat Klaviyo answers 404, as for a profile that is not visible.
        left = replace(left, ghost_ids=tuple(each for each in left.ghost_ids if each != profile_id))
        yield from renew(call, lease, intent=left.encode())
    return tuple(deleted)


def _shown_by_ghost(call: Call, profile_id: str, binding: Binding) -> Flow[Claim | None]:
    """Return the pair that a ghost shows, which is none if it cannot be read; None if it is not to be deleted."""
    profile = yield from read_profile(call, profile_id)
    if profile is None:
        return Claim()
    # One that was merged away is part of another profile by now.
    if profile.id != profile_id or (yield from owner_for_erasure(call, binding, profile)) != "theirs":
        return None
    return Claim(profile.external_id, email_of(profile))


def _owned(matches: Iterable[Match], intent: EraseIntent) -> dict[str, Binding]:
    """Return the bindings of the customer meant, by their keys."""
    meant = {(Kind.EXTERNAL_ID, intent.external_id), (Kind.EMAIL, intent.email), (Kind.PROFILE_ID, intent.profile_id)}
    current = [match for match in matches if match.retired_at is None]
    return {match.binding.key: match.binding for match in current if match.identifier in meant}


def _forget(call: Call, lease: Lease, intent: EraseIntent) -> Flow[None]:
    """Remove the customer's bindings from the map, and set a tombstone for each identifier that is or was theirs.

    Raises:
        LeaseLostError: Another call took the lease over: what stands in the map may be a later customer's.
    """
    # Step 1: find what is theirs, and what was.
    found = yield from Find(call.account, tuple(intent.identifiers()))
    bindings = _owned(found.matches, intent)
    names = set(intent.identifiers())
    for binding in bindings.values():
        names |= set(_current(binding))
    for match in (yield from Former(call.account, tuple(bindings.values()))):
        names.add(match.identifier)
    # Step 2: leave out what is another customer's by now. It must not fall with its former owner.
    buried = {name for name in names if name.kind is not Kind.PROFILE_ID}
    others = yield from _of_others(call, buried, bindings)
    # Step 3: forget, each time only while the lease is this call's. The tombstones come first: a late call that finds
    # no binding has to find them (P4).
    yield from renew(call, lease)
    yield from set_tombstones(call, sorted(buried - others), lease)
    yield from look_again(call, sorted(buried - others), (yield from Now()), lease)
    # After the tombstones: a row that comes now finds them when it is carried out (H23).
    yield from forget_rows(call, sorted(names - others))
    for binding in bindings.values():
        yield from ForgetJournal(call.account, binding.key)
        is_removed = yield from Remove(call.account, _current(binding)[0], lease.token)
        if not is_removed:
            yield from renew(call, lease)


def _of_others(call: Call, names: set[Identifier], bindings: Collection[str]) -> Flow[set[Identifier]]:
    """Return those identifiers that are current on another customer's binding."""
    found = yield from Find(call.account, tuple(sorted(names)))
    return {
        match.identifier for match in found.matches if match.retired_at is None and match.binding.key not in bindings
    }


def _current(binding: Binding) -> tuple[Identifier, ...]:
    """Return what is current on a binding, the profile id first: it can be no other binding's later on."""
    names = Claim(binding.external_id, binding.email).identifiers()
    return names if binding.profile_id is None else (Identifier(Kind.PROFILE_ID, binding.profile_id), *names)
