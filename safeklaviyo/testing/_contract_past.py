"""The tests of reading and copying a map's history: retired identifiers, the journal and notes."""

# ruff: noqa: SIM300 - what is expected stands first, as in every test of this project

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change, JournalEntry, JournalRow, Match
from safeklaviyo.testing._contract_base import (
    LONG,
    SHOP,
    StoreClock,
    StoreFixtures,
    ann,
    ben,
    bound,
    email,
    external_id,
    former_owner,
    leased,
    match_of,
    now,
    owner,
    profile_id,
    renamed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeklaviyo.stores.base import IdentityStore

    RowOfBinding: TypeAlias = tuple[Binding, JournalRow]

WHEN = 1_700_000_000.25
# A number, because a store with numbers as keys would look for it.
UNKNOWN = Binding("nobody", None, key="4711")


def all_notes(store: IdentityStore, limit: int) -> Iterator[tuple[str, str]]:
    """Yield all notes, part by part."""
    part = store.notes(SHOP, limit=limit)
    yield from part.notes
    while part.next is not None:
        part = store.notes(SHOP, after=part.next, limit=limit)
        yield from part.notes


def row_of(binding: Binding, *entry: str | None, at: float = WHEN, profile_id: str | None = "P then") -> RowOfBinding:
    """Return a row of another map's journal, about a binding that had other identifiers at that time."""
    verb, old, new = (*entry, None, None, None)[:3]
    assert verb is not None
    row = JournalRow(4711, at, "another map's", profile_id, "x then", JournalEntry(verb, old, new))
    return replace(binding, key="another map's", version=9), row


def kept(store: IdentityStore, since: float = 0.0, after: int = 0) -> list[tuple[str, float, str, str | None]]:
    """Return of each row of the journal its binding's key, its time, its verb, and the new value."""
    rows = store.journal(SHOP, since=since, after=after)
    return [(row.key, row.at, row.entry.verb, row.entry.new) for row in rows]


class PastRules(StoreFixtures):
    """`IdentityStore.bindings`, `former`, `restore` and `notes`."""

    def test_bindings_are_told_by_their_keys(self, store: IdentityStore) -> None:
        """Each binding is returned once; a key that is gone, of another account or of no store is skipped."""
        first, other, gone = ann(store), ben(store), bound(store, Change(Binding("cid", None)))
        assert store.remove(SHOP, external_id("cid"))
        keys = [first.key, gone.key, UNKNOWN.key, "", "no key", other.key, first.key]
        assert {first, other} == set(store.bindings(SHOP, keys))
        assert 2 == len(store.bindings(SHOP, keys))
        assert ((), ()) == (store.bindings("another", keys), store.bindings(SHOP, ()))

    def test_a_thousand_bindings_are_told_at_once(self, store: IdentityStore) -> None:
        """One call reads a thousand bindings."""
        store.add(SHOP, [Binding(str(number), None) for number in range(1000)])
        expected = store.page(SHOP).bindings
        assert set(expected) == set(store.bindings(SHOP, [each.key for each in expected]))

    def test_former_tells_what_is_retired_and_since_when(self, store: IdentityStore, clock: StoreClock) -> None:
        """Each identifier retired from one of the bindings is returned once, with the same time as from `find`."""
        first = renamed(store, ann(store), "new@shop.org")
        clock.advance(clock.moment)
        first = bound(store, Change(replace(first, external_id="ann2")))
        other = ben(store)
        third = renamed(store, bound(store, Change(Binding("cid", "cid@shop.org"))), "cid2@shop.org")
        found = {match.identifier: match for match in store.former(SHOP, (first, other, UNKNOWN))}
        assert {email("ann@shop.org"), external_id("ann")} == found.keys()
        for identifier, match in found.items():
            assert match == match_of(store, identifier)
        assert (email("cid@shop.org"),) == tuple(match.identifier for match in store.former(SHOP, (third,)))
        assert () == store.former(SHOP, ())

    def test_former_leaves_out_what_found_another_place(self, store: IdentityStore) -> None:
        """An address that was bound again, retired from another binding, or released is not returned any more."""
        first = renamed(store, renamed(store, ann(store), "b@shop.org"), "c@shop.org")
        other = bound(store, Change(Binding("new", "ann@shop.org")))
        assert [email("b@shop.org")] == [match.identifier for match in store.former(SHOP, (first,))]
        other = renamed(store, other, "d@shop.org")
        assert [email("b@shop.org")] == [match.identifier for match in store.former(SHOP, (first,))]
        pairs = [(match.identifier, match.binding) for match in store.former(SHOP, (first, other))]
        assert [(email("ann@shop.org"), other), (email("b@shop.org"), first)] == sorted(pairs, key=str)
        first = renamed(store, first, "b@shop.org")
        assert [email("c@shop.org")] == [match.identifier for match in store.former(SHOP, (first,))]
        assert store.release_identifier(SHOP, email("c@shop.org"))
        assert () == store.former(SHOP, (first,))
        third = bound(store, Change(Binding("cid", None), retire=frozenset({email("cid@shop.org")})))
        third = bound(store, Change(replace(third, email="cid@shop.org")))
        assert () == store.former(SHOP, (third,))

    def test_former_keeps_to_its_account(self, store: IdentityStore) -> None:
        """A key of another account leads to no binding."""
        first = renamed(store, ann(store), "new@shop.org")
        assert () == store.former("another", (first,))

    def test_restore_retires_as_of_then(self, store: IdentityStore) -> None:
        """An identifier is retired from the binding with the external id, with the time given."""
        stands = ann(store)
        asked = Binding("ann", "other@shop.org", "POTHER", key="another map's")
        former = [Match(email("old@shop.org"), asked, WHEN), Match(profile_id("POLD"), asked, WHEN + 0.5)]
        assert 2 == store.restore(SHOP, former)
        expected = {Match(each.identifier, stands, each.retired_at) for each in former}
        assert expected == set(store.former(SHOP, (stands,)))
        assert expected == set(store.find(SHOP, [each.identifier for each in former]).matches)
        assert 0 == store.restore(SHOP, former)
        assert 0 == store.restore(SHOP, ())

    def test_restore_adds_to_what_is_retired(self, store: IdentityStore) -> None:
        """An identifier that was retired before stays retired."""
        stands = renamed(store, ann(store), "new@shop.org")
        assert 1 == store.restore(SHOP, [Match(email("older@shop.org"), stands, WHEN)])
        names = {match.identifier for match in store.former(SHOP, (stands,))}
        assert {email("ann@shop.org"), email("older@shop.org")} == names

    def test_restore_finds_a_guest_by_email_and_a_nameless_one_by_profile(self, store: IdentityStore) -> None:
        """Without an external id the binding is found by the email, and without either by the profile id."""
        guest = bound(store, Change(Binding(None, "guest@shop.org", "PG")))
        nameless = bound(store, Change(Binding(None, None, "PN")))
        rows = [
            Match(email("g@old.org"), Binding(None, "guest@shop.org", "PN"), WHEN),
            Match(email("n@old.org"), Binding(None, None, "PN"), WHEN),
        ]
        assert 2 == store.restore(SHOP, rows)
        assert (guest, nameless) == tuple(former_owner(store, row.identifier) for row in rows)

    def test_restore_passes_over_what_has_a_place(self, store: IdentityStore) -> None:
        """An identifier that has an owner here keeps it, and one without a binding here is skipped."""
        first, second = renamed(store, ann(store), "new@shop.org"), ben(store)
        before = match_of(store, email("ann@shop.org"))
        rows = [
            # Current on another binding; retired from another one; of a binding that is not here; of none; of one that
            # is named by a former address; and of two, of which the first counts.
            Match(email("ben@shop.org"), first, WHEN),
            Match(email("ann@shop.org"), second, WHEN),
            Match(email("x@shop.org"), UNKNOWN, WHEN),
            Match(email("x@shop.org"), Binding(None, None), WHEN),
            Match(email("y@shop.org"), Binding(None, "ann@shop.org"), WHEN),
            Match(email("z@shop.org"), first, WHEN),
            Match(email("z@shop.org"), second, WHEN),
        ]
        assert 1 == store.restore(SHOP, rows)
        assert (second, before) == (owner(store, email("ben@shop.org")), match_of(store, email("ann@shop.org")))
        assert (None, None) == (match_of(store, email("x@shop.org")), match_of(store, email("y@shop.org")))
        assert first == former_owner(store, email("z@shop.org"))

    def test_restored_identifiers_are_like_others(self, store: IdentityStore) -> None:
        """A restored identifier can be released, bound elsewhere, absorbed and removed like any retired one."""
        first = ann(store)
        names = [email(f"{number}@old.org") for number in range(4)]
        assert 4 == store.restore(SHOP, [Match(name, first, WHEN) for name in names])
        assert store.release_identifier(SHOP, names[0])
        other = bound(store, Change(Binding("ben", names[1].value)))
        bound(store, Change(other, absorb=(first.key,)))
        match = match_of(store, names[2])
        assert match is not None
        assert (other.key, WHEN) == (match.binding.key, match.retired_at)
        assert store.remove(SHOP, external_id("ben"))
        assert (None, None) == (match_of(store, names[0]), match_of(store, names[3]))

    def test_restore_minds_no_lease(self, store: IdentityStore) -> None:
        """The holder of a lease on a restored identifier can still bind it."""
        stands = ann(store)
        lease = leased(store, email("old@shop.org"), ttl=LONG)
        assert 1 == store.restore(SHOP, [Match(email("old@shop.org"), stands, WHEN)])
        taken = bound(store, Change(Binding("new", "old@shop.org"), token=lease.token))
        assert taken == owner(store, email("old@shop.org"))

    def test_a_thousand_are_restored_at_once(self, store: IdentityStore) -> None:
        """One call restores a thousand identifiers, and one reads them."""
        stands = ann(store)
        rows = {Match(email(f"{number}@old.org"), stands, WHEN + number) for number in range(1000)}
        assert 1000 == store.restore(SHOP, tuple(rows))
        assert rows == set(store.former(SHOP, (stands,)))

    def test_notes_are_told_part_by_part(self, store: IdentityStore) -> None:
        """Following the cursors to the end yields each note of the account, under any name, and no other."""
        assert [] == list(all_notes(store, 2))
        expected = {f"note {number}": str(number) for number in range(5)} | {"": "empty", "nul\0Ω": "nul\0", "@x": ""}
        for name, value in expected.items():
            store.remember(SHOP, name, value)
        store.remember("another", "theirs", "x")
        ann(store)
        renamed(store, ben(store), "new@shop.org")
        leased(store, email("n@shop.org"))
        for limit in (1, 3, 1000):
            assert expected == dict(all_notes(store, limit))


class JournalRules(StoreFixtures):
    """`IdentityStore.restore_journal`."""

    def test_restored_rows_say_what_they_said(self, store: IdentityStore) -> None:
        """A row keeps its time and its values; it gets a binding and a number of this map."""
        stands = ann(store)
        rows = [
            row_of(stands, "change_email", "old@shop.org", "ann@shop.org"),
            row_of(stands, "adopt", profile_id=None),
        ]
        assert 2 == store.restore_journal(SHOP, rows)
        restored = store.journal(SHOP, since=0)
        expected = [replace(row, key=stands.key, number=0) for _, row in rows]
        assert expected == [replace(row, number=0) for row in restored]
        assert restored[0].number < restored[1].number
        assert stands == owner(store, external_id("ann"))

    def test_what_is_written_down_already_is_passed_over(self, store: IdentityStore) -> None:
        """An exact duplicate is skipped, even if a change made here wrote the row; any difference is another row."""
        stands = renamed(store, ann(store), "new@shop.org")
        own = store.journal(SHOP, since=0)
        rows = [row_of(stands, "change_email", "a", "b")] * 2
        assert 1 == store.restore_journal(SHOP, rows)
        assert 0 == store.restore_journal(SHOP, [*rows, (stands, own[0])])
        assert 0 == store.restore_journal(SHOP, ())
        entries = [("change_email", "a", "x"), ("change_email", "x", "b"), ("x", "a", "b"), ("change_email", "a", None)]
        others = [row_of(stands, *entry) for entry in entries]
        others += [row_of(stands, "change_email", "a", "b", at=WHEN + 0.5)]
        others += [row_of(stands, "change_email", "a", "b", profile_id=other) for other in (None, "P")]
        others += [(stands, replace(rows[0][1], external_id=other)) for other in (None, "x")]
        others.append(row_of(ben(store), "change_email", "a", "b"))
        assert len(others) == store.restore_journal(SHOP, others)
        assert 0 == store.restore_journal(SHOP, others)
        assert own == store.journal(SHOP, since=0)[:1]
        assert 2 + len(others) == len(store.journal(SHOP, since=0))

    def test_a_row_is_about_the_binding_with_all_its_identifiers(self, store: IdentityStore) -> None:
        """A row is copied only if all identifiers of its binding are current on one binding here."""
        first = renamed(store, ann(store), "new@shop.org")
        ben(store)
        before = store.journal(SHOP, since=0)
        # Each names no binding, or more than one, or none whole: its row would become another customer's past.
        strangers = [
            UNKNOWN,
            Binding(None, None),
            Binding(None, "ann@shop.org"),
            Binding("ann", "ann@shop.org"),
            Binding("ann", "ben@shop.org"),
            Binding("ben", "new@shop.org"),
            Binding("ann", "new@shop.org", "PBEN"),
            Binding("ann", "new@shop.org", "PNEW"),
            Binding("nobody", "new@shop.org", "PANN"),
        ]
        assert 0 == store.restore_journal(SHOP, [row_of(stranger, "x") for stranger in strangers])
        assert 0 == store.restore_journal("another", [row_of(first, "x")])
        assert before == store.journal(SHOP, since=0)
        parts = [Binding("ann", None), Binding(None, "new@shop.org"), Binding(None, None, "PANN"), first]
        rows = [row_of(part, "x", "", str(number)) for number, part in enumerate(parts)]
        assert 4 == store.restore_journal(SHOP, rows)
        assert [(first.key, WHEN, "x", str(number)) for number in range(4)] == kept(store, after=before[-1].number)

    def test_restored_rows_are_read_by_time_and_by_number(self, store: IdentityStore) -> None:
        """Reading since a time returns what happened since then, even if it was restored later, in order."""
        early, first = now(store), renamed(store, ann(store), "new@shop.org")
        ahead = now(store) + LONG
        rows = [row_of(first, "x", "", str(n), at=at) for n, at in enumerate((WHEN + 1, ahead, WHEN, early))]
        assert 4 == store.restore_journal(SHOP, rows)
        renamed(store, first, "newer@shop.org")
        everything = [row.entry.new for row in store.journal(SHOP, since=0)]
        assert ["new@shop.org", "0", "1", "2", "3", "newer@shop.org"] == everything
        assert [each for each in everything if each != "2"] == [each[3] for each in kept(store, since=WHEN + 1)]
        assert ["1"] == [each[3] for each in kept(store, since=ahead)]
        numbers = [row.number for row in store.journal(SHOP, since=0)]
        assert sorted(set(numbers)) == numbers
        for number, after in enumerate(numbers, start=1):
            assert everything[number:] == [each[3] for each in kept(store, after=after)]

    def test_restored_rows_are_like_others(self, store: IdentityStore) -> None:
        """Restored rows move to the binding that absorbs theirs, and can be deleted, like any other row."""
        first, other = ann(store), ben(store)
        rows = [row_of(first, "x"), row_of(other, "y"), row_of(first, "z")]
        assert 3 == store.restore_journal(SHOP, rows)
        whole = bound(store, Change(other, absorb=(first.key,)))
        assert [(whole.key, WHEN, verb, None) for verb in "xyz"] == kept(store)
        assert 0 == store.restore_journal(SHOP, [row_of(whole, "x")])
        assert 3 == store.forget_journal(SHOP, whole.key)
        assert 1 == store.restore_journal(SHOP, [row_of(whole, "x")])

    def test_a_thousand_rows_are_restored_at_once(self, store: IdentityStore) -> None:
        """One call restores a thousand rows, in order."""
        first, other = ann(store), ben(store)
        rows = [row_of((first, other)[number % 7 == 0], "x", str(number), at=WHEN + number) for number in range(1000)]
        assert 1000 == store.restore_journal(SHOP, rows)
        assert 0 == store.restore_journal(SHOP, rows[:500])
        expected = [((first, other)[number % 7 == 0].key, WHEN + number, "x", None) for number in range(1000)]
        assert expected == kept(store)

    def test_restored_rows_are_told_as_they_were(self, store: IdentityStore) -> None:
        """Any text survives, and an empty one is not the same as none."""
        stands, odd = ann(store), "nul\0Ω\1'\"é"
        rows = [
            row_of(stands, odd, odd, odd, profile_id=odd),
            row_of(stands, odd, "", None),
            row_of(stands, odd, None, ""),
        ]
        assert 3 == store.restore_journal(SHOP, rows)
        assert [row.entry for _, row in rows] == [row.entry for row in store.journal(SHOP, since=0)]
        assert 0 == store.restore_journal(SHOP, rows)
