"""What the tests of identity changes share: the scenes of the operations' tests, and a Klaviyo of one's own choice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from safeklaviyo.testing import KlaviyoSimulator

sys.path.append(str(Path(__file__).parents[1] / "operations"))


@pytest.fixture
def settings():
    """How the pretend Klaviyo differs from the usual one; a test says otherwise by its parameter of this name."""
    return {}


@pytest.fixture
def simulator(settings):
    """A pretend Klaviyo without profiles, whose time stands still unless somebody waits."""
    return KlaviyoSimulator(account="SiMuLa", **settings)
