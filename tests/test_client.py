"""Both clients from outside: what their methods hand on, return and raise. The rules have tests of their own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import respx

from safeklaviyo import (
    CLEAR,
    APIConnectionError,
    AsyncKlaviyo,
    ConfigurationError,
    EmailMismatchError,
    EmailTakenError,
    ErasedError,
    InvalidPropertyError,
    Klaviyo,
    LeaseHeldError,
    NoResponseError,
    NotSentError,
    Policy,
    RateLimitError,
    RetryPolicy,
    SafeKlaviyoError,
    StoreUnavailableError,
)
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.memory import AsyncMemoryStore

if TYPE_CHECKING:
    from safeklaviyo.stores.memory import MemoryStore
    from safeklaviyo.testing import KlaviyoSimulator
    from support.clients import NewClient

KEY = "pk_0123456789abcdef"
ANN = {"external_id": "A1", "email": "ann@shop.dev"}


class TestIdentify:
    def test_creates_then_updates(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """Every argument arrives; the second call writes onto the same profile and erases only what is cleared."""
        k = client()
        first = k.identify({"$first_name": "Ann", "plan": "gold", "tags": ["a"]}, phone_number="+12125550123", **ANN)
        second = k.identify({"first_name": CLEAR}, append={"tags": "b"}, unset="plan", external_id="A1")
        third = k.identify(unappend={"tags": "a"}, email="ANN@shop.dev")
        (profile,) = simulator.profiles
        assert (True, False, False) == (first.created, second.created, third.created)
        assert {profile.id} == {first.profile_id, second.profile_id, third.profile_id}
        assert (None, {"tags": ["b"]}) == (profile.attributes.get("first_name"), profile.properties)
        assert "+12125550123" == profile.phone_number
        assert ("A1", "ann@shop.dev") == (third.identity.external_id, third.identity.email)

    def test_refusal(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """What the rules refuse is raised with what a program needs, and nothing is written."""
        k = client()
        k.identify(**ANN)
        written = len(simulator.journal)
        with pytest.raises(EmailMismatchError) as caught:
            k.identify(external_id="A1", email="other@shop.dev")
        assert ("R6", "not_applied", "identify") == (caught.value.rule, caught.value.outcome, caught.value.operation)
        assert "ann@shop.dev" == caught.value.current_email
        assert written == len(simulator.journal)


class TestTrack:
    def test_arguments_arrive(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """An event is recorded as it was given, on the person's one profile."""
        at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        result = client().track(
            "Placed Order",
            customer_properties={"plan": "gold"},
            properties={"sku": "X1", "none": None},
            value=9.5,
            value_currency="EUR",
            time=at,
            unique_id="o-1",
            backfill=True,
            **ANN,
        )
        simulator.drain()
        (event,), (profile,) = simulator.events, simulator.profiles
        assert ("o-1", at, profile.id) == (result.unique_id, result.time, result.profile_id)
        assert ("Placed Order", "o-1", at.timestamp()) == (event.metric, event.unique_id, event.time)
        assert (9.5, "EUR", True) == (event.value, event.value_currency, event.backfill)
        assert {"sku": "X1", "none": None} == event.properties
        assert {"plan": "gold"} == profile.properties

    def test_error_repeats_the_event(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """An error carries what identifies the event, so that trying again cannot count it twice (P5, F-18)."""
        k = client(retry=RetryPolicy(max_attempts=1))
        k.identify(**ANN)
        simulator.fail_next("create_event", when="after")
        with pytest.raises(NoResponseError) as caught:
            k.track("Placed Order", email="ann@shop.dev")
        assert ("unknown", True) == (caught.value.outcome, caught.value.may_retry)
        k.track("Placed Order", email="ann@shop.dev", unique_id=caught.value.unique_id, time=caught.value.time)
        simulator.drain()
        assert 1 == len(simulator.events)


class TestChangeEmail:
    def test_change(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """The same profile has the new address, and calls with the old one go on to reach it."""
        k = client()
        first = k.identify(**ANN)
        change = k.change_email("new@shop.dev", external_id="A1", old_email="ann@shop.dev")
        assert ("changed", True, first.profile_id) == (change.status, change.visible, change.profile_id)
        assert first.profile_id == k.track("X", email="ann@shop.dev").profile_id
        simulator.drain()
        assert ["new@shop.dev"] == [profile.email for profile in simulator.profiles]

    def test_taken(self, client: NewClient) -> None:
        """Another customer's address is refused, and so is a word that says nothing about it."""
        k = client()
        k.identify(**ANN)
        k.identify(external_id="B2", email="bob@shop.dev")
        with pytest.raises(EmailTakenError):
            k.change_email("bob@shop.dev", external_id="A1")
        with pytest.raises(ConfigurationError, match="on_taken"):
            k.change_email("new@shop.dev", external_id="A1", on_taken="steal")  # type: ignore[arg-type]


class TestOtherVerbs:
    """Each verb has tests of its rules elsewhere; here it is called once with all that it takes."""

    def test_change_external_id(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """The profile has the new id, or none."""
        k = client()
        k.identify(**ANN)
        change = k.change_external_id("A2", old_external_id="A1", email="ann@shop.dev")
        assert ("changed", "A1", "A2") == (change.status, change.old_external_id, change.new_external_id)
        assert k.change_external_id(CLEAR, old_external_id="A2").new_external_id is None
        assert [None] == [profile.external_id for profile in simulator.profiles]

    def test_change_phone_number(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """The profile has the new number, or none."""
        k = client()
        k.identify(**ANN)
        assert "changed" == k.change_phone_number("+12125550123", external_id="A1").status
        assert "+12125550123" == simulator.profiles[0].phone_number
        assert k.change_phone_number(CLEAR, email="ann@shop.dev").new_phone_number is None

    def test_resolve(self, client: NewClient) -> None:
        """Who somebody is comes from the map."""
        k = client()
        made = k.identify(**ANN)
        for given in ({"external_id": "A1"}, {"email": "ann@shop.dev"}):
            found = k.resolve(**given)
            assert (made.profile_id, "A1") == (found.profile_id, found.identity.external_id)

    def test_erase(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """The customer is deleted in Klaviyo and forgotten here; a late call does not bring them back."""
        k = client()
        made = k.identify(**ANN)
        erased = k.erase(external_id="A1", email="ann@shop.dev", profile_id=made.profile_id)
        assert (made.profile_id, True) == (erased.profile_id, erased.was_known)
        with pytest.raises(ErasedError):
            k.track("Placed Order", email="ann@shop.dev")
        simulator.drain()
        assert [] == simulator.profiles
        assert k.bindings.release_email("ann@shop.dev")
        assert k.identify(email="ann@shop.dev").created

    def test_recover(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """What was interrupted is completed, and said."""
        k = client(retry=RetryPolicy(max_attempts=1))
        k.identify(**ANN)
        simulator.fail_next("update_profile")
        with pytest.raises(NoResponseError):
            k.change_email("new@shop.dev", external_id="A1")
        simulator.advance(60)
        assert ["completed"] == [each.status for each in k.recover(limit=10)]
        assert [] == k.recover()
        assert "new@shop.dev" == simulator.profiles[0].email

    def test_recheck_changes(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """A former address that came back is found, and put right on request."""
        k = client()
        made = k.identify(**ANN)
        k.change_email("new@shop.dev", external_id="A1")
        simulator.add_profile(email="ann@shop.dev")
        (found,) = k.recheck_changes(since=simulator.now() - 3600, repair=False)
        assert ("ghost", made.profile_id) == (found.finding, found.profile_id)


class TestExplain:
    def test_sends_nothing(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """What would be done is said from the map alone."""
        k = client()
        assert ("contact", "R4") == ((said := k.explain(phone_number="+12125550123", **ANN)).action, said.rule)
        assert [] == simulator.journal
        k.identify(**ANN)
        asked = len(simulator.journal)
        assert ("send", "R8") == ((said := k.explain(external_id="A1")).action, said.rule)
        assert asked == len(simulator.journal)


class TestFailures:
    @pytest.mark.parametrize(
        ("broken", "raised", "outcome"),
        [
            ("refused", NotSentError, "not_applied"),
            ("lost", NoResponseError, "unknown"),
            ("truncated", NoResponseError, "unknown"),
        ],
    )
    def test_connection(
        self, client: NewClient, simulator: KlaviyoSimulator, broken: Any, raised: type[SafeKlaviyoError], outcome: str
    ) -> None:
        """Every error says whether Klaviyo changed (P7)."""
        k = client(retry=RetryPolicy(max_attempts=1))
        k.identify(**ANN)
        simulator.fail_next("update_profile", broken=broken, when="before" if broken == "refused" else "after")
        with pytest.raises(raised) as caught:
            k.identify({"a": 1}, **ANN)
        assert (outcome, "identify") == (caught.value.outcome, caught.value.operation)

    def test_waits_are_waited(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """A 429 is waited out as long as Klaviyo says, and no longer than the policy allows."""
        k = client()
        k.identify(**ANN)
        began = simulator.now()
        simulator.fail_next("update_profile", status=429, headers={"Retry-After": "3"})
        k.identify({"a": 1}, **ANN)
        assert 3 <= simulator.now() - began < 5
        simulator.fail_next("update_profile", status=429, headers={"Retry-After": "100"})
        with pytest.raises(RateLimitError) as caught:
            k.identify({"a": 2}, **ANN)
        assert 100 == caught.value.retry_after

    def test_map_that_cannot_answer(self, client: NewClient, simulator: KlaviyoSimulator, store: MemoryStore) -> None:
        """Without its map the client sends nothing (P6)."""
        k = client()
        store.close()
        with pytest.raises(StoreUnavailableError):
            k.identify(**ANN)
        assert [] == simulator.journal

    def test_lease_held(self, client: NewClient, simulator: KlaviyoSimulator, store: MemoryStore) -> None:
        """Somebody else's lease is waited for as long as the policy says (R13)."""
        intent = '{"verb": "contact", "external_id": "A1", "email": "ann@shop.dev"}'
        held = frozenset({Identifier(Kind.EXTERNAL_ID, "A1"), Identifier(Kind.EMAIL, "ann@shop.dev")})
        assert store.acquire("SiMuLa", held, intent=intent, ttl=1000)
        began = simulator.now()
        with pytest.raises(LeaseHeldError):
            client(policy=Policy(wait=2)).identify(**ANN)
        assert 2 <= simulator.now() - began < 3
        assert [] == simulator.journal

    def test_property(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """What cannot be sent is refused with the path of its key, where the policy refuses it."""
        with pytest.raises(InvalidPropertyError) as caught:
            client(policy=Policy(properties="refuse")).identify({"a": {"b": [object()]}}, **ANN)
        assert "properties.a.b[0]" == caught.value.path
        assert [] == simulator.journal


class TestState:
    def test_nothing_is_kept_between_calls(self, client: NewClient, simulator: KlaviyoSimulator) -> None:
        """One call's customer never shows in the next one's, nor in its caller's mappings (F-10)."""
        k, properties = client(), {"plan": "gold"}
        k.identify(properties, **ANN)
        k.identify(properties, external_id="B2", email="bob@shop.dev")
        assert {"plan": "gold"} == properties
        assert {("A1", "ann@shop.dev"), ("B2", "bob@shop.dev")} == {
            (p.external_id, p.email) for p in simulator.profiles
        }

    @pytest.mark.parametrize("account", [None, "SiMuLa"])
    def test_repr(self, client: NewClient, account: str | None) -> None:
        """A client shows where it leads, and no key (F-27)."""
        shown = repr(client(account=account))
        assert "Klaviyo('https://a.klaviyo.com', dialect='current'" in shown
        assert ("account='SiMuLa'" in shown) is (account is not None)
        assert KEY not in shown

    def test_legacy_repr(self, client: NewClient) -> None:
        """The dialect shows, and neither key does."""
        shown = repr(client(dialect="legacy", public_key="PubKey", account="Other", base_url="http://127.0.0.1"))
        assert "dialect='legacy'" in shown
        assert "PubKey" not in shown


class TestContexts:
    async def test_both(self, simulator: KlaviyoSimulator) -> None:
        """Both clients are context managers of their own kind; what the simulator's mock routes reaches it."""
        async with httpx.AsyncClient(transport=simulator.transport) as http:
            async with AsyncKlaviyo(KEY, store=AsyncMemoryStore(), account="A", http_client=http) as k:
                assert (await k.identify(**ANN)).created
            with pytest.raises(ConfigurationError):
                await k.identify(**ANN)
            assert not http.is_closed
        with (
            httpx.Client(transport=simulator.transport) as http,
            Klaviyo(KEY, store="memory://", http_client=http) as k,
        ):
            assert k.identify(**ANN).created is False

    def test_mocked_transport(self, simulator: KlaviyoSimulator) -> None:
        """A shop's tests may lead the client's own connections to the simulator, and one answer elsewhere."""
        with simulator.mock() as router, Klaviyo(KEY, store="memory://", account="A") as k:
            router.post("https://a.klaviyo.com/api/events").mock(return_value=httpx.Response(202))
            k.track("Placed Order", email="ann@shop.dev")
        assert 1 == len(simulator.profiles)
        assert isinstance(router, respx.MockRouter)

    async def test_mocked_async_transport(self, simulator: KlaviyoSimulator) -> None:
        """So may those of an asynchronous shop."""
        with simulator.mock():
            async with AsyncKlaviyo(KEY, store="memory://", account="A") as k:
                await k.identify(**ANN)
        assert 1 == len(simulator.profiles)


def test_hook_that_fails(simulator: KlaviyoSimulator, store: MemoryStore) -> None:
    """A foreign error passes, and what it interrupted is finished by the next call on that customer (P4)."""
    hook_fails = [True]

    def hook(response: httpx.Response) -> None:
        if hook_fails[0] and response.request.method == "POST":
            raise LookupError("theirs")

    with httpx.Client(transport=simulator.transport, event_hooks={"response": [hook]}) as http:
        k = Klaviyo(KEY, store=store, account="A", http_client=http)
        with pytest.raises(LookupError, match="theirs"):
            k.identify(**ANN)
        hook_fails[0] = False
        simulator.advance(60)
        assert k.identify(**ANN).created is False
    assert 1 == len(simulator.profiles)


def test_errors_of_the_way_are_one_family() -> None:
    """A program can tell a broken connection by one class."""
    assert issubclass(NotSentError, APIConnectionError)
    assert issubclass(NoResponseError, APIConnectionError)
