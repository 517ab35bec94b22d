"""What carries requests to the simulator: httpx, respx, ASGI, a real server, and the pytest plugin."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import respx
from httpx_aiohttp import AiohttpTransport

from safeklaviyo import AsyncKlaviyo, Klaviyo, NoResponseError, NotSentError, RetryPolicy
from safeklaviyo.testing import ConnectionLost, KlaviyoSimulator
from support.clients import Awaited
from support.simulator import ASGIApp
from support.source import SIMULATOR, SIMULATOR_SERVER

URL = "https://a.klaviyo.com"
HEADERS = {"authorization": "Klaviyo-API-Key pk_x", "revision": "2026-10-15"}


def profile(email):
    """Return the body that creates a profile."""
    return {"data": {"type": "profile", "attributes": {"email": email}}}


@pytest.fixture
def offline(monkeypatch):
    """The connections and look-ups of names that were tried: all fail."""
    tried = []

    def refuse(*args, **named):
        tried.append(args)
        raise OSError("there is no network in this test")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    return tried


@pytest.fixture(params=[None, "http://127.0.0.1:9", "socks5://127.0.0.1:9"], ids=["direct", "proxy", "socks"])
def _proxy(request, monkeypatch):
    """What the environment says about the way to Klaviyo."""
    if request.param is not None:
        monkeypatch.setenv("HTTPS_PROXY", request.param)


class TestHttpx:
    async def test_one_transport_serves_both_clients(self, simulator):
        """A sync and an async client over the transport reach the same simulator, query and body intact."""
        with httpx.Client(transport=simulator.transport, base_url=URL, headers=HEADERS) as client:
            assert client.post("/api/profiles", json=profile("a+b@shop.org")).status_code == 201  # noqa: ASYNC212 - no I/O
        async with httpx.AsyncClient(transport=simulator.transport, base_url=URL, headers=HEADERS) as client:
            answer = await client.get("/api/profiles", params={"filter": 'equals(email,"a+b@shop.org")'})
        assert 1 == len(answer.json()["data"])
        assert "application/vnd.api+json" == answer.headers["content-type"]

    async def test_an_async_body_is_read(self, simulator):
        """A body that comes in parts from an async iterator arrives whole."""

        async def parts():
            yield b'{"data":{"type":"profile",'
            yield b'"attributes":{"email":"ann@shop.org"}}}'

        async with httpx.AsyncClient(transport=simulator.transport, base_url=URL, headers=HEADERS) as client:
            answer = await client.post("/api/profiles", content=parts(), headers={"content-type": "application/json"})
        assert answer.status_code == 201


class TestRespx:
    def test_it_answers_klaviyos_host(self, simulator):
        """Within the context what goes to Klaviyo reaches the simulator; the router counts it."""
        with simulator.mock() as router:
            assert httpx.post(f"{URL}/api/profiles", json=profile("ann@shop.org"), headers=HEADERS).status_code == 201
            assert 1 == router.calls.call_count
        assert 1 == len(simulator.profiles)

    def test_own_routes_come_first(self, simulator):
        """A route added by the user answers before the simulator, and only while it is there."""
        with simulator.mock() as router:
            router.get(f"{URL}/api/accounts").respond(418)
            router.get("https://shop.org/").respond(204)
            statuses = [
                httpx.get(url, headers=HEADERS).status_code for url in (f"{URL}/api/accounts", "https://shop.org/")
            ]
            assert [418, 204, 200] == [*statuses, httpx.get(f"{URL}/api/profiles", headers=HEADERS).status_code]
            router.route(host="a.klaviyo.com").respond(503)
            assert httpx.get(f"{URL}/api/profiles", headers=HEADERS).status_code == 503
        router = simulator.mock()
        for _ in range(2):
            with router:
                assert httpx.get(f"{URL}/api/accounts", headers=HEADERS).status_code == 200

    def test_other_hosts_are_not_answered(self, simulator):
        """A request elsewhere is refused by respx, as ever."""
        with simulator.mock(), pytest.raises(respx.models.AllMockedAssertionError):
            httpx.get("https://b.klaviyo.com/")

    @pytest.mark.usefixtures("_proxy")
    @pytest.mark.parametrize("kind", [Klaviyo, AsyncKlaviyo])
    def test_no_client_reaches_the_real_host(self, simulator, offline, kind):
        """Whatever a client sends over, and whenever it was made, its requests come here and no connection is tried."""

        def opened():
            made = kind("pk_0123456789abcdef", account="SiMuLa", store="memory://")
            return made if kind is Klaviyo else Awaited(made, runner)

        with asyncio.Runner() as runner:
            before = opened()
            with simulator.mock():
                for number, k in enumerate((before, opened())):
                    k.identify(external_id=f"ann-{number}", email=f"ann{number}@shop.dev")
                    k.close()
        assert [] == offline
        assert {"ann-0", "ann-1"} == {profile.external_id for profile in simulator.profiles}

    @pytest.mark.usefixtures("_proxy")
    @pytest.mark.parametrize("kind", [Klaviyo, AsyncKlaviyo])
    def test_a_request_without_a_route_is_told_at_once(self, simulator, offline, kind):
        """What respx says of a request that no route meets is an error of the test: the client lets it through."""
        with asyncio.Runner() as runner, simulator.mock():
            client = kind("pk_0123456789abcdef", account="SiMuLa", store="memory://", base_url="https://b.klaviyo.com")
            k = client if kind is Klaviyo else Awaited(client, runner)
            with pytest.raises(respx.models.AllMockedAssertionError):
                k.identify(external_id="ann-1", email="ann@shop.dev")
            k.close()
        assert [] == offline

    @pytest.mark.timeout(20)
    @pytest.mark.parametrize("kind", [Klaviyo, AsyncKlaviyo])
    @pytest.mark.parametrize(("fault", "error"), [("lost", NoResponseError), ("refused", NotSentError)])
    def test_failures_are_the_clients(self, simulator, fault, error, kind):
        """A failure that respx raises, which goes in a circle from cause to cause, is told by the client at once."""
        simulator.fail_next("get_profiles", broken=fault, times=9)
        given = {"store": "memory://", "retry": RetryPolicy(max_attempts=1)}
        with asyncio.Runner() as runner, simulator.mock():
            client = kind("pk_0123456789abcdef", account="SiMuLa", **given)
            k = client if kind is Klaviyo else Awaited(client, runner)
            with pytest.raises(error):
                k.identify(external_id="ann-1", email="ann@shop.dev")
            k.close()

    async def test_own_routes_come_first_over_aiohttp(self, simulator, offline):
        """A route added by the user answers a client over aiohttp too; a host that no route names is refused."""
        async with httpx.AsyncClient(transport=AiohttpTransport()) as client:
            with simulator.mock() as router:
                router.get(f"{URL}/api/accounts").respond(418, text="tea")
                answers = [await client.get(f"{URL}/api/{each}", headers=HEADERS) for each in ("accounts", "profiles")]
                with pytest.raises(respx.models.AllMockedAssertionError):
                    await client.get("https://b.klaviyo.com/")
                assert 2 == len([call for call in router.calls if call.response is not None])
        assert [(418, "tea"), 200] == [(answers[0].status_code, answers[0].text), answers[1].status_code]
        assert [] == offline

    async def test_it_decorates(self, simulator):
        """As a decorator it serves functions of both kinds."""

        @simulator.mock()
        def ask():
            return httpx.get(f"{URL}/api/accounts", headers=HEADERS).status_code

        @simulator.mock()
        async def ask_async():
            async with httpx.AsyncClient(headers=HEADERS) as client:
                return (await client.get(f"{URL}/api/accounts")).status_code

        assert [200, 200] == [ask(), await ask_async()]

    def test_failures_are_httpxs(self, simulator):
        """An injected failure is raised through the router, a timeout by the client's patience."""
        simulator.fail_next(broken="refused")
        simulator.fail_next(delay=6)
        with simulator.mock():
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{URL}/api/accounts", headers=HEADERS)
            with pytest.raises(httpx.ReadTimeout):
                httpx.get(f"{URL}/api/accounts", headers=HEADERS, timeout=5)


class TestASGI:
    async def test_it_answers(self, simulator):
        """The ASGI application answers, query and body intact, and links to the host it is asked by."""
        transport = httpx.ASGITransport(simulator.asgi)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.test:81", headers=HEADERS) as client:
            assert (await client.post("/api/profiles", json=profile("a+b@shop.org"))).status_code == 201
            answer = await client.get("/api/profiles", params={"filter": 'equals(email,"a+b@shop.org")'})
        assert 1 == len(answer.json()["data"])
        assert answer.json()["links"]["self"].startswith("http://shop.test:81/api/profiles?filter=")

    async def test_a_failure_is_raised(self, simulator):
        """What serves the application decides what a lost connection is: it is raised."""
        simulator.fail_next()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(simulator.asgi), base_url=URL) as client:
            with pytest.raises(ConnectionLost):
                await client.get("/api/accounts")

    async def test_it_speaks_http_only(self, simulator):
        """Another protocol than HTTP is refused, which tells a server that there is no lifespan."""
        with pytest.raises(NotImplementedError):
            await ASGIApp(simulator)({"type": "lifespan"}, None, None)

    async def test_a_path_without_its_raw_form(self, simulator):
        """A server that gives the decoded path alone is understood."""
        sent = []

        async def receive():
            return {"type": "http.request"}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/api/profiles/é", "query_string": b"", "headers": []}
        await ASGIApp(simulator)(scope, receive, send)
        assert (401, "/api/profiles/%C3%A9") == (sent[0]["status"], simulator.journal[0].path)


class TestServer:
    @pytest.fixture
    def url(self, simulator):
        with simulator.serve() as url:
            yield url

    def test_connections_are_kept(self, simulator, url):
        """Many requests go over one connection, with and without bodies, in order."""
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
            file = connection.makefile("rb")
            for _ in range(3):
                connection.sendall(
                    b"GET /api/accounts HTTP/1.1\r\nhost: x\r\nauthorization: Klaviyo-API-Key pk_x\r\n\r\n"
                )
                assert file.readline() == b"HTTP/1.1 200 OK\r\n"
                headers = {
                    name.lower(): value
                    for name, _, value in (line.partition(b": ") for line in iter(file.readline, b"\r\n"))
                }
                assert json.loads(file.read(int(headers[b"content-length"])))["data"][0]["id"] == "SiMuLa"

    def test_clients_are_served_at_once(self, simulator, url):
        """Of concurrent clients that create one email exactly one succeeds."""

        def create(_number):
            with httpx.Client(base_url=url, headers=HEADERS) as client:
                return [
                    client.post("/api/profiles", json=profile(f"{number}@shop.org")).status_code for number in range(5)
                ]

        with ThreadPoolExecutor(8) as pool:
            statuses = [status for each in pool.map(create, range(8)) for status in each]
        assert (5, 35) == (statuses.count(201), statuses.count(409))

    @pytest.mark.parametrize(
        ("arguments", "made"),
        [
            ({}, 0), ({"broken": "refused"}, 0), ({"broken": "lost", "when": "after"}, 1),
            ({"broken": "truncated", "when": "after"}, 1),
        ],
    )  # fmt: skip
    def test_connections_break(self, simulator, url, arguments, made):
        """A connection breaks on the wire, before or after the request is done, and the next request is served."""
        simulator.fail_next(**arguments)
        with httpx.Client(base_url=url, headers=HEADERS) as client:
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
                client.post("/api/profiles", json=profile("ann@shop.org"))
            assert made == len(simulator.profiles)
            assert client.get("/api/accounts").status_code == 200

    def test_answers_are_late(self, simulator, url):
        """A late answer comes late in real time; a client with less patience times out, and the work is done."""
        simulator.fail_next(delay=0.2)
        simulator.fail_next(delay=60)
        with httpx.Client(base_url=url, headers=HEADERS) as client:
            begun = time.monotonic()
            assert client.get("/api/accounts").status_code == 200
            assert time.monotonic() - begun >= 0.2
            with pytest.raises(httpx.ReadTimeout):
                client.post("/api/profiles", json=profile("ann@shop.org"), timeout=0.2)
        assert 1 == len(simulator.profiles)

    def test_it_ends(self, simulator):
        """After the context nobody listens on the port, which can be taken again; a taken port is an error."""
        with simulator.serve() as url:
            port = int(url.rpartition(":")[2])
            with pytest.raises(OSError, match="in use"), simulator.serve(port):
                raise AssertionError("two servers on one port")
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)
        with simulator.serve(port) as again:
            assert url == again

    async def test_it_serves_within_a_loop(self, simulator):
        """An async client in a running loop is served: the server has a thread of its own."""
        with simulator.serve() as url:
            async with httpx.AsyncClient(base_url=url, headers=HEADERS) as client:
                answers = await asyncio.gather(*(client.get("/api/accounts") for _ in range(5)))
        assert [200] * 5 == [answer.status_code for answer in answers]


@pytest.mark.parametrize(
    ("module", "carrier"), [("uvicorn", "simulator.serve().__enter__()"), ("respx", "simulator.mock()")]
)
def test_what_is_missing_is_named(module, carrier):
    """Without the optional package the error says what to install."""
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from safeklaviyo.testing import KlaviyoSimulator\n"
        "simulator = KlaviyoSimulator()\n"
        f"try: {carrier}\n"
        "except RuntimeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "pip install" in done.stdout


class TestPlugin:
    def test_the_fixture_is_fresh_for_each_test(self, tmp_path):
        """Each test that asks for klaviyo_simulator gets one of its own, without profiles."""
        (tmp_path / "test_shop.py").write_text(
            "import pytest\n"
            "@pytest.mark.parametrize('number', [1, 2])\n"
            "def test_shop(klaviyo_simulator, number):\n"
            "    assert klaviyo_simulator.profiles == []\n"
            "    klaviyo_simulator.add_profile(email='ann@shop.org')\n"
        )
        command = [sys.executable, "-m", "pytest", "-q", "-p", "safeklaviyo.testing.plugin", str(tmp_path)]
        alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=alone)
        assert "2 passed" in done.stdout, done.stdout

    def test_nothing_is_loaded_before_it_is_used(self):
        """Importing the plugin loads neither the simulator nor what carries its requests."""
        code = (
            "import sys, safeklaviyo.testing.plugin\n"
            f"heavy = {{'{SIMULATOR}', '{SIMULATOR_SERVER}', 'uvicorn', 'respx'}}\n"
            "print(sys.modules.keys() & heavy)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        assert "set()\n" == done.stdout

    def test_names_are_loaded_when_asked_for(self):
        """Every exported name is there, and no other."""
        from safeklaviyo import testing

        assert all(getattr(testing, name) for name in testing.__all__)
        assert testing.KlaviyoSimulator is KlaviyoSimulator
        with pytest.raises(AttributeError, match="no attribute"):
            _ = testing.Simulator
