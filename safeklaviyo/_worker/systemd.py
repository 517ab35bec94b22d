"""The protocol ``sd_notify``, by which a service tells systemd that it is ready, alive, or stopping.

A message is one datagram to the socket that ``NOTIFY_SOCKET`` names (systemd's *sd_notify(3)* and
*sd_watchdog_enabled(3)*). That needs no library; `systemd-python` would need a compiler and systemd's headers.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_PATIENCE = 1.0


class Notifier:
    """Tells systemd how the service is. Without systemd, its methods do nothing.

    Args:
        environment: The process's variables. Those of this protocol are removed, so that no child process answers in
            this one's place.

    Attributes:
        watchdog: Seconds within which systemd wants to hear that the service is alive; None without a watchdog.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        address = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "")
        asked = environment.pop("WATCHDOG_PID", None)
        # A leading @ stands for the abstract namespace, with a zero byte in its place.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        is_asked = asked is None or asked == str(os.getpid())
        is_number = microseconds.isascii() and microseconds.isdigit() and int(microseconds) > 0
        self.watchdog: float | None = int(microseconds) / 1e6 if is_asked and is_number else None

    def ready(self) -> None:
        """Say that the service has started."""
        self._send("READY=1")

    def alive(self) -> None:
        """Say that the service is alive, for the watchdog."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Show a line in ``systemctl status``."""
        self._send(f"STATUS={text}")

    def stopping(self, seconds: float) -> None:
        """Say that the service is stopping, and may take so many seconds."""
        self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        # The service works without systemd too, so a failure here does not end it.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.settimeout(_PATIENCE)
            channel.sendto(state.encode(), self._address)
