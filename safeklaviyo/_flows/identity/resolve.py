"""Which customer a claim means: from the claim to a binding that can be named in a request (R3 to R13, R16).

The warm path is one look into the map. Every other path ends in deciding again, so that a request always names what the
map said last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from safeklaviyo._flows.identity.drift import refresh
from safeklaviyo._flows.identity.reads import gather
from safeklaviyo._flows.identity.tombstones import refuse_erased
from safeklaviyo._flows.known import known
from safeklaviyo._flows.leased.first_contact import Contact, contact_under_lease
from safeklaviyo._flows.leased.intents import ContactIntent, wait
from safeklaviyo._flows.leased.leases import acquire_lease, repair_profile, run_leased, wait_or_finish
from safeklaviyo._input.properties import NOTHING, Person
from safeklaviyo._rules.claims import decide, refusal
from safeklaviyo._rules.conflicts import drift_error
from safeklaviyo._rules.evidence import owner_of_external_id
from safeklaviyo._rules.shown import email_of
from safeklaviyo.identity import Claim, Identifier, Kind
from safeklaviyo.models import Binding, Decision
from safeklaviyo.stores.base import Change
from safeklaviyo.stores.calls import Bind, Find

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.policy import Policy

_PATIENT_ROUNDS = 8
"""Decisions in a row before this call waits between them, because other calls keep changing the same customer."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The customer that a claim means.

    Attributes:
        rewritten: An identifier of the claim was a former one.
        contact: What first contact did, if this call made it.
    """

    binding: Binding
    rule: str
    rewritten: bool = False
    contact: Contact | None = None


def resolve(
    call: Call, claim: Claim, person: Person = NOTHING, *, main: bool = False, policy: Policy | None = None
) -> Flow[Resolved]:
    """Find out which customer is meant, and make sure that this customer has a profile.

    Args:
        person: What to write along, if the profile has to be created.
        main: Creating it is part of the operation's main write.
        policy: In place of the client's.

    Raises:
        IdentityError: It is not certain which customer is meant; nothing was written.
        ErasedError: The customer was erased.
        LeaseHeldError: Another call is writing about this customer.
    """
    policy = policy or call.policy
    rounds = 0
    while True:
        found = yield from Find(call.account, claim.identifiers())
        decision = decide(claim, found, policy, needs_profile=call.dialect.verifies)
        if decision.action == "send" and decision.binding is not None:
            return Resolved(decision.binding, decision.rule, decision.rewritten)
        rounds += 1
        if found.lease is not None:
            yield from wait_or_finish(call, found.lease)
            continue
        if rounds > _PATIENT_ROUNDS:
            yield from wait(call, None)
        # Not before a send: an erased customer has no binding, and the warm path stays at one look (F-32).
        yield from refuse_erased(call, claim)
        if decision.action == "lookup":
            yield from _look_up(call, decision)
        elif decision.action == "contact" and decision.rule != "R6":
            resolved = yield from _make_contact(call, decision, person, main=main)
            if resolved is not None:
                return resolved
        else:
            raise refusal(decision)


def _make_contact(call: Call, decision: Decision, person: Person, *, main: bool) -> Flow[Resolved | None]:
    pair = decision.identity
    intent = ContactIntent(external_id=pair.external_id, email=known(pair.email))
    lease = yield from acquire_lease(call, intent)
    if lease is None:
        return None
    body = contact_under_lease(call, lease, intent, person, main=main)
    contact = yield from run_leased(call, lease, body)
    if contact is None:
        return None
    # The address came back to a former owner's profile (H2). That profile is repaired first, outside the lease on the
    # claim, because the repair takes a lease on the former owner.
    if contact.put_back is not None and contact.owner is not None:
        restored = yield from repair_profile(call, contact.put_back.id)
        if not restored:
            message = "the email is on a former owner's profile, which cannot be put right"
            raise drift_error(contact.owner, contact.put_back, message)
    if contact.binding is None:
        return None
    return Resolved(contact.binding, decision.rule, decision.rewritten, contact)


def _look_up(call: Call, decision: Decision) -> Flow[None]:
    """Ask Klaviyo about a binding that has not been checked for a while (R16), or about an unknown external id (R9)."""
    if decision.binding is not None:
        yield from refresh(call, decision.binding)
        return
    external_id = known(decision.identity.external_id)
    evidence = yield from gather(call, (external_id,), ())
    owner = owner_of_external_id(external_id, evidence.values())
    email = known(email_of(owner))
    pair = Claim(external_id, email)
    found = yield from Find(call.account, (*pair.identifiers(), Identifier(Kind.PROFILE_ID, owner.id)))
    if found.lease is not None or found.current(Kind.EXTERNAL_ID) is not None:
        return  # another call has bound the id, or is about to: decide again
    guest = found.current(Kind.PROFILE_ID) or found.current(Kind.EMAIL)
    if guest is not None and guest.external_id is not None:
        raise drift_error(guest, owner, "the email of this external_id is another customer's in the identity map")
    base = guest or Binding(None, None)
    learnt = replace(base, external_id=external_id, email=email, profile_id=owner.id)
    # Compare-and-set: if another call was faster, its binding stays, and this call decides again (H5).
    yield from Bind(call.account, Change(learnt))
