"""What direct calls do with the outbox, if the shop has one.

- A waiting change of email has reserved its new address. A direct call with that address waits (R13).
- `erase` deletes the customer's rows (H23).
- A merge waits for rows of the source that were sent and are not known to have arrived (H25).
- A direct change of an address or a consent is marked, so that no older row undoes it (H21).

Without an outbox, none of these asks a database.
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
"""The kind of a change of address."""


def consent_kinds(channels: Iterable[str]) -> tuple[str, ...]:
    """Return the kinds of a change of consent, one for each channel."""
    return tuple(f"consent:{channel}" for channel in channels)


def _hashes(call: Call, identifiers: Iterable[Identifier]) -> Flow[tuple[str, ...]]:
    """Return the names of identifiers; none if there is no outbox."""
    if not call.setup.has_outbox:
        return ()
    about = yield from LookAbout(call.account)
    return () if about is None else names.hashed(about, call.account, identifiers)


def is_reserved(call: Call, claim: Claim) -> Flow[bool]:
    """Tell whether a waiting change of email has reserved the address of a claim."""
    # This call is a row itself: its names decide when it may go.
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
    """Refuse to merge a profile away while Klaviyo may have recorded a row of it that may be sent again.

    Klaviyo recognises a repeated event by its profile. After the merge it may take the second copy for another event.

    Raises:
        LeaseHeldError: There is such a row, or there was one a moment ago, and Klaviyo may not have carried it out yet.
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
    """Return the beginning of a call that may change an address or a consent, on the clock of `Monotonic`."""
    return (yield from Monotonic()) if call.setup.has_outbox and call.setup.row is None else 0.0


def note_change(call: Call, identifiers: Iterable[Identifier], kinds: tuple[str, ...], began_at: float) -> Flow[None]:
    """Mark that a direct call has changed an address or a consent."""
    # A row's own change is marked when the row is deleted.
    if call.setup.row is not None:
        return
    # Klaviyo has made the change already, so a failing outbox must not fail the call.
    try:
        hashes = yield from _hashes(call, identifiers)
        if hashes:
            yield from NoteChange(call.account, hashes, kinds, (yield from Monotonic()) - began_at)
    except StoreError:
        logger.warning("%s: the outbox could not note the change: an older row may undo it", call.operation)
