"""A client and a shop for the tests of the guard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from safeklaviyo import Klaviyo
from safeklaviyo.testing import KlaviyoSimulator
from support.clients import ACCOUNT, OpenClient
from support.guarding import KEY, Shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeklaviyo.stores.memory import MemoryStore


@pytest.fixture
def k(simulator: KlaviyoSimulator, store: MemoryStore, open_client: OpenClient) -> Iterator[Klaviyo]:
    """The client of the shop's account, which never really waits."""
    with open_client(simulator, store, api_key=KEY) as opened:
        yield opened


@pytest.fixture
def shop(simulator: KlaviyoSimulator, k: Klaviyo) -> Shop:
    """A shop whose calls are guarded, and changed where that is necessary."""
    return Shop(simulator, k, mode="enforce")


@pytest.fixture
def observed(simulator: KlaviyoSimulator, k: Klaviyo) -> Shop:
    """A shop whose calls are observed."""
    return Shop(simulator, k)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[KlaviyoSimulator, str]]:
    """One simulator on loopback for the whole module."""
    simulator = KlaviyoSimulator(account=ACCOUNT, queue_lag=0.0)
    with simulator.serve() as url:
        yield simulator, url


@pytest.fixture
def scene(served: tuple[KlaviyoSimulator, str]) -> Iterator[tuple[KlaviyoSimulator, str, Klaviyo]]:
    """The simulator, its address, and a client with a map of its own."""
    simulator, url = served
    vars(simulator).update(vars(type(simulator)(account=ACCOUNT, queue_lag=0.0)))
    with Klaviyo(KEY, store="memory://", account=ACCOUNT, base_url=url) as k:
        yield simulator, url, k
