"""Giving consent under a lease (R18): for the profile by its id, and never over a withdrawal that was not lifted.

Klaviyo accepts the request, and carries it out minutes later. A customer who withdraws in between by the link of a
mail would be subscribed again (H30). So the lease stays, and its intent with it, until the effect shows; then the
withdrawals since the call are looked for, and carried out again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from safeklaviyo._api.consent import get_events_since, read_event_names, subscribe_profile
from safeklaviyo._effects import Flow, Now
from safeklaviyo._flows.call import Call, logger, release, renew, send
from safeklaviyo._flows.identity.absence import confirm_gone
from safeklaviyo._flows.identity.pending_withdrawals import forget_withdrawal, pending_withdrawals_of
from safeklaviyo._flows.identity.phones import give_phone
from safeklaviyo._flows.identity.reads import not_visible, read_profile
from safeklaviyo._flows.leased.intents import WithdrawIntent
from safeklaviyo._flows.leased.kept_open import keep_open
from safeklaviyo._flows.leased.living import is_in_list, living_with, others_own, said_since, write_down
from safeklaviyo._flows.leased.withdrawing import withdraw_under_lease
from safeklaviyo._input.consents import BY_PHONE
from safeklaviyo._rules.consent import (
    BY_API,
    USER_SUPPRESSED,
    Withdrawal,
    channel_consent,
    in_the_way,
    is_given,
    was_subscribed,
    what_lifts,
    withdrawals,
    withdrawn_in,
)
from safeklaviyo._rules.shown import has_email, phone_of
from safeklaviyo.errors import (
    APIConnectionError,
    APIStatusError,
    BadRequestError,
    ConsentWithdrawnError,
    InvalidIdentifierError,
)
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.base import JournalEntry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo._api.messages import Request
    from safeklaviyo._flows.identity.pending_withdrawals import Pending
    from safeklaviyo._flows.leased.intents import GiveIntent
    from safeklaviyo.consent import Channel
    from safeklaviyo.models import Profile
    from safeklaviyo.stores.base import Lease

_BOUNCED = frozenset({"HARD_BOUNCE", "INVALID_EMAIL"})
_PAUSE = 1800.0
"""Seconds in which a profile is in one subscription job at most, as a guide of Klaviyo's says."""


@dataclass(frozen=True, slots=True)
class Given:
    """What giving consent has concluded.

    Attributes:
        status: ``"accepted"``; ``"unchanged"``: everything was given already; ``"drifted"``: the profile shows another
            address than the map, and nothing was sent.
        profile: The customer's profile, as it was read.
        is_shown: Klaviyo shows that it is done.
    """

    status: Literal["accepted", "unchanged", "drifted"]
    profile: Profile
    is_shown: bool = True


def give_under_lease(
    call: Call,
    lease: Lease,
    intent: GiveIntent,
    *,
    made: Profile | None = None,
    waits: bool = True,
    main: bool = False,
) -> Flow[Given]:
    """Ask Klaviyo to subscribe the profile, and leave the lease open until that shows.

    Args:
        made: The profile as this call has just made it, if it has: Klaviyo's reads may not show it yet (H36).
        waits: Klaviyo will show it; False where the customer has to confirm first.
        main: This call was asked for it; False where another call's write is finished.

    Raises:
        LeaseLostError: Another call took the lease over.
        ConsentWithdrawnError: The customer has withdrawn it.
        InvalidIdentifierError: A channel needs a phone number, and the profile has none or another one.
        ProfileNotVisibleError: Klaviyo does not show the profile now.
    """
    # Step 1: read the profile, and what is on former addresses, for what was withdrawn.
    own = yield from _readable(call, intent, made=made, is_first=main and intent.written_at is None)
    if not has_email(own, intent.email):
        yield from release(call, lease)
        return Given("drifted", own)
    # Step 2: a text message needs a number, and consent for another number than the customer's is none of theirs.
    phone_number = None
    if not BY_PHONE.isdisjoint(intent.channels):
        phone_number = yield from _phone_for(call, lease, intent, own)
    if (yield from _is_done(call, intent, own)):
        # An earlier attempt of an intent that is finished may have been carried out by now, over a withdrawal (H30).
        if main or not (yield from _withdraw_again(call, lease, intent)):
            yield from release(call, lease)
        return Given("unchanged", own)
    # Step 3: ask, and write it down first, so that `recheck_changes` does not repeat an older withdrawal over it.
    if main:
        yield from write_down(call, intent.keys, JournalEntry("subscribe", ",".join(intent.channels), intent.list_id))
        for pending in (yield from _pending(call, intent)):
            yield from forget_withdrawal(call, pending)
    yield from _ask(call, lease, intent, own, phone_number, main=main)
    # Step 4: leave the lease to the next call that looks. If this one fails from here on, it stays as well.
    if waits:
        call.writes.doubtful(main=False)
        yield from keep_open(call, lease, replace(intent, accepted_at=(yield from Now())))
    else:
        yield from release(call, lease)
    return Given("accepted", own, is_shown=not waits)


def finish_giving(call: Call, lease: Lease, intent: GiveIntent) -> Flow[Literal["completed", "accepted"]]:
    """Finish the consent of a lease that was taken over: ask for it, or look whether it is done.

    Raises:
        ConsentWithdrawnError: The customer has withdrawn it since.
    """
    if intent.accepted_at is None:
        given = yield from give_under_lease(call, lease, intent)
        return "completed" if given.is_shown else "accepted"
    own = yield from read_profile(call, intent.profile_id)
    if own is not None and is_given(own, (*intent.channels, *intent.awaited)):
        # The lease has another intent then, beside which no consent may go on.
        if (yield from _withdraw_again(call, lease, intent)):
            return "completed"
    elif own is not None and (yield from Now()) - intent.accepted_at < call.policy.consent_wait:
        # A profile that is gone is not waited for: Klaviyo has no profile left to subscribe.
        yield from keep_open(call, lease, intent)
        return "accepted"
    yield from release(call, lease)
    return "completed"


def _readable(call: Call, intent: GiveIntent, *, made: Profile | None = None, is_first: bool) -> Flow[Profile]:
    """Read the profile, and refuse if the customer has withdrawn what is to be given.

    Raises:
        ConsentWithdrawnError: The customer has.
        ProfileNotVisibleError: Klaviyo does not show the profile now.
    """
    names = [Identifier(Kind.EMAIL, email) for email in intent.emails]
    living = yield from living_with(call, names, also=(intent.profile_id,))
    own = living.get(intent.profile_id, made)
    if own is None:
        yield from confirm_gone(call, intent.profile_id, external_id=intent.external_id, email=intent.email)
        raise not_visible()
    for profile in living.values():
        # What a ghost on a former address withdrew, the person withdrew. What another customer did does not count.
        is_ghost = profile.external_id in {None, intent.external_id}
        if profile is own or (is_ghost and not (yield from others_own(call, profile, intent.keys))):
            _refuse(intent, withdrawals(profile, intent.channels, intent.list_id), is_first=is_first)
    for pending in (yield from _pending(call, intent)):
        reason = USER_SUPPRESSED if pending.verb == "suppress" else BY_API
        _refuse(intent, (Withdrawal(pending.channel, pending.at, reason),), is_first=is_first)
    if intent.written_at is not None:
        _refuse(intent, (yield from _journalled(call, intent)), is_first=is_first)
    return own


def _journalled(call: Call, intent: GiveIntent) -> Flow[list[Withdrawal]]:
    """Return what the customer has withdrawn by other calls since this consent was written down.

    Klaviyo may not show it: the call may have failed, and `recheck_changes` carries it out.
    """
    said = yield from said_since(call, intent.keys, intent.wished_at)
    return [
        Withdrawal(channel, each.at, USER_SUPPRESSED if each.verb == "suppress" else BY_API)
        for each in said
        if not each.is_given and each.list_id in {None, intent.list_id}
        for channel in each.channels
        if channel in intent.channels
    ]


def _pending(call: Call, intent: GiveIntent) -> Flow[list[Pending]]:
    """Return what was withdrawn of these channels by the customer's addresses and number before they were known."""
    names = [Identifier(Kind.EMAIL, email) for email in (intent.email, *intent.emails)]
    if intent.phone_number is not None:
        names.append(Identifier(Kind.PHONE_NUMBER, intent.phone_number))
    found: list[Pending] = []
    for name in names:
        for channel in intent.channels:
            said = yield from pending_withdrawals_of(call, name, channel)
            found += [each for each in said if each.list_id in {None, intent.list_id}]
    return found


def _refuse(intent: GiveIntent, found: Iterable[Withdrawal], *, is_first: bool) -> None:
    """Refuse if one of these withdrawals is not lifted by this consent.

    Raises:
        ConsentWithdrawnError: One is not.
    """
    withdrawn = in_the_way(found, intent.agreement, asked_at=intent.wished_at, is_first=is_first)
    if withdrawn is None:
        return
    raise ConsentWithdrawnError(
        f"the customer has withdrawn this consent; {what_lifts(withdrawn, intent.agreement)}",
        channel=withdrawn.channel,
        withdrawn_at=None if withdrawn.at is None else datetime.fromtimestamp(withdrawn.at, UTC),
        reason=withdrawn.reason,
        rule="R18",
    )


def _is_done(call: Call, intent: GiveIntent, own: Profile) -> Flow[bool]:
    """Tell whether everything that is to be given is given already."""
    if not is_given(own, intent.channels) or intent.awaited:
        return False
    return intent.list_id is None or (yield from is_in_list(call, intent.list_id, own))


def _phone_for(call: Call, lease: Lease, intent: GiveIntent, own: Profile) -> Flow[str]:
    """Return the number that is subscribed, which the profile shows then (R14).

    Raises:
        InvalidIdentifierError: The profile has none and none was given, or it has another one.
    """
    held, given = phone_of(own), intent.phone_number
    if held is None and given is not None:
        yield from give_phone(call, lease, intent.profile_id, given)
        return given
    if held is None:
        raise no_number("a channel needs a phone number, and the customer has none: give phone_number")
    if given not in {None, held}:
        raise no_number("the customer has another phone number; change_phone_number is the verb that changes it")
    return held


def no_number(message: str) -> InvalidIdentifierError:
    """Return the error for a channel that needs another phone number, or one at all."""
    return InvalidIdentifierError(message, identifier_kind=Kind.PHONE_NUMBER, rule="R18")


def _ask(
    call: Call, lease: Lease, intent: GiveIntent, own: Profile, phone_number: str | None, *, main: bool
) -> Flow[None]:
    """Send the request, by the profile's id alone where Klaviyo takes that."""

    def _again() -> Flow[Request]:
        # Consent is read again before each repeat: a withdrawal may have come in between (H30).
        yield from _readable(call, intent, is_first=False)
        return request

    request = _request(intent)
    try:
        yield from send(call, request, main=main, again=_again, lease=lease)
    except BadRequestError:
        # Klaviyo does not say whether a row may have the id alone. Each identifier that is carried instead is one that
        # the profile shows, of a channel that is given: any other would be set on the profile.
        request = _request(intent, own=own, phone_number=phone_number)
        yield from send(call, request, main=main, again=_again, lease=lease)
    _note_bounces(call, intent, own)
    if main and (intent.awaited or was_subscribed(own, (yield from Now()) - _PAUSE)):
        message = "Klaviyo may take one consent of a customer in half an hour: look at consent() later, or ask again"
        call.notice("subscribe_pause", None, message)


def _request(intent: GiveIntent, *, own: Profile | None = None, phone_number: str | None = None) -> Request:
    email = own.email if own is not None and "email" in intent.channels else None
    return subscribe_profile(
        intent.profile_id,
        intent.channels,
        intent.agreement,
        list_id=intent.list_id,
        email=email,
        phone_number=phone_number,
    )


def _note_bounces(call: Call, intent: GiveIntent, own: Profile) -> None:
    if "email" in intent.channels and not _BOUNCED.isdisjoint(channel_consent(own, "email").suppressions):
        call.notice("hard_bounced", Kind.EMAIL.value, "mail to this address has bounced, and Klaviyo sends none to it")


def withdrawn_since(
    call: Call, profile_id: str, since: float, channels: tuple[Channel, ...]
) -> Flow[tuple[Channel, ...]]:
    """Return the channels that a customer has withdrawn since a moment, as the profile's events say.

    Whether these events can be read, and when, is not confirmed. Where they cannot, nothing is concluded.
    """
    try:
        response = yield from send(call, get_events_since(profile_id, since))
        return withdrawn_in(read_event_names(response), channels)
    except (APIStatusError, APIConnectionError) as error:
        logger.info("%s: withdrawals since could not be read: %s", call.operation, type(error).__name__)
        return ()


def _withdraw_again(call: Call, lease: Lease, intent: GiveIntent) -> Flow[bool]:
    """Carry out again what the customer has withdrawn since the call, and a late subscription has lifted (H30).

    Returns:
        Whether there was such a withdrawal; the lease then stays open for it.
    """
    channels = yield from withdrawn_since(call, intent.profile_id, intent.asked_at, intent.channels)
    if intent.awaited_since is not None:
        earlier = yield from withdrawn_since(call, intent.profile_id, intent.awaited_since, intent.awaited)
        channels = tuple(dict.fromkeys((*channels, *earlier)))
    if not channels:
        return False
    instead = WithdrawIntent(
        job="unsubscribe",
        keys=intent.keys,
        external_ids=() if intent.external_id is None else (intent.external_id,),
        emails=(intent.email,),
        profile_ids=(intent.profile_id,),
        channels=channels,
        forced=True,
        asked_at=(yield from Now()),
    )
    # It is from now on what the customer has said last.
    yield from write_down(call, intent.keys, JournalEntry("unsubscribe", ",".join(channels)))
    yield from renew(call, lease, intent=instead.encode())
    yield from withdraw_under_lease(call, lease, instead)
    return True
