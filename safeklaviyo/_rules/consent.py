"""Consent: what may be given (R18), whom a withdrawal reaches (R19), and when either is done. Pure functions.

    R18  Giving fails closed. The request names the profile by its id. What a customer has withdrawn is not given back
         unasked: `ConsentWithdrawnError`, unless the customer agreed after that (`consented_at`), or the caller says
         ``resubscribe=True``, which lifts only what was withdrawn before the call. A spam report, a STOP by text
         message, a suppression by hand, and every import (``historical``) give way to ``resubscribe=True`` alone. What
         a profile on a former address has withdrawn, its customer has withdrawn.
    R19  Withdrawing reaches every living profile of the customer: the address that the customer's profile shows, every
         former address, and the identifier given, where a living profile has it. Never an address without a profile,
         because Klaviyo would create a profile for it. It is not refused for any doubt about the customer.

A withdrawal is done when Klaviyo would no longer send. A profile that never subscribed is not enough: it can
receive email.

Sources: Klaviyo's OpenAPI description of the four jobs and of a profile's ``subscriptions``; its help on suppressions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

from safeklaviyo._api.consent import said_of
from safeklaviyo._input.consents import BY_PHONE, CHANNELS
from safeklaviyo.consent import Channel, ChannelConsent, ConsentStatus
from safeklaviyo.policy import DAY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from safeklaviyo._input.consents import Agreement
    from safeklaviyo.models import Profile

USER_SUPPRESSED: Final = "USER_SUPPRESSED"
CONSENT_WORDS: Final = frozenset({"subscribe", "unsubscribe", "suppress", "unsuppress"})
"""The words of the journal that are about consent."""
_CONSENT_VERBS: Final = frozenset({"subscribe", "withdraw"})

_STATUSES: Final[dict[object, ConsentStatus]] = {
    "SUBSCRIBED": "subscribed",
    "UNSUBSCRIBED": "unsubscribed",
    "NEVER_SUBSCRIBED": "never_subscribed",
}
_CAN_RECEIVE: Final = (
    "can_receive", "can_receive_email_marketing", "can_receive_sms_marketing", "can_receive_sms_transactional",
)  # fmt: skip
# The request's description says SPAM_REPORT where a profile shows SPAM_COMPLAINT.
_WITHDRAWING: Final = frozenset({"UNSUBSCRIBE", "SPAM_REPORT", "SPAM_COMPLAINT", USER_SUPPRESSED})
_FOR_GOOD: Final = frozenset({"SPAM_REPORT", "SPAM_COMPLAINT", USER_SUPPRESSED})
"""Ways of withdrawing that no date of a consent outweighs."""
BY_API: Final = "API"
_GIVING: Final = frozenset({"subscribe", "unsuppress"})
_SPAM: Final = "marked email as spam"
_UNSUBSCRIBED: Final = "unsubscribed"


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """That a customer has withdrawn a channel.

    Attributes:
        at: When, in unix seconds; None where Klaviyo does not say.
        reason: How, in Klaviyo's words; None where it does not say.
    """

    channel: Channel
    at: float | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Said:
    """What a customer has said last about some channels, by the journal.

    Attributes:
        verb: The verb that carried it out.
        at: When, in unix seconds.
        given_at: When a call of this library gave the same consent before, if one did within a day.
    """

    verb: str
    at: float
    channels: tuple[Channel, ...]
    list_id: str | None = None
    given_at: float | None = None

    @property
    def is_given(self) -> bool:
        """Whether it gives consent, or gives back what was suppressed."""
        return self.verb in _GIVING

    def withdrawn(self, channels: tuple[Channel, ...], at: float) -> Said:
        """Return that these channels were withdrawn, after this consent."""
        return Said("unsubscribe", at, channels, None, self.at)


def latest(rows: Iterable[tuple[float, str, tuple[Channel, ...], str | None]]) -> list[Said]:
    """Return what stands last, for each channel and each list, of what a customer has said.

    Args:
        rows: For each time: when, the verb, the channels and the list.
    """
    last: dict[tuple[Channel, str | None, bool], tuple[float, str]] = {}
    given: dict[Channel, float] = {}
    for at, verb, channels, list_id in sorted(rows, key=lambda row: row[0]):
        is_suppression = verb.endswith("suppress")
        for channel in channels:
            last[channel, list_id, is_suppression] = (at, verb)
            if verb == "subscribe":
                given[channel] = at
                # A new consent answers every withdrawal before it, of one list or of all.
                for key in [each for each in last if each[0] == channel and each[1] != list_id]:
                    if key[1] is None or list_id is None:
                        del last[key]
    said: dict[tuple[float, str, str | None], list[Channel]] = {}
    for (channel, list_id, _), (at, verb) in last.items():
        said.setdefault((at, verb, list_id), []).append(channel)
    return [
        Said(verb, at, tuple(channels), list_id, max((given[each] for each in channels if each in given), default=None))
        for (at, verb, list_id), channels in said.items()
    ]


def still_reached(profile: Profile, channels: Iterable[Channel]) -> tuple[Channel, ...]:
    """Return the channels by which Klaviyo would still send to a profile, as far as it has an address for them."""
    return tuple(
        channel
        for channel in channels
        if (profile.email if channel == "email" else profile.phone_number) is not None
        and not is_withdrawn(profile, channel)
    )


def is_newer(profile: Profile, channel: Channel, said: Said) -> bool:
    """Tell whether a profile was subscribed after a withdrawal, and not by a call of this library from before it."""
    consent = channel_consent(profile, channel)
    changed = _stamp(consent.changed_at)
    if consent.status != "subscribed" or changed is None or changed <= said.at:
        return False
    # An older call of ours, which Klaviyo has carried out late.
    is_ours = said.given_at is not None and said.given_at <= said.at and changed - said.given_at < DAY
    return not (consent.source == BY_API and is_ours)


def lets_pass(intent: str) -> bool:
    """Tell whether calls that only name a profile by its id go on beside the lease with this intent.

    Klaviyo may take minutes for consent, or for a merge that it has accepted. Those calls change nothing that the
    holder of the lease relies on.
    """
    try:
        said = cast("object", json.loads(intent))
    except ValueError:
        return False
    fields = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
    return fields.get("verb") in _CONSENT_VERBS or (fields.get("verb") == "merge" and "accepted_at" in fields)


def channel_consent(profile: Profile, channel: Channel) -> ChannelConsent:
    """Return what a profile, which was read with its consent, shows of one channel."""
    said = said_of(profile.subscriptions, channel)
    if said is None:
        return ChannelConsent("unknown", can_receive=True)
    if not said:
        return ChannelConsent("never_subscribed", can_receive=False)
    suppressions = tuple(reason for reason, _ in _suppressions(said))
    # Where Klaviyo does not say, it may send: a withdrawal then goes on, and is not taken for done.
    can_receive = next((said[name] for name in _CAN_RECEIVE if isinstance(said.get(name), bool)), True)
    source = said.get("method")
    return ChannelConsent(
        _STATUSES.get(said.get("consent"), "unknown"),
        can_receive=can_receive and not suppressions,
        changed_at=_moment(said.get("consent_timestamp")) or _moment(said.get("last_updated")),
        source=source if isinstance(source, str) else None,
        suppressions=suppressions,
    )


def all_channels(profile: Profile) -> dict[Channel, ChannelConsent]:
    """Return what a profile shows of each channel."""
    return {channel: channel_consent(profile, channel) for channel in CHANNELS}


def withdrawals(profile: Profile, channels: Iterable[Channel], list_id: str | None = None) -> tuple[Withdrawal, ...]:
    """Return what the customer has withdrawn of these channels, as one profile shows it.

    Args:
        list_id: The list that is to be joined, which the customer may have left.
    """
    found: list[Withdrawal] = []
    for channel in channels:
        said = said_of(profile.subscriptions, channel) or {}
        reasons = [(reason, at) for reason, at in _suppressions(said) if reason in _WITHDRAWING]
        reasons += _suppressions(said, list_id) if list_id is not None else []
        if reasons:
            # The gravest, because that one decides.
            reason, at = max(reasons, key=lambda each: (each[0] in _FOR_GOOD, _stamp(each[1]) or 0.0))
            found.append(Withdrawal(channel, _stamp(at), reason))
        elif said.get("consent") == "UNSUBSCRIBED":
            at = _moment(said.get("last_updated")) or _moment(said.get("consent_timestamp"))
            method = said.get("method")
            found.append(Withdrawal(channel, _stamp(at), method if isinstance(method, str) else None))
    return tuple(found)


def in_the_way(
    found: Iterable[Withdrawal], agreement: Agreement, *, asked_at: float, is_first: bool
) -> Withdrawal | None:
    """Return a withdrawal that this consent does not lift (R18); None if it may be given.

    Args:
        asked_at: When the call was made: what was withdrawn later stays withdrawn (H30).
        is_first: This is the first look of the call that was asked. One that comes later cannot tell whether a
            withdrawal without a time is an older one.
    """
    return next((each for each in found if not _is_lifted(each, agreement, asked_at, is_first=is_first)), None)


def what_lifts(withdrawn: Withdrawal, agreement: Agreement) -> str:
    """Return what a caller can do about a withdrawal that stands in the way, as the end of a sentence."""
    if agreement.resubscribe:
        return "it came after this call was made, and stays"
    if agreement.historical or _is_for_good(withdrawn) or withdrawn.at is None:
        return "ask again, then give resubscribe=True, which alone lifts it"
    if agreement.consented_at is not None:
        return "it is newer than the consented_at given; ask again, and give the time of the new consent"
    return "ask again, then give consented_at or resubscribe=True"


def _is_for_good(withdrawn: Withdrawal) -> bool:
    # How Klaviyo names a STOP by text message is not confirmed: what no program has withdrawn counts as one.
    is_stop = withdrawn.channel in BY_PHONE and withdrawn.reason != BY_API
    return is_stop or withdrawn.reason in _FOR_GOOD


def _is_lifted(withdrawn: Withdrawal, agreement: Agreement, asked_at: float, *, is_first: bool) -> bool:
    if agreement.resubscribe:
        return is_first if withdrawn.at is None else withdrawn.at < asked_at
    if agreement.historical or _is_for_good(withdrawn) or withdrawn.at is None:
        return False
    # The caller's clock may be ahead; what came after the call was made stays all the same.
    return agreement.consented_at is not None and min(agreement.consented_at, asked_at) > withdrawn.at


def is_given(profile: Profile, channels: Iterable[Channel]) -> bool:
    """Tell whether a profile shows consent for all these channels, and no withdrawal beside it.

    A spam report and a suppression by hand leave the consent as it was.
    """
    wanted = tuple(channels)
    subscribed = all(channel_consent(profile, channel).status == "subscribed" for channel in wanted)
    return subscribed and not withdrawals(profile, wanted)


def was_subscribed(profile: Profile, since: float) -> bool:
    """Tell whether a profile shows that it was subscribed to anything since a moment."""
    shown = all_channels(profile).values()
    return any(each.status == "subscribed" and (_stamp(each.changed_at) or 0.0) > since for each in shown)


def is_withdrawn(profile: Profile, channel: Channel) -> bool:
    """Tell whether Klaviyo sends nothing more by this channel to a profile."""
    return not channel_consent(profile, channel).can_receive


def is_suppressed(profile: Profile) -> bool:
    """Tell whether a profile is suppressed by hand."""
    return USER_SUPPRESSED in channel_consent(profile, "email").suppressions


def withdrawn_in(names: Iterable[str], channels: Collection[Channel]) -> tuple[Channel, ...]:
    """Return the channels that events of these names say were withdrawn.

    Klaviyo's own metrics are called "Unsubscribed from Email Marketing", "Unsubscribed from SMS Marketing", "Marked
    Email as Spam" and the like.
    """
    said: set[Channel] = set()
    for name in (each.casefold() for each in names):
        if _SPAM in name:
            said.add("email")
        elif _UNSUBSCRIBED in name:
            medium = "sms" if "sms" in name else "whatsapp" if "whatsapp" in name else "email"
            said.update(channel for channel in channels if channel.startswith(medium))
    return tuple(channel for channel in channels if channel in said)


def _suppressions(said: dict[str, Any], list_id: str | None = None) -> list[tuple[str, datetime | None]]:
    """Return the reasons for which email is suppressed, and since when: all of it, or that of one list."""
    listed = said.get("suppression" if list_id is None else "list_suppressions")
    rows = cast("list[object]", listed) if isinstance(listed, list) else []
    found: list[tuple[str, datetime | None]] = []
    for row in rows:
        fields = cast("dict[str, Any]", row) if isinstance(row, dict) else {}
        reason = fields.get("reason")
        if isinstance(reason, str) and list_id in {None, fields.get("list_id")}:
            found.append((reason, _moment(fields.get("timestamp"))))
    return found


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _stamp(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
