"""What an event is worth: a number and a currency, from the arguments or from the properties where shops keep them.

Decided here: which texts are one number. Not here: which keys mean the value (`reserved_keys`).
"""

from __future__ import annotations

import re
from decimal import Decimal
from enum import Enum
from math import isfinite
from numbers import Real
from typing import TYPE_CHECKING, Final, TypeVar, cast

from safeklaviyo._input.fields import once
from safeklaviyo._input.values import UnsendableError, is_plain, leaf

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo._input.fields import Found
    from safeklaviyo._input.findings import Findings

T = TypeVar("T")

_NUMERAL: Final = re.compile(r"[+-]?\d{1,30}(?:\.\d{1,30})?", re.ASCII)
# A point before three digits separates thousands in half of the world: 1.250 may be a thousand times 1.25.
_TWO_NUMBERS: Final = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}", re.ASCII)


def value_of(argument: object, found: Found, findings: Findings) -> int | float | None:
    """Return the event's value, from an argument or a legacy key, else from the property ``value``."""
    if not found and (argument is None or (type(argument) in (int, float) and is_plain(argument))):
        return cast("int | float | None", argument)
    chosen = once("value", argument, _number, found, findings, fixes=False)
    if chosen is None:
        return _possibly("value", _number, found, findings)
    for path, raw in (("value", argument), *found.get("value", ())):
        if isinstance(raw, str):
            findings.take("value_taken", path, "is a text, and was taken for the number that it is")
            break
    return chosen


def currency_of(argument: object, found: Found, findings: Findings) -> str | None:
    """Return the value's currency, from an argument or a legacy key, else from the property ``value_currency``."""
    if argument is None and not found:
        return None
    chosen = once("value_currency", argument, _currency, found, findings, fixes=False)
    return _possibly("value_currency", _currency, found, findings) if chosen is None else chosen


def _possibly(name: str, check: Callable[[object], T], found: Found, findings: Findings) -> T | None:
    """Take a property of the shop's own for a field of the event, where it can be one. It stays a property too."""
    for path, raw in found.get(possible(name), ()) if found else ():
        try:
            value = check(raw)
        except UnsendableError:
            return None  # an ordinary property that has this name
        findings.take("value_taken", path, f"stands among the properties, and was taken for the event's {name} too")
        return value
    return None


def possible(name: str) -> str:
    """Return where `Found` keeps a property of the shop's own that may also mean a field."""
    return f"maybe {name}"


def _number(raw: object) -> int | float:
    if isinstance(raw, str):
        text = raw.strip()
        if not _NUMERAL.fullmatch(text) or _TWO_NUMBERS.fullmatch(text):
            raise UnsendableError("is a text that is no number, or could be two; give a number")
        raw = Decimal(text)
    if isinstance(raw, bool) or not isinstance(raw, int | float | Decimal | Real):
        raise UnsendableError(f"is a {type(raw).__name__}; give a number")
    sent = leaf(raw)
    # A Decimal with more digits than a number carries: the nearest number is what Klaviyo would read in any case.
    number = float(sent) if isinstance(sent, str) else sent
    if not isfinite(number):
        raise UnsendableError("is larger than any number that JSON can carry")
    return number


def _currency(raw: object) -> str:
    code = raw.value if isinstance(raw, Enum) else raw
    text = code.strip() if isinstance(code, str) else ""
    if len(text) != 3 or not (text.isascii() and text.isalpha()):
        raise UnsendableError("is not an ISO 4217 code, such as EUR")
    return text.upper()
