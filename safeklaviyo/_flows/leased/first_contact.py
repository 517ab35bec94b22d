"""First contact (R4, R12): find or make a customer's one profile, before anything else is sent about them.

The steps run under a lease on the pair. Owners are read before anything is written; a profile is only ever created
conditionally, and never through ``profile-import``, which overwrites an id or an email without asking. A refusal by
Klaviyo is worked out from the owner's profile and decided again (R17).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from safeklaviyo._api.refusals import duplicate_profile_id
from safeklaviyo._api.responses import is_success
from safeklaviyo._flows.binding import bind
from safeklaviyo._flows.call import (
    MISSING,
    TAKEN,
    TAKEN_OR_MISSING,
    Call,
    LeaseLostError,
    give_up,
    is_lost,
    release,
    send,
)
from safeklaviyo._flows.identity.absence import confirm_gone
from safeklaviyo._flows.identity.reads import Evidence, former_kinds, gather, not_visible, owner_in_map, read_answer
from safeklaviyo._flows.identity.unexplained import unexplained
from safeklaviyo._flows.telling import tell
from safeklaviyo._input.properties import NOTHING, Person
from safeklaviyo._rules.claims import decide
from safeklaviyo._rules.conflicts import drift_error
from safeklaviyo._rules.evidence import contact_step
from safeklaviyo._rules.shown import differences
from safeklaviyo.identity import Claim, Identity, Kind
from safeklaviyo.models import Binding, Profile
from safeklaviyo.stores.base import Change
from safeklaviyo.stores.calls import Find

if TYPE_CHECKING:
    from collections.abc import Mapping

    from safeklaviyo._api.messages import Response
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.leased.intents import ContactIntent
    from safeklaviyo._rules.evidence import ContactStep
    from safeklaviyo.errors import SafeKlaviyoError
    from safeklaviyo.stores.base import Lease

_TRIES = 4
"""The first decision, two with what a refusal showed, one to read back an answer that could not be read."""
_REFUSALS = 2
"""Writes that Klaviyo may refuse: the first, and one after it was decided again (R17)."""


@dataclass(frozen=True, slots=True)
class PutBack:
    """A profile that shows a former address of its owner. It has to be repaired before the address can be given."""

    profile: Profile
    owner: Binding


@dataclass(frozen=True, slots=True)
class Contact:
    """What first contact has concluded.

    Attributes:
        binding: The customer's binding in the map; None if the claim has to be decided again.
        put_back: What has to be repaired first, because it shows the email of the pair; then `binding` is None.
        mismatch: The profile that has the external id and another email (R6); then `binding` is None.
        orphan: Beside a mismatch, a profile that has the email and no external id.
        profile: The customer's profile; None in a dialect that cannot say.
        created: This call created it; None in a dialect that cannot say.
        moved: Something was written onto the profile, or it was created.
        written: The call's properties went with the create, all of them.
    """

    binding: Binding | None = None
    put_back: PutBack | None = None
    mismatch: Profile | None = None
    orphan: Profile | None = None
    profile: Profile | None = None
    created: bool | None = False
    moved: bool = False
    written: bool = False


@dataclass(frozen=True, slots=True)
class _Task:
    """One first contact, while it is made.

    Attributes:
        base: The binding that it will complete, if there is one.
        main: The create is the operation's main write.
    """

    lease: Lease
    intent: ContactIntent
    base: Binding | None
    person: Person
    main: bool

    @property
    def pair(self) -> Identity:
        """The pair that is to be one customer's."""
        return Identity(self.intent.external_id, self.intent.email)


def contact_under_lease(
    call: Call, lease: Lease, intent: ContactIntent, person: Person = NOTHING, *, main: bool = False
) -> Flow[Contact]:
    """Find or make the profile of a pair, bind it, and release the lease.

    Returns:
        What was concluded, with a binding unless

        - the map has learnt of the pair in between;
        - a former address was put back onto another customer's profile;
        - the external id has another email in Klaviyo (R6).

    Raises:
        LeaseLostError: Another call took the lease over.
        IdentityError: The pair is not one customer's; nothing was written onto any profile.
    """
    # Step 1: decide again, now that no other call can change the map. The rules would wait for this call's own lease.
    claim = Claim(intent.external_id, intent.email)
    found = yield from Find(call.account, claim.identifiers())
    decision = decide(claim, replace(found, lease=None), call.policy, needs_profile=call.dialect.has_profile_ids)
    yield from tell(call, decision)
    if decision.action != "contact":
        yield from release(call, lease)
        return Contact()
    # Step 2: read the profiles that answer to the pair, before anything is written (P3).
    task = _Task(lease, intent, decision.binding, person, main)
    evidence = yield from _read(call, task)
    # Step 3: find or make the one profile.
    contact = yield from _find_or_make(call, task, evidence)
    if contact.mismatch is not None:
        yield from _end_without_profile(call, lease)
        return contact
    if contact.put_back is not None:
        yield from release(call, lease)
        return contact
    # Step 4: write it down, so that the map never names a profile that Klaviyo has not shown.
    binding = yield from _bind(call, task, contact.profile)
    return replace(contact, binding=binding)


def _read(call: Call, task: _Task) -> Flow[Evidence]:
    """Read the profiles that answer to the pair, as far as the policy and the dialect ask for it."""
    pair = task.pair
    profile_id = None if task.base is None else task.base.profile_id
    # "trust" leaves the searches to the conditional create. A profile that the map names is read, as it may be gone.
    is_needed = call.policy.first_contact == "verify" or not call.dialect.has_conditional_create
    if not is_needed and profile_id is None:
        return Evidence()
    evidence = yield from gather(call, (pair.external_id,), (pair.email,), also=(profile_id,))
    if profile_id is not None and profile_id in evidence.missing:
        yield from confirm_gone(call, profile_id, external_id=pair.external_id, email=pair.email)
    return evidence


def _end_without_profile(call: Call, lease: Lease) -> Flow[None]:
    """Give the lease back where the pair is not one customer's. If a write may still land, lease and intent stay.

    Raises:
        LeaseLostError: Another call took the lease over. What this call has read is out of date, and refuses nothing.
    """
    if (yield from is_lost(call, lease)):
        raise LeaseLostError
    yield from give_up(call, lease)


def _find_or_make(call: Call, task: _Task, evidence: Evidence) -> Flow[Contact]:
    """Decide and write until the pair has its one profile (R17: each time with what the refusal showed)."""
    pair = task.pair
    contact, refusals = Contact(), 0
    response: Response | None = None
    for _ in range(_TRIES):
        # Step 1: ask the map about each profile. One that belongs to another customer must not be written onto (P3).
        others, put_back = yield from _others(call, task, evidence)
        if put_back is not None:
            return replace(contact, put_back=put_back)
        # Step 2: let the rules decide what is missing.
        profiles = yield from _without_former(call, task, evidence, others)
        step = contact_step(pair.external_id, task.intent.email, profiles)
        if step.kind == "mismatch":
            return _mismatched(call, contact, step)
        if step.kind == "bind":
            return replace(contact, profile=step.profile)
        _check_own(step, others)
        if refusals == _REFUSALS:
            break
        # Step 3: write that, and check the answer. It shows whether Klaviyo has done what was sent (F-11).
        response = yield from _write(call, task, step)
        answer = yield from _checked_answer(call, response, step, pair)
        if is_success(response.status):
            contact = _after_write(call, contact, step, answer, pair)
            if contact.profile is not None or contact.created is None:
                return contact
        refusals += answer is not None or not is_success(response.status)
        # Step 4: read again, and decide on what was read only (R17).
        evidence = yield from _read_again(call, pair, step, response, answer)
    raise (yield from _unfinished(call, response, pair))


def _unfinished(call: Call, response: Response | None, pair: Identity) -> Flow[SafeKlaviyoError]:
    """Return the error for a pair that has no profile after the last try."""
    if response is not None and response.status in MISSING:
        return not_visible()  # a read shows the profile, a write does not
    return (yield from unexplained(call, response, pair))


def _check_own(step: ContactStep, others: Mapping[str, Binding]) -> None:
    """Refuse to write onto a profile of another customer (P3).

    Raises:
        IdentityDriftError: The map gives the profile to another customer.
    """
    if step.profile is not None and step.profile.id in others:
        owner = others[step.profile.id]
        raise drift_error(owner, step.profile, "the profile is another customer's in the identity map")


def _mismatched(call: Call, contact: Contact, step: ContactStep) -> Contact:
    """Return what is concluded where another email has the external id (R6), and report what this call has left."""
    if contact.created:
        call.notice(
            "orphan_left", "external_id", "Klaviyo created a profile without the external_id, which is another's"
        )
    return replace(contact, mismatch=step.profile, orphan=step.orphan)


def _read_again(
    call: Call, pair: Identity, step: ContactStep, response: Response, answer: Profile | None
) -> Flow[Evidence]:
    """Read all that answer to the pair, with the profile that a 409 named, and the one that was to be completed."""
    also = (duplicate_profile_id(response), None if step.profile is None else step.profile.id)
    evidence = yield from gather(call, (pair.external_id,), (pair.email,), also=also)
    # The search need not show yet what was created just now. Without that, another one would be created.
    if answer is not None:
        evidence.setdefault(answer.id, answer)
    return evidence


def _others(call: Call, task: _Task, evidence: Evidence) -> Flow[tuple[dict[str, Binding], PutBack | None]]:
    """Return the owners of those profiles that the map gives to other customers.

    Returns:
        The owners by the profile's id, and a profile that shows a former address of its owner, if there is one.
    """
    others: dict[str, Binding] = {}
    put_back: PutBack | None = None
    for profile in evidence.values():
        owner, is_former = yield from owner_in_map(call, profile, task.pair.email)
        if owner is not None and (task.base is None or owner.key != task.base.key):
            others[profile.id] = owner
            if is_former:
                put_back = PutBack(profile, owner)
    return others, put_back


def _without_former(call: Call, task: _Task, evidence: Evidence, others: dict[str, Binding]) -> Flow[list[Profile]]:
    """Return the profiles without the former identifiers of this customer, which count as none.

    Such an identifier was put back by a late event, and the current one replaces it (R15).
    """
    profiles: list[Profile] = []
    for profile in evidence.values():
        former = set[Kind]()
        if task.base is not None and profile.id not in others:
            former = yield from former_kinds(call, task.base, profile)
        profiles.append(profile.model_copy(update=dict.fromkeys(former)) if former else profile)
    return profiles


def _write(call: Call, task: _Task, step: ContactStep) -> Flow[Response]:
    """Send what a step says: a create, or the identifier that the profile lacks."""
    pair, person, lease = task.pair, task.person, task.lease
    if step.profile is None:
        request = call.dialect.create(pair, person)
        return (yield from send(call, request, main=task.main, accept=TAKEN, lease=lease))
    profile_id = step.profile.id
    if step.kind == "identify":
        request = call.dialect.move(profile_id, external_id=pair.external_id)
    else:
        request = call.dialect.move(profile_id, email=pair.email)
    # Properties only travel with a create: where there are some, this is not yet what the caller wants to know about.
    main = task.main and person.is_empty
    return (yield from send(call, request, main=main, accept=TAKEN_OR_MISSING, lease=lease, writes_on=profile_id))


def _after_write(call: Call, contact: Contact, step: ContactStep, answer: Profile | None, pair: Identity) -> Contact:
    """Return what is concluded after a write that succeeded, with the profile in its answer.

    An answer without the external id that was sent concludes nothing: Klaviyo may have dropped an id that is another
    profile's, and the names with it (H38). So it is decided again, with that profile, which a PATCH completes.
    """
    is_whole = answer is None or pair.external_id in {None, answer.external_id}
    contact = replace(contact, moved=True, profile=answer if is_whole else None)
    if step.kind != "create":
        return contact
    return replace(contact, written=is_whole, created=True if call.dialect.answers_with_profile else None)


def _checked_answer(call: Call, response: Response, step: ContactStep, pair: Identity) -> Flow[Profile | None]:
    """Return the profile in the answer to a write; None if it shows none, or cannot be read.

    Raises:
        IdentityDriftError: The answer shows another pair than was written (F-11).
    """
    is_blind = step.kind == "create" and not call.dialect.answers_with_profile
    if is_blind or not is_success(response.status):
        return None
    profile = yield from read_answer(call, response, None if step.profile is None else step.profile.id)
    if profile is None:
        return None
    # With an email alone the profile may have an external id, which the map then learns (R12). One that shows no
    # external id is not another customer's.
    written = Binding(pair.external_id, pair.email, profile.id)
    kinds = (Kind.EMAIL,) if None in (pair.external_id, profile.external_id) else (Kind.EMAIL, Kind.EXTERNAL_ID)
    if differences(written, profile, kinds):
        raise drift_error(written, profile, "Klaviyo's answer does not show the identifiers that were sent")
    return profile


def _bind(call: Call, task: _Task, profile: Profile | None) -> Flow[Binding | None]:
    """Write down what contact has shown, and with that release the lease.

    Returns:
        The binding; None if another call was quicker.

    Raises:
        IdentityDriftError: The map gives the profile, or one of its identifiers, to another customer.
    """
    pair = task.pair
    external_id = pair.external_id or (None if profile is None else profile.external_id)
    base = task.base or Binding(None, None)
    profile_id = base.profile_id if profile is None else profile.id
    binding = replace(base, external_id=external_id, email=pair.email, profile_id=profile_id)

    def _adopt(in_the_way: Binding) -> Change | None:
        # Without a profile nothing says which of the two is right: decide again.
        if profile is None:
            return None
        # Only where both bindings are about this very profile can the other one be an older state of this customer.
        if call.policy.drift != "adopt" or in_the_way.profile_id != profile.id:
            raise drift_error(in_the_way, profile, "the profile is bound to another customer in the identity map")
        call.notice("drift_adopted", "email", "Klaviyo's pair was taken over into the identity map")
        return Change(replace(in_the_way, external_id=external_id, email=pair.email))

    return (yield from bind(call, Change(binding), lease=task.lease, on_conflict=_adopt))
