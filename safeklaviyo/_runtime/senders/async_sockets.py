"""The sockets of one awaited connection, over asyncio's own streams.

anyio's streams do the same for httpcore and cost more. The time limit of an attempt is one `asyncio.timeout` around all
of it, so nothing here counts time. Read `senders.sockets` first.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

from httpcore import AsyncNetworkBackend, AsyncNetworkStream, ConnectError, ReadError

from safeklaviyo._runtime.senders.sockets import is_readable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Iterable

    from safeklaviyo._runtime.server import Target

NEXT_ADDRESS: Final = 0.25
"""Seconds after which the next address of a host is tried beside the last one (RFC 8305)."""


_BUFFER: Final = 2**18
"""Bytes that asyncio reads ahead."""

T = TypeVar("T")


class _Reader(asyncio.StreamReader):
    """A reader that knows whether anything waits in it, and where it comes from.

    Attributes:
        transport: The socket; None before it is connected.
    """

    transport: Any = None
    _waiting = 0

    def set_transport(self, transport: asyncio.BaseTransport) -> None:
        """Take note of the socket, as soon as it is connected."""
        self.transport = transport
        super().set_transport(transport)

    def feed_data(self, data: Any) -> None:
        """Take what has come."""
        self._waiting += len(data)
        super().feed_data(data)

    async def read(self, n: int = -1) -> bytes:
        """Return what has come."""
        data = await super().read(n)
        self._waiting -= len(data)
        return data

    def has_more(self) -> bool:
        """Tell whether something has come that was not read, or the peer has closed."""
        return self._waiting > 0 or self.at_eof()


class AsyncWire(AsyncNetworkBackend):
    """Same as `Wire`, awaited."""

    def __init__(self, target: Target) -> None:
        self._host = target.host
        self._is_plain = target.is_plain
        self._limit = 0.0
        self._reader: _Reader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self.is_connecting = False

    def begin(self, seconds: float) -> None:
        """Note how long the next attempt may take."""
        self._limit = seconds

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,  # noqa: ARG002 - as above; no address is ever given
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 - as above
    ) -> AsyncNetworkStream:
        """Connect to a host. Its addresses are tried one after another, without waiting for each to fail."""
        # Other event loops, such as uvloop's, do not know the option, and try the addresses one by one.
        is_asyncio = isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)
        options: dict[str, Any] = {"happy_eyeballs_delay": NEXT_ADDRESS} if is_asyncio else {}
        self.is_connecting = True
        loop = asyncio.get_running_loop()
        self._reader = reader = _Reader(limit=_BUFFER, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        connecting = loop.create_connection(lambda: protocol, host, port, **options)
        try:
            transport, _ = await self.within(connecting, timeout)
        except (OSError, UnicodeError, IndexError) as exc:
            raise ConnectError(type(exc).__name__) from exc
        self._writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        self.is_connecting = not self._is_plain
        return AsyncStream(self, reader, self._writer)

    def close(self) -> None:
        """Close the socket, in every state of the connection above it.

        Without TLS's farewell: a silent peer would be waited for, and the end of an HTTP answer needs none.
        """
        # There is no writer yet where a signal handler has raised in between. The event loop would hold the socket.
        closing = self._reader if self._writer is None else self._writer
        if closing is not None and closing.transport is not None:
            closing.transport.abort()

    async def within(self, step: Awaitable[T], seconds: float | None) -> T:
        """Wait for a step. One that may take as long as the whole attempt needs no limit of its own."""
        if seconds is None or seconds >= self._limit:
            return await step
        async with asyncio.timeout(seconds):
            return await step

    def secured(self, name: str | None) -> None:
        """Same as `Wire.secured`."""
        if name == self._host.strip("[]"):
            self.is_connecting = False


class AsyncStream(AsyncNetworkStream):
    """One socket, plain or with TLS."""

    def __init__(self, wire: AsyncWire, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        self._wire = wire
        self._reader = reader
        self._writer = writer
        self._unsent = b""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's signature
        """Same as `Stream.read`."""
        try:
            if self._unsent:
                unsent, self._unsent = self._unsent, b""
                self._writer.write(unsent)
                await self._wire.within(self._writer.drain(), timeout)
            return await self._wire.within(self._reader.read(max_bytes), timeout)
        except OSError as exc:
            raise ReadError(type(exc).__name__) from exc

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - as above
        """Same as `Stream.write`."""
        self._unsent += buffer

    async def aclose(self) -> None:
        """Same as `AsyncWire.close`."""
        self._writer.transport.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> AsyncNetworkStream:
        """Same as `Stream.start_tls`."""
        try:
            await self._wire.within(self._writer.start_tls(ssl_context, server_hostname=server_hostname), timeout)
        except OSError as exc:
            self._writer.transport.abort()
            raise ConnectError(type(exc).__name__) from exc
        except BaseException:
            self._writer.transport.abort()
            raise
        self._wire.secured(server_hostname)
        return self

    def get_extra_info(self, info: str) -> Any:
        """Same as `Stream.get_extra_info`."""
        if info == "ssl_object":
            return self._writer.get_extra_info("ssl_object")
        if info != "is_readable":
            return None
        # What asyncio has read already is not in the socket any more. A socket that the peer has reset it has closed.
        if self._reader.has_more() or self._writer.transport.is_closing():
            return True
        return is_readable(self._writer.get_extra_info("socket"))
