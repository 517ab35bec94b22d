"""What the map learns from Klaviyo's answer to a call that was observed: hints, and doubts (H32, H33).

These flows send nothing. They add a binding only where the map has none; such a binding is a hint, and the first
enforced call that uses it reads the profile. A binding that the answer contradicts is

- forgotten, if it is a hint itself: the answer is newer;
- put in doubt, if a verb or a check has written it: the next call that uses it reads the profile.

No binding is overwritten, retired or journalled.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from safeklaviyo._flows.call import Call, Setup
from safeklaviyo._flows.identity.hints import forget_under_lease, is_hint
from safeklaviyo._flows.identity.tombstones import erased_among
from safeklaviyo._flows.leased.intents import RepairIntent
from safeklaviyo._flows.required import required
from safeklaviyo._rules.additions import names_of
from safeklaviyo._rules.claims import claim_from
from safeklaviyo._rules.learning import learn
from safeklaviyo._rules.shown import email_of
from safeklaviyo.errors import InvalidIdentifierError
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change
from safeklaviyo.stores.calls import Acquire, Bind, Find, Former, Release

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo.models import Profile
    from safeklaviyo.stores.base import Found, Lease

Learnt: TypeAlias = Literal["learnt", "doubted", "nothing"]


def learn_from(setup: Setup, account: str, profile: Profile) -> Flow[Learnt]:
    """Learn what a profile shows."""
    call = Call(setup, "guard", account)
    shown = _shown(call, profile)
    if shown is None:
        return "nothing"
    # Step 1: look without a lease, because most answers show what the map knows. While another call writes about the
    # customer, nothing is learnt: that call knows more.
    found = yield from Find(account, names_of(shown))
    if found.lease is not None:
        return "nothing"
    lesson = learn(shown, found)
    if lesson.contradiction:
        is_gone = yield from _doubt(call, found)
        if not is_gone:
            return "doubted"
    elif lesson.binding is None:
        return "nothing"
    # Step 2: learn under a lease, after a second look: the map may have changed since the first.
    return (yield from _learn(call, shown))


def _learn(call: Call, shown: Binding) -> Flow[Learnt]:
    lease = yield from _lease(call, shown)
    if lease is None:
        return "nothing"
    found = yield from Find(call.account, names_of(shown))
    lesson = learn(shown, replace(found, lease=None))
    binding = lesson.binding
    # An erased customer stays erased, even if Klaviyo still shows the profile for a while.
    if binding is not None and not (yield from erased_among(call, names_of(shown))):
        outcome = yield from Bind(call.account, Change(binding, verified=False, token=lease.token))
        if outcome.status == "bound":
            return "learnt"
    yield from Release(call.account, lease.token)
    return "nothing"


def _lease(call: Call, shown: Binding) -> Flow[Lease | None]:
    """Take a lease on the identifiers that an answer shows; None if another call has one, expired or not."""
    intent = RepairIntent(external_id=shown.external_id, email=shown.email, profile_id=required(shown.profile_id))
    lease = yield from Acquire(call.account, intent.identifiers(), intent.encode(), call.lease_ttl)
    # The write of an expired lease would have to be finished first, which takes requests. An enforced call does that.
    return None if lease is None or lease.taken_over else lease


def _doubt(call: Call, found: Found) -> Flow[bool]:
    """Forget the hints that an answer contradicts, and put other bindings in doubt; tell whether all are forgotten."""
    owners = {match.binding.key: match.binding for match in found.matches}
    kept = 0
    for owner in owners.values():
        if is_hint(owner) and not (yield from Former(call.account, (owner,))):
            lease = yield from _lease(call, owner)
            kept += lease is None or not (yield from forget_under_lease(call, lease, owner))
            continue
        kept += 1
        # Without the time of its last check, a binding is read before it is used (R16).
        if owner.verified_at is not None:
            yield from Bind(call.account, Change(replace(owner, verified_at=None), verified=False))
    return kept == 0


def _shown(call: Call, profile: Profile) -> Binding | None:
    """Return what a profile shows, as a binding; None without an email, because the shop could not name it (R9)."""
    email = email_of(profile)
    if email is None:
        return None
    try:
        claim = claim_from(profile.external_id, email, None, call.policy)
    except InvalidIdentifierError:
        return None
    return Binding(claim.external_id, claim.email, profile.id)
