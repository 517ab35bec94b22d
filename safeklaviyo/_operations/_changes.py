"""The verbs that change an identifier: who is meant, the change under a lease, and what the caller is told.

A customer who is not yet in the map is bound first (H9); a former identifier speaks for its owner, whatever the policy
says of other calls.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from safeklaviyo import _evidence
from safeklaviyo._flow import Find, Flow, Monotonic, Sleep
from safeklaviyo._operations._change import change_under_lease
from safeklaviyo._operations._leases import Intent
from safeklaviyo._operations._reading import gather, read_profile, search
from safeklaviyo._operations._resolve import Resolved, resolve
from safeklaviyo._operations._settle import act, restore, take
from safeklaviyo._operations._superseded import superseded
from safeklaviyo._operations._task import Changed
from safeklaviyo._operations._tombstones import refuse_erased
from safeklaviyo.errors import EmailMismatchError, IdOnlyError, SafeKlaviyoError
from safeklaviyo.identity import Claim, Kind
from safeklaviyo.models import Binding, EmailChange, ExternalIdChange, PhoneChange

if TYPE_CHECKING:
    from safeklaviyo._operations._call import Call

_FIRST_LOOK = 0.05
_LONGEST_LOOK = 1.0


def change_email(
    call: Call, new_email: str, claim: Claim, *, merges: bool = False, main: bool = True
) -> Flow[EmailChange]:
    """Change the email of the customer meant, and retire the old one."""
    before: Binding | None = None
    while True:
        resolved = yield from _customer_for(call, new_email, claim, merges=merges, main=main)
        binding = resolved.binding
        before = before or binding
        if resolved.contact is not None and binding.email == new_email:
            moved = resolved.contact.moved or claim.email is not None
            return (yield from _email_change(call, None, Changed(binding, moved=moved), binding))
        wanted = Intent("change", new_email=new_email, merges=merges)
        changed = yield from _change(call, binding, wanted, main=main)
        if changed is not None and (changed.binding is not None or changed.is_pending):
            changed.binding = yield from _with_profile(call, changed.binding, main=main)
            return (yield from _email_change(call, before.email, changed, replace(binding, email=new_email)))


def change_external_id(call: Call, new_external_id: str | None, claim: Claim) -> Flow[ExternalIdChange]:
    """Change, or with None take away, the external id of the customer meant, and retire the old one."""
    changes = Intent("change", new_external_id=new_external_id)
    if new_external_id is None:
        changes = Intent("change", clears=(Kind.EXTERNAL_ID.value,))
    before, changed = yield from _changed(call, claim, changes)
    binding = changed.binding or before
    return ExternalIdChange(
        status="changed" if changed.moved or before.external_id != binding.external_id else "unchanged",
        profile_id=binding.profile_id,
        old_external_id=before.external_id,
        new_external_id=binding.external_id,
        email=binding.email,
        warnings=tuple(call.notices),
    )


def change_phone_number(call: Call, new_phone_number: str | None, claim: Claim) -> Flow[PhoneChange]:
    """Change, or with None take away, the phone number of the customer meant."""
    changes = Intent("change", new_phone_number=new_phone_number)
    if new_phone_number is None:
        changes = Intent("change", clears=(Kind.PHONE_NUMBER.value,))
    resolved = yield from _customer(call, claim)
    profile_id = resolved.binding.profile_id
    profile = None if profile_id is None else (yield from read_profile(call, profile_id))
    old = resolved.binding.phone_number if profile is None else profile.phone_number
    _, changed = yield from _changed(call, claim, changes)
    if changed.moved and old is not None:
        message = "the former phone number was replaced; consent to text messages given for it may be lost in Klaviyo"
        call.notice("sms_consent", Kind.PHONE_NUMBER.value, message)
    binding = changed.binding or resolved.binding
    return PhoneChange(
        status="changed" if changed.moved else "unchanged",
        profile_id=binding.profile_id,
        old_phone_number=old,
        new_phone_number=binding.phone_number,
        warnings=tuple(call.notices),
    )


def _changed(call: Call, claim: Claim, changes: Intent) -> Flow[tuple[Binding, Changed]]:
    """Carry a change out, and return the binding before it."""
    before: Binding | None = None
    while True:
        resolved = yield from _customer(call, claim)
        before = before or resolved.binding
        changed = yield from _change(call, resolved.binding, changes, main=True)
        if changed is not None and changed.binding is not None:
            changed.binding = yield from _with_profile(call, changed.binding, main=True)
            return before, changed


def _with_profile(call: Call, binding: Binding | None, *, main: bool) -> Flow[Binding | None]:
    """Make the customer's next profile, where the one that was to be changed is gone."""
    if binding is None or binding.profile_id is not None or not call.dialect.verifies:
        return binding
    resolved = yield from _customer(call, Claim(binding.external_id, binding.email), main=main)
    return resolved.binding


def _customer(call: Call, claim: Claim, *, main: bool = False) -> Flow[Resolved]:
    policy = call.policy.model_copy(update={"retired": "rewrite", "email_mismatch": "refuse"})
    return (yield from resolve(call, claim, main=main, policy=policy))


def _customer_for(call: Call, new_email: str, claim: Claim, *, merges: bool, main: bool) -> Flow[Resolved]:
    """Find out whose email is to be changed. A customer who is not yet in the map is only bound if the change can be.

    Raises:
        EmailTakenError: The new address is on somebody else's profile.
    """
    found = yield from Find(call.account, claim.identifiers())
    is_mapped = bool(found.matches)
    if not is_mapped and found.lease is None:
        yield from refuse_erased(call, claim)
        yield from _look_ahead(call, new_email, claim, merges=merges)
    address: str | None = new_email
    try:
        return (yield from _customer(call, claim))
    except IdOnlyError:
        pass  # nobody knows an email of theirs, so there is none to change: the new one is their first
    except EmailMismatchError as error:
        address = _shown_for(error, new_email, claim, is_mapped=is_mapped)
    try:
        return (yield from _customer(call, Claim(claim.external_id, address), main=main))
    except EmailMismatchError as error:
        address = _shown_for(error, new_email, claim, is_mapped=is_mapped)
    return (yield from _customer(call, Claim(claim.external_id, address)))


def _shown_for(error: EmailMismatchError, new_email: str, claim: Claim, *, is_mapped: bool) -> str:
    """Return the address that Klaviyo shows for an external id which the map does not know, where it may be changed.

    Raises:
        EmailMismatchError: The map knows another, or the caller named another as the old one.
    """
    shown = error.current_email
    if is_mapped or shown is None or claim.external_id is None or (claim.email is not None and shown != new_email):
        raise error
    return shown


def _look_ahead(call: Call, new_email: str, claim: Claim, *, merges: bool) -> Flow[None]:
    """See who has the new address, before anybody is made known with the old one."""
    evidence = yield from gather(call, (claim.external_id,), (new_email,))
    profiles = evidence.values()
    has_own = claim.email is not None or any(profile.external_id == claim.external_id for profile in profiles)
    for profile in profiles:
        if not _evidence.has_email(profile, new_email) or profile.external_id == (claim.external_id or ""):
            continue
        # Whoever has no profile yet takes an orphan with their address, as at any first contact (R4).
        if profile.external_id is not None or (has_own and not merges):
            raise _evidence.taken(Binding(None, new_email), profile)


def _change(call: Call, binding: Binding, changes: Intent, *, main: bool) -> Flow[Changed | None]:
    """Make one attempt; None if somebody else was faster, and everything has to be looked at again."""
    for new in (Claim(changes.new_external_id), Claim(None, changes.new_email)):
        yield from refuse_erased(call, new)
    intent = replace(changes, external_id=binding.external_id, email=binding.email, profile_id=binding.profile_id)
    lease = yield from take(call, intent)
    if lease is None:
        return None
    body = change_under_lease(call, lease, intent, main=main)
    changed = yield from act(call, lease, body)
    if changed is None:
        return (yield from superseded(call, binding, intent))
    if changed.put_back is not None and changed.taken is not None:
        restored = yield from restore(call, changed.put_back.id)
        if not restored:
            raise changed.taken
    return changed


def _email_change(call: Call, old_email: str | None, changed: Changed, wanted: Binding) -> Flow[EmailChange]:
    binding = changed.binding or wanted
    new_email = str(wanted.email)
    visible = False
    if changed.is_superseded:
        new_email = str(binding.email)
    elif not changed.is_pending:
        visible = yield from _wait_until_visible(call, binding, new_email)
        if not visible:
            call.notice("not_visible_yet", "email", "Klaviyo's search does not show the new email yet")
    is_changed = changed.moved or old_email not in (None, new_email)
    return EmailChange(
        status="merge_requested" if changed.is_pending else "changed" if is_changed else "unchanged",
        profile_id=binding.profile_id,
        external_id=binding.external_id,
        old_email=old_email,
        new_email=new_email,
        visible=visible,
        merged_profile_id=changed.merged_id,
        warnings=tuple(call.notices),
    )


def _wait_until_visible(call: Call, binding: Binding, email: str) -> Flow[bool]:
    """Wait, bounded and without a lease, until Klaviyo's search by the new address returns the profile."""
    start = yield from Monotonic()
    pause = _FIRST_LOOK
    while True:
        try:
            found = yield from search(call, Kind.EMAIL, email)
        except SafeKlaviyoError:
            return False  # the change itself stands
        if binding.profile_id in found or (binding.profile_id is None and found):
            return True
        left = start + call.policy.visible_wait - (yield from Monotonic())
        if left <= 0:
            return False
        yield from Sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST_LOOK)
