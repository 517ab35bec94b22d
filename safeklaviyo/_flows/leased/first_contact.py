"""First contact (R4, R12): find or make a customer's one profile, before anything else is sent about them.

The steps run under a lease on the pair. Owners are read before anything is written; a profile is only ever created
conditionally, and never through ``profile-import``, which overwrites an id or an email without asking. A refusal by
Klaviyo is worked out from the owner's profile and decided again (R17).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from safeklaviyo._api.responses import duplicate_profile_id, is_success
from safeklaviyo._flows.call import (
    MISSING,
    TAKEN,
    TAKEN_OR_MISSING,
    Call,
    LeaseLostError,
    check_accepted,
    release,
    send,
)
from safeklaviyo._flows.identity.absence import confirm_gone
from safeklaviyo._flows.identity.reads import Evidence, former_kinds, gather, not_visible, owner_in_map, read_answer
from safeklaviyo._input.properties import NOTHING, Person
from safeklaviyo._rules.claims import decide
from safeklaviyo._rules.conflicts import drift_error, unexplained_conflict
from safeklaviyo._rules.evidence import contact_step
from safeklaviyo._rules.shown import has_email
from safeklaviyo.identity import Claim, Identity
from safeklaviyo.models import Binding, Profile
from safeklaviyo.stores.base import Change
from safeklaviyo.stores.calls import Bind, Find

if TYPE_CHECKING:
    from safeklaviyo._api.messages import Response
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.leased.intents import ContactIntent
    from safeklaviyo._rules.evidence import ContactStep
    from safeklaviyo.stores.base import Lease

_TRIES = 3  # the first decision, one with what a conflict showed, one to read back an answer that could not be read


@dataclass(slots=True)
class Contact:
    """What first contact has come to.

    Attributes:
        binding: What stands in the map now; None if everything has to be decided again.
        put_back: A profile that shows the pair's email although its owner has moved on: to be restored first.
        owner: Whose it is.
        profile: The customer's profile; None in a dialect that cannot say.
        created: This call created it; None in a dialect that cannot say.
        moved: Something was written onto the profile, or it was created.
        written: The call's properties went with the create.
    """

    binding: Binding | None = None
    put_back: Profile | None = None
    owner: Binding | None = None
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
    contact: Contact
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
        What was done; without a binding if it has to be decided again, because the map has learnt of the pair
        meanwhile, or because a former address was put back onto another customer's profile.

    Raises:
        LeaseLostError: Somebody else took the lease over.
        IdentityError: The pair is not one customer's; nothing was written onto anybody.
    """
    pair = Identity(intent.external_id, intent.email)
    claim = Claim(intent.external_id, intent.email)
    found = yield from Find(call.account, claim.identifiers())
    # Decided again as if the lease, which is this call's own, were not there.
    decision = decide(claim, replace(found, lease=None), call.policy, needs_profile=call.dialect.verifies)
    base = decision.binding
    contact = Contact()
    if decision.action != "contact":
        yield from release(call, lease)
        return contact
    task = _Task(lease, intent, base, person, contact, main)
    evidence = Evidence()
    known = None if base is None else base.profile_id
    if call.policy.first_contact == "verify" or not call.dialect.verifies or known is not None:
        evidence = yield from gather(call, (pair.external_id,), (pair.email,), also=(known,))
    if known is not None and known in evidence.missing:
        yield from confirm_gone(call, known, external_id=pair.external_id, email=pair.email)
    is_found = yield from _find_or_make(call, task, evidence)
    if is_found:
        yield from _bind(call, lease, base, contact, pair)
    else:
        yield from release(call, lease)
    return contact


def _find_or_make(call: Call, task: _Task, evidence: Evidence) -> Flow[bool]:
    """Decide and write until the pair has its one profile (R17: each time with what the refusal showed)."""
    contact, pair = task.contact, task.pair
    response: Response | None = None
    for _ in range(_TRIES):
        others = yield from _others(call, task, evidence)
        if contact.put_back is not None:
            return False
        step = contact_step(pair.external_id, task.intent.email, evidence.values())
        if step.kind == "bind":
            contact.profile = step.profile
            return True
        if step.profile is not None and step.profile.id in others:
            owner = others[step.profile.id]
            raise drift_error(owner, step.profile, "the profile is another customer's in the identity map")
        response = yield from _write(call, task, step)
        if is_success(response.status):
            is_found = _take_in(call, contact, step, response, pair)
            if is_found:
                return True
        named = duplicate_profile_id(response)
        evidence = yield from gather(call, (pair.external_id,), (pair.email,), also=(named,))
    if response is not None and response.status in MISSING:
        raise not_visible()  # a read shows the profile, a write does not
    raise unexplained_conflict(response, pair)


def _others(call: Call, task: _Task, evidence: Evidence) -> Flow[dict[str, Binding]]:
    """Return the profiles that the map gives to other customers, and note one that shows a former address of theirs.

    A former identifier of the customer's own counts as none: it was put back, and gives way to the current one (R15).
    """
    base, contact = task.base, task.contact
    others: dict[str, Binding] = {}
    for profile in tuple(evidence.values()):
        owner, is_former = yield from owner_in_map(call, profile, task.pair.email)
        if owner is not None and (base is None or owner.key != base.key):
            others[profile.id] = owner
            if is_former:
                contact.put_back, contact.owner = profile, owner
        elif base is not None:
            former = yield from former_kinds(call, base, profile)
            evidence[profile.id] = profile.model_copy(update=dict.fromkeys(former))
    return others


def _write(call: Call, task: _Task, step: ContactStep) -> Flow[Response]:
    """Carry out one step of a step."""
    pair, person, lease = task.pair, task.person, task.lease
    if step.profile is None:
        request = call.dialect.create(pair, person)
        return (yield from send(call, request, main=task.main, accept=TAKEN, lease=lease))
    call.touched = step.profile.id
    if step.kind == "identify":
        request = call.dialect.move(step.profile.id, external_id=pair.external_id)
    else:
        request = call.dialect.move(step.profile.id, email=pair.email)
    # Properties only travel with a create: where there are some, this is not yet what the caller wants to know about.
    main = task.main and person.is_empty
    return (yield from send(call, request, main=main, accept=TAKEN_OR_MISSING, lease=lease))


def _take_in(call: Call, contact: Contact, step: ContactStep, response: Response, pair: Identity) -> bool:
    """Note what a successful write did, and check its answer (R15).

    Returns:
        Whether the answer settles it; False if it cannot be read.

    Raises:
        IdentityDriftError: The answer shows another pair than was written (F-11).
    """
    contact.moved = True
    if step.kind == "create":
        contact.written = True
        contact.created = True if call.dialect.verifies else None
        if not call.dialect.verifies:
            check_accepted(call, response)
            return True
    profile = read_answer(call, response)
    if profile is None:
        return False
    same_id = pair.external_id is None or profile.external_id == pair.external_id
    if not (same_id and has_email(profile, pair.email)):
        binding = Binding(pair.external_id, pair.email, profile.id)
        raise drift_error(binding, profile, "Klaviyo's answer does not show the identifiers that were sent")
    contact.profile = profile
    return True


def _bind(call: Call, lease: Lease, base: Binding | None, contact: Contact, pair: Identity) -> Flow[None]:
    """Write down what contact has shown, and with that release the lease."""
    profile = contact.profile
    external_id = pair.external_id or (None if profile is None else profile.external_id)
    stands = base or Binding(None, None)
    profile_id = stands.profile_id if profile is None else profile.id
    binding = replace(stands, external_id=external_id, email=pair.email, profile_id=profile_id)
    outcome = yield from Bind(call.account, Change(binding, token=lease.token))
    in_the_way = outcome.binding
    if outcome.status == "conflict" and profile is not None and in_the_way is not None:
        if call.policy.drift != "adopt" or in_the_way.profile_id != profile.id:
            raise drift_error(in_the_way, profile, "the profile is bound to another customer in the identity map")
        call.notice("drift_adopted", "email", "Klaviyo's pair was taken over into the identity map")
        adopted = replace(in_the_way, external_id=external_id, email=pair.email)
        outcome = yield from Bind(call.account, Change(adopted, token=lease.token))
    if outcome.status == "fenced":
        raise LeaseLostError
    if outcome.status == "bound":
        contact.binding = outcome.binding
    else:
        yield from release(call, lease)
