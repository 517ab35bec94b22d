"""HTTP: how a request of ours travels, and how what goes wrong on the way is named.

Transports are driven directly, below `httpx.Client`: that is cheaper, follows no redirect, and keeps httpx's logger
from writing addresses into the user's logs (F-28, F-30). A client that the user hands in is used through its public
`build_request` and `send`, so that its hooks, auth, headers and proxies are honoured; it is never closed here.
Transports of our own are in `senders.own`, and no other module knows httpx.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias, cast
from urllib.request import getproxies, proxy_bypass

import httpx

from safeklaviyo._api.messages import Request, Response
from safeklaviyo._interruption import let_through
from safeklaviyo._runtime.server import is_loopback
from safeklaviyo.errors import APIConnectionError, ConfigurationError, NoResponseError, NotSentError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable, Iterator

    from safeklaviyo._runtime.server import Target

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

_TRANSPORTS: Final = frozenset(
    {"aiohttp", "anyio", "asyncio", "h11", "httpcore", "httpx", "httpx_aiohttp", "socksio", "ssl"}
)
"""The packages whose exceptions are failures of a connection. Those of the operating system are `OSError`."""

_BAD_PROXY: Final = (
    "the proxy that the environment names cannot be used; it has to be http://, https:// or socks5://, "
    "and the last needs httpx[socks]"
)


class Phases(Mapping[str, float]):
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


_LONGEST = 1e9  # seconds; no clock waits for more


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
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= _LONGEST:
        raise ConfigurationError("timeout has to be a positive number of seconds, or an httpx.Timeout")
    return dict.fromkeys(("connect", "read", "write", "pool"), float(timeout)), float(timeout)


def check_client(client: object, kind: type[object]) -> None:
    """Refuse what cannot be sent through.

    Raises:
        ConfigurationError: It is not a client of that kind.
    """
    if client is not None and not isinstance(client, kind):
        raise ConfigurationError("http_client has to be an httpx.Client for Klaviyo, an httpx.AsyncClient otherwise")


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
        outer, phases = sys.exception(), Phases(self._target)
        outgoing = _built(self._client, self._target, request, phases)
        try:
            answer = self._client.send(outgoing, follow_redirects=False, stream=True)
            try:
                return response(answer, read(answer, phases))
            finally:
                answer.close()
        except tuple(MEANINGS) as exc:
            let_through(exc, outer)
            return _refused(exc, outgoing)

    def close(self) -> None:
        """Leave the client open: it is the user's."""


class AsyncClientSender:
    """Same as `ClientSender`, awaited."""

    def __init__(self, target: Target, client: httpx.AsyncClient) -> None:
        self._target = target
        self._client = client

    async def send(self, request: Request) -> Response:
        """Same as `ClientSender.send`."""
        from asyncio import timeout  # noqa: PLC0415 - as above

        _check_open(self._client)
        outer, phases = sys.exception(), Phases(self._target)
        outgoing = _built(self._client, self._target, request, phases)
        try:
            async with timeout(self._target.seconds):
                answer = await self._client.send(outgoing, follow_redirects=False, stream=True)
                try:
                    return response(answer, await read_async(answer, phases))
                finally:
                    await answer.aclose()
        except tuple(MEANINGS) as exc:
            let_through(exc, outer)
            return _refused(exc, outgoing)

    async def aclose(self) -> None:
        """Leave the client open: it is the user's."""


def failure(exc: Exception) -> APIConnectionError:
    """Return the error that something on the way stands for."""
    meaning = next((MEANINGS[each] for each in type(exc).__mro__ if each in MEANINGS), NoResponseError)
    if meaning is NotSentError and _is_unsent(exc):
        return NotSentError(f"no connection to Klaviyo could be made ({type(exc).__name__}); nothing was sent")
    return NoResponseError(f"the connection to Klaviyo broke before its whole answer came ({type(exc).__name__})")


def explain(exc: Exception, outer: BaseException | None) -> NoReturn:
    """Raise the error that something on the way stands for; what no transport raised is raised again as it is."""
    let_through(exc, outer)
    if not _is_transports(exc):
        raise exc
    raise failure(exc) from _origin(exc)


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


def _is_transports(failure: Exception) -> bool:
    """Tell whether a transport raises exceptions of that class: another one is the caller's, or a fault, and passes."""
    return isinstance(failure, OSError) or any(
        each.__module__.partition(".")[0] in _TRANSPORTS for each in type(failure).__mro__
    )


def _is_unsent(failure: Exception) -> bool:
    """Tell whether a transport's word for "no connection" is to be believed.

    httpx-aiohttp calls every lost connection a connect timeout, also one that the request had left on; aiohttp's own
    error behind it knows better.
    """
    cause = failure.__cause__
    if cause is None or not type(cause).__module__.startswith("aiohttp"):
        return True
    names = {each.__name__ for each in type(cause).__mro__}
    return not names.isdisjoint({"ClientConnectorError", "ClientHttpProxyError", "ConnectionTimeoutError"})


def _origin(failure: Exception) -> OSError | None:
    """Return the operating system's own error behind a failure. What lies between may quote the URL in its message."""
    chain: list[BaseException] = []
    step: BaseException | None = failure
    while step is not None and step not in chain:
        # The frames of a traceback hold the key, and from Python 3.12 on they keep each other (F-32).
        chain.append(step.with_traceback(None))
        # httpcore raises its errors "from None", which hides what they came from and keeps it.
        step = step.__cause__ or (step.__context__ if step.__suppress_context__ else None)
    return next((each for each in chain if isinstance(each, OSError) and "aiohttp" not in type(each).__module__), None)


def outgoing(target: Target, request: Request, phases: Phases) -> httpx.Request:
    """Return the request as a transport sends it. Made from its parts, it costs a fifth of what it costs otherwise."""
    headers = _headers(target, request)
    if request.body is not None:
        headers.append((b"Content-Length", str(len(request.body)).encode()))
    stream, extensions = httpx.ByteStream(request.body or b""), {"timeout": phases}
    outgoing = httpx.Request(
        request.method, _url(target, request), headers=headers, stream=stream, extensions=extensions
    )
    outgoing.read()
    return outgoing


def _built(client: httpx.Client | httpx.AsyncClient, target: Target, request: Request, phases: Phases) -> httpx.Request:
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
            return response(exc.response, exc.response.content)
        except httpx.ResponseNotRead:
            return response(exc.response, b"")
    raise failure(exc) from _origin(exc)


def read(answer: httpx.Response, phases: Phases) -> bytes:
    """Read a body. Each part has its own timeout, and all together the attempt's."""
    parts: list[bytes] = []
    for part in answer.iter_bytes() if _has_layers(answer) else cast("Iterable[bytes]", answer.stream):
        phases.check()
        parts.append(part)
    return b"".join(parts)


async def read_async(answer: httpx.Response, phases: Phases) -> bytes:
    parts: list[bytes] = []
    async for part in answer.aiter_bytes() if _has_layers(answer) else cast("AsyncIterable[bytes]", answer.stream):
        phases.check()
        parts.append(part)
    return b"".join(parts)


def _has_layers(answer: httpx.Response) -> bool:
    """Whether a body is more than its stream: encoded, or read before. Otherwise the stream alone is cheaper."""
    return answer.is_stream_consumed or "content-encoding" in answer.headers


def response(answer: httpx.Response, body: bytes) -> Response:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers.raw}
    return Response(answer.status_code, headers, body)
