"""Notices: what went differently from what was asked, without harm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

NoticeCode: TypeAlias = Literal[
    "answer_unreadable", "consent_carried", "drift_adopted", "email_kept", "hard_bounced", "identifiers_differ",
    "key_unknown", "name_trimmed", "not_visible_yet", "orphan_left", "phone_differs", "phone_invalid",
    "phone_not_attached", "phone_taken", "profiles_left", "property_dropped", "put_back_repaired",
    "sms_consent", "subscribe_pause", "superseded", "unique_id_of_customer", "value_taken",
]  # fmt: skip
"""The words by which programs tell notices apart.

- A phone number (R14) is ``phone_invalid``, ``phone_taken`` (by another profile), ``phone_differs`` (from the one that
  was kept) or ``phone_not_attached`` this time; ``sms_consent`` may have gone with the former number.
- ``email_kept`` (R6), ``put_back_repaired`` and ``drift_adopted`` (R15), ``not_visible_yet`` in Klaviyo's search.
- What was given: ``property_dropped``, ``value_taken`` from a text or a property, ``name_trimmed``, ``key_unknown``
  (sent as it is), ``unique_id_of_customer`` (Klaviyo records one event with it).
- In Klaviyo a profile without an owner was left behind (``orphan_left``), or profiles of an erased customer that may be
  another person's (``profiles_left``).
- Consent: ``consent_carried`` from a former address to one that was never confirmed; ``identifiers_differ``: they are
  different customers', and the withdrawal was carried out for each (R19); ``hard_bounced``: Klaviyo sends nothing to
  the address although its owner allows it; ``subscribe_pause``: a second consent within half an hour may be passed
  over.
- The call was ``superseded`` by a later change; its answer was ``answer_unreadable``.
"""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that went differently from what was asked, without harm.

    Attributes:
        code: A stable word for programs.
        identifier_kind: The kind of identifier concerned, where one is.
        message: A sentence for people, without personal data.
        path: Where what it is about stood in the call, such as ``"customer_properties.tags[2]"``; None where it is
            about nothing that the call gave.
    """

    code: NoticeCode
    identifier_kind: str | None
    message: str
    path: str | None = None  # the last, so that a notice can still be built from the three above
