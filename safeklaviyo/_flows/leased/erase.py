"""What `erase` does under its lease: the deletion in Klaviyo by profile id, and the forgetting here.

Everything can be repeated: the deletion job of a profile that is gone answers 404 (which counts once `absence` says
so), and what is forgotten stays so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._api.profiles import request_deletion
from safeklaviyo._flows.call import MISSING, Call, release, renew, send
from safeklaviyo._flows.identity.absence import confirm_gone
from safeklaviyo._flows.identity.tombstones import set_tombstones
from safeklaviyo.identity import Claim, Identifier, Kind
from safeklaviyo.stores.calls import Find, ForgetJournal, Former, Remove

if TYPE_CHECKING:
    from collections.abc import Collection

    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.leased.intents import EraseIntent
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import Lease


def erase_under_lease(call: Call, lease: Lease, intent: EraseIntent, *, main: bool = False) -> Flow[bool]:
    """Delete, set tombstones, forget, and release the lease.

    Returns:
        True; False if the map gives the profile to another pair by now, and everything has to be decided again.

    Raises:
        LeaseLostError: Another call took the lease over.
        ProfileNotVisibleError: Klaviyo does not know the profile, and that is not evidence enough yet.
    """
    # Step 1: make sure that the map still gives the profile to the customer meant. A deletion cannot be undone (P3).
    found = yield from Find(call.account, tuple(intent.identifiers()))
    owner = found.current(Kind.PROFILE_ID)
    if owner is not None and (owner.external_id, owner.email) != (intent.external_id, intent.email):
        yield from release(call, lease)
        return False
    # Step 2: delete in Klaviyo first: if this call dies in between, the map still says which profile it is.
    if intent.profile_id is not None:
        request = request_deletion(intent.profile_id)
        response = yield from send(call, request, main=main, accept=MISSING, lease=lease)
        if response.status in MISSING:
            # It may be gone already, or Klaviyo's reads lag: only the first is a success.
            yield from confirm_gone(call, intent.profile_id, external_id=intent.external_id, email=intent.email)
    # Step 3: forget, and give the lease back last, because it protects the forgetting.
    yield from _forget(call, lease, intent)
    yield from release(call, lease)
    return True


def _forget(call: Call, lease: Lease, intent: EraseIntent) -> Flow[None]:
    """Remove the customer's bindings from the map, and set a tombstone for each identifier that is or was theirs."""
    # Step 1: find what is theirs, and what was.
    found = yield from Find(call.account, tuple(intent.identifiers()))
    meant = {(Kind.EXTERNAL_ID, intent.external_id), (Kind.EMAIL, intent.email), (Kind.PROFILE_ID, intent.profile_id)}
    current = [match for match in found.matches if match.retired_at is None]
    bindings = {match.binding.key: match.binding for match in current if match.identifier in meant}
    names = set(intent.identifiers())
    for binding in bindings.values():
        names |= set(_current(binding))
    for match in (yield from Former(call.account, tuple(bindings.values()))):
        names.add(match.identifier)
    # Step 2: leave out what is another customer's by now. It must not fall with its former owner.
    buried = {name for name in names if name.kind is not Kind.PROFILE_ID}
    others = yield from _of_others(call, buried, bindings)
    # Step 3: check the lease. After it is lost, what stands in the map may be a later customer's.
    yield from renew(call, lease)
    # Step 4: forget. The tombstones come first: a late call that finds no binding has to find them (P4).
    yield from set_tombstones(call, sorted(buried - others))
    for binding in bindings.values():
        yield from ForgetJournal(call.account, binding.key)
        yield from Remove(call.account, _current(binding)[0])


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
