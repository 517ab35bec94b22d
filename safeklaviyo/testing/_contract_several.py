"""The tests of several calls at once."""

# ruff: noqa: SIM300 - what is expected stands first, as in every test of this project

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo.errors import StoreUnavailableError
from safeklaviyo.models import Binding
from safeklaviyo.stores.base import Change
from safeklaviyo.stores.calls import Acquire, Bind, Count, Find, Recall, Release, Remember
from safeklaviyo.testing._contract_base import LONG, SHOP, StoreFixtures, email

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeklaviyo.stores.base import IdentityStore
    from safeklaviyo.stores.calls import Call

NUMBERS = range(20)


def addresses() -> list[str]:
    """Return some addresses."""
    return [f"c{number}@shop.test" for number in NUMBERS]


def acquiring(address: str) -> Acquire:
    """Return a call that takes a lease on an address."""
    return Acquire(SHOP, frozenset({email(address)}), f"about {address}", LONG)


class SeveralRules(StoreFixtures):
    """Several calls are the calls, one after the other."""

    def test_each_has_its_answer(self, store: IdentityStore) -> None:
        """Leases are taken, bindings written under them, notes read: each call is answered for itself, in order."""
        leases = store.each(SHOP, [acquiring(address) for address in addresses()])
        tokens = [lease.token for lease in leases if lease is not None]
        assert len(NUMBERS) == len(set(tokens))
        assert [frozenset({email(address)}) for address in addresses()] == [
            lease.identifiers for lease in leases if lease is not None
        ]
        changes = [
            Change(Binding(None, address), token=token) for address, token in zip(addresses(), tokens, strict=True)
        ]
        outcomes = store.each(SHOP, [Bind(SHOP, change) for change in changes])
        assert [("bound", address) for address in addresses()] == [
            (outcome.status, outcome.binding and outcome.binding.email) for outcome in outcomes
        ]
        assert (False,) * len(tokens) == store.each(SHOP, [Release(SHOP, token) for token in tokens])
        store.remember(SHOP, "a", "1")
        assert ("1", None, "1") == store.each(SHOP, [Recall(SHOP, name) for name in "aba"])

    def test_a_later_one_sees_what_an_earlier_one_did(self, store: IdentityStore) -> None:
        """A lease cannot be taken twice, nor an address bound twice; the others are not touched by that."""
        taken = store.each(SHOP, [acquiring("a@shop.test"), acquiring("a@shop.test"), acquiring("b@shop.test")])
        assert [True, False, True] == [lease is not None for lease in taken]
        pairs = [("1", "c@shop.test"), ("2", "c@shop.test"), ("3", "d@shop.test")]
        bound = store.each(SHOP, [Bind(SHOP, Change(Binding(*pair))) for pair in pairs])
        assert ["bound", "conflict", "bound"] == [outcome.status for outcome in bound]

    @pytest.mark.parametrize("number", [0, 1])
    def test_none_and_one(self, store: IdentityStore, number: int) -> None:
        """They need not be several."""
        calls = [Find(SHOP, (email("a@shop.test"),))] * number
        assert number == len(store.each(SHOP, calls))

    def test_of_several_kinds(self, store: IdentityStore) -> None:
        """They need not be of one kind."""
        calls: Sequence[Call[Any]] = [Remember(SHOP, "a", "1"), Count(SHOP), Recall(SHOP, "a")]
        assert (True, 0, "1") == store.each(SHOP, calls)

    def test_a_closed_store_makes_none(self, store: IdentityStore) -> None:
        """The error is that of each call."""
        store.close()
        with pytest.raises(StoreUnavailableError):
            store.each(SHOP, [acquiring("a@shop.test")])
