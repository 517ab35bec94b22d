"""Phone numbers as callers give them: in E.164 form, or as they are dialled within the shop's own country."""

from __future__ import annotations

import re
from typing import Final

from safeklaviyo.errors import InvalidIdentifierError
from safeklaviyo.identity import Kind, normalise_phone_number

# Digits and what people write between them. Letters are left to people: a number that spells a word is no one's own.
_DIALLED: Final = re.compile(r"[\d\s()+./\u00a0\u2010\u2011-]{3,40}", re.ASCII)


def phone_number_from(value: object, region: str | None) -> str:
    """Return the number in E.164 form.

    Args:
        region: The country of numbers without a country code (`Policy.phone_region`); None refuses those.

    Raises:
        InvalidIdentifierError: The value is no phone number, or none of that country (rule R1).
    """
    try:
        return normalise_phone_number(value)
    except InvalidIdentifierError:
        if region is None or not isinstance(value, str):
            raise
    return _dialled_in(region, value.strip())


def _dialled_in(region: str, text: str) -> str:
    import phonenumbers  # noqa: PLC0415 - an extra, and 20 ms at import

    problem = InvalidIdentifierError(
        f"the {Kind.PHONE_NUMBER} is neither in E.164 form nor a number of {region}",
        rule="R1",
        identifier_kind=Kind.PHONE_NUMBER,
    )
    if not _DIALLED.fullmatch(text):
        raise problem
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        # Not chained: the library's message may quote the number.
        raise problem from None
    if not phonenumbers.is_valid_number(number):
        raise problem
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
