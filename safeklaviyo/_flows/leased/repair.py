"""Repairing a profile (R15): bringing it back to what the map says, after a late event or a late write.

The profile is read again under a lease first: what a call saw before may be older than the map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._api.responses import is_success
from safeklaviyo._flows.binding import bind
from safeklaviyo._flows.call import TAKEN_OR_MISSING, Call, release, send
from safeklaviyo._flows.identity.absence import confirm_gone
from safeklaviyo._flows.identity.reads import former_kinds, read_answer, read_profile
from safeklaviyo._flows.leased.change_task import as_patch
from safeklaviyo._rules.shown import PAIR, differences, email_of, phone_of
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.base import Change, JournalEntry
from safeklaviyo.stores.calls import Find

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
    # Step 1: read the profile and the map again. Under this lease no other call can change the binding.
    profile = yield from read_profile(call, intent.profile_id)
    if profile is None:
        yield from confirm_gone(call, intent.profile_id, external_id=intent.external_id, email=intent.email)
    else:
        found = yield from Find(call.account, (Identifier(Kind.PROFILE_ID, profile.id),))
        binding = found.current(Kind.PROFILE_ID)
        if binding is not None:
            # Step 2: see what differs. The map need not know the phone number, unless this library wrote it late.
            late = _late_kinds(profile, intent)
            kinds = (*PAIR, Kind.PHONE_NUMBER) if Kind.PHONE_NUMBER in late else PAIR
            differing = differences(binding, profile, kinds)
            # Step 3: write, unless other identifiers differ too: another program's change is not to be undone.
            if differing.keys() <= late | (yield from former_kinds(call, binding, profile)):
                return (yield from _write_repair(call, lease, binding, profile, differing))
    yield from release(call, lease)
    return False


def _late_kinds(profile: Profile, intent: RepairIntent) -> set[Kind]:
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
    call: Call, lease: Lease, binding: Binding, profile: Profile, differing: dict[Kind, str | None]
) -> Flow[bool]:
    """Write what differs onto the profile, check the answer, and note the check in the map.

    Returns:
        Whether the profile agrees with the map now.
    """
    journal = None
    if differing:
        request = call.dialect.move(profile.id, **as_patch(differing))
        response = yield from send(call, request, accept=TAKEN_OR_MISSING, lease=lease, writes_on=profile.id)
        # A current identifier may be on another profile by now: it is left there, and the caller reports drift (P3).
        answer = (yield from read_answer(call, response, profile.id)) if is_success(response.status) else None
        if answer is None or differences(binding, answer):
            yield from release(call, lease)
            return False
        journal = JournalEntry("restore", email_of(profile), binding.email)
        kind = next(iter(differing)).value
        call.notice("put_back_repaired", kind, f"a former {kind} had been put back in Klaviyo; it was repaired")
    yield from bind(call, Change(binding, journal=journal), lease=lease)
    return True
