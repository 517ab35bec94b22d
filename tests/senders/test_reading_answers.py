"""Answers are read from the bytes of a connection as h11 reads them, however the network cuts them up."""

from __future__ import annotations

from itertools import pairwise

import h11
import httpcore
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.examples import examples
from support.wire import OneAnswer, senders

NO_ANSWER = (httpcore.RemoteProtocolError, senders.BrokenAnswerError)
TOKEN = st.text("abcdefXYZ-0123456789", min_size=1, max_size=8)
NAMES = st.one_of(TOKEN.map(lambda name: f"X-{name}"), st.sampled_from(["Retry-After", "retry-after", "Content-Type"]))
VALUES = st.text(" !#$%&'*+.0123456789:;=ABCxyz\xe9", max_size=12).map(str.strip)
STATUSES = st.sampled_from(
    ["200 OK", "202 Accepted", "201", "204 No Content", "404 Not Found", "503 ", "304 Not Modified"]
)
BREAKS = ("\r\n", "\r\n", "\r\n", "\r", "\0")


def _name(header):
    return header[0].lower()


@st.composite
def answers(draw):
    """Draw the bytes of what a server may send: whole, chunked, without an end, with more behind, or broken."""
    interim = draw(st.lists(st.sampled_from(["103 Early Hints", "100 Continue", "102 P"]), max_size=2))
    parts = [f"HTTP/1.1 {status}\r\nLink: x\r\n\r\n" for status in interim]
    status, body = draw(STATUSES), draw(st.binary(max_size=40))
    headers = draw(
        st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=4, unique_by=lambda header: header[0].lower())
    )
    framing = draw(st.sampled_from(["length", "chunks", "none", "short", "long"]))
    if framing in {"length", "short", "long"}:
        length = len(body) + {"length": 0, "short": -1, "long": 5}[framing]
        headers.append(("Content-Length", str(max(length, 0))))
    if framing == "chunks":
        headers.append(("Transfer-Encoding", "chunked"))
        trailer = draw(st.sampled_from(["", "X-Late: 1\r\n", "Content-Encoding: br\r\n"]))
        extension = draw(st.sampled_from(["", ";a=b", ';c="d"']))
        body = b"%x%b\r\n%b\r\n" % (len(body), extension.encode(), body) if body else b""
        body += b"0\r\n" + trailer.encode() + b"\r\n"
    if draw(st.booleans()):
        headers.append(("Connection", draw(st.sampled_from(["close", "keep-alive"]))))
    version = draw(st.sampled_from(["1.1", "1.1", "1.1", "1.0"]))
    lines = [f"HTTP/{version} {status}", *(f"{name}: {value}" for name, value in headers)]
    end = draw(st.sampled_from(BREAKS)) if draw(st.integers(0, 19)) == 0 else "\r\n"
    parts.append(end.join(lines) + "\r\n\r\n")
    return (
        "".join(parts).encode("latin-1") + body + draw(st.sampled_from([b"", b"", b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"]))
    )


def cut_up(data, cuts):
    """Return data in pieces, none of which is empty."""
    places = [0, *sorted({place % (len(data) + 1) for place in cuts}), len(data)]
    return [data[start:end] for start, end in pairwise(places) if start < end]


def by_h11(pieces):
    """Return status, headers and body as h11 reads them, with the peer's end behind; None if it is no answer."""
    connection = h11.Connection(our_role=h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    status, headers, body = None, {}, b""
    try:
        for piece in [*pieces, b""]:
            connection.receive_data(piece)
            while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Response):
                    status = event.status_code
                    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    return status, headers, body
                elif isinstance(event, h11.ConnectionClosed):
                    return None
            if piece == b"":
                return None
    except h11.RemoteProtocolError:
        return None
    return None


def by_answer(pieces):
    """Return the same as this library reads it."""
    answer = OneAnswer()
    try:
        for piece in [*pieces, b""]:
            answer.feed(piece)
            if answer.is_whole:
                response = answer.response()
                return response.status, dict(response.headers), response.body
    except NO_ANSWER:
        return None
    return None


@given(answers(), st.lists(st.integers(0, 400), max_size=6))
@example(b"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 500 No\r\nContent-Length: 1\r\n\r\nx", [])
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Encoding: br\r\n\r\n", [])
@example(b"HTTP/1.1 204 No Content\0Retry-After: \0Content-Length: 0\r\n\r\n", [])
@settings(max_examples=examples(2_000), deadline=None)
def test_an_answer_is_what_h11_reads(data, cuts):
    """Status, headers and body are the same, and what is no answer to h11 is none here."""
    pieces = cut_up(data, cuts)
    expected, found = by_h11(pieces), by_answer(pieces)
    # Stricter here: a header that is cut by a bare CR, which some servers take for a line's end.
    assert found == expected or (found is None and b"\r" in data.replace(b"\r\n", b""))


def test_nothing_behind_an_answer_is_believed():
    """The second answer in one piece changes nothing of the first, and ends the connection."""
    answer = OneAnswer()
    answer.feed(
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\nabc"
        b"HTTP/1.1 500 No\r\nX-Second: 1\r\nContent-Length: 1\r\n\r\nx"
    )
    response = answer.response()
    assert (202, {"content-length": "3"}, b"abc") == (response.status, response.headers, response.body)
    assert not answer.leaves_open


def test_a_trailer_is_no_header():
    """What comes after the body says nothing about how the body is packed."""
    answer = OneAnswer()
    answer.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nContent-Encoding: br\r\n\r\n")
    assert (b"{}", {"transfer-encoding": "chunked"}) == (answer.response().body, answer.response().headers)


@pytest.mark.parametrize(
    ("head", "is_kept"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nCONNECTION: x, close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
    ],
)
def test_a_connection_is_kept_if_the_server_keeps_it(head, is_kept):
    """HTTP/1.1 keeps it unless the server says that it closes."""
    answer = OneAnswer()
    answer.feed(head)
    assert is_kept is answer.leaves_open


def feed_again_and_again(answer, piece):
    """Feed a piece ten thousand times."""
    for _ in range(10_000):
        answer.feed(piece)


@pytest.mark.parametrize("piece", [b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n", b"X: " + b"y" * 1000 + b"\r\n"])
def test_a_head_has_an_end(piece):
    """A server that sends interim answers, or headers, without end is given up, in bounded memory."""
    answer = OneAnswer()
    answer.feed(piece if piece.startswith(b"HTTP") else b"HTTP/1.1 200 OK\r\n" + piece)
    with pytest.raises(NO_ANSWER):
        feed_again_and_again(answer, piece)


def test_another_protocol_is_no_answer():
    """A server that switches protocols was not asked to."""
    with pytest.raises(NO_ANSWER):
        OneAnswer().feed(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
