"""Servers on loopback that answer as they are told, and misbehave in each way that a peer or a proxy can."""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Serve = "Callable[[socket.socket], None]"


def next_request(connection: socket.socket) -> bytes:
    """Read one request whole; nothing if the client has left."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        if not part:
            return b""
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def answer(body: bytes = b"{}", status: str = "200 OK", **headers: str) -> bytes:
    """Return an answer as it stands on the wire."""
    named = {name.replace("_", "-"): value for name, value in headers.items()} | {"Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def answering(data: bytes, asked: list[bytes] | None = None) -> Serve:
    """Return a server that says the same to everybody, and remembers what it was asked."""

    def serve(connection: socket.socket) -> None:
        while request := next_request(connection):
            if asked is not None:
                asked.append(request)
            connection.sendall(data)

    return serve


@contextmanager
def listening(serve: Serve) -> Iterator[str]:
    """Serve each connection in a thread, and yield the base URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def one(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                serve(connection)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    Thread(target=one, args=[server.accept()[0]], daemon=True).start()

        thread = Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def drop(connection: socket.socket) -> None:
    """Read a request, and close."""
    next_request(connection)


def garble(connection: socket.socket) -> None:
    """Answer with what is no HTTP."""
    next_request(connection)
    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


def cut(connection: socket.socket) -> None:
    """Answer with half a body."""
    next_request(connection)
    connection.sendall(answer(b"x" * 1000)[:-500])


def reset(connection: socket.socket) -> None:
    """Read a request, and reset the connection."""
    next_request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def spoil(connection: socket.socket) -> None:
    """Answer with what only claims to be compressed."""
    next_request(connection)
    connection.sendall(answer(b"not gzip", Content_Encoding="gzip"))


def hang(connection: socket.socket) -> None:
    """Read a request, and say nothing."""
    next_request(connection)
    connection.recv(1)


def in_turn(*servers: Serve) -> Serve:
    """Return a server that serves each connection as the next of these does."""
    left = iter(servers)

    def serve(connection: socket.socket) -> None:
        next(left)(connection)

    return serve


SLOWLY = 0.02
"""Seconds between two bytes of a peer that is never late with any of them."""


def dripping(start: bytes, each: bytes) -> Serve:
    """Return a server that begins an answer, and goes on with the same part again and again."""

    def serve(connection: socket.socket) -> None:
        next_request(connection)
        connection.sendall(start)
        for _ in range(1000):
            connection.sendall(each)
            time.sleep(SLOWLY)

    return serve


HEAD = b"HTTP/1.1 200 OK\r\n"
DRIPS = {
    "status line": dripping(b"HTTP/1.1 200 ", b"O"),
    "headers": dripping(HEAD, b"x: y\r\n"),
    "one header": dripping(HEAD + b"x: ", b"y"),
    "interim answers": dripping(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "body": dripping(HEAD + b"Content-Length: 1000\r\n\r\n", b"x"),
    "body without an end": dripping(HEAD + b"\r\n", b"x"),
    "chunks": dripping(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "chunk extension": dripping(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;a=", b"y"),
    "trailers": dripping(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"x: y\r\n"),
}
"""A server for each part of an answer that can be sent so slowly that it never ends."""


def silent(connection: socket.socket) -> None:
    """Read what comes, and say nothing."""
    while connection.recv(65536):
        pass


def dripping_tls(connection: socket.socket) -> None:
    """Send the first message of TLS, byte by byte."""
    connection.recv(65536)
    connection.sendall(b"\x16\x03\x03\x40\x00")
    for _ in range(1000):
        connection.sendall(b"\x02")
        time.sleep(SLOWLY)
