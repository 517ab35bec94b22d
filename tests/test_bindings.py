"""``k.bindings``: the identity map as its owner sees it, with both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import pytest

from safeklaviyo import (
    Binding,
    ConfigurationError,
    InvalidIdentifierError,
    Klaviyo,
    NoResponseError,
    RetryPolicy,
    ServerError,
    StoreUnavailableError,
)
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.testing import KlaviyoSimulator, Readings

if TYPE_CHECKING:
    from safeklaviyo.stores.memory import MemoryStore
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

    @pytest.mark.parametrize("status", ["added", "unchanged"])
    def test_r14_another_phone_costs_the_phone(self, client: NewClient, status: str) -> None:
        """R14: where the map has another number, the row counts without its own, and a warning says so."""
        k = client()
        known = {"email": "ann@shop.dev", "phone_number": "+12125550123"}
        k.bindings.add([known])
        row = {"email": "ann@shop.dev", "phone_number": "+12125550199"}
        report = k.bindings.add([row | ({"external_id": "A1"} if status == "added" else {})])
        assert (1, ()) == (getattr(report, status), report.refused)
        assert ((0, "the map has another phone_number for this customer; it was left out"),) == report.warnings
        binding = k.bindings.get(email="ann@shop.dev")
        assert binding is not None
        assert "+12125550123" == binding.phone_number

    @pytest.mark.parametrize("mark", ["\\N", "NULL", " n/a ", "", None])
    def test_no_phone(self, client: NewClient, mark: str | None) -> None:
        """A mark for NULL says that there is no number; it is no bad one, of which there would be a warning."""
        k = client()
        report = k.bindings.add([{"email": "ann@shop.dev", "phone_number": mark}])
        assert (1, ()) == (report.added, report.warnings)
        assert [None] == [binding.phone_number for binding in k.bindings]

    def test_another_phone_hides_no_contradiction(self, client: NewClient) -> None:
        """P3: without its phone number the row may still be another customer's."""
        k = client()
        k.bindings.add([{"external_id": "A1", "email": "ann@shop.dev", "phone_number": "+12125550123"}])
        report = k.bindings.add([{"external_id": "B2", "email": "ann@shop.dev", "phone_number": "+12125550199"}])
        assert "with another external_id" in report.refused[0][1]
        assert () == report.warnings

    def test_a_row_under_a_lease_is_refused(self, client: NewClient, store: MemoryStore) -> None:
        """A call that is writing about a customer relies on what the map says."""
        store.acquire("SiMuLa", frozenset({Identifier(Kind.EMAIL, "ann@shop.dev")}), intent="{}", ttl=60)
        report = client().bindings.add([{"email": "ann@shop.dev"}])
        assert ((0, "another call is writing about this customer; add the row again later"),) == report.refused

    def test_an_erased_customer_is_not_added_as_checked(self, client: NewClient) -> None:
        """A late row about a customer who was erased is as any late call (P4)."""
        k = client()
        k.identify(external_id="A1", email="ann@shop.dev")
        k.erase(external_id="A1")
        report = k.bindings.add([{"external_id": "A1", "email": "ann@shop.dev"}], trusted=True)
        assert (0, [0]) == (report.added, [number for number, _ in report.refused])
        assert "erased" in report.refused[0][1]
        assert k.bindings.get(external_id="A1") is None


class TestFormer:
    ROW: ClassVar[dict[str, object]] = {
        "external_id": "A1", "email": "new@shop.dev", "former_emails": ["Old@shop.dev", "new@shop.dev", None],
        "former_external_ids": (7,),
    }  # fmt: skip

    def test_r8_r11_they_resolve_to_their_customer(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """R8, R11: late calls with a former identifier reach the customer, also if they come a second time."""
        k = client()
        for added in (1, 0):
            assert added == k.bindings.add([self.ROW]).added
            assert ("R4", True) == (
                (decision := k.explain(email="old@shop.dev")).rule,
                decision.rewritten,
            )
        assert "new@shop.dev" == k.track("Ordered", external_id="7", unique_id="o1").identity.email
        assert ["new@shop.dev"] == [profile.email for profile in simulator.profiles]

    def test_a_text_holds_several(self, client: NewClient) -> None:
        """As one cell of a file."""
        k = client()
        k.bindings.add([{"email": "new@shop.dev", "former_emails": "a@shop.dev| b@shop.dev;c@shop.dev,\nd@shop.dev"}])
        for letter in "abcd":
            assert k.explain(email=f"{letter}@shop.dev").rewritten

    @pytest.mark.parametrize("is_first", [True, False])
    @pytest.mark.parametrize(
        ("refused", "former"),
        [
            ({"external_id": "7101.0", "email": "nora@shop.dev"}, {"former_emails": "Nora@shop.dev"}),
            ({"email": "nora@shop.dev", "name": "Nora"}, {"former_emails": "nora@shop.dev"}),
            ({"external_id": "7101", "email": "nonsense"}, {"former_external_ids": ["7101"]}),
        ],
    )
    def test_former_of_refused_row(
        self, client: NewClient, refused: dict[str, object], former: dict[str, object], *, is_first: bool
    ) -> None:
        """P3: what a row gives as current is not taken for another customer's former one, though it is refused."""
        k = client()
        row = {"external_id": "7102", "email": "olaf@shop.dev"} | former
        report = k.bindings.add([refused, row] if is_first else [row, refused])
        assert (0, 2) == (report.added, len(report.refused))
        assert [] == list(k.bindings)
        assert "the current one of another row" in dict(report.refused)[int(is_first)]

    def test_former_of_contradicted_row(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """P3: so it is with a row that Klaviyo contradicts."""
        simulator.add_profile(external_id="7199", email="nora@shop.dev")
        rows: list[dict[str, object]] = [
            {"external_id": "7101", "email": "nora@shop.dev"},
            {"external_id": "7102", "email": "olaf@shop.dev", "former_emails": ["nora@shop.dev"]},
        ]
        report = client().bindings.add(rows, verify=True)
        assert [0, 1] == [number for number, _ in report.refused]

    @pytest.mark.parametrize("is_known", [True, False], ids=["in the map", "in the rows"])
    def test_ownership_beats_retirement(self, client: NewClient, is_known: bool) -> None:
        """An address that is a customer's stays that customer's; the row that calls it former is refused whole."""
        k = client()
        rows: list[dict[str, object]] = [{"external_id": "B2", "email": "old@shop.dev"}, self.ROW]
        if is_known:
            k.bindings.add(rows[:1])
        report = k.bindings.add(rows[is_known:])
        assert [1 - is_known] == [number for number, _ in report.refused]
        assert "one of its former identifiers is" in report.refused[0][1]
        assert k.bindings.get(email="new@shop.dev") is None
        binding = k.bindings.get(email="old@shop.dev")
        assert binding is not None
        assert "B2" == binding.external_id

    def test_of_one_customer_only(self, client: NewClient) -> None:
        """An identifier is retired from one customer at most."""
        k = client()
        k.bindings.add([self.ROW])
        report = k.bindings.add([self.ROW | {"external_id": "B2", "email": "two@shop.dev"}])
        assert "another customer's former one" in report.refused[0][1]
        assert k.bindings.get(external_id="B2") is None

    @pytest.mark.parametrize("value", [["old@@shop.dev"], "null", [7], b"old@shop.dev", 3.5])
    def test_unusable_ones_cost_the_row(self, client: NewClient, value: object) -> None:
        """R1 holds for them, and the reason names the column."""
        report = client().bindings.add([{"email": "new@shop.dev", "former_emails": value}])
        assert report.refused[0][1].startswith("one of its former_emails cannot be: the email ")


class TestVerify:
    PEOPLE = 250

    @pytest.fixture
    def people(self, simulator: KlaviyoSimulator) -> list[dict[str, object]]:
        """The rows of customers with profiles, one of them with an address in Klaviyo's other spelling."""
        rows: list[dict[str, object]] = [
            {"external_id": f"A{number}", "email": f"c{number}@{'bücher' if number == 7 else 'shop'}.test"}
            for number in range(self.PEOPLE)
        ]
        for row in rows:
            simulator.add_profile(external_id=str(row["external_id"]), email=str(row["email"]))
        return rows

    def test_r16_the_first_call_is_warm(
        self, client: NewClient, simulator: KlaviyoSimulator, people: list[dict[str, object]]
    ) -> None:
        """R16: a hundred customers cost one request, and the first call about each costs no more than a later one."""
        k = client()
        report = k.bindings.add(people, verify=True)
        assert (self.PEOPLE, self.PEOPLE, ()) == (report.added, report.verified, report.refused)
        assert 3 == len(simulator.journal)
        for number in (0, 7, 249):
            before = len(simulator.journal)
            k.track("Ordered", external_id=f"A{number}", unique_id=f"o{number}")
            assert ["POST"] == [request.method for request in simulator.journal[before:]]
        assert self.PEOPLE == len(simulator.profiles)

    @pytest.mark.parametrize(
        ("how", "requests"), [("not at all", 4), ("by pair", 4), ("with profile_id", 2), ("verified", 1)]
    )
    def test_what_an_import_saves(
        self,
        client: NewClient,
        simulator: KlaviyoSimulator,
        people: list[dict[str, object]],
        how: str,
        requests: int,
    ) -> None:
        """The table of docs/imports.md: the requests of the first event of a customer who has a profile."""
        k = client()
        found = {"profile_id": simulator.profiles[1].id} if how == "with profile_id" else {}
        if how != "not at all":
            k.bindings.add([people[1] | found], verify=how == "verified")
        before = len(simulator.journal)
        k.track("Ordered", external_id="A1", email="c1@shop.test", unique_id="o1")
        assert requests == len(simulator.journal) - before

    def test_rows_that_are_there_are_checked(
        self, client: NewClient, simulator: KlaviyoSimulator, people: list[dict[str, object]]
    ) -> None:
        """R16: a row that the map has already is noted as checked, so that an import may be verified later."""
        k = client()
        ids = [profile.id for profile in simulator.profiles]
        k.bindings.add([row | {"profile_id": profile_id} for row, profile_id in zip(people, ids, strict=True)])
        assert "R16" == k.explain(external_id="A1").rule
        for _ in range(2):
            report = k.bindings.add(people, verify=True)
            assert (0, self.PEOPLE, self.PEOPLE) == (report.added, report.unchanged, report.verified)
            assert "R8" == k.explain(external_id="A1").rule

    @pytest.mark.parametrize("limit", [1, 3, 100])
    def test_a_refused_search_is_divided(self, limit: int) -> None:
        """However many values Klaviyo accepts at once, each row is asked about."""
        simulator = KlaviyoSimulator(Readings(any_limit=limit), account="SiMuLa")
        for number in range(20):
            simulator.add_profile(external_id=f"A{number}", email=f"c{number}@shop.test")
        rows = [{"external_id": f"A{number}", "email": f"c{number}@shop.test"} for number in range(20)]
        with httpx.Client(transport=simulator.transport) as http_client, Klaviyo(
            "pk_0123456789abcdef", store="memory://", account="SiMuLa", http_client=http_client
        ) as k:  # fmt: skip
            assert 20 == k.bindings.add(rows, verify=True).verified

    def test_pages_that_do_not_end(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """P6: an answer that leads back to itself is none, and nothing is added."""
        link = "https://a.klaviyo.com/api/profiles?page%5Bcursor%5D=a"
        simulator.fail_next(status=200, body={"data": [], "links": {"next": link}}, times=3)
        k = client()
        with pytest.raises(NoResponseError, match="do not end"):
            k.bindings.add([{"email": "ann@shop.dev"}], verify=True)
        assert [] == list(k.bindings)

    def test_a_search_is_no_longer_than_servers_take(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """A hundred long addresses are asked for in several requests."""
        rows = [{"email": f"{number:060}@shop.test"} for number in range(100)]
        client().bindings.add(rows, verify=True)
        assert max(len(request.path) for request in simulator.journal) < 8000
        assert 2 == len(simulator.journal)

    @pytest.mark.parametrize(
        ("profiles", "row", "why"),
        [
            ([("A1", "other@shop.dev")], {"external_id": "A1"}, "Klaviyo has this external_id with another email"),
            (
                [("B2", "ann@shop.dev")],
                {"external_id": "A1"},
                "the email belongs to a profile with another external_id",
            ),
            (
                [("A1", "ann@shop.dev")],
                {"external_id": "A1", "profile_id": "01OTHER"},
                "on another profile than the row",
            ),
            ([("A1", "x@shop.dev"), (None, "ann@shop.dev")], {"external_id": "A1"}, "another email"),
        ],
    )
    def test_p3_what_klaviyo_contradicts_is_refused(
        self,
        client: NewClient,
        simulator: KlaviyoSimulator,
        profiles: list[tuple[str | None, str]],
        row: dict[str, object],
        why: str,
    ) -> None:
        """P3: such a row is reported and not in the map, where calls would rely on it."""
        for external_id, email in profiles:
            simulator.add_profile(external_id=external_id, email=email)
        k = client()
        report = k.bindings.add([{"email": "ann@shop.dev"} | row], verify=True)
        assert (0, 0) == (report.added, report.verified)
        assert why in report.refused[0][1]
        assert [] == list(k.bindings)

    @pytest.mark.parametrize("profiles", [[], [(None, "ann@shop.dev")], [("A1", None)]])
    def test_what_klaviyo_does_not_show_waits_for_first_contact(
        self, client: NewClient, simulator: KlaviyoSimulator, profiles: list[tuple[str | None, str | None]]
    ) -> None:
        """A row without a profile, or with half of one, is added as it would be without the question."""
        for external_id, email in profiles:
            simulator.add_profile(external_id=external_id, email=email)
        k = client()
        report = k.bindings.add([{"external_id": "A1", "email": "ann@shop.dev"}], verify=True)
        assert (1, 0, ()) == (report.added, report.verified, report.refused)
        k.track("Ordered", external_id="A1", unique_id="o1")
        assert [("A1", "ann@shop.dev")] == [(each.external_id, each.email) for each in simulator.profiles]

    def test_a_guest_whose_profile_has_an_id_is_not_tied(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """R12: first contact learns the id; an import does not."""
        simulator.add_profile(external_id="A1", email="ann@shop.dev")
        k = client()
        assert 0 == k.bindings.add([{"email": "ann@shop.dev"}], verify=True).verified
        binding = k.bindings.get(email="ann@shop.dev")
        assert binding is not None
        assert binding.profile_id is None

    def test_an_outage_keeps_what_was_added(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """P6: what cannot be asked is not added, and the rows before are there."""
        k = client(retry=RetryPolicy(max_attempts=1))
        rows = [{"email": f"c{number}@shop.test"} for number in range(1500)]
        simulator.fail_next(status=503, match=lambda asked: "c1200@" in asked.query.get("filter", ""))
        with pytest.raises(ServerError):
            k.bindings.add(rows, verify=True)
        assert 1000 == len(list(k.bindings))

    def test_it_is_refused_where_it_makes_no_sense(self, client: NewClient) -> None:
        """Rows that are trusted are not asked about, and the legacy API cannot be asked."""
        with pytest.raises(ConfigurationError, match="one of trusted and verify"):
            client().bindings.add([], trusted=True, verify=True)
        legacy = client(dialect="legacy", base_url="http://127.0.0.1", public_key="SiMuLa")
        with pytest.raises(ConfigurationError, match="legacy"):
            legacy.bindings.add([], verify=True)


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
