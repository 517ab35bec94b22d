"""Requests and answers over one direct connection, in place of httpcore's `HTTP11Connection` and h11.

httpcore's `HTTPConnection` stays around it, because respx answers the requests of that class in tests. It hands each
request on to the connection inside of it, which is one of these. Read `answers` and `sockets` next.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final, cast

from httpcore import AsyncNetworkStream, LocalProtocolError, NetworkStream

from safeklaviyo._runtime.senders.answers import Answer

if TYPE_CHECKING:
    import ssl

    import httpcore

    from safeklaviyo._api.messages import Response
    from safeklaviyo._runtime.senders.async_sockets import AsyncWire
    from safeklaviyo._runtime.senders.sockets import Wire

HEAD: Final = "safeklaviyo.head"
"""The extension of a request that holds its headers as they are written, checked."""
BODY: Final = "safeklaviyo.body"
"""The extension that holds its body in one piece."""
_AT_ONCE: Final = 65_536
"""Bytes of one read."""
_METHOD: Final = re.compile(rb"[A-Z]+")
_TARGET: Final = re.compile(rb"[!-~]+")


class _Exchange:
    """What both kinds of connection know."""

    def __init__(self, origin: httpcore.Origin, trust: ssl.SSLContext, kept_for: float) -> None:
        self.origin = origin
        self._trust = trust
        self._kept_for = kept_for
        self._stream: Any = None
        self._ended_at = 0.0
        self.is_reusable = False

    def is_idle(self) -> bool:
        """Tell whether no request is on its way: the last answer has ended, and nothing came after it."""
        return self.is_reusable

    def has_expired(self) -> bool:
        """Tell whether it is too old, or anything has come that was not asked for: the peer's end, another answer."""
        too_old = time.monotonic() - self._ended_at > self._kept_for
        return too_old or bool(self._stream.get_extra_info("is_readable"))

    def _ended(self, answer: Answer) -> Response:
        self.is_reusable, self._ended_at = answer.leaves_open, time.monotonic()
        return answer.response()

    def _address(self) -> tuple[str, int]:
        return self.origin.host.decode("ascii"), self.origin.port


class Exchange(_Exchange):
    """One direct connection. It is opened by its first request."""

    def __init__(self, wire: Wire, origin: httpcore.Origin, trust: ssl.SSLContext, kept_for: float) -> None:
        super().__init__(origin, trust, kept_for)
        self._wire = wire

    def handle_request(self, request: httpcore.Request) -> Response:
        """Send a request and read its whole answer.

        Raises:
            OSError: No connection was made, or it broke; or one of httpcore's errors that say so.
        """
        phases = _extensions(request)["timeout"]
        # Until the whole answer is there: a connection that is cut off in between has half an answer in it, which the
        # next request would take for its own.
        self.is_reusable = False
        if self._stream is None:
            self._stream = self._connected(phases["connect"])
        stream, answer = self._stream, Answer()
        stream.write(_written(request))
        while not answer.is_whole:
            answer.feed(stream.read(_AT_ONCE, phases["read"]))
        return self._ended(answer)

    def _connected(self, seconds: float) -> NetworkStream:
        host, port = self._address()
        stream = self._wire.connect_tcp(host, port, seconds)
        if self.origin.scheme == b"https":
            stream = stream.start_tls(self._trust, host, seconds)
        return stream


class AsyncExchange(_Exchange):
    """Same as `Exchange`, awaited."""

    def __init__(self, wire: AsyncWire, origin: httpcore.Origin, trust: ssl.SSLContext, kept_for: float) -> None:
        super().__init__(origin, trust, kept_for)
        self._wire = wire

    async def handle_async_request(self, request: httpcore.Request) -> Response:
        """Same as `Exchange.handle_request`."""
        phases = _extensions(request)["timeout"]
        self.is_reusable = False
        if self._stream is None:
            self._stream = await self._connected(phases["connect"])
        stream, answer = self._stream, Answer()
        await stream.write(_written(request))
        while not answer.is_whole:
            answer.feed(await stream.read(_AT_ONCE, phases["read"]))
        return self._ended(answer)

    async def _connected(self, seconds: float) -> AsyncNetworkStream:
        host, port = self._address()
        stream = await self._wire.connect_tcp(host, port, seconds)
        if self.origin.scheme == b"https":
            stream = await stream.start_tls(self._trust, host, seconds)
        return stream


def _written(request: httpcore.Request) -> bytes:
    """Return a request as it goes over the wire, in one piece."""
    method, target, extensions = request.method, request.url.target, _extensions(request)
    if not _METHOD.fullmatch(method) or not _TARGET.fullmatch(target):
        # A blank or a line's end in a path would be a request of its own.
        raise LocalProtocolError("the method or the path of the request has other characters than a URL's")
    return b"%b %b HTTP/1.1\r\n%b%b" % (method, target, extensions[HEAD], extensions[BODY])


def _extensions(request: httpcore.Request) -> dict[str, Any]:
    return cast("Any", request).extensions  # type: ignore[no-any-return]
