"""Which column of a shop's file is which field of a customer.

Decided here: names are compared without case, blanks, hyphens and underscores, and each field has the names that shops'
exports give it. A column that is none of these is passed over. Two things are never guessed, because they say who a
customer is: which of two columns is meant, and whether a column called `id` holds the shop's ids or numbers of rows.
"""

from __future__ import annotations

import re
import unicodedata
from shlex import quote
from typing import TYPE_CHECKING, Final

from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# The field's own name first; then those of Klaviyo's legacy API, Shopify, WooCommerce's exporters, PrestaShop, Klaviyo.
NAMES: Final[dict[str, tuple[str, ...]]] = {
    "external_id": ("external_id", "$id", "customer_id", "id_customer"),
    "email": ("email", "$email", "email_address", "user_email", "customer_email"),
    "profile_id": ("profile_id", "klaviyo_id", "klaviyo_profile_id"),
    "phone_number": ("phone_number", "$phone_number", "phone", "telephone", "mobile", "billing_phone"),
    "former_emails": ("former_emails",),
    "former_external_ids": ("former_external_ids",),
}
FIELDS: Final = tuple(NAMES)
_DOUBTFUL: Final = frozenset({"id", "userid", "entityid"})
_BETWEEN: Final = re.compile(r"[\s_.-]+")


def fields_of(
    names: Sequence[str], chosen: Mapping[str, str], known: Mapping[str, tuple[str, ...]] = NAMES
) -> dict[str, int]:
    """Return the number of each field's column, from 0; fields without one are left out.

    Args:
        names: The names of the columns.
        chosen: The names that the caller gave for some fields; an empty one is for no column.
        known: The fields, each with the names that files give it.

    Raises:
        ConfigurationError: A column that the caller named is missing, or it is not certain which one is meant.
    """
    folded = [_folded(name) for name in names]
    found: dict[str, int] = {}
    for field, usual in known.items():
        number = _chosen(field, chosen[field], names, folded) if field in chosen else _known(field, usual, folded)
        if number is not None:
            found[field] = number
    if "email" in found and "external_id" not in found and "external_id" not in chosen:
        _refuse_doubtful(names, folded)
    return found


def _chosen(field: str, name: str, names: Sequence[str], folded: Sequence[str]) -> int | None:
    """Return the column that the caller named: by the name as it is written, else without case."""
    if not name:
        return None
    exact = [number for number, each in enumerate(names) if each == name]
    number = _only(field, exact or [number for number, each in enumerate(folded) if each == _folded(name)])
    if number is None:
        raise ConfigurationError(f"there is no column called {name}, which --map names for {field}")
    return number


def _known(field: str, known: Iterable[str], folded: Sequence[str]) -> int | None:
    """Return the column that has one of the field's names, the first of them that there is."""
    for name in known:
        number = _only(field, [number for number, each in enumerate(folded) if each == _folded(name)])
        if number is not None:
            return number
    return None


def _only(field: str, numbers: Sequence[int]) -> int | None:
    if len(numbers) > 1:
        first, second = numbers[0] + 1, numbers[1] + 1
        raise ConfigurationError(f"columns {first} and {second} have the same name, that of {field}; rename one")
    return numbers[0] if numbers else None


def _refuse_doubtful(names: Sequence[str], folded: Sequence[str]) -> None:
    for number, name in enumerate(folded):
        if name in _DOUBTFUL:
            called = names[number].strip()
            raise ConfigurationError(
                f"column {number + 1} is called {called}: if it holds the ids that your calls give as external_id, "
                f"add --map {quote(f'external_id={called}')}, and if not, --map external_id="
            )


def _folded(name: str) -> str:
    return _BETWEEN.sub("", unicodedata.normalize("NFKC", name).casefold())
