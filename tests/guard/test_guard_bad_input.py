"""Requests that cannot be understood, and maps that cannot be asked: untouched, or never half sent."""

from __future__ import annotations

import gzip
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from safeklaviyo import ConfigurationError, Klaviyo, StoreUnavailableError, guard
from safeklaviyo.stores.memory import MemoryStore
from support.guarding import KEY, OBSERVED, Shop, event, profile
from support.scenes import ANN, NEW

if TYPE_CHECKING:
    from pathlib import Path

    from safeklaviyo.testing import KlaviyoSimulator
    from support.clients import OpenClient

EVENT = json.dumps({"data": event(**ANN)}).encode()
DEEP = b'{"data":' + b'{"attributes":' * 5000 + b"1" + b"}" * 5000 + b"}"
TWINS = (
    b'{"data":{"type":"profile","attributes":{"email":"ann@shop.test","email":"bob@shop.test"}}}',
    b'{"data":{"type":"profile","attributes":{}},"data":{"type":"profile","attributes":{"email":"a@shop.test"}}}',
    b'{"data":{"type":"profile","id":"01A","id":"01B","attributes":{}}}',
)
BROKEN: list[tuple[str, bytes, dict[str, str], int]] = [
    ("/api/events", b"", {}, 400),
    ("/api/events", b"{", {}, 400),
    ("/api/events", b"data=%7B%7D", {"content-type": "application/x-www-form-urlencoded"}, 400),
    ("/api/events", b"[]", {}, 400),
    ("/api/events", b'{"data":[]}', {}, 400),
    ("/api/events", b'{"data":{"attributes":{"profile":{"data":[]}}}}', {}, 400),
    ("/api/events", b'{"data":{"attributes":{"profile":{"data":{"attributes":[]}}}}}', {}, 400),
    ("/api/events", b'{"data":{"attributes":{}}}', {}, 400),
    ("/api/events", b'{"data":{}} {}', {}, 400),
    ("/api/events", b'{"data":{"attributes" 1}}', {}, 400),
    ("/api/events", b'{"data":{"attributes":{} "id":1}}', {}, 400),
    ("/api/events", b'{"data":{1:2}}', {}, 400),
    ("/api/events", "\ufeff".encode() + EVENT, {}, 400),
    ("/api/events", EVENT.decode().encode("utf-16"), {}, 400),
    ("/api/events", b"\xff\xfe", {}, 400),
    ("/api/events", DEEP, {}, 400),
    ("/api/events", EVENT, {"content-encoding": "br"}, 415),
    ("/api/events", EVENT, {"content-encoding": "gzip"}, 400),
    ("/api/events", gzip.compress(EVENT)[:-4], {"content-encoding": "gzip"}, 400),
    ("/api/events", gzip.compress(b" " * 6_000_000), {"content-encoding": "gzip"}, 413),
    ("/api/events", b" " * 5_200_000, {}, 413),
    ("/api/profile-bulk-import-jobs", b'{"data":{"attributes":{"profiles":{"data":{}}}}}', {}, 400),
    ("/api/profile-bulk-import-jobs", b'{"data":{"attributes":{"profiles":{"data":[1]}}}}', {}, 400),
    ("/api/profile-bulk-import-jobs", b'{"data":{"attributes":{"profiles":{"data":[{} {}]}}}}', {}, 400),
    ("/api/profile-bulk-import-jobs", b'{"data":{"attributes":{"profiles":{"data":[]}}}}', {}, 400),
    ("/api/event-bulk-create-jobs", b'{"data":{"attributes":{"events-bulk-create":{"data":[null]}}}}', {}, 400),
    *(("/api/profile-import", body, {}, 400) for body in TWINS),
    ("/api//events", EVENT, {}, 400),
    ("/api/%65vents", EVENT, {}, 400),
    ("/API/Events", EVENT, {}, 400),
]


def test_what_cannot_be_understood_does_not_reach_klaviyo(shop: Shop) -> None:
    """In enforce: Klaviyo's own form of an error, with the status that Klaviyo gives, and nothing is sent."""
    for path, body, headers, status in BROKEN:
        answer = shop.http.send(_raw(path, body, headers, shop))
        (error,) = answer.json()["errors"]
        assert (path, body[:60], status) == (path, body[:60], answer.status_code)
        assert error["source"]["pointer"].startswith("/")
        assert {"rule", "reason"} == error["meta"]["safeklaviyo"].keys()
    assert [] == shop.sent


def test_in_observe_it_goes_as_it_is(observed: Shop) -> None:
    """Whatever it is: the same bytes to the same path, and nothing is raised."""
    for path, body, headers, _ in BROKEN:
        observed.http.send(_raw(path, body, headers, observed))
        assert (path, body) == (observed.sent[-1].url.raw_path.decode(), observed.sent[-1].content)
    assert len(BROKEN) == len(observed.sent)
    assert "failed" not in observed.counters


def test_a_packed_body_is_understood_and_stays_packed(shop: Shop, k: Klaviyo) -> None:
    """gzip, as Klaviyo's overview of events has it."""
    profile_id = k.identify(**ANN).profile_id
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    shop.http.post("/api/events", content=gzip.compress(EVENT), headers=headers)
    sent = shop.sent[-1]
    named = json.loads(gzip.decompress(sent.content))["data"]["attributes"]["profile"]["data"]
    assert (profile_id, "gzip", str(len(sent.content))) == (
        named["id"], sent.headers["content-encoding"], sent.headers["content-length"],
    )  # fmt: skip


def test_what_is_none_of_its_business_passes(shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator) -> None:
    """Other hosts, other keys, reads, unknown endpoints, no key at all: untouched."""
    k.identify(**ANN)
    for url, headers in (
        ("https://other.shop.test/api/events", {}),
        ("https://a.klaviyo.com/api/events", {"authorization": "Klaviyo-API-Key pk_of_another_account"}),
        ("https://a.klaviyo.com/api/events", {"authorization": ""}),
        ("https://a.klaviyo.com/api/catalog-items", {}),
        ("https://a.klaviyo.com/client/events?company_id=SiMuLa", {}),
    ):
        shop.http.post(url, content=EVENT, headers=headers)
        assert EVENT == shop.sent[-1].content
    shop.http.get("https://a.klaviyo.com/api/profiles")
    assert {"foreign_key": 2, "observed": 2} == {n: c for n, c in shop.counters.items() if n != "passed"}


def test_the_ids_of_one_and_the_identifiers_of_another_are_refused(
    shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator
) -> None:
    """Klaviyo would set the one's identifiers on the other's profile."""
    k.identify(**ANN)
    other = simulator.add_profile(email="other@shop.test")
    data = event(**ANN)
    data["attributes"]["profile"]["data"]["id"] = other.id
    assert 400 == shop.post("/api/events", data).status_code
    body = {"data": {"type": "profile", "id": "01ANOTHER", "attributes": {"first_name": "A"}}}
    assert 400 == shop.http.patch(f"/api/profiles/{other.id}", json=body).status_code
    body = {"data": {"type": "profile", "id": "../lists", "attributes": ANN}}
    assert 400 == shop.http.post("/api/profile-import", json=body).status_code
    assert [] == shop.sent


def test_an_identifier_is_not_taken_away_by_null(shop: Shop, k: Klaviyo) -> None:
    """A customer without an address would be duplicated by the next call that has it."""
    profile_id = str(k.identify(**ANN).profile_id)
    answer = shop.patch(profile_id, email=None)
    assert (400, "/data/attributes/email") == (answer.status_code, answer.json()["errors"][0]["source"]["pointer"])
    assert [] == shop.sent


def test_a_ghosts_profile_id_changes_nobodys_address(shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator) -> None:
    """P3: a profile on a former address is not the customer's own, so a change by its id is refused."""
    k.identify(**ANN)
    k.change_email(NEW, external_id=ANN["external_id"])
    ghost = simulator.add_profile(email=ANN["email"])
    assert 400 == shop.patch(ghost.id, email="third@shop.test").status_code
    assert {ANN["email"], NEW} == {each.email for each in simulator.profiles}


def test_a_null_in_an_upsert_of_a_known_customer_changes_no_identifier(shop: Shop, k: Klaviyo) -> None:
    """The customer is named by the id; the null goes no further."""
    k.identify(**ANN)
    assert 200 == shop.upsert(external_id=ANN["external_id"], email=None, first_name="A").status_code
    assert {"first_name": "A"} == shop.last["attributes"]


class TestWithoutTheMap:
    """The map is away, or silent."""

    @pytest.fixture
    def away(self, simulator: KlaviyoSimulator, open_client: OpenClient) -> Klaviyo:
        """A client whose map is away."""
        return open_client(simulator, _Away(), api_key=KEY)

    def test_an_enforced_call_is_refused_for_later(self, simulator: KlaviyoSimulator, away: Klaviyo) -> None:
        """503 with whole seconds in Retry-After, which the official SDK reads by `int`; nothing is sent."""
        shop = Shop(simulator, away, mode="enforce")
        for answer in (shop.event(**ANN), shop.upsert(**ANN), shop.create(**ANN), shop.patch("01A", email=NEW)):
            assert (503, "service_unavailable") == (answer.status_code, answer.json()["errors"][0]["code"])
            assert 1 <= int(answer.headers["retry-after"])
        assert ([], []) == (shop.sent, simulator.journal)

    def test_it_is_forwarded_where_that_was_asked_for(self, simulator: KlaviyoSimulator, away: Klaviyo) -> None:
        """As it is, and each such call is counted."""
        shop = Shop(simulator, away, mode="enforce", on_store_failure="forward")
        shop.http.post("/api/events", content=EVENT)
        assert [EVENT] == [each.content for each in shop.sent]
        assert 1 == shop.counters["failed_open"]

    def test_what_needs_no_map_is_refused_or_passes_without(self, simulator: KlaviyoSimulator, away: Klaviyo) -> None:
        """An unusable id is refused (R1) in any weather, and a profile's id alone passes."""
        shop = Shop(simulator, away)
        shop.event(external_id="null")
        shop.patch("01A", first_name="A")
        shop.event(**ANN)
        assert {"observed": 3, "map_away": 1, "unkeyed_events": 2} == shop.counters

    def test_a_silent_map_costs_an_observed_call_nothing_to_speak_of(
        self, simulator: KlaviyoSimulator, open_client: OpenClient, tmp_path: Path
    ) -> None:
        """One look waits for it, the calls after that do not; none fails, and nothing of the guard's is sent.

        The disk under the log is full besides.
        """
        silent = _Silent()
        shop = Shop(simulator, open_client(simulator, silent, api_key=KEY), patience=OBSERVED, decision_log="/dev/full")
        began = time.monotonic()
        statuses = {shop.event(**ANN).status_code for _ in range(50)}
        took = time.monotonic() - began
        silent.answers.set()
        assert ({202}, 50) == (statuses, shop.counters["map_away"])
        assert 50 == len(simulator.journal)
        assert took < 50 * (OBSERVED + 0.02)

    def test_without_an_account_nothing_is_asked(self, simulator: KlaviyoSimulator) -> None:
        """In observe the account is not asked of Klaviyo; the first answer names it, and the map is read then."""
        with Klaviyo(KEY, store="memory://", http_client=httpx.Client(transport=simulator.transport)) as k:
            shop = Shop(simulator, k)
            shop.event(**ANN)
            assert 1 == shop.counters["map_away"]
            shop.event(**ANN)
            assert (1, 2) == (shop.counters["map_away"], len(simulator.journal))


def test_the_guards_own_fault_is_never_the_shops(
    shop: Shop, observed: Shop, k: Klaviyo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of the guard's: in observe the call goes on, in enforce it is refused for later; both are counted."""
    monkeypatch.setattr(k._shell.store, "find", lambda *_: 1 / 0)
    assert 503 == shop.event(**ANN).status_code
    assert 202 == observed.event(**ANN).status_code
    assert (1, 1) == (shop.counters["failed"], observed.counters["failed"])
    monkeypatch.setattr(observed.transport.guard, "modes", None)
    assert 202 == observed.event(**ANN).status_code
    assert 2 == observed.counters["failed"]


def test_arguments_that_make_no_sense(k: Klaviyo) -> None:
    """Each is refused when the hook is made, not when the first call is."""
    for mode in ("enforced", {"create_events": "enforce"}, {"create_event": "enforced"}, None):
        with pytest.raises(ConfigurationError, match="mode"):
            guard.transport(k, mode=mode)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="on_store_failure"):
        guard.transport(k, on_store_failure="ignore")  # type: ignore[arg-type]
    legacy = Klaviyo(KEY, public_key="SiMuLa", dialect="legacy", base_url="http://127.0.0.1:9", store="memory://")
    with legacy, pytest.raises(ConfigurationError, match="dialect"):
        guard.transport(legacy)


def test_an_operation_that_is_off_is_left_alone(simulator: KlaviyoSimulator, k: Klaviyo) -> None:
    """Neither changed, nor logged, nor counted; the others are observed."""
    shop = Shop(simulator, k, mode={"create_event": "off", "create_profile": "enforce"})
    shop.event(**ANN)
    shop.upsert(**ANN)
    assert {"observed": 1, "learnt": 1} == dict(_settled(shop).items())


def test_another_shops_profile_keeps_its_person(shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator) -> None:
    """A profile's id in an upsert, with the identifiers that it has: they are not written again."""
    made = simulator.add_profile(**ANN)
    data = {**profile(**ANN, first_name="Ann"), "id": made.id}
    assert 200 == shop.post("/api/profile-import", data).status_code
    assert ({"first_name": "Ann"}, made.id) == (shop.last["attributes"], shop.last["id"])
    assert made.id == k.bindings.get(email=ANN["email"]).profile_id  # type: ignore[union-attr]


def test_a_profile_that_is_not_there_is_klaviyos_404(shop: Shop, simulator: KlaviyoSimulator) -> None:
    """A change of an address on a profile that Klaviyo does not have."""
    answer = shop.patch("01NOSUCHPROFILE", email=NEW)
    assert (404, "not_found") == (answer.status_code, answer.json()["errors"][0]["code"])
    assert [] == shop.sent


def _settled(shop: Shop) -> dict[str, int]:
    shop.transport.guard.flush()
    return shop.counters


def _raw(path: str, body: bytes, headers: dict[str, str], shop: Shop) -> httpx.Request:
    request = shop.http.build_request("POST", "/", content=body, headers=headers)
    request.url = httpx.URL("https://a.klaviyo.com", raw_path=path.encode())
    return request


class _Away(MemoryStore):
    def perform(self, call: Any) -> Any:
        raise StoreUnavailableError("the map is away")


class _Silent(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()

    def perform(self, call: Any) -> Any:
        self.answers.wait(20)
        return super().perform(call)
