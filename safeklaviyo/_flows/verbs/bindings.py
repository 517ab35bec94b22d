"""The identity map as its owner sees it: looking bindings up, and forgetting them. Adding is in `add_bindings`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._flows.call import Setup, run
from safeklaviyo._flows.identity.tombstones import remove_tombstone
from safeklaviyo._rules.claims import claim_from
from safeklaviyo.errors import InvalidIdentifierError
from safeklaviyo.identity import Identifier, Kind, normalise_email
from safeklaviyo.stores.calls import Find, ListBindings, ReleaseIdentifier, Remove

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import Page

ROWS_AT_ONCE = 1000


def get_binding(setup: Setup, *, external_id: object, email: object) -> Flow[Binding | None]:
    """See `Bindings.get`."""
    return run(setup, "bindings.get", lambda call: _get(call, external_id=external_id, email=email))


def remove_binding(setup: Setup, *, external_id: object, email: object) -> Flow[bool]:
    """See `Bindings.remove`."""
    return run(setup, "bindings.remove", lambda call: _remove(call, external_id=external_id, email=email))


def list_bindings(setup: Setup, *, after: str | None) -> Flow[Page]:
    """Fetch one page for the iteration of `Bindings`."""
    return run(setup, "bindings", lambda call: _page(call, after))


def release_email(setup: Setup, email: object) -> Flow[bool]:
    """See `Bindings.release_email`."""
    return run(setup, "bindings.release_email", lambda call: _release(call, email))


def _get(call: Call, *, external_id: object, email: object) -> Flow[Binding | None]:
    """Return the binding on which the one identifier given is current."""
    identifier = _one(call, external_id, email)
    found = yield from Find(call.account, (identifier,))
    return found.current(identifier.kind)


def _remove(call: Call, *, external_id: object, email: object) -> Flow[bool]:
    """Forget the binding on which the one identifier given is current."""
    return (yield from Remove(call.account, _one(call, external_id, email)))


def _page(call: Call, after: str | None) -> Flow[Page]:
    """Return one page."""
    return (yield from ListBindings(call.account, after, ROWS_AT_ONCE))


def _one(call: Call, external_id: object, email: object) -> Identifier:
    if (external_id is None) is (email is None):
        raise InvalidIdentifierError("give either an external_id or an email", rule="R2")
    return claim_from(external_id, email, None, call.policy).identifiers()[0]


def _release(call: Call, email: object) -> Flow[bool]:
    """Forget that an address once belonged to a customer, and that this customer was erased."""
    # Both, whether or not the first was there: an address may be retired from one customer, and another one erased.
    identifier = Identifier(Kind.EMAIL, normalise_email(email))
    was_retired = yield from ReleaseIdentifier(call.account, identifier)
    was_erased = yield from remove_tombstone(call, identifier)
    return was_retired or was_erased
