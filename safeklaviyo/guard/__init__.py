"""The calls that a shop already makes, made safe where they stand: identifiers are put right, everything else stays.

A hook of this module stands between the shop's own HTTP code and Klaviyo. Its mode says what the hook does:

- *observe*, the mode of the first run: the hook changes nothing, and writes into a log what *enforce* would have done;
- *enforce*: the hook names each customer by their profile, makes first contact with a customer who has no profile yet,
  and refuses a call that would give one customer's profile to another.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safeklaviyo.guard._decide.verdicts import Mode, Modes, Verdict
    from safeklaviyo.guard._hooks.installing import Guard, install
    from safeklaviyo.guard._hooks.making import adapter, aiohttp_middleware, async_transport, sdk, transport

__all__ = [
    "Guard",
    "Mode",
    "Modes",
    "Verdict",
    "adapter",
    "aiohttp_middleware",
    "async_transport",
    "install",
    "sdk",
    "transport",
]

_HOMES = {
    name: home
    for home, names in {
        "_decide.verdicts": ("Mode", "Modes", "Verdict"),
        "_hooks.installing": ("Guard", "install"),
        "_hooks.making": ("adapter", "aiohttp_middleware", "async_transport", "sdk", "transport"),
    }.items()
    for name in names
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
