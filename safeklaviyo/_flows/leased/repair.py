"""Restoring a profile to what the map says (R15), where a late event or a late write has put a former identifier back.

The profile is read again under a lease first: what anybody saw before may be older than the map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeklaviyo._api.responses import is_success
from safeklaviyo._flows.call import TAKEN_OR_MISSING, Call, LeaseLostError, release, send
from safeklaviyo._flows.identity.absence import confirm_gone
from safeklaviyo._flows.identity.reads import former_kinds, read_answer, read_profile
from safeklaviyo._rules.shown import email_of, has_email, phone_of
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import CLEAR
from safeklaviyo.stores.base import Change, JournalEntry
from safeklaviyo.stores.calls import Bind, Find

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.leased.intents import RepairIntent
    from safeklaviyo.models import Binding, Profile
    from safeklaviyo.stores.base import Lease


def repair_under_lease(call: Call, lease: Lease, intent: RepairIntent) -> Flow[bool]:
    """Give a profile its identifiers in the map back, if it shows former or late ones, and release the lease.

    Returns:
        Whether the profile agrees with the map now.
    """
    profile_id = intent.profile_id
    profile = yield from read_profile(call, profile_id)
    if profile is None:
        yield from confirm_gone(call, profile_id, external_id=intent.external_id, email=intent.email)
    else:
        found = yield from Find(call.account, (Identifier(Kind.PROFILE_ID, profile.id),))
        binding = found.current(Kind.PROFILE_ID)
        if binding is not None:
            differs = _differences(binding, profile, intent)
            # More than former and late identifiers: somebody else has changed the profile, which is not to be undone.
            if differs.keys() <= _late(profile, intent) | (yield from former_kinds(call, binding, profile)):
                return (yield from _write_repair(call, lease, binding, profile, differs))
    yield from release(call, lease)
    return False


def _differences(binding: Binding, profile: Profile, intent: RepairIntent) -> dict[Kind, str | None]:
    """Return what the map says, by kind, where the profile shows something else.

    A phone number counts only where this library may have written it late: the map need not know it otherwise.
    """
    differs: dict[Kind, str | None] = {}
    if not has_email(profile, binding.email):
        differs[Kind.EMAIL] = binding.email
    if profile.external_id != binding.external_id:
        differs[Kind.EXTERNAL_ID] = binding.external_id
    is_late = Kind.PHONE_NUMBER in _late(profile, intent)
    if is_late and phone_of(profile) != binding.phone_number:
        differs[Kind.PHONE_NUMBER] = binding.phone_number
    return differs


def _late(profile: Profile, intent: RepairIntent) -> set[Kind]:
    """Return the kinds of identifier that the profile shows as the intent, which was carried out too late, has them."""
    written = {
        Kind.EMAIL: (intent.new_email, email_of(profile)),
        Kind.EXTERNAL_ID: (intent.new_external_id, profile.external_id),
        Kind.PHONE_NUMBER: (intent.new_phone_number, phone_of(profile)),
    }
    return {
        kind
        for kind, (new, shown) in written.items()
        if new == shown and (new is not None or kind.value in intent.clears)
    }


def _write_repair(
    call: Call, lease: Lease, binding: Binding, profile: Profile, differs: dict[Kind, str | None]
) -> Flow[bool]:
    journal = None
    if differs:
        patch: dict[str, Any] = {kind.value: CLEAR if value is None else value for kind, value in differs.items()}
        request = call.dialect.move(profile.id, **patch)
        call.touched = profile.id
        response = yield from send(call, request, accept=TAKEN_OR_MISSING, lease=lease)
        answer = read_answer(call, response) if is_success(response.status) else None
        if answer is None or not _agrees(binding, answer):
            yield from release(call, lease)
            return False
        journal = JournalEntry("restore", email_of(profile), binding.email)
        kind = next(iter(differs)).value
        call.notice("put_back_repaired", kind, f"a former {kind} had been put back in Klaviyo; it was repaired")
    outcome = yield from Bind(call.account, Change(binding, token=lease.token, journal=journal))
    if outcome.status == "fenced":
        raise LeaseLostError
    if outcome.status != "bound":
        yield from release(call, lease)
    return True


def _agrees(binding: Binding, profile: Profile) -> bool:
    return has_email(profile, binding.email) and profile.external_id == binding.external_id
