"""`consent`: what Klaviyo says that a customer allows. Reads only, and writes nothing down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._flows.call import Call, Setup, run
from safeklaviyo._flows.identity.reads import not_visible, read_profile
from safeklaviyo._flows.leased.living import living_with, others_own
from safeklaviyo._flows.verbs.resolve import who
from safeklaviyo._flows.verbs.subscribe import require_consent
from safeklaviyo._rules.claims import claim_from
from safeklaviyo._rules.consent import all_channels
from safeklaviyo.consent import Consent
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.calls import Find, Former

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow


def consent(setup: Setup, *, external_id: object, email: object) -> Flow[Consent]:
    """See `Klaviyo.consent`."""

    def _body(call: Call) -> Flow[Consent]:
        require_consent(call)
        resolution = yield from who(call, claim_from(external_id, email, None, call.policy))
        if resolution.profile_id is None:
            return Consent(None)
        profile = yield from read_profile(call, resolution.profile_id)
        if profile is None:
            raise not_visible()
        return Consent(profile.id, all_channels(profile), (yield from _also_on(call, profile.id)))

    return run(setup, "consent", _body)


def _also_on(call: Call, profile_id: str) -> Flow[tuple[str, ...]]:
    """Return the ids of living profiles on former addresses of the customer who has a profile."""
    found = yield from Find(call.account, (Identifier(Kind.PROFILE_ID, profile_id),))
    binding = found.current(Kind.PROFILE_ID)
    if binding is None:
        return ()
    former = yield from Former(call.account, (binding,))
    names = [match.identifier for match in former if match.identifier.kind is Kind.EMAIL]
    also: list[str] = []
    for profile in (yield from living_with(call, names)).values():
        is_ghost = profile.id != profile_id and profile.external_id in {None, binding.external_id}
        if is_ghost and not (yield from others_own(call, profile, (binding.key,))):
            also.append(profile.id)
    return tuple(also)
