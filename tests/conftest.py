"""What tests share: a pretend Klaviyo, an identity map in memory, and both clients behind one synchronous face."""

from __future__ import annotations

import asyncio
import gc
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

import certifi
import httpx
import pytest

from safeklaviyo import AsyncKlaviyo, Klaviyo
from safeklaviyo.stores.base import IdentityStore
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator
from support.clients import ACCOUNT, Awaited, NewClient, OpenClient, QuickAsyncShell, QuickShell, usual
from support.stores import AsyncAdapter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_collection() -> None:
    """Collect no garbage while tests are collected: nearly all that is made then stays, and would be walked through."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Hide the collected tests from the garbage collector: each of its full runs would walk through all of them."""
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "KLAVIYO_API_KEY",
            "KLAVIYO_BASE_URL",
            "SAFEKLAVIYO_STORE",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "NO_PROXY",
        ):
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        # Every client loads the authorities that it trusts, which takes longer than most tests: one will do.
        one = tmp_path_factory.mktemp("trust") / "one.pem"
        one.write_text("".join(certifi.contents().partition("-----END CERTIFICATE-----")[:2]))
        patch.setenv("SSL_CERT_FILE", str(one))
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
    """A maker of clients, of each kind in turn, whose own transports lead to the simulator by way of respx.

    They never really wait: the simulator's time passes instead.
    """
    with ExitStack() as opened:
        runner = opened.enter_context(asyncio.Runner())
        router = opened.enter_context(simulator.mock())
        # Some clients speak to a server of the shop's, as to Klaviyo.
        router.route(host="127.0.0.1").mock(side_effect=simulator.transport.handle_request)

        def blocking(**arguments: Any) -> Klaviyo:
            made = Klaviyo(**(usual(store) | arguments))
            opened.callback(made.close)
            made._shell = QuickShell(made._shell, simulator)
            return made

        def awaited(**arguments: Any) -> Klaviyo:
            given = usual(store) | arguments
            if isinstance(given["store"], IdentityStore):
                given["store"] = AsyncAdapter(given["store"])
            made = AsyncKlaviyo(**given)
            opened.callback(lambda: runner.run(made.aclose()))
            made._shell = QuickAsyncShell(made._shell, simulator)
            return cast("Klaviyo", Awaited(made, runner))

        yield blocking if request.param is Klaviyo else awaited


@pytest.fixture
def klaviyos_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[KlaviyoSimulator]:
    """A reader's environment, with a pretend Klaviyo in place of Klaviyo's host."""
    monkeypatch.setenv("KLAVIYO_API_KEY", "pk_readme")
    monkeypatch.setenv("SAFEKLAVIYO_STORE", f"sqlite:///{tmp_path}/identity.db")
    simulator = KlaviyoSimulator()
    with simulator.mock() as router:
        router.route(host="127.0.0.1").pass_through()  # where a block serves a simulator of its own
        yield simulator


@pytest.fixture(scope="session")
def open_client() -> OpenClient:
    """A maker of blocking clients that never really wait."""

    def opened(simulator: KlaviyoSimulator, store: IdentityStore, **arguments: Any) -> Klaviyo:
        made = Klaviyo(**(usual(store) | {"http_client": httpx.Client(transport=simulator.transport)} | arguments))
        made._shell = QuickShell(made._shell, simulator)
        return made

    return opened
