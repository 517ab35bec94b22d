"""A client and a shop for the tests of the guard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.clients import ACCOUNT
from support.guarding import Shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeklaviyo import Klaviyo
    from safeklaviyo.testing import KlaviyoSimulator


@pytest.fixture
def k(simulator: KlaviyoSimulator) -> Iterator[Klaviyo]:
    """The client of the shop's account."""
    with simulator.client(account=ACCOUNT) as opened:
        yield opened


@pytest.fixture
def shop(simulator: KlaviyoSimulator, k: Klaviyo) -> Shop:
    """A shop whose calls are guarded, and changed where that is necessary."""
    return Shop(simulator, k, mode="enforce")


@pytest.fixture
def observed(simulator: KlaviyoSimulator, k: Klaviyo) -> Shop:
    """A shop whose calls are observed."""
    return Shop(simulator, k)
