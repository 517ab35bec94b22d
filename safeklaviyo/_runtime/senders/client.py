"""Requests over a client of httpx or httpx2 that the caller handed in, by its public `build_request` and `send`.

Its hooks, auth, headers and proxies are honoured, and it is never closed here. Read `senders.own` first.

Decided here: how far our limits reach. The whole attempt has its time over an `AsyncClient`, because the event loop can
cut it off anywhere. A blocking client can only be told how long each read may take: each read of a body is counted
against the whole attempt, but a peer that sends the headers byte by byte is given up only when one byte is late.
Nor can anything here help where a signal handler raises while httpx's pool takes its lock: it stays taken.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from safeklaviyo._api.messages import Request, Response
from safeklaviyo._runtime.senders.bodies import Body
from safeklaviyo._runtime.senders.failures import explain
from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeklaviyo._runtime.senders.timeouts import Timeouts
    from safeklaviyo._runtime.server import Target
    from safeklaviyo._secrets import Secret

_LIBRARIES = ("httpx", "httpx2")
"""The libraries with clients that can be handed in. Their names and meanings are the same; their classes are not."""


class SyncClient(Protocol):
    """`httpx.Client`, or `httpx2.Client`."""

    @property
    def is_closed(self) -> bool:
        """Whether the client has been closed."""
        ...

    def build_request(self, *args: Any, **kwargs: Any) -> Any:
        """See httpx."""
        ...

    def send(self, *args: Any, **kwargs: Any) -> Any:
        """See httpx."""
        ...

    def close(self) -> None:
        """See httpx. Never called here."""
        ...


class AsyncClient(Protocol):
    """`httpx.AsyncClient`, or `httpx2.AsyncClient`."""

    @property
    def is_closed(self) -> bool:
        """Whether the client has been closed."""
        ...

    def build_request(self, *args: Any, **kwargs: Any) -> Any:
        """See httpx."""
        ...

    async def send(self, *args: Any, **kwargs: Any) -> Any:
        """See httpx."""
        ...

    async def aclose(self) -> None:
        """See httpx. Never called here."""
        ...


class Phases(Mapping[str, float]):
    """The timeouts of one attempt: what each phase may take, and at most what is left of the whole when it begins."""

    __slots__ = ("_ends_at", "_phases")

    def __init__(self, timeouts: Timeouts) -> None:
        self._phases = timeouts.phases
        self._ends_at = time.monotonic() + timeouts.limit

    def __getitem__(self, phase: str) -> float:
        # Zero would mean not to wait at all, which fails in another way than by waiting too long.
        return min(self._phases[phase], max(self._ends_at - time.monotonic(), 0.001))

    def __iter__(self) -> Iterator[str]:
        return iter(self._phases)

    def __len__(self) -> int:
        return len(self._phases)

    def check(self) -> None:
        """Make sure that there is time left.

        Raises:
            TimeoutError: There is none.
        """
        if time.monotonic() > self._ends_at:
            raise TimeoutError("the answer took too long")


def check_client(client: object, name: str) -> None:
    """Refuse what cannot be sent through.

    Args:
        name: What the class is called in httpx and httpx2.

    Raises:
        ConfigurationError: The argument is no client of that kind.
    """
    if client is not None and not any(_is_from_library(each, name) for each in type(client).__mro__):
        raise ConfigurationError(
            "http_client has to be a Client of httpx or httpx2 for Klaviyo, an AsyncClient of theirs for AsyncKlaviyo"
        )


def _is_from_library(kind: type, name: str) -> bool:
    return kind.__name__ == name and kind.__module__.partition(".")[0] in _LIBRARIES


class ClientSender:
    """Requests over a client that the caller handed in. Our headers and timeouts go before the client's own."""

    def __init__(self, target: Target, client: SyncClient) -> None:
        self._target = target
        self._client = client

    def send(self, request: Request, timeouts: Timeouts, authorization: Secret | None = None) -> Response:
        """Same as `Sender.send`."""
        _check_open(self._client)
        outer, phases = sys.exception(), Phases(timeouts)
        outgoing = _built(self._client, self._target, request, phases, authorization)
        try:
            answer = self._client.send(outgoing, follow_redirects=False, stream=True)
            try:
                return _response(answer, None if _is_read(answer) else Body(check=phases.check).read(answer.stream))
            finally:
                answer.close()
        except Exception as exc:  # noqa: BLE001 - `explain` raises again what no transport raised
            return _refused(exc, outer, outgoing)

    def close(self) -> None:
        """Leave the client open: it is the caller's."""


class AsyncClientSender:
    """Same as `ClientSender`, awaited."""

    def __init__(self, target: Target, client: AsyncClient) -> None:
        self._target = target
        self._client = client

    async def send(self, request: Request, timeouts: Timeouts, authorization: Secret | None = None) -> Response:
        """Same as `ClientSender.send`."""
        from asyncio import timeout  # noqa: PLC0415 - here asyncio is loaded; blocking programs need not load it

        _check_open(self._client)
        outer = sys.exception()
        outgoing = _built(self._client, self._target, request, Phases(timeouts), authorization)
        try:
            # A little later than httpx's own limits, which say whether anything was sent.
            async with timeout(timeouts.longest):
                answer = await self._client.send(outgoing, follow_redirects=False, stream=True)
                try:
                    body = None if _is_read(answer) else await Body().read_async(answer.stream)
                    return _response(answer, body)
                finally:
                    await answer.aclose()
        except Exception as exc:  # noqa: BLE001 - as above
            return _refused(exc, outer, outgoing)

    async def aclose(self) -> None:
        """Leave the client open: it is the caller's."""


def _built(
    client: SyncClient | AsyncClient, target: Target, request: Request, phases: Phases, authorization: Secret | None
) -> Any:
    """Return the request with what the client adds to each: headers, cookies, parameters."""
    headers, url = target.headers_of(request, authorization), target.base + request.path
    return client.build_request(
        request.method, url, headers=headers, content=request.body, extensions={"timeout": phases}
    )


def _check_open(client: SyncClient | AsyncClient) -> None:
    if client.is_closed:
        raise ConfigurationError("the http_client has been closed; give the client an open one")


def _is_read(answer: Any) -> bool:
    """Tell whether a hook or the transport has read the body already; then httpx has unpacked it."""
    return bool(answer.is_stream_consumed)


def _response(answer: Any, body: Body | None) -> Response:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers.raw}
    whole = answer.content if body is None else body.unpacked(headers.get("content-encoding"))
    return Response(answer.status_code, headers, whole)


def _refused(exc: Exception, outer: BaseException | None, outgoing: Any) -> Response:
    """Return the answer to which a hook has called `raise_for_status`, which is an answer all the same.

    Raises:
        BaseException: Something else went wrong; see `explain`.
    """
    refusal: Any = exc
    if type(exc).__name__ == "HTTPStatusError" and refusal.request is outgoing:
        answer = refusal.response
        # A body that the hook has not read is not read here either: the hook may have closed the answer.
        return Response(answer.status_code, dict(answer.headers), answer.content if _is_read(answer) else b"")
    return explain(exc, outer)
