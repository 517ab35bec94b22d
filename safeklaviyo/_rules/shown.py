"""What a profile shows, in the form in which identifiers are compared, and how that differs from the map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from safeklaviyo.errors import InvalidIdentifierError
from safeklaviyo.identity import Kind, comparable_email, normalise_phone_number

if TYPE_CHECKING:
    from collections.abc import Collection

    from safeklaviyo.models import Binding, Profile

PAIR: Final = (Kind.EMAIL, Kind.EXTERNAL_ID)
"""What the map always knows of a customer. A phone number is compared only where this library has written it."""


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


def differences(binding: Binding, profile: Profile, kinds: Collection[Kind] = PAIR) -> dict[Kind, str | None]:
    """Return the identifiers in which a profile differs from a binding, each with the value that the binding has.

    Args:
        kinds: The kinds to compare, in the order of the result.
    """
    values = {
        Kind.EMAIL: (binding.email, email_of(profile)),
        Kind.EXTERNAL_ID: (binding.external_id, profile.external_id),
        Kind.PHONE_NUMBER: (binding.phone_number, phone_of(profile)),
    }
    return {kind: values[kind][0] for kind in kinds if values[kind][0] != values[kind][1]}
