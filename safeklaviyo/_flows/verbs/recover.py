"""`recover`: completing what was interrupted, oldest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._flows.call import Call, Setup, release, run
from safeklaviyo._flows.deadlines import exceeded_by, start_deadline
from safeklaviyo._flows.leased.intents import GiveIntent, MergeIntent, WithdrawIntent, decode
from safeklaviyo._flows.leased.leases import finish_intent
from safeklaviyo.errors import ConfigurationError, SafeKlaviyoError, StoreIncompatibleError
from safeklaviyo.models import Recovery
from safeklaviyo.stores.calls import Acquire, Expired

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo.identity import Identifier
    from safeklaviyo.stores.base import Lease

_AT_ONCE = 100


def recover(setup: Setup, limit: object) -> Flow[list[Recovery]]:
    """See `Klaviyo.recover`."""
    return run(setup, "recover", lambda call: _recover(call, limit))


def _recover(call: Call, limit: object) -> Flow[list[Recovery]]:
    """Complete interrupted writes, oldest first; one failure does not hide the others."""
    recoveries: list[Recovery] = []
    seen: set[frozenset[Identifier]] = set()
    if limit is not None and not isinstance(limit, int):
        raise ConfigurationError("limit has to be a whole number")
    while limit is None or len(recoveries) < limit:
        wanted = _AT_ONCE if limit is None else min(_AT_ONCE, limit - len(recoveries))
        # Each lease is then taken over, released, or another call's. One that waits for Klaviyo expires again soon.
        yield from start_deadline(call)
        expired = yield from Expired(call.account, wanted)
        leases = [lease for lease in expired if lease.identifiers not in seen]
        if not leases:
            break
        for lease in leases:
            seen.add(lease.identifiers)
            recovery = yield from _recovered(call, lease)
            if recovery is not None:
                recoveries.append(recovery)
    return recoveries


def _recovered(call: Call, lease: Lease) -> Flow[Recovery | None]:
    """Take one expired lease over and finish its write; None if there is nothing left to do."""
    yield from start_deadline(call)
    taken = yield from Acquire(call.account, lease.identifiers, lease.intent, call.lease_ttl)
    if taken is None:
        return None  # another call was quicker
    if not taken.taken_over:
        yield from release(call, taken)
        return None
    try:
        intent = decode(taken.intent)
    except StoreIncompatibleError as error:
        return Recovery("unknown", "postponed", None, None, error)
    # One failure must not hide the others, so it becomes part of the report.
    pair = (intent.external_id, intent.email)
    try:
        finished = yield from finish_intent(call, taken)
    except SafeKlaviyoError as error:
        return Recovery(intent.verb, "postponed", *pair, (yield from exceeded_by(call, error)) or error)
    if finished.status == "accepted":
        # Nothing was interrupted where Klaviyo had accepted it before, and is only not done.
        was_accepted = isinstance(intent, GiveIntent | MergeIntent | WithdrawIntent) and intent.accepted_at is not None
        return None if was_accepted else Recovery(intent.verb, "completed", *pair)
    return Recovery(intent.verb, finished.status, *pair, finished.error)
