"""`change_email`: search, then update by profile id, made durable; the old address retires."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from safeklaviyo._effects import Flow, Monotonic, Sleep
from safeklaviyo._flows.call import Setup, run
from safeklaviyo._flows.identity.reads import gather, search
from safeklaviyo._flows.identity.tombstones import refuse_erased
from safeklaviyo._flows.known import known
from safeklaviyo._flows.leased.change_task import Changed
from safeklaviyo._flows.leased.intents import ChangeIntent
from safeklaviyo._flows.verbs.changing import attempt_change, customer_of, with_profile
from safeklaviyo._rules.claims import claim_from
from safeklaviyo._rules.conflicts import taken_error
from safeklaviyo._rules.shown import has_email
from safeklaviyo.errors import ConfigurationError, EmailMismatchError, IdOnlyError, SafeKlaviyoError
from safeklaviyo.identity import Claim, Kind, normalise_email
from safeklaviyo.models import Binding, EmailChange
from safeklaviyo.stores.calls import Find

if TYPE_CHECKING:
    from safeklaviyo._flows.call import Call
    from safeklaviyo._flows.identity.resolve import Resolved

_FIRST_LOOK = 0.05
_LONGEST_LOOK = 1.0


def change_email(
    setup: Setup, new_email: object, *, external_id: object, old_email: object, on_taken: str
) -> Flow[EmailChange]:
    """See `Klaviyo.change_email`."""

    def body(call: Call) -> Flow[EmailChange]:
        if on_taken not in ("refuse", "merge"):
            raise ConfigurationError('on_taken has to be "refuse" or "merge"')
        wanted = normalise_email(new_email, blocked=call.policy.blocked_values)
        claim = claim_from(external_id, old_email, None, call.policy)
        return (yield from make_email_change(call, wanted, claim, merges=on_taken == "merge"))

    return run(setup, "change_email", body)


def make_email_change(
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
        wanted = ChangeIntent(new_email=new_email, merges=merges)
        changed = yield from attempt_change(call, binding, wanted, main=main)
        if changed is not None and (changed.binding is not None or changed.is_pending):
            changed.binding = yield from with_profile(call, changed.binding, main=main)
            return (yield from _email_change(call, before.email, changed, replace(binding, email=new_email)))


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
        return (yield from customer_of(call, claim))
    except IdOnlyError:
        pass  # nobody knows an email of theirs, so there is none to change: the new one is their first
    except EmailMismatchError as error:
        address = _shown_for(error, new_email, claim, is_mapped=is_mapped)
    try:
        return (yield from customer_of(call, Claim(claim.external_id, address), main=main))
    except EmailMismatchError as error:
        address = _shown_for(error, new_email, claim, is_mapped=is_mapped)
    return (yield from customer_of(call, Claim(claim.external_id, address)))


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
        if not has_email(profile, new_email) or profile.external_id == (claim.external_id or ""):
            continue
        # Whoever has no profile yet takes an orphan with their address, as at any first contact (R4).
        if profile.external_id is not None or (has_own and not merges):
            raise taken_error(Binding(None, new_email), profile)


def _email_change(call: Call, old_email: str | None, changed: Changed, wanted: Binding) -> Flow[EmailChange]:
    binding = changed.binding or wanted
    new_email = known(wanted.email)
    visible = False
    if changed.is_superseded:
        new_email = known(binding.email)
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
