"""Testing without Klaviyo: what a shop's own tests import. Nothing is loaded before it is used.

`KlaviyoSimulator` is a pretend Klaviyo. `Readings` has one answer for each question that Klaviyo's documentation leaves
open. With this package installed, pytest has the fixture `klaviyo_simulator`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safeklaviyo.testing.simulator import (
        CLOUDFLARE_PAGE,
        Answer,
        Asked,
        ConnectionLost,
        ConnectionRefused,
        Entry,
        Event,
        KlaviyoSimulator,
        Profile,
        Readings,
    )

__all__ = [
    "CLOUDFLARE_PAGE",
    "Answer",
    "Asked",
    "ConnectionLost",
    "ConnectionRefused",
    "Entry",
    "Event",
    "KlaviyoSimulator",
    "Profile",
    "Readings",
]


def __getattr__(name: str) -> Any:
    # Loaded on demand: pytest imports the plugin, and with it this package, in every test run of every shop.
    if name in __all__:
        return getattr(import_module("safeklaviyo.testing.simulator"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
