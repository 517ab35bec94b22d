"""The pytest plugin: the fixture `klaviyo_simulator`. It loads nothing before a test asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from safeklaviyo.testing.simulator import KlaviyoSimulator


@pytest.fixture
def klaviyo_simulator() -> KlaviyoSimulator:
    """A pretend Klaviyo without profiles, for one test."""
    from safeklaviyo.testing.simulator import KlaviyoSimulator  # noqa: PLC0415 - most runs never need it

    return KlaviyoSimulator()
