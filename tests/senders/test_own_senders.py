"""What only our own connections do: the way through proxies and TLS, and when a connection is used again."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import time
import traceback
from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo.errors import ConfigurationError, NoResponseError, NotSentError
from safeklaviyo.identity import Kind
from support.certificates import Certificates
from support.peers import DRIPS, answer, answering, dripping_tls, in_turn, listening, next_request, silent
from support.wire import SECONDS, Endpoint, Exchange, Repeat, Request, current, senders, target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.peers import Serve
    from support.sending import Sending

KEY = "pk_0123456789abcdef"
ADDRESS = "ann+1@shop.dev"
ENDPOINT = Endpoint("get_profiles", burst=75, steady=750)
SEARCH = current.search_profiles(Kind.EMAIL, ADDRESS)
POST = Request("POST", "/api/events", ENDPOINT, Repeat.KEYED, b'{"data":{}}')
LIMIT = 0.3
LATE = 3.0


class Counted:
    """A server that gives each connection a number, and answers with it.

    Attributes:
        surplus: What it sends after each answer, without having been asked.
    """

    def __init__(self, surplus: bytes = b"", **headers: str) -> None:
        self.connections = 0
        self.surplus = surplus
        self._headers = headers

    def __call__(self, connection: socket.socket) -> None:
        self.connections += 1
        number = str(self.connections).encode()
        while next_request(connection):
            connection.sendall(answer(number, **self._headers) + self.surplus)


class TestKeeping:
    def test_a_surplus_answer_ends_the_connection(self, own: Sending) -> None:
        """What a server sends beyond its answer is never taken for the answer to the next request (1.10)."""
        server = Counted(surplus=answer(b"of another"))
        with listening(server) as base:
            send = own.to(target(base))
            assert [b"1", b"2", b"3"] == [send(SEARCH).body for _ in range(3)]

    def test_its_connections_do_the_work_themselves(self) -> None:
        """Httpcore hands each request on to the connection within, so no part of a call is read in Python."""
        with listening(Counted()) as base:
            sender = senders.OwnSender(target(base))
            sender.send(SEARCH, SECONDS)
            (kept,) = sender._kept
            sender.close()
        assert isinstance(kept.http._connection, Exchange)

    def test_a_late_surplus_answer_ends_the_connection(self, own: Sending) -> None:
        """Nor is one that comes while nobody waits."""

        def serve(connection: socket.socket) -> None:
            next_request(connection)
            connection.sendall(answer(b"first"))
            time.sleep(0.05)
            connection.sendall(answer(b"surplus"))
            while next_request(connection):
                connection.sendall(answer(b"of the old connection"))

        with listening(in_turn(serve, answering(answer(b"second")))) as base:
            send = own.to(target(base))
            assert b"first" == send(SEARCH).body
            time.sleep(0.1)
            assert b"second" == send(SEARCH).body

    def test_a_server_that_wants_to_close_is_left(self, own: Sending) -> None:
        """After ``Connection: close`` the next request takes another connection."""
        server = Counted(Connection="close")
        with listening(server) as base:
            send = own.to(target(base))
            assert [b"1", b"2"] == [send(SEARCH).body for _ in range(2)]

    def test_an_old_connection_is_not_used(self, own: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
        """A connection that was idle for long is closed rather than used: its server may be closing it just now."""
        server = Counted()
        with listening(server) as base:
            send = own.to(target(base))
            send(SEARCH)
            monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 60)
            assert b"2" == send(SEARCH).body

    def test_idle_connections_are_closed(self) -> None:
        """Connections that a busy moment needed are closed when they were idle for long, while others are used."""
        server = Counted()
        with listening(server) as base:
            sender = senders.OwnSender(target(base))
            sender.send(SEARCH, SECONDS)
            (idle,) = sender._kept
            sender._kept.clear()
            sender.send(SEARCH, SECONDS)
            idle.since -= 60
            sender._kept.insert(0, idle)
            sender.send(SEARCH, SECONDS)
            assert idle not in sender._kept
            assert 1 == len(sender._kept)
            sender.close()
        assert 2 == server.connections

    async def test_idle_connections_are_closed_awaited(self) -> None:
        """Same, awaited: what many requests at once needed does not stay open for ever."""
        server = Counted()
        with listening(server) as base:
            sender = senders.AsyncOwnSender(target(base))
            await asyncio.gather(*(sender.send(SEARCH, SECONDS) for _ in range(5)))
            kept = sender._places.kept
            assert 5 == len(kept) == server.connections
            for each in kept[:4]:
                each.since -= 60
            await sender.send(SEARCH, SECONDS)
            assert 1 == len(kept)
            await sender.aclose()

    def test_closed_in_the_middle(self) -> None:
        """A connection that is in use while its sender is closed is closed after its request."""
        sender: Any = None

        def serve(connection: socket.socket) -> None:
            next_request(connection)
            sender.close()
            connection.sendall(answer(b"1"))
            assert b"" == connection.recv(1)

        with listening(serve) as base:
            sender = senders.OwnSender(target(base))
            assert b"1" == sender.send(SEARCH, SECONDS).body
        assert [] == sender._kept

    async def test_requests_wait_for_a_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No more connections are opened than a process can hold; a request that got no place was not sent."""
        import importlib

        monkeypatch.setattr(importlib.import_module(senders.AsyncOwnSender.__module__), "CONNECTIONS", 2)
        connections: list[int] = []

        def serve(connection: socket.socket) -> None:
            connections.append(1)
            silent(connection)

        with listening(serve) as base:
            sender = senders.AsyncOwnSender(target(base))
            calls = [asyncio.ensure_future(sender.send(POST, senders.timeouts(LIMIT))) for _ in range(4)]
            await asyncio.sleep(0)
            calls[0].cancel()
            ended = await asyncio.gather(*calls, return_exceptions=True)
            await sender.aclose()
        assert [asyncio.CancelledError, NoResponseError, NoResponseError, NotSentError] == [
            type(each) for each in ended
        ]


@contextmanager
def secure(serve: Serve, certificates: Certificates) -> Iterator[str]:
    """Serve over TLS, and yield the base URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.key)

    def wrapped(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as inner:
            serve(inner)

    with listening(wrapped) as base:
        yield base.replace("http:", "https:")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, and a server's certificate."""
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trusted(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Certificates:
    """The certificates, whose authority the environment trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    return certificates


class TestTls:
    def test_is_spoken(self, own: Sending, trusted: Certificates) -> None:
        """A large body arrives over TLS, and the connection is used again."""
        body, seen = b"x" * 3_000_000, Counted()

        def serve(connection: socket.socket) -> None:
            seen.connections += 1
            answering(answer(body))(connection)

        with secure(serve, trusted) as base:
            send = own.to(target(base))
            assert [body, body] == [send(POST).body for _ in range(2)]
        assert 1 == seen.connections

    def test_a_stranger_is_not_trusted(self, own: Sending, certificates: Certificates) -> None:
        """A certificate that no trusted authority signed gets no byte of the request."""
        asked: list[bytes] = []
        with secure(answering(answer(), asked), certificates) as base, pytest.raises(NotSentError):
            own.to(target(base))(POST)
        assert [] == asked

    @pytest.mark.parametrize("serve", [silent, dripping_tls], ids=lambda serve: serve.__name__)
    def test_a_handshake_has_its_time(self, own: Sending, serve: Serve) -> None:
        """A server that does not get done with TLS is given up in time, and was sent nothing."""
        with listening(serve) as base:
            began = time.monotonic()
            with pytest.raises(NotSentError):
                own.to(target(base.replace("http:", "https:")), timeout=LIMIT)(POST)
        assert time.monotonic() - began < LIMIT + LATE


@pytest.fixture
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


class Tunnel:
    """A proxy that connects whoever asks to one place.

    Attributes:
        asked: The heads of its requests.
    """

    def __init__(self, base: str) -> None:
        self.asked: list[bytes] = []
        self._place = ("127.0.0.1", int(base.rpartition(":")[2]))

    def __call__(self, connection: socket.socket) -> None:
        self.asked.append(next_request(connection))
        with socket.create_connection(self._place) as behind:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = Thread(target=self._pump, args=[behind, connection], daemon=True)
            back.start()
            self._pump(connection, behind)
            behind.shutdown(socket.SHUT_RDWR)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            return


@pytest.mark.usefixtures("_no_proxies")
class TestThroughProxies:
    @pytest.fixture
    def elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server on loopback counts as one that a proxy has to be asked for."""
        import importlib

        proxies = importlib.import_module(senders.proxy_for.__module__)
        monkeypatch.setattr(proxies, "is_loopback", lambda _host: False)
        monkeypatch.setenv("no_proxy", "")

    @pytest.mark.parametrize("is_secure", [False, True], ids=["http proxy", "https proxy"])
    def test_a_tunnel(
        self, own: Sending, trusted: Certificates, elsewhere: None, monkeypatch: pytest.MonkeyPatch, is_secure: bool
    ) -> None:
        """Requests go through the proxy's tunnel, which sees the host alone, and the tunnel is used again."""
        body = b"x" * 300_000
        with ExitStack() as opened:
            base = opened.enter_context(secure(answering(answer(body)), trusted))
            tunnel = Tunnel(base)
            through = opened.enter_context(secure(tunnel, trusted) if is_secure else listening(tunnel))
            monkeypatch.setenv("https_proxy", through.replace("://", "://user:word@"))
            send = own.to(target(base))
            assert [body, body] == [send(POST).body for _ in range(2)]
        (asked,) = tunnel.asked
        assert b"CONNECT 127.0.0.1:" == asked[:18]
        assert b"proxy-authorization: basic dxnlcjp3b3jk" in asked.lower()
        assert KEY.encode() not in asked

    def test_a_surplus_answer_ends_the_tunnel(
        self, own: Sending, trusted: Certificates, elsewhere: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What comes beyond an answer is never taken for the next one here either (1.10)."""
        server = Counted(surplus=answer(b"of another"))
        with secure(server, trusted) as base, listening(Tunnel(base)) as through:
            monkeypatch.setenv("https_proxy", through)
            send = own.to(target(base))
            assert [b"1", b"2", b"3"] == [send(SEARCH).body for _ in range(3)]

    @pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
    @pytest.mark.parametrize("serve", [silent, DRIPS["headers"]], ids=["silent", "dripping"])
    def test_a_proxy_has_its_time(
        self, own: Sending, monkeypatch: pytest.MonkeyPatch, serve: Serve, scheme: str
    ) -> None:
        """A proxy that opens no tunnel in time was shown the host at most: nothing was sent (2.3)."""
        with listening(serve) as base:
            monkeypatch.setenv("https_proxy", base.replace("http", scheme))
            send = own.to(target("https://a.klaviyo.com"), timeout=LIMIT)
            began = time.monotonic()
            with pytest.raises(NotSentError):
                send(POST)
        assert time.monotonic() - began < LIMIT + LATE

    def test_a_refusing_proxy(self, own: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
        """A proxy that opens no tunnel was shown the host, and nothing of the request."""
        asked: list[bytes] = []
        with listening(answering(answer(status="502 Bad Gateway"), asked)) as base:
            monkeypatch.setenv("https_proxy", base)
            with pytest.raises(NotSentError):
                own.to(target("https://a.klaviyo.com"))(SEARCH)
        assert b"CONNECT a.klaviyo.com:443" == asked[0][:25]
        assert KEY.encode() not in asked[0]
        assert b"shop" not in asked[0]


class TestResolving:
    def test_an_unknown_host(self, own: Sending) -> None:
        """A host that the DNS does not know was sent nothing."""
        with pytest.raises(NotSentError):
            own.to(target("https://nothing.invalid"))(POST)

    def test_a_silent_resolver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A DNS that does not answer holds no call longer than its attempt."""
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_named: time.sleep(1.5))
        sender = senders.OwnSender(target("https://a.klaviyo.com"))
        began = time.monotonic()
        with pytest.raises(NotSentError):
            sender.send(POST, senders.timeouts(LIMIT))
        assert time.monotonic() - began < LIMIT + LATE

    def test_the_next_address_is_tried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where a host's first address does not answer, the second gets its share of the time."""
        with ExitStack() as opened:
            full = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            for _ in range(3):
                waiting = opened.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(full.getsockname())
            base = opened.enter_context(listening(answering(answer(b"here"))))
            places = [full.getsockname(), ("127.0.0.1", int(base.rpartition(":")[2]))]
            found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_named: found)
            sender = senders.OwnSender(target("http://localhost"))
            opened.callback(sender.close)
            assert b"here" == sender.send(SEARCH, senders.timeouts(2 * LIMIT)).body


class TestNamedProxies:
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
        proxy = senders.proxy_for(target(base))
        assert wanted == (None if proxy is None else str(proxy.url))

    @pytest.mark.parametrize(
        "named", ["ftp://user:hunter2@proxy", "http://user:hunter2@proxy:port", "socks5://user:hunter2@proxy"]
    )
    def test_unusable(self, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
        """A proxy that cannot be used is refused without a word of its password."""
        monkeypatch.setenv("https_proxy", named)
        monkeypatch.setitem(sys.modules, "socksio", None)
        with pytest.raises(ConfigurationError) as caught:
            senders.proxy_for(target("https://a.klaviyo.com"))
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))
