"""A relay in front of a server that counts round trips: how often a client spoke after the server had."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Relay:
    """What has been relayed.

    Attributes:
        at: Where it listens.
        turns: How often a client began to speak, on any connection.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self.turns = 0
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.at: tuple[str, int] = self._listener.getsockname()

    def run(self) -> None:
        """Relay until closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._open += [client, server]
                heard = threading.Event()
                heard.set()
                for work in ((client, server, heard, True), (server, client, heard, False)):
                    threading.Thread(target=self._pass_on, args=work, daemon=True).start()

    def close(self) -> None:
        """Hang up on everybody."""
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _pass_on(self, source: socket.socket, target: socket.socket, heard: threading.Event, is_asking: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if not is_asking:
                    heard.set()
                elif heard.is_set():
                    heard.clear()
                    self.turns += 1
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@contextmanager
def counted(server: tuple[str, int]) -> Iterator[Relay]:
    """Relay to a server while this lasts."""
    relay = Relay(server)
    thread = threading.Thread(target=relay.run, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        relay.close()
        thread.join()
