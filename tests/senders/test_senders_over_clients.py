"""What a client that the caller hands in adds, and what stays ours."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest
from httpx_aiohttp import AiohttpTransport

from safeklaviyo.errors import ConfigurationError, NoResponseError, NotSentError
from safeklaviyo.identity import Kind
from support.peers import answer, answering, listening, next_request, silent
from support.wire import Endpoint, Repeat, Request, current, senders, target

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from support.sending import Sending

KEY = "pk_0123456789abcdef"
ENDPOINT = Endpoint("get_profiles", burst=75, steady=750)
SEARCH = current.search_profiles(Kind.EMAIL, "ann+1@shop.dev")
POST = Request("POST", "/api/events", ENDPOINT, Repeat.KEYED, b'{"data":{}}')


def made(sending: Sending, hooks: dict[str, Callable[[Any], None]] | None = None, **arguments: Any) -> Any:
    """Return a client of the kind that is sent through, with hooks."""
    if not sending.is_awaited:
        return sending.client(event_hooks={name: [hook] for name, hook in (hooks or {}).items()}, **arguments)

    def awaited(hook: Callable[[Any], None]) -> Any:
        async def call(subject: Any) -> None:
            if (
                hasattr(subject, "aread")
                and isinstance(subject, httpx.Response | httpx2.Response)
                and "read" in hook.__name__
            ):
                await subject.aread()
            hook(subject)

        return call

    return sending.client(event_hooks={name: [awaited(hook)] for name, hook in (hooks or {}).items()}, **arguments)


class TestUsersClient:
    """What a client that the user hands in adds, and what stays ours."""

    def test_additions(self, over_client: Sending) -> None:
        """Its headers, cookies and hooks act; the key, the revision and the host are ours."""
        asked: list[bytes] = []
        seen: list[str] = []
        client = made(
            over_client,
            {"request": lambda request: seen.append(request.method)},
            headers={"X-Shop": "7", "Authorization": "Bearer theirs"},
            cookies={"team": "blue"},
            base_url="https://elsewhere.invalid/v2",
            follow_redirects=True,
        )
        with listening(answering(answer(), asked)) as base:
            over_client.to(target(base), client)(SEARCH)
        assert ["GET"] == seen
        head = asked[0].lower()
        for part in (b"x-shop: 7", b"cookie: team=blue", f"authorization: klaviyo-api-key {KEY}".encode()):
            assert part in head
        assert b"theirs" not in head

    def test_auth(self, over_client: Sending) -> None:
        """Its auth acts after our headers, as a gateway's would have to."""
        asked: list[bytes] = []
        client = made(over_client, auth=("user", "word"))
        with listening(answering(answer(), asked)) as base:
            over_client.to(target(base), client)(SEARCH)
        assert b"authorization: basic" in asked[0].lower()

    def test_stays_open(self, over_client: Sending) -> None:
        """It is the user's to close."""
        client = made(over_client)
        kind: Any = senders.ClientSender if not over_client.is_awaited else senders.AsyncClientSender
        sender = kind(target("https://a.klaviyo.com"), client)
        if not over_client.is_awaited:
            sender.close()
        else:
            over_client.runner.run(sender.aclose())
        assert not client.is_closed
        over_client.to(target("https://a.klaviyo.com"), client)

    def test_closed(self, over_client: Sending) -> None:
        """A client that its owner has closed is a mistake in the set-up, not a failure on the way."""
        client = made(over_client)
        send = over_client.to(target("https://a.klaviyo.com"), client)
        if not over_client.is_awaited:
            client.close()
        else:
            over_client.runner.run(client.aclose())
        with pytest.raises(ConfigurationError, match="has been closed"):
            send(SEARCH)

    def test_own_timeout_holds(self, over_client: Sending) -> None:
        """The client's patience is not ours: leases are reckoned from the timeout given to us."""
        client = made(over_client, timeout=None)
        with listening(silent) as base, pytest.raises(NoResponseError):
            over_client.to(target(base), client, timeout=0.2)(SEARCH)

    def test_foreign_error_passes(self, over_client: Sending) -> None:
        """What a hook raises is its author's to see."""

        def hook(_: Any) -> None:
            raise LookupError("theirs")

        client = made(over_client, {"response": hook})
        with listening(answering(answer())) as base, pytest.raises(LookupError, match="theirs"):
            over_client.to(target(base), client)(SEARCH)

    @pytest.mark.parametrize("has_read", [True, False])
    def test_raise_for_status(self, over_client: Sending, has_read: bool) -> None:
        """A hook that calls `raise_for_status` does not hide what Klaviyo answered."""

        def hook(response: httpx.Response) -> None:
            if has_read and not over_client.is_awaited:
                response.read()
            response.raise_for_status()

        def read_hook(response: httpx.Response) -> None:
            response.raise_for_status()

        client = made(over_client, {"response": read_hook if has_read and over_client.is_awaited else hook})
        with listening(answering(answer(b'{"errors":[]}', "409 Conflict"))) as base:
            response = over_client.to(target(base), client)(POST)
        assert (409, b'{"errors":[]}' if has_read else b"") == (response.status, response.body)

    def test_refused_token(self, over_client: Sending) -> None:
        """The refusal of another request, such as an auth's for a token, is not taken for Klaviyo's answer."""

        def hook(_: Any) -> None:
            request = httpx.Request("GET", "https://token.invalid")
            raise httpx.HTTPStatusError("", request=request, response=httpx.Response(409, request=request))

        client = made(over_client, {"request": hook})
        with pytest.raises(NoResponseError):
            over_client.to(target("https://a.klaviyo.com"), client)(POST)

    def test_wrong_kind(self) -> None:
        """A client that cannot be called in this way is refused; none at all is fine."""
        with pytest.raises(ConfigurationError, match="http_client"):
            senders.check_client(object(), "Client")
        senders.check_client(None, "Client")


class TestFullPool:
    def test_full_pool(self) -> None:
        """A request that got no connection in time was not sent, though another one still waits for its answer."""
        reached = Event()

        def serve(connection: socket.socket) -> None:
            next_request(connection)
            reached.set()
            connection.recv(1)

        with (
            listening(serve) as base,
            httpx.Client(limits=httpx.Limits(max_connections=1)) as client,
            ThreadPoolExecutor(1) as pool,
        ):
            sender = senders.ClientSender(target(base), client)
            first = pool.submit(sender.send, POST, senders.timeouts(0.5))
            assert reached.wait(5)
            with pytest.raises(NotSentError):
                sender.send(POST, senders.timeouts(0.1))
            with pytest.raises(NoResponseError):
                first.result()

    async def test_full_aiohttp_pool(self) -> None:
        """Same as `test_full_pool`, with aiohttp's connections."""
        with listening(silent) as base:
            transport = AiohttpTransport(limits=httpx.Limits(max_connections=1))
            async with httpx.AsyncClient(transport=transport) as client:
                sender = senders.AsyncClientSender(target(base), client)
                # The second gives up first: else it could still get the connection that the first one leaves.
                calls = [sender.send(POST, senders.timeouts(seconds)) for seconds in (0.5, 0.2)]
                first, second = await asyncio.gather(*calls, return_exceptions=True)
        assert (NoResponseError, NotSentError) == (type(first), type(second))
