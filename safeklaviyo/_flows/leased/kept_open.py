"""A lease that outlives its call, because Klaviyo has accepted what its intent says and has not carried it out yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._flows.call import Call, renew

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.leased.intents import GiveIntent, MergeIntent, WithdrawIntent
    from safeklaviyo.stores.base import Lease

NEXT_LOOK = 1.0
"""Seconds after which the next call may look whether Klaviyo is done."""


def keep_open(call: Call, lease: Lease, intent: GiveIntent | MergeIntent | WithdrawIntent) -> Flow[None]:
    """Leave a lease with its intent, so that the next call that needs it looks whether Klaviyo is done.

    Raises:
        LeaseLostError: Another call has taken the lease over.
    """
    yield from renew(call, lease, ttl=NEXT_LOOK, intent=intent.encode())
