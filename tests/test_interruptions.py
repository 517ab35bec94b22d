"""What a signal handler raises or a cancellation cuts off: the caller is told at once, and nothing stays locked."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from contextlib import contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import respx
from httpx_aiohttp import AiohttpTransport

from safeklaviyo import AsyncKlaviyo, Klaviyo, NotFoundError, NotSentError, RetryPolicy
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.memory import AsyncMemoryStore, MemoryStore
from safeklaviyo.testing import KlaviyoSimulator
from support.flows import Held, Send
from support.stores import AsyncAdapter

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "pk_0123456789abcdef"
ACCOUNT = "SiMuLa"
PROMPT = 2.0
"""Seconds that are far below what the retries of a silent host take."""


class Soft(Exception):  # noqa: N818 - named as task queues name theirs
    """A task queue's soft limit."""


class Hard(BaseException):
    """A limit that is no `Exception`."""


class Late(TimeoutError):  # noqa: N818 - as above
    """A handler's own timeout, of a class that transports raise, too."""


class Broken(OSError):  # noqa: N818 - as above
    """A handler's own error of the operating system."""


KINDS = [Soft, Hard, Late, Broken, TimeoutError]


@contextmanager
def alarm(seconds: float, error: BaseException) -> Iterator[None]:
    """Raise an error from a signal handler after so many seconds."""

    def handler(signum: int, frame: object) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Host:
    """A host that accepts and never answers, until it is told to go over to a simulator."""

    def __init__(self) -> None:
        self.simulator = KlaviyoSimulator(account=ACCOUNT, queue_lag=0.0)
        self.is_silent = True


@pytest.fixture
def host() -> Iterator[tuple[Host, str]]:
    """A silent host behind a real socket, and its base URL."""
    one = Host()
    held: list[socket.socket] = []
    with one.simulator.serve() as real, socket.create_server(("127.0.0.1", 0)) as server:
        place = ("127.0.0.1", int(real.rpartition(":")[2]))

        def pump(source: socket.socket, sink: socket.socket) -> None:
            with suppress(OSError):
                while data := source.recv(65536):
                    sink.sendall(data)
            with suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    came = server.accept()[0]
                    held.append(came)
                    if not one.is_silent:
                        behind = socket.create_connection(place)
                        held.append(behind)
                        Thread(target=pump, args=[came, behind], daemon=True).start()
                        Thread(target=pump, args=[behind, came], daemon=True).start()

        thread = Thread(target=accept, daemon=True)
        thread.start()
        yield one, f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for each in held:
            each.close()


def free(store: MemoryStore) -> bool:
    """Tell whether no lease is left."""
    return () == store.leases(ACCOUNT, 10)


class TestBlocking:
    @pytest.mark.parametrize(
        ("kind", "own"), [*((kind, True) for kind in KINDS), (Soft, False), (Hard, False), (Late, False)]
    )
    def test_reaches_the_caller(self, host: tuple[Host, str], kind: type[BaseException], own: bool) -> None:
        """A handler's very exception arrives at once, the customer is free, and the client goes on to work."""
        one, base = host
        store, error = MemoryStore(), kind("the limit")
        http = httpx.Client(trust_env=False)
        given: dict[str, Any] = {} if own else {"http_client": http}
        with http, Klaviyo(KEY, account=ACCOUNT, store=store, base_url=base, **given) as k:
            k._shell._start()  # so that the alarm finds the call waiting for its answer
            begun = time.monotonic()
            with pytest.raises(kind) as caught, alarm(0.2, error):
                k.track("Ordered", external_id="ann-1", email="ann@shop.dev")
            assert time.monotonic() - begun < PROMPT
            assert error is caught.value
            assert None is error.__cause__
            assert free(store)
            assert not http.is_closed
            one.is_silent = False
            k.track("Ordered", external_id="ann-1", email="ann@shop.dev")
        one.simulator.drain()
        assert 1 == len(one.simulator.events)

    def test_an_older_one_is_not_raised_again(self) -> None:
        """What a handler raised before the call, and the caller is handling, says nothing of a failure in the call."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            base = f"http://127.0.0.1:{server.getsockname()[1]}"
        retry = RetryPolicy(max_attempts=1)
        with Klaviyo(KEY, account=ACCOUNT, store=MemoryStore(), base_url=base, retry=retry) as k:
            try:
                with alarm(0.01, Late()):
                    time.sleep(1)
            except Late:
                with pytest.raises(NotSentError):
                    k.profiles.get("P1")

    def test_the_connection_is_closed(self, host: tuple[Host, str]) -> None:
        """The connection that was cut off is closed, and no other."""
        one, base = host
        with Klaviyo(KEY, account=ACCOUNT, store=MemoryStore(), base_url=base) as k:
            sender: Any = k._shell._start().sender
            one.is_silent = False
            with pytest.raises(NotFoundError):
                k.profiles.get("P1")
            (kept,) = sender._kept
            sender._kept.clear()
            one.is_silent = True
            with pytest.raises(Soft), alarm(0.1, Soft()):
                k.profiles.get("P1")
            assert [] == sender._kept
            one.is_silent = False
            sender._kept.append(kept)
            with pytest.raises(NotFoundError):
                k.profiles.get("P1")
            assert [kept] == sender._kept

    def test_mock_that_knows_no_route(self) -> None:
        """That a test has forgotten a route is said at once, and is no failure of the connection."""
        with (
            respx.mock(assert_all_called=False) as mock,
            Klaviyo(KEY, account=ACCOUNT, store=MemoryStore()) as k,
        ):
            mock.post("https://a.klaviyo.com/api/other")
            begun = time.monotonic()
            with pytest.raises(respx.models.AllMockedAssertionError):
                k.profiles.get("P1")
            assert time.monotonic() - begun < PROMPT


@pytest.fixture(params=["own", "http_client", "http_client over aiohttp"])
def arguments(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What makes each kind of asynchronous sender."""
    if request.param == "own":
        return {}
    transport = AiohttpTransport() if "aiohttp" in request.param else None
    return {"http_client": httpx.AsyncClient(transport=transport, trust_env=False)}


class TestAwaited:
    async def test_cancelled(self, host: tuple[Host, str], arguments: dict[str, Any]) -> None:
        """A first contact that times out around is over at once, its customer is free, and the client goes on."""
        one, base = host
        store = AsyncMemoryStore()
        async with AsyncKlaviyo(KEY, account=ACCOUNT, store=store, base_url=base, **arguments) as k:
            begun = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await k.track("Ordered", external_id="ann-1", email="ann@shop.dev")
            assert time.monotonic() - begun < PROMPT
            assert () == await store.leases(ACCOUNT, 10)
            one.is_silent = False
            await k.track("Ordered", external_id="ann-1", email="ann@shop.dev")
        for client in arguments.values():
            assert not client.is_closed
            await client.aclose()
        one.simulator.drain()
        assert 1 == len(one.simulator.events)

    @pytest.mark.parametrize("kind", [Soft, Hard, Late])
    async def test_handler_raises_in_a_step(
        self, host: tuple[Host, str], arguments: dict[str, Any], kind: type[BaseException]
    ) -> None:
        """What a handler raises while the call itself runs reaches the call's caller, and the client goes on."""
        one, base = host
        one.is_silent = False
        store, error = AsyncMemoryStore(), kind("the limit")
        begun = time.monotonic()
        async with AsyncKlaviyo(KEY, account=ACCOUNT, store=store, base_url=base, **arguments) as k:
            with pytest.raises(NotFoundError):
                await k.profiles.get("P1")
            with pytest.raises(kind) as caught, in_a_step(error):
                await k.track("Ordered", external_id="ann-1", email="ann@shop.dev")
            assert error is caught.value
            assert () == await store.leases(ACCOUNT, 10)
            await k.track("Ordered", external_id="ann-1", email="ann@shop.dev")
        for client in arguments.values():
            await client.aclose()
        assert time.monotonic() - begun < PROMPT
        one.simulator.drain()
        assert 1 == len(one.simulator.events)


@contextmanager
def in_a_step(error: BaseException) -> Iterator[None]:
    """Raise an error from a signal handler in the middle of the next connection's `send`, or of its making."""

    def handler(signum: int, frame: object) -> None:
        raise error

    def look(frame: Any, event: str, arg: object) -> None:
        name = frame.f_code.co_name
        if name in {"handle_async_request", "send_handling_redirects"} and frame.f_globals["__name__"] in places:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGALRM)

    places = {"httpx_aiohttp.transport", "httpcore._async.connection", "httpx.transports.default"}
    before = signal.signal(signal.SIGALRM, handler)
    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(None)
        signal.signal(signal.SIGALRM, before)


def lease_of(store: MemoryStore) -> Any:
    """Return the one lease that there is, or None."""
    return next(iter(store.leases(ACCOUNT, 1)), None)


ANN = (Identifier(Kind.EXTERNAL_ID, "ann-1"), Identifier(Kind.EMAIL, "ann@shop.dev"))


class Steps:
    """A blocking shell's store and sender, which are cut off at one step."""

    def __init__(self, shell: Any, step: int, *, after: bool) -> None:
        self.left = step
        self.after = after
        self.has_written = False
        self._perform = shell._perform
        shell._perform = self

    def __call__(self, sender: Any, effect: Any) -> Any:
        self.left -= 1
        if isinstance(effect, Send) and effect.request.method != "GET":
            self.has_written = True
        if self.left == 0 and not self.after:
            raise Soft
        result = self._perform(sender, effect)
        if self.left == 0:
            raise Soft
        return result


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_first_contact_cut_off_at_every_step(after: bool) -> None:
    """The customer is free afterwards, unless a write has left: then lease and intent stay."""
    seen: set[tuple[bool, bool]] = set()
    for step in range(1, 100):
        simulator, store = KlaviyoSimulator(account=ACCOUNT), MemoryStore()
        with (
            httpx.Client(transport=simulator.transport) as http,
            Klaviyo(KEY, account=ACCOUNT, store=store, http_client=http) as k,
        ):
            steps = Steps(k._shell, step, after=after)
            try:
                k.identify({"plan": "gold"}, external_id="ann-1", email="ann@shop.dev")
            except Soft:
                pass
            else:
                break
        lease = lease_of(store)
        assert lease is None or steps.has_written
        seen.add((steps.has_written, lease is None))
    assert {(False, True), (True, False)} <= seen


def test_anothers_intent_expires_at_once() -> None:
    """A lease that was taken over is not released with its intent: the next call finishes that, without waiting."""
    simulator, store, now = KlaviyoSimulator(account=ACCOUNT), MemoryStore(clock=lambda: now[0]), [1000.0]
    intent = '{"verb": "contact", "external_id": "ann-1", "email": "ann@shop.dev"}'
    store.acquire(ACCOUNT, frozenset(ANN), intent=intent, ttl=1.0)
    now[0] += 2
    with (
        httpx.Client(transport=simulator.transport) as http,
        Klaviyo(KEY, account=ACCOUNT, store=store, http_client=http) as k,
    ):
        shell: Any = k._shell
        perform = shell._perform

        def stop_at_the_first_request(sender: Any, effect: Any) -> Any:
            if isinstance(effect, Send):
                raise Soft
            return perform(sender, effect)

        shell._perform = stop_at_the_first_request
        with pytest.raises(Soft):
            k.identify({"plan": "gold"}, external_id="ann-1", email="ann@shop.dev")
        now[0] += 0.01
        lease = lease_of(store)
        assert intent == lease.intent
        assert lease.remaining <= 0


def test_failing_map_does_not_hide_the_exception() -> None:
    """Where the map cannot take the lease back, the caller's own exception arrives all the same."""
    simulator, store = KlaviyoSimulator(account=ACCOUNT), MemoryStore()
    with (
        httpx.Client(transport=simulator.transport) as http,
        Klaviyo(KEY, account=ACCOUNT, store=store, http_client=http) as k,
    ):
        shell: Any = k._shell
        perform = shell._perform

        def fail(sender: Any, effect: Any) -> Any:
            if isinstance(effect, Send):
                store.close()
                raise Soft
            return perform(sender, effect)

        shell._perform = fail
        with pytest.raises(Soft):
            k.identify({"plan": "gold"}, external_id="ann-1", email="ann@shop.dev")


async def test_first_contact_cancelled_at_every_await() -> None:
    """Cancelled before or after any step, also in the middle of taking the lease, the customer is free afterwards."""
    seen: set[tuple[bool, bool]] = set()
    for step in range(1, 100):
        simulator, inner = KlaviyoSimulator(account=ACCOUNT), MemoryStore()
        async with (
            httpx.AsyncClient(transport=simulator.transport) as http,
            AsyncKlaviyo(KEY, account=ACCOUNT, store=Slow(inner), http_client=http) as k,
        ):
            shell: Any = k._shell
            perform, written = shell._perform, []

            async def watch(sender: Any, effect: Any, perform: Any = perform, written: Any = written) -> Any:
                if isinstance(effect, Send) and effect.request.method != "GET":
                    written.append(effect)
                return await perform(sender, effect)

            shell._perform = watch
            call = asyncio.ensure_future(k.identify({"plan": "gold"}, external_id="ann-1", email="ann@shop.dev"))
            for _ in range(step):
                await asyncio.sleep(0)
            if call.done():
                break
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        lease = lease_of(inner)
        assert lease is None or written
        seen.add((bool(written), lease is None))
    assert {(False, True), (True, False)} <= seen


async def test_lease_that_is_granted_after_the_cancellation() -> None:
    """Also a lease that the map grants only when the call has been cancelled is given back."""
    simulator, inner = KlaviyoSimulator(account=ACCOUNT), MemoryStore()
    store = Tardy(inner)
    async with (
        httpx.AsyncClient(transport=simulator.transport) as http,
        AsyncKlaviyo(KEY, account=ACCOUNT, store=store, http_client=http) as k,
    ):
        call = asyncio.ensure_future(k.identify({"plan": "gold"}, external_id="ann-1", email="ann@shop.dev"))
        await store.asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await store.granted.wait()
    assert None is lease_of(inner)


class Tardy(AsyncAdapter):
    """A map that grants a lease although nobody waits for it any more, as a thread or a server does."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.asked = asyncio.Event()
        self.granted = asyncio.Event()

    async def acquire(self, account: str, identifiers: Any, *, intent: str, ttl: float) -> Any:
        loop = asyncio.get_running_loop()
        lease = loop.create_future()

        def grant() -> None:
            granted = self._store.acquire(account, identifiers, intent=intent, ttl=ttl)
            self.granted.set()
            if not lease.done():
                lease.set_result(granted)

        loop.call_later(0.02, grant)
        self.asked.set()
        return await lease


class Slow(AsyncAdapter):
    """A map that is waited for before and after each operation."""

    async def perform(self, call: Any) -> Any:
        await asyncio.sleep(0)
        result = await super().perform(call)
        await asyncio.sleep(0)
        return result


def test_calls_that_take_no_lease_pay_nothing() -> None:
    """Nothing is noted before the first lease is taken."""
    simulator, store = KlaviyoSimulator(account=ACCOUNT), MemoryStore()
    made: list[object] = []
    with (
        httpx.Client(transport=simulator.transport) as http,
        Klaviyo(KEY, account=ACCOUNT, store=store, http_client=http) as k,
    ):
        k.track("Ordered", external_id="ann-1", email="ann@shop.dev")
        sys.setprofile(lambda frame, _event, _arg: made.append(1) if frame.f_code is Held.__init__.__code__ else None)
        try:
            k.track("Ordered", external_id="ann-1", email="ann@shop.dev")
            assert [] == made
            k.track("Ordered", external_id="bob-2", email="bob@shop.dev")
        finally:
            sys.setprofile(None)
    assert made
