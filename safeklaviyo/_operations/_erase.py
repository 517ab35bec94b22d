"""`erase`: who is meant, by the map and else by Klaviyo, without making anybody known first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo import _evidence
from safeklaviyo._flow import Find
from safeklaviyo._operations._erasing import erase_under_lease
from safeklaviyo._operations._leases import Intent
from safeklaviyo._operations._reading import gather, read_profile
from safeklaviyo._operations._settle import act, give_way, take
from safeklaviyo.errors import ConfigurationError
from safeklaviyo.identity import Claim, Identifier, Kind
from safeklaviyo.models import Erasure

if TYPE_CHECKING:
    from safeklaviyo._flow import Flow
    from safeklaviyo._operations._call import Call


def erase(call: Call, claim: Claim, profile_id: str | None) -> Flow[Erasure]:
    """Delete a customer's profile, and forget all that the map knows of them but that they were erased."""
    if not call.dialect.verifies:
        raise ConfigurationError("erase needs the current dialect")
    while True:
        intent, was_known = yield from _intent(call, claim, profile_id)
        if intent is None:
            continue
        lease = yield from take(call, intent)
        if lease is not None:
            done = yield from act(call, lease, None, erase_under_lease(call, lease, intent, main=True))
            if done is not None:
                return Erasure(intent.profile_id, was_known)


def _intent(call: Call, claim: Claim, profile_id: str | None) -> Flow[tuple[Intent | None, bool]]:
    """Find out who is meant; None after waiting for somebody."""
    named = () if profile_id is None else (Identifier(Kind.PROFILE_ID, profile_id),)
    found = yield from Find(call.account, (*claim.identifiers(), *named))
    if found.lease is not None:
        yield from give_way(call, found.lease)
        return None, False
    owners = {match.binding.key: match.binding for match in found.matches}
    if len(owners) > 1:
        raise _evidence.ambiguous("the identifiers are different customers'", claim.external_id, claim.email, [])
    for binding in owners.values():
        return Intent("erase", binding.external_id, binding.email, binding.profile_id or profile_id), True
    if profile_id is not None:
        profile = yield from read_profile(call, profile_id)
        profiles = [] if profile is None else [profile]
    else:
        evidence = yield from gather(call, (claim.external_id,), (claim.email,))
        profiles = list(evidence.values())
    if len(profiles) > 1:
        raise _evidence.ambiguous(
            "several profiles answer; erase each by its profile_id", claim.external_id, claim.email, profiles
        )
    if not profiles:
        return Intent("erase", claim.external_id, claim.email, profile_id), False
    (only,) = profiles
    external_id, email = claim.external_id or only.external_id, claim.email or _evidence.email_of(only)
    return Intent("erase", external_id, email, only.id), False
