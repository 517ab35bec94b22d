"""`track`: one event on the known profile. What identifies the event is fixed before the first attempt (P5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from safeklaviyo._effects import Flow, NewId, Now
from safeklaviyo._flows.call import MISSING, Call, Setup, run, send
from safeklaviyo._flows.identity.drift import forget_profile
from safeklaviyo._flows.identity.phones import attach_phone
from safeklaviyo._flows.identity.reads import not_visible
from safeklaviyo._flows.identity.tombstones import refuse_erased
from safeklaviyo._flows.verbs.person import claim_of, person_of, unread
from safeklaviyo._input.events import event_from
from safeklaviyo._input.findings import Findings
from safeklaviyo._input.properties import NOTHING, combine, person_from
from safeklaviyo.errors import InvalidIdentifierError, LeaseHeldError, SafeKlaviyoError
from safeklaviyo.identity import Claim, Identifier, Kind
from safeklaviyo.models import TrackResult
from safeklaviyo.stores.calls import Find

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from safeklaviyo._api.messages import Request, Response
    from safeklaviyo._input.events import Event
    from safeklaviyo._input.properties import Person
    from safeklaviyo.models import Binding

_DROPPED = ("@example.com", "@test.com")


@dataclass(frozen=True, slots=True)
class Fixed:
    """What was decided about a call before it is made.

    Attributes:
        profile_id: The profile that the event is about, even if its identifiers belong to another customer by now; None
            if the identifiers decide.
        alone: Name the profile by its id alone, because a change of email waits (H22).
    """

    profile_id: str | None = None
    alone: bool = False


NOT_FIXED: Final = Fixed()


def check_fixed(binding: Binding, fixed: Fixed) -> None:
    """Refuse to write about another profile than the one that was decided upon.

    Raises:
        LeaseHeldError: Another call has changed who has the identifiers, a moment ago.
    """
    if fixed.profile_id not in (None, binding.profile_id):
        raise LeaseHeldError("another call has just changed which profile is the customer's; try again", rule="R13")


def track(
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
) -> Flow[TrackResult]:
    """See `Klaviyo.track`."""

    def _body(call: Call) -> Flow[TrackResult]:
        findings = Findings()
        person, given = person_from(customer_properties, findings, where="customer_properties")
        who = combine(given, findings, external_id=external_id, email=email, phone_number=phone_number)
        checked = event_from(
            event,
            properties,
            findings,
            value=value,
            value_currency=value_currency,
            time=time,
            unique_id=unique_id,
            backfill=backfill,
            now=(yield from Now()),
            new_id=(yield from NewId()),
        )
        call.take_in(findings)
        return (yield from tracked(call, claim_of(call, who), checked, person))

    return run(setup, "track", _body)


def tracked(
    call: Call, claim: Claim, event: Event, person: Person = NOTHING, fixed: Fixed = NOT_FIXED
) -> Flow[TrackResult]:
    """Record an event about the person meant, making first contact if need be."""
    try:
        return (yield from _track(call, claim, event, person, fixed))
    except SafeKlaviyoError as error:
        error.unique_id, error.time = event.unique_id, event.time
        raise


def _track(call: Call, claim: Claim, event: Event, person: Person, fixed: Fixed) -> Flow[TrackResult]:
    def _request_for(latest: Binding) -> Request:
        alone = fixed.alone or call.policy.event_naming == "profile_id"
        return call.dialect.event(event, latest, person, by_profile_id_alone=alone)

    # Step 1: find the customer. The address that will be sent is checked too, because it may be another one. An event
    # that is too large must not leave a new profile behind.
    refuse_dropped(call, claim.email)
    resolved = yield from person_of(call, claim, fits=lambda pair: _request_for(unread(pair)))
    binding = resolved.binding
    check_fixed(binding, fixed)
    _note_unique_id(call, event, claim, binding)
    refuse_dropped(call, binding.email)
    # Step 2: send.
    response = yield from _send(call, binding, _request_for)
    # Step 3: a 404 means that the profile may be gone. The same event, repeated later, finds the customer's next one.
    if response.status in MISSING:
        yield from forget_profile(call, binding)
        raise not_visible()
    # Step 4: a phone never travels with an event (R14).
    if claim.phone_number is not None or claim.unusable_phone:
        yield from attach_phone(call, claim, binding, None)
    return TrackResult(
        event.unique_id, event.time, binding.profile_id, binding.identity, resolved.rule, tuple(call.notices)
    )


def _send(call: Call, binding: Binding, request_for: Callable[[Binding], Request]) -> Flow[Response]:
    """Send an event. Until its answer, changes of this process see that it is in flight (H1)."""

    def _again() -> Flow[Request]:
        # The profile stays, the address is read again: an old one would come back as a ghost (H10).
        return request_for((yield from _latest(call, binding)))

    on_its_way = (binding.key, object())
    try:
        call.setup.in_flight.enter(on_its_way)
        return (yield from send(call, request_for(binding), main=True, accept=MISSING, again=_again))
    finally:
        call.setup.in_flight.leave(on_its_way)


def _latest(call: Call, binding: Binding) -> Flow[Binding]:
    """Return the binding as the map has it now.

    Raises:
        ErasedError: The customer was erased in between.
    """
    claim = Claim(binding.external_id, binding.email)
    # By the profile id where there is one: no change of identifiers alters it.
    names = claim.identifiers()
    if binding.profile_id is not None:
        names = (Identifier(Kind.PROFILE_ID, binding.profile_id),)
    found = yield from Find(call.account, names[:1])
    match = next(iter(found.matches), None)
    if match is None:
        yield from refuse_erased(call, claim)
    return binding if match is None else match.binding


def _note_unique_id(call: Call, event: Event, claim: Claim, binding: Binding) -> None:
    # Right for what happens once to each customer, such as a sign-up. Of all else Klaviyo records the first alone.
    key = event.unique_id.strip()
    key = key.lower() if "@" in key else key
    if key in (claim.external_id, claim.email, binding.external_id, binding.email, binding.profile_id):
        message = "the unique_id is the customer's own identifier, so that Klaviyo records one event of this name"
        call.notice("unique_id_of_customer", None, message)


def refuse_dropped(call: Call, email: str | None) -> None:
    """Refuse an address for which Klaviyo drops events.

    Raises:
        InvalidIdentifierError: The address is one of those, and the host is Klaviyo's own.
    """
    if call.setup.drops_test_addresses and email is not None and email.endswith(_DROPPED):
        raise InvalidIdentifierError(
            "Klaviyo drops events for @example.com and @test.com in silence; "
            "use another address, or Policy(allow_test_addresses=True)",
            identifier_kind=Kind.EMAIL,
            email=email,
            rule="R1",
        )
