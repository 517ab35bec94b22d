"""What every sender does, over real sockets on loopback: our own, and those over the caller's clients."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from safeklaviyo.errors import NoResponseError, NotSentError
from safeklaviyo.identity import Kind
from support.peers import (
    DRIPS,
    answer,
    answering,
    cut,
    drop,
    garble,
    in_turn,
    listening,
    next_request,
    reset,
    silent,
    spoil,
)
from support.sending import CLIENTS, OWN
from support.wire import SECONDS, Endpoint, Repeat, Request, Secret, current, senders, target, targets

if TYPE_CHECKING:
    from support.peers import Serve
    from support.sending import Sending

KEY = "pk_0123456789abcdef"
ADDRESS = "ann+1@shop.dev"
ENDPOINT = Endpoint("get_profiles", burst=75, steady=750)
SEARCH = current.search_profiles(Kind.EMAIL, ADDRESS)
POST = Request("POST", "/api/events", ENDPOINT, Repeat.KEYED, b'{"data":{}}')
LIMIT = 0.3
LATE = 3.0
"""Seconds by which a busy machine may notice the end of an attempt."""


class TestAnswers:
    def test_is_read_whole(self, sending: Sending) -> None:
        """Status, headers by lower-case name, and a body of any size are what the server sent."""
        body = b"x" * 5_000_000
        with listening(answering(answer(body, "201 Created", RateLimit_Remaining="7"))) as base:
            response = sending.to(target(base))(POST)
        assert (201, "7", body) == (response.status, response.headers["ratelimit-remaining"], response.body)

    def test_gzip_is_undone(self, sending: Sending) -> None:
        """A compressed answer arrives as what it was."""
        data = answer(gzip.compress(b'{"data":[]}'), Content_Encoding="gzip")
        with listening(answering(data)) as base:
            assert b'{"data":[]}' == sending.to(target(base))(SEARCH).body

    def test_request_arrives_as_it_was_made(self, sending: Sending) -> None:
        """Method, key, body and content type arrive, and only once."""
        asked: list[bytes] = []
        with listening(answering(answer(), asked)) as base:
            sending.to(target(base))(POST)
        head, _, body = asked[0].partition(b"\r\n\r\n")
        lines = [line.lower() for line in head.split(b"\r\n")]
        assert (1, b'{"data":{}}') == (len(asked), body)
        assert b"post /api/events http/1.1" == lines[0]
        for line in (
            f"authorization: klaviyo-api-key {KEY}",
            "content-type: application/vnd.api+json",
            "content-length: 11",
            f"host: {base.removeprefix('http://')}",
        ):
            assert 1 == lines.count(line.encode())

    def test_a_request_has_headers_of_its_own(self, sending: Sending) -> None:
        """They stand in place of the client's, once; a DELETE has its body; the token is the request's own."""
        asked: list[bytes] = []
        own = (("revision", "2026-07-15"), ("x-shop", "de"))
        request = replace(POST, method="DELETE", headers=own, content_type="application/json")
        with listening(answering(answer(), asked)) as base:
            where = targets.target(base, {"revision": "2026-10-15"})
            for token in ("a", "b", "a"):
                sending.to(where, authorization=Secret(f"Bearer {token}"))(request)
        for data, token in zip(asked, ("a", "b", "a"), strict=True):
            head, _, body = data.partition(b"\r\n\r\n")
            lines = [line.lower() for line in head.split(b"\r\n")]
            assert (b"delete /api/events http/1.1", b'{"data":{}}') == (lines[0], body)
            for line in (
                "revision: 2026-07-15",
                "x-shop: de",
                "content-type: application/json",
                f"authorization: bearer {token}",
            ):
                assert 1 == lines.count(line.encode())
            assert 1 == sum(line.startswith(b"revision:") for line in lines)

    def test_filter_survives(self, sending: Sending) -> None:
        """A plus in an address is not read as a space at the other end (F-6)."""
        asked: list[bytes] = []
        with listening(answering(answer(), asked)) as base:
            sending.to(target(base))(SEARCH)
        query = parse_qs(urlsplit(asked[0].split()[1].decode()).query)
        assert {"filter": [f'equals(email,"{ADDRESS}")']} == query

    def test_redirect_is_not_followed(self, sending: Sending) -> None:
        """The key goes to no other host (F-30)."""
        asked: list[bytes] = []
        with (
            listening(answering(answer(), asked)) as elsewhere,
            listening(answering(answer(status="302 Found", Location=f"{elsewhere}/api/profiles"))) as base,
        ):
            assert 302 == sending.to(target(base))(SEARCH).status
        assert [] == asked

    def test_nothing_that_was_not_asked_for_is_unpacked(self, sending: Sending) -> None:
        """A second layer of gzip, or another encoding, is no answer: 10 kB of it can unpack to gigabytes (2.7)."""
        bomb = gzip.compress(gzip.compress(bytes(50_000_000)))
        for encoding in ("gzip, gzip", "br", "deflate"):
            with (
                listening(answering(answer(bomb, Content_Encoding=encoding))) as base,
                pytest.raises(NoResponseError),
            ):
                sending.to(target(base))(SEARCH)

    @pytest.mark.parametrize("encoding", [None, "gzip"])
    def test_a_body_has_a_limit(self, sending: Sending, encoding: str | None) -> None:
        """What is longer than the limit, on the wire or unpacked, is no answer."""
        body = bytes(senders.LIMIT + 1)
        data = answer(body) if encoding is None else answer(gzip.compress(body, 1), Content_Encoding=encoding)
        with listening(answering(data)) as base, pytest.raises(NoResponseError):
            sending.to(target(base))(SEARCH)

    def test_connection_closed_between_calls(self, sending: Sending) -> None:
        """A server that closes an idle connection costs nothing but a new connection."""
        closed = Event()

        def once(connection: socket.socket) -> None:
            next_request(connection)
            connection.sendall(answer())
            connection.close()
            closed.set()

        with listening(once) as base:
            send = sending.to(target(base))
            assert 200 == send(SEARCH).status
            assert closed.wait(5)
            assert 200 == send(SEARCH).status

    def test_connection_is_reused(self, sending: Sending) -> None:
        """Calls one after another share a connection."""
        connections: list[int] = []

        def serve(connection: socket.socket) -> None:
            connections.append(1)
            answering(answer())(connection)

        with listening(serve) as base:
            send = sending.to(target(base))
            for _ in range(20):
                send(SEARCH)
        assert 1 == len(connections)


class TestFailures:
    @pytest.mark.parametrize("serve", [drop, garble, cut, reset, spoil], ids=lambda serve: serve.__name__)
    def test_lost_answer(self, sending: Sending, serve: Serve) -> None:
        """Once the request has left, anything but a whole answer leaves open what was done."""
        with listening(serve) as base, pytest.raises(NoResponseError) as caught:
            sending.to(target(base))(POST)
        assert "unknown" == caught.value.outcome

    def test_the_next_request_is_none_the_worse(self, sending: Sending) -> None:
        """After a lost answer the next request gets its own answer, over another connection."""
        with listening(in_turn(cut, answering(answer(b'{"data":7}')))) as base:
            send = sending.to(target(base))
            with pytest.raises(NoResponseError):
                send(POST)
            assert b'{"data":7}' == send(SEARCH).body

    def test_refused(self, sending: Sending) -> None:
        """Where nobody listens nothing was sent; the cause is the operating system's own error."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            base = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(NotSentError) as caught:
            sending.to(target(base))(SEARCH)
        assert "not_applied" == caught.value.outcome
        assert isinstance(caught.value.__cause__, OSError)
        assert ADDRESS.split("@")[1] not in "".join(traceback.format_exception(caught.value))

    def test_connect_timeout(self, sending: Sending) -> None:
        """A host that never answers a connection was sent nothing; no address shows in the traceback."""
        with ExitStack() as opened:
            full = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            for _ in range(3):
                waiting = opened.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(full.getsockname())
            send = sending.to(target(f"http://127.0.0.1:{full.getsockname()[1]}"), timeout=0.2)
            with pytest.raises(NotSentError) as caught:
                send(SEARCH)
        told = "".join(traceback.format_exception(caught.value))
        # The domain alone stands in no path of a checkout, however the address is written in the query.
        assert ADDRESS.partition("@")[2] not in told


class TestTime:
    def test_silence(self, sending: Sending) -> None:
        """A host that reads the request and never answers is given up at the end of the attempt's time (F-22)."""
        with listening(silent) as base:
            began = time.monotonic()
            with pytest.raises(NoResponseError):
                sending.to(target(base), timeout=LIMIT)(POST)
        assert time.monotonic() - began < LIMIT + LATE

    # A blocking client of the caller's can only be told how long each read may take, so it is held to its time in the
    # parts of a body alone (`senders.client` says so).
    @pytest.mark.parametrize(
        ("sending", "part"),
        [
            (kind, part)
            for kind in (*OWN, *CLIENTS)
            for part in DRIPS
            if kind not in {"client", "httpx2 client"} or part in {"body", "body without an end", "chunks"}
        ],
        indirect=["sending"],
    )
    def test_dripping(self, sending: Sending, part: str) -> None:
        """A peer that sends any part of an answer byte by byte outlasts no attempt, though no byte is late."""
        with listening(DRIPS[part]) as base:
            began = time.monotonic()
            with pytest.raises(NoResponseError):
                sending.to(target(base), timeout=LIMIT)(POST)
        assert time.monotonic() - began < LIMIT + LATE


def test_a_connection_that_was_reset_is_not_used(sending: Sending) -> None:
    """A connection that its server has reset while it was idle is replaced, and the next request works."""

    def serve(connection: socket.socket) -> None:
        next_request(connection)
        connection.sendall(answer(b"first"))
        time.sleep(0.05)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with listening(in_turn(serve, answering(answer(b"second")))) as base:
        send = sending.to(target(base))
        assert b"first" == send(SEARCH).body
        sending.runner.run(asyncio.sleep(0.15))
        assert b"second" == send(SEARCH).body


class TestFork:
    # The shells make a new sender in a child, and refuse a client of the caller's there (`tests/test_shell.py`).
    @pytest.mark.parametrize("sending", ["own"], indirect=True)
    def test_a_child_gets_its_own_answers(self, sending: Sending) -> None:
        """Requests of a parent and its child never share a connection."""

        def echo(connection: socket.socket) -> None:
            while request := next_request(connection):
                connection.sendall(answer(request.split()[1]))

        def ask(send: object, number: int) -> bytes:
            return send(Request("GET", f"/api/{number}", ENDPOINT, Repeat.READ)).body  # type: ignore[operator]

        with listening(echo) as base:
            send = sending.to(target(base))
            assert b"/api/1" == ask(send, 1)
            readable, writable = os.pipe()
            child = os.fork()
            if child == 0:
                # The parent's list of connections came along; a sender of its own has none.
                sender = senders.OwnSender(target(base))
                os.write(writable, ask(lambda request: sender.send(request, SECONDS), 2))
                os._exit(0)
            assert b"/api/3" == ask(send, 3)
            os.waitpid(child, 0)
            assert b"/api/2" == os.read(readable, 100)
        os.close(readable)
        os.close(writable)


class TestManyAtOnce:
    # An awaited sender belongs to one event loop, and so to one thread.
    @pytest.mark.parametrize("sending", ["own", "client", "httpx2 client"], indirect=True)
    def test_threads(self, sending: Sending) -> None:
        """Sixteen threads share a sender, and each gets its own answers."""

        def echo(connection: socket.socket) -> None:
            while request := next_request(connection):
                connection.sendall(answer(request.split()[1]))

        with listening(echo) as base, ThreadPoolExecutor(16) as pool:
            send = sending.to(target(base))

            def ask(number: int) -> bytes:
                return send(Request("GET", f"/api/profiles/{number}", ENDPOINT, Repeat.READ)).body

            answers = list(pool.map(ask, range(160)))
        assert [f"/api/profiles/{number}".encode() for number in range(160)] == answers
