"""What the tests of consent share: a Klaviyo of one's own choice, whose jobs are done when a test says so."""

from __future__ import annotations

import pytest

from safeklaviyo.testing import KlaviyoSimulator


@pytest.fixture
def settings():
    """How the pretend Klaviyo differs from the usual one; a test says otherwise by its parameter of this name."""
    return {}


@pytest.fixture
def simulator(settings):
    """A pretend Klaviyo without profiles, whose time stands still unless somebody waits."""
    return KlaviyoSimulator(account="SiMuLa", **settings)
