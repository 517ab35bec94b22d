"""The names of a row: keyed hashes of its person's identifiers. Rows that share a name are carried out in order.

A change of email also has marks, which hold back no row. One mark for each name of the person says that the change
waits. Another mark says that the new address is reserved.
"""

from __future__ import annotations

from hashlib import blake2b, sha256
from typing import TYPE_CHECKING

from safeklaviyo.identity import Claim, Identifier, Kind
from safeklaviyo.stores.outbox.records import LANES
from safeklaviyo.stores.outbox.words import CHANGING, ESCAPES, NAME_LENGTH, RESERVED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo.models import Binding
    from safeklaviyo.stores.outbox.records import About


def hashed(about: About, account: str, identifiers: Iterable[Identifier]) -> tuple[str, ...]:
    """Return the names of identifiers. `stores.outbox.at_once` has the same in SQL."""
    names: dict[str, None] = {}
    for kind, value in identifiers:
        text = "\n".join((about.key, account, kind.value, value.translate(ESCAPES)))
        names[sha256(text.encode(errors="surrogatepass")).hexdigest()[:NAME_LENGTH]] = None
    return tuple(names)


def of_claim(claim: Claim) -> tuple[Identifier, ...]:
    """Return all identifiers of a claim, the phone number too."""
    if claim.phone_number is None:
        return claim.identifiers()
    return (*claim.identifiers(), Identifier(Kind.PHONE_NUMBER, claim.phone_number))


def of_binding(binding: Binding) -> tuple[Identifier, ...]:
    """Return the identifiers that a binding has now."""
    names = Claim(binding.external_id, binding.email).identifiers()
    if binding.profile_id is None:
        return names
    return (*names, Identifier(Kind.PROFILE_ID, binding.profile_id))


def changing(names: Iterable[str]) -> tuple[str, ...]:
    """Return the marks of a change of email that waits."""
    return tuple(CHANGING + name for name in names)


def reserved(names: Iterable[str]) -> tuple[str, ...]:
    """Return the marks of addresses that are reserved."""
    return tuple(RESERVED + name for name in names)


def lane_of(key: str) -> int:
    """Return the lane of a customer's key in the map, or of an identifier."""
    if key.isascii() and key.isdigit():
        return int(key) % LANES
    return int.from_bytes(blake2b(key.encode(errors="surrogatepass"), digest_size=8).digest()) % LANES
