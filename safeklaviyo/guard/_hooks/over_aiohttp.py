"""The client middleware for aiohttp (3.12.4 and later)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from safeklaviyo.guard._plans import Incoming
from safeklaviyo.guard._write.replies import Reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import ClientRequest, ClientResponse

    from safeklaviyo.guard._async_core import AsyncCore
    from safeklaviyo.guard._plans import Plan


class GuardMiddleware:
    """A middleware for ``aiohttp.ClientSession(middlewares=(…,))`` that guards requests. It has to be the last one.

    Attributes:
        guard: The guard, with its counters.
    """

    def __init__(self, guard: AsyncCore) -> None:
        self.guard = guard

    async def __call__(
        self, request: ClientRequest, handler: Callable[[ClientRequest], Awaitable[ClientResponse]]
    ) -> ClientResponse:
        """Send a request, guarded."""
        guard, url = self.guard, str(request.url)
        body = await _body(request) if guard.wants(request.method, url) else None
        plan = await guard.begin(Incoming(request.method, url, list(request.headers.items()), body))
        if plan.answer is not None:
            return _response(request, plan.answer)
        if plan.case is None:
            return await handler(request)
        # The answer is read within, so that a connection that breaks in its middle is recorded as a lost answer.
        with guard.core.sending(plan):
            await _change(request, plan)
            answer = await handler(request)
            content = await answer.read()
        reply = Reply(answer.status, list(answer.headers.items()), content)
        final = await guard.end(plan, reply)
        return answer if final is reply else _changed(answer, final)


async def _body(request: ClientRequest) -> bytes:
    body: Any = request.body
    if isinstance(body, bytes):
        return body
    whole: bytes = await body.as_bytes()
    # A file or a generator can be read only once, so the request gets the bytes in its place.
    await request.update_body(whole)
    return whole


async def _change(request: ClientRequest, plan: Plan) -> None:
    if plan.is_changed:
        request.method, request.url = plan.method, URL(plan.url)
        await request.update_body(plan.body)


def _changed(answer: ClientResponse, final: Reply) -> ClientResponse:
    shown: Any = answer
    shown.status, shown._body = final.status, final.body  # noqa: SLF001 - aiohttp has no other way to change an answer
    return answer


def _response(request: ClientRequest, reply: Reply) -> ClientResponse:
    """Return the guard's own reply as a response of aiohttp."""
    # aiohttp makes responses only from what a socket says, so the fields are set without its constructor.
    made: Any = object.__new__(request.response_class)
    content = StreamReader(BaseProtocol(request.loop), 2**16, loop=request.loop)
    content.feed_data(reply.body)
    content.feed_eof()
    headers = CIMultiDict(reply.headers)
    fields: dict[str, Any] = {
        "method": request.method, "status": reply.status, "reason": "", "content": content, "_body": reply.body,
        "_url": request.url, "_real_url": request.url, "_headers": CIMultiDictProxy(headers), "_cache": {},
        "_raw_headers": tuple((name.encode(), value.encode()) for name, value in reply.headers), "_traces": [],
        "_loop": request.loop, "_session": request.session, "_request_info": request.request_info,
    }  # fmt: skip
    for name, value in fields.items():
        setattr(made, name, value)
    response: ClientResponse = made
    return response
