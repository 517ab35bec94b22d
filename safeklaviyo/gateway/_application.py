"""The gateway as an ASGI application: each call is authenticated, guarded, forwarded, and answered.

Decided here: who may call. A caller presents the private key of one of the gateway's clients. The gateway forwards that
key to Klaviyo and adds no key of its own. So no caller gets a right through the gateway that its own key lacks.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import httpx

from safeklaviyo.gateway._legacy import Legacy, is_legacy
from safeklaviyo.gateway._messages import (
    MOST,
    GoneError,
    TooLargeError,
    answer,
    begin,
    body_parts,
    header,
    headers_of,
    passed_on,
    target_of,
    whole_body,
)
from safeklaviyo.gateway._pages import TOKEN, Pages
from safeklaviyo.guard._async_core import AsyncCore
from safeklaviyo.guard._core import Core
from safeklaviyo.guard._hooks.over_httpx import reply_from
from safeklaviyo.guard._plans import Incoming
from safeklaviyo.guard._write.replies import Fault, Reply, refused

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from safeklaviyo._client.async_klaviyo import AsyncKlaviyo
    from safeklaviyo.gateway._messages import Message, Receive, Send
    from safeklaviyo.guard import Modes
    from safeklaviyo.guard._core import OnStoreFailure
    from safeklaviyo.guard._plans import Plan

_OWN: Final = "/-/"
_BEFORE: Final = 5.0
"""Seconds that the map may take before the first call."""
_TIMES: Final = httpx.Timeout(60.0, connect=10.0)
_LIMITS: Final = httpx.Limits(max_connections=256, max_keepalive_connections=64, keepalive_expiry=30.0)


class Gateway:
    """An ASGI application that guards the calls of shops in any language.

    Args:
        clients: One for each account. Calls are forwarded to the first one's host.
        mode: As for `guard.transport`.
        decision_log: As there.
        on_store_failure: As there.
        token: For the gateway's own pages and for legacy calls from elsewhere; None turns both off.
    """

    def __init__(
        self,
        *clients: AsyncKlaviyo,
        mode: Modes = "observe",
        decision_log: str | os.PathLike[str] | None = None,
        on_store_failure: OnStoreFailure = "refuse",
        token: str | None = None,
    ) -> None:
        core = Core(*clients, mode=mode, decision_log=decision_log, on_store_failure=on_store_failure)
        self.guard: AsyncCore = AsyncCore(core)
        self._pages = Pages(core, token)
        self._legacy = Legacy(core)
        self._base = httpx.URL(core.clients.all[0].wiring.target.base)
        self._http: httpx.AsyncClient | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            try:
                await self._answer(scope, receive, send)
            except GoneError:
                return  # the caller has hung up, so no one reads an answer

    async def _live(self, receive: Receive, send: Send) -> None:
        """Answer the server's messages about its start and its end, until the end."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return
            # Here and not in the first call, which would have to wait for the map.
            await self.guard.prepare(_BEFORE)
            await send({"type": "lifespan.startup.complete"})

    async def aclose(self) -> None:
        """Close the connections to Klaviyo, and write what waits for the log. The clients stay open."""
        if self._http is not None:
            await self._http.aclose()
        self.guard.close()

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        """Send each call where it belongs: the own pages, the retired endpoints, or Klaviyo."""
        # Step 1: refuse a target that could lead to another host, before any other line reads it.
        target, headers = target_of(scope), headers_of(scope)
        if target is None:
            await _refuse(send, Fault(400, "the request's target is no path of Klaviyo's"))
            return
        # Step 2: what the gateway answers itself. Both authenticate in their own way, so they stand before step 3.
        path = target.partition("?")[0]
        if path.startswith(_OWN):
            await self._pages.show(path.removeprefix(_OWN), headers, send)
        elif is_legacy(path):
            # A public key is in every page of the shop. It counts only together with one of these two.
            is_trusted = _is_from_here(scope) or self._pages.has_token(headers)
            await self._legacy.answer(scope["method"], target, await _body(receive), send, is_trusted=is_trusted)
        # Step 3: forward only with a key of a client. Otherwise the gateway would be an open proxy.
        elif self.guard.core.clients.of(header(headers, "authorization")) is None:
            self.guard.core.count("foreign_key")
            await _refuse(send, Fault(401, "the gateway has no client with this key"))
        else:
            await self._forward(scope["method"], target, headers, receive, send)

    async def _forward(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], receive: Receive, send: Send
    ) -> None:
        """Ask the guard about one call, and send what the guard says."""
        started, url = time.monotonic(), str(self._base.copy_with(raw_path=target.encode()))
        # The token is for the gateway alone; Klaviyo must not see it.
        outgoing = passed_on(headers, (TOKEN, "host"))
        # Step 1: read the whole body, but only of a call that the guard wants. Other bodies may have any length.
        body: Any = None
        if self.guard.wants(method, url):
            try:
                body = await whole_body(receive)
            except TooLargeError:
                await _refuse(send, Fault(413, f"the body is longer than {MOST} bytes"))
                return
        # Step 2: let the guard decide. A refused call is answered here, and Klaviyo never sees it.
        plan = await self.guard.begin(Incoming(method, url, outgoing, body))
        if plan.answer is not None:
            await self._reply(plan, plan.answer, started, 0.0, send)
            return
        # Step 3: send. A body that was not read in step 1 is passed on part by part.
        content = body_parts(receive) if body is None and _has_body(headers) else plan.body
        request = httpx.Request(
            plan.method, plan.url, headers=[("Host", self._base.netloc.decode()), *plan.headers], content=content
        )
        if plan.case is None:
            await self._stream(request, started, send)
        else:
            await self._carry(plan, request, started, send)

    async def _carry(self, plan: Plan, request: httpx.Request, started: float, send: Send) -> None:
        """Send a guarded call, and hand its answer to the guard before the caller gets it."""
        sent = time.monotonic()
        try:
            with self.guard.core.sending(plan):
                answered = await self._client().send(request, stream=True)
                try:
                    raw = b"".join([part async for part in answered.aiter_raw()])
                finally:
                    await answered.aclose()
        except httpx.TransportError as error:
            await self._reply(plan, _lost(error), started, time.monotonic() - sent, send)
            return
        upstream = time.monotonic() - sent
        # The guard reads the decoded body. An answer that it leaves alone goes back in the bytes that Klaviyo sent.
        shown = reply_from(answered, raw)
        final = await self.guard.end(plan, shown)
        if final.body is shown.body:
            final = Reply(final.status, answered.headers.multi_items(), raw)
        await self._reply(plan, final, started, upstream, send)

    async def _reply(self, plan: Plan, reply: Reply, started: float, upstream: float, send: Send) -> None:
        """Answer the caller, and say in headers what the guard decided and how long the gateway took."""
        overhead = max(time.monotonic() - started - upstream, 0.0)
        self._pages.note(plan.verdict, reply.status, overhead, upstream)
        own = [("Safeklaviyo-Overhead-Ms", f"{overhead * 1e3:.1f}")]
        if plan.verdict is not None:
            rule = f"; {plan.verdict.rule}" if plan.verdict.rule else ""
            own.append(("Safeklaviyo-Decision", f"{plan.mode}: {plan.verdict.action}{rule}"))
        await answer(send, reply.status, [*passed_on(reply.headers), *own], reply.body)

    async def _stream(self, request: httpx.Request, started: float, send: Send) -> None:
        """Send a call that the guard has nothing to do with, and pass each part of the answer on when it comes."""
        overhead = time.monotonic() - started
        try:
            answered = await self._client().send(request, stream=True)
        except httpx.TransportError as error:
            self._pages.note(None, 502, overhead, time.monotonic() - started)
            lost = _lost(error)
            await answer(send, lost.status, lost.headers, lost.body)
            return
        try:
            own = ("Safeklaviyo-Overhead-Ms", f"{overhead * 1e3:.1f}")
            await begin(send, answered.status_code, [*passed_on(answered.headers.multi_items()), own])
            async for part in answered.aiter_raw():
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await answered.aclose()
        self._pages.note(None, answered.status_code, overhead, time.monotonic() - started - overhead)

    def _client(self) -> httpx.AsyncClient:
        """Return the HTTP client, which is made in the event loop of the first call."""
        if self._http is None:
            # Redirects are not followed: the caller's key must not travel to a host that an answer names.
            self._http = httpx.AsyncClient(timeout=_TIMES, limits=_LIMITS, follow_redirects=False)
        return self._http


async def _refuse(send: Send, fault: Fault) -> None:
    reply = refused([fault])
    await answer(send, reply.status, reply.headers, reply.body)


async def _body(receive: Receive) -> bytes | None:
    """Return the whole body; None if it is too long."""
    try:
        return await whole_body(receive)
    except TooLargeError:
        return None


def _has_body(headers: Sequence[tuple[str, str]]) -> bool:
    return any(name in {"content-length", "transfer-encoding"} for name, _ in headers)


def _is_from_here(scope: Message) -> bool:
    """Tell whether a request comes over loopback or a unix socket."""
    host = (scope.get("client") or ("",))[0]
    return host in {"", "::1", "localhost"} or host.startswith(("127.", "::ffff:127."))


def _lost(error: httpx.TransportError) -> Reply:
    """Return the answer to a call that Klaviyo did not answer: 503 if nothing was sent, 504 if it may have been."""
    # Only these three mean that no byte of the request has left. A caller may repeat it after a 503 (P7).
    is_unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    reason = "Klaviyo cannot be reached; nothing was sent" if is_unsent else "Klaviyo's answer was lost"
    reply = refused([Fault(503, reason, None, "/data")])
    return Reply(503 if is_unsent else 504, reply.headers, reply.body)
