"""Which customer a claim means: from the claim to a binding that can be named in a request (R3 to R13, R16).

The warm path is one look into the map. Every other path ends in deciding again, so that a request always names what the
map said last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from safeklaviyo._flows.binding import bind
from safeklaviyo._flows.identity.drift import refresh
from safeklaviyo._flows.identity.reads import gather
from safeklaviyo._flows.identity.tombstones import refuse_erased
from safeklaviyo._flows.leased.first_contact import Contact, contact_under_lease
from safeklaviyo._flows.leased.intents import ContactIntent
from safeklaviyo._flows.leased.leases import acquire_lease, repair_profile, run_leased, wait_or_finish
from safeklaviyo._flows.outbox.passing import is_reserved
from safeklaviyo._flows.required import required
from safeklaviyo._flows.telling import tell
from safeklaviyo._flows.waiting import wait_for_lease
from safeklaviyo._input.properties import NOTHING, Person
from safeklaviyo._rules.claims import decide, decide_unknown_id
from safeklaviyo._rules.conflicts import drift_error
from safeklaviyo._rules.evidence import decide_mismatch, owner_of_external_id
from safeklaviyo._rules.shown import email_of
from safeklaviyo.identity import Claim, Identifier, Identity, Kind
from safeklaviyo.models import Binding, Decision
from safeklaviyo.stores.base import Change
from safeklaviyo.stores.calls import Find

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.policy import Policy

Fits: TypeAlias = Callable[[Identity], object]
"""Raises if what is to be said about the pair is too large for Klaviyo."""

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
    call: Call,
    claim: Claim,
    person: Person = NOTHING,
    *,
    main: bool = False,
    policy: Policy | None = None,
    fits: Fits | None = None,
) -> Flow[Resolved | Decision]:
    """Find out which customer is meant, and make sure that this customer has a profile.

    Args:
        person: What to write along, if the profile has to be created.
        main: Creating it is part of the operation's main write.
        policy: In place of the client's.
        fits: Asked before anything is written about the customer.

    Returns:
        The customer; or the decision that says why there is none: to change the email first (R6), or to refuse. Nothing
        was written then.

    Raises:
        IdentityError: It is not certain which customer is meant; nothing was written.
        ErasedError: The customer was erased.
        LeaseHeldError: Another call is writing about this customer.
    """
    policy = policy or call.policy
    rounds = 0
    while True:
        # Step 1: decide by the map. On the warm path this is all.
        found = yield from Find(call.account, claim.identifiers())
        decision = decide(claim, found, policy, needs_profile=call.dialect.has_profile_ids)
        yield from tell(call, decision)
        if decision.action == "send" and decision.binding is not None:
            return Resolved(decision.binding, decision.rule, decision.rewritten)
        # Step 2: let another call finish first (R13). What the map says now is about to change.
        rounds += 1
        if found.lease is not None:
            yield from wait_or_finish(call, found.lease)
            continue
        if rounds > _PATIENT_ROUNDS:
            yield from wait_for_lease(call, None)
        # Step 3: refuse an erased customer. They have no binding, so the warm path stays at one look (F-32).
        yield from refuse_erased(call, claim)
        # A change of email that waits in the outbox will give another customer the address (R13).
        if (yield from is_reserved(call, claim)):
            yield from wait_for_lease(call, None)
            continue
        if fits is not None and decision.action in {"contact", "change"}:
            fits(decision.identity)
        # Step 4: ask Klaviyo, and decide again unless that says which customer is meant.
        concluded = yield from _carry_out(call, decision, person, policy, main=main)
        if isinstance(concluded, Decision) and concluded is not decision:
            yield from tell(call, concluded)
        if concluded is not None:
            return concluded


def _carry_out(
    call: Call, decision: Decision, person: Person, policy: Policy, *, main: bool
) -> Flow[Resolved | Decision | None]:
    """Carry a decision out; None if the claim has to be decided again."""
    if decision.action == "lookup":
        return (yield from _look_up(call, decision))
    if decision.action == "contact":
        return (yield from _make_contact(call, decision, person, policy, main=main))
    # What was learnt or imported is a hint until it was checked, and a hint refuses no one (H34).
    in_the_way = decision.binding if decision.rule in {"R6", "R7"} and decision.action == "refuse" else None
    if in_the_way is not None and in_the_way.verified_at is None and in_the_way.profile_id is not None:
        yield from refresh(call, in_the_way)
        return None
    return decision


def _make_contact(
    call: Call, decision: Decision, person: Person, policy: Policy, *, main: bool
) -> Flow[Resolved | Decision | None]:
    pair = decision.identity
    intent = ContactIntent(external_id=pair.external_id, email=required(pair.email))
    lease = yield from acquire_lease(call, intent)
    if lease is None:
        return None
    body = contact_under_lease(call, lease, intent, person, main=main)
    contact = yield from run_leased(call, lease, body)
    if contact is None:
        return None
    if contact.mismatch is not None:
        may_change = policy.email_mismatch == "change"
        return decide_mismatch(pair, contact.mismatch, may_change=may_change, orphan=contact.orphan)
    # The address came back to a former owner's profile (H2). That profile is repaired first, outside the lease on the
    # claim, because the repair takes a lease on the former owner.
    if contact.put_back is not None:
        is_repaired = yield from repair_profile(call, contact.put_back.profile.id)
        if not is_repaired:
            message = "the email is on a former owner's profile, which cannot be put right"
            raise drift_error(contact.put_back.owner, contact.put_back.profile, message)
    if contact.binding is None:
        return None
    return Resolved(contact.binding, decision.rule, decision.rewritten, contact)


def _look_up(call: Call, decision: Decision) -> Flow[Decision | None]:
    """Ask Klaviyo about a binding that has not been checked for a while (R16), or about an unknown external id (R9).

    Returns:
        The decision to refuse an id of which nothing is known; None if the claim has to be decided again.
    """
    if decision.binding is not None:
        yield from refresh(call, decision.binding)
        return None
    # Step 1: find the one profile with this id and an email. Only such a profile can be named afterwards (P1).
    external_id = required(decision.identity.external_id)
    evidence = yield from gather(call, (external_id,), ())
    owner = owner_of_external_id(external_id, evidence.values())
    if owner is None:
        return decide_unknown_id(external_id)
    # Step 2: ask the map about all that the profile shows. Another customer may have the email there.
    email = required(email_of(owner))
    pair = Claim(external_id, email)
    found = yield from Find(call.account, (*pair.identifiers(), Identifier(Kind.PROFILE_ID, owner.id)))
    if found.lease is not None or found.current(Kind.EXTERNAL_ID) is not None:
        return None  # another call has bound the id, or is about to: decide again
    guest = found.current(Kind.PROFILE_ID) or found.current(Kind.EMAIL)
    if guest is not None and guest.external_id is not None:
        raise drift_error(guest, owner, "the email of this external_id is another customer's in the identity map")
    # Step 3: bind. Compare-and-set: if another call was quicker, its binding stays, and this call decides again (H5).
    base = guest or Binding(None, None)
    learnt = replace(base, external_id=external_id, email=email, profile_id=owner.id)
    yield from bind(call, Change(learnt))
    return None
