"""`unsubscribe`, `suppress` and `unsuppress`: every living profile of the customer is reached, and no other (R19).

A withdrawal is written into the journal before anything is sent, so that `recheck_changes` finds it in any case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from safeklaviyo._effects import Flow, Now
from safeklaviyo._flows.call import Call, Setup, run
from safeklaviyo._flows.deadlines import share_deadline
from safeklaviyo._flows.identity.pending_withdrawals import note_withdrawal
from safeklaviyo._flows.identity.reads import read_profile, search
from safeklaviyo._flows.identity.resolve import resolve
from safeklaviyo._flows.leased.intents import WithdrawIntent
from safeklaviyo._flows.leased.leases import acquire_for_consent, run_leased
from safeklaviyo._flows.leased.living import check_list, write_down
from safeklaviyo._flows.leased.withdrawing import withdraw_under_lease, withdraw_without_map
from safeklaviyo._flows.outbox.passing import began, consent_kinds, note_change
from safeklaviyo._flows.required import required
from safeklaviyo._flows.verbs.changing import customer_of
from safeklaviyo._flows.verbs.subscribe import require_consent
from safeklaviyo._input.consents import channels_from, list_id_from
from safeklaviyo._input.phones import phone_number_from
from safeklaviyo._rules.claims import claim_from
from safeklaviyo._rules.shown import email_of, phone_of
from safeklaviyo.consent import Channel, ConsentChange
from safeklaviyo.errors import IdOnlyError, StoreError
from safeklaviyo.identity import Claim, Identifier, Kind
from safeklaviyo.stores.base import JournalEntry
from safeklaviyo.stores.calls import Find, Former

if TYPE_CHECKING:
    from safeklaviyo.models import Binding, Profile

Job: TypeAlias = Literal["unsubscribe", "suppress", "unsuppress"]

_MAP_SHARE = 0.5
"""The part of a call's deadline after which a map that has not answered counts as away. A withdrawal then goes on."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be withdrawn.

    Attributes:
        claim: Who is meant; of these identifiers each counts, also the phone number alone.
    """

    job: Job
    claim: Claim
    channels: tuple[Channel, ...]
    list_id: str | None
    asked_at: float


def unsubscribe(
    setup: Setup,
    channels: object,
    *,
    external_id: object,
    email: object,
    phone_number: object,
    list_id: object,
    written_at: float | None = None,
) -> Flow[ConsentChange]:
    """See `Klaviyo.unsubscribe`.

    Args:
        written_at: When the caller's wish was written down, in unix seconds, where that was before this call.
    """

    def _body(call: Call) -> Flow[ConsentChange]:
        require_consent(call)
        began_at = yield from began(call)
        wanted = channels_from(channels)
        from_list = list_id_from(list_id)
        claim = _claim(call, external_id, email, phone_number)
        if from_list is not None:
            yield from check_list(call, from_list)
        now = (yield from Now()) if written_at is None else written_at
        change = yield from _withdraw(call, _Wanted("unsubscribe", claim, wanted, from_list, now))
        yield from note_change(call, claim.identifiers(), consent_kinds(wanted), began_at)
        return change

    return run(setup, "unsubscribe", _body)


def suppress(setup: Setup, *, external_id: object, email: object) -> Flow[ConsentChange]:
    """See `Klaviyo.suppress`."""

    def _body(call: Call) -> Flow[ConsentChange]:
        require_consent(call)
        claim = claim_from(external_id, email, None, call.policy)
        wanted = _Wanted("suppress", claim, ("email",), None, (yield from Now()))
        change = yield from _withdraw(call, wanted)
        if change.profile_ids:
            return change
        # No profile has the address: a do-not-mail list has to hold for those who come later too.
        if claim.email is None:
            raise IdOnlyError("no customer has this external_id: give the email too", external_id=claim.external_id)
        yield from resolve(call, Claim(None, claim.email))
        return (yield from _withdraw(call, wanted))

    return run(setup, "suppress", _body)


def unsuppress(setup: Setup, *, external_id: object, email: object) -> Flow[ConsentChange]:
    """See `Klaviyo.unsuppress`."""

    def _body(call: Call) -> Flow[ConsentChange]:
        require_consent(call)
        claim = claim_from(external_id, email, None, call.policy)
        now = yield from Now()
        while True:
            # Lifting gives something back, so it is refused where it is not certain who is meant.
            binding = (yield from customer_of(call, claim)).binding
            intent = WithdrawIntent(
                job="unsuppress",
                keys=(binding.key,),
                external_ids=() if binding.external_id is None else (binding.external_id,),
                emails=(required(binding.email),),
                profile_ids=(required(binding.profile_id),),
                channels=("email",),
                alone=True,
                asked_at=now,
            )
            change = yield from carried_out(call, intent)
            if change is not None:
                return change

    return run(setup, "unsuppress", _body)


def _claim(call: Call, external_id: object, email: object, phone_number: object) -> Claim:
    """Return whom a withdrawal names: here a number alone is enough, because a living profile has to have it."""
    if external_id is None and email is None and phone_number is not None:
        return Claim(phone_number=phone_number_from(phone_number, call.policy.phone_region))
    claim = claim_from(external_id, email, phone_number, call.policy)
    if claim.unusable_phone:
        call.notice("phone_invalid", Kind.PHONE_NUMBER.value, "the phone number is not in E.164 form and was left out")
    return claim


def _withdraw(call: Call, wanted: _Wanted) -> Flow[ConsentChange]:
    """Withdraw, by the map; where the map is away, for the identifier given alone.

    Raises:
        StoreUnavailableError: The map is away. What a living profile with the given identifier could receive was
            withdrawn; the rest follows when the same call is made again.
    """
    try:
        # A map that does not answer must not use up the time in which the withdrawal can still be made.
        yield from share_deadline(call, _MAP_SHARE)
        bindings = yield from _bindings(call, wanted.claim.identifiers())
        yield from share_deadline(call, 1.0)
        return (yield from _by_map(call, wanted, bindings))
    except StoreError:
        yield from withdraw_without_map(call, _intent(wanted, _Person()))
        raise


@dataclass(frozen=True, slots=True)
class _Person:
    """Whom a withdrawal reaches, as far as it is known before the lease.

    Attributes:
        bindings: The customer's binding; several, where what was given contradicts the map.
        former: What is retired from them.
        profiles: Profiles with the external id or the number given, which the map does not know.
    """

    bindings: tuple[Binding, ...] = ()
    former: tuple[Identifier, ...] = ()
    profiles: tuple[Profile, ...] = ()


def _by_map(call: Call, wanted: _Wanted, bindings: tuple[Binding, ...]) -> Flow[ConsentChange]:
    """Withdraw for everyone whom the map and the identifiers given lead to."""
    is_journalled = False
    while True:
        # Step 1: find who is meant.
        person = yield from _person(call, wanted.claim, bindings)
        if len(person.bindings) > 1:
            message = "the identifiers are different customers', and the withdrawal was carried out for each"
            call.notice("identifiers_differ", None, message)
        # Step 2: write it down before anything is sent, so that it is not lost if this call fails.
        if not is_journalled:
            yield from _write_down(call, wanted, person)
            is_journalled = True
        # Step 3: carry it out under a lease on all that is or was theirs.
        intent = _intent(wanted, person)
        if not intent.identifiers():
            return ConsentChange("unchanged", wanted.channels, (), "R19", tuple(call.notices))
        change = yield from carried_out(call, intent)
        if change is not None:
            return change
        bindings = yield from _bindings(call, wanted.claim.identifiers())


def carried_out(call: Call, intent: WithdrawIntent) -> Flow[ConsentChange | None]:
    """Carry it out under a lease; None if everything has to be decided again."""
    taken = yield from acquire_for_consent(call, intent)
    if taken is None:
        return None
    lease, joined = taken
    done = yield from run_leased(call, lease, withdraw_under_lease(call, lease, joined, main=True))
    if done is None:
        return None
    return ConsentChange(done.status, intent.channels, done.profile_ids, "R19", tuple(call.notices))


def _bindings(call: Call, names: tuple[Identifier, ...]) -> Flow[tuple[Binding, ...]]:
    """Return the bindings to which identifiers belong, or from which they are retired, each once."""
    if not names:
        return ()
    found = yield from Find(call.account, names)
    return tuple({match.binding.key: match.binding for match in found.matches}.values())


def _person(call: Call, claim: Claim, bindings: tuple[Binding, ...]) -> Flow[_Person]:
    """Return whom a withdrawal reaches, by the map, and by Klaviyo where the map does not know what was given."""
    profiles: list[Profile] = []
    for kind, value in ((Kind.EXTERNAL_ID, claim.external_id), (Kind.PHONE_NUMBER, claim.phone_number)):
        if value is None or (bindings and (kind is Kind.PHONE_NUMBER or _knows_id(bindings, value))):
            continue
        for profile_id in (yield from search(call, kind, value)):
            profile = yield from read_profile(call, profile_id)
            if profile is not None and value in {profile.external_id, phone_of(profile)}:
                profiles.append(profile)
    # The map may know those profiles by what they show.
    every = list(bindings)
    for profile in profiles:
        shown = Claim(profile.external_id, email_of(profile)).identifiers()
        every += yield from _bindings(call, (Identifier(Kind.PROFILE_ID, profile.id), *shown))
    once = tuple({binding.key: binding for binding in every}.values())
    former = yield from Former(call.account, once)
    return _Person(once, tuple(match.identifier for match in former), tuple(profiles))


def _knows_id(bindings: tuple[Binding, ...], external_id: str) -> bool:
    return any(binding.external_id == external_id for binding in bindings)


def _intent(wanted: _Wanted, person: _Person) -> WithdrawIntent:
    names = {*person.former, *wanted.claim.identifiers()}
    for binding in person.bindings:
        names.update(Claim(binding.external_id, binding.email).identifiers())
    for profile in person.profiles:
        names.update(Claim(profile.external_id, email_of(profile)).identifiers())
    ids = [binding.profile_id for binding in person.bindings] + [profile.id for profile in person.profiles]
    return WithdrawIntent(
        job=wanted.job,
        keys=tuple(binding.key for binding in person.bindings),
        external_ids=tuple(sorted(name.value for name in names if name.kind is Kind.EXTERNAL_ID)),
        emails=tuple(sorted(name.value for name in names if name.kind is Kind.EMAIL)),
        profile_ids=tuple(dict.fromkeys(each for each in ids if each is not None)),
        channels=wanted.channels,
        given_email=wanted.claim.email,
        given_phone_number=wanted.claim.phone_number,
        list_id=wanted.list_id,
        asked_at=wanted.asked_at,
    )


def _write_down(call: Call, wanted: _Wanted, person: _Person) -> Flow[None]:
    """Write the withdrawal into the journal; by its identifiers where the map knows no customer.

    A search lags: a profile that was not found may be there all the same (H28).
    """
    entry = JournalEntry(wanted.job, ",".join(wanted.channels), wanted.list_id)
    yield from write_down(call, (binding.key for binding in person.bindings), entry)
    if not person.bindings:
        yield from note_withdrawal(call, wanted.claim, entry, wanted.asked_at)
