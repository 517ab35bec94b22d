"""`change_email`: search, then update by profile id, made durable; the old address retires."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from safeklaviyo._flows.call import Setup, run
from safeklaviyo._flows.identity.reads import gather, search
from safeklaviyo._flows.identity.resolve import Resolved
from safeklaviyo._flows.identity.tombstones import refuse_erased
from safeklaviyo._flows.leased.change_task import Changed
from safeklaviyo._flows.leased.intents import ChangeIntent
from safeklaviyo._flows.outbox.passing import EMAIL_CHANGED, began, note_change
from safeklaviyo._flows.required import required
from safeklaviyo._flows.verbs.changing import attempt_change, decided_customer, with_next_profile
from safeklaviyo._flows.waiting import poll
from safeklaviyo._rules.claims import claim_from, refusal
from safeklaviyo._rules.conflicts import taken_error
from safeklaviyo._rules.shown import has_email
from safeklaviyo.errors import ConfigurationError, SafeKlaviyoError
from safeklaviyo.identity import Claim, Identifier, Kind, normalise_email
from safeklaviyo.models import Binding, EmailChange
from safeklaviyo.stores.calls import Find

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.models import Decision

_FIRST_LOOK = 0.05
_LONGEST_LOOK = 1.0


def change_email(
    setup: Setup, new_email: object, *, external_id: object, old_email: object, on_taken: str
) -> Flow[EmailChange]:
    """See `Klaviyo.change_email`."""

    def _body(call: Call) -> Flow[EmailChange]:
        if on_taken not in ("refuse", "merge"):
            raise ConfigurationError('on_taken has to be "refuse" or "merge"')
        wanted = normalise_email(new_email, blocked=call.policy.blocked_values)
        claim = claim_from(external_id, old_email, None, call.policy)
        began_at = yield from began(call)
        change = yield from make_email_change(call, wanted, claim, merges=on_taken == "merge")
        named = (*claim.identifiers(), Identifier(Kind.EMAIL, change.new_email))
        yield from note_change(call, named, (EMAIL_CHANGED,), began_at)
        return change

    return run(setup, "change_email", _body)


def make_email_change(
    call: Call, new_email: str, claim: Claim, *, merges: bool = False, main: bool = True
) -> Flow[EmailChange]:
    """Change the email of the customer meant, and retire the old one."""
    before: Binding | None = None
    # In a loop, because each lease that was waited for or lost means that the customer has to be found again.
    while True:
        # Step 1: find or bind the customer. A change is made only of a customer in the map (H9).
        resolved = yield from _customer_for(call, new_email, claim, merges=merges, main=main)
        binding = resolved.binding
        before = before or binding
        # Step 2: first contact may have given the new address already: as the first one, or by adopting an orphan.
        if resolved.contact is not None and binding.email == new_email:
            moved = resolved.contact.moved or claim.email is not None
            return (yield from _email_change(call, None, Changed(binding, moved=moved), binding))
        # Step 3: change it under a lease. A merge that Klaviyo has not done yet is a result too: the intent goes on.
        wanted = ChangeIntent(new_email=new_email, merges=merges)
        changed = yield from attempt_change(call, binding, wanted, main=main)
        if changed is not None and (changed.binding is not None or changed.is_pending):
            changed = yield from with_next_profile(call, changed, main=main)
            return (yield from _email_change(call, before.email, changed, replace(binding, email=new_email)))


def _customer_for(call: Call, new_email: str, claim: Claim, *, merges: bool, main: bool) -> Flow[Resolved]:
    """Find the customer. One who is not yet in the map is only bound if the change can be made.

    Raises:
        EmailTakenError: The new address is on another profile.
        IdentityError: It is not certain which customer is meant, or the rules refuse the claim.
    """
    # Step 1: look at who has the new address, before a customer is bound with the old one.
    found = yield from Find(call.account, claim.identifiers())
    is_mapped = bool(found.matches)
    if not is_mapped and found.lease is None:
        yield from refuse_erased(call, claim)
        yield from _look_ahead(call, new_email, claim, merges=merges)
    # Step 2: resolve what the caller gave.
    resolved = yield from decided_customer(call, claim)
    # Step 3: resolve the id with another address. Twice at most: with the new one for a customer without any, and with
    # the one that Klaviyo turns out to show.
    for is_main in (main, False):
        if not isinstance(resolved, Resolved):
            address = _address_to_bind(resolved, new_email, claim, is_mapped=is_mapped)
            resolved = yield from decided_customer(call, Claim(claim.external_id, address), main=is_main)
    if not isinstance(resolved, Resolved):
        raise refusal(resolved)
    return resolved


def _address_to_bind(decision: Decision, new_email: str, claim: Claim, *, is_mapped: bool) -> str:
    """Return the address with which a customer is bound, after the rules have refused the claim.

    Raises:
        IdentityError: The refusal stands: the map knows another address, or the caller named another as the old one.
    """
    # R9: no email of theirs is to be found, so there is none to change: the new one is their first.
    if decision.rule == "R9":
        return new_email
    # R6: the id has another address, in Klaviyo only. It is changed if the caller named none, or if it is the new one.
    shown = None if decision.binding is None else decision.binding.email
    is_other = claim.email is not None and shown != new_email
    if decision.rule != "R6" or is_mapped or shown is None or claim.external_id is None or is_other:
        raise refusal(decision)
    return shown


def _look_ahead(call: Call, new_email: str, claim: Claim, *, merges: bool) -> Flow[None]:
    """Refuse the change of a customer who is not in the map, if the new address is on another profile.

    Raises:
        EmailTakenError: The new address is on another profile.
    """
    evidence = yield from gather(call, (claim.external_id,), (new_email,))
    profiles = evidence.values()
    has_own = claim.email is not None or any(profile.external_id == claim.external_id for profile in profiles)
    for profile in profiles:
        if not has_email(profile, new_email) or profile.external_id == (claim.external_id or ""):
            continue
        # A customer without a profile takes an orphan with their address, as at first contact (R4).
        if profile.external_id is not None or (has_own and not merges):
            raise taken_error(Binding(None, new_email), profile)


def _email_change(call: Call, old_email: str | None, changed: Changed, wanted: Binding) -> Flow[EmailChange]:
    binding = changed.binding or wanted
    new_email = required(wanted.email)
    visible = False
    if changed.is_superseded:
        new_email = required(binding.email)
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

    def _is_visible() -> Flow[bool]:
        found = yield from search(call, Kind.EMAIL, email)
        return binding.profile_id in found or (binding.profile_id is None and bool(found))

    # The change itself stands: a search that fails says only that it was not seen.
    try:
        seconds = call.policy.visible_wait
        return (yield from poll(call, _is_visible, seconds=seconds, pause=_FIRST_LOOK, longest=_LONGEST_LOOK))
    except SafeKlaviyoError:
        return False
