"""What the verbs that change an identifier share: which customer has it, and one attempt under a lease.

A customer who is not yet in the map is bound first (H9). A former identifier resolves to its owner here, even where
``Policy(retired="refuse")`` refuses it in other calls.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from safeklaviyo._flows.identity.resolve import Resolved, resolve
from safeklaviyo._flows.identity.tombstones import refuse_erased
from safeklaviyo._flows.leased.change_identifiers import change_under_lease
from safeklaviyo._flows.leased.leases import acquire_lease, repair_profile, run_leased
from safeklaviyo._flows.leased.superseded import superseded
from safeklaviyo._rules.claims import refusal
from safeklaviyo.identity import Claim

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo._flows.leased.change_task import Changed
    from safeklaviyo._flows.leased.intents import ChangeIntent
    from safeklaviyo.models import Binding, Decision


def made_change(call: Call, claim: Claim, changes: ChangeIntent) -> Flow[tuple[Binding, Changed]]:
    """Carry a change out, and return the binding before it."""
    before: Binding | None = None
    while True:
        resolved = yield from customer_of(call, claim)
        before = before or resolved.binding
        changed = yield from attempt_change(call, resolved.binding, changes, main=True)
        if changed is not None and changed.binding is not None:
            return before, (yield from with_next_profile(call, changed, main=True))


def with_next_profile(call: Call, changed: Changed, *, main: bool) -> Flow[Changed]:
    """Make the customer's next profile, where the one that was to be changed is gone."""
    binding = changed.binding
    if binding is None or binding.profile_id is not None or not call.dialect.has_profile_ids:
        return changed
    resolved = yield from customer_of(call, Claim(binding.external_id, binding.email), main=main)
    return replace(changed, binding=resolved.binding)


def customer_of(call: Call, claim: Claim, *, main: bool = False) -> Flow[Resolved]:
    """Find out which customer is meant.

    Raises:
        IdentityError: It is not certain which customer is meant, or the rules refuse the claim.
    """
    resolved = yield from decided_customer(call, claim, main=main)
    if not isinstance(resolved, Resolved):
        raise refusal(resolved)
    return resolved


def decided_customer(call: Call, claim: Claim, *, main: bool = False) -> Flow[Resolved | Decision]:
    """Find out which customer is meant, or why the rules refuse the claim."""
    policy = call.policy.model_copy(update={"retired": "rewrite", "email_mismatch": "refuse"})
    return (yield from resolve(call, claim, main=main, policy=policy))


def attempt_change(call: Call, binding: Binding, changes: ChangeIntent, *, main: bool) -> Flow[Changed | None]:
    """Make one attempt; None if another call was quicker, and everything has to be decided again."""
    # Step 1: an identifier of an erased customer must not come back by a change either.
    for new in (Claim(changes.new_external_id), Claim(None, changes.new_email)):
        yield from refuse_erased(call, new)
    # Step 2: the intent names the customer as the map does now, so that another call can finish it.
    intent = replace(changes, external_id=binding.external_id, email=binding.email, profile_id=binding.profile_id)
    lease = yield from acquire_lease(call, intent)
    if lease is None:
        return None
    body = change_under_lease(call, lease, intent, main=main)
    changed = yield from run_leased(call, lease, body)
    # Step 3: after a lost lease, another call has made this change. A later one must not be undone (H8).
    if changed is None:
        return (yield from superseded(call, binding, intent))
    # Step 4: repair the profile that stands in the way. Outside the lease, because the repair takes one on its owner.
    if changed.blocked is not None:
        is_repaired = yield from repair_profile(call, changed.blocked.profile.id)
        if not is_repaired:
            raise changed.blocked.taken
    return changed
