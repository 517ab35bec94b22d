"""Each kind of sender, called in one way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import httpx2
from httpx_aiohttp import AiohttpTransport

from support.wire import senders

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextlib import ExitStack

    from support.wire import Request, Response, Target

OWN = ("own", "own awaited")
CLIENTS = ("client", "async client", "async client over aiohttp", "httpx2 client", "httpx2 async client")


class Sending:
    """Senders of one kind, called synchronously."""

    def __init__(self, kind: str, opened: ExitStack, runner: asyncio.Runner) -> None:
        self.kind = kind
        self.runner = runner
        self._opened = opened

    @property
    def is_own(self) -> bool:
        """Whether the connections are the library's own."""
        return self.kind in OWN

    @property
    def is_awaited(self) -> bool:
        """Whether the event loop can cut a request off."""
        return self.kind not in {"own", "client", "httpx2 client"}

    def client(self, **arguments: Any) -> Any:
        """Return an httpx client of this kind."""
        arguments = {"trust_env": False} | arguments
        library = httpx2 if "httpx2" in self.kind else httpx
        if not self.is_awaited:
            return self._opened.enter_context(library.Client(**arguments))
        if self.kind == "async client over aiohttp":
            arguments["transport"] = AiohttpTransport()
        client = library.AsyncClient(**arguments)
        self._opened.callback(lambda: self.runner.run(client.aclose()))
        return client

    def sender(self, where: Target, client: Any = None) -> Any:
        """Return a sender, which is closed after the test."""
        if self.kind == "own":
            sender: Any = senders.OwnSender(where)
        elif self.kind == "own awaited":
            sender = senders.AsyncOwnSender(where)
        elif not self.is_awaited:
            sender = senders.ClientSender(where, client or self.client())
        else:
            sender = senders.AsyncClientSender(where, client or self.client())
        self._opened.callback(lambda: self.close(sender))
        return sender

    def close(self, sender: Any) -> None:
        """Close a sender."""
        if self.is_awaited:
            self.runner.run(sender.aclose())
        else:
            sender.close()

    def to(
        self, where: Target, client: Any = None, *, timeout: Any = 5.0, authorization: Any = None
    ) -> Callable[[Request], Response]:
        """Return what sends a request there, with so much time for each."""
        sender, limits = self.sender(where, client), senders.timeouts(timeout)

        def send(request: Request) -> Response:
            sent: Any = sender.send(request, limits, authorization)
            response: Response = self.runner.run(sent) if self.is_awaited else sent
            return response

        return send
