"""What each call does, step by step, over the rows of one account (`rows`).

Decided here: what is checked, in which order, and what changes. Not here: how rows are kept, locked and made durable.
That is the store's part; the store calls `perform` inside one transaction. Each server has the same steps in its own
language (``postgres/version_1.sql``, ``redis/writes.lua``); the agreement tests of ``tests/stores`` compare all three.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from safeklaviyo.models import Binding
from safeklaviyo.stores import calls
from safeklaviyo.stores.records import BindOutcome, Found, JournalRow, Match
from safeklaviyo.stores.rows import LONGEST, Owner, owned

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
"""What carries out each kind of call. Those of one step stand here; `_means` adds the others below."""


def perform(rows: Rows, call: Call[T]) -> T:
    """Carry out a call over the rows of its account."""
    result: T = _MEANINGS[type(call)](rows, call)
    return result


def _means(kind: type[C]) -> Callable[[_Meaning[C, T]], _Meaning[C, T]]:
    def _note(meaning: _Meaning[C, T]) -> _Meaning[C, T]:
        _MEANINGS[kind] = meaning
        return meaning

    return _note


@_means(calls.Find)
def _find(rows: Rows, call: calls.Find) -> Found:
    # A lease on any identifier of a binding that is found counts, not only on those asked for: the lease's holder may
    # be about to change them all (H6).
    matches: list[Match] = []
    concerned = set(call.identifiers)
    for identifier in call.identifiers:
        owner = rows.owner(identifier)
        binding = None if owner is None else rows.binding(owner.key)
        if owner is not None and binding is not None:
            matches.append(Match(identifier, binding, owner.retired_at))
            concerned.update(owned(binding))
    tokens = [token for each in concerned if (token := rows.token(each)) is not None]
    lease = rows.lease(min(tokens)) if tokens else None
    return Found(tuple(matches), None if lease is None else lease.seen_at(rows.now), rows.now)


@_means(calls.Acquire)
def _acquire(rows: Rows, call: calls.Acquire) -> Lease | None:
    expires = rows.now + min(call.ttl, LONGEST)
    held = {token for each in call.identifiers if (token := rows.token(each)) is not None}
    # An expired lease is handed over with its own identifiers and intent, because its write has to be finished first
    # (H6). The lowest token first: of several unfinished writes the oldest is finished first.
    for token in sorted(held):
        row = rows.lease(token)
        assert row is not None
        if row.left(rows.now) <= 0:
            rows.revoke(token)
            return rows.grant(row.identifiers, row.intent, expires).seen_at(rows.now, taken_over=True)
    return None if held else rows.grant(call.identifiers, call.intent, expires).seen_at(rows.now)


@_means(calls.Renew)
def _renew(rows: Rows, call: calls.Renew) -> bool:
    # Expiry is not checked: while no call has taken the lease over, its holder is the only writer (rule 4).
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
    # First the token: a fenced caller has to stop, even if the change is stale or in conflict too (P4).
    if _is_fenced(rows, change.token):
        return BindOutcome("fenced")
    # Then the version: compare-and-set, so that a caller that read the binding before another change cannot undo that
    # change (H5). A new binding has no version; it is stale if another call has bound the same pair.
    wanted = change.binding
    current = rows.binding(wanted.key) if wanted.key else _same_pair(rows, wanted)
    is_expected = current is not None and current.version == wanted.version if wanted.key else current is None
    if not is_expected:
        return BindOutcome("stale", current)
    # Last the uniqueness: an identifier that is current on a binding outside this change stays there (P3).
    for identifier in owned(wanted):
        owner = rows.owner(identifier)
        if owner is not None and owner.retired_at is None and owner.key not in {wanted.key, *change.absorb}:
            return BindOutcome("conflict", rows.binding(owner.key))
    return BindOutcome("bound", _carry_out(rows, change, current))


@_means(calls.Add)
def _add(rows: Rows, call: calls.Add) -> tuple[AddStatus, ...]:
    return tuple([_add_one(rows, binding) for binding in call.bindings])


def _add_one(rows: Rows, binding: Binding) -> AddStatus:
    names = owned(binding)
    keys = {owner.key for each in names if (owner := rows.owner(each)) is not None and owner.retired_at is None}
    if len(keys) > 1:
        return "conflict"
    # The key and version of a row are ignored: they are those of another map, or of an export.
    current = rows.binding(keys.pop()) if keys else None
    whole = binding if current is None else _completed(current, binding)
    if whole is None:
        return "conflict"
    # Before the leases: a row that changes nothing disturbs no call, so an import can be repeated while calls run.
    if whole is current:
        return "unchanged"
    # A lease means that a call is writing about this customer; an import must not change what that call relies on.
    if any(rows.token(each) is not None for each in (names if current is None else owned(whole))):
        return "conflict"
    key, version = ("", 0) if current is None else (current.key, current.version)
    phone_number, verified_at = whole.phone_number, binding.verified_at
    _save_current(
        rows,
        Binding(whole.external_id, whole.email, whole.profile_id, phone_number, verified_at, version + 1, key),
    )
    return "added"


@_means(calls.Remove)
def _remove(rows: Rows, call: calls.Remove) -> bool:
    owner = rows.owner(call.identifier)
    # By a retired identifier, a late caller could remove a customer who only had that identifier once.
    if owner is None or owner.retired_at is not None or _is_fenced(rows, call.token):
        return False
    _dissolve(rows, owner.key)
    return True


@_means(calls.ReleaseIdentifier)
def _release_identifier(rows: Rows, call: calls.ReleaseIdentifier) -> bool:
    owner = rows.owner(call.identifier)
    if owner is None or owner.retired_at is None:
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
    # `owned` begins with the external id, then the email: the first identifier of the other map's binding that exists.
    names = owned(match.binding)
    owner = rows.owner(names[0]) if names else None
    # An identifier that has an owner here already keeps that owner, so a copy that is repeated changes nothing.
    if owner is None or owner.retired_at is not None or rows.owner(match.identifier) is not None:
        return False
    rows.put(match.identifier, Owner(owner.key, match.retired_at))
    return True


@_means(calls.RestoreJournal)
def _restore_journal(rows: Rows, call: calls.RestoreJournal) -> int:
    return sum([_restore_row(rows, binding, row) for binding, row in call.rows])


def _restore_row(rows: Rows, binding: Binding, row: JournalRow) -> bool:
    # All identifiers have to be current on one binding here: a row about one customer must not become another's.
    owners = {rows.owner(name) for name in owned(binding)}
    owner = owners.pop() if len(owners) == 1 else None
    if owner is None or owner.retired_at is not None:
        return False
    row = replace(row, number=0, key=owner.key)
    if rows.is_written_down(row):
        return False
    rows.write_down(row)
    return True


@_means(calls.Remember)
def _remember(rows: Rows, call: calls.Remember) -> bool:
    if _is_fenced(rows, call.token) or (call.new and rows.recall(call.name) is not None):
        return False
    rows.remember(call.name, call.value)
    return True


def _is_fenced(rows: Rows, token: int | None) -> bool:
    """Tell whether a token is given and no longer valid: its lease was released, or another call took it over."""
    return token is not None and rows.lease(token) is None


def _same_pair(rows: Rows, wanted: Binding) -> Binding | None:
    """Return the binding that has the same external id and the same email, if there is one."""
    for identifier in owned(replace(wanted, profile_id=None)):
        owner = rows.owner(identifier)
        current = None if owner is None or owner.retired_at is not None else rows.binding(owner.key)
        if current is not None and current.identity == wanted.identity:
            return current
    return None


def _carry_out(rows: Rows, change: Change, before: Binding | None) -> Binding:
    """Make a change that passed all checks, and return the binding as it is then."""
    now = rows.now
    former: dict[Identifier, float] = {}
    # Absorbed bindings go first, so that their identifiers are free for the binding that absorbs them.
    absorbed = [key for key in change.absorb if key != change.binding.key]
    for key in absorbed:
        former |= _dissolve(rows, key)
    # Only emails and external ids are retired: a former profile id must not resolve to this customer.
    if before is not None:
        for identifier in owned(before):
            rows.forget(identifier)
        former |= _all(owned(replace(before, profile_id=None)), now)
    former |= _all(change.retire, now)
    version = 1 if before is None else before.version + 1
    verified_at = now if change.verified else change.binding.verified_at
    bound = _save_current(rows, replace(change.binding, version=version, verified_at=verified_at))
    # Not before: a new binding has its key only now.
    for key in absorbed:
        rows.inherit(key, bound.key)
    # After the binding was saved: an identifier that the binding keeps is current by now, and must not be retired.
    for identifier, retired_at in former.items():
        owner = rows.owner(identifier)
        if owner is None or owner.retired_at is not None:
            rows.put(identifier, Owner(bound.key, retired_at))
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
        rows.put(identifier, Owner(saved.key))
    return saved


def _dissolve(rows: Rows, key: str) -> dict[Identifier, float]:
    """Remove a binding and its current and retired identifiers; return these, with the times of retirement."""
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


def _completed(current: Binding, row: Binding) -> Binding | None:
    """Return the binding, its missing values filled in from the row; None if the row contradicts the binding."""
    missing: dict[str, Any] = {}
    for name in _ENTRIES:
        value, stands = getattr(row, name), getattr(current, name)
        if value is None or value == stands:
            continue
        if stands is not None:
            return None
        missing[name] = value
    # The very same one if the row says nothing new.
    return replace(current, **missing) if missing else current
