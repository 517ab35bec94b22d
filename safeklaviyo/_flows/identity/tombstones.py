"""Tombstones: they keep a late call from creating the profile of an erased customer again, and name no one.

A tombstone is a keyed hash of one identifier. A reader of the map can test a guess against it, and nothing more.
"""

from __future__ import annotations

from hashlib import sha256
from hmac import new
from typing import TYPE_CHECKING

from safeklaviyo._flows.call import LeaseLostError
from safeklaviyo.errors import ErasedError
from safeklaviyo.stores.calls import Recall, Remember

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.identity import Claim, Identifier
    from safeklaviyo.stores.base import Lease

_SET = "1"


def set_tombstones(call: Call, identifiers: Iterable[Identifier], lease: Lease) -> Flow[None]:
    """Set a tombstone for each identifier.

    Raises:
        LeaseLostError: Another call took the lease over.
    """
    for identifier in identifiers:
        is_set = yield from Remember(call.account, _name(call, identifier), _SET, lease.token)
        if not is_set:
            raise LeaseLostError


def remove_tombstone(call: Call, identifier: Identifier) -> Flow[bool]:
    """Remove the tombstone of an identifier; False if there is none."""
    is_set = yield from is_erased(call, identifier)
    if is_set:
        yield from Remember(call.account, _name(call, identifier), None)
    return is_set


def is_erased(call: Call, identifier: Identifier) -> Flow[bool]:
    """Tell whether an identifier has a tombstone."""
    return (yield from Recall(call.account, _name(call, identifier))) is not None


def refuse_erased(call: Call, claim: Claim) -> Flow[None]:
    """Refuse a claim about a customer who was erased. Of a pair only the email counts, because it can be released.

    Raises:
        ErasedError: The email, or an external id alone, has a tombstone.
    """
    # The last identifier of a claim is its email, where it has one.
    for identifier in claim.identifiers()[-1:]:
        if (yield from is_erased(call, identifier)):
            raise ErasedError(
                "this customer was erased; if they have come back, release their email first",
                external_id=claim.external_id,
                email=claim.email,
            )


def _name(call: Call, identifier: Identifier) -> str:
    # Keyed by the account, so that the same address has different tombstones in two maps.
    identity = f"{identifier.kind.value}:{identifier.value}".encode()
    return "erased:" + new(f"safeklaviyo:{call.account}".encode(), identity, sha256).hexdigest()
