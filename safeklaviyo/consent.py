"""Consent: the channels that a customer may allow, and what the consent verbs return. Personal data is masked.

Klaviyo keeps consent with a profile, and so with one address and one number. The rules for giving and withdrawing it
(R18, R19) are in `_rules.consent`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from safeklaviyo.notices import Notice

Channel: TypeAlias = Literal["email", "sms", "sms_transactional", "whatsapp", "whatsapp_transactional"]
"""What a customer can allow: marketing by email, SMS or WhatsApp, and messages about an order by SMS or WhatsApp.

Push and tracking consent are not covered; `Klaviyo.request` carries such calls.
"""

ConsentStatus: TypeAlias = Literal["subscribed", "unsubscribed", "never_subscribed", "unknown"]
"""What Klaviyo says about one channel; ``"unknown"`` where it says nothing, or a word that is not known here."""


@dataclass(frozen=True, slots=True)
class ConsentChange:
    """What `subscribe`, `unsubscribe`, `suppress` or `unsuppress` did.

    Klaviyo carries such a request out some minutes after it has accepted it.

    Attributes:
        status: One of
            ``"accepted"``: Klaviyo has accepted the request;
            ``"confirmation_expected"``: so it has, and the list asks the customer to confirm by a link (double opt-in).
            Until then Klaviyo shows ``"never_subscribed"``. The account's own default cannot be read, so without a list
            the status is ``"accepted"`` either way;
            ``"unchanged"``: everything was so already, or no profile was concerned, and nothing was sent.
        channels: The channels concerned.
        profile_ids: The profiles concerned, the customer's own first. Withdrawing reaches profiles on former addresses.
        rule: The rule that decided: ``"R18"`` or ``"R19"``.
        warnings: What went differently.
    """

    status: Literal["accepted", "confirmation_expected", "unchanged"]
    channels: tuple[Channel, ...]
    profile_ids: tuple[str, ...]
    rule: str
    warnings: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class ChannelConsent:
    """What Klaviyo says about one channel of one profile.

    Attributes:
        status: What the customer has said.
        can_receive: Klaviyo would send. A profile that was never subscribed can receive email until it is suppressed.
        changed_at: When that was recorded, in UTC; None where Klaviyo does not say.
        source: How it was recorded, in Klaviyo's words, such as ``"API"`` or ``"PREFERENCE_PAGE"``.
        suppressions: Why email is suppressed, in Klaviyo's words, such as ``"UNSUBSCRIBE"`` or ``"HARD_BOUNCE"``.
    """

    status: ConsentStatus
    can_receive: bool
    changed_at: datetime | None = None
    source: str | None = None
    suppressions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Consent:
    """What Klaviyo says about a customer's consent.

    Attributes:
        profile_id: The customer's profile; None if they have none, and then `channels` is empty.
        channels: By channel.
        also_on: Profiles on former addresses of the customer that are alive. `unsubscribe` reaches them too.
    """

    profile_id: str | None
    channels: Mapping[Channel, ChannelConsent] = field(default_factory=dict[Channel, ChannelConsent])
    also_on: tuple[str, ...] = ()
