"""What `erase` does under its lease: the deletion in Klaviyo by profile id, and the forgetting here.

Everything can be repeated: the deletion job of a profile that is gone answers 404, and what is forgotten stays so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo import _wire
from safeklaviyo._flow import Find, ForgetJournal, Former, Remove
from safeklaviyo._operations._call import MISSING, Call, release, send
from safeklaviyo._operations._tombstones import bury
from safeklaviyo.identity import Identifier, Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from safeklaviyo._flow import Flow
    from safeklaviyo._operations._leases import Intent
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import Lease


def erase_under_lease(call: Call, lease: Lease, intent: Intent, *, main: bool = False) -> Flow[bool]:
    """Delete, set tombstones, forget, and release the lease."""
    if intent.profile_id is not None:
        request = _wire.request_deletion(intent.profile_id)
        yield from send(call, request, main=main, accept=MISSING, lease=lease)
    found = yield from Find(call.account, tuple(intent.identifiers()))
    meant = {(Kind.EXTERNAL_ID, intent.external_id), (Kind.EMAIL, intent.email), (Kind.PROFILE_ID, intent.profile_id)}
    current = [match for match in found.matches if match.retired_at is None]
    bindings = {match.binding.key: match.binding for match in current if match.identifier in meant}
    buried = {name for name in intent.identifiers() if name.kind is not Kind.PROFILE_ID}
    for binding in bindings.values():
        buried |= set(_current(binding))
    for match in (yield from Former(call.account, tuple(bindings.values()))):
        buried.add(match.identifier)
    others = yield from _of_others(call, buried, bindings)
    yield from bury(call, sorted(buried - others))
    for binding in bindings.values():
        yield from ForgetJournal(call.account, binding.key)
        for identifier in _current(binding):
            yield from Remove(call.account, identifier)
    yield from release(call, lease)
    return True


def _of_others(call: Call, names: set[Identifier], bindings: Collection[str]) -> Flow[set[Identifier]]:
    """Return those identifiers that are somebody else's by now, and must not fall with their former owner."""
    found = yield from Find(call.account, tuple(sorted(names)))
    return {
        match.identifier for match in found.matches if match.retired_at is None and match.binding.key not in bindings
    }


def _current(binding: Binding) -> Iterator[Identifier]:
    if binding.external_id is not None:
        yield Identifier(Kind.EXTERNAL_ID, binding.external_id)
    if binding.email is not None:
        yield Identifier(Kind.EMAIL, binding.email)
