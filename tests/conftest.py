"""What tests share: a pretend Klaviyo, an identity map in memory, and both clients behind one synchronous face."""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import TYPE_CHECKING, Any, Protocol, cast

import httpx
import pytest

from safeklaviyo import AsyncKlaviyo, Klaviyo
from safeklaviyo._async_shell import AsyncShell
from safeklaviyo._flow import Monotonic, Now, Sleep
from safeklaviyo._shell import Shell
from safeklaviyo.stores._twin import Twin
from safeklaviyo.stores.base import IdentityStore
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from safeklaviyo._flow import Effect

KEY = "pk_0123456789abcdef"
ACCOUNT = "SiMuLa"


class NewClient(Protocol):
    """Makes a client that talks to the simulator; each argument of `Klaviyo` may be given another value."""

    def __call__(self, **arguments: Any) -> Klaviyo:
        """Return the client; it is closed after the test."""
        ...


@pytest.fixture(autouse=True, scope="session")
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("KLAVIYO_API_KEY", "SAFEKLAVIYO_STORE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def simulator() -> KlaviyoSimulator:
    """A pretend Klaviyo without profiles, whose time stands still unless somebody waits."""
    return KlaviyoSimulator(account=ACCOUNT)


@pytest.fixture
def store(simulator: KlaviyoSimulator) -> MemoryStore:
    """An empty identity map, on the simulator's clock; the clients of a test share it."""
    return MemoryStore(clock=simulator.now)


@pytest.fixture(params=[Klaviyo, AsyncKlaviyo], ids=["sync", "async"])
def client(request: pytest.FixtureRequest, simulator: KlaviyoSimulator, store: MemoryStore) -> Iterator[NewClient]:
    """A maker of clients, of each kind in turn. They never really wait: the simulator's time passes instead."""
    with ExitStack() as opened:
        runner = opened.enter_context(asyncio.Runner())

        def blocking(**arguments: Any) -> Klaviyo:
            http = opened.enter_context(httpx.Client(transport=simulator.transport))
            made = Klaviyo(**(_usual(store) | {"http_client": http} | arguments))
            opened.callback(made.close)
            made._shell = _QuickShell(made._shell, simulator)
            return made

        def awaited(**arguments: Any) -> Klaviyo:
            http = httpx.AsyncClient(transport=simulator.transport)
            opened.callback(lambda: runner.run(http.aclose()))
            given = _usual(store) | {"http_client": http} | arguments
            if isinstance(given["store"], IdentityStore):
                given["store"] = Twin(given["store"])
            made = AsyncKlaviyo(**given)
            opened.callback(lambda: runner.run(made.aclose()))
            made._shell = _QuickAsyncShell(made._shell, simulator)
            return cast("Klaviyo", Awaited(made, runner))

        yield blocking if request.param is Klaviyo else awaited


class Awaited:
    """Something asynchronous, called as its blocking twin is: each call runs to its end in a loop."""

    def __init__(self, subject: Any, runner: asyncio.Runner) -> None:
        self._subject = subject
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._subject, {"close": "aclose"}.get(name, name))
        if iscoroutinefunction(value):
            return lambda *args, **named: self._runner.run(value(*args, **named))
        if isasyncgenfunction(value):
            return lambda *args, **named: self._pulled(value(*args, **named))
        return Awaited(value, self._runner) if name in {"profiles", "bindings", "_shell"} else value

    def __iter__(self) -> Iterator[Any]:
        return self._pulled(aiter(self._subject))

    def __repr__(self) -> str:
        return repr(self._subject)

    def _pulled(self, source: AsyncIterator[Any]) -> Iterator[Any]:
        async def pull() -> list[Any]:
            try:
                return [await anext(source)]
            except StopAsyncIteration:
                return []

        while items := self._runner.run(pull()):
            yield from items


class _QuickShell(Shell):
    """A shell for which the simulator's time passes."""

    def __init__(self, shell: Shell, simulator: KlaviyoSimulator) -> None:
        super().__init__(shell._wiring, shell.store, shell._client)
        self._simulator = simulator

    def _perform(self, sender: Any, effect: Effect[object]) -> Any:
        if isinstance(effect, Sleep | Now | Monotonic):
            return _pass_time(self._simulator, effect)
        return super()._perform(sender, effect)

    def _let_go(self, sender: Any, held: Any) -> None:
        if not _is_dead():
            super()._let_go(sender, held)


class _QuickAsyncShell(AsyncShell):
    """Same as `_QuickShell`, awaited."""

    def __init__(self, shell: AsyncShell, simulator: KlaviyoSimulator) -> None:
        super().__init__(shell._wiring, shell.store, shell._client)
        self._simulator = simulator

    async def _perform(self, sender: Any, effect: Effect[object]) -> Any:
        if isinstance(effect, Sleep | Now | Monotonic):
            return _pass_time(self._simulator, effect)
        return await super()._perform(sender, effect)

    async def _let_go(self, sender: Any, held: Any) -> None:
        if not _is_dead():
            await super()._let_go(sender, held)


def _is_dead() -> bool:
    """Tell whether what ends a call stands for the death of its process."""
    return getattr(sys.exception(), "is_death", False)


def _pass_time(simulator: KlaviyoSimulator, effect: Sleep | Now | Monotonic) -> float:
    if isinstance(effect, Sleep):
        simulator.advance(effect.seconds)
    return simulator.now()


def _usual(store: IdentityStore) -> dict[str, Any]:
    return {"api_key": KEY, "account": ACCOUNT, "store": store}


class OpenClient(Protocol):
    """Makes a blocking client for a simulator and a map of the caller's own, as in each example of a property test."""

    def __call__(self, simulator: KlaviyoSimulator, store: IdentityStore, **arguments: Any) -> Klaviyo:
        """Return the client; it opens nothing, so that nobody has to close it."""
        ...


@pytest.fixture(scope="session")
def open_client() -> OpenClient:
    """A maker of blocking clients that never really wait."""

    def opened(simulator: KlaviyoSimulator, store: IdentityStore, **arguments: Any) -> Klaviyo:
        made = Klaviyo(**(_usual(store) | {"http_client": httpx.Client(transport=simulator.transport)} | arguments))
        made._shell = _QuickShell(made._shell, simulator)
        return made

    return opened
