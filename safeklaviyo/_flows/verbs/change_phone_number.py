"""`change_phone_number`: another number for a customer, or with `CLEAR` none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._flows.call import Setup, run
from safeklaviyo._flows.identity.reads import read_profile
from safeklaviyo._flows.leased.intents import ChangeIntent
from safeklaviyo._flows.verbs.changing import customer_of, made_change
from safeklaviyo._input.phones import phone_number_from
from safeklaviyo._rules.claims import claim_from
from safeklaviyo.identity import Claim, Kind
from safeklaviyo.models import CLEAR, PhoneChange

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call


def change_phone_number(
    setup: Setup, new_phone_number: object, *, external_id: object, email: object
) -> Flow[PhoneChange]:
    """See `Klaviyo.change_phone_number`."""

    def _body(call: Call) -> Flow[PhoneChange]:
        claim = claim_from(external_id, email, None, call.policy)
        wanted = None if new_phone_number is CLEAR else phone_number_from(new_phone_number, call.policy.phone_region)
        return (yield from _change_phone_number(call, wanted, claim))

    return run(setup, "change_phone_number", _body)


def _change_phone_number(call: Call, new_phone_number: str | None, claim: Claim) -> Flow[PhoneChange]:
    """Change, or with None take away, the phone number of the customer meant."""
    changes = ChangeIntent(new_phone_number=new_phone_number)
    if new_phone_number is None:
        changes = ChangeIntent(clears=(Kind.PHONE_NUMBER.value,))
    # The number as Klaviyo has it now: the map need not know it, and the caller is told what was replaced.
    resolved = yield from customer_of(call, claim)
    profile_id = resolved.binding.profile_id
    profile = None if profile_id is None else (yield from read_profile(call, profile_id))
    old = resolved.binding.phone_number if profile is None else profile.phone_number
    _, changed = yield from made_change(call, claim, changes)
    if changed.moved and old is not None:
        message = "the former phone number was replaced; consent to text messages given for it may be lost in Klaviyo"
        call.notice("sms_consent", Kind.PHONE_NUMBER.value, message)
    binding = changed.binding or resolved.binding
    return PhoneChange(
        status="changed" if changed.moved else "unchanged",
        profile_id=binding.profile_id,
        old_phone_number=old,
        new_phone_number=binding.phone_number,
        warnings=tuple(call.notices),
    )
