"""The tests of `IdentityStore.add`: which rows of an import are added, unchanged or in conflict."""

# ruff: noqa: SIM300 - what is expected stands first, as in every test of this project

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change
from safeklaviyo.testing._contract_base import (
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
    owner,
    profile_id,
    renamed,
)

if TYPE_CHECKING:
    from safeklaviyo.identity import Identifier
    from safeklaviyo.stores.base import IdentityStore


class AddRules(StoreFixtures):
    """What `IdentityStore.add` makes of each row."""

    def test_new_rows_are_added_as_given(self, store: IdentityStore) -> None:
        """A row with identifiers that the map does not have becomes a binding, with `verified_at` as given."""
        rows = [
            # The version and the key are another map's, which mean nothing in this one.
            Binding("ann", "ann@shop.org", "PANN", "+12025550123", 1_234.5, version=9, key="no key"),
            Binding(None, "guest@shop.org"),
        ]
        assert ("added", "added") == store.add(SHOP, rows)
        one, guest = owner(store, external_id("ann")), owner(store, email("guest@shop.org"))
        assert one is not None
        assert guest is not None
        assert replace(rows[0], version=one.version, key=one.key) == one
        assert replace(rows[1], version=guest.version, key=guest.key) == guest
        assert one == owner(store, profile_id("PANN"))

    def test_what_stands_already_is_unchanged(self, store: IdentityStore) -> None:
        """A row that says nothing new changes nothing, not even the time of verification, under a lease or not."""
        ann(store)
        leased(store, external_id("ann"))
        before = everything(store)
        rows = [Binding("ann", "ann@shop.org"), Binding("ann", "ann@shop.org", "PANN"), Binding("ann", None)]
        assert ("unchanged",) * 3 == store.add(SHOP, rows)
        assert before == everything(store)

    @pytest.mark.parametrize(
        "row",
        [
            Binding("ann", "ann@shop.org", "PANN", verified_at=5.5),
            Binding("ann", "ann@shop.org", phone_number="+12025550123"),
        ],
    )
    def test_what_is_missing_is_filled_in(self, store: IdentityStore, row: Binding) -> None:
        """A profile id or a phone number that the binding lacks is filled in, with `verified_at` as given."""
        stands = bound(store, Change(Binding("ann", "ann@shop.org")))
        assert ("added",) == store.add(SHOP, [row])
        filled = owner(store, external_id("ann"))
        assert filled is not None
        assert replace(row, version=filled.version, key=stands.key) == filled
        assert stands.version < filled.version

    def test_a_guest_takes_an_external_id(self, store: IdentityStore) -> None:
        """A row with the email of a binding without an external id gives that binding the row's external id."""
        guest = bound(store, Change(Binding(None, "ann@shop.org", "PANN")))
        assert ("added",) == store.add(SHOP, [Binding("ann", "ann@shop.org")])
        customer = owner(store, external_id("ann"))
        assert customer is not None
        assert (guest.key, "ann@shop.org", "PANN") == (customer.key, customer.email, customer.profile_id)

    @pytest.mark.parametrize(
        "row",
        [
            # Each identifier taken or contradicted by itself; in the last two, one that is another binding's.
            Binding("ann", "other@shop.org"),
            Binding("other", "ann@shop.org"),
            Binding("other", "other@shop.org", "PANN"),
            Binding("ann", "ann@shop.org", "POTHER"),
            Binding("ann", "ann@shop.org", phone_number="+13035550123"),
            Binding("ann", "ben@shop.org"),
            Binding("ann", "ann@shop.org", "PBEN"),
        ],
    )
    def test_a_row_that_contradicts_is_a_conflict(self, store: IdentityStore, row: Binding) -> None:
        """A row that contradicts a binding, or has identifiers of two bindings, changes nothing."""
        ben(store)
        bound(store, Change(Binding("ann", "ann@shop.org", "PANN", "+12025550123")))
        before = everything(store)
        assert ("conflict",) == store.add(SHOP, [row])
        assert before == everything(store)

    @pytest.mark.parametrize("covered", [external_id("ann"), email("ann@shop.org"), profile_id("PANN")])
    def test_a_new_row_under_a_lease_is_a_conflict(
        self, store: IdentityStore, clock: StoreClock, covered: Identifier
    ) -> None:
        """While a lease covers an identifier, expired or not, no row with that identifier is added."""
        leased(store, covered, ttl=clock.moment)
        row = Binding("ann", "ann@shop.org", "PANN")
        assert ("conflict",) == store.add(SHOP, [row])
        # Expired, the lease still has an intent: what it says may be done after the row, and contradict it.
        clock.advance(2 * clock.moment)
        assert ("conflict",) == store.add(SHOP, [row])
        assert 0 == store.count(SHOP)

    def test_a_leased_binding_is_not_filled_in(self, store: IdentityStore) -> None:
        """A lease on another identifier of the binding that a row would complete is a conflict too."""
        bound(store, Change(Binding("ann", "ann@shop.org", "PANN")))
        leased(store, profile_id("PANN"))
        row = Binding("ann", "ann@shop.org", phone_number="+12025550123")
        assert ("conflict",) == store.add(SHOP, [row])

    def test_rows_are_judged_in_their_order(self, store: IdentityStore) -> None:
        """A row sees what the rows before it have added, and a row that is refused stops no other."""
        rows = [
            Binding("ann", "ann@shop.org"),
            Binding("ann", "other@shop.org"),
            Binding("ann", "ann@shop.org"),
            Binding("ben", "ben@shop.org"),
        ]
        assert ("added", "conflict", "unchanged", "added") == store.add(SHOP, rows)
        assert 2 == store.count(SHOP)

    def test_adding_makes_a_retired_identifier_current(self, store: IdentityStore) -> None:
        """An address that is retired from another binding counts as free, and becomes the row's own."""
        renamed(store, ann(store), "new@shop.org")
        assert ("added",) == store.add(SHOP, [Binding("ben", "ann@shop.org")])
        stands = owner(store, email("ann@shop.org"))
        assert stands is not None
        assert "ben" == stands.external_id

    def test_adding_nothing_adds_nothing(self, store: IdentityStore) -> None:
        """Without rows there is nothing in the answer."""
        assert () == store.add(SHOP, [])
