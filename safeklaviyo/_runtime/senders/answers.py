"""One answer, from the bytes of a connection: llhttp's parser (`httptools`), and what it leaves to its user.

h11 reads an answer in Python, and took half of a call's time. llhttp is the parser of Node.js and of uvicorn.

Decided here: what is no answer (a message cut off, another protocol, headers or a body without end), and whether the
connection can be used again after it.

The parser calls back into nothing but functions of C. A signal handler runs between instructions of Python, so it can
raise inside of no callback, and no exception of its is hidden in one of the parser's (F-45).
"""

from __future__ import annotations

import re
from functools import partial
from typing import Final

from httpcore import RemoteProtocolError
from httptools import HttpParserError, HttpResponseParser

from safeklaviyo._api.messages import Response
from safeklaviyo._runtime.senders.bodies import LIMIT, Body
from safeklaviyo._runtime.senders.failures import BrokenAnswerError

_HEADERS_LIMIT: Final = 100 * 1024
"""The longest head that is read, in bytes, interim answers included. Klaviyo's are under 2 kB."""
_CONTROL: Final = re.compile(rb"[\x00-\x08\n-\x1f\x7f]")
_INTERIM: Final = b"HTTP/1.1 1"
"""How an interim answer begins, such as 103."""


class _Callbacks:
    """Where the parser puts what it reads. Each attribute is a function of C, or a method of a built-in type."""

    __slots__ = ("on_body", "on_header", "on_headers_complete", "on_message_begin", "on_message_complete", "on_status")

    def __init__(self, answer: Answer) -> None:
        read: dict[bytes, bytes] = {}
        self.on_status = answer.reason.append
        self.on_header = read.__setitem__
        # A copy, because trailers come as headers too, after the body, and say nothing that is believed.
        self.on_headers_complete = partial(answer.headers.update, read)
        self.on_body = answer.parts.append
        # The second call raises, and the parser stops: an answer that was not asked for must not mix with this one.
        self.on_message_begin = iter((None,)).__next__
        self.on_message_complete = partial(answer.ended.append, None)


class Answer:
    """An answer that is being read.

    Attributes:
        is_whole: The answer has ended.
        leaves_open: The connection can take another request.
    """

    __slots__ = (
        "_begun", "_early", "_names", "_parser", "_size", "ended", "headers", "is_whole", "leaves_open", "parts",
        "reason",
    )  # fmt: skip

    def __init__(self) -> None:
        # What the parser has found so far: see `_Callbacks`.
        self.headers: dict[bytes, bytes] = {}
        self.parts: list[bytes] = []
        self.reason: list[bytes] = []
        self.ended: list[None] = []
        self.is_whole = False
        self.leaves_open = False
        self._names: dict[str, str] = {}
        self._parser = HttpResponseParser(_Callbacks(self))
        self._begun = False
        self._early = b""
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Read on; nothing means that the peer has closed.

        Raises:
            RemoteProtocolError: The bytes are no whole answer of HTTP/1.
            BrokenAnswerError: The answer is longer than `LIMIT`.
        """
        if not data:
            self._end()
            return
        self._size += len(data)
        if not self._begun:
            data = self._after_interim(self._early + data)
            if not data:
                return
            self._begun = True
        try:
            self._parser.feed_data(data)
        except HttpParserError as exc:
            # What follows a whole answer makes the connection useless, not the answer.
            if not self.ended:
                raise RemoteProtocolError(type(exc).__name__) from None
            self._finish()
        else:
            if self.ended:
                self._finish()
                # The parser has forgotten by now what it knew of that.
                closes = "close" in self._names.get("connection", "").lower()
                self.leaves_open = not closes and self._parser.get_http_version() == "1.1"
            elif self._size > (LIMIT if self.headers else _HEADERS_LIMIT):
                raise BrokenAnswerError("the answer is too large")

    def response(self) -> Response:
        """Return the whole answer, unpacked.

        Raises:
            BrokenAnswerError: The answer is too long, or packed in a way that was not asked for.
        """
        # The parser takes a status line that a NUL ends, and all that follows, for a reason.
        if _CONTROL.search(b"".join(self.reason)):
            raise RemoteProtocolError("the status line is broken")
        if sum(map(len, self.parts)) > LIMIT:
            raise BrokenAnswerError("the answer is too large")
        body = Body(self.parts).unpacked(self._names.get("content-encoding"))
        return Response(self._parser.get_status_code(), self._names, body)

    def _after_interim(self, data: bytes) -> bytes:
        """Return what follows interim answers; nothing, and keep the data, if more has to come to tell."""
        self._early = b""
        while _INTERIM.startswith(data[: len(_INTERIM)]):
            if data.startswith(b"HTTP/1.1 101"):
                raise RemoteProtocolError("another protocol was not asked for")
            _, blank, rest = data.partition(b"\r\n\r\n")
            if not blank:
                if self._size > _HEADERS_LIMIT:
                    raise BrokenAnswerError("the answer is too large")
                self._early = data
                return b""
            data = rest
        return data

    def _end(self) -> None:
        # An answer that says neither how long it is nor that it comes in chunks ends where the connection ends.
        self._finish()
        if not self.headers or not self._names.keys().isdisjoint({"content-length", "transfer-encoding"}):
            raise RemoteProtocolError("the peer has closed before its whole answer came")

    def _finish(self) -> None:
        self.is_whole = True
        self._names = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.headers.items()}
