"""Restoring a profile to what the map says (R15), where a late event or a late write has put a former address back.

The profile is read again under a lease first: what anybody saw before may be older than the map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo import _evidence, _wire
from safeklaviyo._flow import Bind, Find, Flow
from safeklaviyo._operations._call import TAKEN_OR_MISSING, Call, LeaseLostError, release, send
from safeklaviyo._operations._reading import read_answer, read_profile
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.base import Change, JournalEntry

if TYPE_CHECKING:
    from safeklaviyo._operations._leases import Intent
    from safeklaviyo.models import Binding, Profile
    from safeklaviyo.stores.base import Lease


def restore_under_lease(call: Call, lease: Lease, intent: Intent) -> Flow[bool]:
    """Give a profile its address in the map back, if it shows a former one, and release the lease.

    Returns:
        Whether the profile agrees with the map now.
    """
    profile = yield from read_profile(call, str(intent.profile_id))
    if profile is not None:
        binding = yield from _to_restore(call, profile, intent)
        if binding is not None:
            return (yield from _restore(call, lease, binding, profile))
    yield from release(call, lease)
    return False


def _to_restore(call: Call, profile: Profile, intent: Intent) -> Flow[Binding | None]:
    """Return the binding that the profile is to agree with, unless it contradicts it by more than a former address."""
    shown = _evidence.email_of(profile)
    wanted = [Identifier(Kind.PROFILE_ID, profile.id)]
    if shown is not None:
        wanted.append(Identifier(Kind.EMAIL, shown))
    found = yield from Find(call.account, tuple(wanted))
    binding, former = found.current(Kind.PROFILE_ID), found.retired(Kind.EMAIL)
    if binding is None or profile.external_id != binding.external_id:
        return None
    is_former = former is not None and former.binding.key == binding.key
    is_late_write = shown is not None and shown == intent.new_email
    return binding if is_former or is_late_write or _evidence.has_email(profile, binding.email) else None


def _restore(call: Call, lease: Lease, binding: Binding, profile: Profile) -> Flow[bool]:
    journal = None
    if not _evidence.has_email(profile, binding.email):
        request = call.dialect.move(profile.id, email=binding.email)
        try:
            response = yield from send(call, request, accept=TAKEN_OR_MISSING, lease=lease)
        except LeaseLostError as lost:
            raise LeaseLostError(profile.id) from lost
        answer = read_answer(call, response) if _wire.is_success(response.status) else None
        if answer is None or not _evidence.has_email(answer, binding.email):
            yield from release(call, lease)
            return False
        journal = JournalEntry("restore", _evidence.email_of(profile), binding.email)
        call.notice("put_back_repaired", "email", "a former email had been put back in Klaviyo; it was repaired")
    outcome = yield from Bind(call.account, Change(binding, token=lease.token, journal=journal))
    if outcome.status == "fenced":
        raise LeaseLostError(profile.id)
    if outcome.status != "bound":
        yield from release(call, lease)
    return True
