"""Where requests go: the host, and the headers of every request.

Decided here: which hosts a key may be sent to. How requests travel is in `senders`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from safeklaviyo._api.messages import Request
    from safeklaviyo._secrets import Secret

KLAVIYO: Final = "a.klaviyo.com"

_BASE: Final = re.compile(r"(https?)://([a-z0-9._-]{1,253}|\[[0-9a-f:.]+\])(:\d{1,5})?/?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, repr=False)
class Target:
    """Where requests go, and with which headers.

    Attributes:
        base: The scheme and the host, with the port if there is one.
        headers: Those of every request, as they stand on the wire; the key is among them, if it stays the same.
    """

    base: str
    host: str
    headers: tuple[tuple[bytes, bytes], ...]

    def __repr__(self) -> str:
        return f"Target({self.base!r})"

    @cached_property
    def is_klaviyo(self) -> bool:
        """Whether this is Klaviyo's own host."""
        return self.host.rstrip(".") == KLAVIYO

    @cached_property
    def is_plain(self) -> bool:
        """Whether requests travel without TLS, on this machine."""
        return not self.base.startswith("https:")

    def headers_of(self, request: Request, authorization: Secret | None = None) -> list[tuple[bytes, bytes]]:
        """Return the headers of a request, but for the length of its body."""
        headers = self.headers_with(request.headers, authorization)
        if request.body is not None:
            headers.append((b"Content-Type", request.content_type.encode()))
        return headers

    def headers_with(self, own: tuple[tuple[str, str], ...], authorization: Secret | None) -> list[tuple[bytes, bytes]]:
        """Return the headers of every request, with a request's own in place of those of the same name."""
        given = {name.encode(): value.encode() for name, value in own}
        headers = [header for header in self.headers if header[0].lower() not in given]
        headers += given.items()
        if authorization is not None:
            headers.append((b"Authorization", authorization.reveal().encode()))
        return headers


def target(base_url: object, headers: Mapping[str, str]) -> Target:
    """Return where requests go.

    Raises:
        ConfigurationError: The address is no ``https://host``, or plain ``http`` to anything but loopback.
    """
    parts = _BASE.fullmatch(base_url) if isinstance(base_url, str) else None
    if parts is None or int((parts[3] or ":0")[1:]) > 65535:
        raise ConfigurationError("base_url has to be a scheme and a host, such as https://a.klaviyo.com")
    # The key travels in a header, so plain http is for a simulator on this machine only (F-30).
    scheme, host, port = parts[1].lower(), parts[2].lower(), parts[3] or ""
    if scheme != "https" and not is_loopback(host):
        raise ConfigurationError("base_url has to begin with https://; plain http is for loopback only")
    # As bytes, once for all requests of the client: this is on the path of every call (F-32).
    sent = {"Host": host + port, **headers}
    wire = tuple((name.encode(), value.encode()) for name, value in sent.items())
    return Target(f"{scheme}://{host}{port}", host, wire)


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, by its name alone."""
    if host == "localhost":
        return True
    # By name alone: a look-up in the DNS could answer differently when the request is sent.
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
