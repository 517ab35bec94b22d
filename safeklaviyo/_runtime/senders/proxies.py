"""Which proxy a request takes: the one that the environment names for Klaviyo's host, if any."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Final
from urllib.request import getproxies, proxy_bypass

import httpx

from safeklaviyo._runtime.server import is_loopback
from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from safeklaviyo._runtime.server import Target

_BAD_PROXY: Final = (
    "the proxy that the environment names cannot be used; it has to be http://, https:// or socks5://, "
    "and the last needs httpx[socks]"
)


def proxy_for(target: Target) -> httpx.Proxy | None:
    """Return the proxy that the environment names for a host (``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``).

    Raises:
        ConfigurationError: The proxy cannot be used. The message does not quote its URL, which may hold a password.
    """
    # A simulator on this host is not reached through a proxy.
    if is_loopback(target.host) or proxy_bypass(target.host):
        return None
    proxies = getproxies()
    named = proxies.get(target.base.partition(":")[0]) or proxies.get("all")
    if not named:
        return None
    try:
        proxy = httpx.Proxy(named if "://" in named else f"http://{named}")
    except (ValueError, httpx.InvalidURL):
        raise ConfigurationError(_BAD_PROXY) from None
    if proxy.url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise ConfigurationError(_BAD_PROXY)
    return proxy
