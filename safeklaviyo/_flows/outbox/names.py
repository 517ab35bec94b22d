"""The names of a row: keyed hashes of its person's identifiers. Rows that share a name are carried out in order.

A change of email also has marks, which hold back no row. One mark for each name of the person says that the change
waits. Another mark says that the new address is reserved.
"""

from __future__ import annotations

from hashlib import blake2b, sha256
from typing import TYPE_CHECKING, Final

from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.outbox.records import LANES
from safeklaviyo.stores.outbox.words import CHANGING, ESCAPES, NAME_LENGTH, RESERVED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo.identity import Claim
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.outbox.records import About

_OF_BINDING: Final = (Kind.EXTERNAL_ID, Kind.EMAIL, Kind.PROFILE_ID)


def hashed(about: About, account: str, identifiers: Iterable[Identifier]) -> tuple[str, ...]:
    """Return the names of identifiers. `stores.outbox.at_once` has the same in SQL."""
    names: dict[str, None] = {}
    start = f"{about.key}\n{account}\n"
    for kind, value in identifiers:
        # The two characters that are escaped cannot be printed, and most identifiers can.
        stored = value if value.isprintable() else value.translate(ESCAPES)
        text = start + kind + "\n" + stored
        names[sha256(text.encode(errors="surrogatepass")).hexdigest()[:NAME_LENGTH]] = None
    return tuple(names)


def of_claim(claim: Claim) -> tuple[Identifier, ...]:
    """Return all identifiers of a claim, the phone number too."""
    if claim.phone_number is None:
        return claim.identifiers()
    return (*claim.identifiers(), Identifier(Kind.PHONE_NUMBER, claim.phone_number))


def of_binding(binding: Binding) -> tuple[Identifier, ...]:
    """Return the identifiers that a binding has now."""
    values = zip(_OF_BINDING, (binding.external_id, binding.email, binding.profile_id), strict=True)
    return tuple([Identifier(kind, value) for kind, value in values if value is not None])


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
