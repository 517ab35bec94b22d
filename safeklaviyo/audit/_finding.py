"""What an audit finds: a profile, or two, as the data showed them, and what is wrong."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias

from safeklaviyo.identity import masked

ShownConsent: TypeAlias = Literal["subscribed", "unsubscribed", "suppressed", "never_subscribed", "unknown"]

RULES: Final = {
    "A1": "id without email",
    "A2": "one email in two spellings",
    "A3": "one external id twice",
    "A4": "one phone number twice",
    "A5": "live profile on a former address",
    "A6": "map and Klaviyo disagree",
    "A7": "email-only twin of a customer",
    "A8": "plus and dot variants of an address",
    "A9": "placeholder in place of an identifier",
}
"""The findings by their numbers. A4 and A8 are shown and never planned: they may be two people."""


@dataclass(frozen=True, slots=True, repr=False)
class Shown:
    """One profile, as the data showed it. Its ``repr`` is masked.

    Attributes:
        profile_id: Klaviyo's id; None if the export has no column for it.
        line: The line of the export; None if Klaviyo itself was asked.
        name: First and last name.
        consent: The consent to email marketing. ``"suppressed"`` outranks a consent.
        sms: The consent to SMS marketing.
        created: When the profile was made, as the data write it.
        last_event: When the last event was, as the data write it.
    """

    profile_id: str | None = None
    line: int | None = None
    external_id: str | None = None
    email: str | None = None
    phone_number: str | None = None
    name: str | None = None
    consent: ShownConsent = "unknown"
    sms: ShownConsent = "unknown"
    created: str | None = None
    last_event: str | None = None

    def __repr__(self) -> str:
        return (
            f"Shown(profile_id={self.profile_id!r}, line={self.line!r}, external_id={masked(self.external_id)}, "
            f"email={masked(self.email)})"
        )


@dataclass(frozen=True, slots=True, repr=False)
class ShownBinding:
    """What the identity map says about a customer. Its ``repr`` is masked.

    Attributes:
        former: The addresses that the customer had before.
    """

    external_id: str | None = None
    email: str | None = None
    profile_id: str | None = None
    former: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"ShownBinding(external_id={masked(self.external_id)}, email={masked(self.email)})"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        key: A digest of the profiles and the rule, by which a later audit recognises the finding.
        rule: ``"A1"`` to ``"A9"``; `RULES` has their titles.
        profiles: One profile, or the two of a pair.
        why: Why it is a finding. Holds no personal data.
        why_not: What speaks against merging the two; empty if nothing does. Holds no personal data.
        safe: The rules of merges allow merging the two, and it costs no consent.
        binding: What the map says about the customer (A5, A6, A7).
        new: The baseline did not have the finding. Without a baseline every finding is new.
        merge: The ids of the two profiles that the plan merges, source first; None if the plan merges none.
    """

    key: str
    rule: str
    profiles: tuple[Shown, ...]
    why: str
    why_not: str = ""
    safe: bool = False
    binding: ShownBinding | None = None
    new: bool = True
    merge: tuple[str, str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON has it. Identifiers are not masked."""
        given = asdict(self)
        given["merge"] = None if self.merge is None else {"source": self.merge[0], "into": self.merge[1]}
        return given
