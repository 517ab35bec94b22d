"""Changing a customer's identifiers (search, read, decide, PATCH by profile id, check, write down), under a lease.

Every step can be repeated: a process that dies anywhere leaves the intent, and the next call that finds it runs the
same steps. A new identifier of another customer is refused; nothing is written onto a profile because a search or a 409
named it. Read next: `change_task` for what is wanted, `taken_identifiers` for an identifier that another profile shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from safeklaviyo import errors
from safeklaviyo._api.refusals import duplicate_profile_id
from safeklaviyo._api.responses import is_success
from safeklaviyo._flows.binding import bind
from safeklaviyo._flows.call import MISSING, TAKEN_OR_MISSING, Call, release, send
from safeklaviyo._flows.identity.absence import confirm_gone
from safeklaviyo._flows.identity.reads import Evidence, former_kinds, gather, not_visible, read_answer, read_profile
from safeklaviyo._flows.identity.unexplained import unexplained
from safeklaviyo._flows.leased.change_task import Changed, Task, difference, missing_on
from safeklaviyo._flows.leased.taken_identifiers import absorbed_guest, make_free, may_be_adopted, refuse_taken
from safeklaviyo._flows.required import required
from safeklaviyo._flows.waiting import wait_for_calls_in_flight
from safeklaviyo._rules.conflicts import ambiguity_error, drift_error, other_with
from safeklaviyo._rules.consent import channel_consent
from safeklaviyo._rules.shown import has_email
from safeklaviyo.identity import Identifier, Identity, Kind
from safeklaviyo.stores.base import Change, JournalEntry
from safeklaviyo.stores.calls import Find

if TYPE_CHECKING:
    from collections.abc import Mapping

    from safeklaviyo._api.messages import Response
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.leased.intents import ChangeIntent
    from safeklaviyo.models import Binding, Profile
    from safeklaviyo.stores.base import Found, Lease

_NOT_SHOWN = "Klaviyo's answer does not show the identifiers that were sent"
_TRIES = 4
"""The first decision, two with what a refusal showed, one after a merge or to read an answer back."""
_REFUSALS = 2
"""PATCHes that Klaviyo may refuse: the first, and one after it was decided again (R17)."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One PATCH.

    Attributes:
        profile: The profile before it.
        patch: What was sent.
        response: What Klaviyo answered.
        answer: The profile after it; None if it was not changed, or cannot be read.
    """

    profile: Profile | None = None
    patch: Mapping[str, Any] = field(default_factory=dict[str, Any])
    response: Response | None = None
    answer: Profile | None = None

    @property
    def is_success(self) -> bool:
        """Whether Klaviyo says that it has carried the PATCH out."""
        return self.response is not None and is_success(self.response.status)


def change_under_lease(call: Call, lease: Lease, intent: ChangeIntent, *, main: bool = False) -> Flow[Changed]:
    """Bring a customer's profile to its new identifiers, write it down, and release the lease.

    Returns:
        What was concluded; without a binding if everything has to be decided again.

    Raises:
        LeaseLostError: Another call took the lease over.
        EmailTakenError: The new address is on another profile.
        ExternalIdMismatchError: The new external id is on another profile.
        IdentityDriftError: The profile shows another customer, or an identifier that the map does not know.
        ProfileConflictError: Klaviyo refuses, and no profile that can be read says why (R17).
    """
    # Step 1: find the customer again. The binding may have changed before this call got its lease.
    found = yield from Find(call.account, tuple(intent.identifiers()))
    binding = _customer(found, intent)
    if binding is None:
        yield from release(call, lease)
        return Changed()
    # Step 2: refuse what the map gives to another customer, before Klaviyo is asked.
    wanted = intent.applied_to(binding)
    refuse_taken(found, binding, wanted, merges=intent.merges)
    task = Task(lease, intent, binding, wanted, main)
    # Step 3: let this process's own calls land. One that names the old address would put it back (H1).
    yield from wait_for_calls_in_flight(call, binding.key)
    # Step 4: change the profile, before the map: until the map is written, the intent says what is left to do.
    evidence = yield from _gather(call, task, (intent.profile_id, intent.source_id))
    changed = yield from _move(call, task, evidence)
    if changed.blocked is not None:
        yield from release(call, lease)
    if changed.blocked is not None or changed.is_pending:
        return changed
    # Step 5: write it down, and with that release the lease.
    return replace(changed, binding=(yield from _write_down(call, task, changed)))


def _gather(call: Call, task: Task, also: tuple[str | None, ...], *, merged_id: str | None = None) -> Flow[Evidence]:
    """Read the profiles that show what the customer has or is to have."""
    now, then = task.binding, task.wanted
    return (
        yield from gather(
            call,
            (now.external_id, then.external_id),
            (now.email, then.email),
            also=(now.profile_id, *also),
            merged=merged_id or (task.intent.source_id if task.intent.asked else None),
        )
    )


def _customer(found: Found, intent: ChangeIntent) -> Binding | None:
    """Return the binding of the customer whom the intent means; None if its identifiers are another customer's now."""
    owners = {match.identifier: match.binding for match in found.matches if match.retired_at is None}
    names = (
        (Kind.PROFILE_ID, intent.profile_id),
        (Kind.EXTERNAL_ID, intent.external_id),
        (Kind.EMAIL, intent.email),
    )
    # The most certain name first. An earlier attempt may have written the new external id down already.
    for kind, value in names:
        if value is not None and (owner := owners.get(Identifier(kind, value))) is not None:
            is_same = intent.external_id is None or owner.external_id in {intent.external_id, intent.new_external_id}
            return owner if is_same else None
    return None


def _move(call: Call, task: Task, evidence: Evidence) -> Flow[Changed]:
    """Bring the profile to what is wanted.

    Returns:
        What was concluded. Without a profile in two cases: something else has to happen first; or the profile is gone.
        Then the map takes what is wanted, and first contact finds or makes the customer's next profile.

    Raises:
        ProfileNotVisibleError: Klaviyo does not show the profile now, and that is not evidence enough yet.
    """
    changed, last, refusals = Changed(), _Attempt(), 0
    for _ in range(_TRIES):
        # Step 1: all that can refuse comes before a merge, which cannot be undone.
        profile = yield from _own_profile(call, task.binding, evidence)
        patch = {} if profile is None else (yield from difference(call, task, profile))
        # Step 2: see to a profile that shows what is to be given, before Klaviyo is asked to give it twice.
        other = other_with(task.claimed, profile, evidence.values())
        if profile is None and (other is None or (yield from may_be_adopted(call, task, other))):
            return changed
        if other is not None:
            changed = yield from make_free(call, task, changed, profile, other)
            if changed.blocked is not None or changed.is_pending:
                return changed
            evidence = yield from _gather(call, task, (), merged_id=changed.merged_id)
            continue
        # Step 3: PATCH the profile by its id, and check the answer.
        profile = required(profile)
        if not patch:
            return replace(changed, profile=profile)
        if refusals == _REFUSALS:
            break
        last = yield from _patch(call, task, profile, patch)
        changed = replace(changed, moved=changed.moved or last.is_success)
        if last.answer is not None and not missing_on(task, last.answer):
            return replace(changed, profile=last.answer)
        refusals += not last.is_success
        # Step 4: decide again by what the answer shows, or the profile that a 409 named (R17).
        evidence = yield from _after(call, task, last, changed)
    raise (yield from _undecided(call, task.wanted, last))


def _after(call: Call, task: Task, last: _Attempt, changed: Changed) -> Flow[Evidence]:
    """Return what to decide by after a PATCH that has not led to what is wanted."""
    if last.answer is not None:
        return Evidence((last.answer,))
    named = None if last.response is None else duplicate_profile_id(last.response)
    own = None if last.profile is None else last.profile.id
    return (yield from _gather(call, task, (own, named), merged_id=changed.merged_id))


def _undecided(call: Call, wanted: Binding, last: _Attempt) -> Flow[errors.SafeKlaviyoError]:
    """Return the error for a change that was decided as often as allowed, each time with another result."""
    if last.profile is not None and last.is_success:
        return drift_error(wanted, last.profile, _NOT_SHOWN)
    if last.response is not None and last.response.status in MISSING:
        return not_visible()  # a read shows the profile, a write does not
    (only,) = last.patch if len(last.patch) == 1 else (None,)
    return (yield from unexplained(call, last.response, Identity(wanted.external_id, wanted.email), only))


def _own_profile(call: Call, binding: Binding, evidence: Evidence) -> Flow[Profile | None]:
    """Return the customer's own profile among those that were read; None if it is gone and has no successor.

    Raises:
        ProfileNotVisibleError: Klaviyo does not show the profile now, and that is not evidence enough yet.
        AmbiguousIdentityError: The profile that the map knows is gone, and several could have taken its place.
        NotFoundError: There is none, and the dialect cannot create one with certainty; the queued first contact will.
    """
    profile_id = binding.profile_id
    # A 404 comes first: it may be a lagging read, and a second profile must not be made because of that (H36).
    if profile_id is not None and profile_id in evidence.missing:
        yield from confirm_gone(call, profile_id, external_id=binding.external_id, email=binding.email)
    if profile_id is not None and profile_id in evidence:
        return evidence[profile_id]
    profile = _successor(binding, evidence)
    if profile is None and not call.dialect.has_conditional_create:
        raise errors.NotFoundError(
            "Klaviyo does not show this customer's profile yet; try again later", status_code=404, may_retry=True
        )
    return profile


def _successor(binding: Binding, evidence: Evidence) -> Profile | None:
    """Return the profile that shows a customer's identifiers in place of the one that the map knows."""
    found: list[Profile] = []
    if binding.external_id is not None:
        found = [profile for profile in evidence.values() if profile.external_id == binding.external_id]
    # The email decides only where no profile has the id: an address may have come onto a profile by a form.
    if not found:
        without_id = (profile for profile in evidence.values() if profile.external_id is None)
        found = [profile for profile in without_id if has_email(profile, binding.email)]
    if len(found) > 1:
        raise ambiguity_error("several profiles answer for this customer", binding.external_id, binding.email, found)
    return found[0] if found else None


def _patch(call: Call, task: Task, profile: Profile, patch: Mapping[str, Any]) -> Flow[_Attempt]:
    """Send a change of a profile, and read what the profile shows then.

    Raises:
        IdentityDriftError: The profile shows neither what was sent nor a former identifier that came in between.
    """
    request = call.dialect.move(profile.id, **patch)
    response = yield from send(
        call, request, main=task.main, accept=TAKEN_OR_MISSING, lease=task.lease, writes_on=profile.id
    )
    if not is_success(response.status):
        return _Attempt(profile, patch, response)
    if task.main and Kind.EMAIL.value in patch and channel_consent(profile, "email").status == "subscribed":
        message = "the consent to email goes on for the new address, which its owner has never confirmed"
        call.notice("consent_carried", Kind.EMAIL.value, message)
    # The write stands even if its answer cannot be read (F-23), so the profile is read instead.
    answer = yield from read_answer(call, response, profile.id)
    if answer is None:
        answer = yield from read_profile(call, profile.id)
    if answer is not None and missing_on(task, answer):
        # A late event may have put a former identifier back (H1). Anything else is not to be overwritten.
        put_back = yield from former_kinds(call, task.binding, answer)
        if not put_back:
            raise drift_error(task.wanted, answer, _NOT_SHOWN)
    return _Attempt(profile, patch, response, answer)


def _write_down(call: Call, task: Task, changed: Changed) -> Flow[Binding | None]:
    """Retire what was replaced and bind what is new, in one step that also releases the lease.

    Returns:
        The binding; None if another call was quicker.

    Raises:
        LeaseLostError: Another call took the lease over.
        IdentityDriftError: The map gives an identifier or the profile to another customer by now.
    """
    profile = changed.profile
    absorbed = yield from absorbed_guest(call, task, changed.merged_id)

    def _refuse(in_the_way: Binding) -> None:
        raise _given_away(task, in_the_way, profile)

    def _over(binding: Binding) -> Change:
        return _change_of(task, binding, profile, absorbed)

    # A phone or a check may be written down in between. The lease keeps everything else as it was.
    change = _over(task.binding)
    return (yield from bind(call, change, lease=task.lease, on_conflict=_refuse, on_stale=_over))


def _given_away(task: Task, owner: Binding, profile: Profile | None) -> errors.IdentityError:
    """Return the error for an identifier that the map gives to another customer by now."""
    if profile is not None:
        return drift_error(owner, profile, "the identity map gives an identifier to another customer")
    message = "the new email is another customer's; check it with the customer"
    return errors.EmailTakenError(message, email=task.wanted.email, profile_id=owner.profile_id)


def _change_of(task: Task, binding: Binding, profile: Profile | None, absorbed: tuple[str, ...]) -> Change:
    """Return what to write into the map, over the binding as it is now."""
    wanted = replace(task.intent.applied_to(binding), profile_id=None if profile is None else profile.id)
    # A guest's profile may have got an external id in Klaviyo: the map learns it, unless it is to be taken away.
    if profile is not None and wanted.external_id is None and Kind.EXTERNAL_ID.value not in task.intent.clears:
        wanted = replace(wanted, external_id=profile.external_id)
    return Change(wanted, verified=profile is not None, absorb=absorbed, journal=_journal(binding, wanted))


def _journal(binding: Binding, wanted: Binding) -> JournalEntry | None:
    for verb, name in (("change_email", "email"), ("change_external_id", "external_id")):
        old, new = getattr(binding, name), getattr(wanted, name)
        if old != new:
            return JournalEntry(verb, old, new)
    return None
