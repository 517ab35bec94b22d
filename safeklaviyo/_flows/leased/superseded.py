"""What a call finds after another call took its lease over: its own change made, or a later one in its place.

The call that took the lease over carries the same change out first. If a third call then changes the customer again,
the first must not make its change a second time: it would undo the later one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._flows.leased.change_task import Changed
from safeklaviyo.errors import EmailMismatchError, ExternalIdMismatchError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.calls import Find

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo._flows.leased.intents import ChangeIntent
    from safeklaviyo.models import Binding

_REPEAT = "another call has changed this customer since; look at what stands now before you repeat yours"


def superseded(call: Call, before: Binding, intent: ChangeIntent) -> Flow[Changed | None]:
    """Return what the map has now, if a later change has replaced the one of this intent; None if none has.

    Args:
        before: The binding as it was when the lease was taken.

    Raises:
        EmailMismatchError: The email was changed by another call, and this call's change was never made.
        ExternalIdMismatchError: The same for the external id.
    """
    # Step 1: find the customer by the binding's key, which no change of identifiers alters.
    found = yield from Find(call.account, tuple(intent.identifiers()))
    current = next((match.binding for match in found.matches if match.binding.key == before.key), None)
    if current is None:
        return None
    # Step 2: without a value that is neither the old nor the new one, no later change was made: decide again.
    kind = _changed_kind(before, current, intent.applied_to(before))
    if kind is None:
        return None
    # Step 3: find out whether this call's change was made in between. The map then has its value as a retired one.
    wanted = {Kind.EMAIL: intent.new_email, Kind.EXTERNAL_ID: intent.new_external_id}.get(kind)
    was_made = wanted is None or any(
        match.identifier == Identifier(kind, wanted) and match.binding.key == before.key for match in found.matches
    )
    if not was_made and kind is Kind.EMAIL:
        raise EmailMismatchError(_REPEAT, current_email=current.email, external_id=current.external_id, email=wanted)
    if not was_made:
        raise ExternalIdMismatchError(
            _REPEAT, current_external_id=current.external_id, external_id=wanted, email=current.email
        )
    call.notice("superseded", kind.value, "a later change of this customer has replaced this one")
    return Changed(current, is_superseded=True, moved=True)


def _changed_kind(before: Binding, current: Binding, wanted: Binding) -> Kind | None:
    """Return the kind of identifier that is neither as it was nor as it was to be."""
    for kind in (Kind.EMAIL, Kind.EXTERNAL_ID, Kind.PHONE_NUMBER):
        was, then, now = (getattr(each, kind.value) for each in (before, wanted, current))
        if was != then and now not in {was, then}:
            return kind
    return None
