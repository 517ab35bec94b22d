"""Changing an address (search, read, decide, PATCH by profile id, check, write down), under a lease.

Every step can be repeated: a process that dies anywhere leaves the intent, and whoever meets it runs the same steps.
A new address that is anybody else's is refused; nothing is written onto a profile that a search or a 409 named.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from safeklaviyo import _evidence, _wire, errors
from safeklaviyo._flow import Bind, Find, Flow, Response
from safeklaviyo._operations._call import TAKEN_OR_MISSING, Call, LeaseLostError, release, send
from safeklaviyo._operations._reading import Evidence, gather, has_left, owner_in_map, read_answer, read_profile
from safeklaviyo.identity import Identifier, Identity, Kind
from safeklaviyo.stores.base import Change, JournalEntry

if TYPE_CHECKING:
    from safeklaviyo._operations._leases import Intent
    from safeklaviyo.models import Binding, Profile
    from safeklaviyo.stores.base import BindOutcome, Found, Lease

_TRIES = 3  # the first decision, one with what a conflict showed, one to read back an answer that could not be read


@dataclass(slots=True)
class Changed:
    """What a change of address has come to.

    Attributes:
        binding: What stands in the map now; None if everything has to be decided again.
        put_back: A profile that shows the new address although its owner has left it: to be restored first.
        profile_id: The customer's profile.
        moved: The profile's address was changed by this call.
    """

    binding: Binding | None = None
    put_back: Profile | None = None
    profile_id: str | None = None
    moved: bool = False


def change_under_lease(call: Call, lease: Lease, intent: Intent, *, main: bool = False) -> Flow[Changed]:
    """Move a customer's profile to another address, write it down, and release the lease.

    Raises:
        LeaseLostError: Somebody else took the lease over.
        EmailTakenError: The new address is anybody else's.
        IdentityDriftError: The profile shows another customer, or an address nobody here knows.
        ProfileConflictError: Klaviyo refuses, and no profile that can be read says why (R17).
    """
    changed = Changed()
    found = yield from Find(call.account, tuple(intent.identifiers()))
    binding = _customer(found, intent)
    if binding is None:
        yield from release(call, lease)
        return changed
    evidence = yield from gather(
        call, binding.external_id, (binding.email, intent.email), also=(binding.profile_id, intent.profile_id)
    )
    profile = yield from _move(call, lease, changed, binding, str(intent.email), evidence, main=main)
    if profile is not None:
        yield from _write_down(call, lease, changed, binding, profile, str(intent.email))
    elif changed.put_back is not None:
        yield from release(call, lease)
    else:  # the profile is gone: the map forgets it, so that first contact finds or makes the customer's next one
        yield from Bind(call.account, Change(replace(binding, profile_id=None), verified=False, token=lease.token))
    return changed


def _customer(found: Found, intent: Intent) -> Binding | None:
    """Return whose address is to be changed, if it is still the same customer's.

    Raises:
        EmailTakenError: The map knows the new address as somebody else's.
    """
    owners = {match.identifier: match.binding for match in found.matches if match.retired_at is None}
    by_id = owners.get(Identifier(Kind.EXTERNAL_ID, intent.external_id)) if intent.external_id is not None else None
    by_email = owners.get(Identifier(Kind.EMAIL, intent.old_email)) if intent.old_email is not None else None
    binding = by_id or (by_email if intent.external_id is None else None)
    holder = owners.get(Identifier(Kind.EMAIL, str(intent.email)))
    if binding is None:  # a guest whose change was written down already
        return holder if intent.external_id is None and holder is not None and holder.external_id is None else None
    if holder is not None and holder.key != binding.key:
        raise errors.EmailTakenError(
            "the new email is another customer's",
            email=intent.email,
            profile_id=holder.profile_id,
            external_id=holder.external_id,
        )
    return binding


def _move(
    call: Call, lease: Lease, changed: Changed, binding: Binding, email: str, evidence: Evidence, *, main: bool
) -> Flow[Profile | None]:
    """Bring the customer's profile to the address; None if it is gone, or somebody else's has to be restored first."""
    response: Response | None = None
    for _ in range(_TRIES):
        profile = _profile_of(binding, email, evidence)
        if profile is None:
            _expect(call)
            return None
        is_taken = yield from _is_taken(call, changed, profile, email, evidence)
        if is_taken:
            return None
        external_id = yield from _check_owner(call, binding, profile, email)
        if external_id is None and _evidence.has_email(profile, email):
            return profile
        request = call.dialect.move(profile.id, external_id=external_id, email=email)
        try:
            response = yield from send(call, request, main=main, accept=TAKEN_OR_MISSING, lease=lease)
        except LeaseLostError as lost:
            raise LeaseLostError(profile.id) from lost
        if _wire.is_success(response.status):
            changed.moved = True
            answer = read_answer(call, response) or (yield from read_profile(call, profile.id))
            if answer is not None:
                return _checked(binding, answer, email)
        named = _wire.duplicate_profile_id(response)
        also = (profile.id, named)
        evidence = yield from gather(call, binding.external_id, (binding.email, email), also=also)
    raise _evidence.unexplained(response, Identity(binding.external_id, email))


def _profile_of(binding: Binding, email: str, evidence: Evidence) -> Profile | None:
    """Return the customer's own profile among those that were read.

    Raises:
        AmbiguousIdentityError: The profile that the map knows is gone, and several could have taken its place.
    """
    if binding.profile_id is not None and binding.profile_id in evidence:
        return evidence[binding.profile_id]
    heirs = [] if binding.external_id is None else _with_id(binding.external_id, evidence)
    if not heirs:
        bare = (profile for profile in evidence.values() if profile.external_id is None)
        heirs = [profile for profile in bare if _evidence.has_email(profile, binding.email)]
    if len(heirs) > 1:
        raise _evidence.ambiguous("several profiles answer for this customer", binding.external_id, email, heirs)
    return heirs[0] if heirs else None


def _with_id(external_id: str, evidence: Evidence) -> list[Profile]:
    return [profile for profile in evidence.values() if profile.external_id == external_id]


def _expect(call: Call) -> None:
    if not call.dialect.verifies:
        # Nothing here can create it with certainty; the queued first contact will.
        raise errors.NotFoundError(
            "Klaviyo does not show this customer's profile yet; try again later", status_code=404, may_retry=True
        )


def _is_taken(call: Call, changed: Changed, profile: Profile, email: str, evidence: Evidence) -> Flow[bool]:
    """Note a profile that shows the address by mistake.

    Raises:
        EmailTakenError: The address is somebody else's.
    """
    taken = _evidence.taken(email, profile.id, evidence.values())
    if taken is None:
        return False
    other = evidence[str(taken.profile_id)]
    _, is_former = yield from owner_in_map(call, other, email)
    if not is_former:
        raise taken
    changed.put_back = other
    return True


def _check_owner(call: Call, binding: Binding, profile: Profile, email: str) -> Flow[str | None]:
    """Return the external id that the profile lacks, if it does.

    Raises:
        IdentityDriftError: The profile is somebody else's, or shows an address nobody here knows.
    """
    if profile.external_id is not None and binding.external_id not in (None, profile.external_id):
        raise _evidence.drift(binding, profile, "the customer's profile shows another external_id in Klaviyo")
    shown = _evidence.email_of(profile)
    if shown is not None and shown not in (email, binding.email) and call.policy.drift != "adopt":
        if not (yield from has_left(call, binding, profile)):
            raise _evidence.drift(binding, profile, "the customer's profile shows another email in Klaviyo")
    return binding.external_id if profile.external_id is None else None


def _checked(binding: Binding, answer: Profile, email: str) -> Profile:
    if not _evidence.has_email(answer, email) or binding.external_id not in (None, answer.external_id):
        wanted = replace(binding, email=email)
        raise _evidence.drift(wanted, answer, "Klaviyo's answer does not show the email that was sent")
    return answer


def _write_down(
    call: Call, lease: Lease, changed: Changed, binding: Binding, profile: Profile, email: str
) -> Flow[None]:
    """Retire the old address and bind the new one, in one step that also releases the lease.

    Raises:
        LeaseLostError: Somebody else took the lease over.
        IdentityDriftError: The map gives the address or the profile to somebody else by now.
    """
    changed.profile_id = profile.id
    outcome = yield from _bind(call, lease, binding, profile, email)
    if outcome.status == "stale" and outcome.binding is not None:
        # A phone or a check was written down meanwhile; the lease keeps everything else as it was.
        outcome = yield from _bind(call, lease, outcome.binding, profile, email)
    if outcome.status == "fenced":
        raise LeaseLostError(profile.id)
    if outcome.status == "conflict" and outcome.binding is not None:
        raise _evidence.drift(outcome.binding, profile, "the identity map gives the new email to another customer")
    if outcome.status == "bound":
        changed.binding = outcome.binding
    else:
        yield from release(call, lease)


def _bind(call: Call, lease: Lease, binding: Binding, profile: Profile, email: str) -> Flow[BindOutcome]:
    external_id = binding.external_id or profile.external_id
    wanted = replace(binding, external_id=external_id, email=email, profile_id=profile.id)
    journal = None if binding.email == email else JournalEntry("change_email", binding.email, email)
    return (yield from Bind(call.account, Change(wanted, token=lease.token, journal=journal)))
