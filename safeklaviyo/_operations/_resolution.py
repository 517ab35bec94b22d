"""`resolve`: who somebody is, by the map and else by Klaviyo. Reads only, and writes nothing down."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from safeklaviyo import _evidence, _rules
from safeklaviyo._flow import Find
from safeklaviyo._operations._reading import gather, only_profile
from safeklaviyo._operations._tombstones import refuse_erased
from safeklaviyo.identity import Identity
from safeklaviyo.models import Resolution

if TYPE_CHECKING:
    from safeklaviyo._flow import Flow
    from safeklaviyo._operations._call import Call
    from safeklaviyo.identity import Claim


def who(call: Call, claim: Claim) -> Flow[Resolution]:
    """Say who is meant.

    Raises:
        IdentityError: The identifiers are different customers', or several profiles answer.
    """
    found = yield from Find(call.account, claim.identifiers())
    decision = _rules.decide(claim, replace(found, lease=None), call.policy, needs_profile=call.dialect.verifies)
    if decision.action == "refuse" and decision.rule != "R9":
        raise _rules.refusal(decision)
    binding = decision.binding
    if binding is not None and binding.profile_id is not None:
        return Resolution(binding.identity, binding.profile_id, decision.rule)
    if binding is None:
        yield from refuse_erased(call, claim)
    asked = decision.identity if binding is not None else Identity(claim.external_id, claim.email)
    evidence = yield from gather(call, (asked.external_id,), (asked.email,))
    profile = only_profile(asked, list(evidence.values()))
    if profile is None:
        return Resolution(asked, None, decision.rule)
    return Resolution(Identity(profile.external_id, _evidence.email_of(profile)), profile.id, decision.rule)
