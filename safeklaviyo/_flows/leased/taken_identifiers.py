"""A change to an identifier that stands on another profile: who has it, and whether it can become free.

An identifier of another customer never does. One that its owner has left is repaired first. The address of an orphan, a
profile that is no customer's, becomes free by a merge, where the caller has asked for that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from safeklaviyo import errors
from safeklaviyo._flows.call import Call, renew
from safeklaviyo._flows.identity.reads import owner_in_map
from safeklaviyo._flows.leased.change_task import Blocked, Changed, Task
from safeklaviyo._flows.leased.merge import planned, request_merge, wait_until_gone
from safeklaviyo._rules.conflicts import taken_error
from safeklaviyo._rules.merge_plan import merge_refusal
from safeklaviyo._rules.shown import has_email
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.calls import Find

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo.models import Binding, Profile
    from safeklaviyo.stores.base import Found

_NEXT_LOOK = 1.0
"""Seconds until another call may go on with a merge that Klaviyo has not done yet."""
_MERGES = 10
"""Requests for one merge that never happens, before the change is given up and blocks no other call."""


def refuse_taken(found: Found, binding: Binding, wanted: Binding, *, merges: bool) -> None:
    """Refuse a new identifier that is another customer's in the map; a guest's address may yet be merged.

    Raises:
        EmailTakenError: The address is.
        ExternalIdMismatchError: The external id is.
    """
    for match in found.matches:
        owner = match.binding
        if match.retired_at is not None or owner.key == binding.key:
            continue
        is_guest = owner.external_id is None
        if match.identifier == (Kind.EMAIL, wanted.email) and not (merges and is_guest):
            raise errors.EmailTakenError(
                "the new email is another customer's; check it with the customer",
                email=wanted.email,
                profile_id=owner.profile_id,
                external_id=owner.external_id,
            )
        if match.identifier == (Kind.EXTERNAL_ID, wanted.external_id):
            raise errors.ExternalIdMismatchError(
                "the new external_id is another customer's; check it, or merge the two customers",
                current_external_id=owner.external_id,
                external_id=wanted.external_id,
                email=owner.email,
            )


def may_be_adopted(call: Call, task: Task, other: Profile) -> Flow[bool]:
    """Tell whether a customer without a profile may take an orphan with their address, as at first contact."""
    owner, _ = yield from owner_in_map(call, other, task.wanted.email)
    return owner is None and other.external_id is None and has_email(other, task.wanted.email)


def make_free(call: Call, task: Task, changed: Changed, profile: Profile | None, other: Profile) -> Flow[Changed]:
    """See whether an identifier that another profile shows can become free.

    Args:
        changed: What the change has concluded so far.
        profile: The customer's own profile.

    Returns:
        What it has concluded now: with `blocked` or `is_pending`, the identifier is not free yet.

    Raises:
        EmailTakenError: The address is another customer's, or an orphan's that must not be merged.
        ExternalIdMismatchError: The external id is another customer's.
        ProfileConflictError: The phone number is another customer's.
    """
    wanted = task.wanted
    # A former address of the other profile's owner comes first: a late event has put it back (H2), and it is free.
    owner, is_former = yield from owner_in_map(call, other, wanted.email)
    if is_former:
        return replace(changed, blocked=Blocked(other, taken_error(task.claimed, other)))
    # A guest whom the map knows by another address is not under this lease.
    is_guest = owner is None or (owner.external_id is None and owner.email == wanted.email)
    is_orphan = other.external_id is None and is_guest
    if profile is None or not (task.intent.merges and is_orphan and call.dialect.has_merges):
        raise taken_error(task.claimed, other)
    return (yield from _merge(call, task, changed, profile, other))


def _merge(call: Call, task: Task, changed: Changed, profile: Profile, orphan: Profile) -> Flow[Changed]:
    # Step 1: read both with their consent, and refuse what must not be merged: a merge cannot be undone.
    plan = yield from planned(call, orphan.id, profile.id)
    if isinstance(plan, errors.NotFoundError):
        return changed  # one of the two has gone since it was read: look again
    refusal = merge_refusal(plan.plan, plan.source, may_suppress=False)
    if refusal is not None or task.intent.asked >= _MERGES:
        raise taken_error(task.claimed, orphan) from refusal
    # Step 2: write the merge into the intent before it is asked for, so that the next call can see that it was.
    email, asked = task.wanted.email, task.intent.asked + 1
    started = replace(task.intent, source_id=orphan.id, source_email=email, asked=asked)
    yield from renew(call, task.lease, intent=started.encode())
    # Step 3: ask for it. An earlier request was lost, or will find the orphan gone.
    yield from request_merge(call, task.lease, orphan.id, profile.id, source_email=email, main=task.main)
    is_gone = yield from wait_until_gone(call, task.lease, orphan.id)
    changed = replace(changed, merged_id=orphan.id)
    if is_gone:
        return changed
    # Step 4: Klaviyo takes its time, and no other request is on its way: let the next call go on soon.
    yield from renew(call, task.lease, ttl=_NEXT_LOOK)
    return replace(changed, is_pending=True)


def absorbed_guest(call: Call, task: Task, merged_id: str | None) -> Flow[tuple[str, ...]]:
    """Return the key of the guest's binding that becomes one with the customer's, as their profiles did."""
    source_id = merged_id or task.intent.source_id
    names = [Identifier(Kind.PROFILE_ID, source_id)] if source_id is not None else []
    if task.intent.merges and task.wanted.email is not None:
        # An imported guest is in the map by the address alone.
        names.append(Identifier(Kind.EMAIL, task.wanted.email))
    if not names:
        return ()
    found = yield from Find(call.account, tuple(names))
    guest = found.current(Kind.PROFILE_ID) or found.current(Kind.EMAIL)
    return () if guest is None or guest.key == task.binding.key else (guest.key,)
