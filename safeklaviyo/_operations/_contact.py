"""First contact (R4, R12): find or make a customer's one profile, before anything else is sent about them.

The steps run under a lease on the pair. Owners are read before anything is written; a profile is only ever created
conditionally, and never through ``profile-import``, which overwrites an id or an email without asking. A refusal by
Klaviyo is worked out from the owner's profile and decided again (R17).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from safeklaviyo import _evidence, _wire
from safeklaviyo._flow import Bind, Find, Flow, Response
from safeklaviyo._operations._call import TAKEN, TAKEN_OR_MISSING, Call, LeaseLostError, release, send
from safeklaviyo._operations._reading import Evidence, gather, read_answer
from safeklaviyo._properties import NOTHING, Person
from safeklaviyo.errors import ProfileConflictError
from safeklaviyo.identity import Claim, Identity, Kind
from safeklaviyo.models import Binding, Profile
from safeklaviyo.stores.base import Change

if TYPE_CHECKING:
    from safeklaviyo._evidence import Placement
    from safeklaviyo._operations._leases import Intent
    from safeklaviyo.stores.base import Found, Lease

_TRIES = 3  # the first decision, one with what a conflict showed, one to read back an answer that could not be read


@dataclass(slots=True)
class Contact:
    """What first contact has come to.

    Attributes:
        settled: The customer's place in Klaviyo is certain.
        profile: The customer's profile; None in a dialect that cannot say.
        created: This call created it; None in a dialect that cannot say.
        written: The call's properties went with the create.
    """

    settled: bool = False
    profile: Profile | None = None
    created: bool | None = False
    written: bool = False


def contact_under_lease(
    call: Call, lease: Lease, intent: Intent, person: Person = NOTHING, *, main: bool = False
) -> Flow[Contact]:
    """Find or make the profile of a pair, bind it, and release the lease.

    Returns:
        What was done; not settled if the map has learnt of the pair meanwhile, so that it has to be decided again.

    Raises:
        LeaseLostError: Somebody else took the lease over.
        IdentityError: The pair is not one customer's; nothing was written onto anybody.
    """
    external_id, email = intent.external_id, str(intent.email)
    found = yield from Find(call.account, Claim(external_id, email).identifiers())
    is_open, base = _base(found, external_id)
    if not is_open:
        yield from release(call, lease)
        return Contact()
    known = None if base is None else base.profile_id
    evidence: Evidence = {}
    if call.policy.first_contact == "verify" or not call.dialect.verifies or known is not None:
        evidence = yield from gather(call, external_id, (email,), also=(known,))
    contact = yield from _settle(call, lease, Identity(external_id, email), evidence, person, main=main)
    yield from _bind(call, lease, base, contact, Identity(external_id, email))
    return contact


def _base(found: Found, external_id: str | None) -> tuple[bool, Binding | None]:
    """Return whether the pair still needs contact, and the binding that it will complete."""
    by_id, by_email = found.current(Kind.EXTERNAL_ID), found.current(Kind.EMAIL)
    if by_id is None and by_email is None:
        return True, None
    if by_email is None:
        return by_id is not None and by_id.email is None, by_id
    if by_id is None:
        is_guest_becoming_customer = external_id is not None and by_email.external_id is None
        return is_guest_becoming_customer or by_email.profile_id is None, by_email
    return by_id.key == by_email.key and by_id.profile_id is None, by_id


def _settle(
    call: Call, lease: Lease, pair: Identity, evidence: Evidence, person: Person, *, main: bool
) -> Flow[Contact]:
    """Decide and write until the pair has its one profile (R17: each time with what the refusal showed)."""
    contact = Contact()
    response: Response | None = None
    for _ in range(_TRIES):
        placement = _evidence.place(pair.external_id, str(pair.email), evidence.values())
        if placement.step == "bind":
            contact.settled, contact.profile = True, placement.profile
            return contact
        try:
            response = yield from _write(call, lease, placement, pair, person, main=main)
        except LeaseLostError as lost:
            raise LeaseLostError(None if placement.profile is None else placement.profile.id) from lost
        if _wire.is_success(response.status):
            _take_in(call, contact, placement, response, pair)
            if contact.settled:
                return contact
        owner = _wire.duplicate_profile_id(response)
        evidence = yield from gather(call, pair.external_id, (pair.email,), also=(owner,))
    raise _conflict(response, pair)


def _write(
    call: Call, lease: Lease, placement: Placement, pair: Identity, person: Person, *, main: bool
) -> Flow[Response]:
    """Carry out one step of a placement."""
    if placement.profile is None:
        request = call.dialect.create(pair, person)
        return (yield from send(call, request, main=main, accept=TAKEN, lease=lease))
    if placement.step == "identify":
        request = call.dialect.move(placement.profile.id, external_id=pair.external_id)
    else:
        request = call.dialect.move(placement.profile.id, email=pair.email)
    return (yield from send(call, request, main=main, accept=TAKEN_OR_MISSING, lease=lease))


def _take_in(call: Call, contact: Contact, placement: Placement, response: Response, pair: Identity) -> None:
    """Note what a successful write did, and check its answer (R15).

    Raises:
        IdentityDriftError: The answer shows another pair than was written (F-11).
    """
    if placement.step == "create":
        contact.written = True
        contact.created = True if call.dialect.verifies else None
        if not call.dialect.verifies:
            call.dialect.check(response)
            contact.settled = True
            return
    profile = read_answer(call, response)
    if profile is None:
        return
    same_id = pair.external_id is None or profile.external_id == pair.external_id
    if not (same_id and _evidence.has_email(profile, pair.email)):
        binding = Binding(pair.external_id, pair.email, profile.id)
        raise _evidence.drift(binding, profile, "Klaviyo's answer does not show the identifiers that were sent")
    contact.settled, contact.profile = True, profile


def _bind(call: Call, lease: Lease, base: Binding | None, contact: Contact, pair: Identity) -> Flow[None]:
    """Write down what contact has shown, and with that release the lease."""
    profile = contact.profile
    external_id = pair.external_id or (None if profile is None else profile.external_id)
    profile_id = None if profile is None else profile.id
    stands = base or Binding(None, None)
    binding = replace(stands, external_id=external_id, email=pair.email, profile_id=profile_id)
    outcome = yield from Bind(call.account, Change(binding, token=lease.token))
    in_the_way = outcome.binding
    if outcome.status == "conflict" and profile is not None and in_the_way is not None:
        if call.policy.drift != "adopt" or in_the_way.profile_id != profile.id:
            raise _evidence.drift(in_the_way, profile, "the profile is bound to another customer in the identity map")
        call.notice("drift_adopted", "email", "Klaviyo's pair was taken over into the identity map")
        adopted = replace(in_the_way, external_id=external_id, email=pair.email)
        outcome = yield from Bind(call.account, Change(adopted, token=lease.token))
    if outcome.status == "fenced":
        raise LeaseLostError(profile_id)
    if outcome.status != "bound":
        contact.settled = False
        yield from release(call, lease)


def _conflict(response: Response | None, pair: Identity) -> ProfileConflictError:
    """Return the error for a conflict that the profiles read do not explain."""
    status = 409 if response is None else response.status
    cause = None if response is None else _wire.error_from(response, outcome="not_applied")
    return ProfileConflictError(
        "Klaviyo reports that an identifier is another profile's, and no profile that can be read shows it",
        status_code=status,
        code=None if cause is None else cause.code,
        errors=() if cause is None else cause.errors,
        request_id=None if cause is None else cause.request_id,
        profile_id=None if response is None else _wire.duplicate_profile_id(response),
        external_id=pair.external_id,
        email=pair.email,
        rule="R17",
    )
