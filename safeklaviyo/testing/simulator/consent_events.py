"""The events that Klaviyo records of its own when a consent changes, in one reading (its help centre, on its metrics).

Whether they can be read by *Get Events*, and when, is not confirmed. So a client has to be right with and without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from safeklaviyo.testing.simulator.consents import SPAM_COMPLAINT
from safeklaviyo.testing.simulator.records import (
    EMAIL_MARKETING,
    NO_CONSENT,
    SMS_MARKETING,
    SUBSCRIBED,
    UNSUBSCRIBED,
    Event,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.records import Profile

_MEDIA: Final = {EMAIL_MARKETING: "Email", SMS_MARKETING: "SMS"}
_WORDS: Final = {SUBSCRIBED: "Subscribed to", UNSUBSCRIBED: "Unsubscribed from"}


def put_consent(account: Account, before: Profile, after: Profile) -> Profile:
    """Store a profile with a changed consent, and record the event of the change."""
    account.put(after)
    if account.readings.consent_events:
        now = int(account.clock.now())
        for metric in _metrics(before, after):
            account.record(Event(account.event_id(), after.id, metric, None, now))
    return after


def _metrics(before: Profile, after: Profile) -> Iterator[str]:
    for channel, medium in _MEDIA.items():
        was, now = (each.consents.get(channel, NO_CONSENT) for each in (before, after))
        if now != was and now.status in _WORDS:
            yield f"{_WORDS[now.status]} {medium} Marketing"
    # A spam report is a suppression, and an event of its own, once.
    reported = [any(each.reason == SPAM_COMPLAINT for each in profile.suppressions) for profile in (before, after)]
    if reported == [False, True]:
        yield "Marked Email as Spam"
