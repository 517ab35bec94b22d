"""HTTP: how a request of ours travels, and how what goes wrong on the way is named. The only module that knows httpx.

Transports are driven directly, below `httpx.Client`: that is cheaper, follows no redirect, and keeps httpx's logger from
writing addresses into the user's logs (F-28, F-30). A client that the user hands in is used through its public `send`,
so that its hooks, auth and proxies are honoured; it is never closed here.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias
from urllib.request import getproxies, proxy_bypass

import httpx

from safeklaviyo._flow import Request, Response
from safeklaviyo.errors import APIConnectionError, ConfigurationError, NoResponseError, NotSentError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

KLAVIYO: Final = "a.klaviyo.com"

Timeout: TypeAlias = httpx.Timeout | float
SyncClient: TypeAlias = httpx.Client
AsyncClient: TypeAlias = httpx.AsyncClient

NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
"""What surely happened before a byte of the request left; after anything else, what Klaviyo did is unknown."""

LOST: Final = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError)
"""Everything else by which a request can fail on its way."""

SHARDS: Final = 8
CONNECTIONS: Final = 256
_LIMITS: Final = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=30.0)
_BODY_HEADERS: Final = {"gzip", "deflate", "br", "zstd"}


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """Where requests go, and with which headers.

    Attributes:
        headers: Those of every request, the key among them.
        seconds: How long one attempt may take in all.
    """

    url: httpx.URL
    headers: httpx.Headers
    timeout: httpx.Timeout
    seconds: float

    def __repr__(self) -> str:
        return f"Target({str(self.url)!r})"

    @property
    def is_klaviyo(self) -> bool:
        """Whether this is Klaviyo's own host."""
        return self.url.host == KLAVIYO

    def request(self, request: Request) -> httpx.Request:
        """Return the request as httpx sends it."""
        path, _, query = request.path.partition("?")
        url = self.url.copy_with(raw_path=request.path.encode()) if query else self._url(path)
        headers = self.headers
        if request.body is not None:
            headers = headers.copy()
            headers["Content-Type"] = request.content_type
        extensions = {"timeout": self.timeout.as_dict()}
        return httpx.Request(request.method, url, headers=headers, content=request.body, extensions=extensions)

    def _url(self, path: str) -> httpx.URL:
        return self.url.copy_with(raw_path=path.encode())


def target(base_url: str, headers: Mapping[str, str], timeout: Timeout) -> Target:
    """Return where requests go.

    Raises:
        ConfigurationError: The address is no ``https://host``, or plain ``http`` to anything but loopback.
    """
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError):
        raise ConfigurationError("base_url is not a URL") from None
    if not url.host or url.userinfo or url.query or url.fragment or url.path not in ("", "/"):
        raise ConfigurationError("base_url has to be a scheme and a host, such as https://a.klaviyo.com")
    if url.scheme != "https" and not (url.scheme == "http" and _is_loopback(url.host)):
        raise ConfigurationError("base_url has to begin with https://; plain http is for loopback only")
    limits = timeout if isinstance(timeout, httpx.Timeout) else httpx.Timeout(_positive(timeout))
    phases = [limits.connect, limits.read]
    seconds = sum(phase if phase is not None else 60.0 for phase in phases) if timeout is limits else limits.read or 60.0
    return Target(url, httpx.Headers(dict(headers)), limits, seconds)


def _positive(timeout: object) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < float("inf"):
        raise ConfigurationError("timeout has to be a positive number of seconds, or an httpx.Timeout")
    return float(timeout)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Sender(Protocol):
    """What carries requests."""

    def send(self, request: Request) -> Response:
        """Send one request, once.

        Raises:
            NotSentError: No connection was made.
            NoResponseError: It left, and no whole answer came back.
        """
        ...

    def close(self) -> None:
        """Close what was opened here."""
        ...


class AsyncSender(Protocol):
    """Same as `Sender`, awaited."""

    async def send(self, request: Request) -> Response:
        """Same as `Sender.send`."""
        ...

    async def aclose(self) -> None:
        """Same as `Sender.close`."""
        ...


class TransportSender:
    """Requests over a transport of our own."""

    def __init__(self, target: Target) -> None:
        self._target = target
        proxy = proxy_for(target.url)
        self._transport = httpx.HTTPTransport(limits=_LIMITS, proxy=proxy)

    def send(self, request: Request) -> Response:
        """See `Sender.send`."""
        deadline = time.monotonic() + self._target.seconds
        outgoing = self._target.request(request)
        try:
            answer = self._transport.handle_request(outgoing)
            try:
                return _response(answer, _read(answer, deadline))
            finally:
                answer.close()
        except LOST as exc:
            raise failure(exc) from exc

    def close(self) -> None:
        """See `Sender.close`."""
        self._transport.close()


class ClientSender:
    """Requests over a client that the user handed in."""

    def __init__(self, target: Target, client: httpx.Client) -> None:
        self._target = target
        self._client = client

    def send(self, request: Request) -> Response:
        """See `Sender.send`."""
        try:
            answer = self._client.send(self._target.request(request), follow_redirects=False)
        except LOST as exc:
            raise failure(exc) from exc
        return _response(answer, answer.content)

    def close(self) -> None:
        """Leave the client open: it is the user's."""


class AsyncTransportSender:
    """Requests over transports of our own: aiohttp's, if it is there; otherwise several small pools.

    httpcore's pool looks through all its connections and requests at each step, so one pool with many requests in
    flight costs their square; several small ones do not (F-31).
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._transports = _async_transports(proxy_for(target.url))
        self._turns = itertools.cycle(self._transports)

    async def send(self, request: Request) -> Response:
        """See `Sender.send`."""
        outgoing = self._target.request(request)
        transport = next(self._turns)
        try:
            async with asyncio.timeout(self._target.seconds):
                answer = await transport.handle_async_request(outgoing)
                try:
                    return _response(answer, await _read_async(answer))
                finally:
                    await answer.aclose()
        except LOST as exc:
            raise failure(exc) from exc

    async def aclose(self) -> None:
        """See `Sender.close`."""
        for transport in self._transports:
            await transport.aclose()


class AsyncClientSender:
    """Requests over a client that the user handed in."""

    def __init__(self, target: Target, client: httpx.AsyncClient) -> None:
        self._target = target
        self._client = client

    async def send(self, request: Request) -> Response:
        """See `Sender.send`."""
        try:
            answer = await self._client.send(self._target.request(request), follow_redirects=False)
        except LOST as exc:
            raise failure(exc) from exc
        return _response(answer, answer.content)

    async def aclose(self) -> None:
        """Leave the client open: it is the user's."""


def failure(exc: Exception) -> APIConnectionError:
    """Return the error that something on the way stands for."""
    if isinstance(exc, NOT_SENT) and _is_unsent(exc):
        return NotSentError("no connection to Klaviyo could be made; nothing was sent")
    return NoResponseError("the connection to Klaviyo broke before its whole answer came", outcome="unknown")


def _is_unsent(exc: Exception) -> bool:
    """Tell whether a transport's word for "no connection" is to be believed.

    httpx-aiohttp calls every lost connection a connect timeout, also one that the request had left on; aiohttp's own
    error behind it knows better.
    """
    cause = exc.__cause__
    if cause is None or not type(cause).__module__.startswith("aiohttp"):
        return True
    return any(each.__name__ in {"ClientConnectorError", "ConnectionTimeoutError"} for each in type(cause).__mro__)


def proxy_for(url: httpx.URL) -> str | None:
    """Return the proxy that the environment names for a URL (``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``)."""
    if _is_loopback(url.host) or proxy_bypass(url.host):
        return None
    proxies = getproxies()
    return proxies.get(url.scheme) or proxies.get("all")


def _async_transports(proxy: str | None) -> list[httpx.AsyncBaseTransport]:
    try:
        from httpx_aiohttp import AiohttpTransport  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        per_shard = CONNECTIONS // SHARDS
        limits = httpx.Limits(max_connections=per_shard, max_keepalive_connections=per_shard, keepalive_expiry=30.0)
        return [httpx.AsyncHTTPTransport(limits=limits, proxy=proxy) for _ in range(SHARDS)]
    return [AiohttpTransport(limits=_LIMITS, proxy=None if proxy is None else httpx.Proxy(proxy))]


def _read(answer: httpx.Response, deadline: float) -> bytes:
    """Read a body; each part has its own timeout, and the whole has the attempt's.

    Raises:
        httpx.ReadTimeout: The parts took too long together.
    """
    if answer.headers.get("content-encoding") in _BODY_HEADERS:
        return answer.read()
    stream: Iterable[bytes] = answer.stream  # type: ignore[assignment]  # a sync transport's answer is read in sync
    parts: list[bytes] = []
    for part in stream:
        parts.append(part)
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("the answer took too long")
    return b"".join(parts)


async def _read_async(answer: httpx.Response) -> bytes:
    if answer.headers.get("content-encoding") in _BODY_HEADERS:
        return await answer.aread()
    stream: AsyncIterable[bytes] = answer.stream  # type: ignore[assignment]  # as above
    return b"".join([part async for part in stream])


def _response(answer: httpx.Response, body: bytes) -> Response:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers.raw}
    return Response(answer.status_code, headers, body)
