"""What each call means, step by step, over the few things that a store of one host must know how to do.

Decided here: what is checked, in which order, and what changes. Not here: how rows are kept, locked and made durable.
That is the store's part; it calls `perform` inside one transaction. Each server has the same steps in its own language
(``postgres/version_1.sql``, ``redis/writes.lua``); the tests of agreement compare all three.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from safeklaviyo.models import Binding
from safeklaviyo.stores import calls
from safeklaviyo.stores.records import BindOutcome, Found, JournalRow, Match
from safeklaviyo.stores.rows import LONGEST, Place, owned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from safeklaviyo.identity import Identifier
    from safeklaviyo.stores.calls import Call
    from safeklaviyo.stores.records import AddStatus, Change, Lease
    from safeklaviyo.stores.rows import Rows

T = TypeVar("T")
C = TypeVar("C", bound="Call[Any]")
_Meaning: TypeAlias = "Callable[[Rows, C], T]"

_ENTRIES = tuple(each.name for each in fields(Binding) if each.name not in {"verified_at", "version", "key"})
_MEANINGS: Final[dict[type, Callable[[Rows, Any], Any]]] = {
    calls.Journal: lambda rows, call: rows.journal(call.since, call.after, call.limit),
    calls.ForgetJournal: lambda rows, call: rows.forget_journal(call.key),
    calls.ListBindings: lambda rows, call: rows.page(call.after, call.limit),
    calls.ReadBindings: lambda rows, call: rows.bindings(call.keys),
    calls.Count: lambda rows, _: rows.count(),
    calls.Recall: lambda rows, call: rows.recall(call.name),
    calls.ListNotes: lambda rows, call: rows.notes(call.after, call.limit),
}
"""Those that take one step; the others follow."""


def perform(rows: Rows, call: Call[T]) -> T:
    """Carry out a call over the rows of its account."""
    result: T = _MEANINGS[type(call)](rows, call)
    return result


def _means(kind: type[C]) -> Callable[[_Meaning[C, T]], _Meaning[C, T]]:
    def note(meaning: _Meaning[C, T]) -> _Meaning[C, T]:
        _MEANINGS[kind] = meaning
        return meaning

    return note


@_means(calls.Find)
def _find(rows: Rows, call: calls.Find) -> Found:
    # A lease on any identifier of a binding found counts, not only on those asked for: its call may write them all.
    matches: list[Match] = []
    concerned = set(call.identifiers)
    for identifier in call.identifiers:
        place = rows.place(identifier)
        binding = None if place is None else rows.binding(place.key)
        if place is not None and binding is not None:
            matches.append(Match(identifier, binding, place.retired_at))
            concerned.update(owned(binding))
    tokens = [token for each in concerned if (token := rows.token(each)) is not None]
    lease = rows.lease(min(tokens)) if tokens else None
    return Found(tuple(matches), None if lease is None else lease.seen_at(rows.now), rows.now)


@_means(calls.Acquire)
def _acquire(rows: Rows, call: calls.Acquire) -> Lease | None:
    expires = rows.now + min(call.ttl, LONGEST)
    held = {token for each in call.identifiers if (token := rows.token(each)) is not None}
    # The expired lease with the lowest token is handed over as it is, because its write has to be finished first (H6).
    for token in sorted(held):
        row = rows.lease(token)
        assert row is not None
        if row.left(rows.now) <= 0:
            rows.revoke(token)
            return rows.grant(row.identifiers, row.intent, expires).seen_at(rows.now, taken_over=True)
    return None if held else rows.grant(call.identifiers, call.intent, expires).seen_at(rows.now)


@_means(calls.Renew)
def _renew(rows: Rows, call: calls.Renew) -> bool:
    # Expiry is not asked for: a lease that no call has taken over still fences, so its holder may go on (rule 4).
    row = rows.lease(call.token)
    if row is None:
        return False
    rows.extend(call.token, row.intent if call.intent is None else call.intent, rows.now + min(call.ttl, LONGEST))
    return True


@_means(calls.Release)
def _release(rows: Rows, call: calls.Release) -> bool:
    if rows.lease(call.token) is None:
        return False
    rows.revoke(call.token)
    return True


@_means(calls.Bind)
def _bind(rows: Rows, call: calls.Bind) -> BindOutcome:
    change = call.change
    # First the token: a fenced caller learns no more than that, because it must not write on (P4).
    if _is_fenced(rows, change.token):
        return BindOutcome("fenced")
    # Then the version: compare-and-set, so that what the caller read long ago does not win (H5).
    wanted = change.binding
    stands = rows.binding(wanted.key) if wanted.key else _same_pair(rows, wanted)
    is_expected = stands is not None and stands.version == wanted.version if wanted.key else stands is None
    if not is_expected:
        return BindOutcome("stale", stands)
    # Last the uniqueness: an identifier that is current on a binding outside this change stays there (P3).
    for identifier in owned(wanted):
        place = rows.place(identifier)
        if place is not None and place.retired_at is None and place.key not in {wanted.key, *change.absorb}:
            return BindOutcome("conflict", rows.binding(place.key))
    return BindOutcome("bound", _carry_out(rows, change, stands))


@_means(calls.Add)
def _add(rows: Rows, call: calls.Add) -> tuple[AddStatus, ...]:
    return tuple([_add_one(rows, binding) for binding in call.bindings])


def _add_one(rows: Rows, binding: Binding) -> AddStatus:
    places = [place for each in owned(binding) if (place := rows.place(each)) is not None and place.retired_at is None]
    keys = {place.key for place in places}
    if len(keys) > 1:
        return "conflict"
    stands = rows.binding(keys.pop()) if keys else None
    whole = replace(binding, key="", version=0) if stands is None else _completed(stands, binding)
    if whole is None:
        return "conflict"
    if whole == stands:
        return "unchanged"
    # A lease means that a call is writing about this customer; an import must not change what it relies on.
    if any(rows.token(each) is not None for each in owned(whole)):
        return "conflict"
    _save_current(rows, replace(whole, version=whole.version + 1, verified_at=binding.verified_at))
    return "added"


@_means(calls.Remove)
def _remove(rows: Rows, call: calls.Remove) -> bool:
    place = rows.place(call.identifier)
    if place is None or place.retired_at is not None or _is_fenced(rows, call.token):
        return False
    _dissolve(rows, place.key)
    return True


@_means(calls.ReleaseIdentifier)
def _release_identifier(rows: Rows, call: calls.ReleaseIdentifier) -> bool:
    place = rows.place(call.identifier)
    if place is None or place.retired_at is None:
        return False
    rows.forget(call.identifier)
    return True


@_means(calls.Expired)
def _expired(rows: Rows, call: calls.Expired) -> tuple[Lease, ...]:
    return tuple([row.seen_at(rows.now) for row in rows.leases(call.limit, expired=True)])


@_means(calls.Leases)
def _leases(rows: Rows, call: calls.Leases) -> tuple[Lease, ...]:
    return tuple([row.seen_at(rows.now) for row in rows.leases(call.limit, expired=False)])


@_means(calls.Former)
def _former(rows: Rows, call: calls.Former) -> tuple[Match, ...]:
    asked = {binding.key: binding for binding in call.bindings}
    return tuple([Match(identifier, asked[key], at) for key, identifier, at in rows.retired(asked)])


@_means(calls.Restore)
def _restore(rows: Rows, call: calls.Restore) -> int:
    return sum([_restore_one(rows, match) for match in call.former])


def _restore_one(rows: Rows, match: Match) -> bool:
    assert match.retired_at is not None
    names = owned(match.binding)
    owner = rows.place(names[0]) if names else None
    if owner is None or owner.retired_at is not None or rows.place(match.identifier) is not None:
        return False
    rows.put(match.identifier, Place(owner.key, match.retired_at))
    return True


@_means(calls.RestoreJournal)
def _restore_journal(rows: Rows, call: calls.RestoreJournal) -> int:
    return sum([_restore_row(rows, binding, row) for binding, row in call.rows])


def _restore_row(rows: Rows, binding: Binding, row: JournalRow) -> bool:
    places = {rows.place(name) for name in owned(binding)}
    place = places.pop() if len(places) == 1 else None
    if place is None or place.retired_at is not None:
        return False
    row = replace(row, number=0, key=place.key)
    if rows.is_written_down(row):
        return False
    rows.write_down(row)
    return True


@_means(calls.Remember)
def _remember(rows: Rows, call: calls.Remember) -> bool:
    if _is_fenced(rows, call.token):
        return False
    rows.remember(call.name, call.value)
    return True


def _is_fenced(rows: Rows, token: int | None) -> bool:
    """Tell whether a token is given and no longer valid: its lease was released, or another call took it over."""
    return token is not None and rows.lease(token) is None


def _same_pair(rows: Rows, wanted: Binding) -> Binding | None:
    """Return the binding that has the pair already, if there is a pair to speak of."""
    for identifier in owned(replace(wanted, profile_id=None)):
        place = rows.place(identifier)
        stands = None if place is None or place.retired_at is not None else rows.binding(place.key)
        if stands is not None and stands.identity == wanted.identity:
            return stands
    return None


def _carry_out(rows: Rows, change: Change, stands: Binding | None) -> Binding:
    """Make a change that passed all checks, and return the binding as it is then."""
    now = rows.now
    former: dict[Identifier, float] = {}
    # What is absorbed goes first, so that its identifiers are free for the binding that absorbs it.
    absorbed = [key for key in change.absorb if key != change.binding.key]
    for key in absorbed:
        former |= _dissolve(rows, key)
    # Only emails and external ids are retired: a former profile id must not resolve to this customer.
    if stands is not None:
        for identifier in owned(stands):
            rows.forget(identifier)
        former |= _all(owned(replace(stands, profile_id=None)), now)
    former |= _all(change.retire, now)
    version = 1 if stands is None else stands.version + 1
    verified_at = now if change.verified else change.binding.verified_at
    bound = _save_current(rows, replace(change.binding, version=version, verified_at=verified_at))
    for key in absorbed:
        rows.inherit(key, bound.key)
    # After the binding was saved: an identifier that it keeps is current by now, and is not retired here.
    for identifier, retired_at in former.items():
        place = rows.place(identifier)
        if place is None or place.retired_at is not None:  # ownership beats retirement
            rows.put(identifier, Place(bound.key, retired_at))
    # The lease ends in the same transaction as the change, so that no process can be killed between the two.
    if change.token is not None:
        rows.revoke(change.token)
    if change.journal is not None:
        rows.write_down(JournalRow(0, now, bound.key, bound.profile_id, bound.external_id, change.journal))
    return bound


def _save_current(rows: Rows, binding: Binding) -> Binding:
    """Write a binding, and make its identifiers current on it."""
    saved = rows.save(binding)
    for identifier in owned(saved):
        rows.put(identifier, Place(saved.key))
    return saved


def _dissolve(rows: Rows, key: str) -> dict[Identifier, float]:
    """Remove a binding with all that is or was its, and return that, with the times of retirement."""
    binding = rows.binding(key)
    if binding is None:
        return {}
    former = {identifier: at for _, identifier, at in rows.retired((key,))} | _all(owned(binding), rows.now)
    for identifier in former:
        rows.forget(identifier)
    rows.drop(key)
    return former


def _all(identifiers: Iterable[Identifier], at: float) -> dict[Identifier, float]:
    return dict.fromkeys(identifiers, at)


def _completed(stands: Binding, row: Binding) -> Binding | None:
    """Return the binding with what it lacks filled in; None where the row contradicts it."""
    given = {name: value for name in _ENTRIES if (value := getattr(row, name)) is not None}
    if any(getattr(stands, name) not in {None, value} for name, value in given.items()):
        return None
    return replace(stands, **given)
