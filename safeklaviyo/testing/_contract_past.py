"""The tests of how a map's past is read and moved: former identifiers and notes."""

# ruff: noqa: SIM300 - what is expected stands first, as in every test of this project

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change, Match
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
    owner,
    profile_id,
    renamed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeklaviyo.stores.base import IdentityStore

WHEN = 1_700_000_000.25
UNKNOWN = Binding("nobody", None, key="4711")


def all_notes(store: IdentityStore, limit: int) -> Iterator[tuple[str, str]]:
    """Yield all notes, part by part."""
    part = store.notes(SHOP, limit=limit)
    yield from part.notes
    while part.next is not None:
        part = store.notes(SHOP, after=part.next, limit=limit)
        yield from part.notes


class PastRules(StoreFixtures):
    """What `IdentityStore.former`, `restore` and `notes` say."""

    def test_former_tells_what_is_retired_and_since_when(self, store: IdentityStore, clock: StoreClock) -> None:
        """Each identifier retired from one of the bindings asked for is told once, with the time that `find` tells."""
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
        """An address that was taken, retired to somebody else, taken back or released is not told of any more."""
        first = renamed(store, renamed(store, ann(store), "b@shop.org"), "c@shop.org")
        other = bound(store, Change(Binding("new", "ann@shop.org")))
        assert [email("b@shop.org")] == [match.identifier for match in store.former(SHOP, (first,))]
        other = renamed(store, other, "d@shop.org")
        assert [email("b@shop.org")] == [match.identifier for match in store.former(SHOP, (first,))]
        told = [(match.identifier, match.binding) for match in store.former(SHOP, (first, other))]
        assert [(email("ann@shop.org"), other), (email("b@shop.org"), first)] == sorted(told, key=str)
        first = renamed(store, first, "b@shop.org")
        assert [email("c@shop.org")] == [match.identifier for match in store.former(SHOP, (first,))]
        assert store.release_identifier(SHOP, email("c@shop.org"))
        assert () == store.former(SHOP, (first,))
        third = bound(store, Change(Binding("cid", None), retire=frozenset({email("cid@shop.org")})))
        third = bound(store, Change(replace(third, email="cid@shop.org")))
        assert () == store.former(SHOP, (third,))

    def test_former_keeps_to_its_account(self, store: IdentityStore) -> None:
        """A key of another account says nothing."""
        first = renamed(store, ann(store), "new@shop.org")
        assert () == store.former("another", (first,))

    def test_restore_retires_as_of_then(self, store: IdentityStore) -> None:
        """An identifier is retired with the time given, to the binding with the external id; what reads it agrees."""
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
        """What was retired before stays so."""
        stands = renamed(store, ann(store), "new@shop.org")
        assert 1 == store.restore(SHOP, [Match(email("older@shop.org"), stands, WHEN)])
        names = {match.identifier for match in store.former(SHOP, (stands,))}
        assert {email("ann@shop.org"), email("older@shop.org")} == names

    def test_restore_finds_a_guest_by_email_and_a_nameless_one_by_profile(self, store: IdentityStore) -> None:
        """Where there is no external id the email tells whose past it is, and without either the profile id."""
        guest = bound(store, Change(Binding(None, "guest@shop.org", "PG")))
        nameless = bound(store, Change(Binding(None, None, "PN")))
        rows = [
            Match(email("g@old.org"), Binding(None, "guest@shop.org", "PN"), WHEN),
            Match(email("n@old.org"), Binding(None, None, "PN"), WHEN),
        ]
        assert 2 == store.restore(SHOP, rows)
        assert (guest, nameless) == tuple(former_owner(store, row.identifier) for row in rows)

    def test_restore_passes_over_what_has_a_place(self, store: IdentityStore) -> None:
        """Neither what is current nor what is retired here changes, and what has no owner here is nobody's."""
        first, second = renamed(store, ann(store), "new@shop.org"), ben(store)
        before = match_of(store, email("ann@shop.org"))
        rows = [
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
        """One is released, bound by somebody else, absorbed and removed as if it had been retired here."""
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
        """Who holds a lease on an identifier binds it afterwards all the same: ownership beats retirement."""
        stands = ann(store)
        lease = leased(store, email("old@shop.org"), ttl=LONG)
        assert 1 == store.restore(SHOP, [Match(email("old@shop.org"), stands, WHEN)])
        taken = bound(store, Change(Binding("new", "old@shop.org"), token=lease.token))
        assert taken == owner(store, email("old@shop.org"))

    def test_a_thousand_are_restored_at_once(self, store: IdentityStore) -> None:
        """A long past is moved as one, and read as one."""
        stands = ann(store)
        rows = {Match(email(f"{number}@old.org"), stands, WHEN + number) for number in range(1000)}
        assert 1000 == store.restore(SHOP, tuple(rows))
        assert rows == set(store.former(SHOP, (stands,)))

    def test_notes_are_told_part_by_part(self, store: IdentityStore) -> None:
        """Each note of the account is met, whatever its name, and no other; following the places comes to an end."""
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
