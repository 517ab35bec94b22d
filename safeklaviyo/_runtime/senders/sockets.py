"""The sockets of one blocking connection, and the one time limit that all their steps share.

httpcore gives each read and each write a time limit of its own, so a peer that sends a byte now and then is waited for
without end: in a status line, a header, an interim answer, a chunk's extension, a trailer, a TLS handshake or a proxy's
greeting. Here each step gets what is left of the whole attempt.
"""

from __future__ import annotations

import select
import socket
import ssl
import sys
import time
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

from httpcore import (
    ConnectError,
    ConnectTimeout,
    NetworkBackend,
    NetworkStream,
    ReadError,
    ReadTimeout,
    WriteTimeout,
)

from safeklaviyo._interruption import let_through

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from safeklaviyo._runtime.server import Target

_NOT_YET: tuple[type[ssl.SSLError], ...] = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Wire(NetworkBackend):
    """Opens the sockets of one connection, and closes them. An attempt calls `begin` first.

    Attributes:
        is_connecting: The way to the host is not open yet, through a proxy if there is one: no request has left.
    """

    def __init__(self, target: Target) -> None:
        self._host = target.host
        self._is_plain = target.is_plain
        self._ends_at = 0.0
        self._socket: socket.socket | None = None
        self.is_connecting = False

    def begin(self, seconds: float) -> None:
        """Give the next attempt so many seconds from now."""
        self._ends_at = time.monotonic() + seconds

    def left(self, limit: float | None = None) -> float:
        """Return how long the next step may take: at most `limit`.

        Raises:
            TimeoutError: The attempt's time is over.
        """
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the attempt's time is over")
        return left if limit is None or left < limit else limit

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - httpcore's signature; no address is ever given
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 - as above
    ) -> NetworkStream:
        """Connect to the first address of a host that answers; each gets its share of the time that is left."""
        self.is_connecting = True
        try:
            addresses = _resolved(host, port, self.left(timeout))
            connected = self._connected(addresses, timeout)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except TimeoutError as exc:
            raise ConnectTimeout(type(exc).__name__) from exc
        except OSError as exc:
            raise ConnectError(type(exc).__name__) from exc
        self.is_connecting = not self._is_plain
        return Stream(self, self.holds(connected))

    def holds(self, connection: socket.socket) -> socket.socket:
        """Note which socket `close` is to close."""
        self._socket = connection
        return connection

    def close(self) -> None:
        """Close the socket, in every state of the connection above it."""
        if self._socket is not None:
            self._socket.close()

    def _connected(self, addresses: list[tuple[Any, ...]], timeout: float | None) -> socket.socket:
        outer = sys.exception()
        for number, (family, kind, protocol, _, address) in enumerate(addresses, 1):
            # An address that does not answer must leave time for those after it.
            share = self.left(timeout) / (len(addresses) - number + 1)
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(share)
                connection.connect(address)
            except OSError as exc:
                connection.close()
                let_through(exc, outer)
                if number == len(addresses):
                    raise
            except BaseException:
                connection.close()
                raise
            else:
                return connection
        raise OSError("the host has no address")

    def secured(self, name: str | None) -> None:
        """Note that TLS with a host is agreed on."""
        if name == self._host.strip("[]"):
            self.is_connecting = False


def _resolved(host: str, port: int, seconds: float) -> list[tuple[Any, ...]]:
    """Look a host up.

    In a thread of its own: the operating system's resolver takes no time limit, and waits for a silent DNS server for
    half a minute and more.

    Raises:
        TimeoutError: There was no answer in time.
        OSError: The host is not known.
    """
    answers: SimpleQueue[list[tuple[Any, ...]] | OSError] = SimpleQueue()

    def _look_up() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as exc:
            answers.put(exc)
        except UnicodeError:
            answers.put(OSError("the host's name cannot be written"))

    Thread(target=_look_up, name="safeklaviyo-resolver", daemon=True).start()
    try:
        found = answers.get(timeout=seconds)
    except Empty:
        raise TimeoutError("the host's name was not resolved in time") from None
    if isinstance(found, OSError):
        raise found
    return found


class Stream(NetworkStream):
    """One socket, plain or with TLS."""

    def __init__(self, wire: Wire, connection: socket.socket) -> None:
        self._wire = wire
        self._socket = connection
        self._unsent = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has come, at most so many bytes; nothing if the peer has closed."""
        try:
            if self._unsent:
                self._flush(timeout)
            self._socket.settimeout(self._wire.left(timeout))
            return self._socket.recv(max_bytes)
        except TimeoutError as exc:
            raise ReadTimeout(type(exc).__name__) from exc
        except OSError as exc:
            raise ReadError(type(exc).__name__) from exc

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - httpcore's signature
        """Write it before the next read: httpcore writes a head and its body apart, and one packet is enough."""
        self._unsent += buffer

    def _flush(self, timeout: float | None) -> None:
        outer, rest, self._unsent = sys.exception(), memoryview(self._unsent), b""
        try:
            while rest:
                self._socket.settimeout(self._wire.left(timeout))
                rest = rest[self._socket.send(rest) :]
        except TimeoutError as exc:
            raise WriteTimeout(type(exc).__name__) from exc
        except OSError as exc:
            let_through(exc, outer)
            # A server may answer before it has read all, and close: its answer can be read.

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> NetworkStream:
        """Agree on TLS with a host: the proxy's, or Klaviyo's."""
        try:
            if isinstance(self._socket, ssl.SSLSocket):
                secure: NetworkStream = TunnelledStream(self, ssl_context, server_hostname)
            else:
                secure = self._wrapped(ssl_context, server_hostname, timeout)
        except TimeoutError as exc:
            self.close()
            raise ConnectTimeout(type(exc).__name__) from exc
        except OSError as exc:
            self.close()
            raise ConnectError(type(exc).__name__) from exc
        except BaseException:
            self.close()
            raise
        self._wire.secured(server_hostname)
        return secure

    def _wrapped(self, context: ssl.SSLContext, name: str | None, timeout: float | None) -> NetworkStream:
        wrapped = context.wrap_socket(self._socket, server_hostname=name, do_handshake_on_connect=False)
        self._socket = self._wire.holds(wrapped)  # so that `close` closes it, if the handshake fails
        wrapped.settimeout(self._wire.left(timeout))
        wrapped.do_handshake()
        return Stream(self._wire, wrapped)

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks about the socket."""
        if info == "ssl_object":
            return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
        return is_readable(self._socket) if info == "is_readable" else None


class TunnelledStream(NetworkStream):
    """TLS inside of the TLS that an ``https://`` proxy speaks: a socket can be wrapped once only."""

    def __init__(self, inner: Stream, context: ssl.SSLContext, name: str | None) -> None:
        self._inner = inner
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._exchange(self._tls.do_handshake)

    def _exchange(self, step: Callable[[], Any], timeout: float | None = None) -> Any:
        """Do a step of TLS, and carry what it needs through the proxy."""
        while True:
            try:
                result, is_done = step(), True
            except _NOT_YET:
                result, is_done = None, False
            if self._outgoing.pending:
                self._inner.write(self._outgoing.read(), timeout)
            if is_done:
                return result
            received = self._inner.read(65536, timeout)
            if received:
                self._incoming.write(received)
            else:
                self._incoming.write_eof()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Same as `Stream.read`."""
        try:
            received: bytes = self._exchange(partial(self._tls.read, max_bytes), timeout)
        except OSError as exc:
            raise ReadError(type(exc).__name__) from exc
        return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Same as `Stream.write`."""
        rest = buffer
        while rest:
            rest = rest[self._exchange(partial(self._tls.write, rest), timeout) :]

    def close(self) -> None:
        """Same as `Stream.close`."""
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        """Same as `Stream.get_extra_info`."""
        return self._tls if info == "ssl_object" else self._inner.get_extra_info(info)


def is_readable(connection: socket.socket) -> bool:
    """Tell whether something has come that was not asked for: the peer's end, or a surplus answer."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
