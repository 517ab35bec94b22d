"""HTTP: how a request of ours travels, and how what goes wrong on the way is named. The only module that knows httpx.

Transports are driven directly, below `httpx.Client`: that is cheaper, follows no redirect, and keeps httpx's logger
from writing addresses into the user's logs (F-28, F-30). A client that the user hands in is used through its public
`build_request` and `send`, so that its hooks, auth, headers and proxies are honoured; it is never closed here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, TypeAlias, cast
from urllib.request import getproxies, proxy_bypass

import httpx

from safeklaviyo._flow import Request, Response
from safeklaviyo._target import is_loopback
from safeklaviyo.errors import APIConnectionError, ConfigurationError, NoResponseError, NotSentError

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterable, Iterable, Iterator

    from aiohttp import ClientSession

    from safeklaviyo._target import Target

Timeout: TypeAlias = httpx.Timeout | float
SyncClient: TypeAlias = httpx.Client
AsyncClient: TypeAlias = httpx.AsyncClient

MEANINGS: Final[dict[type[Exception], type[APIConnectionError]]] = {
    httpx.ConnectError: NotSentError,
    httpx.ConnectTimeout: NotSentError,
    httpx.InvalidURL: NotSentError,
    httpx.PoolTimeout: NotSentError,
    httpx.ProxyError: NotSentError,
    httpx.UnsupportedProtocol: NotSentError,
    httpx.CookieConflict: NoResponseError,
    httpx.HTTPError: NoResponseError,
    httpx.StreamError: NoResponseError,
    OSError: NoResponseError,
}
"""What each error of httpx says, by its nearest class here. Not sent is only what failed before a byte left."""

SHARDS: Final = 16
CONNECTIONS: Final = 256
KEPT_FOR: Final = 30.0

_BAD_PROXY: Final = (
    "the proxy that the environment names cannot be used; it has to be http://, https:// or socks5://, "
    "and the last needs httpx[socks]"
)


class _Phases(Mapping[str, float]):
    """The timeouts of one attempt: what each phase may take, and at most what is left of the whole when it begins."""

    __slots__ = ("_deadline", "_phases")

    def __init__(self, target: Target) -> None:
        self._phases = target.phases
        self._deadline = time.monotonic() + target.limit

    def __getitem__(self, phase: str) -> float:
        # Zero would mean not to wait at all, which fails in another way than by waiting too long.
        return min(self._phases[phase], max(self._deadline - time.monotonic(), 0.001))

    def __iter__(self) -> Iterator[str]:
        return iter(self._phases)

    def __len__(self) -> int:
        return len(self._phases)

    def check(self) -> None:
        """Make sure that there is time left.

        Raises:
            httpx.ReadTimeout: There is none.
        """
        if time.monotonic() > self._deadline:
            raise httpx.ReadTimeout("the answer took too long")


def limits(timeout: object) -> tuple[dict[str, float], float]:
    """Return how long each phase may take, and all together: as many seconds, or those of connecting and reading.

    Raises:
        ConfigurationError: There is no such limit.
    """
    if isinstance(timeout, httpx.Timeout):
        phases = {phase: 60.0 if limit is None else float(limit) for phase, limit in timeout.as_dict().items()}
        if min(phases.values()) <= 0:
            raise ConfigurationError("each part of timeout has to be positive")
        return phases, phases["connect"] + phases["read"]
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < float("inf"):
        raise ConfigurationError("timeout has to be a positive number of seconds, or an httpx.Timeout")
    return dict.fromkeys(("connect", "read", "write", "pool"), float(timeout)), float(timeout)


def check_client(client: object, kind: type[object]) -> None:
    """Refuse what cannot be sent through.

    Raises:
        ConfigurationError: It is not a client of that kind.
    """
    if client is not None and not isinstance(client, kind):
        raise ConfigurationError("http_client has to be an httpx.Client for Klaviyo, an httpx.AsyncClient otherwise")


class TransportSender:
    """Requests over a transport of our own. Safe between threads."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._transport = httpx.HTTPTransport(limits=_pool(CONNECTIONS), proxy=proxy_for(target))

    def send(self, request: Request) -> Response:
        """Send one request, once.

        Raises:
            NotSentError: No connection was made.
            NoResponseError: It left, and no whole answer came back.
        """
        phases = _Phases(self._target)
        try:
            answer = self._transport.handle_request(_outgoing(self._target, request, phases))
            try:
                return _response(answer, _read(answer, phases))
            finally:
                answer.close()
        except Exception as exc:  # noqa: BLE001 - no code of the user's runs here, and aiohttp's errors are not httpx's
            raise failure(exc) from _origin(exc)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()


class ClientSender:
    """Requests over a client that the user handed in. Our headers and timeouts go before the client's own."""

    def __init__(self, target: Target, client: httpx.Client) -> None:
        self._target = target
        self._client = client

    def send(self, request: Request) -> Response:
        """Send one request, once. What else a hook of the user's raises is not caught.

        Raises:
            ConfigurationError: The client is closed.
            NotSentError: No connection was made.
            NoResponseError: It left, and no whole answer came back.
        """
        _check_open(self._client)
        phases = _Phases(self._target)
        outgoing = _built(self._client, self._target, request, phases)
        try:
            answer = self._client.send(outgoing, follow_redirects=False, stream=True)
            try:
                return _response(answer, _read(answer, phases))
            finally:
                answer.close()
        except tuple(MEANINGS) as exc:
            return _refused(exc, outgoing)

    def close(self) -> None:
        """Leave the client open: it is the user's."""


class AsyncTransportSender:
    """Requests over transports of our own: aiohttp's, if it is there; otherwise several small pools.

    httpcore's pool looks through all that it has at each step, so one pool with many requests in flight costs their
    square; several small ones do not (F-31). A request goes to the first of the least busy, and one by one to the same.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._transports = _async_transports(proxy_for(target))
        self._busy = [0] * len(self._transports)

    async def send(self, request: Request) -> Response:
        """Same as `TransportSender.send`."""
        from asyncio import timeout  # noqa: PLC0415 - here asyncio is loaded; blocking programs need not load it

        phases = _Phases(self._target)
        turn = self._busy.index(min(self._busy))
        self._busy[turn] += 1
        try:
            async with timeout(self._target.seconds):
                transport = self._transports[turn]
                answer = await transport.handle_async_request(_outgoing(self._target, request, phases))
                try:
                    return _response(answer, await _read_async(answer, phases))
                finally:
                    await answer.aclose()
        except Exception as exc:  # noqa: BLE001 - no code of the user's runs here, and aiohttp's errors are not httpx's
            raise failure(exc) from _origin(exc)
        finally:
            self._busy[turn] -= 1

    async def aclose(self) -> None:
        """Same as `TransportSender.close`."""
        for transport in self._transports:
            await transport.aclose()


class AsyncClientSender:
    """Same as `ClientSender`, awaited."""

    def __init__(self, target: Target, client: httpx.AsyncClient) -> None:
        self._target = target
        self._client = client

    async def send(self, request: Request) -> Response:
        """Same as `ClientSender.send`."""
        from asyncio import timeout  # noqa: PLC0415 - as above

        _check_open(self._client)
        phases = _Phases(self._target)
        outgoing = _built(self._client, self._target, request, phases)
        try:
            async with timeout(self._target.seconds):
                answer = await self._client.send(outgoing, follow_redirects=False, stream=True)
                try:
                    return _response(answer, await _read_async(answer, phases))
                finally:
                    await answer.aclose()
        except tuple(MEANINGS) as exc:
            return _refused(exc, outgoing)

    async def aclose(self) -> None:
        """Leave the client open: it is the user's."""


Sender: TypeAlias = TransportSender | ClientSender
AsyncSender: TypeAlias = AsyncTransportSender | AsyncClientSender


def failure(exc: Exception) -> APIConnectionError:
    """Return the error that something on the way stands for."""
    meaning = next((MEANINGS[each] for each in type(exc).__mro__ if each in MEANINGS), NoResponseError)
    if meaning is NotSentError and _is_unsent(exc):
        return NotSentError(f"no connection to Klaviyo could be made ({type(exc).__name__}); nothing was sent")
    return NoResponseError(f"the connection to Klaviyo broke before its whole answer came ({type(exc).__name__})")


def proxy_for(target: Target) -> httpx.Proxy | None:
    """Return the proxy that the environment names for a host (``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``).

    Raises:
        ConfigurationError: It cannot be used. The message does not say what it is: it may hold a password.
    """
    if is_loopback(target.host) or proxy_bypass(target.host):
        return None
    proxies = getproxies()
    named = proxies.get(target.base.partition(":")[0]) or proxies.get("all")
    if not named:
        return None
    try:
        proxy = httpx.Proxy(named if "://" in named else f"http://{named}")
    except (ValueError, httpx.InvalidURL):
        raise ConfigurationError(_BAD_PROXY) from None
    if proxy.url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise ConfigurationError(_BAD_PROXY)
    return proxy


def _is_unsent(exc: Exception) -> bool:
    """Tell whether a transport's word for "no connection" is to be believed.

    httpx-aiohttp calls every lost connection a connect timeout, also one that the request had left on; aiohttp's own
    error behind it knows better.
    """
    cause = exc.__cause__
    if cause is None or not type(cause).__module__.startswith("aiohttp"):
        return True
    names = {each.__name__ for each in type(cause).__mro__}
    return not names.isdisjoint({"ClientConnectorError", "ClientHttpProxyError", "ConnectionTimeoutError"})


def _origin(exc: Exception) -> OSError | None:
    """Return the operating system's own error behind a failure. What lies between may quote the URL in its message."""
    step: BaseException | None = exc
    met: list[BaseException] = []  # respx raises a route's error from what it made of it: causes can go in a circle
    while step is not None and step not in met:
        met.append(step)
        if isinstance(step, OSError) and not type(step).__module__.startswith("aiohttp"):
            return step
        # httpcore raises its errors "from None", which hides what they came from and keeps it.
        step = step.__cause__ or (step.__context__ if step.__suppress_context__ else None)
    return None


def _pool(size: int) -> httpx.Limits:
    return httpx.Limits(max_connections=size, max_keepalive_connections=size, keepalive_expiry=KEPT_FOR)


def _async_transports(proxy: httpx.Proxy | None) -> list[httpx.AsyncBaseTransport]:
    trust = httpx.create_ssl_context()
    # aiohttp speaks no SOCKS.
    if find_spec("httpx_aiohttp") is None or (proxy is not None and proxy.url.scheme.startswith("socks")):
        pool = _pool(CONNECTIONS // SHARDS)
        return [httpx.AsyncHTTPTransport(verify=trust, limits=pool, proxy=proxy) for _ in range(SHARDS)]
    from httpx_aiohttp import AiohttpTransport  # noqa: PLC0415 - an extra, and slow to import

    return [AiohttpTransport(verify=trust, proxy=proxy, client=lambda: _session(trust))]


def _session(trust: ssl.SSLContext) -> ClientSession:
    """Return a session that, unlike httpx-aiohttp's own, keeps no cookies."""
    from aiohttp import ClientSession, DummyCookieJar, TCPConnector  # noqa: PLC0415 - an extra, and slow to import

    connector = TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEPT_FOR, ssl=trust)
    return ClientSession(connector=connector, cookie_jar=DummyCookieJar())


def _outgoing(target: Target, request: Request, phases: _Phases) -> httpx.Request:
    """Return the request as a transport sends it. Made from its parts, it costs a fifth of what it costs otherwise."""
    headers = _headers(target, request)
    if request.body is not None:
        headers.append((b"Content-Length", str(len(request.body)).encode()))
    stream = httpx.ByteStream(request.body or b"")
    extensions = {"timeout": phases}
    outgoing = httpx.Request(
        request.method, _url(target, request), headers=headers, stream=stream, extensions=extensions
    )
    outgoing.read()
    return outgoing


def _built(
    client: httpx.Client | httpx.AsyncClient, target: Target, request: Request, phases: _Phases
) -> httpx.Request:
    """Return the request with what the client adds to each: headers, cookies, parameters."""
    headers = httpx.Headers(_headers(target, request))
    url, extensions = _url(target, request), {"timeout": phases}
    return client.build_request(request.method, url, headers=headers, content=request.body, extensions=extensions)


def _headers(target: Target, request: Request) -> list[tuple[bytes, bytes]]:
    if request.body is None:
        return list(target.headers)
    return [*target.headers, (b"Content-Type", request.content_type.encode())]


def _url(target: Target, request: Request) -> httpx.URL:
    # A query may hold an address, which nothing should keep.
    return httpx.URL(target.base + request.path) if "?" in request.path else _plain_url(target.base + request.path)


_plain_url = lru_cache(maxsize=256)(httpx.URL)


def _check_open(client: httpx.Client | httpx.AsyncClient) -> None:
    if client.is_closed:
        raise ConfigurationError("the http_client has been closed")


def _refused(exc: Exception, outgoing: httpx.Request) -> Response:
    """Return the answer to which a hook has called `raise_for_status`, which is an answer all the same.

    Raises:
        APIConnectionError: It is anything else that went wrong.
    """
    if isinstance(exc, httpx.HTTPStatusError) and exc.request is outgoing:
        try:
            return _response(exc.response, exc.response.content)
        except httpx.ResponseNotRead:
            return _response(exc.response, b"")
    raise failure(exc) from _origin(exc)


def _read(answer: httpx.Response, phases: _Phases) -> bytes:
    """Read a body. Each part has its own timeout, and all together the attempt's."""
    parts: list[bytes] = []
    for part in answer.iter_bytes() if _has_layers(answer) else cast("Iterable[bytes]", answer.stream):
        phases.check()
        parts.append(part)
    return b"".join(parts)


async def _read_async(answer: httpx.Response, phases: _Phases) -> bytes:
    parts: list[bytes] = []
    async for part in answer.aiter_bytes() if _has_layers(answer) else cast("AsyncIterable[bytes]", answer.stream):
        phases.check()
        parts.append(part)
    return b"".join(parts)


def _has_layers(answer: httpx.Response) -> bool:
    """Whether a body is more than its stream: encoded, or read before. Otherwise the stream alone is cheaper."""
    return answer.is_stream_consumed or "content-encoding" in answer.headers


def _response(answer: httpx.Response, body: bytes) -> Response:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers.raw}
    return Response(answer.status_code, headers, body)
