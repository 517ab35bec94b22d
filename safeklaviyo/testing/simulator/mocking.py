"""The simulator as a router of respx, for the client's own connections, httpx's transports and httpx-aiohttp's.

respx replaces httpcore's classes, over which the client and httpx's transports send. A caller's httpx client over
httpx-aiohttp does not use httpcore and would reach the real host (F-47). So its requests are passed to the same routers
here.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import respx
from respx.mocks import AbstractRequestMocker, HTTPCoreMocker

from safeklaviyo.testing.simulator.transports import respond

if TYPE_CHECKING:
    import httpx

    from safeklaviyo.testing.simulator.simulators import KlaviyoSimulator

_ROUTE = "klaviyo simulator"


class AiohttpMocker(AbstractRequestMocker):
    """Passes the requests of httpx-aiohttp to the routers that answer for httpcore, the caller's own among them."""

    name = "httpx-aiohttp"
    targets = ["httpx_aiohttp.AiohttpTransport"]  # noqa: RUF012 - respx's own
    target_methods = ["handle_async_request"]  # noqa: RUF012 - as above

    @classmethod
    async def async_handler(cls, httpx_request: httpx.Request) -> Any:
        """Ask the routers of respx in their order."""
        routers: Any = HTTPCoreMocker
        return await routers.async_handler(httpx_request)

    @classmethod
    def to_httpx_request(cls, **kwargs: Any) -> httpx.Request:
        """Return the request, which is httpx's already."""
        request: httpx.Request = kwargs["request"]
        return request

    @classmethod
    async def from_async_httpx_response(cls, httpx_response: Any, target: Any, **kwargs: Any) -> Any:  # noqa: ARG003
        """Return the answer, which is to be httpx's."""
        return httpx_response


class Router(respx.MockRouter):
    """Passes requests for Klaviyo to a simulator. Its route is the last, because the first that matches answers."""

    def __init__(self, simulator: KlaviyoSimulator) -> None:
        super().__init__(assert_all_called=False)

        def _answer(request: httpx.Request) -> httpx.Response:
            return respond(simulator, request, request.read())

        # The schemes make this pattern differ from a user's own route for the host: respx keeps one route per pattern.
        self._klaviyo = respx.Route(host="a.klaviyo.com", scheme__in=["http", "https"]).mock(side_effect=_answer)
        super().add(self._klaviyo, name=_ROUTE)
        self.snapshot()

    def add(self, route: respx.Route, *, name: str | None = None) -> respx.Route:
        """Add a route, before the simulator's."""
        self.pop(_ROUTE, None)
        added = super().add(route, name=name)
        super().add(self._klaviyo, name=_ROUTE)
        return added

    def start(self) -> None:
        """Answer from now on."""
        super().start()
        if find_spec("httpx_aiohttp") is not None:
            AiohttpMocker.register(self)
            AiohttpMocker.start()

    def stop(self, clear: bool = True, reset: bool = True, quiet: bool = False) -> None:  # noqa: FBT001, FBT002 - respx's own
        """Answer no longer."""
        AiohttpMocker.unregister(self)
        AiohttpMocker.stop()
        super().stop(clear=clear, reset=reset, quiet=quiet)
