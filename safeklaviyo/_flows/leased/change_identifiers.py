"""Changing a customer's identifiers (search, read, decide, PATCH by profile id, check, write down), under a lease.

Every step can be repeated: a process that dies anywhere leaves the intent, and whoever meets it runs the same steps.
A new identifier that is anybody else's is refused; nothing is written onto a profile that a search or a 409 named.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from safeklaviyo import errors
from safeklaviyo._api.responses import duplicate_profile_id, is_success
from safeklaviyo._flows.call import MISSING, TAKEN_OR_MISSING, Call, LeaseLostError, release, send
from safeklaviyo._flows.identity.absence import confirm_gone
from safeklaviyo._flows.identity.reads import (
    Evidence,
    former_kinds,
    gather,
    not_visible,
    owner_in_map,
    read_answer,
    read_profile,
)
from safeklaviyo._flows.leased.change_task import Changed, Task, agrees, difference
from safeklaviyo._flows.leased.merge import check_plan, plan_merge, request_merge, wait_until_gone
from safeklaviyo._rules.conflicts import ambiguity_error, drift_error, other_with, taken_error, unexplained_conflict
from safeklaviyo._rules.shown import has_email
from safeklaviyo.identity import Identifier, Identity, Kind
from safeklaviyo.stores.base import Change, JournalEntry
from safeklaviyo.stores.calls import Bind, Find, Renew

if TYPE_CHECKING:
    from collections.abc import Mapping

    from safeklaviyo._api.messages import Response
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.leased.intents import ChangeIntent
    from safeklaviyo.models import Binding, Profile
    from safeklaviyo.stores.base import BindOutcome, Found, Lease

_NEXT_LOOK = 1.0
_MERGES = 10  # requests for one merge that never happens, before the change is given up and blocks nobody
_NOT_SHOWN = "Klaviyo's answer does not show the identifiers that were sent"
_TRIES = 4  # the first decision, one with what a conflict showed, one after a merge, one to read an answer back


def change_under_lease(call: Call, lease: Lease, intent: ChangeIntent, *, main: bool = False) -> Flow[Changed]:
    """Bring a customer's profile to its new identifiers, write it down, and release the lease.

    Raises:
        LeaseLostError: Somebody else took the lease over.
        EmailTakenError: The new address is anybody else's.
        ExternalIdMismatchError: The new external id is anybody else's.
        IdentityDriftError: The profile shows another customer, or an identifier nobody here knows.
        ProfileConflictError: Klaviyo refuses, and no profile that can be read says why (R17).
    """
    changed = Changed()
    found = yield from Find(call.account, tuple(intent.identifiers()))
    binding = _customer(found, intent)
    if binding is None:
        yield from release(call, lease)
        return changed
    wanted = intent.applied_to(binding)
    _refuse_taken(found, binding, wanted, merges=intent.merges)
    task = Task(lease, intent, binding, wanted, changed, main)
    yield from call.setup.in_flight.settle(binding.key, call.setup.attempt)
    evidence = yield from _gather(call, task, (intent.profile_id, intent.source_id))
    profile = yield from _move(call, task, evidence)
    if changed.put_back is not None:
        yield from release(call, lease)
    elif not changed.is_pending:
        yield from _write_down(call, task, profile)
    return changed


def _gather(call: Call, task: Task, also: tuple[str | None, ...]) -> Flow[Evidence]:
    now, then = task.binding, task.wanted
    merged = task.changed.merged_id or (task.intent.source_id if task.intent.asked else None)
    return (
        yield from gather(
            call,
            (now.external_id, then.external_id),
            (now.email, then.email),
            also=(now.profile_id, *also),
            merged=merged,
        )
    )


def _customer(found: Found, intent: ChangeIntent) -> Binding | None:
    """Return whose identifiers are to be changed, if they are still the same customer."""
    owners = {match.identifier: match.binding for match in found.matches if match.retired_at is None}
    names = (
        (Kind.PROFILE_ID, intent.profile_id),
        (Kind.EXTERNAL_ID, intent.external_id),
        (Kind.EMAIL, intent.email),
    )
    for kind, value in names:
        if value is not None and (owner := owners.get(Identifier(kind, value))) is not None:
            is_same = intent.external_id is None or owner.external_id in {intent.external_id, intent.new_external_id}
            return owner if is_same else None
    return None


def _refuse_taken(found: Found, binding: Binding, wanted: Binding, *, merges: bool) -> None:
    """Refuse a new identifier that the map knows as somebody else's; a guest's address may yet be merged.

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
                "the new email is another customer's",
                email=wanted.email,
                profile_id=owner.profile_id,
                external_id=owner.external_id,
            )
        if match.identifier == (Kind.EXTERNAL_ID, wanted.external_id):
            raise errors.ExternalIdMismatchError(
                "the new external_id is another customer's",
                current_external_id=owner.external_id,
                external_id=wanted.external_id,
                email=owner.email,
            )


def _move(call: Call, task: Task, evidence: Evidence) -> Flow[Profile | None]:
    """Bring the profile to what is wanted; None if it is gone, or if something else has to happen first.

    Where it is gone, the map takes what is wanted, and first contact finds or makes the customer's next profile.

    Raises:
        ProfileNotVisibleError: Klaviyo does not show the profile now, and that is not evidence enough yet.
    """
    profile: Profile | None = None
    response: Response | None = None
    patch: dict[str, Any] = {}
    for _ in range(_TRIES):
        yield from _check_presence(call, task.binding, evidence)
        profile = _profile_of(task.binding, evidence)
        if profile is None:
            _expect(call)
        else:
            # All that can refuse comes before a merge, which cannot be undone.
            patch = yield from difference(call, task, profile)
        other = other_with(task.claimed, profile, evidence.values())
        if profile is None and (other is None or (yield from _may_be_adopted(call, task, other))):
            return None
        if other is not None:
            is_free = yield from _make_free(call, task, profile, other)
            if not is_free:
                return None
            evidence = yield from _gather(call, task, ())
            continue
        assert profile is not None
        if not patch:
            return profile
        response, answer = yield from _patch(call, task, profile, patch)
        if answer is None:
            evidence = yield from _gather(call, task, (profile.id, duplicate_profile_id(response)))
        elif agrees(task, answer):
            return answer
        else:
            evidence = Evidence((answer,))
    raise _unsettled(task.wanted, profile, response, patch)


def _unsettled(
    wanted: Binding, profile: Profile | None, response: Response | None, patch: Mapping[str, Any]
) -> errors.SafeKlaviyoError:
    """Return the error for a change that was decided again and again."""
    status = None if response is None else response.status
    if profile is not None and status is not None and is_success(status):
        return drift_error(wanted, profile, _NOT_SHOWN)
    if status in MISSING:
        return not_visible()  # a read shows the profile, a write does not
    (only,) = patch if len(patch) == 1 else (None,)
    return unexplained_conflict(response, Identity(wanted.external_id, wanted.email), only)


def _check_presence(call: Call, binding: Binding, evidence: Evidence) -> Flow[None]:
    """Make sure that the customer's profile, if Klaviyo does not show it, is gone.

    Raises:
        ProfileNotVisibleError: It may be there.
    """
    profile_id = binding.profile_id
    if profile_id is not None and profile_id in evidence.missing:
        yield from confirm_gone(call, profile_id, external_id=binding.external_id, email=binding.email)


def _patch(call: Call, task: Task, profile: Profile, patch: Mapping[str, Any]) -> Flow[tuple[Response, Profile | None]]:
    """Send a change of a profile.

    Returns:
        The answer, and what the profile shows: as was sent, or with a former identifier that came between; None if it
        was not changed, or cannot be read.

    Raises:
        IdentityDriftError: It shows something else.
    """
    request = call.dialect.move(profile.id, **patch)
    call.touched = profile.id
    response = yield from send(call, request, main=task.main, accept=TAKEN_OR_MISSING, lease=task.lease)
    if not is_success(response.status):
        return response, None
    task.changed.moved = True
    answer = read_answer(call, response) or (yield from read_profile(call, profile.id))
    if answer is not None and not agrees(task, answer):
        put_back = yield from former_kinds(call, task.binding, answer)
        if not put_back:
            raise drift_error(task.wanted, answer, _NOT_SHOWN)
    return response, answer


def _profile_of(binding: Binding, evidence: Evidence) -> Profile | None:
    """Return the customer's own profile among those that were read.

    Raises:
        AmbiguousIdentityError: The profile that the map knows is gone, and several could have taken its place.
    """
    if binding.profile_id is not None and binding.profile_id in evidence:
        return evidence[binding.profile_id]
    heirs: list[Profile] = []
    if binding.external_id is not None:
        heirs = [profile for profile in evidence.values() if profile.external_id == binding.external_id]
    if not heirs:
        bare = (profile for profile in evidence.values() if profile.external_id is None)
        heirs = [profile for profile in bare if has_email(profile, binding.email)]
    if len(heirs) > 1:
        raise ambiguity_error("several profiles answer for this customer", binding.external_id, binding.email, heirs)
    return heirs[0] if heirs else None


def _may_be_adopted(call: Call, task: Task, other: Profile) -> Flow[bool]:
    """Tell whether whoever has no profile may take this one: an orphan with their address, as at any first contact."""
    owner, _ = yield from owner_in_map(call, other, task.wanted.email)
    return owner is None and other.external_id is None and has_email(other, task.wanted.email)


def _expect(call: Call) -> None:
    if not call.dialect.verifies:
        # Nothing here can create it with certainty; the queued first contact will.
        raise errors.NotFoundError(
            "Klaviyo does not show this customer's profile yet; try again later", status_code=404, may_retry=True
        )


def _make_free(call: Call, task: Task, profile: Profile | None, other: Profile) -> Flow[bool]:
    """See whether an identifier that another profile shows can become free.

    Returns:
        True if it has; False if a former address has to be restored first, or a merge is not done yet.

    Raises:
        EmailTakenError: The address is somebody else's, or an orphan's that must not be merged.
        ExternalIdMismatchError: The external id is somebody else's.
        ProfileConflictError: The phone number is somebody else's.
    """
    wanted = task.wanted
    taken = taken_error(task.claimed, other)
    owner, is_former = yield from owner_in_map(call, other, wanted.email)
    if is_former:
        task.changed.put_back, task.changed.taken = other, taken
        return False
    # A guest whom the map knows by another address is not under this lease.
    is_guest = owner is None or (owner.external_id is None and owner.email == wanted.email)
    is_orphan = other.external_id is None and is_guest
    if profile is None or not (task.intent.merges and is_orphan and call.dialect.verifies):
        raise taken
    return (yield from _merge(call, task, profile, other, taken))


def _merge(call: Call, task: Task, profile: Profile, orphan: Profile, taken: errors.IdentityError) -> Flow[bool]:
    try:
        plan, source, _ = yield from plan_merge(call, orphan.id, profile.id)
    except errors.NotFoundError:
        return True  # one of the two has gone since it was read: look again
    try:
        check_plan(plan, source, may_suppress=False)
    except errors.AmbiguousIdentityError as error:
        raise taken from error
    if task.intent.asked >= _MERGES:
        raise taken
    started = replace(task.intent, source_id=orphan.id, source_email=task.wanted.email, asked=task.intent.asked + 1)
    kept = yield from Renew(call.account, task.lease.token, ttl=call.lease_ttl, intent=started.encode())
    if not kept:
        raise LeaseLostError
    # The orphan was read just now, and is there: an earlier request was lost, or is not done yet and will find it gone.
    email = task.wanted.email
    yield from request_merge(call, task.lease, orphan.id, profile.id, source_email=email, main=task.main)
    task.changed.merged_id = orphan.id
    is_gone = yield from wait_until_gone(call, task.lease, orphan.id)
    call.doubt = True  # it cannot be undone: whatever fails from here on, somebody has to go on
    if not is_gone:
        # Nothing is on its way: whoever comes next may go on soon.
        task.changed.is_pending = yield from Renew(call.account, task.lease.token, ttl=_NEXT_LOOK)
    return is_gone


def _write_down(call: Call, task: Task, profile: Profile | None) -> Flow[None]:
    """Retire what was replaced and bind what is new, in one step that also releases the lease.

    Raises:
        LeaseLostError: Somebody else took the lease over.
        IdentityDriftError: The map gives an identifier or the profile to somebody else by now.
    """
    task.changed.profile_id = None if profile is None else profile.id
    absorbed = yield from _guest(call, task)
    outcome = yield from _bind(call, task, task.binding, profile, absorbed)
    if outcome.status == "stale" and outcome.binding is not None:
        # A phone or a check was written down meanwhile; the lease keeps everything else as it was.
        outcome = yield from _bind(call, task, outcome.binding, profile, absorbed)
    if outcome.status == "fenced":
        raise LeaseLostError
    if outcome.status == "conflict" and outcome.binding is not None:
        raise _given_away(task, outcome.binding, profile)
    if outcome.status == "bound":
        task.changed.binding = outcome.binding
    else:
        yield from release(call, task.lease)


def _given_away(task: Task, owner: Binding, profile: Profile | None) -> errors.IdentityError:
    if profile is not None:
        return drift_error(owner, profile, "the identity map gives an identifier to another customer")
    return errors.EmailTakenError(
        "the new email is another customer's", email=task.wanted.email, profile_id=owner.profile_id
    )


def _guest(call: Call, task: Task) -> Flow[tuple[str, ...]]:
    """Return the key of the guest's binding whose profile was merged into the customer's."""
    source_id = task.changed.merged_id or task.intent.source_id
    names = [Identifier(Kind.PROFILE_ID, source_id)] if source_id is not None else []
    if task.intent.merges and task.wanted.email is not None:
        # An imported guest is known by the address alone.
        names.append(Identifier(Kind.EMAIL, task.wanted.email))
    if not names:
        return ()
    found = yield from Find(call.account, tuple(names))
    guest = found.current(Kind.PROFILE_ID) or found.current(Kind.EMAIL)
    return () if guest is None or guest.key == task.binding.key else (guest.key,)


def _bind(
    call: Call, task: Task, binding: Binding, profile: Profile | None, absorbed: tuple[str, ...]
) -> Flow[BindOutcome]:
    wanted = replace(task.intent.applied_to(binding), profile_id=None if profile is None else profile.id)
    if profile is not None and wanted.external_id is None and Kind.EXTERNAL_ID.value not in task.intent.clears:
        wanted = replace(wanted, external_id=profile.external_id)
    change = Change(
        wanted,
        verified=profile is not None,
        token=task.lease.token,
        absorb=absorbed,
        journal=_journal(binding, wanted),
    )
    return (yield from Bind(call.account, change))


def _journal(binding: Binding, wanted: Binding) -> JournalEntry | None:
    for verb, name in (("change_email", "email"), ("change_external_id", "external_id")):
        old, new = getattr(binding, name), getattr(wanted, name)
        if old != new:
            return JournalEntry(verb, old, new)
    return None
