"""`subscribe`: the customer is found or made first, and consent is then given for that one profile (R18)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from safeklaviyo._effects import Flow, Now
from safeklaviyo._flows.call import Call, Setup, run
from safeklaviyo._flows.identity.drift import check_drift
from safeklaviyo._flows.identity.phones import attach_phone
from safeklaviyo._flows.identity.reads import gather, read_profile, search
from safeklaviyo._flows.leased.giving import give_under_lease, no_number
from safeklaviyo._flows.leased.intents import GiveIntent
from safeklaviyo._flows.leased.leases import acquire_for_consent, run_leased
from safeklaviyo._flows.leased.living import check_list
from safeklaviyo._flows.outbox.passing import began, consent_kinds, note_change
from safeklaviyo._flows.required import required
from safeklaviyo._flows.verbs.changing import customer_of
from safeklaviyo._input.consents import BY_PHONE, agreement_from, channels_from, list_id_from
from safeklaviyo._input.phones import phone_number_from
from safeklaviyo._rules.claims import claim_from
from safeklaviyo._rules.conflicts import ambiguity_error
from safeklaviyo._rules.shown import email_of, has_email, phone_of
from safeklaviyo.consent import ConsentChange
from safeklaviyo.errors import ConfigurationError, InvalidIdentifierError
from safeklaviyo.identity import Claim, Kind
from safeklaviyo.stores.calls import Find, Former

if TYPE_CHECKING:
    from safeklaviyo._input.consents import Agreement
    from safeklaviyo.consent import Channel
    from safeklaviyo.models import Binding, Profile


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be given.

    Attributes:
        asked_at: When the call was made, in unix seconds.
        written_at: When the caller wrote the wish down, if that was before.
    """

    channels: tuple[Channel, ...]
    agreement: Agreement
    list_id: str | None
    asked_at: float
    written_at: float | None = None


def subscribe(
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
    written_at: float | None = None,
) -> Flow[ConsentChange]:
    """See `Klaviyo.subscribe`.

    Args:
        written_at: When the caller's wish was written down, in unix seconds, where that was before this call: a
            withdrawal since is not lifted (H30).
    """

    def _body(call: Call) -> Flow[ConsentChange]:
        require_consent(call)
        now, began_at = (yield from Now()), (yield from began(call))
        agreement = agreement_from(
            consented_at=consented_at,
            historical=historical,
            source=source,
            resubscribe=resubscribe,
            date_of_birth=date_of_birth,
            now=now if written_at is None else written_at,
        )
        wanted = _Wanted(channels_from(channels), agreement, list_id_from(list_id), now, written_at)
        claim = yield from _claim(call, external_id, email, phone_number, wanted.channels)
        change = yield from _subscribe(call, claim, wanted)
        yield from note_change(call, claim.identifiers(), consent_kinds(wanted.channels), began_at)
        return change

    return run(setup, "subscribe", _body)


def require_consent(call: Call) -> None:
    """Refuse in a dialect that knows no consent.

    Raises:
        ConfigurationError: The client's dialect knows no consent.
    """
    if not call.dialect.has_consent:
        raise ConfigurationError('consent needs the current dialect; pass dialect="current" to the client')


def _claim(
    call: Call, external_id: object, email: object, phone_number: object, channels: tuple[Channel, ...]
) -> Flow[Claim]:
    """Return who is meant. A number alone is enough where exactly one profile has it.

    Raises:
        InvalidIdentifierError: No customer can be meant, or a channel needs a number and the one given is none.
        AmbiguousIdentityError: Several profiles have the number.
    """
    by_phone = not BY_PHONE.isdisjoint(channels)
    if phone_number is not None and by_phone:
        number = phone_number_from(phone_number, call.policy.phone_region)
        if external_id is None and email is None:
            return (yield from _owner_of_number(call, number))
    return claim_from(external_id, email, phone_number, call.policy)


def _owner_of_number(call: Call, number: str) -> Flow[Claim]:
    profiles = yield from _with_number(call, number)
    if len(profiles) > 1:
        raise ambiguity_error("several profiles have this phone number; name the customer", None, None, profiles)
    owner = profiles[0] if profiles else None
    if owner is None or email_of(owner) is None:
        message = "no profile with an email has this phone number; name the customer by email or external_id"
        raise InvalidIdentifierError(message, identifier_kind=Kind.PHONE_NUMBER, rule="R18")
    return Claim(owner.external_id, email_of(owner), number)


def _check_number(call: Call, claim: Claim) -> Flow[None]:
    """Refuse a new customer with a number that cannot be subscribed, before they get a profile.

    Raises:
        InvalidIdentifierError: The number is another customer's; or none was given, and Klaviyo knows none.
    """
    found = yield from Find(call.account, claim.identifiers())
    if found.matches:
        return
    if claim.phone_number is None:
        profiles = (yield from gather(call, (claim.external_id,), (claim.email,))).values()
        if all(phone_of(profile) is None for profile in profiles):
            raise no_number("a channel needs a phone number, and the customer has none: give phone_number")
        return
    for profile in (yield from _with_number(call, claim.phone_number)):
        if profile.external_id != (claim.external_id or "") and not has_email(profile, claim.email):
            raise no_number("the phone number is another profile's; check it, or give the email")


def _with_number(call: Call, number: str) -> Flow[list[Profile]]:
    """Return the profiles that have a number, each read by its id."""
    profiles: list[Profile] = []
    for profile_id in (yield from search(call, Kind.PHONE_NUMBER, number)):
        profile = yield from read_profile(call, profile_id)
        if profile is not None and phone_of(profile) == number:
            profiles.append(profile)
    return profiles


def _check(call: Call, claim: Claim, wanted: _Wanted) -> Flow[bool]:
    """Refuse a list that does not exist and a number that cannot be subscribed; tell whether the list asks back."""
    confirms = False
    if wanted.list_id is not None:
        confirms = (yield from check_list(call, wanted.list_id)) and not wanted.agreement.historical
    if not BY_PHONE.isdisjoint(wanted.channels):
        yield from _check_number(call, claim)
    return confirms


def _subscribe(call: Call, claim: Claim, wanted: _Wanted) -> Flow[ConsentChange]:
    # Step 1: refuse what cannot be, such as a list that does not exist, before a profile is made.
    confirms = yield from _check(call, claim, wanted)
    # In a loop, because each lease that was waited for or lost means that the customer has to be found again.
    while True:
        # Step 2: find the customer, or make their profile. Another address than theirs is refused under every policy
        # (R6): consent that was given for one address would be recorded for another.
        resolved = yield from customer_of(call, claim)
        binding = resolved.binding
        intent = yield from _intent(call, claim, binding, wanted)
        # Step 3: give the consent under a lease.
        taken = yield from acquire_for_consent(call, intent)
        if taken is None:
            continue
        lease, intent = taken
        contact = resolved.contact
        made = contact.profile if contact is not None and contact.created else None
        body = give_under_lease(call, lease, intent, made=made, waits=not confirms, main=True)
        given = yield from run_leased(call, lease, body)
        if given is None:
            continue
        # Step 4: a profile that shows another address than the map is put right first, outside the lease (R15).
        if given.status == "drifted":
            yield from check_drift(call, binding, given.profile)
            continue
        if BY_PHONE.isdisjoint(wanted.channels):
            yield from attach_phone(call, claim, binding, given.profile)
        status = "confirmation_expected" if confirms and given.status == "accepted" else given.status
        return ConsentChange(status, wanted.channels, (intent.profile_id,), "R18", tuple(call.notices))


def _intent(call: Call, claim: Claim, binding: Binding, wanted: _Wanted) -> Flow[GiveIntent]:
    former = yield from Former(call.account, (binding,))
    emails = sorted({match.identifier.value for match in former if match.identifier.kind is Kind.EMAIL})
    agreement = wanted.agreement
    return GiveIntent(
        keys=(binding.key,),
        external_id=binding.external_id,
        email=required(binding.email),
        profile_id=required(binding.profile_id),
        emails=tuple(emails),
        phone_number=None if BY_PHONE.isdisjoint(wanted.channels) else claim.phone_number,
        channels=wanted.channels,
        list_id=wanted.list_id,
        consented_at=agreement.consented_at,
        historical=agreement.historical,
        source=agreement.source,
        date_of_birth=agreement.date_of_birth,
        resubscribe=agreement.resubscribe,
        written_at=wanted.written_at,
        asked_at=wanted.asked_at,
    )
