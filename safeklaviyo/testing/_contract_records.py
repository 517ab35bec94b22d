"""The tests of the journal, the pages and the notes, and of what holds for every operation."""

# ruff: noqa: SIM300 - what is expected stands first, as in every test of this project

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import pytest

from safeklaviyo.errors import StoreUnavailableError
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change, JournalEntry, Page
from safeklaviyo.testing._contract_base import (
    LONG,
    SHOP,
    StoreClock,
    StoreFixtures,
    ann,
    ben,
    bound,
    email,
    everything,
    external_id,
    leased,
    match_of,
    now,
    owner,
    profile_id,
    renamed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from safeklaviyo.stores.base import IdentityStore, JournalRow

T = TypeVar("T")

THREADS = 6
# Each breaks a store that puts texts into statements, patterns or keys of its own.
TEXTS = [
    "x" * 64,
    "Größe-Ω-客户-🛒",
    "o'brien\"; DROP TABLE binding;--",
    "nul\0inside",
    "100%_\\*",
    " spaces and\ttabs ",
    "1",
    "01",
]


def pages(store: IdentityStore, limit: int) -> Iterator[Page]:
    """Yield all parts, one after the other."""
    page = store.page(SHOP, limit=limit)
    yield page
    while page.next is not None:
        page = store.page(SHOP, after=page.next, limit=limit)
        yield page


def at_once(work: Callable[[int], T]) -> list[T]:
    """Run the same work in several threads that begin together."""
    # A barrier: without it the first thread would often be done before the last begins.
    barrier = threading.Barrier(THREADS)

    def _begin(number: int) -> T:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(_begin, range(THREADS)))


class RecordRules(StoreFixtures):
    """The journal, the pages, the notes."""

    def test_a_change_is_written_down_with_its_binding(self, store: IdentityStore) -> None:
        """A journal row says what was changed, when, and what the binding was then."""
        binding, before = ann(store), now(store)
        changed = renamed(store, binding, "new@shop.org")
        (row,) = store.journal(SHOP, since=0)
        assert before <= row.at <= now(store)
        assert JournalEntry("change_email", "ann@shop.org", "new@shop.org") == row.entry
        assert (changed.key, "PANN", "ann") == (row.key, row.profile_id, row.external_id)
        bound(store, Change(replace(changed, profile_id="PNEW", external_id=None)))
        assert (row,) == store.journal(SHOP, since=0)

    def test_an_entry_need_not_have_values(self, store: IdentityStore) -> None:
        """An entry may consist of its verb, about a binding without identifiers of its own."""
        bound(store, Change(Binding(None, "ann@shop.org"), journal=JournalEntry("adopt")))
        (row,) = store.journal(SHOP, since=0)
        assert (JournalEntry("adopt"), None, None) == (row.entry, row.profile_id, row.external_id)

    def test_the_journal_forgets_one_binding(self, store: IdentityStore) -> None:
        """The rows of one binding are deleted, even if it was removed; others stay, and no number is given twice."""
        ann_binding = bound(store, Change(Binding("1", "ann@shop.org"), journal=JournalEntry("adopt", new="1")))
        ben_binding = bound(store, Change(Binding("2", "ben@shop.org"), journal=JournalEntry("adopt", new="2")))
        bound(store, Change(ann_binding, journal=JournalEntry("adopt", new="3")))
        assert store.remove(SHOP, external_id(str(ann_binding.external_id)))
        before = store.journal(SHOP, since=0)
        assert 2 == store.forget_journal(SHOP, ann_binding.key)
        assert 0 == store.forget_journal(SHOP, ann_binding.key)
        assert before[1:2] == store.journal(SHOP, since=0)
        # A reader goes on after the last number that it has seen, so a number that came back would hide the new row
        # from it.
        bound(store, Change(ben_binding, journal=JournalEntry("adopt", new="4")))
        assert before[-1].number < store.journal(SHOP, since=0)[-1].number

    def test_the_journal_of_an_absorbed_binding_is_its_survivors(self, store: IdentityStore) -> None:
        """The journal's rows about an absorbed binding become rows about the one that absorbs it."""
        guest = bound(store, Change(Binding(None, "guest@shop.org"), journal=JournalEntry("adopt", new="1")))
        other = bound(store, Change(Binding("2", "ben@shop.org"), journal=JournalEntry("adopt", new="2")))
        whole = bound(store, Change(Binding("1", "ann@shop.org"), absorb=(guest.key,), journal=JournalEntry("merge")))
        rows = store.journal(SHOP, since=0)
        assert [whole.key, other.key, whole.key] == [row.key for row in rows]
        assert 2 == store.forget_journal(SHOP, whole.key)

    def test_the_journal_is_read_from_a_time_and_a_number_on(self, store: IdentityStore, clock: StoreClock) -> None:
        """`since` includes its instant, `after` excludes its number, `limit` limits, and numbers rise."""
        binding = ann(store)
        for number in range(4):
            clock.advance(clock.moment)
            binding = renamed(store, binding, f"ann{number}@shop.org")
        rows = store.journal(SHOP, since=0)

        def _new_values(journal: tuple[JournalRow, ...]) -> list[str | None]:
            return [row.entry.new for row in journal]

        assert ["ann0@shop.org", "ann1@shop.org", "ann2@shop.org", "ann3@shop.org"] == _new_values(rows)
        assert sorted({row.number for row in rows}) == [row.number for row in rows]
        assert rows[2:] == store.journal(SHOP, since=rows[2].at)
        assert rows[1:] == store.journal(SHOP, since=0, after=rows[0].number)
        assert rows[1:3] == store.journal(SHOP, since=0, after=rows[0].number, limit=2)
        assert rows[3:] == store.journal(SHOP, since=rows[2].at, after=rows[2].number)
        assert () == store.journal(SHOP, since=rows[3].at + clock.moment)

    @pytest.mark.parametrize("limit", [1, 2, 3, 5, 6])
    def test_pages_hold_every_binding_once(self, store: IdentityStore, limit: int) -> None:
        """The parts, followed to the end, are all bindings, each once, no more than asked at a time."""
        store.add(SHOP, [Binding(str(number), None) for number in range(1, 6)])
        parts = list(pages(store, limit))
        assert ["1", "2", "3", "4", "5"] == sorted(str(each.external_id) for part in parts for each in part.bindings)
        assert all(len(part.bindings) <= limit for part in parts)

    def test_an_empty_map_has_one_empty_page(self, store: IdentityStore) -> None:
        """Without bindings the first part is the last."""
        assert Page((), None) == store.page(SHOP)

    def test_pages_survive_changes(self, store: IdentityStore) -> None:
        """A binding that exists from the first part to the last is met once, even if others come, change or go."""
        store.add(SHOP, [Binding(str(number), None) for number in range(1, 9)])
        met: list[str | None] = []
        for turn, part in enumerate(pages(store, 2)):
            met += [each.external_id for each in part.bindings]
            for each in part.bindings[:1]:
                bound(store, Change(replace(each, email=f"{each.external_id}@shop.org")))
            if turn == 0:
                gone = part.bindings[1].external_id
                store.remove(SHOP, external_id(str(gone)))
                store.add(SHOP, [Binding("late", None)])
        assert [*map(str, range(1, 9))] == sorted(each for each in met if each is not None and each != "late")

    def test_bindings_are_counted(self, store: IdentityStore) -> None:
        """Bindings are counted, not identifiers, current or retired."""
        assert 0 == store.count(SHOP)
        renamed(store, ann(store), "new@shop.org")
        ben(store)
        assert 2 == store.count(SHOP)

    def test_notes_are_kept_and_forgotten(self, store: IdentityStore) -> None:
        """A note has the value that was last written, and None deletes it, even if there is none."""
        assert store.recall(SHOP, "name") is None
        store.remember(SHOP, "name", None)
        for value in ("first", "second", ""):
            store.remember(SHOP, "name", value)
            assert value == store.recall(SHOP, "name")
        store.remember(SHOP, "name", None)
        assert store.recall(SHOP, "name") is None

    def test_a_new_note_replaces_none(self, store: IdentityStore) -> None:
        """With `new` a note is written once: what the first call wrote stays."""
        assert store.remember(SHOP, "name", "first", new=True)
        assert store.remember(SHOP, "name", "second", new=True) is False
        assert "first" == store.recall(SHOP, "name")
        store.remember(SHOP, "name", None)
        assert store.remember(SHOP, "name", "third", new=True)
        assert store.remember(SHOP, "name", "fourth")
        assert "fourth" == store.recall(SHOP, "name")


class WholeRules(StoreFixtures):
    """What holds for every operation."""

    def test_accounts_never_meet(self, store: IdentityStore, clock: StoreClock) -> None:
        """No operation on one account reads or changes anything of another."""
        changed = renamed(store, ann(store), "new@shop.org")
        lease = leased(store, external_id("ann"), ttl=clock.moment)
        clock.advance(2 * clock.moment)
        store.remember(SHOP, "name", "value")
        before, other = everything(store), "Other1"
        found = store.find(other, (external_id("ann"), email("ann@shop.org"), email("new@shop.org")))
        assert ((), None) == (found.matches, found.lease)
        assert (0, None, ()) == (store.count(other), store.recall(other, "name"), store.journal(other, since=0))
        assert (Page((), None), ()) == (store.page(other), store.expired(other, 10))
        assert (False, False) == (store.renew(other, lease.token, ttl=LONG), store.release(other, lease.token))
        assert (False, False) == (
            store.remove(other, external_id("ann")),
            store.release_identifier(other, email("ann@shop.org")),
        )
        assert "fenced" == store.bind(other, Change(Binding("ann", None), token=lease.token)).status
        # A key of this account is no key in the other one.
        assert "stale" == store.bind(other, Change(replace(changed, external_id="eve"))).status
        theirs = store.bind(other, Change(Binding("ann", "ann@shop.org"), absorb=(changed.key,)))
        assert "bound" == theirs.status
        taken = store.acquire(other, frozenset({external_id("ann")}), intent="theirs", ttl=LONG)
        assert taken is not None
        assert not taken.taken_over
        assert before == everything(store)

    @pytest.mark.parametrize("text", TEXTS)
    def test_any_text_comes_back_as_it_was(self, store: IdentityStore, text: str) -> None:
        """Identifiers, intents, entries and notes are opaque: quotes, NULs and all scripts survive."""
        entry = JournalEntry(text, text, text)
        binding = bound(store, Change(Binding(text, f"{text}@shop.org", text, text), journal=entry))
        assert (text, f"{text}@shop.org", text, text) == (
            binding.external_id,
            binding.email,
            binding.profile_id,
            binding.phone_number,
        )
        for name in (external_id(text), email(f"{text}@shop.org"), profile_id(text)):
            assert binding == owner(store, name)
        lease = leased(store, external_id(text), intent=text)
        seen = store.find(SHOP, (profile_id(text),)).lease
        assert seen is not None
        assert (lease.token, text, frozenset({external_id(text)})) == (seen.token, seen.intent, seen.identifiers)
        assert entry == store.journal(SHOP, since=0)[0].entry
        store.remember(SHOP, text, text)
        assert text == store.recall(SHOP, text)
        renamed(store, binding, "new@shop.org")
        former = match_of(store, email(f"{text}@shop.org"))
        assert former is not None
        assert former.retired_at is not None

    def test_texts_that_look_alike_are_not_the_same(self, store: IdentityStore) -> None:
        """Identifiers are compared as they stand: neither case, nor spaces, nor leading zeros, nor NULs are lost."""
        # A number's form, a letter's case and an accent's are what columns of numbers and collations would lose.
        alike = ["1", "01", "1.0", "a", "A", "a ", "a\0", "a\0b", "é", "e\u0301"]
        assert ("added",) * len(alike) == store.add(SHOP, [Binding(each, None) for each in alike])
        assert alike == [getattr(owner(store, external_id(each)), "external_id", None) for each in alike]

    def test_a_closed_store_answers_nothing(self, store: IdentityStore) -> None:
        """After closing, which may be done twice, every operation says that the map is unavailable (P6)."""
        binding = ann(store)
        store.close()
        store.close()
        calls: list[Callable[[], object]] = [
            lambda: store.find(SHOP, (external_id("ann"),)),
            lambda: store.acquire(SHOP, frozenset({external_id("ann")}), intent="x", ttl=1.0),
            lambda: store.renew(SHOP, 1, ttl=1.0),
            lambda: store.release(SHOP, 1),
            lambda: store.bind(SHOP, Change(binding)),
            lambda: store.add(SHOP, [binding]),
            lambda: store.remove(SHOP, external_id("ann")),
            lambda: store.release_identifier(SHOP, external_id("ann")),
            lambda: store.expired(SHOP, 1),
            lambda: store.leases(SHOP, 1),
            lambda: store.journal(SHOP, since=0),
            lambda: store.page(SHOP),
            lambda: store.bindings(SHOP, ()),
            lambda: store.former(SHOP, ()),
            lambda: store.restore(SHOP, ()),
            lambda: store.restore_journal(SHOP, ()),
            lambda: store.notes(SHOP),
            lambda: store.count(SHOP),
            lambda: store.recall(SHOP, "name"),
            lambda: store.remember(SHOP, "name", "value"),
        ]
        for call in calls:
            with pytest.raises(StoreUnavailableError):
                call()

    def test_leaving_a_with_block_closes(self, store: IdentityStore) -> None:
        """A store is its own context manager."""
        with store as same:
            assert store is same
        with pytest.raises(StoreUnavailableError):
            store.count(SHOP)

    def test_of_racing_threads_one_gets_the_lease(self, store: IdentityStore) -> None:
        """Exactly one of several calls gets the lease on a shared identifier; the others leave no lease behind."""

        def _want(number: int) -> bool:
            names = frozenset({external_id("ann"), email(f"ann{number}@shop.org")})
            return store.acquire(SHOP, names, intent=str(number), ttl=LONG) is not None

        assert 1 == sum(at_once(_want))
        # Each of the losers asked for an address of its own as well, and must have got no lease on it.
        held = [store.find(SHOP, (email(f"ann{number}@shop.org"),)).lease for number in range(THREADS)]
        assert 1 == sum(lease is not None for lease in held)

    def test_of_racing_threads_one_takes_over(self, store: IdentityStore, clock: StoreClock) -> None:
        """An expired lease is taken over once."""
        leased(store, external_id("ann"), ttl=clock.moment)
        clock.advance(2 * clock.moment)

        def _want(_: int) -> bool:
            return store.acquire(SHOP, frozenset({external_id("ann")}), intent="x", ttl=LONG) is not None

        assert 1 == sum(at_once(_want))

    def test_of_racing_threads_one_binds(self, store: IdentityStore) -> None:
        """Of several changes to one version, and of several new bindings with one address, one is made."""
        binding = ann(store)

        def _change(number: int) -> str:
            return store.bind(SHOP, Change(replace(binding, email=f"ann{number}@shop.org"))).status

        def _create(number: int) -> str:
            return store.bind(SHOP, Change(Binding(f"new{number}", "new@shop.org"))).status

        assert ["bound", *["stale"] * (THREADS - 1)] == sorted(at_once(_change))
        assert ["bound", *["conflict"] * (THREADS - 1)] == sorted(at_once(_create))
        assert 2 == store.count(SHOP)

    def test_of_racing_threads_one_writes_the_new_note(self, store: IdentityStore) -> None:
        """One note of a name is new, and it says what the call that was told so has written."""

        def _write(number: int) -> bool:
            return store.remember(SHOP, "name", str(number), new=True)

        written = at_once(_write)
        assert 1 == sum(written)
        assert str(written.index(True)) == store.recall(SHOP, "name")
