"""Tombstones: they keep a late call from creating the profile of an erased customer again, and name no one.

A tombstone is a hash of one identifier, under a random key that the map keeps beside it. So a tombstone alone, as in a
log or a copy of one row, can be tested against no guess. A reader of the whole map can test guesses, and nothing more.

The first erasure of a map makes the key. Two more things are read:

- Tombstones of 0.1 are hashes under the account's id, which is public. They are honoured as they are.
- A map into which two maps were copied has the keys of both, and each key is tried.
"""

from __future__ import annotations

from hashlib import sha256
from hmac import new
from typing import TYPE_CHECKING, Final

from safeklaviyo._effects import NewId
from safeklaviyo._flows.call import LeaseLostError
from safeklaviyo._flows.required import required
from safeklaviyo.errors import ErasedError
from safeklaviyo.stores.calls import Each, Recall, Remember

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.identity import Claim, Identifier
    from safeklaviyo.stores.base import Lease

KEYS: Final = "tombstone keys"
"""The name of the note with the keys: the one for new tombstones, then those of maps that were copied into this one."""

_SET = "1"


def joined(keys: str | None, others: str) -> str:
    """Return the keys of a map into which another one is copied."""
    own = (keys or "").split()
    return " ".join((*own, *(each for each in others.split() if each not in own)))


def set_tombstones(call: Call, identifiers: Iterable[Identifier], lease: Lease) -> Flow[None]:
    """Set a tombstone for each identifier.

    Raises:
        LeaseLostError: Another call took the lease over.
    """
    keys = yield from Recall(call.account, KEYS)
    if keys is None:
        # Only where there is none: another erasure may make the key at the same time, and has perhaps used it already.
        yield from Remember(call.account, KEYS, (yield from NewId()), new=True)
        keys = yield from Recall(call.account, KEYS)
    key = required(keys).split()[0]
    for identifier in identifiers:
        is_set = yield from Remember(call.account, _name(key, identifier), _SET, lease.token)
        if not is_set:
            raise LeaseLostError


def remove_tombstone(call: Call, identifier: Identifier) -> Flow[bool]:
    """Remove the tombstone of an identifier; False if there is none."""
    was_set = False
    # Each one: a customer who was erased twice may have one under each key.
    for key in (yield from _keys(call)):
        name = _name(key, identifier)
        if (yield from Recall(call.account, name)) is not None:
            yield from Remember(call.account, name, None)
            was_set = True
    return was_set


def erased_among(call: Call, identifiers: Iterable[Identifier]) -> Flow[set[Identifier]]:
    """Return the identifiers that have a tombstone."""
    keys = yield from _keys(call)
    asked = [(identifier, Recall(call.account, _name(key, identifier))) for identifier in identifiers for key in keys]
    notes = yield from Each(call.account, tuple(recall for _, recall in asked))
    return {identifier for (identifier, _), note in zip(asked, notes, strict=True) if note is not None}


def refuse_erased(call: Call, claim: Claim) -> Flow[None]:
    """Refuse a claim about a customer who was erased. Of a pair only the email counts, because it can be released.

    Raises:
        ErasedError: The email, or an external id alone, has a tombstone.
    """
    # The last identifier of a claim is its email, where it has one.
    if (yield from erased_among(call, claim.identifiers()[-1:])):
        raise ErasedError(
            "this customer was erased; if they have come back, release their email first",
            external_id=claim.external_id,
            email=claim.email,
        )


def _keys(call: Call) -> Flow[tuple[str, ...]]:
    """Return the keys under which there may be tombstones; the last one is that of 0.1."""
    keys = yield from Recall(call.account, KEYS)
    return (*(keys or "").split(), f"safeklaviyo:{call.account}")


def _name(key: str, identifier: Identifier) -> str:
    identity = f"{identifier.kind.value}:{identifier.value}".encode()
    return "erased:" + new(key.encode(), identity, sha256).hexdigest()
