"""`track`: one event on the known profile. What identifies the event is fixed before the first attempt (P5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._flow import Find, Flow, Request
from safeklaviyo._operations._agree import forget_profile
from safeklaviyo._operations._call import MISSING, Call, check_accepted, send
from safeklaviyo._operations._person import known
from safeklaviyo._operations._phone import attach_phone
from safeklaviyo._operations._reading import not_visible
from safeklaviyo._operations._tombstones import refuse_erased
from safeklaviyo._properties import NOTHING
from safeklaviyo.errors import InvalidIdentifierError, SafeKlaviyoError
from safeklaviyo.identity import Claim, Identifier, Kind
from safeklaviyo.models import TrackResult

if TYPE_CHECKING:
    from safeklaviyo._event import Event
    from safeklaviyo._properties import Person
    from safeklaviyo.models import Binding

_DROPPED = ("@example.com", "@test.com")


def track(call: Call, claim: Claim, event: Event, person: Person = NOTHING) -> Flow[TrackResult]:
    """Record an event about the person meant, making first contact if need be."""
    try:
        return (yield from _track(call, claim, event, person))
    except SafeKlaviyoError as error:
        error.unique_id, error.time = event.unique_id, event.time
        raise


def _track(call: Call, claim: Claim, event: Event, person: Person) -> Flow[TrackResult]:
    _refuse_dropped(call, claim.email)
    resolved = yield from known(call, claim)
    binding = resolved.binding
    if binding.email != claim.email:
        _refuse_dropped(call, binding.email)

    def request_for(latest: Binding) -> Request:
        alone = call.policy.event_naming == "profile_id"
        return call.dialect.event(event, latest, person, by_profile_id_alone=alone)

    def again() -> Flow[Request]:
        # The profile stays, the address is read anew: an old one would come back as a ghost (H10).
        return request_for((yield from _latest(call, binding)))

    on_its_way = (binding.key, object())
    try:
        call.setup.in_flight.enter(on_its_way)
        response = yield from send(call, request_for(binding), main=True, accept=MISSING, again=again)
    finally:
        call.setup.in_flight.leave(on_its_way)
    if response.status in MISSING:
        # The profile may be gone: the same event, repeated later, finds the customer's next one.
        yield from forget_profile(call, binding)
        raise not_visible()
    check_accepted(call, response)
    if claim.phone_number is not None or claim.unusable_phone:
        yield from attach_phone(call, claim, binding, None)
    return TrackResult(
        event.unique_id, event.time, binding.profile_id, binding.identity, resolved.rule, tuple(call.notices)
    )


def _latest(call: Call, binding: Binding) -> Flow[Binding]:
    if binding.profile_id is not None:
        identifier = Identifier(Kind.PROFILE_ID, binding.profile_id)
    elif binding.external_id is not None:
        identifier = Identifier(Kind.EXTERNAL_ID, binding.external_id)
    else:
        identifier = Identifier(Kind.EMAIL, str(binding.email))
    found = yield from Find(call.account, (identifier,))
    match = next(iter(found.matches), None)
    if match is None:
        yield from refuse_erased(call, Claim(binding.external_id, binding.email))
    return binding if match is None else match.binding


def _refuse_dropped(call: Call, email: str | None) -> None:
    if call.setup.drops_test_addresses and email is not None and email.endswith(_DROPPED):
        raise InvalidIdentifierError(
            "Klaviyo drops events for @example.com and @test.com in silence; "
            "use another address, or Policy(allow_test_addresses=True)",
            identifier_kind=Kind.EMAIL,
            email=email,
            rule="R1",
        )
