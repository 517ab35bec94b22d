"""`resolve`: which customer identifiers mean, by the map and else by Klaviyo. Reads only, and writes nothing down."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from safeklaviyo._flows.call import Setup, run
from safeklaviyo._flows.identity.reads import gather, only_profile
from safeklaviyo._flows.identity.tombstones import refuse_erased
from safeklaviyo._flows.telling import tell
from safeklaviyo._rules.claims import claim_from, decide, refusal
from safeklaviyo._rules.shown import email_of
from safeklaviyo.identity import Identity
from safeklaviyo.models import Resolution
from safeklaviyo.stores.calls import Find

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.identity import Claim


def resolve(setup: Setup, *, external_id: object, email: object) -> Flow[Resolution]:
    """See `Klaviyo.resolve`."""
    return run(
        setup,
        "resolve",
        lambda call: who(call, claim_from(external_id, email, None, call.policy)),
    )


def who(call: Call, claim: Claim) -> Flow[Resolution]:
    """Say which customer is meant.

    Raises:
        IdentityError: The identifiers are different customers', or several profiles answer.
    """
    # Step 1: decide by the map, also while another call holds a lease: nothing is written here.
    found = yield from Find(call.account, claim.identifiers())
    decision = decide(claim, replace(found, lease=None), call.policy, needs_profile=call.dialect.has_profile_ids)
    yield from tell(call, decision)
    if decision.action == "refuse" and decision.rule != "R9":
        raise refusal(decision)
    binding = decision.binding
    if binding is not None and binding.profile_id is not None:
        return Resolution(binding.identity, binding.profile_id, decision.rule)
    # Step 2: ask Klaviyo, where the map does not know the profile. An erased customer is not asked for.
    if binding is None:
        yield from refuse_erased(call, claim)
    asked = decision.identity if binding is not None else Identity(claim.external_id, claim.email)
    evidence = yield from gather(call, (asked.external_id,), (asked.email,))
    profile = only_profile(asked, list(evidence.values()))
    if profile is None:
        return Resolution(asked, None, decision.rule)
    return Resolution(Identity(profile.external_id, email_of(profile)), profile.id, decision.rule)
