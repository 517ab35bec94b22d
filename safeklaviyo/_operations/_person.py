"""The person of a call, where the policy lets an `identify` or a `track` with a new email change it (R6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._operations._changes import change_email
from safeklaviyo._operations._resolve import Resolved, resolve
from safeklaviyo._properties import NOTHING
from safeklaviyo.errors import EmailMismatchError
from safeklaviyo.identity import Claim

if TYPE_CHECKING:
    from safeklaviyo._flow import Flow
    from safeklaviyo._operations._call import Call
    from safeklaviyo._properties import Person


def known(call: Call, claim: Claim, person: Person = NOTHING, *, main: bool = False) -> Flow[Resolved]:
    """Same as `resolve`; an email that differs is changed first, where the policy says so."""
    try:
        return (yield from resolve(call, claim, person, main=main))
    except EmailMismatchError as error:
        if call.policy.email_mismatch != "change" or error.rule != "R6" or claim.email is None:
            raise
    yield from change_email(call, claim.email, Claim(claim.external_id), main=False)
    return (yield from resolve(call, claim, person, main=main))
