"""`erase`: which customer is meant, by the map and else by Klaviyo, without a first contact."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from safeklaviyo._flows.call import Setup, run
from safeklaviyo._flows.identity.left_behind import names_of, owner_for_erasure, profiles_with
from safeklaviyo._flows.identity.reads import gather, read_profile, with_profile_id
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
    from safeklaviyo.models import Binding, Profile


def erase(setup: Setup, *, external_id: object, email: object, profile_id: object) -> Flow[Erasure]:
    """See `Klaviyo.erase`."""

    def _body(call: Call) -> Flow[Erasure]:
        claim = Claim()
        if external_id is not None or email is not None or profile_id is None:
            claim = claim_from(external_id, email, None, call.policy)
        named = None if profile_id is None else normalise_profile_id(profile_id)
        return (yield from erase_person(call, claim, named))

    return run(setup, "erase", _body)


def erase_person(call: Call, claim: Claim, profile_id: str | None) -> Flow[Erasure]:
    """Delete a customer's profile, and forget all that the map knows of them but that they were erased."""
    if not call.dialect.has_deletions:
        raise ConfigurationError('erase needs the current dialect; pass dialect="current" to the client')
    # In a loop, because each lease that was waited for or lost means that the customer has to be found again.
    while True:
        intent, binding = yield from _intent(call, claim, profile_id)
        if intent is None:
            continue
        # Other profiles with the customer's identifiers. Only those that are certainly the customer's are deleted.
        intent, left = yield from _with_ghosts(call, intent, binding)
        lease = yield from acquire_lease(call, intent)
        if lease is not None:
            done = yield from run_leased(call, lease, erase_under_lease(call, lease, intent, main=True))
            # A lost lease may mean that another call has erased the customer, and a new one has the identifiers now.
            if done is None and not (yield from _is_known(call, intent)):
                done = intent.ghost_ids
            if isinstance(done, tuple):
                intent = replace(intent, ghost_ids=done)
                return _erasure(call, intent, binding, left)


def _with_ghosts(call: Call, intent: EraseIntent, binding: Binding | None) -> Flow[tuple[EraseIntent, tuple[str, ...]]]:
    """Look for other profiles with an identifier that is or was the customer's.

    Returns:
        The intent with those that are certainly the customer's; and the ids of those of which that cannot be said.
    """
    names = yield from names_of(call, binding)
    for pair in ((intent.external_id, intent.email), (intent.new_external_id, intent.new_email)):
        names.update(Claim(*pair).identifiers())
    ghosts: list[Profile] = []
    left: list[str] = []
    others = yield from profiles_with(call, names, but=intent.profile_id)
    for profile_id, profile in others.items():
        owner = "unclear" if profile is None else (yield from owner_for_erasure(call, binding, profile))
        if owner == "theirs" and profile is not None:
            ghosts.append(profile)
        elif owner == "unclear":
            left.append(profile_id)
    with_ghosts = replace(
        intent,
        ghost_ids=tuple(ghost.id for ghost in ghosts),
        ghost_external_ids=tuple(ghost.external_id for ghost in ghosts if ghost.external_id is not None),
        ghost_emails=tuple(email for ghost in ghosts if (email := email_of(ghost)) is not None),
    )
    return with_ghosts, tuple(left)


def _erasure(call: Call, intent: EraseIntent, binding: Binding | None, left: tuple[str, ...]) -> Erasure:
    if left:
        call.notice("profiles_left", None, "other profiles show an identifier of the erased customer, and were left")
    return Erasure(intent.profile_id, binding is not None, intent.ghost_ids, left)


def _is_known(call: Call, intent: EraseIntent) -> Flow[bool]:
    """Tell whether the map still has what was to be erased, after another call took the lease over.

    If it does not, that call erased the customer; a customer who has the identifiers now came later, and stays.
    """
    found = yield from Find(call.account, tuple(intent.identifiers()))
    return any(match.binding.profile_id == intent.profile_id for match in found.matches if match.retired_at is None)


def _intent(call: Call, claim: Claim, profile_id: str | None) -> Flow[tuple[EraseIntent | None, Binding | None]]:
    """Find out which customer is meant.

    Returns:
        What to erase, or None after waiting for another call; and the customer's binding, if the map has one.

    Raises:
        AmbiguousIdentityError: The identifiers are different customers'.
    """
    # Step 1: ask the map. Two owners are never erased by one call.
    named = () if profile_id is None else (Identifier(Kind.PROFILE_ID, profile_id),)
    found = yield from Find(call.account, (*claim.identifiers(), *named))
    if found.lease is not None:
        yield from wait_or_finish(call, found.lease)
        return None, None
    owners = {match.binding.key: match.binding for match in found.matches}
    if len(owners) > 1:
        raise _different(claim, ())
    # Step 2: add what the profile shows. A deletion cannot be undone, so Klaviyo has to agree with the map (P3).
    binding = next(iter(owners.values()), None)
    if binding is None:
        intent = yield from _of_claim(call, claim, profile_id)
    else:
        intent = yield from _of_binding(call, claim, binding, profile_id)
    yield from _check_owner(call, claim, intent)
    return intent, binding


def _of_binding(call: Call, claim: Claim, binding: Binding, profile_id: str | None) -> Flow[EraseIntent]:
    """Return what to erase of a customer whom the map knows."""
    if profile_id is not None and binding.profile_id not in (None, profile_id):
        raise _different(claim, (profile_id, binding.profile_id))
    is_certain = binding.profile_id is not None
    if profile_id is None:
        binding = yield from with_profile_id(call, binding)
    intent = EraseIntent(
        external_id=binding.external_id, email=binding.email, profile_id=binding.profile_id or profile_id
    )
    shown = yield from _with_what_is_shown(call, intent)
    if not is_certain:
        _check_shown(Claim(binding.external_id, binding.email), shown)
    return shown


def _of_claim(call: Call, claim: Claim, profile_id: str | None) -> Flow[EraseIntent]:
    """Return what to erase of a customer whom only Klaviyo knows."""
    if profile_id is None:
        profile_id = yield from _only_profile(call, claim)
    intent = EraseIntent(external_id=claim.external_id, email=claim.email, profile_id=profile_id)
    shown = yield from _with_what_is_shown(call, intent)
    _check_shown(claim, shown)
    return shown


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
    """Return the id of the one profile that answers; None without one."""
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
        "the identifiers are different customers'; give those of one",
        profile_ids=tuple(each for each in profile_ids if each is not None),
        external_id=claim.external_id,
        email=claim.email,
    )
