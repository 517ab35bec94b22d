"""`bindings.add`: the shop's customers into the map, each row by itself, a thousand in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from safeklaviyo._effects import Now
from safeklaviyo._flows.binding import bind
from safeklaviyo._flows.call import Setup, run
from safeklaviyo._flows.deadlines import start_deadline
from safeklaviyo._flows.identity.ties import Search
from safeklaviyo._flows.identity.tombstones import erased_among
from safeklaviyo._input.shop_rows import claims_of, shop_row_from
from safeklaviyo._rules.additions import former_conflict, names_of, why_refused
from safeklaviyo.errors import ConfigurationError, InvalidIdentifierError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.models import Binding, ImportReport
from safeklaviyo.stores.base import Change, Match
from safeklaviyo.stores.calls import Add, Find, Restore

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Call

ROWS_AT_ONCE = 1000

_ERASED = "this customer was erased; if they have come back, release their email first"
_OTHER_PHONE = "the map has another phone_number for this customer; it was left out"


@dataclass(frozen=True, slots=True, repr=False)
class _Entry:
    """One row that can be read.

    Attributes:
        number: Its number among all rows, from 0.
        is_tied: Klaviyo shows the pair on the binding's profile.
    """

    number: int
    binding: Binding
    former: tuple[Identifier, ...] = ()
    is_tied: bool = False


@dataclass(slots=True)
class _Report:
    """What became of the rows so far, by their numbers."""

    added: int = 0
    unchanged: int = 0
    verified: int = 0
    refused: dict[int, str] = field(default_factory=dict[int, str])
    warnings: dict[int, str] = field(default_factory=dict[int, str])

    def whole(self) -> ImportReport:
        """Return the report as the caller gets it."""
        refused, warnings = tuple(sorted(self.refused.items())), tuple(sorted(self.warnings.items()))
        return ImportReport(self.added, self.unchanged, refused, warnings, self.verified)


def add_bindings(
    setup: Setup, rows: Iterable[Binding | Mapping[str, object]], *, trusted: bool, verify: bool
) -> Flow[ImportReport]:
    """See `Bindings.add`."""
    return run(setup, "bindings.add", lambda call: _add(call, rows, trusted=trusted, verify=verify))


def _add(
    call: Call, rows: Iterable[Binding | Mapping[str, object]], *, trusted: bool, verify: bool
) -> Flow[ImportReport]:
    """Add rows in the order given."""
    if verify and trusted:
        raise ConfigurationError("give one of trusted and verify: rows that are trusted are not asked about")
    if verify and not call.dialect.has_lists:
        raise ConfigurationError("the legacy API cannot be asked about many profiles at once; leave verify out")
    report, search = _Report(), Search()
    numbered = enumerate(rows)
    # In parts, because `rows` may be a generator of millions.
    while part := list(islice(numbered, ROWS_AT_ONCE)):
        entries = _readable(call, part, report)
        # Step 1: ask Klaviyo. A row that Klaviyo contradicts must not be in the map, where calls would rely on it.
        if verify:
            entries = yield from _tied(call, search, entries, report)
        yield from start_deadline(call)
        # Step 2: leave out what must not be added. This has to come before the rows are in the map.
        if trusted or verify:
            entries = yield from _without_erased(call, entries, report, trusted=trusted)
        entries = yield from _without_former_conflicts(call, part, entries, report)
        # Step 3: add the rest, and then what belongs to rows that are in the map.
        now = (yield from Now()) if trusted or verify else None
        entries = yield from _added(call, entries, report, verified_at=now, trusted=trusted)
        yield from _retire_former(call, entries)
    return report.whole()


def _readable(call: Call, part: Iterable[tuple[int, object]], report: _Report) -> list[_Entry]:
    """Read the rows. A bad row costs no other one."""
    entries: list[_Entry] = []
    for number, given in part:
        try:
            row = shop_row_from(given, call.policy)
        except InvalidIdentifierError as error:
            report.refused[number] = str(error)
            continue
        entries.append(_Entry(number, row.binding, row.former))
        if row.left_out is not None:
            report.warnings[number] = row.left_out
    return entries


def _tied(call: Call, search: Search, entries: Sequence[_Entry], report: _Report) -> Flow[list[_Entry]]:
    """Tie rows to Klaviyo's profiles, and refuse those that Klaviyo contradicts."""
    ties = yield from search.tie(call, [entry.binding for entry in entries])
    kept: list[_Entry] = []
    for entry, tie in zip(entries, ties, strict=True):
        if tie.problem is not None:
            report.refused[entry.number] = tie.problem
        else:
            kept.append(replace(entry, binding=tie.binding, is_tied=tie.is_tied))
    return kept


def _without_erased(call: Call, entries: Sequence[_Entry], report: _Report, *, trusted: bool) -> Flow[list[_Entry]]:
    """Refuse rows about customers who were erased, which would count as checked and so never meet their tombstone."""
    emails = {
        entry.number: Identifier(Kind.EMAIL, str(entry.binding.email)) for entry in entries if trusted or entry.is_tied
    }
    if not emails:
        return list(entries)
    erased = yield from erased_among(call, emails.values())
    refused = {number for number, email in emails.items() if email in erased}
    report.refused.update(dict.fromkeys(refused, _ERASED))
    return [entry for entry in entries if entry.number not in refused]


def _without_former_conflicts(
    call: Call, part: Iterable[tuple[int, object]], entries: Sequence[_Entry], report: _Report
) -> Flow[list[_Entry]]:
    """Refuse rows with a former identifier that is another customer's."""
    former = {identifier for entry in entries for identifier in entry.former}
    if not former:
        return list(entries)
    found = yield from Find(call.account, tuple(sorted(former)))
    known = {match.identifier: match for match in found.matches}
    # Of all rows, also those that were refused: what such a row calls current is not free for another customer (P3).
    current = former & {claim for _, given in part for claim in claims_of(given, call.policy)}
    kept: list[_Entry] = []
    for entry in entries:
        matches = [known[each] for each in entry.former if each in known]
        problem = former_conflict(entry.binding, matches, current & set(entry.former))
        if problem is None:
            kept.append(entry)
        else:
            report.refused[entry.number] = problem
    return kept


def _added(
    call: Call, entries: Sequence[_Entry], report: _Report, *, verified_at: float | None, trusted: bool
) -> Flow[list[_Entry]]:
    """Add rows to the map, and return those that are in it."""
    # A row has none of its own (`shop_row_from`).
    bindings = [
        replace(entry.binding, verified_at=verified_at) if trusted or entry.is_tied else entry.binding
        for entry in entries
    ]
    statuses = list((yield from Add(call.account, tuple(bindings))))
    # A phone number decides nothing (R14): where the map has another one, the row counts without it.
    again = [at for at, status in enumerate(statuses) if status == "conflict" and bindings[at].phone_number is not None]
    if again:
        without = tuple(replace(bindings[at], phone_number=None) for at in again)
        for at, status in zip(again, (yield from Add(call.account, without)), strict=True):
            statuses[at] = status
            if status != "conflict":
                report.warnings[entries[at].number] = _OTHER_PHONE
    kept: list[_Entry] = []
    for entry, status in zip(entries, statuses, strict=True):
        if status == "conflict":
            found = yield from Find(call.account, names_of(entry.binding))
            report.refused[entry.number] = why_refused(entry.binding, found)
            continue
        kept.append(entry)
        report.added += status == "added"
        report.unchanged += status == "unchanged"
        report.verified += entry.is_tied
        if status == "unchanged" and entry.is_tied:
            yield from _note_check(call, entry.binding)
    return kept


def _note_check(call: Call, row: Binding) -> Flow[None]:
    """Note in the map that Klaviyo agrees with a binding that the map had already, if that was not known (R16)."""
    found = yield from Find(call.account, names_of(row))
    binding = found.current(Kind.EMAIL)
    if binding is not None and binding.verified_at is None and found.lease is None:
        yield from bind(call, Change(binding))


def _retire_former(call: Call, entries: Sequence[_Entry]) -> Flow[None]:
    """Retire the rows' former identifiers, but for those that have come to another customer since they were looked up.

    They resolve to their former owner from now on, as long as the policy says (R8, R11).
    """
    with_former = [entry for entry in entries if entry.former]
    if not with_former:
        return
    # The store's clock, by which it judges how long ago that was.
    now = (yield from Find(call.account, names_of(with_former[0].binding))).now
    matches = [Match(each, entry.binding, now) for entry in with_former for each in entry.former]
    yield from Restore(call.account, tuple(matches))
