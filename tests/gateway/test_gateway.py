"""The gateway guards calls in any language: who may call, what is passed on, and what retired endpoints answer."""

from __future__ import annotations

import base64
import json
import logging
from contextlib import asynccontextmanager

import httpx
import pytest

from safeklaviyo import AsyncKlaviyo, RetryPolicy
from safeklaviyo.errors import StoreUnavailableError
from safeklaviyo.gateway import Gateway
from safeklaviyo.testing import KlaviyoSimulator

KEY = "pk_test"
TOKEN = "a-token-of-the-gateway"
HEADERS = {"Authorization": f"Klaviyo-API-Key {KEY}", "revision": "2026-07-15", "content-type": "application/json"}
ACCOUNT = "AbC123"


def event(**person):
    """Return the body of one raw event."""
    metric = {"data": {"type": "metric", "attributes": {"name": "Placed Order"}}}
    profile = {"data": {"type": "profile", "attributes": person}}
    return {"data": {"type": "event", "attributes": {"properties": {"a": 1}, "metric": metric, "profile": profile}}}


@pytest.fixture
def simulator():
    """Return a pretend Klaviyo, mocked in place of Klaviyo's host."""
    simulator = KlaviyoSimulator(account=ACCOUNT)
    with simulator.mock():
        yield simulator


@asynccontextmanager
async def callers(*, client="127.0.0.1", store="memory://", **options):
    """Return an HTTP client of a shop that calls through a gateway."""
    once = RetryPolicy(max_attempts=1)
    async with AsyncKlaviyo(KEY, account=ACCOUNT, store=store, retry=once) as k:
        app = Gateway(k, token=TOKEN, **options)
        transport = httpx.ASGITransport(app, client=(client, 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as http:
            yield http, k, app
        await app.aclose()


class TestWhoMayCall:
    async def test_a_key_that_is_no_clients_is_refused(self, simulator):
        """Nothing is forwarded for it, and the refusal has Klaviyo's form."""
        async with callers() as (http, _, _):
            other = {**HEADERS, "Authorization": "Klaviyo-API-Key pk_other"}
            for headers in ({"revision": "2026-07-15"}, other):
                answer = await http.post("/api/events", headers=headers, json=event(email="ada@shop.test"))
                assert 401 == answer.status_code
                assert "safeklaviyo" in answer.json()["errors"][0]["meta"]
        assert [] == simulator.journal

    async def test_the_pages_that_tell_of_calls_want_the_token(self, simulator):
        """Health and readiness are for everybody, numbers and decisions are not."""
        async with callers() as (http, _, _):
            await http.post("/api/events", headers=HEADERS, json=event(external_id="1", email="ada@shop.test"))
            assert 200 == (await http.get("/-/health")).status_code
            assert {"map": "ok"} == (await http.get("/-/ready")).json()
            assert 404 == (await http.get("/-/other")).status_code
            for page in ("metrics", "decisions"):
                assert 403 == (await http.get(f"/-/{page}")).status_code
                assert 403 == (await http.get(f"/-/{page}", headers={"safeklaviyo-token": "x"})).status_code
            shown = [
                await http.get(f"/-/{page}", headers={"safeklaviyo-token": TOKEN}) for page in ("decisions", "metrics")
            ]
        assert ["create_event"] == [json.loads(line)["operation"] for line in shown[0].text.splitlines()]
        assert (
            'safeklaviyo_gateway_requests_total{action="contact",operation="create_event",status="202"} 1.0'
            in shown[1].text
        )
        assert not any("ada@" in page.text or KEY in page.text for page in shown)

    async def test_a_map_that_is_away_is_not_ready(self, simulator, monkeypatch):
        """A load balancer sends no calls there."""
        async with callers() as (http, k, _):

            async def away(*_):
                raise StoreUnavailableError("away")

            monkeypatch.setattr(k._shell.store, "recall", away)
            assert 503 == (await http.get("/-/ready")).status_code
            assert 200 == (await http.get("/-/health")).status_code


class TestForwarding:
    async def test_observe_changes_no_byte(self, simulator):
        """The request and Klaviyo's answer go through as they are, and the decision is told."""
        body = json.dumps(event(external_id="1", email="ada@shop.test"), indent=3).encode()
        sent = []
        async with callers() as (http, _, app):
            send = app._client().send

            async def noted(request, **options):
                sent.append(request.content)
                return await send(request, **options)

            app._client().send = noted
            answer = await http.post("/api/events", headers=HEADERS, content=body)
        assert 1 == len(simulator.journal)
        assert (202, b"") == (answer.status_code, answer.content)
        assert "observe: contact; R4" == answer.headers["safeklaviyo-decision"]
        assert float(answer.headers["safeklaviyo-overhead-ms"]) >= 0
        assert [body] == sent

    async def test_enforce_makes_one_profile_of_what_would_be_two(self, simulator):
        """An id alone, then the pair, then the email: one profile, and each event on it."""
        async with callers(mode="enforce") as (http, _, _):
            alone = await http.post("/api/events", headers=HEADERS, json=event(external_id="1"))
            assert (400, "R9") == (alone.status_code, alone.json()["errors"][0]["meta"]["safeklaviyo"]["rule"])
            for person in (
                {"external_id": "1", "email": "ada@shop.test"},
                {"external_id": "1"},
                {"email": "ada@shop.test"},
            ):
                assert 202 == (await http.post("/api/events", headers=HEADERS, json=event(**person))).status_code
        simulator.drain()
        (profile,) = simulator.profiles
        assert ("1", "ada@shop.test") == (profile.external_id, profile.email)
        assert {profile.id} == {each.profile_id for each in simulator.events}

    async def test_other_endpoints_stream_through(self, simulator):
        """A look-up is passed on with its query, and answered with Klaviyo's own bytes and headers."""
        simulator.add_profile(external_id="1", email="ada@shop.test")
        async with callers(mode="enforce") as (http, _, _):
            answer = await http.get('/api/profiles?filter=equals(email,"ada@shop.test")', headers=HEADERS)
        assert ["ada@shop.test"] == [each["attributes"]["email"] for each in answer.json()["data"]]
        assert "safeklaviyo-decision" not in answer.headers
        assert "application/vnd.api+json" == answer.headers["content-type"]

    @pytest.mark.parametrize("target", ["//evil.test/api/events", "/api/ev ents"])
    async def test_a_target_that_is_no_path_is_refused(self, simulator, target):
        """A caller cannot name another host, or write a request of its own into the path."""
        scope = {
            "type": "http", "method": "POST", "path": target, "raw_path": target.encode(), "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()],
            "client": ("127.0.0.1", 1),
        }  # fmt: skip
        sent = []

        async def send(message):
            sent.append(message)

        async def receive():
            return {"type": "http.request", "body": b""}

        async with callers() as (_, _, app):
            await app(scope, receive, send)
        assert 400 == sent[0]["status"]
        assert [] == simulator.journal

    async def test_headers_of_one_connection_stay_there(self, simulator):
        """What Connection names, and the gateway's own token, do not reach Klaviyo."""
        own = {"Connection": "keep-alive, X-Secret", "X-Secret": "1", "TE": "trailers", "Safeklaviyo-Token": TOKEN}
        async with callers() as (http, _, _):
            await http.get("/api/lists", headers={**HEADERS, **own, "X-Kept": "1"})
        (asked,) = simulator.journal
        names = {name.lower() for name in asked.headers}
        assert "x-kept" in names
        assert set() == {"x-secret", "te", "safeklaviyo-token"} & names

    async def test_half_a_request_is_not_forwarded(self, simulator):
        """A caller who leaves in the middle of a body has done nothing."""
        parts = [{"type": "http.request", "body": b'{"data', "more_body": True}, {"type": "http.disconnect"}]
        scope = {
            "type": "http", "method": "POST", "path": "/api/events", "raw_path": b"/api/events", "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()],
            "client": ("127.0.0.1", 1),
        }  # fmt: skip
        sent = []

        async def send(message):
            sent.append(message)

        async def receive():
            return parts.pop(0)

        async with callers(mode="enforce") as (_, _, app):
            await app(scope, receive, send)
        assert ([], []) == (sent, simulator.journal)

    async def test_a_body_that_is_too_long_is_refused(self, simulator):
        """Memory has a bound, and nothing of the body is forwarded."""
        async with callers(mode="enforce") as (http, _, _):
            answer = await http.post("/api/events", headers=HEADERS, content=bytes(9 * 2**20))
        assert 413 == answer.status_code
        assert [] == simulator.journal

    @pytest.mark.parametrize(("when", "status"), [("before", 504), ("refused", 503)])
    async def test_an_answer_that_is_lost_is_said(self, simulator, when, status):
        """504 where the request may have reached Klaviyo, 503 with Retry-After where it cannot."""
        error = httpx.ConnectError("x") if when == "refused" else httpx.ReadError("x")

        async def broken(*_, **__):
            raise error

        async with callers() as (http, _, app):
            app._client().send = broken
            for path in ("/api/events", "/api/tags"):
                answer = await http.post(path, headers=HEADERS, json=event(email="ada@shop.test"))
                assert status == answer.status_code
                assert "errors" in answer.json()


class TestRetiredEndpoints:
    """All are carried out on the current API, in each mode."""

    @pytest.mark.parametrize("shape", ["json", "form", "query", "image"])
    async def test_each_shape_of_track_is_carried_out(self, simulator, shape):
        """The event is recorded on the customer's one profile, under its own key and time."""
        data = {
            "token": ACCOUNT,
            "event": "Placed Order",
            "customer_properties": {"$id": "1", "$email": "ada@shop.test", "$phone_number": ""},
            "properties": {"$event_id": "order-1", "$value": 9.5, "sku": "x+y"},
            "time": 1764374400,
        }
        text = json.dumps(data)
        query = {"data": base64.b64encode(text.encode()).decode()}
        async with callers() as (http, _, _):
            if shape == "json":
                answer = await http.post("/api/track", json=data)
            elif shape == "form":
                answer = await http.post("/api/track", data={"data": text})
            else:
                answer = await http.get("/api/track", params={**query, **({"i": "1"} if shape == "image" else {})})
        simulator.drain()
        assert (200, b"1" if shape != "image" else b"GIF") == (answer.status_code, answer.content[:3])
        (recorded,) = simulator.events
        assert ("order-1", 9.5, "ada@shop.test") == (recorded.unique_id, recorded.value, simulator.profiles[0].email)

    async def test_an_event_without_a_key_has_its_second(self, simulator):
        """A call that is made again is the same event, as it was to Klaviyo."""
        data = {"token": KEY, "event": "Viewed", "customer_properties": {"$email": "ada@shop.test"}, "time": 1764374400}
        async with callers() as (http, _, _):
            for _ in range(2):
                assert "1" == (await http.post("/api/track", json=data)).text
        simulator.drain()
        assert 1 == len(simulator.events)

    async def test_a_public_key_authenticates_nobody_from_elsewhere(self, simulator):
        """It stands in the shop's pages: another host needs the gateway's token, or the private key."""
        data = {"token": ACCOUNT, "properties": {"$id": "1", "$email": "ada@shop.test"}}
        async with callers(client="203.0.113.9") as (http, _, app):
            assert "0" == (await http.post("/api/identify", json=data)).text
            assert 1 == app.guard.core.counters["foreign_key"]
            assert "1" == (await http.post("/api/identify", json=data, headers={"safeklaviyo-token": TOKEN})).text
            assert "1" == (await http.post("/api/identify", json={**data, "token": KEY})).text
            assert "0" == (await http.post("/api/identify", json={**data, "token": "ZzZ999"})).text
        assert 1 == len(simulator.profiles)

    async def test_an_order_before_its_sign_up_waits_for_it(self, simulator):
        """A refusal that nobody reads is put into the outbox, and the sign-up frees it."""
        order = {"token": KEY, "event": "Placed Order", "customer_properties": {"$id": "1"}, "properties": {}}
        async with callers() as (http, k, _):
            assert "1" == (await http.post("/api/track", json=order)).text
            assert 1 == (await k.outbox.counts()).waiting
            await http.post("/api/identify", json={"token": KEY, "properties": {"$id": "1", "$email": "ada@shop.test"}})
            await k.outbox.drain()
        simulator.drain()
        assert ["Placed Order"] == [each.metric for each in simulator.events]

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"[]", b"data=%7B", b'{"token": "pk_test"}', b'{"token": 7, "event": "x"}']
    )
    async def test_what_cannot_be_read_is_answered_0(self, simulator, body):
        """No body ends in an error of the server's."""
        async with callers() as (http, _, _):
            for path in ("/api/track", "/api/identify"):
                answer = await http.post(path, content=body)
                assert (200, "0") == (answer.status_code, answer.text)
        assert [] == simulator.profiles

    async def test_people_are_found_shown_and_changed(self, simulator):
        """The PUT that changed an email is the verb that does, so a former address leads to the same profile."""
        person = {
            "token": KEY,
            "properties": {"$id": "1", "$email": "ada@shop.test", "$first_name": "Ada", "plan": "x"},
        }
        key = {"api_key": KEY}
        async with callers() as (http, k, _):
            await http.post("/api/identify", json=person)
            found = await http.get("/api/v2/people/search", params={**key, "email": "ada@shop.test"})
            path = f"/api/v1/person/{found.json()['id']}"
            assert "Ada" == (await http.get(path, params=key)).json()["$first_name"]
            changed = await http.put(path, params={**key, "$email": "lovelace@shop.test", "plan": "gold"})
            assert ("lovelace@shop.test", "gold") == (changed.json()["$email"], changed.json()["plan"])
            assert "lovelace@shop.test" == (await k.resolve(email="ada@shop.test")).identity.email
        assert 1 == len(simulator.profiles)

    async def test_people_are_shown_to_holders_of_the_key_alone(self, simulator):
        """The public key is no key here, from wherever the call comes."""
        simulator.add_profile(external_id="1", email="ada@shop.test")
        async with callers() as (http, _, _):
            for key in ({}, {"api_key": ACCOUNT}, {"api_key": "pk_other"}):
                answer = await http.get("/api/v2/people/search", params={**key, "email": "ada@shop.test"})
                assert 403 == answer.status_code
            answer = await http.get("/api/v2/people/search", params={"api_key": KEY, "email": "bob@shop.test"})
            assert 404 == answer.status_code
            assert 400 == (await http.get("/api/v2/people/search", params={"api_key": KEY})).status_code
            assert 404 == (await http.get("/api/v1/person/01NOBODY", params={"api_key": KEY})).status_code

    async def test_no_log_line_names_anybody(self, simulator, caplog):
        """A refusal is logged with its rule, and without who it was about (P8)."""
        caplog.set_level(logging.INFO, "safeklaviyo")
        async with callers() as (http, _, _):
            await http.post(
                "/api/identify", json={"token": KEY, "properties": {"$id": "null", "$email": "ada@shop.test"}}
            )
        assert ["R1"] == [record.rule for record in caplog.records if record.levelname == "WARNING"]
        assert "ada@" not in caplog.text
