"""`explain`: what the rules say about a claim. Reads the map only, and sends nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._flows.call import Call, Setup, run
from safeklaviyo._flows.telling import tell
from safeklaviyo._rules.claims import claim_from, decide
from safeklaviyo.stores.calls import Find

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo.models import Decision


def explain(setup: Setup, *, external_id: object, email: object, phone_number: object) -> Flow[Decision]:
    """See `Klaviyo.explain`."""

    def _body(call: Call) -> Flow[Decision]:
        claim = claim_from(external_id, email, phone_number, call.policy)
        found = yield from Find(call.account, claim.identifiers())
        decision = decide(claim, found, call.policy, needs_profile=call.dialect.has_profile_ids)
        yield from tell(call, decision)
        return decision

    return run(setup, "explain", _body)
