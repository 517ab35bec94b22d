"""Connections of httpcore's: how one is made, what goes over it, and whether it can be used again.

The blocking sender and the awaited one share this. respx takes the place of the classes of httpcore that are used here,
so that mocks answer for the requests of both.

- To Klaviyo directly, it is httpcore's connection with one of `exchanges` inside, which does the work.
- Through a proxy, it is httpcore's pool of one connection, because only the pools of httpcore that know a proxy are
  among the classes that respx replaces. There httpcore and h11 do the work.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import h11
import httpcore
import httpx

from safeklaviyo._api.messages import Response
from safeklaviyo._runtime.senders.exchanges import BODY, HEAD, AsyncExchange, Exchange
from safeklaviyo._runtime.senders.proxies import proxy_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo._api.messages import Request
    from safeklaviyo._runtime.senders.bodies import Body
    from safeklaviyo._runtime.senders.timeouts import Timeouts
    from safeklaviyo._runtime.server import Target
    from safeklaviyo._secrets import Secret

KEPT_FOR: Final = 30.0
"""Seconds for which a connection is kept without a request. Load balancers close theirs after 60 or more."""

_Checking: TypeAlias = "tuple[Secret | None, Callable[[tuple[str, int] | None], Any]]"
_BLOCKING: Final = (httpcore.HTTPConnection, httpcore.HTTPProxy, httpcore.SOCKSProxy, Exchange)
_AWAITED: Final = (httpcore.AsyncHTTPConnection, httpcore.AsyncHTTPProxy, httpcore.AsyncSOCKSProxy, AsyncExchange)


class Requests:
    """What the requests of one client become for httpcore."""

    def __init__(self, target: Target) -> None:
        self._target = target
        url = httpx.URL(target.base)
        self.scheme, self.host, self.port = url.raw_scheme, url.raw_host, url.port
        # Each path without a query is one of a few, but for profile ids. A query may hold an address, which no cache
        # should keep.
        self._plain = lru_cache(maxsize=256)(self._url)
        self._checked = self._checking(None)

    def _checking(self, authorization: Secret | None) -> _Checking:
        """Return what makes headers with an authorization, and keeps those that it has made."""
        return authorization, lru_cache(maxsize=1024)(partial(self._headers, authorization))

    def _url(self, path: str) -> httpcore.URL:
        return httpcore.URL(scheme=self.scheme, host=self.host, port=self.port, target=path)

    def outgoing(self, request: Request, timeouts: Timeouts, authorization: Secret | None = None) -> httpcore.Request:
        """Return a request as httpcore sends it."""
        path, body = request.path, request.body
        url = self._url(path) if "?" in path else self._plain(path)
        of, headers = self._checked
        if of != authorization:
            # Another token: what was kept of the former one is of no use any more. One assignment, for other threads.
            self._checked = of, headers = self._checking(authorization)
        described = None if body is None else (request.content_type, len(body))
        # Only requests that a caller describes have headers of their own, and these are seldom the same twice.
        own = request.headers
        checked, written = self._headers(authorization, described, own) if own else headers(described)
        extensions = {"timeout": timeouts.phases, HEAD: written, BODY: body or b""}
        outgoing: Any = httpcore.Request(request.method, url, content=body, extensions=extensions)
        outgoing.headers = checked
        return outgoing  # type: ignore[no-any-return]

    def _headers(
        self, authorization: Secret | None, body: tuple[str, int] | None, own: tuple[tuple[str, str], ...] = ()
    ) -> tuple[Any, bytes]:
        """Return the headers of a request as h11 has checked them, which takes it longer than all else, and as written.

        Args:
            authorization: The value of that header, where the target has none.
            body: Its type and its length.
            own: What the request has in place of the target's.
        """
        headers = self._target.headers_with(own, authorization)
        if body is not None:
            headers += [(b"Content-Type", body[0].encode()), (b"Content-Length", b"%d" % body[1])]
        checked = h11.Request(method="GET", target="/", headers=headers).headers
        return checked, b"".join(b"%b: %b\r\n" % each for each in checked.raw_items()) + b"\r\n"

    def connection(self, *, is_awaited: bool) -> Callable[[Any], Any]:
        """Return what makes a connection, given the network backend that it is to use."""
        direct, tunnel, socks, inside = _AWAITED if is_awaited else _BLOCKING
        trust, proxy = httpx.create_ssl_context(), proxy_for(self._target)
        if proxy is None:
            trust.set_alpn_protocols(["http/1.1"])
            port = self.port or (443 if self.scheme == b"https" else 80)
            origin = httpcore.Origin(self.scheme, self.host, port)
            return partial(_direct, direct, partial(inside, origin=origin, trust=trust, kept_for=KEPT_FOR))
        url = httpcore.URL(
            scheme=proxy.url.raw_scheme, host=proxy.url.raw_host, port=proxy.url.port, target=proxy.url.raw_path
        )
        pool = partial(
            _one, proxy_url=url, proxy_auth=proxy.raw_auth, ssl_context=trust, keepalive_expiry=KEPT_FOR,
            max_connections=1,
        )  # fmt: skip
        if proxy.url.scheme.startswith("socks"):
            return partial(pool, socks)
        secure = proxy.ssl_context or (trust if proxy.url.scheme == "https" else None)
        return partial(pool, tunnel, proxy_headers=proxy.headers.raw, proxy_ssl_context=secure)


def _direct(kind: Any, inside: Any, wire: Any) -> Any:
    exchange = inside(wire)
    http = kind(exchange.origin, network_backend=wire)
    # As httpcore does it with its own, once the connection is open. `HTTPConnection` only hands requests on to it.
    http._connection = exchange  # noqa: SLF001
    return http


def _one(kind: Any, backend: Any, **options: Any) -> Any:
    return kind(network_backend=backend, **options)


def response_of(answer: httpcore.Response, body: Body) -> Response:
    """Return an answer of httpcore's as ours, with the body unpacked."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
    return Response(answer.status, headers, body.unpacked(headers.get("content-encoding")))


def is_usable(http: Any) -> bool:
    """Tell whether a connection that was kept can take a request.

    It cannot if it is too old, and if anything has come that was not asked for: the peer's end, or an answer that the
    next request would take for its own.
    """
    one = _one_of(http)
    return one is not None and one.is_idle() and not one.has_expired()


def is_reusable(http: Any) -> bool:
    """Tell whether a connection can be kept: the answer has ended, and nothing came after it."""
    one = _one_of(http)
    if one is None or not one.is_idle():
        return False
    if isinstance(getattr(one, "_connection", None), Exchange | AsyncExchange):
        return True
    while not hasattr(one, "_h11_state"):
        one = getattr(one, "_connection", None)
        if one is None:
            return False
    # httpcore does not show what h11 has read beyond the answer, so its own attribute is read.
    beyond, _ = one._h11_state.trailing_data  # noqa: SLF001
    return not beyond


class _NoLock:
    """A lock for what only one task uses at a time."""

    async def __aenter__(self) -> None:
        """Take nothing."""

    async def __aexit__(self, *_: object) -> None:
        """Give nothing back."""


def unlock(http: Any) -> None:
    """Take the lock out of an awaited connection, which belongs to one request at a time.

    anyio's locks let other tasks run at each step. Where httpcore has renamed its lock, nothing changes but that time.
    """
    if hasattr(http, "_request_lock"):
        http._request_lock = _NO_LOCK  # noqa: SLF001


_NO_LOCK: Final = _NoLock()


def _one_of(http: Any) -> Any:
    """Return the connection itself, or the only one of a proxy's pool; None if there is none."""
    pool = getattr(http, "connections", None)
    return http if pool is None else next(iter(pool), None)
