"""`identify`: one PATCH of the known profile by its id, without identifiers; its answer is checked (R15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeklaviyo._api.responses import is_success
from safeklaviyo._flows.call import MISSING, NOTHING_ELSE, Call, Setup, run, send
from safeklaviyo._flows.identity.drift import check_drift, forget_profile
from safeklaviyo._flows.identity.phones import attach_phone
from safeklaviyo._flows.identity.reads import read_answer
from safeklaviyo._flows.verbs.person import claim_of, person_of, unread
from safeklaviyo._flows.verbs.track import NOT_FIXED, Fixed, check_fixed
from safeklaviyo._input.findings import Findings
from safeklaviyo._input.properties import combine, person_from
from safeklaviyo.errors import NotFoundError
from safeklaviyo.models import IdentifyResult

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.identity.resolve import Resolved
    from safeklaviyo._input.properties import Person
    from safeklaviyo.identity import Claim
    from safeklaviyo.models import Binding, Profile

_TRIES = 2  # the first, and one more with the customer's next profile where the first one is gone


def identify(
    setup: Setup,
    properties: Mapping[str, Any] | None,
    *,
    external_id: object,
    email: object,
    phone_number: object,
    append: Mapping[str, Any] | None,
    unappend: Mapping[str, Any] | None,
    unset: str | Collection[str] | None,
) -> Flow[IdentifyResult]:
    """See `Klaviyo.identify`."""

    def _body(call: Call) -> Flow[IdentifyResult]:
        findings = Findings()
        person, given = person_from(properties, findings, append=append, unappend=unappend, unset=unset)
        who = combine(given, findings, external_id=external_id, email=email, phone_number=phone_number)
        call.take_in(findings)
        claim = claim_of(call, who)
        return (yield from identified(call, claim, person))

    return run(setup, "identify", _body)


def identified(call: Call, claim: Claim, person: Person, fixed: Fixed = NOT_FIXED) -> Flow[IdentifyResult]:
    """Write properties onto the profile of the person meant, making first contact if need be."""
    for _ in range(_TRIES):
        resolved = yield from person_of(
            call, claim, person, main=True, fits=lambda pair: call.dialect.update(unread(pair), person)
        )
        check_fixed(resolved.binding, fixed)
        contact = resolved.contact
        # The properties went with the create: a second write would repeat what is appended (F-19).
        if contact is not None and contact.written:
            return (yield from _result(call, claim, resolved, resolved.binding, contact.profile))
        # Klaviyo has created the profile without all that was sent: some values may stand there already.
        rest = person.first_values() if contact is not None and contact.created else person
        written = yield from _update(call, resolved.binding, rest)
        if written is not None:
            binding, profile = written
            return (yield from _result(call, claim, resolved, binding, profile))
    raise NotFoundError("the customer's profile keeps disappearing from Klaviyo; try again later", status_code=404)


def _update(call: Call, binding: Binding, person: Person) -> Flow[tuple[Binding, Profile | None] | None]:
    """Write the properties; None if the profile is gone, and the map has forgotten it."""
    # Step 1: write, and let changes of this process see that the write is in flight.
    dialect = call.dialect
    request = dialect.update(binding, person)
    on_its_way = (binding.key, object())
    try:
        call.setup.in_flight.enter(on_its_way)
        response = yield from send(
            call, request, main=True, accept=MISSING if dialect.has_profile_ids else NOTHING_ELSE
        )
    finally:
        call.setup.in_flight.leave(on_its_way)
    # Step 2: a 404 by profile id means that the profile may be gone. Only a second one makes it so (H36).
    if not is_success(response.status):
        yield from forget_profile(call, binding)
        return None
    if not dialect.answers_with_profile:
        return binding, None
    # Step 3: compare the answer with the map (R15). The write stands even if its answer cannot be read (F-23).
    profile = yield from read_answer(call, response, binding.profile_id)
    if profile is None:
        call.notice("answer_unreadable", None, "the write succeeded, and Klaviyo's answer could not be read")
        return binding, None
    return (yield from check_drift(call, binding, profile)), profile


def _result(
    call: Call, claim: Claim, resolved: Resolved, binding: Binding, profile: Profile | None
) -> Flow[IdentifyResult]:
    yield from attach_phone(call, claim, binding, profile)
    created = False if resolved.contact is None else resolved.contact.created
    if not call.dialect.answers_with_profile and created is False:
        created = None  # the legacy answer does not say whether the profile was there
    return IdentifyResult(binding.profile_id, created, binding.identity, resolved.rule, tuple(call.notices))
