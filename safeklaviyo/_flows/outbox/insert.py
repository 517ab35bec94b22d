"""Writing calls into the outbox. A call with wrong arguments is refused here, before a row is written.

Decided here: the checks are those of the direct verbs. A row gets its profile at once if the map knows the customer
(H13). The rules that need Klaviyo or a lease are asked when the row is carried out.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from safeklaviyo._effects import NewId, Now
from safeklaviyo._flows.call import Call, Setup, run
from safeklaviyo._flows.outbox import names
from safeklaviyo._flows.outbox.payload import encode, event_parts, fields_of
from safeklaviyo._flows.verbs.person import claim_of, unread
from safeklaviyo._flows.verbs.subscribe import require_consent
from safeklaviyo._flows.verbs.track import refuse_dropped
from safeklaviyo._input.consents import BY_PHONE, agreement_from, channels_from, list_id_from
from safeklaviyo._input.events import event_from
from safeklaviyo._input.findings import Findings
from safeklaviyo._input.phones import phone_number_from
from safeklaviyo._input.properties import combine, person_from
from safeklaviyo._rules.claims import claim_from, decide
from safeklaviyo.errors import ConfigurationError
from safeklaviyo.identity import Claim, Identifier, Identity, Kind, normalise_email
from safeklaviyo.outboxes import Queued
from safeklaviyo.stores.calls import Find
from safeklaviyo.stores.outbox.calls import Insert, InsertAtOnce, ReadAbout
from safeklaviyo.stores.outbox.records import NewRow

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from safeklaviyo._effects import Flow
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import Found
    from safeklaviyo.stores.outbox.records import About, Verb

_AT_ONCE: Final = frozenset({"track", "identify"})
"""The verbs of `InsertAtOnce`. A row of any other verb has marks, or means a customer whom the map need not know."""
_SMALL = 64_000
"""Characters of a payload with which each request of the current API is small enough, so that none has to be made."""


def queue_track(
    setup: Setup,
    event: object,
    *,
    external_id: object,
    email: object,
    phone_number: object,
    customer_properties: Mapping[str, Any] | None,
    properties: Mapping[str, Any] | None,
    value: object,
    value_currency: object,
    time: object,
    unique_id: object,
    backfill: bool,
    connection: object,
) -> Flow[Queued]:
    """See `Outbox.track`."""

    def _body(call: Call) -> Flow[Queued]:
        findings = Findings()
        person, given = person_from(customer_properties, findings, where="customer_properties")
        who = combine(given, findings, external_id=external_id, email=email, phone_number=phone_number)
        now = yield from Now()
        checked = event_from(
            event,
            properties,
            findings,
            value=value,
            value_currency=value_currency,
            time=time,
            unique_id=unique_id,
            backfill=backfill,
            now=now,
            new_id=(yield from _new_id(unique_id)),
        )
        call.take_in(findings)
        claim = claim_of(call, who)
        refuse_dropped(call, claim.email)
        payload = encode(claim, event=event_parts(checked), person=fields_of(person))
        # The request is made only to see that it is not too large; the row is sent when no one can mend it.
        if len(payload) > _SMALL or checked.backfill or not call.dialect.has_profile_ids:
            call.dialect.event(checked, _longest(claim), person, by_profile_id_alone=False)
        row_id = yield from _insert(
            call, "track", claim, payload, connection, time=checked.time.timestamp(), unique_id=checked.unique_id
        )
        return Queued(row_id, checked.unique_id, checked.time, tuple(call.notices))

    return run(setup, "outbox.track", _body)


def _new_id(given: object) -> Flow[str]:
    """Return a new id for an event; none where the caller gave one, which is the event's or is refused."""
    return (yield from NewId()) if given is None else ""


def queue_identify(
    setup: Setup,
    properties: Mapping[str, Any] | None,
    *,
    external_id: object,
    email: object,
    phone_number: object,
    append: Mapping[str, Any] | None,
    unappend: Mapping[str, Any] | None,
    unset: str | Collection[str] | None,
    connection: object,
) -> Flow[Queued]:
    """See `Outbox.identify`."""

    def _body(call: Call) -> Flow[Queued]:
        findings = Findings()
        person, given = person_from(properties, findings, append=append, unappend=unappend, unset=unset)
        who = combine(given, findings, external_id=external_id, email=email, phone_number=phone_number)
        call.take_in(findings)
        claim = claim_of(call, who)
        # Made only to see that it is not too large, as above.
        call.dialect.update(_longest(claim), person)
        return (yield from _queued(call, "identify", claim, encode(claim, person=fields_of(person)), connection))

    return run(setup, "outbox.identify", _body)


def queue_change_email(
    setup: Setup, new_email: object, *, external_id: object, old_email: object, on_taken: str, connection: object
) -> Flow[Queued]:
    """See `Outbox.change_email`."""

    def _body(call: Call) -> Flow[Queued]:
        if on_taken not in ("refuse", "merge"):
            raise ConfigurationError('on_taken has to be "refuse" or "merge"')
        wanted = normalise_email(new_email, blocked=call.policy.blocked_values)
        claim = claim_from(external_id, old_email, None, call.policy)
        payload = encode(claim, new_email=wanted, merges=on_taken == "merge")
        return (yield from _queued(call, "change_email", claim, payload, connection, new_email=wanted))

    return run(setup, "outbox.change_email", _body)


def queue_subscribe(
    setup: Setup,
    channels: object,
    *,
    external_id: object,
    email: object,
    phone_number: object,
    list_id: object,
    consented_at: object,
    historical: object,
    source: object,
    resubscribe: object,
    date_of_birth: object,
    connection: object,
) -> Flow[Queued]:
    """See `Outbox.subscribe`."""

    def _body(call: Call) -> Flow[Queued]:
        require_consent(call)
        agreement = agreement_from(
            consented_at=consented_at,
            historical=historical,
            source=source,
            resubscribe=resubscribe,
            date_of_birth=date_of_birth,
            now=(yield from Now()),
        )
        wanted, from_list = channels_from(channels), list_id_from(list_id)
        by_phone = not BY_PHONE.isdisjoint(wanted)
        claim = _consent_claim(call, external_id, email, phone_number, alone=by_phone)
        payload = encode(claim, channels=wanted, list_id=from_list, agreement=asdict(agreement))
        return (yield from _queued(call, "subscribe", claim, payload, connection))

    return run(setup, "outbox.subscribe", _body)


def queue_unsubscribe(
    setup: Setup,
    channels: object,
    *,
    external_id: object,
    email: object,
    phone_number: object,
    list_id: object,
    connection: object,
) -> Flow[Queued]:
    """See `Outbox.unsubscribe`."""

    def _body(call: Call) -> Flow[Queued]:
        require_consent(call)
        wanted, from_list = channels_from(channels), list_id_from(list_id)
        claim = _consent_claim(call, external_id, email, phone_number, alone=True)
        payload = encode(claim, channels=wanted, list_id=from_list)
        return (yield from _queued(call, "unsubscribe", claim, payload, connection))

    return run(setup, "outbox.unsubscribe", _body)


def _consent_claim(call: Call, external_id: object, email: object, phone_number: object, *, alone: bool) -> Claim:
    """Return the claim of a row about consent.

    Args:
        call: The call.
        external_id: As the caller gave it.
        email: As the caller gave it.
        phone_number: As the caller gave it.
        alone: A phone number alone is enough.
    """
    if phone_number is not None and alone and external_id is None and email is None:
        return Claim(phone_number=phone_number_from(phone_number, call.policy.phone_region))
    return claim_from(external_id, email, phone_number, call.policy)


def _longest(claim: Claim) -> Binding:
    """Return a binding that makes a request about a claim as large as any binding could."""
    return unread(Identity(claim.external_id, claim.email or 254 * "e"))


def _queued(
    call: Call, verb: Verb, claim: Claim, payload: str, connection: object, *, new_email: str | None = None
) -> Flow[Queued]:
    now = yield from Now()
    row_id = yield from _insert(call, verb, claim, payload, connection, time=now, new_email=new_email)
    return Queued(row_id, None, datetime.fromtimestamp(now, UTC), tuple(call.notices))


def _insert(
    call: Call,
    verb: Verb,
    claim: Claim,
    payload: str,
    connection: object,
    *,
    time: float,
    unique_id: str | None = None,
    new_email: str | None = None,
) -> Flow[int]:
    # Step 1: the usual cases in one statement, if the outbox has the map beside it. In the other cases that statement
    # inserts no row.
    about = call.setup.shared.about or (yield from _about(call))
    meant, asked = names.of_claim(claim), claim.identifiers()
    named = names.hashed(about, call.account, meant)
    if about.reads_map and asked and verb in _AT_ONCE:
        row = NewRow(names.lane_of(meant[0].value), named, (), None, verb, payload, unique_id, time)
        row_id = yield from InsertAtOnce(call.account, row, asked, about.id, connection)
        if row_id is not None:
            return row_id
    # Step 2: the row means the customer that the map names now, even if an identifier has another owner by the time
    # of the sending (H13).
    known = (yield from _known(call, claim, asked)) if asked else None
    if known is None:
        lane, profile = names.lane_of(meant[0].value), None
    else:
        others = [each for each in names.of_binding(known) if each not in meant]
        named += names.hashed(about, call.account, others)
        lane, profile = names.lane_of(known.key), known.profile_id
    # Step 3: a change of email. With the new address among its names, later rows with that address come after the
    # change. The marks make direct calls with the address wait (R13).
    marks: tuple[str, ...] = ()
    if new_email is not None:
        taken = names.hashed(about, call.account, (Identifier(Kind.EMAIL, new_email),))
        marks = tuple(dict.fromkeys(names.changing(named) + names.reserved(taken)))
        named = tuple(dict.fromkeys(named + taken))
    row = NewRow(lane, named, marks, profile, verb, payload, unique_id, time)
    return (yield from Insert(call.account, row, about.id, connection))


def _about(call: Call) -> Flow[About]:
    """Ask what the outbox's tables say about themselves, once for each client: they never say anything else."""
    about = yield from ReadAbout(call.account)
    call.setup.shared.about = about
    return about


def _known(call: Call, claim: Claim, asked: tuple[Identifier, ...]) -> Flow[Binding | None]:
    """Return the customer, if the rules say that the map knows who is meant; else None."""
    found = yield from Find(call.account, asked)
    owner = _owner_of_all(found, asked)
    if owner is not None:
        return owner
    decision = decide(claim, found, call.policy, needs_profile=call.dialect.has_profile_ids)
    # R16: the binding is old, but it says who is meant. It is checked when the row is carried out.
    is_known = decision.action == "send" or decision.rule == "R16"
    return decision.binding if is_known else None


def _owner_of_all(found: Found, asked: tuple[Identifier, ...]) -> Binding | None:
    """Return the binding on which all identifiers are current, if it has an address and a profile; else None.

    It is what `decide` answers then (R3, R8, R10, R16), without the cost of a decision.
    """
    if found.lease is not None or len(found.matches) != len(asked):
        return None
    owner = found.matches[0].binding
    if owner.email is None or owner.profile_id is None:
        return None
    are_its_own = all(each.retired_at is None and each.binding.key == owner.key for each in found.matches)
    return owner if are_its_own else None
