"""What a profile shows, in the form in which identifiers are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo.errors import InvalidIdentifierError
from safeklaviyo.identity import comparable_email, normalise_phone_number

if TYPE_CHECKING:
    from safeklaviyo.models import Profile


def has_email(profile: Profile, email: str | None) -> bool:
    """Tell whether the profile's address is this one, however Klaviyo writes it."""
    return email is not None and email_of(profile) == email


def email_of(profile: Profile) -> str | None:
    """Return the profile's address in the form in which addresses are compared."""
    return None if profile.email is None else (comparable_email(profile.email) or None)


def phone_of(profile: Profile) -> str | None:
    """Return the profile's phone number in the form in which numbers are compared; old profiles hold other forms."""
    if profile.phone_number is None:
        return None
    try:
        return normalise_phone_number(profile.phone_number)
    except InvalidIdentifierError:
        return profile.phone_number
