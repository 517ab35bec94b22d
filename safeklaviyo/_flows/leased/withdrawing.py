"""Withdrawing consent under a lease (R19): whom it reaches, the request, and whether Klaviyo has carried it out.

Klaviyo accepts the request, and carries it out minutes later, by address. An address that changes hands in between
would be unsubscribed for its next owner, or be created again while the customer stays subscribed (H26). So the lease
stays, and its intent with it, until a profile that is read by its id shows the effect.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from safeklaviyo._api.consent import MOST_WITHDRAWN, Addressee, suppress_profiles, unsubscribe_profiles
from safeklaviyo._effects import Flow, Now
from safeklaviyo._flows.call import Call, release, renew, send
from safeklaviyo._flows.identity.absence import confirm_gone
from safeklaviyo._flows.identity.reads import Evidence
from safeklaviyo._flows.leased.kept_open import keep_open
from safeklaviyo._flows.leased.living import is_in_list, living_with, others_own
from safeklaviyo._input.consents import BY_PHONE
from safeklaviyo._rules.consent import is_suppressed, is_withdrawn
from safeklaviyo._rules.shown import has_email, phone_of
from safeklaviyo.errors import SafeKlaviyoError
from safeklaviyo.identity import Identifier, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo._api.messages import Request
    from safeklaviyo._flows.leased.intents import WithdrawIntent
    from safeklaviyo.consent import Channel
    from safeklaviyo.models import Profile
    from safeklaviyo.stores.base import Lease

_MOST_ASKED = 3
"""How often Klaviyo is asked for one withdrawal, each time `Policy.consent_wait` after it accepted the one before."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What a withdrawal has concluded.

    Attributes:
        status: ``"accepted"`` by Klaviyo, or ``"unchanged"``: there was nothing to withdraw.
        profile_ids: The profiles that it reaches.
        is_shown: Klaviyo shows that it is done.
    """

    status: Literal["accepted", "unchanged"]
    profile_ids: tuple[str, ...]
    is_shown: bool


class _NothingLeft(SafeKlaviyoError):  # noqa: N818 - no failure: what was to be sent once more is done
    """What was to be sent once more is done already, or its address is gone. Never leaves this module."""


def withdraw_under_lease(call: Call, lease: Lease, intent: WithdrawIntent, *, main: bool = False) -> Flow[Withdrawn]:
    """Ask Klaviyo for the withdrawal, and leave the lease open until it is done; or look whether it is done.

    Raises:
        LeaseLostError: Another call took the lease over.
        ProfileNotVisibleError: Klaviyo does not show the customer's own profile now; what it shows was withdrawn.
    """
    # Step 1: read who is reached now, and what is left to withdraw of them.
    reached = yield from _reached(call, intent)
    left = yield from _left_of(call, intent, reached.values())
    # Step 2: ask for that, once. What follows only looks; a call that makes the same withdrawal again, or a wider one,
    # asks for what Klaviyo has not accepted before.
    is_asked = intent.accepted_at is not None
    unasked = _unsent(intent, left) if main or not is_asked else []
    if main or not is_asked:
        intent = replace(intent, profile_ids=tuple(dict.fromkeys((*intent.profile_ids, *reached))))
    for first in range(0, len(unasked), MOST_WITHDRAWN):
        yield from _ask(call, lease, intent, unasked[first : first + MOST_WITHDRAWN], main=main)
    if unasked:
        # If this call fails from here on, lease and intent stay, so that another call looks.
        call.writes.doubtful(main=False)
        asked = 1 if main else intent.asked + 1
        sent = dict.fromkeys((*intent.sent, *(word for each in unasked for word in _words(each))))
        intent = replace(intent, accepted_at=(yield from Now()), asked=asked, sent=tuple(sent))
    # Step 3: end, or leave the lease to the next call that looks.
    if left:
        yield from keep_open(call, lease, intent)
    for profile_id in sorted(reached.missing):
        # It may be gone, or not visible now: only the first lets this withdrawal count as whole.
        yield from confirm_gone(call, profile_id, email=intent.email)
    if not left:
        yield from release(call, lease)
    return Withdrawn("accepted" if left or is_asked else "unchanged", tuple(reached), is_shown=not left)


def withdraw_without_map(call: Call, intent: WithdrawIntent) -> Flow[None]:
    """Withdraw what living profiles with the very identifiers given could receive, while the map is away (R19).

    This is the one write without the map's answer (P6): a withdrawal cannot wait, and gives no profile away.
    """
    names = [Identifier(Kind.EMAIL, intent.given_email)] if intent.given_email is not None else []
    if intent.given_phone_number is not None:
        names.append(Identifier(Kind.PHONE_NUMBER, intent.given_phone_number))
    living = yield from living_with(call, names)
    reached = [profile for profile in living.values() if _is_given(intent, profile)]
    left = yield from _left_of(call, intent, reached)
    for first in range(0, len(left), MOST_WITHDRAWN):
        yield from send(call, _request(intent, left[first : first + MOST_WITHDRAWN]), main=True)


def finish_withdrawal(
    call: Call, lease: Lease, intent: WithdrawIntent
) -> Flow[Literal["completed", "accepted", "failed"]]:
    """Finish the withdrawal of a lease that was taken over."""
    if intent.accepted_at is not None and (yield from Now()) - intent.accepted_at >= call.policy.consent_wait:
        # Klaviyo has accepted it and does not show it. The journal keeps it for `recheck_changes` beyond these tries.
        if intent.asked >= _MOST_ASKED:
            yield from release(call, lease)
            return "failed"
        # By now an earlier consent has been carried out as well, so that what Klaviyo shows counts.
        intent = replace(intent, accepted_at=None, forced=False, sent=())
    done = yield from withdraw_under_lease(call, lease, intent)
    return "completed" if done.is_shown else "accepted"


def _reached(call: Call, intent: WithdrawIntent) -> Flow[Evidence]:
    """Return the profiles that a withdrawal reaches, and which ids of such profiles Klaviyo does not show."""
    names = [Identifier(Kind.EMAIL, email) for email in intent.emails]
    if intent.given_phone_number is not None:
        names.append(Identifier(Kind.PHONE_NUMBER, intent.given_phone_number))
    found = yield from living_with(call, () if intent.alone else names, also=intent.profile_ids)
    reached = Evidence()
    reached.missing = found.missing
    for profile in found.values():
        if _is_given(intent, profile) or (yield from _is_theirs(call, intent, profile)):
            reached[profile.id] = profile
        elif profile.id not in intent.profile_ids:
            call.notice("profiles_left", None, "another customer's profile shows a former address, and was left alone")
    return reached


def _is_given(intent: WithdrawIntent, profile: Profile) -> bool:
    """Tell whether a profile has the very identifier that the caller gave."""
    has_phone = intent.given_phone_number is not None and phone_of(profile) == intent.given_phone_number
    return has_phone or has_email(profile, intent.given_email)


def _is_theirs(call: Call, intent: WithdrawIntent, profile: Profile) -> Flow[bool]:
    """Tell whether a profile is the customer's: by the map, or by a former address and no other customer's id."""
    if (yield from others_own(call, profile, intent.keys)):
        return False
    return profile.id in intent.profile_ids or profile.external_id in {None, *intent.external_ids}


def _left_of(call: Call, intent: WithdrawIntent, reached: Iterable[Profile]) -> Flow[list[Addressee]]:
    """Return what is still to be withdrawn, by the addresses and numbers that the profiles show."""
    left: dict[Addressee, None] = {}
    for profile in reached:
        addressees = tuple(_addressees(intent, profile))
        # Klaviyo unsubscribes a profile that is not in the list from everything. So membership is read first.
        is_spared = bool(addressees) and intent.list_id is not None
        if is_spared and not (yield from is_in_list(call, str(intent.list_id), profile)):
            continue
        left.update(dict.fromkeys(addressees))
    return list(left)


def _addressees(intent: WithdrawIntent, profile: Profile) -> Iterable[Addressee]:
    if intent.job != "unsubscribe":
        # Each address as Klaviyo shows it, because Klaviyo does not say how it compares spellings.
        if profile.email is not None and (intent.forced or is_suppressed(profile) == (intent.job == "unsuppress")):
            yield Addressee(("email",), email=profile.email)
        return
    # A member of the list can be withdrawn from it even where nothing else can be received.
    is_due = intent.forced or intent.list_id is not None
    due = tuple(channel for channel in intent.channels if is_due or not is_withdrawn(profile, channel))
    if "email" in due and profile.email is not None:
        yield Addressee(("email",), email=profile.email)
    by_phone: tuple[Channel, ...] = tuple(channel for channel in due if channel in BY_PHONE)
    if by_phone and profile.phone_number is not None:
        yield Addressee(by_phone, phone_number=profile.phone_number)


def _unsent(intent: WithdrawIntent, left: Iterable[Addressee]) -> list[Addressee]:
    """Return what of this Klaviyo has not accepted before, under this intent or one that it has joined.

    Of two accepted requests that say the same, the second is carried out after the first shows its effect, and so over
    a consent that the customer gives in between.
    """
    unsent: list[Addressee] = []
    for each in left:
        channels = tuple(channel for channel in each.channels if _word(channel, each) not in intent.sent)
        if channels:
            unsent.append(replace(each, channels=channels))
    return unsent


def _words(addressee: Addressee) -> Iterable[str]:
    return (_word(channel, addressee) for channel in addressee.channels)


def _word(channel: Channel, addressee: Addressee) -> str:
    return f"{channel}:{addressee.email or addressee.phone_number}"


def _ask(call: Call, lease: Lease, intent: WithdrawIntent, some: list[Addressee], *, main: bool) -> Flow[None]:
    """Send one request, rebuilt before each repeat from what living profiles show then."""

    def _again() -> Flow[Request]:
        reached = yield from _reached(call, intent)
        fresh = yield from _left_of(call, intent, reached.values())
        still = [each for each in _unsent(intent, fresh) if each in some]
        if not still:
            raise _NothingLeft
        return _request(intent, still)

    try:
        yield from send(call, _request(intent, some), main=main, again=_again, lease=lease)
    except _NothingLeft:
        call.writes.applied(main=main)
        yield from renew(call, lease)


def _request(intent: WithdrawIntent, addressees: Iterable[Addressee]) -> Request:
    if intent.job == "unsubscribe":
        return unsubscribe_profiles(addressees, list_id=intent.list_id)
    emails = [each.email for each in addressees if each.email is not None]
    return suppress_profiles(emails, lift=intent.job == "unsuppress")
