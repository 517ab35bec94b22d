"""Merging one profile into another, under a lease: planned first, and refused where the evidence forbids it.

A merge is never asked for again after an unknown outcome without reading first. Klaviyo merges some time after its
answer, which names no job: what can be seen is that the source is gone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from safeklaviyo import errors
from safeklaviyo._api.profiles import get_profile, merge_profiles
from safeklaviyo._effects import Flow, Monotonic, Sleep
from safeklaviyo._flows.call import MISSING, Call, LeaseLostError, release, send
from safeklaviyo._flows.identity.absence import confirm_gone
from safeklaviyo._flows.identity.reads import not_visible, read_profile, understood
from safeklaviyo._rules.conflicts import drift_error
from safeklaviyo._rules.merge_plan import planned_merge
from safeklaviyo._rules.shown import email_of, has_email
from safeklaviyo.identity import Claim, Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change, JournalEntry
from safeklaviyo.stores.calls import Bind, Find, Renew

if TYPE_CHECKING:
    from safeklaviyo._flows.leased.intents import MergeIntent
    from safeklaviyo.models import MergePlan, Profile
    from safeklaviyo.stores.base import Lease

_FIRST_LOOK = 0.1
_LONGEST_LOOK = 1.0


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge has come to.

    Attributes:
        is_done: The source was seen to be gone.
        binding: What stands in the map for the survivor.
    """

    is_done: bool
    binding: Binding | None


def plan_merge(call: Call, source_id: str, into_id: str) -> Flow[tuple[MergePlan, Profile, Profile]]:
    """Read both profiles with their consent, and say what a merge would do.

    Raises:
        NotFoundError: Klaviyo shows no such profile; `may_retry`, because its reads may lag.
    """
    source = yield from _read(call, source_id)
    into = yield from _read(call, into_id)
    if source is None or into is None:
        missing = "source" if source is None else "destination"
        message = f"Klaviyo shows no such profile: the {missing} of the merge"
        raise errors.NotFoundError(message, status_code=404, may_retry=True)
    source_owner = yield from owner_of(call, source.id, source.external_id, email_of(source))
    owner = yield from owner_of(call, into.id, into.external_id, email_of(into))
    return planned_merge(source, into, source_owner=source_owner, owner=owner), source, into


def owner_of(call: Call, profile_id: str, external_id: str | None, email: str | None) -> Flow[Binding | None]:
    """Return to whom the map gives a profile: by its id, else by what it shows, where the map has no profile id yet."""
    names = Claim(external_id, email).identifiers()
    found = yield from Find(call.account, (Identifier(Kind.PROFILE_ID, profile_id), *names))
    owner = found.current(Kind.PROFILE_ID)
    for other in () if owner is not None else (found.current(Kind.EXTERNAL_ID), found.current(Kind.EMAIL)):
        if other is not None and other.profile_id is None:
            return other
    return owner


def check_plan(plan: MergePlan, source: Profile, *, may_suppress: bool) -> None:
    """Refuse a merge that is not allowed.

    Raises:
        AmbiguousIdentityError: It may be another customer's profile, or would cost a consent.
    """
    reasons = list(plan.obstacles)
    if plan.suppresses is None and not may_suppress:
        reasons.append("Klaviyo does not say whether the consent of either would be lost")
    elif plan.suppresses and not may_suppress:
        reasons.append("the destination would become suppressed, as the source is; allow_suppressed=True accepts that")
    if reasons:
        raise errors.AmbiguousIdentityError(
            f"the profiles were not merged: {reasons[0]}",
            profile_ids=(plan.source_id, plan.into_id),
            external_id=source.external_id,
            email=email_of(source),
        )


def merge_under_lease(call: Call, lease: Lease, intent: MergeIntent, *, main: bool = False) -> Flow[Merged]:
    """Merge, wait a bounded time until the source is gone, retire its address to the survivor, and release the lease.

    Raises:
        LeaseLostError: Somebody else took the lease over.
        AmbiguousIdentityError: It may be another customer's profile, or would cost a consent.
        IdentityDriftError: The map gives the survivor to another customer.
        ProfileNotVisibleError: Klaviyo does not show a profile now, and that is not evidence enough yet.
    """
    source_id, into_id = intent.source_id, intent.profile_id
    is_gone = yield from _is_surely_gone(call, source_id, intent.source_email)
    if not is_gone:
        plan, source, into = yield from plan_merge(call, source_id, into_id)
        check_plan(plan, source, may_suppress=intent.may_suppress)
        # The last thing that can refuse: a merge cannot be undone.
        yield from _survivor(call, into)
        yield from request_merge(call, lease, source_id, into_id, source_email=intent.source_email, main=main)
        # Whatever fails from here on: the lease and its intent stay, so that another call completes the merge.
        call.doubt = True
        is_gone = yield from wait_until_gone(call, lease, source_id)
    binding = yield from _write_down(call, lease, intent)
    return Merged(is_gone, binding)


def request_merge(
    call: Call, lease: Lease, source_id: str, into_id: str, *, source_email: str | None, main: bool = False
) -> Flow[None]:
    """Ask Klaviyo for the merge; return as well if the source turns out to be gone.

    Raises:
        ProfileNotVisibleError: Klaviyo answered 404, and not because the source is surely gone.
    """
    request = merge_profiles(source_id, into_id)
    call.touched = into_id
    response = yield from send(call, request, main=main, accept=MISSING, lease=lease)
    if response.status in MISSING:
        is_gone = yield from _is_surely_gone(call, source_id, source_email)
        if not is_gone:
            raise not_visible()


def wait_until_gone(call: Call, lease: Lease, source_id: str) -> Flow[bool]:
    """Wait, as long as the policy says, until the source answers no more as itself.

    Klaviyo merges whatever happens here: a failure leaves the intent, for somebody to go on.
    """
    doubt, call.doubt = call.doubt, True
    start = yield from Monotonic()
    pause = _FIRST_LOOK
    while True:
        is_gone = yield from _is_gone(call, source_id)
        if is_gone:
            call.doubt = doubt
            return True
        left = start + call.policy.merge_wait - (yield from Monotonic())
        if left <= 0:
            call.doubt = doubt
            return False
        kept = yield from Renew(call.account, lease.token, ttl=call.lease_ttl)
        if not kept:
            raise LeaseLostError
        yield from Sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST_LOOK)


def is_done(call: Call, source_id: str, into_id: str, *, was_begun: bool) -> Flow[bool]:
    """Tell whether a merge that was begun before is done: the source answers as the survivor, or not at all."""
    profile = yield from read_profile(call, source_id)
    return was_begun if profile is None else profile.id == into_id != source_id


def _is_gone(call: Call, source_id: str) -> Flow[bool]:
    """Tell whether a source is gone after Klaviyo has accepted the merge: there a single 404 is what was to come."""
    profile = yield from read_profile(call, source_id)
    return profile is None or profile.id != source_id


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


def _read(call: Call, profile_id: str) -> Flow[Profile | None]:
    response = yield from send(call, get_profile(profile_id, subscriptions=True), accept=MISSING)
    return None if response.status in MISSING else understood(call.dialect.read, response)


def _write_down(call: Call, lease: Lease, intent: MergeIntent) -> Flow[Binding | None]:
    """Bind the survivor, with the source's address retired to it, so that a late call does not re-create the source."""
    into_id = intent.profile_id
    into = yield from read_profile(call, into_id)
    if into is None:
        yield from confirm_gone(call, into_id, external_id=intent.external_id, email=intent.email)
    email = None if into is None else email_of(into)
    if into is None or email is None:
        yield from release(call, lease)
        return None
    owner = yield from _survivor(call, into)
    source_owner = yield from owner_of(call, intent.source_id, None, intent.source_email)
    stands = owner or Binding(None, None)
    if owner is None:
        stands = replace(stands, external_id=into.external_id, email=email)
    absorbed = () if source_owner is None or source_owner.key == stands.key else (source_owner.key,)
    former = intent.source_email
    change = Change(
        replace(stands, profile_id=into.id),
        verified=owner is None or has_email(into, owner.email),
        token=lease.token,
        retire=frozenset() if former is None else frozenset({Identifier(Kind.EMAIL, former)}),
        absorb=absorbed,
        journal=JournalEntry("merge", former, email),
    )
    outcome = yield from Bind(call.account, change)
    if outcome.status == "fenced":
        raise LeaseLostError
    if outcome.status == "conflict" and outcome.binding is not None:
        raise drift_error(outcome.binding, into, "the identity map gives the survivor to another customer")
    if outcome.status != "bound":
        yield from release(call, lease)
        return None
    return outcome.binding


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
        is_same = other.external_id == into.external_id or None in {other.external_id, into.external_id}
        if not is_same or other.profile_id is not None:
            raise drift_error(other, into, "the identity map gives the survivor's address to another customer")
        owner = owner or other
    return owner
