"""What the gateway is measured against: a server that passes each call on and decides nothing, as one would write it.

The same ASGI server with the same settings, and the same HTTP client.
"""

from __future__ import annotations

import sys
from typing import Any

import httpx
import uvicorn

_OF_ONE_CONNECTION = {b"connection", b"host", b"keep-alive", b"te", b"transfer-encoding", b"upgrade"}


class PassThrough:
    """An ASGI application that sends each request on, and the answer back."""

    def __init__(self, klaviyo: str) -> None:
        limits = httpx.Limits(max_connections=256, max_keepalive_connections=64)
        self._http = httpx.AsyncClient(base_url=klaviyo, timeout=60.0, limits=limits)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        content, more = b"", True
        while more:
            message = await receive()
            content, more = content + message.get("body", b""), message.get("more_body", False)
        headers = [each for each in scope["headers"] if each[0] not in _OF_ONE_CONNECTION]
        target = scope["path"] + ("?" + scope["query_string"].decode() if scope["query_string"] else "")
        answered = await self._http.request(scope["method"], target, headers=headers, content=content)
        kept = [each for each in answered.headers.raw if each[0].lower() not in _OF_ONE_CONNECTION]
        await send({"type": "http.response.start", "status": answered.status_code, "headers": kept})
        await send({"type": "http.response.body", "body": answered.content})


class Announced(uvicorn.Server):
    """Says where it listens."""

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        print(f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}", flush=True)


if __name__ == "__main__":
    config = uvicorn.Config(
        PassThrough(sys.argv[1]), port=0, log_level="warning", access_log=False, server_header=False,
        proxy_headers=False, ws="none", lifespan="off", timeout_keep_alive=120,
    )  # fmt: skip
    Announced(config).run()
