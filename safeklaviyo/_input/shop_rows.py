"""A customer as a shop's own data has them: one row of `bindings.add`, checked and normalised.

Decided here: what makes a row unusable (R1, R9), and that an unusable phone number does not (R14). Whether the map
accepts the row is decided in `_rules.additions`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from safeklaviyo._input.phones import phone_number_from
from safeklaviyo.errors import InvalidIdentifierError
from safeklaviyo.identity import Identifier, Kind, normalise_email, normalise_external_id, normalise_profile_id
from safeklaviyo.models import Binding

if TYPE_CHECKING:
    from safeklaviyo.policy import Policy

CURRENT: Final = frozenset({"external_id", "email", "profile_id", "phone_number"})
FORMER: Final = {"former_external_ids": Kind.EXTERNAL_ID, "former_emails": Kind.EMAIL}
_COLUMNS: Final = CURRENT | FORMER.keys()

_NO_PHONE: Final = frozenset({"\\n", "null", "(null)", "[null]", "nil", "none", "nan", "na", "n/a", "#n/a", "-"})

# Several in one cell: a bar, a comma, a semicolon or a line break between them. An id may have blanks.
_BETWEEN: Final = re.compile(r"[|,;\r\n]")


@dataclass(frozen=True, slots=True, repr=False)
class ShopRow:
    """One row.

    Attributes:
        binding: What the row says about the customer now.
        former: The identifiers that were the customer's before.
        left_out: Why the phone number was left out; None if it was not.
    """

    binding: Binding
    former: tuple[Identifier, ...] = ()
    left_out: str | None = None


def shop_row_from(given_row: object, policy: Policy) -> ShopRow:
    """Read a row.

    Raises:
        InvalidIdentifierError: The row is no mapping, lacks the email, or has an unusable identifier (R1).
    """
    row = _columns(given_row)
    given = {name: value for name, value in row.items() if not _is_empty(value)}
    if "email" not in given:
        raise InvalidIdentifierError("the row has no email: an external_id alone would make a duplicate", rule="R9")
    external_id = None
    if "external_id" in given:
        external_id = _identifier(Kind.EXTERNAL_ID, given["external_id"], policy).value
    email = _identifier(Kind.EMAIL, given["email"], policy).value
    profile_id = normalise_profile_id(given["profile_id"]) if "profile_id" in given else None
    phone_number, left_out = _phone_number(given.get("phone_number"), policy)
    binding = Binding(external_id, email, profile_id, phone_number)
    names = given.keys() & FORMER.keys()
    if not names:
        return ShopRow(binding, (), left_out)
    former = dict.fromkeys(
        each for name, kind in FORMER.items() if name in names for each in _former(name, kind, given[name], policy)
    )
    # An address to which the customer has come back is a current one.
    for current in (Identifier(Kind.EXTERNAL_ID, external_id or ""), Identifier(Kind.EMAIL, email)):
        former.pop(current, None)
    return ShopRow(binding, tuple(former), left_out)


def claims_of(given_row: object, policy: Policy) -> Iterator[Identifier]:
    """Return the address and the id that a row gives as current, each if it can be read: the row may be unusable."""
    try:
        row = _columns(given_row)
    except InvalidIdentifierError:
        row = cast("Mapping[str, object]", given_row if isinstance(given_row, Mapping) else {})
    for kind in (Kind.EXTERNAL_ID, Kind.EMAIL):
        with suppress(InvalidIdentifierError):
            yield _identifier(kind, row.get(kind.value), policy)


def _columns(given_row: object) -> Mapping[str, object]:
    if isinstance(given_row, Binding):
        return {name: getattr(given_row, name) for name in CURRENT}
    if not isinstance(given_row, Mapping):
        raise InvalidIdentifierError(f"the row is a {type(given_row).__name__}; give a mapping or a Binding")
    row = cast("Mapping[str, object]", given_row)
    # A misspelt column would be lost in silence (F-24).
    if row.keys() - _COLUMNS:
        raise InvalidIdentifierError("the row has an unknown column; known are " + ", ".join(sorted(_COLUMNS)))
    return row


def _identifier(kind: Kind, value: object, policy: Policy) -> Identifier:
    if kind is Kind.EMAIL:
        return Identifier(kind, normalise_email(value, blocked=policy.blocked_values))
    length = policy.max_external_id_length
    return Identifier(kind, normalise_external_id(value, blocked=policy.blocked_values, max_length=length))


def _phone_number(value: object, policy: Policy) -> tuple[str | None, str | None]:
    """Return the phone number, and why it was left out, if it was: it decides nothing, so it costs no row (R14)."""
    # What databases and people write for "none" is no bad number.
    if value is None or (isinstance(value, str) and value.strip().casefold() in _NO_PHONE):
        return None, None
    try:
        return phone_number_from(value, policy.phone_region), None
    except InvalidIdentifierError as error:
        return None, f"{error}; it was left out"


def _former(name: str, kind: Kind, given: object, policy: Policy) -> Iterable[Identifier]:
    values: Iterable[object] = (given,)
    if isinstance(given, str):
        values = _BETWEEN.split(given)
    elif isinstance(given, Iterable):
        values = cast("Iterable[object]", given)
    try:
        return [_identifier(kind, value, policy) for value in values if not _is_empty(value)]
    except InvalidIdentifierError as error:
        message = f"one of its {name} cannot be: {error}"
        raise InvalidIdentifierError(message, rule=error.rule, identifier_kind=error.identifier_kind) from None


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
