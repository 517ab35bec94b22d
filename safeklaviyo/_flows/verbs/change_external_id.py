"""`change_external_id`: another id for a customer, or with `CLEAR` none; the old one retires."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._flows.call import Setup, run
from safeklaviyo._flows.leased.intents import ChangeIntent
from safeklaviyo._flows.verbs.changing import made_change
from safeklaviyo._rules.claims import claim_from
from safeklaviyo.identity import Claim, Kind, normalise_external_id
from safeklaviyo.models import CLEAR, ExternalIdChange

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call


def change_external_id(
    setup: Setup, new_external_id: object, *, old_external_id: object, email: object
) -> Flow[ExternalIdChange]:
    """See `Klaviyo.change_external_id`."""

    def _body(call: Call) -> Flow[ExternalIdChange]:
        claim = claim_from(old_external_id, email, None, call.policy)
        wanted = None
        if new_external_id is not CLEAR:
            policy = call.policy
            wanted = normalise_external_id(
                new_external_id, blocked=policy.blocked_values, max_length=policy.max_external_id_length
            )
        return (yield from _change_external_id(call, wanted, claim))

    return run(setup, "change_external_id", _body)


def _change_external_id(call: Call, new_external_id: str | None, claim: Claim) -> Flow[ExternalIdChange]:
    """Change, or with None take away, the external id of the customer meant, and retire the old one."""
    # An intent cannot tell "none given" from "take it away" by None, so the second has a field of its own.
    changes = ChangeIntent(new_external_id=new_external_id)
    if new_external_id is None:
        changes = ChangeIntent(clears=(Kind.EXTERNAL_ID.value,))
    before, changed = yield from made_change(call, claim, changes)
    binding = changed.binding or before
    return ExternalIdChange(
        status="changed" if changed.moved or before.external_id != binding.external_id else "unchanged",
        profile_id=binding.profile_id,
        old_external_id=before.external_id,
        new_external_id=binding.external_id,
        email=binding.email,
        warnings=tuple(call.notices),
    )
