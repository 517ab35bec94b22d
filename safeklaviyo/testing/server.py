"""The simulator behind a socket: an ASGI application, and a server on loopback that runs in a thread.

Decided here: what an injected failure looks like on the wire. A lost or refused connection is closed without an answer,
a truncated answer ends early, a late answer is late in real time. `KlaviyoSimulator.handle` makes the answers.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from contextlib import contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from safeklaviyo.testing.simulator.records import Answer, ConnectionLost, ConnectionRefused

if TYPE_CHECKING:
    from safeklaviyo.testing.simulator import KlaviyoSimulator

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_LOOPBACK = "127.0.0.1"


class ASGIApp:
    """The simulator as an ASGI application.

    An injected failure of the connection is raised, as `ConnectionLost` or `ConnectionRefused`, for the server to break
    the connection. A truncated answer is begun before that.
    """

    def __init__(self, simulator: KlaviyoSimulator) -> None:
        self._simulator = simulator

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            ConnectionLost: An injected failure.
            ConnectionRefused: An injected failure.
            NotImplementedError: The request is none of HTTP.
        """
        if scope["type"] != "http":
            raise NotImplementedError("the simulator speaks HTTP only")
        body = await _body(receive)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            answer = self._simulator.handle(scope["method"], _target(scope), headers, body)
        except ConnectionLost as lost:
            if lost.answer is not None:
                await send(_start(lost.answer))
                half = lost.answer.body[: len(lost.answer.body) // 2]
                await send({"type": "http.response.body", "body": half, "more_body": True})
            raise
        if answer.delay and await _has_left(receive, answer.delay):
            return
        await send(_start(answer))
        await send({"type": "http.response.body", "body": answer.body})


@contextmanager
def serve(simulator: KlaviyoSimulator, port: int = 0) -> Generator[str]:
    """Serve a simulator on loopback in a thread, and yield the base URL.

    Args:
        port: 0 for any that is free.

    Raises:
        RuntimeError: uvicorn is not installed.
        OSError: The port is taken.
    """
    try:
        import uvicorn  # noqa: PLC0415 - optional
    except ImportError as exc:
        raise RuntimeError('serving the simulator needs uvicorn: pip install "safeklaviyo[server]"') from exc
    connections: dict[object, asyncio.Transport] = {}
    with socket.create_server((_LOOPBACK, port)) as listening:
        # Connections inherit this option. Without it, the second part of an answer waits 40 ms until the first part is
        # acknowledged. asyncio sets it only for sockets that name their protocol, which this one does not.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = uvicorn.Config(
            _Breaking(simulator, connections),
            http=_protocol(connections),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, args=([listening],), name="klaviyo-simulator", daemon=True)
        thread.start()
        try:
            yield f"http://{_LOOPBACK}:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _protocol(connections: dict[object, asyncio.Transport]) -> type[asyncio.Protocol]:
    from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: PLC0415 - optional

    class Protocol(H11Protocol):
        """Notes the transport of each client's connection, so that the connection can be broken."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            """Note the transport, under the address by which a request will name its client."""
            super().connection_made(transport)
            connections[self.client] = transport

        def connection_lost(self, exc: Exception | None) -> None:
            """Forget the transport first: a later client may have the same address."""
            connections.pop(self.client, None)
            super().connection_lost(exc)

    return Protocol


class _Breaking:
    """The application, which breaks the connection when a failure of it was injected."""

    def __init__(self, simulator: KlaviyoSimulator, connections: dict[object, asyncio.Transport]) -> None:
        self._app = ASGIApp(simulator)
        self._connections = connections

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except (ConnectionRefused, ConnectionLost):
            await self._break(scope, receive)

    async def _break(self, scope: Message, receive: Receive) -> None:
        with suppress(KeyError):  # the client may have left first
            # Not aborted, because the first half of a truncated answer still has to be sent.
            self._connections[scope["client"]].close()
        # Wait until the server has noticed that the client is gone; before that it would answer with a 500.
        await receive()


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _has_left(receive: Receive, seconds: float) -> bool:
    """Wait, and tell whether the client has closed the connection before the time was over."""
    # After the body, `receive` returns only when the client has left.
    try:
        await asyncio.wait_for(receive(), seconds)
    except TimeoutError:
        return False
    return True


def _target(scope: Message) -> str:
    # Decoding and encoding again could change the path: the raw one is what the client sent, if the server keeps it.
    path = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    query = scope["query_string"]
    return (path + b"?" + query if query else path).decode("ascii")


def _start(answer: Answer) -> Message:
    headers = {**answer.headers, "content-length": str(len(answer.body))}
    return {
        "type": "http.response.start",
        "status": answer.status,
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
    }
