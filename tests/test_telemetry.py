"""Spans and metrics: what they say of a call, and that they cost nothing where OpenTelemetry is not installed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from safeklaviyo import AsyncKlaviyo, Klaviyo, NoResponseError, RetryPolicy, StoreUnavailableError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.testing import KlaviyoSimulator
from support.clients import Awaited
from support.scenes import ACCOUNT, ANN, Troubled, rejected
from support.signals import listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeklaviyo.stores.memory import MemoryStore
    from support.clients import NewClient
    from support.signals import Heard

ADDRESS = ANN["email"]
SEARCH = {"http.request.method": "GET", "url.template": "/api/profiles", "server.address": "a.klaviyo.com"}


@pytest.fixture
def heard() -> Iterator[Heard]:
    """What OpenTelemetry is told."""
    with listening() as heard:
        yield heard


def names(heard: Heard) -> list[str]:
    """Return the names of the spans, as they ended."""
    return [span.name for span in heard.spans]


class TestSpans:
    def test_of_a_call_and_of_its_requests(self, client: NewClient, heard: Heard) -> None:
        """The span of the operation has one of each request below it."""
        client().identify(**ANN)
        searches, create = ["GET /api/profiles"] * 2, "POST /api/profiles"
        assert [*searches, create, "safeklaviyo identify"] == names(heard)
        *requests, operation = heard.spans
        assert operation.context is not None
        assert {operation.context.span_id} == {span.parent.span_id for span in requests if span.parent is not None}
        assert "CLIENT" == requests[0].kind.name
        expected = {"safeklaviyo.operation": "identify", "safeklaviyo.rule": "R4", "safeklaviyo.outcome": "applied"}
        assert expected == dict(operation.attributes or {})
        assert [SEARCH | {"http.response.status_code": 200}] * 2 == heard.named("GET /api/profiles")

    def test_of_a_client_that_was_used_before(self, client: NewClient) -> None:
        """A program may set its providers up after the first call."""
        k = client()
        k.identify(**ANN)
        with listening() as heard:
            k.identify({"tier": "gold"}, **ANN)
        assert "safeklaviyo identify" == names(heard)[-1]

    def test_of_repeats(self, client: NewClient, simulator: KlaviyoSimulator, heard: Heard) -> None:
        """Each attempt has a span; those after the first say how many there were."""
        k = client()
        k.identify(**ANN)
        heard.spans.clear()
        simulator.fail_next("create_event", status=503, times=1)
        simulator.fail_next("create_event", when="after")
        k.track("Ordered", **ANN)
        first, second, *_ = [dict(span.attributes or {}) for span in heard.spans]
        assert ("503", None) == (first["error.type"], first.get("http.request.resend_count"))
        assert 1 == second["http.request.resend_count"]
        assert "ERROR" == heard.spans[0].status.status_code.name

    def test_of_a_refusal(self, client: NewClient, heard: Heard) -> None:
        """The class of the error and its rule, and nothing of its message."""
        rejected(client().track, "Ordered", external_id="nobody")
        (said,) = heard.named("safeklaviyo track")
        assert ("IdOnlyError", "R9", "not_applied") == (
            said["error.type"], said["safeklaviyo.rule"], said["safeklaviyo.outcome"],
        )  # fmt: skip
        span = heard.spans[-1]
        assert ("ERROR", None, ()) == (span.status.status_code.name, span.status.description, tuple(span.events))

    def test_of_an_answer_that_did_not_come(self, client: NewClient, simulator: KlaviyoSimulator, heard: Heard) -> None:
        """An attempt without an answer has the class of its error, and no status."""
        k = client(retry=RetryPolicy(max_attempts=1))
        k.identify(**ANN)
        simulator.fail_next("update_profile", when="after")
        assert isinstance(rejected(k.identify, {"tier": "gold"}, **ANN), NoResponseError)
        (said,) = heard.named("PATCH /api/profiles/{id}")
        assert ("NoResponseError", None) == (said["error.type"], said.get("http.response.status_code"))

    @pytest.mark.parametrize("kind", [Klaviyo, AsyncKlaviyo])
    def test_the_librarys_own_instrumentation_is_suppressed(self, kind: type) -> None:
        """P8: it notes whole URLs, and a search has an address in its URL. The program's own requests stay noted."""
        simulator = KlaviyoSimulator(account=ACCOUNT)
        with asyncio.Runner() as runner, simulator.serve() as base, listening(instruments_httpx=True) as heard:
            made: Any = httpx.Client() if kind is Klaviyo else httpx.AsyncClient()
            k: Any = kind("pk_test", store="memory://", base_url=base, http_client=made)
            k = k if kind is Klaviyo else Awaited(k, runner)
            k.profiles.search(email=ADDRESS)
            k.close()
            with httpx.Client() as own:
                own.get(f"{base}/own")
            made.close() if kind is Klaviyo else runner.run(made.aclose())
        assert 1 == sum("/own" in each for each in heard.texts())
        assert ["GET /api/accounts", "GET /api/profiles", "safeklaviyo profiles.search", "GET"] == names(heard)
        assert not any(ADDRESS in each or "filter" in each for each in heard.texts())


class TestMetrics:
    def test_of_operations_requests_and_the_map(self, client: NewClient, heard: Heard) -> None:
        """How many by rule and outcome, and how long requests and the map took."""
        before = sum(count for _, count in heard.points("safeklaviyo.operations"))
        k = client()
        k.identify(**ANN)
        k.track("Ordered", **ANN)
        counted = {tuple(sorted(said.items())): count for said, count in heard.points("safeklaviyo.operations")}
        track = {"safeklaviyo.operation": "track", "safeklaviyo.rule": "R3", "safeklaviyo.outcome": "applied"}
        assert 1 <= counted[tuple(sorted(track.items()))]
        assert 2 == sum(counted.values()) - before
        assert (SEARCH | {"http.response.status_code": 200}) in [
            said for said, _ in heard.points("http.client.request.duration")
        ]
        assert {"find", "acquire", "bind"} <= {
            said["safeklaviyo.map.call"] for said, _ in heard.points("safeklaviyo.map.duration")
        }

    def test_of_a_map_that_fails(self, client: NewClient, simulator: KlaviyoSimulator, heard: Heard) -> None:
        """Its operation has the class of the error."""
        store = Troubled(simulator)
        store.failing.add("find")
        assert isinstance(rejected(client(store=store).explain, **ANN), StoreUnavailableError)
        said = [said for said, _ in heard.points("safeklaviyo.map.duration")]
        assert {"safeklaviyo.map.call": "find", "error.type": "StoreUnavailableError"} in said

    def test_of_waits_and_of_leases(self, client: NewClient, store: MemoryStore, heard: Heard) -> None:
        """How long a call waited for another one, and that it took over what that one left."""
        taken = sum(count for _, count in heard.points("safeklaviyo.leases.expired"))
        intent = '{"verb": "contact", "external_id": "ann-1", "email": "ann@shop.test"}'
        store.acquire(ACCOUNT, frozenset({Identifier(Kind.EMAIL, ADDRESS)}), intent=intent, ttl=2)
        client().identify(**ANN)
        assert ["lease"] == [
            said["safeklaviyo.wait.reason"]
            for said, _ in heard.points("safeklaviyo.wait.duration")
            if said["safeklaviyo.wait.reason"] == "lease"
        ]
        assert 1 == sum(count for _, count in heard.points("safeklaviyo.leases.expired")) - taken


class TestAbsent:
    def test_nothing_is_imported_before_the_first_call(self) -> None:
        """Making a client loads nothing of OpenTelemetry's."""
        program = (
            "import sys; from safeklaviyo import Klaviyo; Klaviyo('pk', store='memory://')\n"
            "print('opentelemetry' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        assert "False" == done.stdout.strip()

    def test_without_it_calls_are_made_all_the_same(self) -> None:
        """Where it is not installed, nothing of it is done, and decisions are told all the same."""
        program = """
import asyncio, sys
sys.modules["opentelemetry"] = None
from safeklaviyo import AsyncKlaviyo, Klaviyo
from safeklaviyo.testing import KlaviyoSimulator

ann, told = {"external_id": "ann-1", "email": "ann@shop.dev"}, []

async def awaited():
    k = AsyncKlaviyo("pk_test", store="memory://")
    told_of = AsyncKlaviyo("pk_test", store=k._shell.store, on_decision=told.append)
    async with k, told_of:
        print((await k.identify(**ann)).rule, (await told_of.track("Ordered", **ann)).rule)

with KlaviyoSimulator().mock():
    k = Klaviyo("pk_test", store="memory://")
    told_of = Klaviyo("pk_test", store=k._shell.store, on_decision=told.append)
    with k, told_of:
        print(k.identify(**ann).rule, told_of.track("Ordered", **ann).rule)
    asyncio.run(awaited())
print(*[each.rule for each in told], "opentelemetry.trace" in sys.modules)
"""
        done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        assert ["R4 R3", "R4 R3", "R3 R3 False"] == done.stdout.splitlines()
