"""The simulator as a transport of httpx: an answer, or the error that httpx would raise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from safeklaviyo.testing.simulator.records import Answer, ConnectionLost, ConnectionRefused

if TYPE_CHECKING:
    from safeklaviyo.testing.simulator.simulators import KlaviyoSimulator


class Transport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """For ``httpx.Client`` and ``httpx.AsyncClient``. It never waits: an answer with too long a delay fails at once."""

    def __init__(self, simulator: KlaviyoSimulator) -> None:
        self._simulator = simulator

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request.

        Raises:
            httpx.TransportError: An injected failure.
        """
        return respond(self._simulator, request, request.read())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Same as `handle_request`."""
        return respond(self._simulator, request, await request.aread())


def respond(simulator: KlaviyoSimulator, request: httpx.Request, body: bytes) -> httpx.Response:
    """Answer one request, given its body.

    Raises:
        httpx.TransportError: An injected failure.
    """
    # As it was sent: decoding it and encoding it again could make it another path.
    target = request.url.raw_path.decode("ascii")
    try:
        answer = simulator.handle(request.method, target, request.headers, body)
    except ConnectionRefused as exc:
        raise httpx.ConnectError("the connection was refused", request=request) from exc
    except ConnectionLost as exc:
        if exc.answer is None:
            raise httpx.ReadError("the connection was lost", request=request) from exc
        raise httpx.RemoteProtocolError("the answer was cut off", request=request) from exc
    # The delay is compared and not waited for, because a test is not to take real time.
    patience = request.extensions.get("timeout", {}).get("read")
    if patience is not None and answer.delay > patience:
        raise httpx.ReadTimeout("the answer came too late", request=request)
    return _response(answer, request)


def _response(answer: Answer, request: httpx.Request) -> httpx.Response:
    return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body, request=request)
