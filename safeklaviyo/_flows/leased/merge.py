"""Merging one profile into another, under a lease: planned first, and refused where the evidence forbids it.

A merge is never asked for again after an unknown outcome without reading first. Klaviyo merges some time after its
answer, which names no job: what can be seen is that the source is gone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from safeklaviyo import errors
from safeklaviyo._api.profiles import merge_profiles
from safeklaviyo._effects import Now
from safeklaviyo._flows.binding import bind
from safeklaviyo._flows.call import MISSING, Call, release, renew, send
from safeklaviyo._flows.identity.absence import confirm_gone
from safeklaviyo._flows.identity.reads import not_visible, read_profile
from safeklaviyo._flows.leased.kept_open import keep_open
from safeklaviyo._flows.outbox.passing import check_none_in_hand
from safeklaviyo._flows.waiting import poll
from safeklaviyo._rules.conflicts import drift_error
from safeklaviyo._rules.merge_plan import merge_refusal, planned_merge
from safeklaviyo._rules.shown import email_of, has_email
from safeklaviyo.identity import Claim, Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change, JournalEntry
from safeklaviyo.stores.calls import Find

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.leased.intents import MergeIntent
    from safeklaviyo.models import MergePlan, Profile
    from safeklaviyo.stores.base import Lease

_FIRST_LOOK = 0.1
_LONGEST_LOOK = 1.0


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge has concluded.

    Attributes:
        is_done: The source was seen to be gone.
        binding: The survivor's binding in the map.
    """

    is_done: bool
    binding: Binding | None


@dataclass(frozen=True, slots=True)
class Planned:
    """What a merge would do, and the two profiles as they were read for it."""

    plan: MergePlan
    source: Profile
    into: Profile


def planned(call: Call, source_id: str, into_id: str) -> Flow[Planned | errors.NotFoundError]:
    """Read both profiles with their consent, and say what a merge would do.

    Returns:
        The plan; or the error for a profile that Klaviyo does not show. It may be retried, because reads may lag.
    """
    source = yield from read_profile(call, source_id)
    into = yield from read_profile(call, into_id)
    if source is None or into is None:
        missing = "source" if source is None else "destination"
        message = f"Klaviyo shows no such profile: the {missing} of the merge"
        return errors.NotFoundError(message, status_code=404, may_retry=True)
    source_owner = yield from owner_of(call, source.id, source.external_id, email_of(source))
    owner = yield from owner_of(call, into.id, into.external_id, email_of(into))
    return Planned(planned_merge(source, into, source_owner=source_owner, owner=owner), source, into)


def plan_merge(call: Call, source_id: str, into_id: str) -> Flow[Planned]:
    """Same as `planned`, where both profiles have to be there.

    Raises:
        NotFoundError: Klaviyo shows no such profile.
    """
    plan = yield from planned(call, source_id, into_id)
    if isinstance(plan, errors.NotFoundError):
        raise plan
    return plan


def owner_of(call: Call, profile_id: str, external_id: str | None, email: str | None) -> Flow[Binding | None]:
    """Return the binding to which a profile belongs: by its id, else by what it shows.

    A binding that shares only the external id or the email counts where it has no profile id yet.
    """
    names = Claim(external_id, email).identifiers()
    found = yield from Find(call.account, (Identifier(Kind.PROFILE_ID, profile_id), *names))
    owner = found.current(Kind.PROFILE_ID)
    for other in () if owner is not None else (found.current(Kind.EXTERNAL_ID), found.current(Kind.EMAIL)):
        if other is not None and other.profile_id is None:
            return other
    return owner


def check_plan(planned: Planned, *, may_suppress: bool) -> None:
    """Refuse a merge that is not allowed.

    Raises:
        AmbiguousIdentityError: The source may be another customer's profile, or the merge would cost a consent.
    """
    refusal = merge_refusal(planned.plan, planned.source, may_suppress=may_suppress)
    if refusal is not None:
        raise refusal


def merge_under_lease(call: Call, lease: Lease, intent: MergeIntent, *, main: bool = False) -> Flow[Merged]:
    """Merge, wait a bounded time until the source is gone, retire its address to the survivor, and release the lease.

    If Klaviyo has accepted the merge and not done it in time, the lease stays. Otherwise a withdrawal by the source's
    address could be carried out after the merge, and would create a profile with that address again (H31).

    Raises:
        LeaseLostError: Another call took the lease over.
        AmbiguousIdentityError: The source may be another customer's profile, or the merge would cost a consent.
        IdentityDriftError: The map gives the survivor to another customer.
        ProfileNotVisibleError: Klaviyo does not show a profile now, and that is not evidence enough yet.
    """
    source_id, into_id = intent.source_id, intent.profile_id
    # Step 1: look whether an earlier call has done it already. A merge must not be asked for twice.
    if intent.accepted_at is None:
        is_gone = yield from _is_surely_gone(call, source_id, intent.source_email)
    else:
        is_gone = yield from is_done(call, source_id, into_id, was_begun=True)
    now = yield from Now()
    if not is_gone and (intent.accepted_at is None or now - intent.accepted_at >= call.policy.consent_wait):
        # Step 2: all that can refuse comes before the request, because a merge cannot be undone.
        plan = yield from plan_merge(call, source_id, into_id)
        check_plan(plan, may_suppress=intent.may_suppress)
        yield from _survivor(call, plan.into)
        yield from request_merge(call, lease, source_id, into_id, source_email=intent.source_email, main=main)
        is_gone = yield from wait_until_gone(call, lease, source_id)
        intent = replace(intent, accepted_at=now)
    # Step 3: write it down, seen or not. Klaviyo has accepted it, so late calls must reach the survivor.
    binding = yield from _write_down(call, lease if is_gone else None, intent)
    if not is_gone:
        yield from keep_open(call, lease, intent)
    elif binding is None:
        yield from release(call, lease)
    return Merged(is_gone, binding)


def request_merge(
    call: Call, lease: Lease, source_id: str, into_id: str, *, source_email: str | None, main: bool = False
) -> Flow[None]:
    """Ask Klaviyo for the merge; return as well if the source turns out to be gone.

    Raises:
        ProfileNotVisibleError: Klaviyo answered 404, and not because the source is surely gone.
    """
    yield from check_none_in_hand(call, source_id, source_email)
    request = merge_profiles(source_id, into_id)
    response = yield from send(call, request, main=main, accept=MISSING, lease=lease, writes_on=into_id)
    if response.status in MISSING:
        is_gone = yield from _is_surely_gone(call, source_id, source_email)
        if not is_gone:
            raise not_visible()
    # Klaviyo merges later. If this call fails from here on, lease and intent stay, so that another call goes on.
    call.writes.doubtful(main=False)


def wait_until_gone(call: Call, lease: Lease, source_id: str) -> Flow[bool]:
    """Wait, as long as the policy says, until the source answers no more as itself.

    Raises:
        LeaseLostError: Another call took the lease over.
    """

    def _is_gone() -> Flow[bool]:
        # After Klaviyo has accepted the merge, a single 404 is what was to come.
        profile = yield from read_profile(call, source_id)
        return profile is None or profile.id != source_id

    seconds, between = call.policy.merge_wait, partial(renew, call, lease)
    return (yield from poll(call, _is_gone, seconds=seconds, pause=_FIRST_LOOK, longest=_LONGEST_LOOK, between=between))


def is_done(call: Call, source_id: str, into_id: str, *, was_begun: bool) -> Flow[bool]:
    """Tell whether a merge that was begun before is done: the source answers as the survivor, or not at all."""
    profile = yield from read_profile(call, source_id)
    return was_begun if profile is None else profile.id == into_id != source_id


def _is_surely_gone(call: Call, source_id: str, email: str | None) -> Flow[bool]:
    """Tell whether a source is gone, where Klaviyo has not said to this call that it would be.

    Raises:
        ProfileNotVisibleError: Klaviyo does not show it, and that is not evidence enough yet.
    """
    profile = yield from read_profile(call, source_id)
    if profile is None:
        yield from confirm_gone(call, source_id, email=email)
        return True
    return profile.id != source_id


def _write_down(call: Call, lease: Lease | None, intent: MergeIntent) -> Flow[Binding | None]:
    """Bind the survivor, with the source's address retired to it, so that a late call does not re-create the source.

    Args:
        lease: Released with it; None to keep it.

    Returns:
        The survivor's binding; None if it has no email, or another call was quicker.

    Raises:
        IdentityDriftError: The map gives the survivor to another customer.
    """
    # Step 1: read the survivor as it is after the merge. Its identifiers may have come from the source.
    into_id = intent.profile_id
    into = yield from read_profile(call, into_id)
    if into is None:
        yield from confirm_gone(call, into_id, external_id=intent.external_id, email=intent.email)
    if into is None or email_of(into) is None:
        return None
    survivor = into
    # Step 2: find both bindings. The source's becomes part of the survivor's, or its customer would have two.
    owner = yield from _survivor(call, survivor)
    source_owner = yield from owner_of(call, intent.source_id, None, intent.source_email)
    change = _change_after(intent, survivor, owner, source_owner)
    if lease is not None and _has_lost_its_id(intent, survivor, owner):
        # Klaviyo says nowhere that the source's id goes with it. The next call makes first contact, and writes it.
        change = replace(change, binding=replace(change.binding, profile_id=None), verified=False)

    # Step 3: bind, and with that release the lease.
    def _refuse(in_the_way: Binding) -> None:
        raise drift_error(in_the_way, survivor, "the identity map gives the survivor to another customer")

    return (yield from bind(call, change, lease=lease, on_conflict=_refuse))


def _has_lost_its_id(intent: MergeIntent, into: Profile, owner: Binding | None) -> bool:
    """Tell whether the survivor of two halves lacks the id that the source had."""
    is_expected = owner is not None and owner.external_id is not None and owner.external_id == intent.external_id
    return is_expected and into.external_id is None


def _change_after(intent: MergeIntent, into: Profile, owner: Binding | None, source_owner: Binding | None) -> Change:
    """Return what to write into the map after a merge.

    Args:
        into: The survivor.
        owner: Its binding.
        source_owner: The binding of the source.
    """
    email, former = email_of(into), intent.source_email
    base = replace(owner or Binding(None, None), profile_id=into.id)
    if owner is None:
        base = replace(base, external_id=into.external_id, email=email)
    return Change(
        base,
        verified=owner is None or has_email(into, owner.email),
        retire=frozenset() if former is None else frozenset({Identifier(Kind.EMAIL, former)}),
        absorb=() if source_owner is None or source_owner.key == base.key else (source_owner.key,),
        journal=JournalEntry("merge", former, email),
    )


def _survivor(call: Call, into: Profile) -> Flow[Binding | None]:
    """Return the survivor's binding, which may not know its profile yet.

    Raises:
        IdentityDriftError: The map gives one of its identifiers to another customer.
    """
    names = Claim(into.external_id, email_of(into)).identifiers()
    found = yield from Find(call.account, (Identifier(Kind.PROFILE_ID, into.id), *names))
    owner = found.current(Kind.PROFILE_ID)
    for other in () if owner is not None else (found.current(Kind.EXTERNAL_ID), found.current(Kind.EMAIL)):
        if other is None:
            continue
        # A guest may be the same customer. A binding with another external id, or a profile of its own, is not.
        is_same = other.external_id == into.external_id or None in {other.external_id, into.external_id}
        if not is_same or other.profile_id is not None:
            raise drift_error(other, into, "the identity map gives the survivor's address to another customer")
        owner = owner or other
    return owner
