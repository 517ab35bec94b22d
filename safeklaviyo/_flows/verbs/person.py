"""The customer of an `identify` or a `track`. The policy may let the call change the customer's email first (R6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._flows.identity.resolve import Resolved, resolve
from safeklaviyo._flows.required import required
from safeklaviyo._flows.verbs.change_email import make_email_change
from safeklaviyo._input.properties import NOTHING
from safeklaviyo._rules.claims import claim_from, refusal
from safeklaviyo.identity import Claim
from safeklaviyo.models import Binding

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo._flows.identity.resolve import Fits
    from safeklaviyo._input.properties import GivenIdentifiers, Person
    from safeklaviyo.identity import Identity


def person_of(
    call: Call, claim: Claim, person: Person = NOTHING, *, main: bool = False, fits: Fits | None = None
) -> Flow[Resolved]:
    """Find out which customer is meant; where the rules say so, change the customer's email first, or keep it.

    Args:
        fits: Asked before anything is written about the customer.

    Raises:
        IdentityError: It is not certain which customer is meant, or the rules refuse the claim.
    """
    resolved = yield from resolve(call, claim, person, main=main, fits=fits)
    if not isinstance(resolved, Resolved) and resolved.action == "change":
        # The change is not the operation's main write: if only the change succeeds, nothing was identified or tracked.
        yield from make_email_change(call, required(claim.email), Claim(claim.external_id), main=False)
        # Once only. If yet another call changes the email in between, the two programs disagree, and one has to stop.
        refusing = call.policy.model_copy(update={"email_mismatch": "refuse"})
        resolved = yield from resolve(call, claim, person, main=main, policy=refusing, fits=fits)
    elif not isinstance(resolved, Resolved) and resolved.rule == "R6" and call.policy.email_mismatch == "keep":
        # The map does not know the id, and in Klaviyo it has another email: the id decides, so that customer is meant.
        resolved = yield from resolve(call, Claim(claim.external_id), person, main=main, fits=fits)
    if not isinstance(resolved, Resolved):
        raise refusal(resolved)
    _note_kept(call, claim, resolved)
    return resolved


def _note_kept(call: Call, claim: Claim, resolved: Resolved) -> None:
    # A former address is the customer's own too (R5), and needs no word.
    if call.policy.email_mismatch != "keep" or claim.external_id is None or resolved.rewritten:
        return
    if claim.email not in (None, resolved.binding.email):
        call.notice("email_kept", "email", "the email given is not the customer's; the customer's own was kept (R6)")


def claim_of(call: Call, who: GivenIdentifiers) -> Claim:
    """Return what a call says about who a person is.

    Raises:
        InvalidIdentifierError: An identifier is unusable (R1), or there are too few (R2).
    """
    return claim_from(who.external_id, who.email, who.phone_number, call.policy)


def unread(pair: Identity) -> Binding:
    """Return a binding of a pair as it may be after first contact, to see how large a request about it would be."""
    return Binding(pair.external_id, pair.email, _AN_ID)


_AN_ID = "01" + 24 * "Z"
"""As long as the ids that Klaviyo gives."""
