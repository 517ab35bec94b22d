"""`erase`: who is meant, by the map and else by Klaviyo, without making anybody known first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from safeklaviyo._flows.call import Setup, run
from safeklaviyo._flows.identity.reads import gather, read_profile, tied
from safeklaviyo._flows.leased.erase import erase_under_lease
from safeklaviyo._flows.leased.intents import EraseIntent
from safeklaviyo._flows.leased.leases import acquire_lease, run_leased, wait_or_finish
from safeklaviyo._rules.claims import claim_from
from safeklaviyo._rules.conflicts import ambiguity_error
from safeklaviyo._rules.shown import email_of
from safeklaviyo.errors import AmbiguousIdentityError, ConfigurationError
from safeklaviyo.identity import Claim, Identifier, Kind, normalise_profile_id
from safeklaviyo.models import Erasure
from safeklaviyo.stores.calls import Find

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call


def erase(setup: Setup, *, external_id: object, email: object, profile_id: object) -> Flow[Erasure]:
    """See `Klaviyo.erase`."""

    def body(call: Call) -> Flow[Erasure]:
        claim = Claim()
        if external_id is not None or email is not None or profile_id is None:
            claim = claim_from(external_id, email, None, call.policy)
        named = None if profile_id is None else normalise_profile_id(profile_id)
        return (yield from _erase(call, claim, named))

    return run(setup, "erase", body)


def _erase(call: Call, claim: Claim, profile_id: str | None) -> Flow[Erasure]:
    """Delete a customer's profile, and forget all that the map knows of them but that they were erased."""
    if not call.dialect.verifies:
        raise ConfigurationError("erase needs the current dialect")
    while True:
        intent, was_known = yield from _intent(call, claim, profile_id)
        if intent is None:
            continue
        lease = yield from acquire_lease(call, intent)
        if lease is not None:
            done = yield from run_leased(call, lease, erase_under_lease(call, lease, intent, main=True))
            if done or (done is None and not (yield from _is_known(call, intent))):
                return Erasure(intent.profile_id, was_known)


def _is_known(call: Call, intent: EraseIntent) -> Flow[bool]:
    """Tell whether the map still has what was to be erased, after another call took the lease over.

    If it does not, that call erased the customer; whoever has the identifiers now came later, and stays.
    """
    found = yield from Find(call.account, tuple(intent.identifiers()))
    return any(match.binding.profile_id == intent.profile_id for match in found.matches if match.retired_at is None)


def _intent(call: Call, claim: Claim, profile_id: str | None) -> Flow[tuple[EraseIntent | None, bool]]:
    """Find out who is meant; None after waiting for somebody."""
    named = () if profile_id is None else (Identifier(Kind.PROFILE_ID, profile_id),)
    found = yield from Find(call.account, (*claim.identifiers(), *named))
    if found.lease is not None:
        yield from wait_or_finish(call, found.lease)
        return None, False
    owners = {match.binding.key: match.binding for match in found.matches}
    if len(owners) > 1:
        raise _different(claim, ())
    for binding in owners.values():
        if profile_id is not None and binding.profile_id not in (None, profile_id):
            raise _different(claim, (profile_id, binding.profile_id))
        is_tied = binding.profile_id is not None
        if profile_id is None:
            binding = yield from tied(call, binding)  # noqa: PLW2901 - the same customer
        intent = EraseIntent(
            external_id=binding.external_id, email=binding.email, profile_id=binding.profile_id or profile_id
        )
        shown = yield from _with_what_is_shown(call, intent)
        if not is_tied:
            _check_shown(Claim(binding.external_id, binding.email), shown)
        yield from _check_owner(call, claim, shown)
        return shown, True
    if profile_id is None:
        profile_id = yield from _only_profile(call, claim)
    intent = EraseIntent(external_id=claim.external_id, email=claim.email, profile_id=profile_id)
    shown = yield from _with_what_is_shown(call, intent)
    _check_shown(claim, shown)
    yield from _check_owner(call, claim, shown)
    return shown, False


def _check_owner(call: Call, claim: Claim, intent: EraseIntent) -> Flow[None]:
    """Refuse to delete a profile that the map gives to another customer than the one meant."""
    if intent.profile_id is None:
        return
    found = yield from Find(call.account, (Identifier(Kind.PROFILE_ID, intent.profile_id),))
    owner = found.current(Kind.PROFILE_ID)
    if owner is not None and (owner.external_id, owner.email) != (intent.external_id, intent.email):
        raise _different(claim, (intent.profile_id,))


def _check_shown(claim: Claim, intent: EraseIntent) -> None:
    """Refuse to delete a profile that shows another customer than the one meant."""
    for given, shown in ((claim.external_id, intent.new_external_id), (claim.email, intent.new_email)):
        if given is not None and shown not in (None, given):
            raise _different(claim, (intent.profile_id,))


def _only_profile(call: Call, claim: Claim) -> Flow[str | None]:
    evidence = yield from gather(call, (claim.external_id,), (claim.email,))
    if len(evidence) > 1:
        raise ambiguity_error(
            "several profiles answer; erase each by its profile_id",
            claim.external_id,
            claim.email,
            list(evidence.values()),
        )
    return next(iter(evidence), None)


def _with_what_is_shown(call: Call, intent: EraseIntent) -> Flow[EraseIntent]:
    """Add the identifiers that the profile shows, which are to be forgotten too."""
    profile = None if intent.profile_id is None else (yield from read_profile(call, intent.profile_id))
    if profile is None:
        return intent
    return replace(intent, new_external_id=profile.external_id, new_email=email_of(profile))


def _different(claim: Claim, profile_ids: tuple[str | None, ...]) -> AmbiguousIdentityError:
    return AmbiguousIdentityError(
        "the identifiers are different customers'",
        profile_ids=tuple(each for each in profile_ids if each is not None),
        external_id=claim.external_id,
        email=claim.email,
    )
