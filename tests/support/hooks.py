"""The calls of a shop by each library that the guard has a hook for."""

from __future__ import annotations

import asyncio
from json import dumps, loads
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import httpx
import httpx2
import requests
from klaviyo_api import KlaviyoAPI
from openapi_client.exceptions import ApiException

from safeklaviyo import Klaviyo, guard
from support.guarding import KEY, REVISION

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

HEADERS = {"Authorization": f"Klaviyo-API-Key {KEY}", "revision": REVISION}


class Caller(Protocol):
    """One way to POST a document: returns the status, the document and the headers."""

    def __call__(self, path: str, data: Any, method: str = "POST") -> tuple[int, Any]:
        """Send a document."""
        ...


def by_httpx(library: Any) -> Callable[..., Caller]:
    """Return what opens a client of httpx or httpx2."""

    def opened(stack: ExitStack, url: str, k: Klaviyo, **options: Any) -> Caller:
        hook = guard.transport(k, library.HTTPTransport(), **options)
        http = stack.enter_context(library.Client(base_url=url, headers=HEADERS, transport=hook))

        def call(path: str, data: Any, method: str = "POST") -> tuple[int, Any]:
            answer = http.request(method, path, json={"data": data})
            return answer.status_code, answer.json() if answer.content else None

        return call

    return opened


def by_httpx_async(stack: ExitStack, url: str, k: Klaviyo, **options: Any) -> Caller:
    """Open an asynchronous client of httpx."""
    hook = guard.async_transport(k, **options)
    runner = stack.enter_context(asyncio.Runner())
    http = httpx.AsyncClient(base_url=url, headers=HEADERS, transport=hook)
    stack.callback(lambda: runner.run(http.aclose()))

    def call(path: str, data: Any, method: str = "POST") -> tuple[int, Any]:
        answer = runner.run(http.request(method, path, json={"data": data}))
        return answer.status_code, answer.json() if answer.content else None

    return call


def by_requests(stack: ExitStack, url: str, k: Klaviyo, **options: Any) -> Caller:
    """Open a session of requests."""
    session = stack.enter_context(requests.Session())
    session.mount(url, guard.adapter(k, **options))
    session.headers.update(HEADERS)

    def call(path: str, data: Any, method: str = "POST") -> tuple[int, Any]:
        answer = session.request(method, url + path, json={"data": data})
        return answer.status_code, answer.json() if answer.content else None

    return call


def by_aiohttp(stack: ExitStack, url: str, k: Klaviyo, **options: Any) -> Caller:
    """Open sessions of aiohttp."""
    hook = guard.aiohttp_middleware(k, **options)
    runner = stack.enter_context(asyncio.Runner())

    async def send(path: str, data: Any, method: str) -> tuple[int, Any]:
        async with (
            aiohttp.ClientSession(headers=HEADERS, middlewares=(hook,)) as session,
            session.request(method, url + path, json={"data": data}) as answer,
        ):
            text = await answer.text()
            return answer.status, await answer.json(content_type=None) if text else None

    def call(path: str, data: Any, method: str = "POST") -> tuple[int, Any]:
        return runner.run(send(path, data, method))

    return call


def by_sdk(_stack: ExitStack, url: str, k: Klaviyo, **options: Any) -> Caller:
    """Open Klaviyo's own SDK."""
    api = KlaviyoAPI(KEY, max_retries=0)
    api.api_client.configuration.host = url
    api.api_client.rest_client = guard.sdk(k, api.api_client.rest_client, **options)
    ways = {
        "/api/events": api.Events.create_event,
        "/api/profile-import": api.Profiles.create_or_update_profile,
        "/api/profiles": api.Profiles.create_profile,
    }

    def update(path: str, data: Any) -> Any:
        return api.Profiles.update_profile(path.rpartition("/")[2], {"data": data})

    def call(path: str, data: Any, method: str = "POST") -> tuple[int, Any]:
        try:
            answer = ways[path]({"data": data}) if method == "POST" else update(path, data)
        except ApiException as refused:
            return int(str(refused.status)), loads(str(refused.body))
        shown = None if answer is None else answer if isinstance(answer, dict) else answer.to_dict()
        return (202, None) if shown is None else (200, shown)

    return call


HOOKS = {
    "httpx": by_httpx(httpx),
    "httpx2": by_httpx(httpx2),
    "httpx-async": by_httpx_async,
    "requests": by_requests,
    "aiohttp": by_aiohttp,
    "sdk": by_sdk,
}


class Http:
    """What the demo's plain shop asks of an HTTP client, by any library."""

    def __init__(self, call: Caller) -> None:
        self._call = call

    def request(self, method: str, path: str, json: Any) -> httpx.Response:
        """Send a document, and return the answer as httpx would."""
        try:
            status, document = self._call(path, json["data"], method)
        except (requests.ConnectionError, aiohttp.ClientError) as error:
            raise httpx.ReadError(str(error)) from error
        return httpx.Response(status, content=dumps(document, default=str))
