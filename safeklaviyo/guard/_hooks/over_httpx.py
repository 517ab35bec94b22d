"""Transports of httpx and of httpx2: the guard around another transport.

The names of the two libraries mean the same, so one module serves both.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import httpx

from safeklaviyo.guard._plans import Incoming
from safeklaviyo.guard._write.replies import Reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from safeklaviyo.guard._async_core import AsyncCore
    from safeklaviyo.guard._core import Core
    from safeklaviyo.guard._plans import Plan


_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class GuardTransport(httpx.BaseTransport):
    """A transport that guards the requests that another transport sends. Closing it closes the other one.

    Attributes:
        guard: The guard, with its counters.
    """

    def __init__(self, guard: Core, inner: httpx.BaseTransport) -> None:
        self.guard = guard
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, guarded."""
        answer: httpx.Response = send_guarded(self.guard, self._inner.handle_request, request)
        return answer

    def close(self) -> None:
        """Close the other transport, and write what waits for the log."""
        self._inner.close()
        self.guard.close()


class AsyncGuardTransport(httpx.AsyncBaseTransport):
    """Same as `GuardTransport`, awaited."""

    def __init__(self, guard: AsyncCore, inner: httpx.AsyncBaseTransport) -> None:
        self.guard = guard
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, guarded."""
        answer: httpx.Response = await send_guarded_async(self.guard, self._inner.handle_async_request, request)
        return answer

    async def aclose(self) -> None:
        """Close the other transport, and write what waits for the log."""
        await self._inner.aclose()
        self.guard.close()


def send_guarded(guard: Core, send: Callable[[Any], Any], request: Any) -> Any:
    """Send a request of httpx or httpx2 by another transport, guarded."""
    # Step 1: read the body, but only of a request that the guard wants: other bodies may be streams.
    url = str(request.url)
    is_read = guard.wants(request.method, url)
    if is_read:
        request.read()
    # Step 2: let the guard decide. It may answer by itself, and a request that names no people goes as it is.
    plan = guard.begin(incoming_from(request, url, is_read=is_read))
    if plan.answer is not None:
        return response_from(request, plan.answer)
    if plan.case is None:
        return send(request)
    # Step 3: send, and read the whole answer within, so that one that breaks off is recorded as lost.
    with guard.sending(plan):
        answer = send(outgoing(request, plan))
        body = b"".join(answer.stream)
        answer.stream.close()
    # Step 4: let the guard read the answer before the caller does.
    reply = reply_from(answer, body)
    return passed_on(request, answer, body, reply, guard.end(plan, reply))


async def send_guarded_async(guard: AsyncCore, send: Callable[[Any], Awaitable[Any]], request: Any) -> Any:
    """Same as `send_guarded`, awaited."""
    url = str(request.url)
    is_read = guard.wants(request.method, url)
    if is_read:
        await request.aread()
    plan = await guard.begin(incoming_from(request, url, is_read=is_read))
    if plan.answer is not None:
        return response_from(request, plan.answer)
    if plan.case is None:
        return await send(request)
    with guard.core.sending(plan):
        answer = await send(outgoing(request, plan))
        body = b"".join([part async for part in answer.stream])
        await answer.stream.aclose()
    reply = reply_from(answer, body)
    return passed_on(request, answer, body, reply, await guard.end(plan, reply))


def library_of(thing: object) -> Any:
    """Return the library that a request comes from: httpx, or httpx2."""
    return sys.modules[type(thing).__module__.partition(".")[0]]


def incoming_from(request: Any, url: str, *, is_read: bool) -> Incoming:
    """Return a request as the guard takes it."""
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
    return Incoming(request.method, url, headers, request.content if is_read else None)


def outgoing(request: Any, plan: Plan) -> Any:
    """Return the request that is sent: the caller's own, if nothing was changed."""
    if not plan.is_changed:
        return request
    library = library_of(request)
    url = request.url if plan.method == request.method else plan.url
    headers = [each for each in request.headers.raw if each[0].lower() not in _FRAMING]
    headers.append((b"Content-Length", str(len(plan.body or b"")).encode()))
    stream = library.ByteStream(plan.body)
    return library.Request(plan.method, url, headers=headers, stream=stream, extensions=request.extensions)


def reply_from(answer: Any, body: bytes) -> Reply:
    """Return an answer as the guard reads it: unpacked."""
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers.raw]
    if "content-encoding" in answer.headers:
        # The library itself unpacks the body, as it will for the caller.
        try:
            body = library_of(answer).Response(200, headers=answer.headers, content=body).content
        except Exception:  # noqa: BLE001 - an answer that cannot be unpacked shows nothing
            body = b""
    return Reply(answer.status_code, headers, body)


def passed_on(request: Any, answer: Any, body: bytes, reply: Reply, final: Reply) -> Any:
    """Return the answer that the caller gets: Klaviyo's own bytes, if nothing was changed."""
    if final.body is not reply.body:
        return response_from(request, final)
    # The guard has read the stream behind the response's back. With a stream of the same bytes the caller can read it.
    answer.stream = library_of(request).ByteStream(body)
    answer.status_code = final.status
    return answer


def response_from(request: Any, reply: Reply) -> Any:
    """Return the guard's own reply as the library's response."""
    library = library_of(request)
    return library.Response(reply.status, headers=list(reply.headers), stream=library.ByteStream(reply.body))
