"""Consent as JSON:API documents (Klaviyo's *Get Profile* reference, the field ``subscriptions``)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from safeklaviyo.testing.simulator.records import EMAIL_MARKETING, JSON, NO_CONSENT, SMS_MARKETING, SUBSCRIBED

if TYPE_CHECKING:
    from safeklaviyo.testing.simulator.records import Consent, Profile, Suppression

_CAN_RECEIVE = {
    SMS_MARKETING: "can_receive_sms_marketing",
    "sms.transactional": "can_receive_sms_transactional",
    "push.marketing": "can_receive_push_marketing",
}


def moment(seconds: float | None) -> str | None:
    """Return unix seconds as Klaviyo writes times, with microseconds and an offset."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def subscriptions(profile: Profile) -> JSON:
    """Return what a profile consented to, by channel. WhatsApp is null where nothing was ever said about it."""
    said = profile.consents
    whatsapp = {kind: _whatsapp(profile, kind) for kind in ("marketing", "transactional", "conversational")}
    push = said.get("push.marketing", NO_CONSENT)
    return {
        "email": {
            "marketing": _email(profile),
            "open_tracking": _tracking(),
            "click_tracking": _tracking(),
        },
        "sms": {
            "marketing": _text(profile, SMS_MARKETING),
            "transactional": _text(profile, "sms.transactional"),
        },
        "mobile_push": {
            "marketing": {
                "can_receive_push_marketing": push.status == SUBSCRIBED,
                "consent": push.status,
                "consent_timestamp": moment(push.at),
            }
        },
        "whatsapp": whatsapp if any(channel.startswith("whatsapp.") for channel in said) else None,
    }


def _email(profile: Profile) -> JSON:
    consent = profile.consents.get(EMAIL_MARKETING, NO_CONSENT)
    general = [each for each in profile.suppressions if each.list_id is None]
    listed = [each for each in profile.suppressions if each.list_id is not None]
    return {
        # Without regard to the consent: a person who was never asked can receive, until a suppression says otherwise.
        "can_receive_email_marketing": not general,
        **_common(consent),
        "method_detail": "",
        "custom_method_detail": consent.source,
        "double_optin": consent.double_opt_in,
        "suppression": [_suppression(each) for each in general],
        "list_suppressions": [{"list_id": each.list_id, **_suppression(each)} for each in listed],
    }


def _text(profile: Profile, channel: str) -> JSON:
    consent = profile.consents.get(channel, NO_CONSENT)
    return {
        _CAN_RECEIVE[channel]: consent.status == SUBSCRIBED,
        **_common(consent),
        "method_detail": consent.source or "",
    }


def _common(consent: Consent) -> JSON:
    return {
        "consent": consent.status,
        "consent_timestamp": moment(consent.at),
        "last_updated": moment(consent.updated),
        "method": consent.method,
    }


def _whatsapp(profile: Profile, kind: str) -> JSON:
    consent = profile.consents.get(f"whatsapp.{kind}", NO_CONSENT)
    return {**_tracking(consent), "phone_number": profile.phone_number if consent is not NO_CONSENT else None}


def _tracking(consent: Consent = NO_CONSENT) -> JSON:
    return {
        "consent": consent.status,
        "consent_timestamp": moment(consent.at),
        "last_updated": moment(consent.updated),
        "created_timestamp": moment(consent.at),
        "metadata": None,
        "can_receive": consent.status == SUBSCRIBED,
        "valid_until": None,
    }


def _suppression(suppression: Suppression) -> JSON:
    return {"reason": suppression.reason, "timestamp": moment(suppression.at)}
