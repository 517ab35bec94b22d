"""Addresses of erased customers, kept until it is certain that no earlier request has made them again.

An event, or a request about consent, that Klaviyo accepted before the deletion may be carried out after it, and creates
the address again (H23, H31). A tombstone cannot be searched for, so the address itself is kept, as a note in the map,
until `recheck_changes` has looked a day later. Then it is forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from safeklaviyo._flows.call import LeaseLostError
from safeklaviyo._flows.notes import notes_under
from safeklaviyo.identity import Kind
from safeklaviyo.stores.calls import Remember

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.identity import Identifier
    from safeklaviyo.stores.base import Lease

_PREFIX: Final = "look_again:"


def look_again(call: Call, identifiers: Iterable[Identifier], at: float, lease: Lease) -> Flow[None]:
    """Keep the addresses among these identifiers for a second look.

    Args:
        at: When the customer was erased, in unix seconds.

    Raises:
        LeaseLostError: Another call took the lease over.
    """
    for identifier in identifiers:
        if identifier.kind is Kind.EMAIL:
            is_kept = yield from Remember(call.account, _PREFIX + identifier.value, repr(at), lease.token)
            if not is_kept:
                raise LeaseLostError


def second_looks(call: Call) -> Flow[dict[str, float]]:
    """Return the addresses that are kept, and when each was erased."""
    kept = yield from notes_under(call, _PREFIX)
    return {email: float(at) for email, at in kept.items()}


def forget_look(call: Call, email: str) -> Flow[None]:
    """Forget an address."""
    yield from Remember(call.account, _PREFIX + email, None)
