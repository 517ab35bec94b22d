"""Each call of the contract as one call of a script: its arguments, and how its answer is read.

Decided here: how values are packed into bytes. Pure functions; both stores send what these return.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding
from safeklaviyo.stores import calls
from safeklaviyo.stores.base import BindOutcome, Found, JournalEntry, JournalRow, Lease, Match, Notes, Page
from safeklaviyo.stores.redis._scripts import READS, WRITES
from safeklaviyo.stores.rows import owned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from safeklaviyo.stores.base import AddStatus, Change
    from safeklaviyo.stores.calls import Call
    from safeklaviyo.stores.redis._scripts import Script

T = TypeVar("T")

FIELD: Final = "\udcff"
"""The byte between two fields, as ``surrogateescape`` reads it."""

NONE: Final = "\udcfe"
RECORD: Final = "\udcfd"
# None of the three occurs in UTF-8, so no text has to be escaped.
_FIELD, _NONE = b"\xff", b"\xfe"

_LETTERS: Final = {
    Kind.EXTERNAL_ID: b"x",
    Kind.EMAIL: b"e",
    Kind.PROFILE_ID: b"p",
    Kind.PHONE_NUMBER: b"t",
}
_KINDS: Final = {letter.decode(): kind for kind, letter in _LETTERS.items()}
_STATUSES: Final[dict[str, AddStatus]] = {"a": "added", "u": "unchanged", "c": "conflict"}
_MICRO: Final = 1_000_000


class Packed(NamedTuple, Generic[T]):
    """One call of a script.

    Attributes:
        operation: The operation's name in the script.
        read: Turns the text of the answer into a value.
        keys: How many of the account's keys the operation needs. Each further key makes the command longer.
    """

    script: Script
    operation: bytes
    arguments: Sequence[bytes]
    read: Callable[[str], T]
    keys: int


def packed(call: Call[T]) -> Packed[T]:
    """Return the script, the arguments and the reader of a call."""
    kind = type(call)
    arguments, read = _PACKING[kind](call)
    script = READS if call.is_read else WRITES
    return Packed(script, call.method.encode(), arguments, read, 1 if kind in _OF_THE_MAP_ALONE else 4)


def _micro(seconds: float) -> bytes:
    # Whole microseconds, which Lua's doubles hold exactly.
    return b"%.0f" % (seconds * _MICRO)


def _text(value: str | None) -> bytes:
    return _NONE if value is None else value.encode()


def _name(identifier: Identifier) -> bytes:
    return _LETTERS[identifier.kind] + identifier.value.encode()


def _names(identifiers: Iterable[Identifier]) -> bytes:
    return _FIELD.join([_name(each) for each in identifiers])


def _row(binding: Binding) -> bytes:
    values = (binding.external_id, binding.email, binding.profile_id, binding.phone_number)
    # Unlike other times, this one is the caller's: `repr` keeps every digit of the float.
    verified_at = _NONE if binding.verified_at is None else repr(binding.verified_at).encode()
    return _FIELD.join((*[_text(each) for each in values], verified_at))


def _former_row(owner: Identifier, match: Match) -> bytes:
    assert match.retired_at is not None
    return _FIELD.join((_name(owner), _name(match.identifier), _micro(match.retired_at)))


def _copied_row(binding: Binding, row: JournalRow) -> bytes:
    # Both separators are needed: the names and the row's own values are lists of fields themselves.
    values = (row.profile_id, row.external_id, row.entry.verb, row.entry.old, row.entry.new)
    return b"\xfd".join((_names(owned(binding)), _micro(row.at), _FIELD.join([_text(each) for each in values])))


def _read_text(part: str) -> str | None:
    return None if part == NONE else part


def _seconds(micro: str) -> float:
    return int(micro) / _MICRO


def _is_done(answer: str) -> bool:
    return answer == "1"


def _binding(parts: Sequence[str]) -> Binding:
    key, external_id, email, profile_id, phone_number, verified_at, version = parts
    return Binding(
        None if external_id == NONE else external_id,
        None if email == NONE else email,
        None if profile_id == NONE else profile_id,
        None if phone_number == NONE else phone_number,
        None if verified_at == NONE else float(verified_at),
        int(version),
        key,
    )


def _lease(record: str, now: str, *, taken_over: bool = False) -> Lease:
    token, expires, intent, *names = record.split(FIELD)
    identifiers = frozenset([Identifier(_KINDS[name[0]], name[1:]) for name in names])
    return Lease(int(token), identifiers, intent, (int(expires) - int(now)) / _MICRO, taken_over)


def _found(identifiers: Sequence[Identifier], answer: str) -> Found:
    # A record is a binding, of seven fields, then pairs: the number of an identifier asked for, and since when it is
    # retired from that binding (empty while it is current).
    now, lease, *records = answer.split(RECORD)
    matches: dict[int, Match] = {}
    for record in records:
        parts = record.split(FIELD)
        binding = _binding(parts[:7])
        for each in range(7, len(parts), 2):
            number, retired_at = int(parts[each]), parts[each + 1]
            matches[number] = Match(identifiers[number], binding, _seconds(retired_at) if retired_at else None)
    in_order = tuple([matches[number] for number in sorted(matches)])
    return Found(in_order, _lease(lease, now) if lease else None, _seconds(now))


def _former(asked: Mapping[str, Binding], answer: str) -> tuple[Match, ...]:
    rows = [record.split(FIELD) for record in answer.split(RECORD)] if answer else []
    return tuple([Match(Identifier(_KINDS[name[0]], name[1:]), asked[key], _seconds(at)) for key, name, at in rows])


def _notes(answer: str) -> Notes:
    following, *records = answer.split(RECORD)
    rows = [record.split(FIELD) for record in records]
    return Notes(tuple([(name, value) for name, value in rows]), following or None)


def _acquired(answer: str) -> Lease | None:
    if not answer:
        return None
    now, how, lease = answer.split(RECORD)
    return _lease(lease, now, taken_over=how == "taken over")


def _outcome(answer: str) -> BindOutcome:
    status, _, record = answer.partition(RECORD)
    named: Any = status
    return BindOutcome(named, _binding(record.split(FIELD)) if record else None)


def _statuses(answer: str) -> tuple[AddStatus, ...]:
    return tuple([_STATUSES[each] for each in answer])


def _leases(answer: str) -> tuple[Lease, ...]:
    now, *leases = answer.split(RECORD)
    return tuple([_lease(each, now) for each in leases])


def _journal(answer: str) -> tuple[JournalRow, ...]:
    return tuple([_journal_row(record) for record in answer.split(RECORD)]) if answer else ()


def _journal_row(record: str) -> JournalRow:
    number, at, key, profile_id, external_id, verb, old, new = record.split(FIELD)
    entry = JournalEntry(verb, _read_text(old), _read_text(new))
    return JournalRow(int(number), _seconds(at), key, _read_text(profile_id), _read_text(external_id), entry)


def _bindings(answer: str) -> tuple[Binding, ...]:
    return tuple([_binding(record.split(FIELD)) for record in answer.split(RECORD)]) if answer else ()


def _page(answer: str) -> Page:
    following, *records = answer.split(RECORD)
    return Page(tuple([_binding(record.split(FIELD)) for record in records]), following or None)


def _change(change: Change) -> tuple[bytes, ...]:
    binding, entry = change.binding, change.journal
    return (
        _token(change.token),
        b"1" if change.verified else b"0",
        binding.key.encode(),
        b"%d" % binding.version,
        _row(binding),
        _names(change.retire),
        _FIELD.join([key.encode() for key in change.absorb]),
        b"" if entry is None else _FIELD.join((_text(entry.verb), _text(entry.old), _text(entry.new))),
    )


def _token(token: int | None) -> bytes:
    return b"" if token is None else b"%d" % token


def _start(after: str | None) -> bytes:
    # A cursor of another kind of store is not one of this store's numbers: begin at the beginning, not with an error.
    return after.encode() if after is not None and after.isascii() and after.isdigit() else b"0"


def _by_key(bindings: Sequence[Binding]) -> dict[str, Binding]:
    return {binding.key: binding for binding in bindings}


_PACKING: Final[dict[type, Callable[[Any], tuple[Sequence[bytes], Callable[[str], Any]]]]] = {
    calls.Find: lambda call: ([_name(each) for each in call.identifiers], partial(_found, call.identifiers)),
    calls.Acquire: lambda call: ((_names(call.identifiers), call.intent.encode(), _micro(call.ttl)), _acquired),
    calls.Renew: lambda call: ((b"%d" % call.token, _micro(call.ttl), _text(call.intent)), _is_done),
    calls.Release: lambda call: ((b"%d" % call.token,), _is_done),
    calls.Bind: lambda call: (_change(call.change), _outcome),
    calls.Add: lambda call: ([_row(each) for each in call.bindings], _statuses),
    calls.Remove: lambda call: ((_name(call.identifier), _token(call.token)), _is_done),
    calls.ReleaseIdentifier: lambda call: ((_name(call.identifier),), _is_done),
    calls.Expired: lambda call: ((b"%d" % call.limit,), _leases),
    calls.Leases: lambda call: ((b"%d" % call.limit,), _leases),
    calls.Journal: lambda call: ((b"%d" % call.after, _micro(call.since), b"%d" % call.limit), _journal),
    calls.ForgetJournal: lambda call: ((call.key.encode(),), int),
    calls.ListBindings: lambda call: ((_start(call.after), b"%d" % call.limit), _page),
    calls.ReadBindings: lambda call: ([key.encode() for key in dict.fromkeys(call.keys)], _bindings),
    calls.Former: lambda call: (
        [key.encode() for key in _by_key(call.bindings)],
        partial(_former, _by_key(call.bindings)),
    ),
    calls.Restore: lambda call: (
        [_former_row(owner, match) for match in call.former for owner in owned(match.binding)[:1]],
        int,
    ),
    calls.RestoreJournal: lambda call: ([_copied_row(binding, row) for binding, row in call.rows], int),
    calls.Count: lambda _: ((), int),
    calls.Recall: lambda call: ((call.name.encode(),), _read_text),
    calls.Remember: lambda call: (
        (call.name.encode(), _text(call.value), _token(call.token), b"%d" % call.new),
        _is_done,
    ),
    # The cursor is one of HSCAN, for which the limit counts every field of the map, not the notes alone.
    calls.ListNotes: lambda call: ((_start(call.after), b"%d" % call.limit), _notes),
}
"""The arguments of each call, and the reader of its answer."""

_OF_THE_MAP_ALONE: Final = frozenset({calls.Find, calls.ReadBindings, calls.Former, calls.Recall, calls.ListNotes})
"""Calls that need the map's key only."""
