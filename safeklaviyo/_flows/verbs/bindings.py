"""The identity map as its owner sees it: looking bindings up, adding them in bulk, forgetting them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, cast

from safeklaviyo._effects import Now
from safeklaviyo._flows.call import Setup, run, start_deadline
from safeklaviyo._flows.identity.tombstones import remove_tombstone
from safeklaviyo._input.phones import phone_number_from
from safeklaviyo._rules.claims import claim_from
from safeklaviyo.errors import InvalidIdentifierError
from safeklaviyo.identity import Identifier, Kind, normalise_email, normalise_profile_id
from safeklaviyo.models import Binding, ImportReport
from safeklaviyo.stores.calls import Add, Find, ListBindings, ReleaseIdentifier, Remove

if TYPE_CHECKING:
    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call
    from safeklaviyo.stores.base import Page

ROWS_AT_ONCE = 1000
_COLUMNS = frozenset({"external_id", "email", "profile_id", "phone_number"})
_CONFLICT = "one of its identifiers is another customer's in the map, or another call holds the lease on it"


def get_binding(setup: Setup, *, external_id: object, email: object) -> Flow[Binding | None]:
    """See `Bindings.get`."""
    return run(setup, "bindings.get", lambda call: _get(call, external_id=external_id, email=email))


def remove_binding(setup: Setup, *, external_id: object, email: object) -> Flow[bool]:
    """See `Bindings.remove`."""
    return run(setup, "bindings.remove", lambda call: _remove(call, external_id=external_id, email=email))


def list_bindings(setup: Setup, *, after: str | None) -> Flow[Page]:
    """Fetch one page for the iteration of `Bindings`."""
    return run(setup, "bindings", lambda call: _page(call, after))


def add_bindings(setup: Setup, rows: Iterable[Binding | Mapping[str, object]], *, trusted: bool) -> Flow[ImportReport]:
    """See `Bindings.add`."""
    return run(setup, "bindings.add", lambda call: _add(call, rows, trusted=trusted))


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


def _add(call: Call, rows: Iterable[Binding | Mapping[str, object]], *, trusted: bool) -> Flow[ImportReport]:
    """Add rows in the order given, each on its own merits, in transactions of a thousand."""
    # Trusted rows count as checked now; others are read at their first use (R16).
    verified_at = (yield from Now()) if trusted else None
    added = unchanged = 0
    refused: list[tuple[int, str]] = []
    warnings: list[tuple[int, str]] = []
    numbered = enumerate(rows)
    # In parts, because `rows` may be a generator of millions. One bad row must not cost the others.
    while part := list(islice(numbered, ROWS_AT_ONCE)):
        good: list[tuple[int, Binding]] = []
        for number, row in part:
            try:
                binding, phone_problem = _binding(call, row, verified_at)
                good.append((number, binding))
                if phone_problem is not None:
                    warnings.append((number, phone_problem))
            except InvalidIdentifierError as error:
                refused.append((number, str(error)))
        yield from start_deadline(call)
        statuses = yield from Add(call.account, tuple(binding for _, binding in good))
        for (number, _), status in zip(good, statuses, strict=True):
            added += status == "added"
            unchanged += status == "unchanged"
            if status == "conflict":
                refused.append((number, _CONFLICT))
    return ImportReport(added, unchanged, tuple(sorted(refused)), tuple(warnings))


def _one(call: Call, external_id: object, email: object) -> Identifier:
    if (external_id is None) is (email is None):
        raise InvalidIdentifierError("give either an external_id or an email", rule="R2")
    return claim_from(external_id, email, None, call.policy).identifiers()[0]


def _binding(call: Call, given_row: object, verified_at: float | None) -> tuple[Binding, str | None]:
    """Return what a row says, and why its phone number was left out, if it was."""
    is_binding = isinstance(given_row, Binding)
    columns: object = {name: getattr(given_row, name) for name in _COLUMNS} if is_binding else given_row
    if not isinstance(columns, Mapping):
        raise InvalidIdentifierError(f"the row is a {type(given_row).__name__}; give a mapping or a Binding")
    row = cast("Mapping[str, object]", columns)
    # A misspelt column would be lost in silence (F-24).
    unknown = row.keys() - _COLUMNS
    if unknown:
        raise InvalidIdentifierError("the row has an unknown column; known are " + ", ".join(sorted(_COLUMNS)))
    given = {name: value for name, value in row.items() if not _is_empty(value)}
    if "email" not in given:
        raise InvalidIdentifierError("the row has no email: an external_id alone would make a duplicate", rule="R9")
    claim = claim_from(given.get("external_id"), given["email"], None, call.policy)
    profile_id = given.get("profile_id")
    phone_number, phone_problem = None, None
    # R14: a phone decides nothing, so an unusable one must not cost the row.
    if "phone_number" in given:
        try:
            phone_number = phone_number_from(given["phone_number"], call.policy.phone_region)
        except InvalidIdentifierError as error:
            phone_problem = f"{error}; it was left out"
    known_id = None if profile_id is None else normalise_profile_id(profile_id)
    return Binding(claim.external_id, claim.email, known_id, phone_number, verified_at=verified_at), phone_problem


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _release(call: Call, email: object) -> Flow[bool]:
    """Forget that an address once belonged to a customer, and that this customer was erased."""
    # Both, whether or not the first was there: an address may be retired from one customer, and another one erased.
    identifier = Identifier(Kind.EMAIL, normalise_email(email))
    was_retired = yield from ReleaseIdentifier(call.account, identifier)
    was_erased = yield from remove_tombstone(call, identifier)
    return was_retired or was_erased
