"""Bindings that were learnt or imported and never checked: hints. One that Klaviyo contradicts is forgotten (H32, H34).

A hint has been written once and verified never. It was no shop's decision and no verb's, so nothing is kept of it:
neither retired nor journalled (H33).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._flows.call import LeaseLostError, release
from safeklaviyo._flows.leased.intents import RepairIntent
from safeklaviyo._flows.leased.leases import acquire_lease
from safeklaviyo._flows.required import required
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.calls import Find, Former, Remove

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import Lease

_FIRST = 1
"""The version of a binding that was written once."""


def is_hint(binding: Binding) -> bool:
    """Tell whether a binding was never checked. One that was, and is in doubt, has been written more than once."""
    return binding.verified_at is None and binding.profile_id is not None and binding.version == _FIRST


def forget_hint(call: Call, binding: Binding) -> Flow[bool]:
    """Forget a hint that Klaviyo contradicts. Afterwards the claim has to be decided again.

    Returns:
        False if the binding is no hint: what was imported with former identifiers, or was changed in between, stays.
    """
    if not is_hint(binding) or (yield from Former(call.account, (binding,))):
        return False
    # Under a lease, so that no call is writing about the customer by what the hint says.
    intent = RepairIntent(external_id=binding.external_id, email=binding.email, profile_id=required(binding.profile_id))
    lease = yield from acquire_lease(call, intent)
    if lease is None:
        return True
    return (yield from forget_under_lease(call, lease, binding))


def forget_under_lease(call: Call, lease: Lease, binding: Binding) -> Flow[bool]:
    """Forget a hint under a lease on its identifiers, and release the lease.

    Returns:
        Whether it is forgotten.
    """
    name = Identifier(Kind.PROFILE_ID, required(binding.profile_id))
    found = yield from Find(call.account, (name,))
    current = found.current(Kind.PROFILE_ID)
    is_same = current is not None and current.key == binding.key and is_hint(current)
    if is_same and not (yield from Remove(call.account, name, lease.token)):
        raise LeaseLostError
    yield from release(call, lease)
    return is_same
