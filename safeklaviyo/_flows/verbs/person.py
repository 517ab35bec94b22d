"""The person of a call, where the policy lets an `identify` or a `track` with a new email change it (R6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._flows.identity.resolve import Resolved, resolve
from safeklaviyo._flows.verbs.change_email import make_email_change
from safeklaviyo._input.properties import NOTHING, combine
from safeklaviyo._rules.claims import claim_from
from safeklaviyo.errors import EmailMismatchError
from safeklaviyo.identity import Claim

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo._input.properties import GivenIdentifiers, Person


def person_of(call: Call, claim: Claim, person: Person = NOTHING, *, main: bool = False) -> Flow[Resolved]:
    """Same as `resolve`; an email that differs is changed first, where the policy says so."""
    try:
        return (yield from resolve(call, claim, person, main=main))
    except EmailMismatchError as error:
        if call.policy.email_mismatch != "change" or error.rule != "R6" or claim.email is None:
            raise
    yield from make_email_change(call, claim.email, Claim(claim.external_id), main=False)
    return (yield from resolve(call, claim, person, main=main))


def claim_of(call: Call, given: GivenIdentifiers, external_id: object, email: object, phone_number: object) -> Claim:
    """Return what a call says about a person, in its arguments and among the properties.

    Raises:
        InvalidIdentifierError: An identifier is unusable (R1), or there are too few (R2).
    """
    who = combine(given, external_id=external_id, email=email, phone_number=phone_number)
    return claim_from(who.external_id, who.email, who.phone_number, call.policy)
