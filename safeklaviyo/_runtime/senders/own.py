"""Requests over transports of our own, below `httpx.Client`: which there are, and when new ones are made.

Decided here: that a request which a signal handler cut off takes its transport with it. The handler may have raised
between any two steps of the transport, so that a connection is lost from its pool, or still has half an answer to give.
Read `senders.http` first: what all senders share is there.
"""

from __future__ import annotations

import sys
from functools import partial
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import httpx

from safeklaviyo._runtime.senders.http import (
    AsyncClientSender,
    ClientSender,
    Phases,
    explain,
    outgoing,
    proxy_for,
    read,
    read_async,
    response,
)
from safeklaviyo.errors import APIConnectionError

if TYPE_CHECKING:
    import ssl

    from aiohttp import ClientSession

    from safeklaviyo._api.messages import Request, Response
    from safeklaviyo._runtime.server import Target

SHARDS: Final = 16
CONNECTIONS: Final = 256
KEPT_FOR: Final = 30.0


class _Transport(httpx.HTTPTransport):
    """A transport of our own.

    Attributes:
        busy: A token for each request that is on it.
    """

    def __init__(self, trust: ssl.SSLContext, proxy: httpx.Proxy | None) -> None:
        super().__init__(verify=trust, limits=_pool(CONNECTIONS), proxy=proxy)
        self.busy: set[object] = set()
        # httpcore takes its lock in Python code; a signal handler that raises there would leave it taken for ever.
        cast("Any", self._pool)._optional_thread_lock = Lock()  # noqa: SLF001 - it takes none as an argument


class TransportSender:
    """Requests over a transport of our own. Safe between threads.

    A request that a signal handler cut off takes its transport with it: a connection may have been lost there.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._new = partial(_Transport, httpx.create_ssl_context(), proxy_for(target))
        self._transport = self._new()
        self._left: list[_Transport] = []

    def send(self, request: Request) -> Response:
        """Send one request, once. What a signal handler raises is not caught.

        Raises:
            NotSentError: No connection was made.
            NoResponseError: It left, and no whole answer came back.
        """
        if self._left:
            self._close_left()
        transport, turn = self._transport, object()
        try:
            transport.busy.add(turn)
            return self._exchange(transport, request)
        except APIConnectionError:
            raise
        except BaseException:
            if transport is self._transport:
                self._transport = self._new()
                self._left.append(transport)
            raise
        finally:
            transport.busy.discard(turn)

    def _exchange(self, transport: _Transport, request: Request) -> Response:
        outer, phases = sys.exception(), Phases(self._target)
        try:
            answer = transport.handle_request(outgoing(self._target, request, phases))
            try:
                return response(answer, read(answer, phases))
            finally:
                answer.close()
        except Exception as exc:  # noqa: BLE001 - all but what transports raise is raised again
            explain(exc, outer)

    def _close_left(self) -> None:
        """Close the transports that were left, except those on which other threads still wait for an answer."""
        for transport in [each for each in self._left if not each.busy]:
            self._left.remove(transport)
            transport.close()

    def close(self) -> None:
        """Close the connections."""
        for transport in (self._transport, *self._left):
            transport.close()


class _Shards:
    """Transports of our own, and how many requests are on each."""

    def __init__(self, trust: ssl.SSLContext, proxy: httpx.Proxy | None) -> None:
        self.transports = _async_transports(trust, proxy)
        self.busy = [0] * len(self.transports)

    def enter(self) -> int:
        """Count one more request on the first of the least busy transports, and return which that is."""
        turn = self.busy.index(min(self.busy))
        self.busy[turn] += 1
        return turn

    async def aclose(self) -> None:
        """Close the connections."""
        for transport in self.transports:
            await transport.aclose()


class AsyncTransportSender:
    """Requests over transports of our own: aiohttp's, if it is there; otherwise several small pools.

    httpcore's pool looks through all that it has at each step, so one pool with many requests in flight costs their
    square; several small ones do not (F-31). A request goes to the first of the least busy, and one by one to the same.
    What a signal handler cut off is left, as `TransportSender` says; a cancelled request cleans up by itself.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._new = partial(_Shards, httpx.create_ssl_context(), proxy_for(target))
        self._shards = self._new()
        self._left: list[_Shards] = []

    async def send(self, request: Request) -> Response:
        """Same as `TransportSender.send`."""
        from asyncio import CancelledError  # noqa: PLC0415 - here asyncio is loaded; blocking programs need not load it

        if self._left:
            await self._close_left()
        shards, turn = self._shards, None
        try:
            turn = shards.enter()
            return await self._exchange(shards.transports[turn], request)
        except (APIConnectionError, CancelledError, GeneratorExit):
            raise
        except BaseException:
            if shards is self._shards:
                self._shards = self._new()
                self._left.append(shards)
            raise
        finally:
            if turn is not None:
                shards.busy[turn] -= 1

    async def _exchange(self, transport: httpx.AsyncBaseTransport, request: Request) -> Response:
        from asyncio import timeout  # noqa: PLC0415 - as above

        outer, phases = sys.exception(), Phases(self._target)
        try:
            async with timeout(self._target.seconds):
                answer = await transport.handle_async_request(outgoing(self._target, request, phases))
                try:
                    return response(answer, await read_async(answer, phases))
                finally:
                    await answer.aclose()
        except Exception as exc:  # noqa: BLE001 - all but what transports raise is raised again
            explain(exc, outer)

    async def _close_left(self) -> None:
        for shards in [each for each in self._left if not any(each.busy)]:
            self._left.remove(shards)
            await shards.aclose()

    async def aclose(self) -> None:
        """Same as `TransportSender.close`."""
        for shards in (self._shards, *self._left):
            await shards.aclose()


Sender: TypeAlias = TransportSender | ClientSender
AsyncSender: TypeAlias = AsyncTransportSender | AsyncClientSender


def _pool(size: int) -> httpx.Limits:
    return httpx.Limits(max_connections=size, max_keepalive_connections=size, keepalive_expiry=KEPT_FOR)


def _async_transports(trust: ssl.SSLContext, proxy: httpx.Proxy | None) -> list[httpx.AsyncBaseTransport]:
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
