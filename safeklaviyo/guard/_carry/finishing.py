"""What the guard does with Klaviyo's answer to a request that was sent in enforce.

The request is done by then, so no failure here fails the call: the caller gets Klaviyo's answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._api.messages import Response
from safeklaviyo._api.paths import UPDATE_PROFILE
from safeklaviyo._api.responses import UnreadableAnswer, is_from_klaviyo, is_success, read_profile
from safeklaviyo._flows.call import Call, logger, run
from safeklaviyo._flows.identity.drift import check_drift, forget_profile
from safeklaviyo._flows.identity.phones import attach_phone
from safeklaviyo._flows.identity.reads import not_visible
from safeklaviyo.errors import SafeKlaviyoError
from safeklaviyo.guard._carry.parking import take_back
from safeklaviyo.guard._write.replies import Fault, Reply, refused, without_owner

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Setup
    from safeklaviyo.guard._carry.case import Case
    from safeklaviyo.identity import Claim
    from safeklaviyo.models import Binding, Profile

_SHOWING = frozenset({"create_profile", "create_or_update_profile", "update_profile"})


def needs_finishing(case: Case, reply: Reply) -> bool:
    """Tell whether an answer has to be compared with the map before the caller gets it, or parked rows taken back."""
    if case.parked and 400 <= reply.status < 500:
        return True
    if not case.customers:
        return False
    if is_success(reply.status):
        has_phone = any(claim.phone_number is not None or claim.unusable_phone for claim, _ in case.customers)
        return has_phone or case.asked.name in _SHOWING
    return reply.status == 404


def answered(case: Case, reply: Reply) -> Reply:
    """Return the answer for the caller, for an answer of Klaviyo's that needs no look at the map."""
    # A 409 names another customer's profile. The shop's code would write onto that profile (P3), so it is left out.
    if reply.status == 409:
        own = frozenset(binding.profile_id for _, binding in case.customers if binding.profile_id is not None)
        targets = {person.targets for person in case.people if person.targets is not None}
        return without_owner(reply, own=own | targets)
    status = case.statuses.get(reply.status)
    return reply if status is None else Reply(status, reply.headers, reply.body)


def finish(setup: Setup, case: Case, reply: Reply) -> Flow[Reply]:
    """Compare an answer with the map, and return the answer for the caller."""
    return run(setup, "guard", lambda call: _finish(call, case, reply))


def _finish(call: Call, case: Case, reply: Reply) -> Flow[Reply]:
    response = Response(reply.status, {name.lower(): value for name, value in reply.headers}, reply.body)
    # Step 1: the caller is told of a refusal, and will repeat the job with the rows that were parked.
    if case.parked and 400 <= reply.status < 500:
        yield from take_back(call, case)
        if reply.status != 404:
            return answered(case, reply)
    # Step 2: a 404 about a profile that the guard has named. The caller cannot mend that, so the map is mended first.
    if reply.status == 404:
        if not is_from_klaviyo(UPDATE_PROFILE, response) or case.asked.name == "update_profile":
            return reply
        return (yield from _missing(call, case))
    # Step 3: each customer. A failure is logged only, because the request has been carried out.
    for claim, binding in case.customers:
        profile = _shown(response) if case.asked.name in _SHOWING else None
        try:
            yield from _take_in(call, claim, binding, profile)
        except SafeKlaviyoError as error:
            extra = {"operation": call.operation, "rule": error.rule}
            logger.warning("guard: the request is done, and its answer contradicts the map", extra=extra)
    return answered(case, reply)


def _take_in(call: Call, claim: Claim, binding: Binding, profile: Profile | None) -> Flow[None]:
    if profile is not None and profile.id == binding.profile_id:
        binding = yield from check_drift(call, binding, profile)
    yield from attach_phone(call, claim, binding, profile)


def _shown(response: Response) -> Profile | None:
    try:
        return read_profile(response)
    except UnreadableAnswer:
        return None


def _missing(call: Call, case: Case) -> Flow[Reply]:
    """Note a profile that Klaviyo does not show. The caller has not named it, so the call has to be made again."""
    waits: list[float] = []
    for _, binding in case.customers[:1]:
        try:
            yield from forget_profile(call, binding)
        except SafeKlaviyoError as error:
            waits.append(error.retry_after or 1.0)
    fault = Fault(503, str(not_visible()), None, "/data", wait=max(waits, default=1.0))
    case.say("refuse", None, fault.reason)
    return refused([fault])
