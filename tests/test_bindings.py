"""``k.bindings``: the identity map as its owner sees it, with both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo import Binding, InvalidIdentifierError, StoreUnavailableError

if TYPE_CHECKING:
    from safeklaviyo.stores.memory import MemoryStore
    from safeklaviyo.testing import KlaviyoSimulator
    from support.clients import NewClient

ROWS: list[dict[str, object]] = [
    {"external_id": "A1", "email": "Ann@shop.dev"},
    {"external_id": 2, "email": "bob@shop.dev", "profile_id": "01BOB", "phone_number": "+12125550123"},
    {"email": "guest@shop.dev", "external_id": ""},
]


class TestAdd:
    def test_rows(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Rows are normalised as calls are; nothing is sent to Klaviyo."""
        k = client()
        report = k.bindings.add(ROWS)
        assert (3, 0, ()) == (report.added, report.unchanged, report.refused)
        assert {("A1", "ann@shop.dev"), ("2", "bob@shop.dev"), (None, "guest@shop.dev")} == {
            (binding.external_id, binding.email) for binding in k.bindings
        }
        assert [] == simulator.journal

    def test_again(self, client: NewClient) -> None:
        """The same rows change nothing, also given as the bindings that they have become."""
        k = client()
        k.bindings.add(ROWS)
        assert (0, 3) == ((report := k.bindings.add(iter(ROWS))).added, report.unchanged)
        assert (0, 3) == ((report := k.bindings.add(list(k.bindings))).added, report.unchanged)

    def test_refused_rows(self, client: NewClient) -> None:
        """A row that cannot be is named by its number, without what it holds; the others are added."""
        rows: list[Any] = [
            {"email": "ann@shop.dev", "external_id": "A1"},
            {"external_id": "A2"},
            {"email": "nonsense"},
            {"email": "eve@shop.dev", "emial": "eve@shop.dev"},
            "ann@shop.dev",
            {"email": "ann@shop.dev", "external_id": "A5"},
            {"email": "amy@shop.dev", "external_id": "A6"},
        ]
        report = client().bindings.add(rows)
        assert (2, [1, 2, 3, 4, 5]) == (report.added, [number for number, _ in report.refused])
        assert not any("shop" in why or "eve" in why for _, why in report.refused)

    @pytest.mark.parametrize(("trusted", "rule"), [(True, "R8"), (False, "R16")])
    def test_trusted(self, client: NewClient, simulator: KlaviyoSimulator, trusted: bool, rule: str) -> None:
        """Rows that are not trusted are checked with Klaviyo at their first use (R16)."""
        made = simulator.add_profile(external_id="A1", email="ann@shop.dev")
        k = client()
        k.bindings.add([{"external_id": "A1", "email": "ann@shop.dev", "profile_id": made.id}], trusted=trusted)
        assert rule == k.explain(external_id="A1").rule

    def test_in_parts(self, client: NewClient, store: MemoryStore) -> None:
        """Thousands of rows are read and added part by part, and numbered throughout."""
        rows: list[dict[str, object]] = [{"email": f"{number}@shop.dev"} for number in range(2500)]
        rows[2400] = {"email": "nonsense"}
        report = client().bindings.add(row for row in rows)
        assert (2499, [2400]) == (report.added, [number for number, _ in report.refused])
        assert 2499 == store.count("SiMuLa")


class TestGet:
    def test_found(self, client: NewClient) -> None:
        """Either identifier finds the binding; none is None."""
        k = client()
        k.bindings.add(ROWS)
        binding = k.bindings.get(external_id=2)
        assert isinstance(binding, Binding)
        assert ("bob@shop.dev", "01BOB") == (binding.email, binding.profile_id)
        assert binding == k.bindings.get(email="BOB@shop.dev")
        assert k.bindings.get(email="nobody@shop.dev") is None

    def test_former_address(self, client: NewClient) -> None:
        """A former address is nobody's binding."""
        k = client()
        k.identify(external_id="A1", email="ann@shop.dev")
        k.change_email("new@shop.dev", external_id="A1")
        assert k.bindings.get(email="ann@shop.dev") is None

    @pytest.mark.parametrize("given", [{}, {"external_id": "A1", "email": "ann@shop.dev"}, {"email": "null"}])
    @pytest.mark.parametrize("method", ["get", "remove"])
    def test_refused(self, client: NewClient, method: str, given: dict[str, Any]) -> None:
        """Exactly one usable identifier is asked for."""
        with pytest.raises(InvalidIdentifierError):
            getattr(client().bindings, method)(**given)


class TestRemove:
    def test_forgets(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """A binding is gone with its former addresses, and Klaviyo's profile stays."""
        k = client()
        k.identify(external_id="A1", email="ann@shop.dev")
        k.change_email("new@shop.dev", external_id="A1")
        assert k.bindings.remove(email="new@shop.dev") is True
        assert k.bindings.remove(external_id="A1") is False
        assert "R12" == k.explain(email="ann@shop.dev").rule
        assert 1 == len(simulator.profiles)


class TestReleaseEmail:
    def test_former_address_is_free(self, client: NewClient) -> None:
        """An address that is released is nobody's, and one that never was anybody's stays so."""
        k = client()
        k.identify(external_id="A1", email="ann@shop.dev")
        k.change_email("new@shop.dev", external_id="A1")
        assert "R11" == k.explain(email="ann@shop.dev").rule
        assert k.bindings.release_email("Ann@shop.dev") is True
        assert k.bindings.release_email("ann@shop.dev") is False
        assert "R12" == k.explain(email="ann@shop.dev").rule


class TestIteration:
    def test_is_a_cursor(self, client: NewClient) -> None:
        """Thousands come page by page, and the map may change meanwhile."""
        k = client()
        k.bindings.add({"email": f"{number}@shop.dev"} for number in range(1500))
        seen = []
        for number, binding in enumerate(k.bindings):
            if number == 10:
                k.bindings.add([{"email": "late@shop.dev"}])
            seen.append(binding.email)
        assert 1500 <= len(set(seen)) == len(seen) <= 1501

    def test_empty(self, client: NewClient) -> None:
        """An empty map yields nothing."""
        assert [] == list(client().bindings)

    def test_closed_map(self, client: NewClient, store: MemoryStore) -> None:
        """A map that cannot answer is not taken for an empty one (P6)."""
        k = client()
        store.close()
        with pytest.raises(StoreUnavailableError):
            list(k.bindings)
