"""The clients that are compared: each with connections that it keeps, and the body of each event made by the call.

Each is used as its own pages tell, and at its best: pools may be as large as the calls in flight, and idle connections
are kept while another client has its turn. Only `httpx.AsyncClient` and its like keep their own limits, of 100
connections and 20 idle ones: their time for a request grows with the connections that are open. What a connection for
each call in flight costs them is shown apart. A client without its package is left out, and the run says so.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from safeklaviyo import AsyncKlaviyo, Klaviyo
from tests.benchmarks.customers import EVENT, body_of, customers, in_turn
from tests.benchmarks.measuring import ACCOUNT, HEADERS, KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

HTTPX, ASYNC_HTTPX = "httpx.Client.post", "httpx.AsyncClient.post"
STORES = ("SQLite", "memory")
_PATH = "/api/events"
_JSON_HEADERS = {**HEADERS, "Content-Type": "application/json"}


_CUSTOMERS = customers("shop")


def _trust() -> ssl.SSLContext:
    # httpx and this library find the authority by the variable, the others are given it.
    return ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))


def _store(name: str, folder: str) -> str:
    return "memory://" if name == "memory" else f"sqlite:///{folder}/warm.db"


def _checked(status: int) -> None:
    assert status == 202, status


@contextmanager
def blocking(url: str, folder: str, threads: int) -> Iterator[dict[str, Sequence[Callable[[], object]]]]:
    """Give each client's call, once for each thread."""
    made: dict[str, Callable[[ExitStack], Sequence[Callable[[], object]]]] = {
        "http.client": lambda stack: [_http_client(url, stack) for _ in range(threads)],
        "urllib3": lambda stack: [_urllib3(url, stack, threads)] * threads,
        HTTPX: lambda stack: [_httpx(httpx, url, stack)] * threads,
        "httpx2.Client.post": lambda stack: [_httpx2(url, stack)] * threads,
        "klaviyo-api create_event": lambda _: [_official(url, threads)] * threads,
        **{f"Klaviyo.track, {name}": partial(_ours, url, _store(name, folder), threads) for name in STORES},
    }
    with ExitStack() as stack:
        clients: dict[str, Sequence[Callable[[], object]]] = {}
        for name, make in made.items():
            try:
                clients[name] = make(stack)
            except ImportError as missing:
                print(f"NOT RUN: {name}; {missing}")
        yield clients


def _http_client(url: str, stack: ExitStack) -> Callable[[], object]:
    host, following = urlsplit(url).netloc, in_turn(_CUSTOMERS)
    connection = (
        http.client.HTTPSConnection(host, context=_trust())
        if url.startswith("https:")
        else http.client.HTTPConnection(host)
    )
    stack.callback(connection.close)

    def call() -> None:
        connection.request("POST", _PATH, json.dumps(body_of(following())).encode(), _JSON_HEADERS)
        answer = connection.getresponse()
        answer.read()
        _checked(answer.status)

    return call


def _urllib3(url: str, stack: ExitStack, threads: int) -> Callable[[], object]:
    import urllib3

    following = in_turn(_CUSTOMERS)
    pool = stack.enter_context(urllib3.PoolManager(maxsize=threads, ssl_context=_trust(), headers=_JSON_HEADERS))
    address = url + _PATH
    return lambda: _checked(pool.request("POST", address, body=json.dumps(body_of(following())).encode()).status)


def _limits(package: Any) -> Any:
    return package.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=None)


def _httpx(package: Any, url: str, stack: ExitStack) -> Callable[[], object]:
    following = in_turn(_CUSTOMERS)
    client = stack.enter_context(package.Client(base_url=url, headers=HEADERS, limits=_limits(package)))
    return lambda: _checked(client.post(_PATH, json=body_of(following())).status_code)


def _httpx2(url: str, stack: ExitStack) -> Callable[[], object]:
    import httpx2

    following = in_turn(_CUSTOMERS)
    client = stack.enter_context(httpx2.Client(base_url=url, headers=HEADERS, limits=_limits(httpx2), verify=_trust()))
    return lambda: _checked(client.post(_PATH, json=body_of(following())).status_code)


def _official(url: str, threads: int) -> Callable[[], object]:
    from klaviyo_api import KlaviyoAPI
    from openapi_client.rest import RESTClientObject

    following = in_turn(_CUSTOMERS)
    official = KlaviyoAPI(KEY, max_retries=0, test_host=url)
    official.configuration.connection_pool_maxsize = threads
    official.configuration.ssl_ca_cert = os.environ.get("SSL_CERT_FILE")
    official.api_client.rest_client = RESTClientObject(official.configuration)
    events = official.Events
    return lambda: events.create_event(body_of(following()))


def _ours(url: str, store: str, threads: int, stack: ExitStack) -> Sequence[Callable[[], object]]:
    rows = customers(store[:6])
    following = in_turn(rows)
    client = stack.enter_context(Klaviyo(KEY, account=ACCOUNT, base_url=url, store=store))
    client.bindings.add(rows, trusted=True)

    def call() -> None:
        customer = following()
        client.track("Placed Order", external_id=customer.external_id, email=customer.email, properties=EVENT)

    return [call] * threads


@asynccontextmanager
async def awaited(
    url: str, folder: str, *, one_each: bool = False
) -> AsyncIterator[dict[str, Callable[[], Awaitable[object]]]]:
    """Give each client's call; if so wished, also of httpx with a connection for each call in flight."""
    made: dict[str, Callable[[AsyncExitStack], Awaitable[Callable[[], Awaitable[object]]]]] = {
        "aiohttp": partial(_aiohttp, url),
        ASYNC_HTTPX: partial(_async_httpx, url, 100, 20),
        **({"the same, limits lifted": partial(_async_httpx, url, None, None)} if one_each else {}),
        "httpx2.AsyncClient.post": partial(_async_httpx2, url),
        **{f"AsyncKlaviyo.track, {name}": partial(_async_ours, url, _store(name, folder)) for name in STORES},
    }
    async with AsyncExitStack() as stack:
        clients: dict[str, Callable[[], Awaitable[object]]] = {}
        for name, make in made.items():
            try:
                clients[name] = await make(stack)
            except ImportError as missing:
                print(f"NOT RUN: {name}; {missing}")
        yield clients


async def _aiohttp(url: str, stack: AsyncExitStack) -> Callable[[], Awaitable[object]]:
    import aiohttp

    following, address = in_turn(_CUSTOMERS), url + _PATH
    connector = aiohttp.TCPConnector(limit=0, ssl=_trust(), keepalive_timeout=300)
    session = await stack.enter_async_context(aiohttp.ClientSession(headers=HEADERS, connector=connector))

    async def call() -> None:
        async with session.post(address, json=body_of(following())) as answer:
            await answer.read()
            _checked(answer.status)

    return call


async def _async_httpx(
    url: str, connections: int | None, idle: int | None, stack: AsyncExitStack
) -> Callable[[], Awaitable[object]]:
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=idle, keepalive_expiry=None)
    return await _async_post(httpx.AsyncClient(base_url=url, headers=HEADERS, limits=limits, timeout=60), stack)


async def _async_httpx2(url: str, stack: AsyncExitStack) -> Callable[[], Awaitable[object]]:
    import httpx2

    limits = httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=None)
    client = httpx2.AsyncClient(base_url=url, headers=HEADERS, limits=limits, timeout=60, verify=_trust())
    return await _async_post(client, stack)


async def _async_post(client: Any, stack: AsyncExitStack) -> Callable[[], Awaitable[object]]:
    following = in_turn(_CUSTOMERS)
    await stack.enter_async_context(client)

    async def call() -> None:
        _checked((await client.post(_PATH, json=body_of(following()))).status_code)

    return call


async def _async_ours(url: str, store: str, stack: AsyncExitStack) -> Callable[[], Awaitable[object]]:
    rows = customers(store[:6])
    following = in_turn(rows)
    client = await stack.enter_async_context(AsyncKlaviyo(KEY, account=ACCOUNT, base_url=url, store=store))
    await client.bindings.add(rows, trusted=True)

    async def call() -> None:
        customer = following()
        await client.track("Placed Order", external_id=customer.external_id, email=customer.email, properties=EVENT)

    return call
