"""`identify`: one PATCH of the known profile by its id, without identifiers; its answer is checked (R15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo import _wire
from safeklaviyo._operations._agree import agree, forget_profile
from safeklaviyo._operations._call import MISSING, NOTHING_ELSE, Call, check_accepted, send
from safeklaviyo._operations._person import known
from safeklaviyo._operations._phone import attach_phone
from safeklaviyo._operations._reading import read_answer
from safeklaviyo.errors import NotFoundError
from safeklaviyo.models import IdentifyResult

if TYPE_CHECKING:
    from safeklaviyo._flow import Flow
    from safeklaviyo._operations._resolve import Resolved
    from safeklaviyo._properties import Person
    from safeklaviyo.identity import Claim
    from safeklaviyo.models import Binding, Profile

_TRIES = 2  # a profile that is gone is found anew once


def identify(call: Call, claim: Claim, person: Person) -> Flow[IdentifyResult]:
    """Write properties onto the profile of the person meant, making first contact if need be."""
    for _ in range(_TRIES):
        resolved = yield from known(call, claim, person, main=True)
        contact = resolved.contact
        if contact is not None and contact.written:
            return (yield from _result(call, claim, resolved, resolved.binding, contact.profile))
        written = yield from _update(call, resolved.binding, person)
        if written is not None:
            binding, profile = written
            return (yield from _result(call, claim, resolved, binding, profile))
    raise NotFoundError("the customer's profile keeps disappearing from Klaviyo", status_code=404)


def _update(call: Call, binding: Binding, person: Person) -> Flow[tuple[Binding, Profile | None] | None]:
    """Write the properties; None if the profile is gone, and the map has forgotten it."""
    verifies = call.dialect.verifies
    request = call.dialect.update(binding, person)
    on_its_way = (binding.key, object())
    try:
        call.setup.in_flight.enter(on_its_way)
        response = yield from send(call, request, main=True, accept=MISSING if verifies else NOTHING_ELSE)
    finally:
        call.setup.in_flight.leave(on_its_way)
    if not _wire.is_success(response.status):
        yield from forget_profile(call, binding)
        return None
    if not verifies:
        check_accepted(call, response)
        return binding, None
    profile = read_answer(call, response)
    if profile is None:
        call.notice("answer_unreadable", None, "the write succeeded, and Klaviyo's answer could not be read")
        return binding, None
    agreed = yield from agree(call, binding, profile)
    return agreed, profile


def _result(
    call: Call, claim: Claim, resolved: Resolved, binding: Binding, profile: Profile | None
) -> Flow[IdentifyResult]:
    yield from attach_phone(call, claim, binding, profile)
    created = False if resolved.contact is None else resolved.contact.created
    if not call.dialect.verifies and created is False:
        created = None  # the legacy answer does not say whether the profile was there
    return IdentifyResult(binding.profile_id, created, binding.identity, resolved.rule, tuple(call.notices))
