"""How requests travel, over real sockets on loopback, and how each thing that goes wrong on the way is named."""

from __future__ import annotations

import asyncio
import gzip
import socket
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import httpx
import pytest
from httpx_aiohttp import AiohttpTransport

from safeklaviyo.errors import APIConnectionError, ConfigurationError, NoResponseError, NotSentError
from safeklaviyo.identity import Kind
from support.wire import Endpoint, Repeat, Request, Response, current, http, targets, transports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.wire import Target

KEY = "pk_0123456789abcdef"
ADDRESS = "ann+1@shop.dev"
ENDPOINT = Endpoint("get_profiles", burst=75, steady=750)
SEARCH = current.search_profiles(Kind.EMAIL, ADDRESS)
POST = Request("POST", "/api/events", ENDPOINT, Repeat.KEYED, b'{"data":{}}')
NOT_SENT = {
    "ConnectError", "ConnectTimeout", "InvalidURL", "PoolTimeout", "ProxyError", "UnsupportedProtocol",
}  # fmt: skip

Serve = "Callable[[socket.socket], None]"


def target(base: str, timeout: float | httpx.Timeout = 5.0) -> Target:
    """Return where requests go, with a key."""
    return targets.target(base, {"Authorization": f"Klaviyo-API-Key {KEY}"}, *http.limits(timeout))


def next_request(connection: socket.socket) -> bytes:
    """Read one request whole; nothing if the client has left."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        if not part:
            return b""
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def answer(body: bytes = b"{}", status: str = "200 OK", **headers: str) -> bytes:
    """Return an answer as it stands on the wire."""
    named = {name.replace("_", "-"): value for name, value in headers.items()} | {"Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def answering(data: bytes, asked: list[bytes] | None = None) -> Serve:
    """Return a server that says the same to everybody, and remembers what it was asked."""

    def serve(connection: socket.socket) -> None:
        while request := next_request(connection):
            if asked is not None:
                asked.append(request)
            connection.sendall(data)

    return serve


@contextmanager
def listening(serve: Serve) -> Iterator[str]:
    """Serve each connection in a thread, and yield the base URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def one(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                serve(connection)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    Thread(target=one, args=[server.accept()[0]], daemon=True).start()

        thread = Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


class Sending:
    """Each kind of sender, called synchronously."""

    def __init__(self, kind: str, opened: ExitStack, runner: asyncio.Runner) -> None:
        self.kind = kind
        self._opened = opened
        self._runner = runner

    def to(self, where: Target, client: Any = None) -> Callable[[Request], Response]:
        """Return what sends a request there; it is closed after the test."""
        if self.kind == "transport":
            sender: Any = transports.TransportSender(where)
        elif self.kind == "client":
            sender = http.ClientSender(where, client or self._opened.enter_context(httpx.Client(trust_env=False)))
        else:
            return self._awaited(where, client)
        self._opened.callback(sender.close)
        return sender.send

    def _awaited(self, where: Target, client: Any) -> Callable[[Request], Response]:
        if self.kind == "async client":
            client = client or httpx.AsyncClient(trust_env=False)
            self._opened.callback(lambda: self._runner.run(client.aclose()))
            sender: Any = http.AsyncClientSender(where, client)
        else:
            sender = transports.AsyncTransportSender(where)
        self._opened.callback(lambda: self._runner.run(sender.aclose()))
        return lambda request: self._runner.run(sender.send(request))


KINDS = ("transport", "client", "aiohttp", "shards", "async client")


@pytest.fixture(params=KINDS)
def sending(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sending]:
    """Each kind of sender in turn."""
    if request.param == "shards":
        monkeypatch.setitem(sys.modules, "httpx_aiohttp", None)
    with ExitStack() as opened:
        runner = opened.enter_context(asyncio.Runner())
        yield Sending(request.param, opened, runner)


class TestAnswers:
    def test_is_read_whole(self, sending: Sending) -> None:
        """Status, headers by lower-case name, and a body of any size are what the server sent."""
        body = b"x" * 5_000_000
        with listening(answering(answer(body, "201 Created", RateLimit_Remaining="7"))) as base:
            response = sending.to(target(base))(POST)
        assert (201, "7", body) == (response.status, response.headers["ratelimit-remaining"], response.body)

    def test_gzip_is_undone(self, sending: Sending) -> None:
        """A compressed answer arrives as what it was."""
        data = answer(gzip.compress(b'{"data":[]}'), Content_Encoding="gzip")
        with listening(answering(data)) as base:
            assert b'{"data":[]}' == sending.to(target(base))(SEARCH).body

    def test_request_arrives_as_it_was_made(self, sending: Sending) -> None:
        """Method, key, body and content type arrive, and only once."""
        asked: list[bytes] = []
        with listening(answering(answer(), asked)) as base:
            sending.to(target(base))(POST)
        head, _, body = asked[0].partition(b"\r\n\r\n")
        lines = [line.lower() for line in head.split(b"\r\n")]
        assert (1, b'{"data":{}}') == (len(asked), body)
        assert b"post /api/events http/1.1" == lines[0]
        for line in (
            f"authorization: klaviyo-api-key {KEY}",
            "content-type: application/vnd.api+json",
            "content-length: 11",
            f"host: {base.removeprefix('http://')}",
        ):
            assert 1 == lines.count(line.encode())

    def test_filter_survives(self, sending: Sending) -> None:
        """A plus in an address is not read as a space at the other end (F-6)."""
        asked: list[bytes] = []
        with listening(answering(answer(), asked)) as base:
            sending.to(target(base))(SEARCH)
        query = parse_qs(urlsplit(asked[0].split()[1].decode()).query)
        assert {"filter": [f'equals(email,"{ADDRESS}")']} == query

    def test_redirect_is_not_followed(self, sending: Sending) -> None:
        """The key goes to no other host (F-30)."""
        asked: list[bytes] = []
        with (
            listening(answering(answer(), asked)) as elsewhere,
            listening(answering(answer(status="302 Found", Location=f"{elsewhere}/api/profiles"))) as base,
        ):
            assert 302 == sending.to(target(base))(SEARCH).status
        assert [] == asked

    def test_no_cookie_comes_back(self, sending: Sending) -> None:
        """What a server sets is not sent with the next request, unless the user's own client does so."""
        asked: list[bytes] = []
        with listening(answering(answer(Set_Cookie="seen=1; Path=/"), asked)) as base:
            # By name: some jars take nothing from a bare address.
            send = sending.to(target(base.replace("127.0.0.1", "localhost")))
            send(SEARCH)
            send(SEARCH)
        assert ("client" in sending.kind) == (b"seen=1" in asked[1])

    def test_connection_closed_between_calls(self, sending: Sending) -> None:
        """A server that closes an idle connection costs nothing but a new connection."""
        closed = Event()

        def once(connection: socket.socket) -> None:
            next_request(connection)
            connection.sendall(answer())
            connection.close()
            closed.set()

        with listening(once) as base:
            send = sending.to(target(base))
            assert 200 == send(SEARCH).status
            assert closed.wait(5)
            assert 200 == send(SEARCH).status

    def test_connection_is_reused(self, sending: Sending) -> None:
        """Calls one after another share a connection, however many pools there are."""
        connections: list[int] = []

        def serve(connection: socket.socket) -> None:
            connections.append(1)
            answering(answer())(connection)

        with listening(serve) as base:
            send = sending.to(target(base))
            for _ in range(2 * transports.SHARDS):
                send(SEARCH)
        assert 1 == len(connections)


def drop(connection: socket.socket) -> None:
    """Read a request, and close."""
    next_request(connection)


def garble(connection: socket.socket) -> None:
    """Answer with what is no HTTP."""
    next_request(connection)
    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


def cut(connection: socket.socket) -> None:
    """Answer with half a body."""
    next_request(connection)
    connection.sendall(answer(b"x" * 1000)[:-500])


def reset(connection: socket.socket) -> None:
    """Read a request, and reset the connection."""
    next_request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def spoil(connection: socket.socket) -> None:
    """Answer with what only claims to be compressed."""
    next_request(connection)
    connection.sendall(answer(b"not gzip", Content_Encoding="gzip"))


def hang(connection: socket.socket) -> None:
    """Read a request, and say nothing."""
    next_request(connection)
    connection.recv(1)


def trickle(connection: socket.socket) -> None:
    """Send a body so slowly that no part of it is late."""
    next_request(connection)
    connection.sendall(answer(b"x" * 1000)[:-1000])
    for _ in range(1000):
        connection.sendall(b"x")
        time.sleep(0.02)


class TestFailures:
    @pytest.mark.parametrize("serve", [drop, garble, cut, reset, spoil], ids=lambda serve: serve.__name__)
    def test_lost_answer(self, sending: Sending, serve: Serve) -> None:
        """Once the request has left, anything but a whole answer leaves open what was done."""
        with listening(serve) as base, pytest.raises(NoResponseError) as caught:
            sending.to(target(base))(POST)
        assert "unknown" == caught.value.outcome

    def test_refused(self, sending: Sending) -> None:
        """Where nobody listens nothing was sent; the cause is the operating system's own error."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            base = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(NotSentError) as caught:
            sending.to(target(base))(SEARCH)
        assert "not_applied" == caught.value.outcome
        assert isinstance(caught.value.__cause__, OSError)
        assert ADDRESS.split("@")[1] not in "".join(traceback.format_exception(caught.value))

    def test_connect_timeout(self, sending: Sending) -> None:
        """A host that never answers a connection was sent nothing; no address shows in the traceback."""
        with ExitStack() as opened:
            full = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            for _ in range(3):
                waiting = opened.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(full.getsockname())
            send = sending.to(target(f"http://127.0.0.1:{full.getsockname()[1]}", 0.2))
            with pytest.raises(NotSentError) as caught:
                send(SEARCH)
        told = "".join(traceback.format_exception(caught.value))
        # The domain alone stands in no path of a checkout, however the address is written in the query.
        assert ADDRESS.partition("@")[2] not in told

    @pytest.mark.parametrize("serve", [hang, trickle], ids=lambda serve: serve.__name__)
    def test_deadline(self, sending: Sending, serve: Serve) -> None:
        """A silent server and one that never ends are given up when the time is over (F-22)."""
        with listening(serve) as base:
            send = sending.to(target(base, 0.3))
            began = time.monotonic()
            with pytest.raises(NoResponseError):
                send(POST)
        assert time.monotonic() - began < 0.3 + targets.ROUNDING

    def test_trickling_headers_in_a_loop(self) -> None:
        """In an event loop the whole attempt has a deadline, whatever the server does."""

        def headers(connection: socket.socket) -> None:
            next_request(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            for number in range(1000):
                connection.sendall(f"x-{number}: y\r\n".encode())
                time.sleep(0.02)

        async def send(base: str) -> Response:
            sender = transports.AsyncTransportSender(target(base, 0.1))
            try:
                return await sender.send(POST)
            finally:
                await sender.aclose()

        with listening(headers) as base, pytest.raises(NoResponseError, match="TimeoutError"):
            asyncio.run(send(base))

    @pytest.mark.parametrize("timeout", [0.3, httpx.Timeout(0.3)], ids=["seconds", "phases"])
    def test_phases_share_the_whole(self, timeout: float | httpx.Timeout) -> None:
        """What one phase has used up is not left to the next."""
        phases = http.Phases(target("https://a.klaviyo.com", timeout))
        assert 0.3 >= phases["read"] > 0.2
        assert {"connect", "pool", "read", "write"} == set(phases)
        assert 4 == len(phases)
        spent = http.Phases(targets.target("https://a.klaviyo.com", {}, {"read": 5.0}, -1.0))
        assert 0.001 == spent["read"]

    async def test_cancelled(self) -> None:
        """Who is cancelled from outside sees a cancellation, not an error of ours."""
        reached = asyncio.Event()
        loop = asyncio.get_running_loop()

        def serve(connection: socket.socket) -> None:
            next_request(connection)
            loop.call_soon_threadsafe(reached.set)
            connection.recv(1)

        with listening(serve) as base:
            sender = transports.AsyncTransportSender(target(base))
            task = asyncio.create_task(sender.send(POST))
            await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await sender.aclose()

    def test_full_pool(self) -> None:
        """A request that got no connection in time was not sent, though another one still waits for its answer."""
        reached = Event()

        def serve(connection: socket.socket) -> None:
            next_request(connection)
            reached.set()
            connection.recv(1)

        with (
            listening(serve) as base,
            httpx.Client(limits=httpx.Limits(max_connections=1)) as client,
            ThreadPoolExecutor(1) as pool,
        ):
            sender = http.ClientSender(target(base, 0.5), client)
            first = pool.submit(sender.send, POST)
            assert reached.wait(5)
            with pytest.raises(NotSentError):
                http.ClientSender(target(base, 0.1), client).send(POST)
            with pytest.raises(NoResponseError):
                first.result()

    async def test_full_aiohttp_pool(self) -> None:
        """Same as `test_full_pool`, with aiohttp's connections."""
        with listening(hang) as base:
            transport = AiohttpTransport(limits=httpx.Limits(max_connections=1))
            async with httpx.AsyncClient(transport=transport) as client:
                sender = http.AsyncClientSender(target(base, 0.2), client)
                first, second = await asyncio.gather(sender.send(POST), sender.send(POST), return_exceptions=True)
        assert (NoResponseError, NotSentError) == (type(first), type(second))

    async def test_calls_at_once_are_spread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each pool gets as many of the calls on their way as any other, and however they end they are gone."""
        monkeypatch.setitem(sys.modules, "httpx_aiohttp", None)
        with listening(hang) as base:
            sender = transports.AsyncTransportSender(target(base, 1.0))
            calls = [asyncio.ensure_future(sender.send(POST)) for _ in range(2 * transports.SHARDS)]
            await asyncio.sleep(0)  # each has begun
            assert [2] * transports.SHARDS == sender._shards.busy
            for call in calls[:5]:
                call.cancel()
            ended = await asyncio.gather(*calls, return_exceptions=True)
            await sender.aclose()
        assert {asyncio.CancelledError, NoResponseError} == {type(each) for each in ended}
        assert [0] * transports.SHARDS == sender._shards.busy


class TestMeanings:
    def test_every_error_of_httpx_is_named(self) -> None:
        """Each class in httpx's tree has a meaning of its own or of a parent, and only six mean that nothing left."""
        classes = [
            each
            for name in httpx.__all__
            if isinstance(each := getattr(httpx, name), type) and issubclass(each, Exception)
        ]
        assert len(classes) >= 27
        meant: dict[str, type[APIConnectionError]] = {}
        for each in classes:
            assert any(parent in http.MEANINGS for parent in each.__mro__), each
            meant[each.__name__] = type(http.failure(each.__new__(each)))
        assert {name for name, meaning in meant.items() if meaning is NotSentError} == NOT_SENT
        assert {NotSentError, NoResponseError} == set(meant.values())

    def test_aiohttp_knows_better(self) -> None:
        """A connect timeout with an error of aiohttp behind it is believed only if that is one of connecting."""
        connecting = (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, aiohttp.ConnectionTimeoutError)
        classes = [
            each
            for name in aiohttp.__all__
            if isinstance(each := getattr(aiohttp, name), type) and issubclass(each, aiohttp.ClientError)
        ]
        assert len(classes) >= 15
        for each in classes:
            seen = httpx.ConnectTimeout("")
            seen.__cause__ = each.__new__(each)
            wanted = NotSentError if issubclass(each, connecting) else NoResponseError
            assert wanted is type(http.failure(seen)), each

    def test_unknown_error(self) -> None:
        """What nobody has heard of leaves open what was done."""
        assert NoResponseError is type(http.failure(RuntimeError("the event loop is closed")))


class TestManyAtOnce:
    def test_threads(self) -> None:
        """Sixteen threads share a sender, and each gets its own answers."""

        def echo(connection: socket.socket) -> None:
            while request := next_request(connection):
                connection.sendall(answer(request.split()[1]))

        with listening(echo) as base:
            sender = transports.TransportSender(target(base))

            def ask(number: int) -> bytes:
                return sender.send(Request("GET", f"/api/profiles/{number}", ENDPOINT, Repeat.READ)).body

            with ThreadPoolExecutor(16) as pool:
                answers = list(pool.map(ask, range(160)))
            sender.close()
        assert [f"/api/profiles/{number}".encode() for number in range(160)] == answers


class TestProxies:
    @pytest.fixture(autouse=True)
    def _no_proxies(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)

    @pytest.mark.parametrize(
        ("named", "base", "wanted"),
        [
            ({}, "https://a.klaviyo.com", None),
            ({"https_proxy": "http://proxy:3128"}, "https://a.klaviyo.com", "http://proxy:3128"),
            ({"https_proxy": "proxy:3128"}, "https://a.klaviyo.com", "http://proxy:3128"),
            ({"https_proxy": "https://proxy"}, "https://a.klaviyo.com:443", "https://proxy"),
            ({"all_proxy": "http://proxy:3128"}, "https://a.klaviyo.com", "http://proxy:3128"),
            ({"http_proxy": "http://proxy:3128"}, "https://a.klaviyo.com", None),
            ({"https_proxy": "http://proxy", "no_proxy": ".klaviyo.com"}, "https://a.klaviyo.com", None),
            ({"https_proxy": "http://proxy", "no_proxy": "*"}, "https://a.klaviyo.com", None),
            ({"http_proxy": "http://proxy"}, "http://127.0.0.1:8000", None),
            ({"http_proxy": "http://proxy"}, "http://localhost:8000", None),
            ({"https_proxy": "http://proxy"}, "https://[::1]:8000", None),
        ],
    )
    def test_named(self, monkeypatch: pytest.MonkeyPatch, named: dict[str, str], base: str, wanted: str | None) -> None:
        """The environment says which proxy serves which host; loopback has none."""
        for name, value in named.items():
            monkeypatch.setenv(name, value)
        proxy = http.proxy_for(target(base))
        assert wanted == (None if proxy is None else str(proxy.url))

    @pytest.mark.parametrize(
        "named", ["ftp://user:hunter2@proxy", "http://user:hunter2@proxy:port", "socks5://user:hunter2@proxy"]
    )
    def test_unusable(self, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
        """A proxy that cannot be used is refused without a word of its password."""
        monkeypatch.setenv("https_proxy", named)
        monkeypatch.setitem(sys.modules, "socksio", None)
        with pytest.raises(ConfigurationError) as caught:
            http.proxy_for(target("https://a.klaviyo.com"))
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))

    @pytest.mark.parametrize("named", ["socks5://proxy:1080", "socks5h://proxy:1080"])
    def test_socks_goes_round_aiohttp(self, named: str) -> None:
        """The library aiohttp speaks no SOCKS, so httpx's own pools do."""
        pytest.importorskip("socksio")
        assert transports.SHARDS == len(transports._async_transports(httpx.create_ssl_context(), httpx.Proxy(named)))

    @pytest.mark.parametrize("sending", ["transport", "aiohttp", "shards"], indirect=True)
    def test_refusing_proxy(self, sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
        """A proxy that opens no tunnel was shown the host, and nothing of the request."""
        asked: list[bytes] = []
        with listening(answering(answer(status="502 Bad Gateway"), asked)) as base:
            monkeypatch.setenv("https_proxy", base)
            with pytest.raises(NotSentError):
                sending.to(target("https://a.klaviyo.com"))(SEARCH)
        assert b"CONNECT a.klaviyo.com:443" == asked[0][:25]
        assert KEY.encode() not in asked[0]
        assert b"shop" not in asked[0]


class TestUsersClient:
    """What a client that the user hands in adds, and what stays ours."""

    @pytest.fixture(params=["client", "async client"])
    def sending(self, request: pytest.FixtureRequest) -> Iterator[Sending]:
        """Both kinds of sender in turn."""
        with ExitStack() as opened:
            runner = opened.enter_context(asyncio.Runner())
            yield Sending(request.param, opened, runner)

    def made(self, sending: Sending, hooks: dict[str, Callable[[Any], None]] | None = None, **arguments: Any) -> Any:
        """Return a client of the kind that is sent through."""
        if sending.kind == "client":
            event_hooks = {name: [hook] for name, hook in (hooks or {}).items()}
            return sending._opened.enter_context(httpx.Client(event_hooks=event_hooks, **arguments))

        def awaited(hook: Callable[[Any], None]) -> Any:
            async def call(subject: Any) -> None:
                if isinstance(subject, httpx.Response) and "read" in hook.__name__:
                    await subject.aread()
                hook(subject)

            return call

        return httpx.AsyncClient(
            event_hooks={name: [awaited(hook)] for name, hook in (hooks or {}).items()}, **arguments
        )

    def test_additions(self, sending: Sending) -> None:
        """Its headers, cookies and hooks act; the key, the revision and the host are ours."""
        asked: list[bytes] = []
        seen: list[str] = []
        client = self.made(
            sending,
            {"request": lambda request: seen.append(request.method)},
            headers={"X-Shop": "7", "Authorization": "Bearer theirs"},
            cookies={"team": "blue"},
            base_url="https://elsewhere.invalid/v2",
            follow_redirects=True,
        )
        with listening(answering(answer(), asked)) as base:
            sending.to(target(base), client)(SEARCH)
        assert ["GET"] == seen
        head = asked[0].lower()
        for part in (b"x-shop: 7", b"cookie: team=blue", f"authorization: klaviyo-api-key {KEY}".encode()):
            assert part in head
        assert b"theirs" not in head

    def test_auth(self, sending: Sending) -> None:
        """Its auth acts after our headers, as a gateway's would have to."""
        asked: list[bytes] = []
        client = self.made(sending, auth=("user", "word"))
        with listening(answering(answer(), asked)) as base:
            sending.to(target(base), client)(SEARCH)
        assert b"authorization: basic" in asked[0].lower()

    def test_stays_open(self, sending: Sending) -> None:
        """It is the user's to close."""
        client = self.made(sending)
        kind: Any = http.ClientSender if sending.kind == "client" else http.AsyncClientSender
        sender = kind(target("https://a.klaviyo.com"), client)
        if sending.kind == "client":
            sender.close()
        else:
            sending._runner.run(sender.aclose())
        assert not client.is_closed
        sending.to(target("https://a.klaviyo.com"), client)

    def test_closed(self, sending: Sending) -> None:
        """A client that its owner has closed is a mistake in the set-up, not a failure on the way."""
        client = self.made(sending)
        send = sending.to(target("https://a.klaviyo.com"), client)
        if sending.kind == "client":
            client.close()
        else:
            sending._runner.run(client.aclose())
        with pytest.raises(ConfigurationError, match="has been closed"):
            send(SEARCH)

    def test_own_timeout_holds(self, sending: Sending) -> None:
        """The client's patience is not ours: leases are reckoned from the timeout given to us."""
        client = self.made(sending, timeout=None)
        with listening(hang) as base, pytest.raises(NoResponseError):
            sending.to(target(base, 0.2), client)(SEARCH)

    def test_foreign_error_passes(self, sending: Sending) -> None:
        """What a hook raises is its author's to see."""

        def hook(_: Any) -> None:
            raise LookupError("theirs")

        client = self.made(sending, {"response": hook})
        with listening(answering(answer())) as base, pytest.raises(LookupError, match="theirs"):
            sending.to(target(base), client)(SEARCH)

    @pytest.mark.parametrize("has_read", [True, False])
    def test_raise_for_status(self, sending: Sending, has_read: bool) -> None:
        """A hook that calls `raise_for_status` does not hide what Klaviyo answered."""

        def hook(response: httpx.Response) -> None:
            if isinstance(response.stream, httpx.SyncByteStream) and has_read:
                response.read()
            response.raise_for_status()

        def read_hook(response: httpx.Response) -> None:
            response.raise_for_status()

        client = self.made(sending, {"response": read_hook if has_read and sending.kind != "client" else hook})
        with listening(answering(answer(b'{"errors":[]}', "409 Conflict"))) as base:
            response = sending.to(target(base), client)(POST)
        assert (409, b'{"errors":[]}' if has_read else b"") == (response.status, response.body)

    def test_refused_token(self, sending: Sending) -> None:
        """The refusal of another request, such as an auth's for a token, is not taken for Klaviyo's answer."""

        def hook(_: Any) -> None:
            request = httpx.Request("GET", "https://token.invalid")
            raise httpx.HTTPStatusError("", request=request, response=httpx.Response(409, request=request))

        client = self.made(sending, {"request": hook})
        with pytest.raises(NoResponseError):
            sending.to(target("https://a.klaviyo.com"), client)(POST)

    def test_wrong_kind(self) -> None:
        """A client that cannot be called in this way is refused; none at all is fine."""
        with pytest.raises(ConfigurationError, match="http_client"):
            http.check_client(object(), httpx.Client)
        http.check_client(None, httpx.Client)


class TestLimits:
    @pytest.mark.parametrize(
        ("timeout", "read", "limit"),
        [
            (10, 10.0, 10.0),
            (0.5, 0.5, 0.5),
            (httpx.Timeout(5), 5.0, 10.0),
            (httpx.Timeout(5, connect=1), 5.0, 6.0),
            (httpx.Timeout(None), 60.0, 120.0),
            (httpx.Timeout(None, read=3), 3.0, 63.0),
        ],
    )
    def test_accepted(self, timeout: Any, read: float, limit: float) -> None:
        """Seconds hold for the whole attempt; an `httpx.Timeout` for its phases, and nothing is endless (F-22)."""
        phases, whole = http.limits(timeout)
        assert (read, limit) == (phases["read"], whole)

    @pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), True, None, "10", httpx.Timeout(0)])
    def test_refused(self, timeout: Any) -> None:
        """What is no time to wait is refused."""
        with pytest.raises(ConfigurationError, match="timeout"):
            http.limits(timeout)


class TestTarget:
    @pytest.mark.parametrize(
        ("base", "wanted"),
        [
            ("https://a.klaviyo.com", "https://a.klaviyo.com"),
            ("HTTPS://A.Klaviyo.com/", "https://a.klaviyo.com"),
            ("https://proxy.shop.dev:8443", "https://proxy.shop.dev:8443"),
            ("http://localhost:8000", "http://localhost:8000"),
            ("http://127.0.0.9", "http://127.0.0.9"),
            ("http://[::1]:65535", "http://[::1]:65535"),
        ],
    )
    def test_accepted(self, base: str, wanted: str) -> None:
        """A scheme and a host, with a port if there is one."""
        made = target(base)
        assert (wanted, f"Target({wanted!r})") == (made.base, repr(made))
        assert ("klaviyo" in wanted) == made.is_klaviyo

    @pytest.mark.parametrize(
        "base",
        [
            "", "a.klaviyo.com", "ftp://a.klaviyo.com", "https://", "https://a.klaviyo.com/api", "https://a.b?c",
            "https://a.b#c", "https://user:hunter2@a.b", "https://a b", "https://ä.de", "https://a.b:65536", "https://a.b:",
            "http://a.klaviyo.com", "http://127.0.0.1.evil.dev", "http://0.0.0.0", None, 5, b"https://a.klaviyo.com",
        ],
    )  # fmt: skip
    def test_refused(self, base: Any) -> None:
        """Anything else is refused, and so is plain http to other machines; what was given is not repeated."""
        with pytest.raises(ConfigurationError, match="base_url") as caught:
            target(base)
        assert "hunter2" not in str(caught.value)

    def test_trailing_dot(self) -> None:
        """Klaviyo's host is Klaviyo's host, also as the DNS writes it."""
        assert target("https://a.klaviyo.com.").is_klaviyo
