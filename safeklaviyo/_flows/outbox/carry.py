"""One row of the outbox, carried out as the direct verb would be.

Decided here: which customer a row means. A row with a profile means that profile, even if the row's identifiers belong
to another customer by now (H13, H14). A row without a profile finds its customer as the verb does. Then the profile is
written into the row, before Klaviyo can record the first request about it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from safeklaviyo._flows.call import Call, run
from safeklaviyo._flows.outbox import names
from safeklaviyo._flows.outbox.passing import EMAIL_CHANGED, consent_kinds
from safeklaviyo._flows.outbox.payload import (
    claim_from_payload,
    decode,
    event_from_payload,
    person_from_payload,
)
from safeklaviyo._flows.verbs.change_email import make_email_change
from safeklaviyo._flows.verbs.identify import identified
from safeklaviyo._flows.verbs.person import person_of
from safeklaviyo._flows.verbs.subscribe import subscribe
from safeklaviyo._flows.verbs.track import Fixed, tracked
from safeklaviyo._flows.verbs.unsubscribe import unsubscribe
from safeklaviyo.errors import IdentityError, IdOnlyError, SafeKlaviyoError
from safeklaviyo.identity import Claim, Identifier, Kind
from safeklaviyo.stores.calls import Find, Former
from safeklaviyo.stores.outbox.calls import FixRows, LastChange, Later
from safeklaviyo.stores.outbox.records import Fix

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Setup
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.outbox.records import About, Row


_PART: Final = 100
"""Rows behind one of an unknown customer that are read at once."""
_NAMING: Final = frozenset({"track", "identify", "subscribe"})
"""Verbs that make a customer known by id and email."""


@dataclass(slots=True)
class Lane:
    """A lane that this drain holds.

    Attributes:
        account: The account of its rows.
        about: The tables' id, and the key of the names.
        number: The lane's number.
        token: The drain's token. The outbox refuses changes under an older token.
    """

    account: str
    about: About
    number: int
    token: int


class BehindError(Exception):
    """An earlier row of the same person has to go first. Never leaves this package."""


class SupersededError(SafeKlaviyoError):
    """A later change of the same person was made since. Never leaves this package: it parks the row."""

    def __init__(self) -> None:
        super().__init__("a later change of the same kind was made since; queue it again if it is still wanted")


class FencedError(Exception):
    """Another drain has the lane. Never leaves this package."""


def carry_out(setup: Setup, lane: Lane, row: Row) -> Flow[object]:
    """Carry one row out.

    Raises:
        BehindError: An earlier row of the same person has to go first; nothing was sent.
        FencedError: Another drain has the lane; nothing was sent.
        SafeKlaviyoError: As the direct verb.
    """
    payload = decode(row)
    own = replace(setup, row=row.id)
    flow: Flow[object] = run(own, f"outbox.{row.verb}", lambda call: _VERBS[row.verb](call, lane, row, payload))
    return (yield from flow)


def kinds_of(row: Row) -> tuple[str, ...]:
    """Return the kinds of changes that a row makes. Among changes of one kind the latest has to stand (H21)."""
    if row.verb == "change_email":
        return (EMAIL_CHANGED,)
    return consent_kinds(decode(row)["channels"]) if row.verb in {"subscribe", "unsubscribe"} else ()


def check_not_superseded(call: Call, row: Row) -> Flow[None]:
    """Refuse a change that is older than the last one of the same kind.

    Raises:
        SupersededError: A later change of the same kind was made.
    """
    last = yield from LastChange(call.account, row.names, kinds_of(row))
    if last is not None and last > row.at:
        raise SupersededError


def _track(call: Call, lane: Lane, row: Row, payload: dict[str, Any]) -> Flow[object]:
    claim, fixed = yield from _whom(call, lane, row, payload)
    return (yield from tracked(call, claim, event_from_payload(payload), person_from_payload(payload), fixed))


def _identify(call: Call, lane: Lane, row: Row, payload: dict[str, Any]) -> Flow[object]:
    claim, fixed = yield from _whom(call, lane, row, payload)
    return (yield from identified(call, claim, person_from_payload(payload), fixed))


def _whom(call: Call, lane: Lane, row: Row, payload: dict[str, Any]) -> Flow[tuple[Claim, Fixed]]:
    """Return the customer as the map names them now. The customer's profile is in the row by then."""
    # Step 1: the profile that was fixed outranks the identifiers, which may be another customer's by now (H13).
    claim = claim_from_payload(payload)
    binding = yield from _of_profile(call, row)
    if binding is None:
        binding = yield from _of_claim(call, row, claim)
    # Step 2: write the profile into the row before the caller sends. A drain that is killed after the sending must
    # find the same profile again, or the event would be recorded for two (H14).
    alone = yield from fix(call, lane, row, binding)
    claim = claim._replace(external_id=binding.external_id, email=binding.email)
    return claim, Fixed(binding.profile_id, alone)


def _of_claim(call: Call, row: Row, claim: Claim) -> Flow[Binding]:
    """Find the customer as the verb does. If nobody knows the id, a row that waits behind this one may say whose it is.

    Raises:
        SafeKlaviyoError: As `person_of`.
    """
    try:
        return (yield from person_of(call, claim)).binding
    except IdOnlyError:
        # The sign-up may be queued too, and would wait for this row as long as this row waits for it.
        whole = yield from _said_later(call, row, claim)
        if whole is not None:
            # What is wrong with the later row is for that row to tell.
            with suppress(IdentityError):
                return (yield from person_of(call, whole)).binding
        raise


def _said_later(call: Call, row: Row, claim: Claim) -> Flow[Claim | None]:
    """Return the id and the email that the next row with both gives to the customer of a row by id alone."""
    after = row.id
    while rows := (yield from Later(call.account, row.names, after, _PART)):
        for later in rows:
            if later.verb == "change_email":
                return None  # the addresses on its two sides are not the same customer's at one time
            said = claim_from_payload(decode(later))
            if later.verb in _NAMING and said.external_id == claim.external_id and said.email is not None:
                return Claim(said.external_id, said.email)
        after = rows[-1].id
    return None


def _of_profile(call: Call, row: Row) -> Flow[Binding | None]:
    """Return the customer with the profile that was fixed; None if none was, or if the map does not have it now."""
    if row.profile is None:
        return None
    found = yield from Find(call.account, (Identifier(Kind.PROFILE_ID, row.profile),))
    return found.current(Kind.PROFILE_ID)


def fix(call: Call, lane: Lane, row: Row, binding: Binding) -> Flow[bool]:
    """Write into a row which customer it means, and make sure that the row may go.

    Returns:
        Whether a change of the person's email waits.

    Raises:
        BehindError: An earlier row of the customer has to go first.
        FencedError: Another drain has the lane.
    """
    # The former identifiers too: an earlier row may name the customer by one of them.
    former = yield from Former(call.account, (binding,))
    named = (*names.of_binding(binding), *(match.identifier for match in former))
    hashes = names.hashed(lane.about, call.account, named)
    profile = binding.profile_id or row.profile
    fixed = yield from FixRows(call.account, lane.number, lane.token, (Fix(row.id, profile, hashes),), all_names=True)
    if fixed is None:
        raise FencedError
    if row.id in fixed.behind:
        raise BehindError
    return row.id in fixed.changing


def _change_email(call: Call, lane: Lane, row: Row, payload: dict[str, Any]) -> Flow[object]:
    # A customer whom the map does not know yet is not made here, as `_whom` would: the verb refuses or finds them.
    claim = claim_from_payload(payload)
    yield from check_not_superseded(call, row)
    binding = yield from _known(call, row, claim)
    if binding is not None:
        yield from fix(call, lane, row, binding)
        if row.profile is not None:
            claim = claim._replace(external_id=binding.external_id, email=binding.email)
    return (yield from make_email_change(call, payload["new_email"], claim, merges=payload["merges"]))


def _known(call: Call, row: Row, claim: Claim) -> Flow[Binding | None]:
    """Return the customer that the map knows; None if it knows none, or several."""
    binding = yield from _of_profile(call, row)
    if binding is not None:
        return binding
    found = yield from Find(call.account, claim.identifiers())
    owners = {match.binding.key: match.binding for match in found.matches}
    return next(iter(owners.values())) if len(owners) == 1 else None


def _subscribe(call: Call, lane: Lane, row: Row, payload: dict[str, Any]) -> Flow[object]:
    claim = claim_from_payload(payload)
    # A phone number alone names no customer (R14); the verb finds the number's one owner.
    if claim.identifiers():
        claim, _ = yield from _whom(call, lane, row, payload)
    given = payload["agreement"]
    at = given["consented_at"]
    return (
        yield from subscribe(
            call.setup,
            payload["channels"],
            external_id=claim.external_id,
            email=claim.email,
            phone_number=claim.phone_number,
            list_id=payload["list_id"],
            consented_at=None if at is None else datetime.fromtimestamp(at, UTC),
            historical=given["historical"],
            source=given["source"],
            resubscribe=given["resubscribe"],
            date_of_birth=given["date_of_birth"],
            written_at=row.at,
        )
    )


def _unsubscribe(call: Call, lane: Lane, row: Row, payload: dict[str, Any]) -> Flow[object]:
    # The claim goes to the verb as it was given: a withdrawal reaches every profile that the claim names (R19).
    claim = claim_from_payload(payload)
    yield from check_not_superseded(call, row)
    binding = yield from _known(call, row, claim)
    if binding is not None:
        yield from fix(call, lane, row, binding)
    return (
        yield from unsubscribe(
            call.setup,
            payload["channels"],
            external_id=claim.external_id,
            email=claim.email,
            phone_number=claim.phone_number,
            list_id=payload["list_id"],
            written_at=row.at,
        )
    )


_VERBS = {
    "track": _track,
    "identify": _identify,
    "change_email": _change_email,
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
}
