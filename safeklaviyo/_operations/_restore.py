"""Restoring a profile to what the map says (R15), where a late event or a late write has put a former identifier back.

The profile is read again under a lease first: what anybody saw before may be older than the map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeklaviyo import _evidence, _wire
from safeklaviyo._flow import Bind, Find, Flow
from safeklaviyo._operations._call import TAKEN_OR_MISSING, Call, LeaseLostError, release, send
from safeklaviyo._operations._reading import read_answer, read_profile, was_put_back
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import CLEAR
from safeklaviyo.stores.base import Change, JournalEntry

if TYPE_CHECKING:
    from safeklaviyo._operations._leases import Intent
    from safeklaviyo.models import Binding, Profile
    from safeklaviyo.stores.base import Lease


def restore_under_lease(call: Call, lease: Lease, intent: Intent) -> Flow[bool]:
    """Give a profile its identifiers in the map back, if it shows former ones, and release the lease.

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
    """Return the binding that the profile is to agree with, unless more than a former identifier contradicts it."""
    found = yield from Find(call.account, (Identifier(Kind.PROFILE_ID, profile.id),))
    binding = found.current(Kind.PROFILE_ID)
    if binding is None or _agrees(binding, profile):
        return binding
    is_late_write = intent.new_email is not None and _evidence.has_email(profile, intent.new_email)
    if is_late_write and profile.external_id == binding.external_id:
        return binding
    return binding if (yield from was_put_back(call, binding, profile)) else None


def _agrees(binding: Binding, profile: Profile) -> bool:
    return _evidence.has_email(profile, binding.email) and profile.external_id == binding.external_id


def _restore(call: Call, lease: Lease, binding: Binding, profile: Profile) -> Flow[bool]:
    journal = None
    if not _agrees(binding, profile):
        patch: dict[str, Any] = {}
        if not _evidence.has_email(profile, binding.email):
            patch["email"] = binding.email
        if profile.external_id != binding.external_id:
            patch["external_id"] = CLEAR if binding.external_id is None else binding.external_id
        request = call.dialect.move(profile.id, **patch)
        try:
            response = yield from send(call, request, accept=TAKEN_OR_MISSING, lease=lease)
        except LeaseLostError as lost:
            raise LeaseLostError(profile.id) from lost
        answer = read_answer(call, response) if _wire.is_success(response.status) else None
        if answer is None or not _agrees(binding, answer):
            yield from release(call, lease)
            return False
        journal = JournalEntry("restore", _evidence.email_of(profile), binding.email)
        kind = "email" if "email" in patch else "external_id"
        call.notice("put_back_repaired", kind, f"a former {kind} had been put back in Klaviyo; it was repaired")
    outcome = yield from Bind(call.account, Change(binding, token=lease.token, journal=journal))
    if outcome.status == "fenced":
        raise LeaseLostError(profile.id)
    if outcome.status != "bound":
        yield from release(call, lease)
    return True
