"""Django: a client from settings. Its outbox writes over Django's own connection, in Django's own transaction.

Add ``"safeklaviyo.django"`` to ``INSTALLED_APPS``, one dict ``SAFEKLAVIYO`` to the settings, run ``migrate``, and run
``manage.py safeklaviyo_worker`` beside the web processes. `_settings` says what the dict may have.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safeklaviyo.django._clients import aget_klaviyo, get_klaviyo

__all__ = ["aget_klaviyo", "get_klaviyo"]


def __getattr__(name: str) -> Any:
    # Later, because Django imports this package before its settings can be used.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("safeklaviyo.django._clients"), name)
