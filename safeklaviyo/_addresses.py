"""Email addresses as email-validator reads them, without reading the same domain twice.

Decided here: what of an address can be checked by itself. email-validator judges the part before the ``@`` and the
domain independently. It takes most of its time for the domain, and a shop's customers share theirs. So the domain's
answer is remembered, and a plain part before the ``@`` is matched by email-validator's own pattern for it (RFC 5322's
dot-atom). All other addresses go to email-validator whole. `identity` decides what is done with the answer.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_ATOM: Final = r"[A-Za-z0-9_!#$%&'*+\-/=?^`{|}~]+"
# At most 64 characters before the `@`: some versions of email-validator admit more. Only ASCII after it: another domain
# is written longer in ASCII, and email-validator admits 254 characters in all.
_PLAIN: Final = re.compile(rf"(?=.{{1,64}}@)({_ATOM}(?:\.{_ATOM})*)@([A-Za-z0-9.\-]+)")


def ascii_address(text: str) -> str | None:
    """Return an address of at most 254 characters in ASCII and in lower case, or None if it is no address."""
    return plain_address(text) or (None if _PLAIN.fullmatch(text) else _read(text))


def plain_address(text: str) -> str | None:
    """Return a plain address in lower case, as long as it was; None if it is another one, or none."""
    plain = _PLAIN.fullmatch(text)
    domain = None if plain is None else _domain(plain[2])
    return None if plain is None or domain is None else f"{plain[1].lower()}@{domain}"


@lru_cache(maxsize=8192)
def _domain(domain: str) -> str | None:
    address = _read(f"a@{domain}")
    return None if address is None else address[2:]


def _read(text: str) -> str | None:
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415 - 40 ms at import, needed late

    try:
        # test_environment admits the reserved .test domain, on which shops run their staging systems.
        valid = validate_email(text, allow_smtputf8=False, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return None
    return str(valid.ascii_email).lower()
