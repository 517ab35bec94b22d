"""Ten thousand tasks at once, and tasks that are cancelled at any step: no place and no connection is lost."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo import AsyncKlaviyo, SafeKlaviyoError
from safeklaviyo.stores.memory import AsyncMemoryStore
from safeklaviyo.testing import KlaviyoSimulator
from support.peers import answer, listening, next_request
from support.wire import Endpoint, Repeat, Request, senders, target

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from support.wire import Response

KEY = "pk_0123456789abcdef"
ACCOUNT = "SiMuLa"
PLACES = 256
TASKS = 10_000
ENDPOINT = Endpoint("get_profiles", burst=75, steady=750)
PROMPT = 1.0
"""Seconds in which a call over loopback ends on a busy machine."""


@pytest.fixture(autouse=True)
def _unraisable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let pass that a socket is closed by its finaliser: asyncio's race of addresses drops one when it is cancelled."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    yield
    gc.collect()


def person(name: str) -> dict[str, Any]:
    """Return the identifiers of a customer."""
    return {"external_id": name, "email": f"{name}@shop.dev"}


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_ten_thousand_requests() -> None:
    """Each request gets its own answer, over no more connections than there are places, and all places are free."""
    connections: list[int] = []

    def echo(connection: socket.socket) -> None:
        connections.append(1)
        while request := next_request(connection):
            connection.sendall(answer(request.split()[1]))

    async def ask(number: int) -> bool:
        path = f"/api/profiles/{number}"
        response: Response = await sender.send(Request("GET", path, ENDPOINT, Repeat.READ), senders.timeouts(120))
        return response.body == path.encode()

    with listening(echo) as base:
        sender = senders.AsyncOwnSender(target(base))
        assert all(await asyncio.gather(*map(ask, range(TASKS))))
        assert len(connections) <= PLACES
        assert PLACES == sender._places.free._value
        await sender.aclose()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_ten_thousand_calls() -> None:
    """Far more calls than Klaviyo's limits let through all end: done, or with an error of the library's own."""
    simulator = KlaviyoSimulator(account=ACCOUNT, queue_lag=0.0)
    with simulator.serve() as base:
        async with AsyncKlaviyo(KEY, account=ACCOUNT, store=AsyncMemoryStore(), base_url=base, deadline=10.0) as k:
            await k.identify(**person("ann"))
            calls = (k.track("Ordered", **person("ann")) for _ in range(TASKS))
            ended = await asyncio.gather(*calls, return_exceptions=True)
            home: Any = k._shell._home
            assert PLACES == home.sender._places.free._value
            assert set() == home.setup.in_flight._calls
    assert set() == {type(each) for each in ended if isinstance(each, BaseException)} - set(_own_errors())
    assert any(not isinstance(each, BaseException) for each in ended)


def _own_errors() -> list[type]:
    kinds = [SafeKlaviyoError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return kinds


@pytest.mark.parametrize("is_new", [False, True], ids=["kept", "new"])
async def test_cancelled_at_every_step(is_new: bool) -> None:
    """Cancelled after any step of the loop, a call gives its place back, and the next call works at once."""
    simulator = KlaviyoSimulator(account=ACCOUNT, queue_lag=0.0)
    with simulator.serve() as base:
        async with AsyncKlaviyo(KEY, account=ACCOUNT, store=AsyncMemoryStore(), base_url=base) as k:
            await k.identify(**person("ann"))
            home: Any = k._shell._home
            kept = home.sender._places.kept
            step = 0
            while True:
                step += 1
                while is_new and kept:
                    kept.pop().wire.close()
                call = asyncio.ensure_future(k.track("Ordered", **person(f"c-{step}")))
                for _ in range(step):
                    await asyncio.sleep(0)
                if call.done():
                    break
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                assert (PLACES, set()) == (home.sender._places.free._value, home.setup.in_flight._calls)
                began = time.monotonic()
                await k.track("Ordered", **person("ann"))
                assert time.monotonic() - began < PROMPT
                assert len(kept) <= 1
    assert step > 10
