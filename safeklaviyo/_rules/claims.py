"""The rules: what a claim means, given what the identity map knows. Pure functions; no I/O, no clock.

    rule  claim       the map knows                           decision
    R1    any         an identifier is malformed or is a      refuse (`identity`)
                      placeholder
    R2    none, or a phone alone                              refuse
    R3    id + email  that pair                               send
    R4    id + email  neither                                 contact Klaviyo first
    R5    id + email  one is current, the other retired from  send the current pair
                      the same binding
    R6    id + email  the id has another email                refuse; `change_email` is the verb. Or change it first,
                                                              or keep it (`Policy.email_mismatch`)
    R7    id + email  the email has another id                refuse; an email without an id takes the id (R4)
    R8    id          current, or retired and not current     send that binding's pair
                      on another binding
    R9    id          nothing                                 look it up in Klaviyo
    R10   email       current                                 send the pair
    R11   email       retired and not current on another      send its former owner's pair
                      binding
    R12   email       nothing                                 contact Klaviyo first, with the email alone
    R13   any         another call holds a lease on it        wait, decide again
    R14   phone       -                                       never decides who a customer is
                                                              (`_flows.identity.phones`)
    R15   -           Klaviyo's answer contradicts the map    repair, refuse or adopt (`evidence`)
    R16   -           not checked for a while                 read the profile first
    R17   -           Klaviyo answers 409                     read the owner, decide again once (`evidence`)
    R18   -           consent is given                        `consent`
    R19   -           consent is withdrawn                    `consent`

Three things hold for all of them:

- Ownership beats retirement. An identifier that is current on one binding belongs to it, not to a former owner.
- Every decision to send is also checked against R16.
- A binding without a profile id goes through first contact instead.

Read next: `evidence` for what Klaviyo's own answers permit, `_flows` for how decisions are carried out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from safeklaviyo import errors
from safeklaviyo._input.phones import phone_number_from
from safeklaviyo._rules.consent import lets_pass
from safeklaviyo.errors import IdentityError, InvalidIdentifierError
from safeklaviyo.identity import Claim, Identity, Kind, normalise_email, normalise_external_id
from safeklaviyo.models import Binding, Decision

if TYPE_CHECKING:
    from safeklaviyo.policy import Policy
    from safeklaviyo.stores.base import Found, Lease, Match


def claim_from(external_id: object, email: object, phone_number: object, policy: Policy) -> Claim:
    """Normalise what a call says about a person (R1), and refuse a call that says too little (R2).

    Raises:
        InvalidIdentifierError: The external id or the email is unusable (R1), or the call gave neither (R2).
    """
    # R1 for what decides who the customer is: an unusable id or email ends the call.
    claimed_id = claimed_email = claimed_phone = None
    unusable_phone = False
    if external_id is not None:
        claimed_id = normalise_external_id(
            external_id, blocked=policy.blocked_values, max_length=policy.max_external_id_length
        )
    if email is not None:
        claimed_email = normalise_email(email, blocked=policy.blocked_values)
    # R14: a phone decides nothing, so an unusable one must not cost the rest of the call (F-16).
    if phone_number is not None:
        try:
            claimed_phone = phone_number_from(phone_number, policy.phone_region)
        except InvalidIdentifierError:
            unusable_phone = True
    if claimed_id is None and claimed_email is None:
        what = "a phone number alone is not enough" if phone_number is not None else "no customer is named"
        raise InvalidIdentifierError(f"{what}: give an email, an external_id, or both", rule="R2")
    return Claim(claimed_id, claimed_email, claimed_phone, unusable_phone)


def decide(claim: Claim, found: Found, policy: Policy, *, needs_profile: bool = True) -> Decision:
    """Decide what to do with a claim.

    Args:
        found: What the map knows about the claim's identifiers, and the lease on one of them.
        needs_profile: The dialect names profiles by Klaviyo's id. A binding without one goes through first contact.
    """
    # R13 comes before all others: what the map says now is about to change under that lease.
    if found.lease is not None:
        decision = _beside(claim, found, found.lease, policy, needs_profile=needs_profile)
        identity = Identity(claim.external_id, claim.email)
        return decision or Decision("wait", identity, "R13", "another call is writing about this customer")
    if claim.external_id is not None and claim.email is not None:
        return _decide_pair(claim, found, policy, needs_profile=needs_profile)
    if claim.external_id is not None:
        return _decide_external_id(claim, found, policy, needs_profile=needs_profile)
    return _decide_email(claim, found, policy, needs_profile=needs_profile)


def _beside(claim: Claim, found: Found, lease: Lease, policy: Policy, *, needs_profile: bool) -> Decision | None:
    """Return the decision to send beside a lease that only waits for consent to show (R18, R19); None to wait.

    Klaviyo may take minutes for that. A request that names the profile by its id changes nothing that it relies on.
    """
    # Such a lease covers all that is or was the customer's. Another lease, on what it does not cover, may be hidden.
    if not lets_pass(lease.intent) or not lease.identifiers.issuperset(claim.identifiers()):
        return None
    decision = decide(claim, replace(found, lease=None), policy, needs_profile=needs_profile)
    return decision if decision.action == "send" else None


def refusal(decision: Decision) -> IdentityError:
    """Return the error for a decision that is not carried out: to refuse, or to change an email first (R6).

    - No binding is involved: the id is unknown (R9).
    - The id is known and the email differs from its own (R5, R6), or the email is a former one (R11).
    - Otherwise the external id differs from that of the email.
    """
    binding = decision.binding
    asked = decision.identity
    common = {"rule": decision.rule, "external_id": asked.external_id, "email": asked.email}
    if binding is None:
        return errors.IdOnlyError(decision.reason, **common)
    has_id = binding.external_id == asked.external_id
    if decision.rule in {"R6", "R11"} or (decision.rule == "R5" and has_id):
        return errors.EmailMismatchError(
            decision.reason, current_email=binding.email, orphan_profile_id=decision.orphan_profile_id,
            profile_id=binding.profile_id, **common,
        )  # fmt: skip
    return errors.ExternalIdMismatchError(decision.reason, current_external_id=binding.external_id, **common)


def still_resolves(match: Match | None, now: float, policy: Policy) -> Binding | None:
    """Return the binding that a retired identifier still resolves to.

    Returns:
        None where the identifier is not retired, or was retired longer than `Policy.retired_for` ago.
    """
    if match is None or match.retired_at is None:
        return None
    if policy.retired_for is not None and now - match.retired_at >= policy.retired_for:
        return None
    return match.binding


def _decide_pair(claim: Claim, found: Found, policy: Policy, *, needs_profile: bool) -> Decision:
    by_id, by_email = found.current(Kind.EXTERNAL_ID), found.current(Kind.EMAIL)
    if by_id is not None and by_email is not None and by_id.key == by_email.key:
        return _send(by_id, found, policy, rule="R3", reason="the map knows the pair", needs_profile=needs_profile)
    # R5 has to come before R6 and R7: a former identifier of the same customer is no contradiction.
    stale = _stale_pair(by_id, by_email, found, policy)
    if stale is not None and stale.email is not None:
        reason = "one identifier is a former one of the same customer"
        return _rewrite(stale, claim, found, policy, rule="R5", reason=reason, needs_profile=needs_profile)
    # A binding without an email, or without an external id, can still take the one given: that is R4, below.
    asked = Identity(claim.external_id, claim.email)
    if by_id is not None and by_id.email is not None:
        return _decide_known_mismatch(by_id, asked, found, policy, needs_profile=needs_profile)
    if by_email is not None and by_email.external_id is not None:
        reason = "the email is known with another external_id"
        return Decision("refuse", asked, "R7", reason, binding=by_email)
    reason = "the email is known without an external_id" if by_email is not None else "the map knows neither"
    return Decision("contact", asked, "R4", reason, binding=by_email or by_id)


def _decide_known_mismatch(
    binding: Binding, asked: Identity, found: Found, policy: Policy, *, needs_profile: bool
) -> Decision:
    if policy.email_mismatch == "keep":
        reason = "the external_id decides, and its customer keeps the email"
        return _send(binding, found, policy, rule="R6", reason=reason, needs_profile=needs_profile)
    reason = "the external_id is known with another email; change_email is the verb that changes it"
    return decide_other_email(asked, binding, reason, may_change=policy.email_mismatch == "change")


def decide_other_email(asked: Identity, binding: Binding, reason: str, *, may_change: bool) -> Decision:
    """Decide about an external id that has another email than the one given (R6).

    Args:
        binding: The external id with the email that it has, by the map or as Klaviyo shows it.
        reason: Why the pair is refused, where it is.
        may_change: The policy lets this operation change the email first.
    """
    if may_change:
        return Decision("change", asked, "R6", "the email will be changed first", binding=binding)
    return Decision("refuse", asked, "R6", reason, binding=binding)


def decide_unknown_id(external_id: str) -> Decision:
    """Decide about an external id alone of which neither the map nor Klaviyo knows an email (R9)."""
    reason = "neither the map nor Klaviyo knows an email of this external_id; give the email too"
    return Decision("refuse", Identity(external_id, None), "R9", reason)


def _stale_pair(by_id: Binding | None, by_email: Binding | None, found: Found, policy: Policy) -> Binding | None:
    """Return the binding to which both identifiers of a pair belong although one is retired, or both are (R5)."""
    former_email, former_id = found.retired(Kind.EMAIL), found.retired(Kind.EXTERNAL_ID)
    # One of the two is current and confirms the other, so the age of the retirement does not matter here.
    if by_id is not None and former_email is not None and former_email.binding.key == by_id.key:
        return by_id
    if by_email is not None and former_id is not None and former_id.binding.key == by_email.key:
        return by_email
    # Neither is current: both must have been retired from one binding, and not too long ago.
    owner, other = still_resolves(former_id, found.now, policy), still_resolves(former_email, found.now, policy)
    if by_id is None and by_email is None and owner is not None and other is not None and owner.key == other.key:
        return owner
    return None


def _decide_external_id(claim: Claim, found: Found, policy: Policy, *, needs_profile: bool) -> Decision:
    current = found.current(Kind.EXTERNAL_ID)
    # A binding without an email is not enough: an id alone, sent to Klaviyo, makes a duplicate (P1).
    if current is not None and current.email is not None:
        return _send(
            current, found, policy, rule="R8", reason="the map knows the external_id", needs_profile=needs_profile
        )
    # An id that is current on a binding is not looked for among the retired ones: ownership beats retirement.
    former = None if current is not None else still_resolves(found.retired(Kind.EXTERNAL_ID), found.now, policy)
    if former is not None and former.email is not None:
        reason = "the external_id is a former one of this customer"
        return _rewrite(former, claim, found, policy, rule="R8", reason=reason, needs_profile=needs_profile)
    asked = Identity(claim.external_id, None)
    if policy.unknown_id == "refuse":
        return Decision("refuse", asked, "R9", "an external_id alone is unknown here; give its email too")
    return Decision("lookup", asked, "R9", "the map does not know the external_id")


def _decide_email(claim: Claim, found: Found, policy: Policy, *, needs_profile: bool) -> Decision:
    current = found.current(Kind.EMAIL)
    if current is not None:
        return _send(current, found, policy, rule="R10", reason="the map knows the email", needs_profile=needs_profile)
    # The address is current on no binding, so its former owner may still be meant (R11).
    former = still_resolves(found.retired(Kind.EMAIL), found.now, policy)
    if former is not None and former.email is not None:
        reason = "the email is a former one of this customer"
        return _rewrite(former, claim, found, policy, rule="R11", reason=reason, needs_profile=needs_profile)
    return Decision("contact", Identity(None, claim.email), "R12", "the map does not know the email")


def _rewrite(
    binding: Binding, claim: Claim, found: Found, policy: Policy, *, rule: str, reason: str, needs_profile: bool
) -> Decision:
    if policy.retired == "refuse":
        return Decision("refuse", Identity(claim.external_id, claim.email), rule, reason, binding=binding)
    return _send(binding, found, policy, rule=rule, reason=reason, needs_profile=needs_profile, rewritten=True)


def _send(
    binding: Binding,
    found: Found,
    policy: Policy,
    *,
    rule: str,
    reason: str,
    needs_profile: bool,
    rewritten: bool = False,
) -> Decision:
    # The legacy dialect can name no profile and read none back, so the next two do not hold there.
    if needs_profile:
        if binding.profile_id is None:
            reason = "the profile of this customer is not known yet"
            return Decision("contact", binding.identity, "R4", reason, rewritten, binding)
        if _is_unchecked(binding, found.now, policy):
            reason = "the profile was not checked for a while"
            return Decision("lookup", binding.identity, "R16", reason, rewritten, binding)
    return Decision("send", binding.identity, rule, reason, rewritten, binding)


def _is_unchecked(binding: Binding, now: float, policy: Policy) -> bool:
    """Tell whether the profile has to be read first (R16)."""
    # None means that no check has succeeded yet, or that a 404 has put the last one in doubt (H36).
    return binding.verified_at is None or now - binding.verified_at >= policy.refresh_after


def is_sent_at_once(binding: Binding, now: float, policy: Policy, *, needs_profile: bool) -> bool:
    """Tell whether `decide` sends a claim with identifiers that are all current on this binding (R3, R8, R10).

    For the rows of calls about many, which need no more of the decision.
    """
    if binding.email is None or (needs_profile and binding.profile_id is None):
        return False
    return not (needs_profile and _is_unchecked(binding, now, policy))
