"""What a profile consented to, and what changes it: subscriptions, withdrawals, suppressions, merges.

Decided here (Klaviyo's help centre, on suppressed profiles and on merging; its *Bulk Subscribe Profiles* reference):

- a subscription to email lifts the suppressions of a withdrawal, a spam report and an operator, and no bounce;
- a withdrawal from email is a suppression too;
- what belongs to a phone number ends with the number;
- in a merge the withdrawal of either profile wins over the consent of the other (F-14).

Not here: which profile a job means (`consent_jobs`), how consent is shown (`consent_documents`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from safeklaviyo.testing.simulator.records import (
    EMAIL_MARKETING,
    NEVER_SUBSCRIBED,
    NO_CONSENT,
    UNSUBSCRIBE,
    UNSUBSCRIBED,
    USER_SUPPRESSED,
    Consent,
    Profile,
    Suppression,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

SPAM_COMPLAINT = "SPAM_COMPLAINT"
BY_API = "API"

_LIFTED = frozenset({UNSUBSCRIBE, SPAM_COMPLAINT, USER_SUPPRESSED})
_OF_PHONES = ("sms.", "whatsapp.")


def started(profile: Profile, statuses: Mapping[str, str], *, suppressed: bool) -> Profile:
    """Return a new profile as a test wants it.

    Args:
        statuses: By channel.
    """
    now = profile.created
    if suppressed:
        profile = with_suppression(profile, USER_SUPPRESSED, now)
    for channel, status in statuses.items():
        if status == UNSUBSCRIBED:
            profile = withdrawn(profile, channel, now)
        elif status != NEVER_SUBSCRIBED:
            profile = consented(profile, channel, Consent(status, now, now, BY_API), lifts=False)
    return profile


def consented(profile: Profile, channel: str, consent: Consent, *, lifts: bool = True) -> Profile:
    """Return a profile after a consent.

    Args:
        lifts: Whether the consent lifts what kept email from it.
    """
    kept = profile.suppressions
    if lifts and channel == EMAIL_MARKETING:
        kept = tuple(each for each in kept if each.reason not in _LIFTED)
    return replace(profile, consents={**profile.consents, channel: consent}, suppressions=kept)


def withdrawn(profile: Profile, channel: str, at: float, method: str = BY_API) -> Profile:
    """Return a profile after a withdrawal. A second one changes nothing."""
    if profile.consents.get(channel, NO_CONSENT).status != UNSUBSCRIBED:
        consent = Consent(UNSUBSCRIBED, at, at, method)
        profile = replace(profile, consents={**profile.consents, channel: consent})
    return with_suppression(profile, UNSUBSCRIBE, at) if channel == EMAIL_MARKETING else profile


def with_suppression(profile: Profile, reason: str, at: float, list_id: str | None = None) -> Profile:
    """Return a profile to which no email goes, or none of a list, for one reason more."""
    if any((reason, list_id) == (each.reason, each.list_id) for each in profile.suppressions):
        return profile
    return replace(profile, suppressions=(*profile.suppressions, Suppression(reason, at, list_id)))


def without_suppression(profile: Profile, reason: str) -> Profile:
    """Return a profile without what one reason kept from it."""
    return replace(profile, suppressions=tuple(each for each in profile.suppressions if each.reason != reason))


def without_phone(consents: Mapping[str, Consent]) -> Mapping[str, Consent]:
    """Return the consents that stay when the phone number changes."""
    return {channel: each for channel, each in consents.items() if not channel.startswith(_OF_PHONES)}


def united_consents(source: Profile, destination: Profile) -> Mapping[str, Consent]:
    """Return the consents of two profiles that become one."""
    channels = {**source.consents, **destination.consents}
    return {channel: _united(source.consents.get(channel), destination.consents.get(channel)) for channel in channels}


def united_suppressions(source: Profile, destination: Profile) -> tuple[Suppression, ...]:
    """Return the suppressions of two profiles that become one."""
    for each in source.suppressions:
        destination = with_suppression(destination, each.reason, each.at, each.list_id)
    return destination.suppressions


def _united(source: Consent | None, destination: Consent | None) -> Consent:
    # `min` keeps the first of equals: without a withdrawal the destination's consent stays.
    both = [each for each in (destination, source) if each is not None]
    return min(both, key=lambda each: each.status != UNSUBSCRIBED)
