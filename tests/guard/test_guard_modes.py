"""Random calls of a shop: the map's part of the verdict is the same in both modes, and observing is reading.

Each call is judged three times over one and the same map: observed, observed again, and enforced. What enforcing does
is then carried out, so that the next call finds another map.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from safeklaviyo import SafeKlaviyoError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator
from support.clients import ACCOUNT, OpenClient
from support.examples import examples
from support.guarding import KEY, REVISION, Core, Incoming, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo import Klaviyo

IDS = ["ann-1", "bob-2", "eve-3", 7, "null", None, ""]
EMAILS = ["ann@shop.test", "ANN@shop.test ", "ann@new.test", "bob@shop.test", "none", "x@y", None]
PHONES = ["+12345678901", "12345", None]
PATHS = {
    "/api/events": "event",
    "/api/back-in-stock-subscriptions": "event",
    "/api/push-tokens": "event",
    "/api/profile-import": "profile",
    "/api/profiles": "profile",
    "/api/profiles/{}": "profile",
    "/api/profile-bulk-import-jobs": "rows",
    "/api/event-bulk-create-jobs": "events",
    "/api/catalog-items": "profile",
    "/api/profile-merge": "merge",
}
CALLS = 25

who = st.fixed_dictionaries(
    {},
    optional={
        "external_id": st.sampled_from(IDS),
        "email": st.sampled_from(EMAILS),
        "phone_number": st.sampled_from(PHONES),
        "first_name": st.just("A"),
        "_kx": st.just("kx"),
        "anonymous_id": st.just("browser"),
    },
)
people = st.lists(st.tuples(st.integers(-1, 3), who), min_size=1, max_size=3)
calls = st.lists(
    st.tuples(st.sampled_from(sorted(PATHS)), people, st.sampled_from(["", "rename", "wait"])), min_size=CALLS,
    max_size=CALLS,
)  # fmt: skip


@pytest.mark.parametrize("number", [8, pytest.param(400, marks=pytest.mark.slow)])
def test_both_modes_judge_alike_and_observing_changes_nothing(number: int, open_client: OpenClient) -> None:
    """200 random calls, or 10,000: action and rule by the map are equal, and the observed bytes are the caller's."""
    judged: list[int] = []

    @settings(max_examples=number if number > 100 else examples(4 * number), deadline=None,
              suppress_health_check=list(HealthCheck), database=None, phases=[Phase.generate],
              derandomize=number < 100)  # fmt: skip
    @given(calls)
    def judge(day: list[tuple[str, list[tuple[int, dict[str, Any]]], str]]) -> None:
        simulator = KlaviyoSimulator(account=ACCOUNT)
        with open_client(simulator, MemoryStore(clock=simulator.now), api_key=KEY) as k:
            world = _World(simulator, k)
            for path, persons, between in day:
                world.live(path, persons)
                world.pass_time(between)
                judged.append(1)

    judge()
    assert len(judged) >= (200 if number < 100 else 10_000)


def test_a_lease_is_seen_in_both_modes(open_client: OpenClient) -> None:
    """R13: observing says that the call would wait for another one that is writing about the customer."""
    simulator = KlaviyoSimulator(account=ACCOUNT)
    store = MemoryStore(clock=simulator.now)
    with open_client(simulator, store, api_key=KEY) as k:
        k.identify(external_id="ann-1", email="ann@shop.test")
        assert store.acquire(ACCOUNT, frozenset({Identifier(Kind.EMAIL, "ann@shop.test")}), intent="{}", ttl=60.0)
        observing = Core(k)
        observing.patience = 10.0
        headers = [("Authorization", f"Klaviyo-API-Key {KEY}")]
        body = json.dumps({"data": _event(_person([], -1, {"external_id": "ann-1"}))}).encode()
        plan = observing.begin(Incoming("POST", "https://a.klaviyo.com/api/events", headers, body))
        assert ("wait", "R13") == (plan.verdict and (plan.verdict.action, plan.verdict.rule))
        # Of a job only the row of that customer waits.
        k.identify(external_id="bob-2", email="bob@shop.test")
        rows = [_person([], -1, {"external_id": each}) for each in ("bob-2", "ann-1")]
        body = json.dumps({"data": _events(rows)}).encode()
        plan = observing.begin(Incoming("POST", "https://a.klaviyo.com/api/event-bulk-create-jobs", headers, body))
        rulings = plan.case and plan.case.rulings
        assert ["rewrite", "wait"] == [each.action for each in (rulings.each if rulings else ())]


class _World:
    """A shop's day over one map, each of whose calls is judged in both modes."""

    def __init__(self, simulator: KlaviyoSimulator, k: Klaviyo) -> None:
        self.simulator, self.k = simulator, k
        self.observing, self.enforcing = Core(k, learn=False), Core(k, mode="enforce")
        self.observing.patience = 10.0

    def live(self, path: str, persons: list[tuple[int, dict[str, Any]]]) -> None:
        """Judge one call, and carry it out."""
        ids = [each.id for each in self.simulator.profiles]
        rows = [_person(ids, number, given) for number, given in persons]
        target = path.format(rows[0].get("id", "01NOBODY"))
        body = json.dumps({"data": _BODIES[PATHS[path]](rows)}).encode()
        headers = [("Authorization", f"Klaviyo-API-Key {KEY}"), ("revision", REVISION)]
        method = "PATCH" if "{}" in path else "POST"
        incoming = Incoming(method, f"https://a.klaviyo.com{target}", headers, body)
        before = (len(self.simulator.journal), self._map())
        seen = [self._observed(incoming) for _ in range(2)]
        assert before == (len(self.simulator.journal), self._map())
        plan = self.enforcing.begin(incoming)
        rulings = plan.case and plan.case.rulings
        by_map = rulings and (rulings.action, rulings.rule)
        # A call of an endpoint that is not known is observed in any mode.
        assert [by_map] * 2 == seen
        if plan.answer is None:
            way, to = plan.method, plan.url.removeprefix("https://a.klaviyo.com")
            answer = self.simulator.handle(way, to, dict(plan.headers), plan.body or b"")
            self.enforcing.end(plan, Reply(answer.status, list(answer.headers.items()), answer.body))
        assert 0 == self.enforcing.counters["failed"] + self.observing.counters["failed"]

    def _observed(self, incoming: Incoming) -> Any:
        plan = self.observing.begin(incoming)
        assert plan.body is incoming.body
        assert (plan.method, plan.url, plan.headers) == (incoming.method, incoming.url, incoming.headers)
        assert plan.answer is None
        rulings = plan.case and plan.case.rulings
        return rulings and (rulings.action, rulings.rule)

    def _map(self) -> list[str]:
        return sorted(str(each) for each in self.k.bindings)

    def pass_time(self, between: str) -> None:
        """Let something happen that is no call of the shop's."""
        self.simulator.advance(60.0)
        self.simulator.drain()
        if between == "rename" and self.k.bindings.get(email="ann@shop.test") is not None:
            with suppress(SafeKlaviyoError):  # another customer may have it by now
                self.k.change_email("ann@new.test", old_email="ann@shop.test")
        if between == "wait":
            self.simulator.advance(40 * 86400.0)  # longer than a binding counts as checked (R16)


def _person(ids: list[str], number: int, given: dict[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = {"type": "profile", "attributes": given}
    return data | {"id": ids[number]} if 0 <= number < len(ids) else data


def _event(person: dict[str, Any]) -> dict[str, Any]:
    metric = {"data": {"type": "metric", "attributes": {"name": "X"}}}
    return {"type": "event", "attributes": {"properties": {}, "metric": metric, "profile": {"data": person}}}


def _events(rows: list[dict[str, Any]]) -> dict[str, Any]:
    data = [{"type": "event-bulk-create", "attributes": _event(row)["attributes"] | {"events": {"data": []}}}
            for row in rows]  # fmt: skip
    return {"type": "event-bulk-create-job", "attributes": {"events-bulk-create": {"data": data}}}


def _merge(rows: list[dict[str, Any]]) -> dict[str, Any]:
    sources = [{"type": "profile", "id": row.get("id", "01NOBODY")} for row in rows[1:2]]
    into = rows[0].get("id", "01NOBODY")
    return {"type": "profile-merge", "id": into, "relationships": {"profiles": {"data": sources}}}


_BODIES: dict[str, Callable[[list[dict[str, Any]]], dict[str, Any]]] = {
    "event": lambda rows: _event(rows[0]),
    "profile": lambda rows: rows[0],
    "rows": lambda rows: {"type": "profile-bulk-import-job", "attributes": {"profiles": {"data": rows}}},
    "events": _events,
    "merge": _merge,
}
