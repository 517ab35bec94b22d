"""What both shells do around a flow: threads, forks, event loops and closing; every effect is carried out once."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import pytest

from safeklaviyo import AsyncKlaviyo, ConfigurationError, Klaviyo, NotSentError, RetryPolicy, StoreUnavailableError
from safeklaviyo.stores.memory import AsyncMemoryStore, MemoryStore
from safeklaviyo.stores.sqlite import SqliteStore
from support.flows import Effect, Monotonic, NewId, Now, Recall, Sleep, StartDeadline
from support.stores import AsyncAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from safeklaviyo.testing import KlaviyoSimulator
    from support.clients import NewClient
    from support.flows import Flow, Setup

KEY = "pk_0123456789abcdef"


@pytest.fixture
def server(simulator: KlaviyoSimulator) -> Iterator[str]:
    """The simulator behind a real socket."""
    with simulator.serve() as base:
        yield base


def asks_the_clock(setup: Setup, effect: Effect[Any]) -> Flow[Any]:
    """Return what one effect gives."""
    return (yield from effect)


class TestEffects:
    @pytest.mark.parametrize(
        ("effect", "kind"),
        [
            (Now(), float),
            (Monotonic(), float),
            (NewId(), str),
            (StartDeadline(5.0), float),
            (Sleep(0.0), type(None)),
            (Recall("", "a"), type(None)),
        ],
    )
    async def test_results(self, effect: Effect[Any], kind: type) -> None:
        """Each effect that needs no Klaviyo gives the same kind of result on both shells."""
        with Klaviyo(KEY, store=MemoryStore(), account="A") as blocking:
            assert isinstance(blocking._shell.run(asks_the_clock, effect), kind)
        async with AsyncKlaviyo(KEY, store=AsyncMemoryStore(), account="A") as awaited:
            assert isinstance(await awaited._shell.run(asks_the_clock, effect), kind)

    def test_failed_effect_is_thrown(self, client: NewClient, store: MemoryStore) -> None:
        """A flow can go on after an effect that failed."""

        def flow(setup: Setup) -> Flow[str]:
            try:
                yield from Recall("", "a")
            except StoreUnavailableError:
                return "went on"
            return "nothing failed"

        store.close()
        assert "went on" == client()._shell.run(flow)

    def test_interrupted_flow_is_closed(self, client: NewClient) -> None:
        """What is not an error of ours ends the flow at once, and the flow sees no more than its end."""
        seen: list[str] = []

        def flow(setup: Setup) -> Flow[None]:
            try:
                yield from NewId()
                yield from Broken()
            except Exception:  # noqa: BLE001 - the point is that there is none
                seen.append("an error")
            finally:
                seen.append("closed")

        with pytest.raises(AssertionError) as caught:  # keeps the frames, so that only closing can end the flow
            client()._shell.run(flow)
        assert ["closed"] == seen, caught


class Broken(Effect[None]):
    """An effect that nobody can carry out."""


class TestClosing:
    def test_twice(self, client: NewClient) -> None:
        """Closing what is closed does nothing."""
        k = client()
        k.explain(email="ann@shop.dev")
        for _ in range(2):
            k.close()
            assert k._shell.is_closed

    def test_closed_client(self, client: NewClient) -> None:
        """A closed client says so, whether or not it was used before."""
        for is_used in (True, False):
            k = client()
            if is_used:
                k.explain(email="ann@shop.dev")
            k.close()
            with pytest.raises(ConfigurationError, match="closed"):
                k.explain(email="ann@shop.dev")

    def test_own_connections_are_closed(self, server: str) -> None:
        """What was opened here is closed, also on leaving the context."""
        with Klaviyo(KEY, store="memory://", account="A", base_url=server) as k:
            k.identify(email="ann@shop.dev")
            assert k._shell._process is not None
            sender: Any = k._shell._process.sender
            (kept,) = sender._kept
        assert [] == sender._kept
        assert -1 == kept.wire._socket.fileno()

    def test_given_store_stays_open(self, client: NewClient, store: MemoryStore) -> None:
        """A store that the user handed in is the user's to close; one named by its URL is closed."""
        client().close()
        assert 0 == store.count("A")
        k = client(store="memory://")
        opened: Any = k._shell.store
        k.close()
        with pytest.raises(StoreUnavailableError):
            (opened._store if isinstance(opened, AsyncAdapter) else opened).count("A")


class TestThreads:
    def test_one_start(self, simulator: KlaviyoSimulator, server: str) -> None:
        """Sixteen threads that use a new client at once share its connections, its pacing and its map."""
        with Klaviyo(KEY, store=MemoryStore(), account="A", base_url=server) as k, ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda n: k.identify({"n": n}, external_id="A1", email="ann@shop.dev"), range(32)))
            setups = {id(k._shell._start().setup) for _ in range(4)}
        assert 1 == len(setups)
        assert 1 == len(simulator.profiles)
        assert 1 == sum(entry.endpoint == "create_profile" for entry in simulator.journal)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
class TestFork:
    @pytest.fixture(params=["memory", "sqlite"])
    def k(self, request: pytest.FixtureRequest, server: str, tmp_path: Path) -> Iterator[Klaviyo]:
        """A client that has been used."""
        store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "map.db")
        with Klaviyo(KEY, store=store, account="A", base_url=server) as k:
            k.identify(external_id="A1", email="ann@shop.dev")
            yield k
        store.close()

    def test_child_opens_its_own(self, k: Klaviyo, simulator: KlaviyoSimulator) -> None:
        """After a fork both go on, each over connections of its own, and neither makes a second profile."""

        def child() -> None:
            inherited = k._shell._process
            k.identify({"child": True}, external_id="A1", email="ann@shop.dev")
            assert k._shell._process is not inherited
            k.close()

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        k.identify({"parent": True}, external_id="A1", email="ann@shop.dev")
        process.join(20)
        assert 0 == process.exitcode
        k.identify({"after": True}, external_id="A1", email="ann@shop.dev")
        (profile,) = simulator.profiles
        assert {"child": True, "parent": True, "after": True} == profile.properties

    def test_child_that_only_closes(self, k: Klaviyo) -> None:
        """Closing in the child leaves the parent's connections alone."""

        def child() -> None:
            assert k._shell._process is not None
            inherited: Any = k._shell._process.sender
            k.close()
            assert 1 == len(inherited._kept)

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join(20)
        assert 0 == process.exitcode
        assert k.identify(email="ann@shop.dev").created is False

    @pytest.mark.parametrize("is_used", [True, False])
    def test_client_of_the_callers(self, server: str, *, is_used: bool) -> None:
        """A client of the caller's that was used before a fork is refused in the child, which shares its sockets."""

        def child() -> None:
            if is_used:
                with pytest.raises(ConfigurationError, match="fork"):
                    k.identify(external_id="A1", email="ann@shop.dev")
            else:
                assert k.identify(external_id="A1", email="ann@shop.dev").profile_id

        with (
            httpx.Client() as http,
            Klaviyo(KEY, store="memory://", account="A", base_url=server, http_client=http) as k,
        ):
            if is_used:
                k.identify(external_id="A1", email="ann@shop.dev")
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start()
            process.join(20)
            assert 0 == process.exitcode
            assert k.identify(external_id="A1", email="ann@shop.dev").profile_id

    def test_async_client_of_the_callers(self, simulator: KlaviyoSimulator) -> None:
        """The same for the asynchronous client."""

        async def use() -> None:
            await k.identify(external_id="A1", email="ann@shop.dev")

        def child() -> None:
            with pytest.raises(ConfigurationError, match="fork"):
                asyncio.run(use())

        http = httpx.AsyncClient(transport=simulator.transport)
        k = AsyncKlaviyo(KEY, store=AsyncMemoryStore(), account="A", http_client=http)
        asyncio.run(use())
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join(20)
        assert 0 == process.exitcode


class TestLoops:
    def test_one_after_another(self, simulator: KlaviyoSimulator, server: str) -> None:
        """A client serves one event loop after another, and keeps its map."""
        k = AsyncKlaviyo(KEY, store=AsyncMemoryStore(), account="A", base_url=server)

        async def use() -> None:
            await k.identify(email="ann@shop.dev")
            await k.aclose()

        asyncio.run(_only(k))
        asyncio.run(_only(k))
        asyncio.run(use())
        assert 1 == len(simulator.profiles)

    def test_closing_in_another_loop(self, server: str) -> None:
        """Closing is possible even after the loop has ended."""
        k = AsyncKlaviyo(KEY, store=AsyncMemoryStore(), account="A", base_url=server)
        asyncio.run(_only(k))
        asyncio.run(k.aclose())
        with pytest.raises(ConfigurationError, match="closed"):
            asyncio.run(_only(k))

    def test_forgotten_in_a_running_loop(self, server: str) -> None:
        """Who forgets a client, or closes it from elsewhere, still has its connections closed by their own loop."""
        k = AsyncKlaviyo(KEY, store=AsyncMemoryStore(), account="A", base_url=server)
        with asyncio.Runner() as first:
            first.run(_only(k))
            assert k._shell._home is not None
            sender: Any = k._shell._home.sender
            asyncio.run(k.aclose())
            first.run(asyncio.sleep(0))
            first.run(asyncio.sleep(0))
            assert [] == sender._places.kept


async def _only(k: AsyncKlaviyo) -> None:
    await k.identify(email="ann@shop.dev")


PROGRAM = """
import asyncio, gc, sys
from safeklaviyo import AsyncKlaviyo, Klaviyo
given = dict(store="sqlite:///" + {path!r}, account="A", base_url={base!r})
with Klaviyo({key!r}, **given) as k:
    k.identify(email="ann@shop.dev")
async def main():
    async with AsyncKlaviyo({key!r}, **given) as k:
        await asyncio.gather(*[k.identify(email="ann@shop.dev") for _ in range(3)])
asyncio.run(main())
gc.collect()
"""


def test_nothing_is_left_open(server: str, tmp_path: Path) -> None:
    """A program that closes its clients gets no warning from Python's development mode."""
    program = PROGRAM.format(path=str(tmp_path / "map.db"), base=server, key=KEY)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    # Development mode also tells of slow steps of the loop, which a busy machine has.
    said = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert (0, []) == (done.returncode, said)


@pytest.fixture
def closed() -> str:
    """A base URL of this machine at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def frames_left(call: Callable[[], None]) -> list[FrameType]:
    """Return the frames that only the collector frees after a call."""
    call()  # what is imported and made once is no matter
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        call()
        gc.collect()
        return [each for each in gc.garbage if isinstance(each, FrameType)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


class TestNoConnection:
    GIVEN: ClassVar = {"store": "memory://", "account": "A", "retry": RetryPolicy(max_attempts=2, max_delay=0.01)}

    def test_leaves_no_cycle(self, closed: str) -> None:
        """F-32: a call that found no connection twice leaves nothing to the collector, on no version of Python."""
        with Klaviyo(KEY, base_url=closed, **self.GIVEN) as k:

            def call() -> None:
                with pytest.raises(NotSentError):
                    k.identify(email="ann@shop.dev")

            assert [] == frames_left(call)

    def test_leaves_no_cycle_awaited(self, closed: str) -> None:
        """F-32: nor does one that is awaited."""
        with asyncio.Runner() as runner:
            k = AsyncKlaviyo(KEY, base_url=closed, **self.GIVEN)

            async def fails() -> None:
                with pytest.raises(NotSentError):
                    await k.identify(email="ann@shop.dev")

            try:
                assert [] == frames_left(lambda: runner.run(fails()))
            finally:
                runner.run(k.aclose())


def test_client_of_the_other_kind() -> None:
    """A client is refused at once if it cannot be called in this way."""
    with pytest.raises(ConfigurationError, match="http_client"):
        Klaviyo(KEY, store="memory://", http_client=httpx.AsyncClient())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="http_client"):
        AsyncKlaviyo(KEY, store="memory://", http_client=httpx.Client())  # type: ignore[arg-type]
