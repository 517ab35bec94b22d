"""A server on loopback that answers every request at once, as cheaply as Python can: what is measured is the client.

Its answers have the nineteen headers of a 202 that Klaviyo gave, so that each client reads as much as it would there.
Two differ. `RateLimit-Limit` and `RateLimit-Remaining` name the largest limits that the client understands. It adopts
them and keeps its log of sent requests, as with Klaviyo's own, but no run reaches the limit and no call ever waits.

Told to, it answers an event only after a while, as Klaviyo does. Then all calls in flight are on their way at once,
each on a connection of its own. One event loop asks a server that answers at once a dozen things at a time at most.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import sys
from functools import partial

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_HEADERS = {
    "Date": "Wed, 18 Mar 2026 10:52:17 GMT",
    "Content-Length": "0",
    "Connection": "keep-alive",
    "CF-RAY": "9de3afe1fa4ac719-WAW",
    "Allow": "GET, POST, HEAD, OPTIONS",
    "cid": "BENCHM",
    "Content-Language": "en-us",
    "Content-Security-Policy": (
        "frame-ancestors 'self' login.bigcommerce.com *.mybigcommerce.com admin.shopify.com klaviyo.file.force.com "
        "klaviyo.lightning.force.com klaviyo.my.salesforce.com; base-uri 'none'; "
        "script-src 'report-sample' 'strict-dynamic' 'unsafe-eval'; object-src 'none'; report-uri /csp/"
    ),
    "RateLimit-Limit": "9999999, 9999999;w=1, 9999999;w=60",
    "RateLimit-Remaining": "9999998",
    "RateLimit-Reset": "0",
    "Vary": "Accept, Accept-Language, Cookie, Origin",
    "x-klaviyo-api-revision": "2026-10-15",
    "x-klaviyo-req-id": "613aefdf-b1d1-4b63-b0a8-400de21b900d",
    "x-envoy-upstream-service-time": "79",
    "cf-cache-status": "DYNAMIC",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains; preload",
    "X-Content-Type-Options": "nosniff",
    "Server": "cloudflare",
}
_ACCEPTED = "HTTP/1.1 202 Accepted\r\n" + "".join(f"{name}: {value}\r\n" for name, value in _HEADERS.items()) + "\r\n"
_ANSWERS = {
    b"GET": b'HTTP/1.1 200 OK\r\ncontent-type: application/vnd.api+json\r\ncontent-length: 11\r\n\r\n{"data":[]}',
    b"POST": _ACCEPTED.encode(),
}


class Answering(asyncio.Protocol):
    """One connection.

    Args:
        delay: Seconds after which it answers.
    """

    def __init__(self, delay: float) -> None:
        self._delay = delay

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            found = _LENGTH.search(head)
            total = end + 4 + (int(found[1]) if found else 0)
            if len(self._buffer) < total:
                return
            self._buffer = self._buffer[total:]
            answer = _ANSWERS[head.split(b" ", 1)[0]]
            if self._delay:
                asyncio.get_running_loop().call_later(self._delay, self._transport.write, answer)
            else:
                self._transport.write(answer)


async def main(delay: str, *certificate: str) -> None:
    """Serve until killed; the ports are printed, the one with TLS last."""
    contexts: list[ssl.SSLContext | None] = [None]
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        contexts.append(context)
    loop, made = asyncio.get_running_loop(), partial(Answering, float(delay))
    servers = [await loop.create_server(made, "127.0.0.1", 0, backlog=1024, ssl=each) for each in contexts]
    print(*(each.sockets[0].getsockname()[1] for each in servers), flush=True)
    await asyncio.gather(*(each.serve_forever() for each in servers))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
