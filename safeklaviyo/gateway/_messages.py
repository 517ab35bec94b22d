"""Requests and answers as ASGI carries them, and which of their headers are passed on.

Decided here: what a request's target may look like, and which headers belong to one connection alone (RFC 9110, 7.6.1).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping, Sequence

    Message: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]

_TARGET: Final = re.compile(rb"/(?:[!-.0-~][!-~]*)?")
"""A path and its query. A target that begins with two slashes, or with a scheme, names a host and does not match."""
_HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"}
) | {"transfer-encoding", "upgrade"}
MOST: Final = 8 * 2**20
"""Bytes of a body that is read whole. Klaviyo takes 5 MB."""


class GoneError(Exception):
    """The caller has left before its whole request came."""


class TooLargeError(Exception):
    """A body is longer than `MOST`."""


def target_of(scope: Message) -> str | None:
    """Return path and query as the caller wrote them; None if they name another host or cannot stand in a URL."""
    # The raw path, because a decoded one could not be told from another: a slash in an id is not one in the path.
    path = scope.get("raw_path") or scope["path"].encode("utf-8")
    query = scope["query_string"]
    target: bytes = path + b"?" + query if query else path
    return target.decode("ascii") if _TARGET.fullmatch(target) else None


def headers_of(scope: Message) -> list[tuple[str, str]]:
    """Return the request's headers, in their order, in lower case."""
    return [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]


def header(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    """Return the first header of a name, given in lower case."""
    return next((value for each, value in headers if each.lower() == name), None)


def passed_on(headers: Sequence[tuple[str, str]], drop: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Return the headers that go beyond one connection, without those to be dropped."""
    # RFC 9110, 7.6.1: the caller may name further headers that are for this connection alone.
    named = {
        part.strip().lower() for each, value in headers if each.lower() == "connection" for part in value.split(",")
    }
    left_out = _HOP_BY_HOP | named | set(drop)
    return [each for each in headers if each[0].lower() not in left_out]


async def whole_body(receive: Receive) -> bytes:
    """Read a body to its end, so that nothing of half a request is ever forwarded.

    Raises:
        GoneError: The caller has left in the middle.
        TooLargeError: The body is longer than `MOST`.
    """
    parts: list[bytes] = []
    size = 0
    async for part in body_parts(receive):
        size += len(part)
        if size > MOST:
            raise TooLargeError
        parts.append(part)
    return b"".join(parts)


async def body_parts(receive: Receive) -> AsyncIterator[bytes]:
    """Yield a body as it comes.

    Raises:
        GoneError: The caller has left in the middle.
    """
    more = True
    while more:
        message = await receive()
        # The only other message is `http.disconnect`.
        if message["type"] != "http.request":
            raise GoneError
        more = message.get("more_body", False)
        part = message.get("body", b"")
        if part:
            yield part


async def answer(send: Send, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
    """Send an answer with its whole body."""
    await begin(send, status, [*(each for each in headers if each[0].lower() != "content-length"),
                               ("content-length", str(len(body)))])  # fmt: skip
    await send({"type": "http.response.body", "body": body})


async def begin(send: Send, status: int, headers: Iterable[tuple[str, str]]) -> None:
    """Send the status and the headers of an answer; its body follows in parts."""
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def answer_json(send: Send, status: int, content: object, *more: tuple[str, str]) -> None:
    """Answer with JSON."""
    await answer(send, status, [("content-type", "application/json"), *more], json.dumps(content).encode())
