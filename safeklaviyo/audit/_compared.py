"""Making a row of a profile, with its identifiers in a form in which they can be compared.

Decided here: the form of each identifier; which identifiers are placeholders (A9), which are compared with no other;
and what an address is without a plus and dots (A8).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from safeklaviyo._placeholders import why_no_id
from safeklaviyo._rules.consent import all_channels
from safeklaviyo.audit._table import Row
from safeklaviyo.identity import PHONE_PUNCTUATION, comparable_email

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from safeklaviyo.audit._finding import ShownConsent
    from safeklaviyo.consent import ChannelConsent
    from safeklaviyo.models import Profile

# What shops' forms and imports put before the `@` if they have no address. Nan and Na are missing: people have them.
_NOBODY: Final = frozenset({
    "null", "undefined", "none", "nil", "unknown", "anonymous", "guest", "noemail", "no-email", "no_email", "no.email",
    "noreply", "no-reply", "no_reply", "donotreply", "do-not-reply", "notprovided", "not-provided", "n/a",
})  # fmt: skip
# After the country code: one digit seven times or more, or the digits in their order. No one was given such a number.
_NO_NUMBER: Final = re.compile(r"\+?\d{0,3}?(?:(\d)\1{6,}|0?1234567(?:8(?:90?)?)?)")
_SAME_MAILBOX: Final = {"googlemail.com": "gmail.com"}


def row_of(given: Mapping[str, str], *, line: int | None = None, blocked: frozenset[str] = frozenset()) -> Row:
    """Return the row of a profile.

    Args:
        given: The fields, by the names of `Row`, without blanks around them. An empty text counts as missing.
        line: The line of the export; None if Klaviyo was asked.
        blocked: Further identifiers that count as placeholders, in lower case.
    """
    # Each identifier is kept twice: as the data have it, for people, and in its comparable form. A placeholder has no
    # comparable form, so it never makes a pair.
    get = given.get
    external_id, email, phone = get("external_id") or None, get("email") or None, get("phone_number") or None
    key, mail, variant, number, spoilt = external_id, None, None, None, ""
    if key is not None and why_no_id(key, blocked) is not None:
        key, spoilt = None, "external_id"
    if email is not None:
        mail = comparable_email(email)
        if is_nobodys(mail, blocked):
            mail, spoilt = None, f"{spoilt} email".lstrip()
        else:
            variant = _variant(mail)
    if phone is not None:
        number = phone.translate(PHONE_PUNCTUATION)
        if _NO_NUMBER.fullmatch(number):
            number, spoilt = None, f"{spoilt} phone_number".lstrip()
    return Row(
        line, get("profile_id") or None, external_id, email, phone, get("first_name") or None,
        get("last_name") or None, get("consent", "unknown"), get("sms", "unknown"),  # type: ignore[arg-type]  # the readers give these words
        get("created") or None, get("last_event") or None, mail, variant, number, key, spoilt, get("others", ""),
    )  # fmt: skip


def row_of_profile(profile: Profile, blocked: frozenset[str] = frozenset()) -> Row:
    """Return the row of a profile that was read from Klaviyo with its consent."""
    channels = all_channels(profile)
    others = [name for name, each in channels.items() if name not in {"email", "sms"} and each.status == "subscribed"]
    given = {
        "profile_id": profile.id, "external_id": profile.external_id, "email": profile.email,
        "phone_number": profile.phone_number, "first_name": profile.first_name, "last_name": profile.last_name,
        "consent": consent_word(channels["email"]), "sms": consent_word(channels["sms"]), "others": " ".join(others),
        "created": None if profile.created is None else profile.created.isoformat(),
        "last_event": None if profile.last_event_date is None else profile.last_event_date.isoformat(),
    }  # fmt: skip
    return row_of(
        {name: storable(value.strip()) for name, value in given.items() if value is not None}, blocked=blocked
    )


def consent_word(consent: ChannelConsent) -> ShownConsent:
    """Return a channel's state in one word. A suppression outranks a consent."""
    return "suppressed" if consent.suppressions and consent.status != "unsubscribed" else consent.status


def is_nobodys(mail: str, blocked: Iterable[str] = ()) -> bool:
    """Tell whether an address is a placeholder."""
    return mail.partition("@")[0] in _NOBODY or mail in blocked


def _variant(mail: str) -> str | None:
    """Return the address without plus and dots; None if it has neither."""
    local, _, domain = mail.rpartition("@")
    plain = local.partition("+")[0].replace(".", "")
    if not plain or (plain == local and domain not in _SAME_MAILBOX):
        return None
    return f"{plain}@{_SAME_MAILBOX.get(domain, domain)}"


def storable(text: str) -> str:
    """Return a text that SQLite and JSON can hold: without single UTF-16 surrogates, which broken exports have."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
