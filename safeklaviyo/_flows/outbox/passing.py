"""What direct calls have to do with the outbox, where there is one.

- A new address for which a change of email waits is that customer's already: a direct call with it waits (R13).
- An erased customer's rows are deleted (H23).
- A merge waits for rows of the source that were sent and are not known to have arrived (H25).
- A direct change of an address or a consent is remembered, so that no older row undoes it (H21).

Where nobody uses an outbox, none of this asks anything.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from safeklaviyo._effects import Monotonic
from safeklaviyo._flows.outbox import names
from safeklaviyo.errors import LeaseHeldError, StoreError
from safeklaviyo.identity import Claim, Identifier, Kind
from safeklaviyo.stores.outbox.calls import Forget, HasRows, LookAbout, NoteChange

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call

logger = logging.getLogger("safeklaviyo")

EMAIL_CHANGED = "email"
"""What is remembered of a change of address; of consent it is the channel, after a colon."""


def consent_kinds(channels: Iterable[str]) -> tuple[str, ...]:
    """Return what is remembered of a consent that was given or withdrawn."""
    return tuple(f"consent:{channel}" for channel in channels)


def _hashes(call: Call, identifiers: Iterable[Identifier]) -> Flow[tuple[str, ...]]:
    """Return names; none where there is no outbox."""
    if not call.setup.has_outbox:
        return ()
    about = yield from LookAbout(call.account)
    return () if about is None else names.hashed(about, call.account, identifiers)


def is_reserved(call: Call, claim: Claim) -> Flow[bool]:
    """Tell whether a change of email waits that is to give somebody the address of a claim."""
    # A row goes in its turn, which the names decide.
    if claim.email is None or call.setup.row is not None:
        return False
    hashes = yield from _hashes(call, Claim(None, claim.email).identifiers())
    return bool(hashes) and (yield from HasRows(call.account, names.reserved(hashes)))


def forget_rows(call: Call, identifiers: Iterable[Identifier]) -> Flow[None]:
    """Delete all rows about the people with these identifiers, waiting or parked."""
    hashes = yield from _hashes(call, identifiers)
    if hashes:
        yield from Forget(call.account, hashes)


def check_none_in_hand(call: Call, profile_id: str, email: str | None) -> Flow[None]:
    """Refuse to merge a profile away while a row of it may have been recorded, and may be sent again.

    Klaviyo knows an event by its profile: after the merge it may take the second copy for another event.

    Raises:
        LeaseHeldError: There is such a row, or was one a moment ago that Klaviyo may not have carried out yet.
    """
    meant = (Identifier(Kind.PROFILE_ID, profile_id), *Claim(None, email).identifiers())
    hashes = yield from _hashes(call, meant)
    if not hashes:
        return
    lately = call.policy.consent_wait
    if (yield from HasRows(call.account, hashes, tried=True, lately=lately, but=call.setup.row)):
        message = "a queued call about this customer was sent and is not known to have arrived; drain the outbox"
        raise LeaseHeldError(message, rule="R13", retry_after=lately)


def began(call: Call) -> Flow[float]:
    """Return when a call begins that may change an address or a consent, on the clock of `Monotonic`."""
    return (yield from Monotonic()) if call.setup.has_outbox and call.setup.row is None else 0.0


def note_change(call: Call, identifiers: Iterable[Identifier], kinds: tuple[str, ...], began_at: float) -> Flow[None]:
    """Remember that a direct call has changed an address or a consent."""
    if call.setup.row is not None:
        return
    # The change itself stands, whatever the outbox says.
    try:
        hashes = yield from _hashes(call, identifiers)
        if hashes:
            yield from NoteChange(call.account, hashes, kinds, (yield from Monotonic()) - began_at)
    except StoreError:
        logger.warning("%s: the outbox could not note the change: an older row may undo it", call.operation)
