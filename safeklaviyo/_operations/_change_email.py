"""`change_email`: who is meant, the change under a lease, and the wait until Klaviyo's search shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._flow import Flow, Monotonic, Sleep
from safeklaviyo._operations._call import Call
from safeklaviyo._operations._change import Changed, change_under_lease
from safeklaviyo._operations._leases import Intent
from safeklaviyo._operations._reading import search
from safeklaviyo._operations._resolve import Resolved, resolve
from safeklaviyo._operations._settle import act, restore, take
from safeklaviyo.errors import IdOnlyError, SafeKlaviyoError
from safeklaviyo.identity import Claim, Kind
from safeklaviyo.models import Binding, EmailChange

if TYPE_CHECKING:
    from safeklaviyo.policy import Policy

_FIRST_LOOK = 0.05
_LONGEST_LOOK = 1.0


def change_email(call: Call, new_email: str, claim: Claim, *, main: bool = True) -> Flow[EmailChange]:
    """Change the email of the customer meant, and retire the old one. A customer not yet mapped is bound first."""
    before: Binding | None = None
    while True:
        resolved = yield from _customer(call, new_email, claim, main=main)
        before = before or resolved.binding
        if resolved.contact is not None and resolved.binding.email == new_email:
            return (yield from _result(call, None, resolved.binding, is_changed=True))
        changed = yield from _change(call, resolved.binding, new_email, main=main)
        if changed is not None and changed.binding is not None:
            return (yield from _result(call, before.email, changed.binding, is_changed=changed.moved))


def _customer(call: Call, new_email: str, claim: Claim, *, main: bool) -> Flow[Resolved]:
    """Find out whose email is to be changed; a former address speaks for them whatever the policy says of others."""
    policy: Policy = call.policy.model_copy(update={"retired": "rewrite", "email_mismatch": "refuse"})
    try:
        return (yield from resolve(call, claim, policy=policy))
    except IdOnlyError:
        if claim.email is not None or claim.external_id is None:
            raise
    # Nobody knows an email of theirs, so there is none to change: the new one is their first.
    return (yield from resolve(call, Claim(claim.external_id, new_email), main=main, policy=policy))


def _change(call: Call, binding: Binding, new_email: str, *, main: bool) -> Flow[Changed | None]:
    """Make one attempt; None if somebody else was faster, and everything has to be looked at again."""
    intent = Intent("change_email", binding.external_id, new_email, binding.email, binding.profile_id)
    lease = yield from take(call, intent)
    if lease is None:
        return None
    body = change_under_lease(call, lease, intent, main=main)
    changed = yield from act(call, lease, new_email, body)
    if changed is not None and changed.put_back is not None:
        yield from restore(call, changed.put_back.id, new_email)
    return changed


def _result(call: Call, old_email: str | None, binding: Binding, *, is_changed: bool) -> Flow[EmailChange]:
    new_email = str(binding.email)
    visible = yield from _wait_until_visible(call, binding, new_email)
    if not visible:
        call.notice("not_visible_yet", "email", "Klaviyo's search does not show the new email yet")
    return EmailChange(
        status="changed" if is_changed or old_email not in (None, new_email) else "unchanged",
        profile_id=binding.profile_id,
        external_id=binding.external_id,
        old_email=old_email,
        new_email=new_email,
        visible=visible,
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
