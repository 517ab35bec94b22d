"""The person of a call, where the policy lets an `identify` or a `track` bring another email than theirs (R6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._flows.identity.resolve import Resolved, resolve
from safeklaviyo._flows.verbs.change_email import make_email_change
from safeklaviyo._input.properties import NOTHING
from safeklaviyo._rules.claims import claim_from
from safeklaviyo.errors import EmailMismatchError
from safeklaviyo.identity import Claim

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo._input.properties import GivenIdentifiers, Person


def person_of(call: Call, claim: Claim, person: Person = NOTHING, *, main: bool = False) -> Flow[Resolved]:
    """Same as `resolve`; an email that differs is changed first, or given up, where the policy says so."""
    try:
        resolved = yield from resolve(call, claim, person, main=main)
    except EmailMismatchError as error:
        if call.policy.email_mismatch == "refuse" or error.rule != "R6" or claim.email is None:
            raise
    else:
        _note_kept(call, claim, resolved)
        return resolved
    if call.policy.email_mismatch == "keep":
        # The map does not know the id, and in Klaviyo it has another email: that customer is meant.
        resolved = yield from resolve(call, Claim(claim.external_id), person, main=main)
        _note_kept(call, claim, resolved)
        return resolved
    yield from make_email_change(call, claim.email, Claim(claim.external_id), main=False)
    return (yield from resolve(call, claim, person, main=main))


def _note_kept(call: Call, claim: Claim, resolved: Resolved) -> None:
    # A former address is the customer's own too (R5), and needs no word.
    if call.policy.email_mismatch != "keep" or claim.external_id is None or resolved.rewritten:
        return
    if claim.email not in (None, resolved.binding.email):
        call.notice("email_kept", "email", "the email given is not the customer's, whose own was kept (R6)")


def claim_of(call: Call, who: GivenIdentifiers) -> Claim:
    """Return what a call says about who a person is.

    Raises:
        InvalidIdentifierError: An identifier is unusable (R1), or there are too few (R2).
    """
    return claim_from(who.external_id, who.email, who.phone_number, call.policy)
