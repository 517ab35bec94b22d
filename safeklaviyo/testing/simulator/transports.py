"""The simulator as a transport of httpx, and as a route of respx: an answer, or the error that httpx would raise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from safeklaviyo.testing.simulator.records import Answer, ConnectionLost, ConnectionRefused

if TYPE_CHECKING:
    import respx

    from safeklaviyo.testing.simulator.simulators import KlaviyoSimulator


_ROUTE = "klaviyo simulator"


class Transport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """For ``httpx.Client`` and ``httpx.AsyncClient``. Nothing waits: an answer that would come too late fails."""

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
    """Answer one request whose body has been read.

    Raises:
        httpx.TransportError: An injected failure.
    """
    target = request.url.raw_path.decode("ascii")
    try:
        answer = simulator.handle(request.method, target, request.headers, body)
    except ConnectionRefused as exc:
        raise httpx.ConnectError("the connection was refused", request=request) from exc
    except ConnectionLost as exc:
        if exc.answer is None:
            raise httpx.ReadError("the connection was lost", request=request) from exc
        raise httpx.RemoteProtocolError("the answer was cut off", request=request) from exc
    patience = request.extensions.get("timeout", {}).get("read")
    if patience is not None and answer.delay > patience:
        raise httpx.ReadTimeout("the answer came too late", request=request)
    return _response(answer, request)


def mock_router(simulator: KlaviyoSimulator) -> respx.MockRouter:
    """Return a router that leads what goes to Klaviyo to the simulator, after the user's own routes.

    Raises:
        RuntimeError: respx is not installed.
    """
    try:
        import respx  # noqa: PLC0415 - optional
    except ImportError as exc:
        raise RuntimeError("the simulator's mock needs respx: pip install respx") from exc

    class Router(respx.MockRouter):
        """Keeps the simulator's route behind all others, because the first that fits answers."""

        def add(self, route: respx.Route, *, name: str | None = None) -> respx.Route:
            self.pop(_ROUTE, None)
            added = super().add(route, name=name)
            super().add(klaviyo, name=_ROUTE)
            return added

    def answer(request: httpx.Request) -> httpx.Response:
        return respond(simulator, request, request.read())

    # Of two routes with one pattern respx keeps one: the schemes tell this one from a user's for the same host.
    klaviyo = respx.Route(host="a.klaviyo.com", scheme__in=["http", "https"]).mock(side_effect=answer)
    router = Router(assert_all_called=False)
    super(Router, router).add(klaviyo, name=_ROUTE)
    router.snapshot()
    return router


def _response(answer: Answer, request: httpx.Request) -> httpx.Response:
    return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body, request=request)
