"""What the verbs that change an identifier share: whose it is, and one attempt under a lease.

A customer who is not yet in the map is bound first (H9). A former identifier resolves to its owner here, whatever the
policy says of other calls.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from safeklaviyo._flows.identity.resolve import Resolved, resolve
from safeklaviyo._flows.identity.tombstones import refuse_erased
from safeklaviyo._flows.leased.change_identifiers import change_under_lease
from safeklaviyo._flows.leased.leases import acquire_lease, repair_profile, run_leased
from safeklaviyo._flows.leased.superseded import superseded
from safeklaviyo.identity import Claim

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo._flows.leased.change_task import Changed
    from safeklaviyo._flows.leased.intents import ChangeIntent
    from safeklaviyo.models import Binding


def made_change(call: Call, claim: Claim, changes: ChangeIntent) -> Flow[tuple[Binding, Changed]]:
    """Carry a change out, and return the binding before it."""
    before: Binding | None = None
    while True:
        resolved = yield from customer_of(call, claim)
        before = before or resolved.binding
        changed = yield from attempt_change(call, resolved.binding, changes, main=True)
        if changed is not None and changed.binding is not None:
            changed.binding = yield from with_profile(call, changed.binding, main=True)
            return before, changed


def with_profile(call: Call, binding: Binding | None, *, main: bool) -> Flow[Binding | None]:
    """Make the customer's next profile, where the one that was to be changed is gone."""
    if binding is None or binding.profile_id is not None or not call.dialect.verifies:
        return binding
    resolved = yield from customer_of(call, Claim(binding.external_id, binding.email), main=main)
    return resolved.binding


def customer_of(call: Call, claim: Claim, *, main: bool = False) -> Flow[Resolved]:
    policy = call.policy.model_copy(update={"retired": "rewrite", "email_mismatch": "refuse"})
    return (yield from resolve(call, claim, main=main, policy=policy))


def attempt_change(call: Call, binding: Binding, changes: ChangeIntent, *, main: bool) -> Flow[Changed | None]:
    """Make one attempt; None if somebody else was faster, and everything has to be looked at again."""
    for new in (Claim(changes.new_external_id), Claim(None, changes.new_email)):
        yield from refuse_erased(call, new)
    intent = replace(changes, external_id=binding.external_id, email=binding.email, profile_id=binding.profile_id)
    lease = yield from acquire_lease(call, intent)
    if lease is None:
        return None
    body = change_under_lease(call, lease, intent, main=main)
    changed = yield from run_leased(call, lease, body)
    if changed is None:
        return (yield from superseded(call, binding, intent))
    if changed.put_back is not None and changed.taken is not None:
        restored = yield from repair_profile(call, changed.put_back.id)
        if not restored:
            raise changed.taken
    return changed
