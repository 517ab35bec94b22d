"""`bindings.learn`: the map filled from Klaviyo's own profiles, with both clients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo import (
    Binding,
    ConfigurationError,
    IdentityDriftError,
    IdentityError,
    Klaviyo,
    Progress,
    RetryPolicy,
    ServerError,
)
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.base import Match
from safeklaviyo.stores.calls import Remember
from safeklaviyo.stores.memory import MemoryStore
from support.rules import names_of

if TYPE_CHECKING:
    from safeklaviyo.stores.calls import Call
    from safeklaviyo.testing import KlaviyoSimulator
    from support.clients import NewClient

ACCOUNT = "SiMuLa"
PEOPLE = 250


@pytest.fixture
def people(simulator: KlaviyoSimulator) -> KlaviyoSimulator:
    """A pretend Klaviyo with customers on three pages."""
    for number in range(PEOPLE):
        simulator.add_profile(external_id=f"A{number}", email=f"c{number}@shop.test")
    return simulator


def known(k: Klaviyo) -> set[tuple[str | None, str | None, str | None]]:
    """Return what the map holds."""
    return {(binding.external_id, binding.email, binding.profile_id) for binding in k.bindings}


def shown(simulator: KlaviyoSimulator) -> set[tuple[str | None, str | None, str | None]]:
    """Return what Klaviyo holds."""
    return {(profile.external_id, profile.email, profile.id) for profile in simulator.profiles}


class TestLearning:
    def test_a_page_of_a_hundred_is_a_request(
        self, client: NewClient, people: KlaviyoSimulator, store: MemoryStore
    ) -> None:
        """The map is Klaviyo's, nothing was written to Klaviyo, and no lease is left."""
        k = client()
        report = k.bindings.learn()
        assert (PEOPLE, 0, (), ()) == (report.added, report.unchanged, report.refused, report.warnings)
        assert ["GET"] * 3 == [request.method for request in people.journal]
        assert shown(people) == known(k)
        assert () == store.leases(ACCOUNT, 1)

    def test_r16_h32_what_was_learnt_is_a_hint(self, client: NewClient, people: KlaviyoSimulator) -> None:
        """R16, H32: the first call reads the profile, the second one does not; neither searches."""
        k = client()
        k.bindings.learn()
        for requests in (["GET", "POST"], ["POST"]):
            before = len(people.journal)
            k.track("Ordered", external_id="A7", unique_id=f"o{before}")
            assert requests == [request.method for request in people.journal[before:]]

    @pytest.mark.parametrize(
        "claim", [{"external_id": "B2", "email": "c7@shop.test"}, {"external_id": "A7", "email": "x@shop.test"}]
    )
    def test_h34_a_hint_refuses_no_one(
        self, client: NewClient, people: KlaviyoSimulator, claim: dict[str, str]
    ) -> None:
        """H34, R6, R7: the profile of the customer in the way is read before anyone is refused, and only once."""
        k = client()
        k.bindings.learn()
        for requests in (1, 0):
            before = len(people.journal)
            with pytest.raises(IdentityError) as refused:
                k.identify(**claim)
            assert refused.value.rule in {"R6", "R7"}
            assert requests == len(people.journal) - before

    def test_h34_a_hint_that_is_wrong_gives_way(self, client: NewClient, people: KlaviyoSimulator) -> None:
        """H34: an address that its customer has left is free for the next one: the map's hint is forgotten."""
        k = client()
        k.bindings.learn()
        (left,) = (profile for profile in people.profiles if profile.external_id == "A7")
        body = {"data": {"type": "profile", "id": left.id, "attributes": {"email": "moved@shop.test"}}}
        path = f"/api/profiles/{left.id}"
        assert 200 == people.handle("PATCH", path, HEADERS, json.dumps(body).encode()).status
        assert k.identify(external_id="B2", email="c7@shop.test").created
        assert k.bindings.get(external_id="A7") is None
        k.track("Ordered", external_id="A7")
        binding = k.bindings.get(external_id="A7")
        assert binding is not None
        assert ("moved@shop.test", left.id) == (binding.email, binding.profile_id)

    def test_h34_a_hint_with_a_past_is_kept(
        self, client: NewClient, people: KlaviyoSimulator, store: MemoryStore
    ) -> None:
        """What was imported with former addresses is the shop's own word: Klaviyo's other word is drift (R15)."""
        k = client()
        k.bindings.learn()
        (left,) = (profile for profile in people.profiles if profile.external_id == "A7")
        binding = k.bindings.get(external_id="A7")
        assert binding is not None
        store.restore(ACCOUNT, [Match(Identifier(Kind.EMAIL, "old@shop.test"), binding, 1.0)])
        body = {"data": {"type": "profile", "id": left.id, "attributes": {"email": "moved@shop.test"}}}
        people.handle("PATCH", f"/api/profiles/{left.id}", HEADERS, json.dumps(body).encode())
        with pytest.raises(IdentityDriftError):
            k.identify(external_id="B2", email="c7@shop.test")
        assert k.bindings.get(external_id="A7") == binding

    def test_again(self, client: NewClient, people: KlaviyoSimulator) -> None:
        """Once it has ended it begins anew, and changes nothing that is known."""
        k = client()
        k.bindings.learn()
        people.add_profile(external_id="B1", email="late@shop.test")
        report = k.bindings.learn()
        assert (1, PEOPLE) == (report.added, report.unchanged)

    def test_progress(self, client: NewClient, people: KlaviyoSimulator) -> None:
        """One is told after each page; Klaviyo does not say how many profiles there are."""
        seen: list[Progress] = []
        people.add_profile(external_id="1.0E+05", email="spoilt@shop.test")
        for _ in range(3):
            people.fail_next(status=429, headers={"retry-after": "1"}, times=1)
        client().bindings.learn(on_progress=seen.append)
        assert [(100, None, 0), (200, None, 0), (251, None, 1)] == [
            (progress.done, progress.total, progress.refused) for progress in seen
        ]
        assert 70 < seen[-1].per_second < 84
        assert seen[-1].remaining is None

    def test_what_has_no_email_is_counted(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """P1: no call may name such a profile."""
        simulator.add_profile(external_id="A1")
        simulator.add_profile(phone_number="+12125550123")
        simulator.add_profile(email="ann@shop.test", phone_number="+12125550124")
        k = client()
        report = k.bindings.learn()
        assert (1, 1, 1) == (report.added, report.id_only, report.without_email)
        assert ["+12125550124"] == [binding.phone_number for binding in k.bindings]

    @pytest.mark.parametrize("external_id", ["null", "1.0E+05", "'901", "<NA>"])
    def test_r1_spoilt_ids_are_refused(self, client: NewClient, simulator: KlaviyoSimulator, external_id: str) -> None:
        """R1: two customers could have such an id; the reason names the profile and nothing else of it."""
        made = simulator.add_profile(external_id=external_id, email="ann@shop.test")
        k = client()
        report = k.bindings.learn()
        ((number, reason),) = report.refused
        assert (0, 0) == (number, report.added)
        assert reason.startswith(f"profile {made.id}: the external_id ")
        assert "ann" not in reason
        assert set() == known(k)

    def test_the_legacy_dialect_cannot(self, client: NewClient) -> None:
        """It has no list of profiles."""
        legacy = client(dialect="legacy", base_url="http://127.0.0.1", public_key=ACCOUNT)
        with pytest.raises(ConfigurationError, match="cannot list"):
            legacy.bindings.learn()

    def test_pages_that_do_not_end(self, client: NewClient, people: KlaviyoSimulator) -> None:
        """A link that leads back is no reason to go on for ever."""
        page = people.handle("GET", "/api/profiles?page%5Bsize%5D=100", HEADERS, b"")
        for _ in range(3):
            people.fail_next(status=200, body=page.body, times=3)
        with pytest.raises(Exception, match="do not end"):
            client().bindings.learn()


HEADERS = {"authorization": "Klaviyo-API-Key pk_by_hand", "revision": "2026-10-15"}

ANN = Binding("A1", "ann@shop.test")
FORMER = {"former_emails": ["old@shop.test"], "former_external_ids": ["A0"]}


class TestContradictions:
    @pytest.mark.parametrize(
        ("binding", "profile", "why"),
        [
            (ANN, ("A1", "other@shop.test"), "with another email"),
            (ANN, ("B2", "ann@shop.test"), "with another external_id"),
            (ANN, (None, "ann@shop.test"), "or the profile has none"),
            (ANN, (None, "old@shop.test"), "a former identifier"),
            (ANN, ("B2", "old@shop.test"), "a former identifier"),
            (ANN, ("A0", "new@shop.test"), "a former identifier"),
            (Binding("A1", "ann@shop.test", "01OTHER"), ("A1", "ann@shop.test"), "on another profile"),
        ],
    )
    def test_p3_h33_they_are_reported_and_change_nothing(
        self,
        client: NewClient,
        simulator: KlaviyoSimulator,
        binding: Binding,
        profile: tuple[str | None, str],
        why: str,
    ) -> None:
        """P3, H33: learning overwrites nothing, retires nothing, and takes no former identifier from its owner."""
        made = simulator.add_profile(external_id=profile[0], email=profile[1])
        k = client()
        row = {name: getattr(binding, name) for name in ("external_id", "email", "profile_id")}
        k.bindings.add([row | FORMER])
        before = known(k)
        ((_, reason),) = k.bindings.learn().refused
        assert reason.startswith(f"profile {made.id}: ")
        assert why in reason
        assert before == known(k)
        assert k.explain(email="old@shop.test").rewritten
        assert k.explain(external_id="A0").rewritten

    def test_two_customers_on_one_profile(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """A profile with one customer's id and another one's email is nobody's."""
        simulator.add_profile(external_id="A1", email="ben@shop.test")
        k = client()
        k.bindings.add(
            [{"external_id": "A1", "email": "ann@shop.test"}, {"external_id": "B2", "email": "ben@shop.test"}]
        )
        ((_, reason),) = k.bindings.learn().refused
        assert "several customers'" in reason

    @pytest.mark.parametrize("binding", [Binding(None, "ann@shop.test"), ANN])
    def test_what_a_customer_lacks_is_learnt(
        self, client: NewClient, simulator: KlaviyoSimulator, binding: Binding
    ) -> None:
        """An imported customer gets the profile's id, a guest the external id too; both are checked at the next use."""
        made = simulator.add_profile(external_id="A1", email="ann@shop.test")
        k = client()
        k.bindings.add([binding], trusted=True)
        assert 1 == k.bindings.learn().added
        assert {("A1", "ann@shop.test", made.id)} == known(k)
        assert "R16" == k.explain(email="ann@shop.test").rule

    def test_an_erased_customer_is_not_learnt(
        self, client: NewClient, simulator: KlaviyoSimulator, store: MemoryStore
    ) -> None:
        """P4: Klaviyo takes its time to delete a profile, and until then lists it."""
        k = client()
        k.identify(external_id="A1", email="ann@shop.test")
        k.erase(external_id="A1")
        ((_, reason),) = k.bindings.learn().refused
        assert "this customer was erased" in reason
        assert set() == known(k)
        assert () == store.leases(ACCOUNT, 1)
        assert 1 == len(simulator.profiles)

    @pytest.mark.parametrize("is_known", [True, False])
    def test_r13_a_customer_under_a_lease_is_passed_over(
        self, client: NewClient, simulator: KlaviyoSimulator, store: MemoryStore, is_known: bool
    ) -> None:
        """R13: another call is writing, so that neither the map nor the page need be right."""
        simulator.add_profile(external_id="A1", email="ann@shop.test")
        k = client()
        if is_known:
            k.bindings.add([{"external_id": "A1", "email": "other@shop.test"}])
        store.acquire(ACCOUNT, frozenset({Identifier(Kind.EXTERNAL_ID, "A1")}), intent="{}", ttl=60)
        report = k.bindings.learn()
        assert (0, ()) == (report.added, report.refused)
        assert "another call is writing about this customer" in report.warnings[0][1]

    def test_h6_an_expired_lease_is_finished_first(
        self, client: NewClient, simulator: KlaviyoSimulator, store: MemoryStore
    ) -> None:
        """H6: what an interrupted call was about to write comes before what Klaviyo's list shows."""
        simulator.add_profile(email="ann@shop.test")
        intent = '{"verb": "contact", "external_id": "A1", "email": "ann@shop.test"}'
        names = names_of(ANN)
        store.acquire(ACCOUNT, frozenset(names), intent=intent, ttl=1)
        simulator.advance(60)
        k = client()
        report = k.bindings.learn()
        assert 1 == len(report.refused)  # the page is older than what was finished
        assert [("A1", "ann@shop.test")] == [(each.external_id, each.email) for each in simulator.profiles]
        assert 0 == k.bindings.learn().added

    def test_h6_several_expired_leases_are_finished_first(
        self, client: NewClient, simulator: KlaviyoSimulator, store: MemoryStore
    ) -> None:
        """H6: one on the id and one on the email; what they make known is no news then."""
        simulator.add_profile(external_id="A1", email="ann@shop.test")
        for name, intent in (
            (Identifier(Kind.EMAIL, "ann@shop.test"), '{"verb": "contact", "email": "ann@shop.test"}'),
            (Identifier(Kind.EXTERNAL_ID, "A1"), '{"verb": "contact", "external_id": "A1", "email": "ann@shop.test"}'),
        ):
            store.acquire(ACCOUNT, frozenset({name}), intent=intent, ttl=1)
        simulator.advance(60)
        report = client().bindings.learn()
        assert (0, 1, (), ()) == (report.added, report.unchanged, report.refused, report.warnings)
        assert () == store.leases(ACCOUNT, 1)

    def test_h36_what_cannot_be_finished_yet_is_passed_over(
        self, client: NewClient, simulator: KlaviyoSimulator, store: MemoryStore
    ) -> None:
        """H36: a profile that Klaviyo does not show now is no reason to end, nor to learn over an unfinished write."""
        simulator.add_profile(external_id="A1", email="ann@shop.test")
        intent = '{"verb": "restore", "external_id": "A1", "profile_id": "01GONE"}'
        store.acquire(ACCOUNT, frozenset({Identifier(Kind.EXTERNAL_ID, "A1")}), intent=intent, ttl=1)
        simulator.advance(60)
        report = client().bindings.learn()
        assert (0, 1) == (report.added, len(report.warnings))


class Killed(BaseException):
    """The process is gone, and releases no lease."""

    is_death = True


class Fragile(MemoryStore):
    """A map in which the process dies at a chosen call."""

    dies_at: int = -1
    death: type[BaseException] = Killed
    number: int = 0

    def perform(self, call: Call[Any]) -> Any:
        """Count calls that write, and die before one."""
        if not call.is_read:
            self.number += 1
            if self.number == self.dies_at:
                raise self.death
        return super().perform(call)


class TestResuming:
    def test_a_failed_run_is_gone_on_with(self, client: NewClient, people: KlaviyoSimulator) -> None:
        """Pages that were learnt are not read again, also by another client."""
        k = client(retry=RetryPolicy(max_attempts=1))
        people.fail_next(status=503, match=lambda asked: "page[cursor]" in asked.query)
        with pytest.raises(ServerError):
            k.bindings.learn()
        assert 100 == len(known(k))
        before = len(people.journal)
        report = client().bindings.learn()
        assert (150, 0) == (report.added, report.unchanged)
        assert 2 == len(people.journal) - before

    @pytest.mark.parametrize("noted", ["/api/profiles?page%5Bcursor%5D=gone", "/api/elsewhere", "garbage"])
    def test_a_place_that_klaviyo_no_longer_knows(
        self, client: NewClient, people: KlaviyoSimulator, store: MemoryStore, noted: str
    ) -> None:
        """Then it begins at the beginning, and says nothing of it."""
        store.perform(Remember(ACCOUNT, "learnt up to", noted))
        assert PEOPLE == client().bindings.learn().added

    def test_a_refusal_within_a_run_is_raised(self, client: NewClient, people: KlaviyoSimulator) -> None:
        """Only where a run begins may the place be an old one."""
        people.fail_next(status=400, match=lambda asked: "page[cursor]" in asked.query)
        with pytest.raises(Exception, match="does not accept"):
            client().bindings.learn()

    @pytest.mark.parametrize("dies_at", [2, 50, 150])
    def test_an_interruption_leaves_no_lease(self, simulator: KlaviyoSimulator, open_client: Any, dies_at: int) -> None:
        """A signal handler that raises in the middle of a page blocks none of its hundred customers."""
        for number in range(100):
            simulator.add_profile(external_id=f"A{number}", email=f"c{number}@shop.test")
        store = Fragile(clock=simulator.now)
        store.dies_at, store.death = dies_at, KeyboardInterrupt
        with pytest.raises(KeyboardInterrupt):
            open_client(simulator, store).bindings.learn()
        assert () == store.leases(ACCOUNT, 1)

    def test_a_kill_at_any_write_loses_a_page_at_most(self, simulator: KlaviyoSimulator, open_client: Any) -> None:
        """However a run ends, the next one goes on within a page of it, and the map is whole afterwards."""
        for number in range(103):
            simulator.add_profile(external_id=f"A{number}", email=f"c{number}@shop.test")
        for dies_at in (*range(1, 5), *range(196, 209)):
            store = Fragile(clock=simulator.now)
            store.dies_at = dies_at
            k = open_client(simulator, store)
            with pytest.raises(Killed):
                k.bindings.learn()
            simulator.advance(60)
            done: list[Progress] = []
            report = k.bindings.learn(on_progress=done.append)
            assert ([3] if dies_at > 201 else [100, 103]) == [progress.done for progress in done]
            assert () == report.refused
            assert shown(simulator) == known(k)
