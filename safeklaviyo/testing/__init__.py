"""Testing without Klaviyo: what a shop's own tests import. Nothing is loaded before it is used.

`KlaviyoSimulator` is a pretend Klaviyo; `Readings` says how to read what Klaviyo has not confirmed. With this package
installed, pytest has the fixture `klaviyo_simulator`.
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
    # The pytest plugin is imported in every run of every shop's tests, and this package with it.
    if name in __all__:
        return getattr(import_module("safeklaviyo.testing.simulator"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
