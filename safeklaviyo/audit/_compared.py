"""A profile as it is read becomes a row in which its identifiers can be compared.

Decided here: the one form of each identifier, which of them is a placeholder (A9) and so compared with nothing, and
what an address is without a plus and dots (A8).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from safeklaviyo._placeholders import why_no_id
from safeklaviyo._rules.consent import all_channels
from safeklaviyo.audit._table import Row
from safeklaviyo.identity import PHONE_PUNCTUATION, comparable_email

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo.audit._finding import ShownConsent
    from safeklaviyo.consent import ChannelConsent
    from safeklaviyo.models import Profile

# What shops' forms and imports put before the `@` where they have no address. People may be called Nan or Na.
_NOBODY: Final = frozenset({
    "null", "undefined", "none", "nil", "unknown", "anonymous", "guest", "noemail", "no-email", "no_email", "no.email",
    "noreply", "no-reply", "no_reply", "donotreply", "do-not-reply", "notprovided", "not-provided", "n/a",
})  # fmt: skip
# One digit seven times, or digits in their order: no number that somebody was given.
_NO_NUMBER: Final = re.compile(r".*(?:(\d)\1{6,}|1234567|2345678|3456789).*")
_SAME_MAILBOX: Final = {"googlemail.com": "gmail.com"}


def row_of(given: dict[str, str | None], *, line: int | None = None, blocked: frozenset[str] = frozenset()) -> Row:
    """Return the row of a profile.

    Args:
        given: Its fields by their names, those of `Row`; empty texts count as missing.
        blocked: Further identifiers that count as placeholders, in lower case.
    """
    external_id, email, phone = _text(given, "external_id"), _text(given, "email"), _text(given, "phone_number")
    spoilt: list[str] = []
    key = external_id
    if key is not None and why_no_id(key, blocked) is not None:
        key = None
        spoilt.append("external_id")
    mail = None if email is None else comparable_email(email)
    variant = None
    if mail is not None:
        if is_nobodys(mail, blocked):
            mail = None
            spoilt.append("email")
        else:
            variant = _variant(mail)
    number = None if phone is None else phone.translate(PHONE_PUNCTUATION)
    if number is not None and _NO_NUMBER.fullmatch(number):
        number = None
        spoilt.append("phone_number")
    return Row(
        line, _text(given, "profile_id"), external_id, email, phone, _text(given, "first_name"),
        _text(given, "last_name"), given.get("consent") or "unknown", given.get("sms") or "unknown",  # type: ignore[arg-type]  # the readers give these words
        _text(given, "created"), _text(given, "last_event"), mail, variant, number, key, " ".join(spoilt),
        given.get("others") or "",
    )  # fmt: skip


def row_of_profile(profile: Profile, blocked: frozenset[str] = frozenset()) -> Row:
    """Return the row of a profile that Klaviyo itself has shown, with its consent."""
    channels = all_channels(profile)
    others = [name for name, each in channels.items() if name not in {"email", "sms"} and each.status == "subscribed"]
    given: dict[str, Any] = {
        "profile_id": profile.id, "external_id": profile.external_id, "email": profile.email,
        "phone_number": profile.phone_number, "first_name": profile.first_name, "last_name": profile.last_name,
        "consent": consent_word(channels["email"]), "sms": consent_word(channels["sms"]), "others": " ".join(others),
        "created": None if profile.created is None else profile.created.isoformat(),
        "last_event": None if profile.last_event_date is None else profile.last_event_date.isoformat(),
    }  # fmt: skip
    return row_of(given, blocked=blocked)


def consent_word(consent: ChannelConsent) -> ShownConsent:
    """Return a channel's state in one word: a suppression outranks what was consented to."""
    return "suppressed" if consent.suppressions and consent.status != "unsubscribed" else consent.status


def is_nobodys(mail: str, blocked: Iterable[str] = ()) -> bool:
    """Tell whether an address stands where an address should be, and is nobody's."""
    return mail.partition("@")[0] in _NOBODY or mail in blocked


def _variant(mail: str) -> str | None:
    """Return the address without plus and dots; None if it has neither."""
    local, _, domain = mail.rpartition("@")
    plain = local.partition("+")[0].replace(".", "")
    if not plain or (plain == local and domain not in _SAME_MAILBOX):
        return None
    return f"{plain}@{_SAME_MAILBOX.get(domain, domain)}"


def _text(given: dict[str, str | None], name: str) -> str | None:
    value = given.get(name)
    text = value.strip() if value else ""
    # Half a character of UTF-16, as broken exports and answers have it, can be stored nowhere.
    return (text if text.isascii() else text.encode("utf-8", "replace").decode()) or None
