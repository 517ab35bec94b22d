"""Identifiers: how one is normalised, refused and masked, and the claim that a call makes with them.

Decided here: what counts as a usable email, external id, phone number or profile id (rules R1 and R2).
Not here: who an identifier belongs to (`_rules`). Read next: `_rules`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from safeklaviyo._addresses import ascii_address, plain_address
from safeklaviyo._placeholders import is_ordinary_id, is_placeholder, why_no_id
from safeklaviyo.errors import InvalidIdentifierError

MAX_EMAIL_LENGTH = 100  # Klaviyo's Profiles API overview
MAX_EXTERNAL_ID_LENGTH = 64  # Klaviyo's help centre: longer ids are cut off, which can make two customers one

_TOO_LARGE = 10**300
_E164 = re.compile(r"\+[1-9]\d{6,14}")
_NUMBER = re.compile(r"\+?\d(?:[\s().\-/]{0,3}\d){6,}")
"""What may be a phone number in a text: seven digits or more, as people set them apart."""
PHONE_PUNCTUATION = str.maketrans("", "", " \t-.()/\u00a0\u2011")
_IN_BRACKETS = re.compile(r"\(\s*0\s*\)")
# The countries in which a zero leads national numbers, and no number begins with one when it is dialled from abroad
# (ITU-T E.164 national plans, as Google's libphonenumber has them).
_TRUNK_ZERO = re.compile(
    r"\+(?:"
    r"20|27|31|32|33|40|41|43|44|46|49|51|53|54|55|57|58|60|61|63|64|66|"
    r"84|86|90|91|92|93|94|95|98|211|212|213|218|231|232|233|234|243|249|251|"
    r"252|254|255|256|260|261|262|263|264|265|291|353|355|358|359|370|373|374|"
    r"377|380|381|382|383|385|386|387|389|421|423|508|590|591|593|594|595|596|"
    r"686|850|855|856|880|886|961|962|963|964|966|967|970|971|972|976|977|994|"
    r"995|996"
    r")0"
)
_PROFILE_ID = re.compile(r"[A-Za-z0-9]{1,64}")


class Kind(StrEnum):
    """The kinds of identifier by which Klaviyo knows a person, in its own words."""

    EMAIL = "email"
    PHONE_NUMBER = "phone_number"
    EXTERNAL_ID = "external_id"
    PROFILE_ID = "profile_id"


class Identifier(NamedTuple):
    """One normalised identifier."""

    kind: Kind
    value: str

    def __repr__(self) -> str:
        return f"{self.kind}:{mask(self.value)}"


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """The pair by which a person is named."""

    external_id: str | None = None
    email: str | None = None

    def __repr__(self) -> str:
        return f"Identity(external_id={masked(self.external_id)}, email={masked(self.email)})"


class Claim(NamedTuple):
    """What one call says about one person, normalised.

    Attributes:
        phone_number: E.164, or None.
        unusable_phone: The call gave a phone number that is none; it is left out and reported (rule R14).
    """

    external_id: str | None = None
    email: str | None = None
    phone_number: str | None = None
    unusable_phone: bool = False

    def identifiers(self) -> tuple[Identifier, ...]:
        """Return what may decide who this is: the external id and the email, never the phone (rule R14)."""
        if self.external_id is None:
            return () if self.email is None else (Identifier(Kind.EMAIL, self.email),)
        if self.email is None:
            return (Identifier(Kind.EXTERNAL_ID, self.external_id),)
        return (Identifier(Kind.EXTERNAL_ID, self.external_id), Identifier(Kind.EMAIL, self.email))

    def __repr__(self) -> str:
        return f"Claim(external_id={masked(self.external_id)}, email={masked(self.email)})"


def mask(value: str) -> str:
    """Shorten an identifier so that it can stand in a log: ``a***@***`` or ``***42``."""
    if "@" in value:
        return f"{value[0]}***@***"
    return f"***{value[-2:]}" if len(value) >= 8 else "***"


def mask_within(text: str) -> str:
    """Mask the addresses and phone numbers in a text, and leave its other words."""
    words = re.sub(r"\S+", lambda word: mask(word[0]) if "@" in word[0] else word[0], text)
    return _NUMBER.sub(lambda number: mask(number[0]), words)


def masked(value: str | None) -> str:
    """Return the masked identifier, or ``None`` in words."""
    return "None" if value is None else mask(value)


def normalise_email(value: object, *, blocked: frozenset[str] = frozenset()) -> str:
    """Return the address trimmed, validated, in lower case and in ASCII: the one form that is sent and compared.

    Klaviyo does not say how it compares addresses; integrators report that it stores them in lower case. Plus signs and
    dots are kept: they are distinct people to Klaviyo. A domain of other letters is written as the DNS has it
    (``xn--…``), because its two spellings would be two customers. Other letters before the ``@`` are refused: Klaviyo
    does not say how it folds them, so that one customer could become two.

    Args:
        blocked: Further addresses to refuse as placeholders, in lower case.

    Raises:
        InvalidIdentifierError: The value is no address, a placeholder, or longer than 100 characters (rule R1).
    """
    if not isinstance(value, str):
        raise _refused(Kind.EMAIL, f"is a {type(value).__name__}; give a string")
    address = _validated_email(value)
    if address in blocked:
        raise _refused(Kind.EMAIL, "is a blocked value")
    return address


def comparable_email(text: str) -> str:
    """Return an address that Klaviyo shows in the form of `normalise_email`, or any other text in lower case."""
    # What Klaviyo holds came from other programs too. It must be comparable even where we would not send it.
    try:
        return _validated_email(text)
    except InvalidIdentifierError:
        return text.strip().lower()


def shown_domain(domain: str) -> str:
    """Return a domain in ``xn--`` form as people read it."""
    import idna  # noqa: PLC0415 - as email_validator, which brings it

    try:
        return idna.decode(domain)
    except idna.IDNAError:
        return domain


_EMPTY = "is empty: leave it out, or give None"


def normalise_external_id(
    value: object, *, blocked: frozenset[str] = frozenset(), max_length: int = MAX_EXTERNAL_ID_LENGTH
) -> str:
    """Return the shop's own id as a trimmed string; integers and UUIDs are converted.

    Args:
        blocked: Further values to refuse as placeholders, in lower case.
        max_length: The longest id accepted, in characters.

    Raises:
        InvalidIdentifierError: The id is a placeholder, spoilt by an export (`_placeholders` lists both), too long, or
            neither a string, an integer nor a UUID (rule R1).
    """
    # Most ids are such, and cost no more than this.
    if type(value) is str and len(value) <= max_length and is_ordinary_id(value, blocked):
        return value
    # A bool is an int to Python. A float is refused, because its text is not the id's: 1.0 is not "1" (F-9).
    if isinstance(value, bool) or not isinstance(value, str | int | UUID):
        raise _refused(Kind.EXTERNAL_ID, f"is a {type(value).__name__}; give a string or an integer")
    text = text_of(value).strip()
    if len(text) > max_length:
        raise _refused(Kind.EXTERNAL_ID, f"is longer than {max_length} characters")
    if not text:
        raise _refused(Kind.EXTERNAL_ID, _EMPTY)
    reason = why_no_id(text, blocked)
    if reason is not None:
        raise _refused(Kind.EXTERNAL_ID, reason)
    if not text.isprintable():
        raise _refused(Kind.EXTERNAL_ID, "has characters that cannot be printed")
    return text


def normalise_phone_number(value: object) -> str:
    """Return the number in E.164 form, without punctuation and without a trunk zero.

    Raises:
        InvalidIdentifierError: The value has no country code, is no number, or has a ``(0)`` that may be a digit (R1).
    """
    given = value.strip() if isinstance(value, str) else ""
    if isinstance(value, str) and not given:
        raise _refused(Kind.PHONE_NUMBER, _EMPTY)
    text = given.translate(PHONE_PUNCTUATION)
    # "+44 (0)20 8366 1177": the zero is dialled within the country only. As a digit it would make another number.
    trunk = _TRUNK_ZERO.match(text)
    if trunk is not None:
        text = text[: trunk.end() - 1] + text[trunk.end() :]
    elif _IN_BRACKETS.search(given):
        raise _refused(Kind.PHONE_NUMBER, "has a (0), which may be a digit of it or not; leave the brackets out")
    if not text.isascii() or not _E164.fullmatch(text):
        raise _refused(Kind.PHONE_NUMBER, "is not in E.164 form, such as +12345678901")
    return text


def normalise_profile_id(value: object) -> str:
    """Return Klaviyo's profile id, if it can stand in a URL path as it is (F-7).

    Raises:
        InvalidIdentifierError: The id is not made of letters and digits, or is a placeholder (rule R1).
    """
    if not isinstance(value, str) or not _PROFILE_ID.fullmatch(value):
        raise _refused(Kind.PROFILE_ID, "is not made of letters and digits")
    if is_placeholder(value):
        raise _refused(Kind.PROFILE_ID, "is a placeholder")
    return value


def text_of(value: str | int | UUID) -> str:
    """Return the text of a key, also where it is a member of an Enum of strings or integers."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        # A number too long for any key is cut, because Python refuses to write out the longest.
        return int.__repr__(max(-_TOO_LARGE, min(value, _TOO_LARGE)))
    return str(value)


def _validated_email(value: str) -> str:
    text = value.strip()
    # Before anything reads it: the validator takes 18 s for a million letters. In ASCII it can only become longer.
    _check_length(text)
    # Most addresses are plain. No placeholder is.
    plain = plain_address(text)
    if plain is not None:
        return plain
    if not text:
        raise _refused(Kind.EMAIL, _EMPTY)
    if is_placeholder(text):
        raise _refused(Kind.EMAIL, "is a placeholder")
    address = ascii_address(text)
    if address is None:
        raise _refused(Kind.EMAIL, "is not a valid address")
    _check_length(address)
    return address


def _check_length(address: str) -> None:
    if len(address) > MAX_EMAIL_LENGTH:
        raise _refused(Kind.EMAIL, f"is longer than {MAX_EMAIL_LENGTH} characters")


def _refused(kind: Kind, why: str) -> InvalidIdentifierError:
    return InvalidIdentifierError(f"the {kind} {why}", rule="R1", identifier_kind=kind)
