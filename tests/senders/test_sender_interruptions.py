"""A signal handler that raises at any moment of a request: nothing stays locked, and no answer goes to another."""

from __future__ import annotations

import gc
import os
import random
import signal
import socket
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self

import pytest

from support.peers import answer, listening, next_request
from support.wire import SECONDS, Endpoint, Repeat, Request, target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.sending import Sending

PLACES = 256
ENDPOINT = Endpoint("get_profiles", burst=75, steady=750)
BODY = b"x" * 2000
TIMES = 320
CALLED_BY_ASYNCIO = {"__repr__", "feed_data", "set_transport"}
"""The methods that asyncio calls outside of any task. It keeps to itself what they raise."""
PROMPT = 1.0
"""Seconds in which a request over loopback ends on a busy machine."""
OURS = ("safeklaviyo", "httpcore", "h11")
"""The packages that a request runs through."""


class Soft(Exception):  # noqa: N818 - named as task queues name theirs
    """A task queue's soft limit."""


class Broken(OSError):  # noqa: N818 - as above
    """A handler's own error, of a class that sockets raise, too."""


@pytest.fixture(autouse=True)
def _unraisable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let pass what Python cannot raise: a handler that raises in a finaliser, and a socket cut off in its making."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    yield
    gc.collect()


@pytest.fixture
def base() -> Iterator[str]:
    """A server that answers each request with its path."""

    def echo(connection: socket.socket) -> None:
        while request := next_request(connection):
            connection.sendall(answer(request.split()[1]))

    with listening(echo) as at:
        yield at


@contextmanager
def alarm(error: BaseException, seconds: float) -> Iterator[None]:
    """Let a handler raise an error after so many seconds, if the work is not done by then."""

    def handler(signum: int, frame: object) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class AtStep:
    """Raises an error before a bytecode of a request, counted over our own code and the HTTP library's."""

    def __init__(self, error: BaseException, number: int) -> None:
        self.seen = 0
        self._error = error
        self._number = number

    def __enter__(self) -> Self:
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _enter(self, frame: Any, _event: str, _arg: object) -> Any:
        if frame.f_code.co_name in CALLED_BY_ASYNCIO or not _module(frame).startswith(OURS):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._look

    def _look(self, frame: Any, event: str, _arg: object) -> Any:
        if event == "opcode":
            self.seen += 1
            if self.seen == self._number:
                sys.settrace(None)
                raise self._error
        return self._look


def _module(frame: Any) -> str:
    return str(frame.f_globals.get("__name__", ""))


def descriptors() -> int:
    """Return how many files and sockets this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the quickest way, and the usual one


def wait_for_descriptors(most: int) -> None:
    """Wait until no more files and sockets are open: the server's side of a connection is closed a little later."""
    end = time.monotonic() + 3.0
    while descriptors() > most and time.monotonic() < end:
        gc.collect()
        time.sleep(0.02)
    assert descriptors() <= most


class Asking:
    """Requests over one sender, each with a path of its own."""

    def __init__(self, sending: Sending, base: str) -> None:
        self.sender = sending.sender(target(base))
        self._sending = sending
        self._numbers = iter(range(10**9))

    def __call__(self) -> None:
        """Ask for the next path, and make sure that this very answer comes, and comes at once."""
        path, began = f"/api/profiles/{next(self._numbers)}", time.monotonic()
        sent = self.sender.send(Request("POST", path, ENDPOINT, Repeat.KEYED, BODY), SECONDS)
        response = self._sending.runner.run(sent) if self._sending.is_awaited else sent
        assert path == response.body.decode()
        assert time.monotonic() - began < PROMPT

    def forget(self) -> None:
        """Let the next request open a connection."""
        for each in self._kept():
            each.wire.close()
        self._kept().clear()

    def check(self) -> None:
        """No connection is kept twice, and all places are free."""
        assert 1 == len(self._kept())
        if self._sending.is_awaited:
            assert PLACES == self.sender._places.free._value

    def _kept(self) -> Any:
        return self.sender._places.kept if self._sending.is_awaited else self.sender._kept


@pytest.mark.untraceable
@pytest.mark.parametrize("error", [Soft, Broken])
@pytest.mark.parametrize("sending", ["own"], indirect=True)
def test_storm(sending: Sending, base: str, error: type[Exception]) -> None:
    """After hundreds of interrupts the next request works at once, and gets its own answer."""
    dice, ends, before = random.Random(3), 0, descriptors()
    ask = Asking(sending, base)
    ask()
    began = time.monotonic()
    for _ in range(20):
        ask()
    length = (time.monotonic() - began) / 20
    for number in range(TIMES):
        if number % 3 == 0:
            ask.forget()
        raised = error("the limit")
        try:
            with alarm(raised, dice.uniform(0.00001, length * 1.3)):
                ask()
        except error as caught:
            ends += caught is raised  # and not one of its kind that an earlier request has kept
        ask()
    ask.check()
    assert ends > TIMES / 10  # a busy machine is slower than the dice think
    del raised  # its traceback holds a connection that it cut off before the request began
    sending.close(ask.sender)
    wait_for_descriptors(before)


def full_and(stack: ExitStack, base: str) -> list[tuple[Any, ...]]:
    """Return two addresses as the DNS would: one that answers no connection, and that of a server."""
    full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    for _ in range(3):
        waiting = stack.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(full.getsockname())
    places = [full.getsockname(), ("127.0.0.1", int(base.rpartition(":")[2]))]
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]


@pytest.mark.parametrize("sending", ["own"], indirect=True)
class TestHandlersOwnErrors:
    """An error that a handler raises may be of a class that has a meaning of its own where it is raised."""

    def test_while_the_next_address_waits(self, sending: Sending, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """It reaches the caller, and the next address is not tried in its place."""
        with ExitStack() as stack:
            found, raised = full_and(stack, base), Broken("the limit")
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_named: found)
            ask = Asking(sending, "http://localhost")
            with pytest.raises(Broken) as caught, alarm(raised, 0.1):
                ask()
        assert raised is caught.value

    def test_while_the_host_does_not_read(self, sending: Sending) -> None:
        """It reaches the caller, and is not taken for a host that has answered before it has read all."""
        with listening(lambda _: time.sleep(0.5)) as base:
            send, raised = sending.to(target(base), timeout=0.4), Broken("the limit")
            large = Request("POST", "/api/events", ENDPOINT, Repeat.KEYED, b"x" * 20_000_000)
            with pytest.raises(Broken) as caught, alarm(raised, 0.1):
                send(large)
        assert raised is caught.value


# What a handler raises in asyncio's own code, asyncio may keep to itself, or it may lose its own steps by it. So the
# awaited sender is cut off in the code of a request alone.
@pytest.mark.slow
@pytest.mark.untraceable
@pytest.mark.parametrize("error", [Soft, Broken])
@pytest.mark.parametrize("is_new", [False, True], ids=["kept", "new"])
def test_bytecodes(own: Sending, base: str, error: type[Exception], is_new: bool) -> None:
    """Cut off before one bytecode after another, a request tells its caller so, and the next one works at once."""
    before, ask = descriptors(), Asking(own, base)
    ask()
    for _ in range(2):
        if is_new:
            ask.forget()
        with AtStep(error(), 0) as whole:
            ask()
    for number in range(1, whole.seen, whole.seen // TIMES):
        if is_new:
            ask.forget()
        raised = error("the limit")
        with pytest.raises(error) as caught, AtStep(raised, number):
            ask()
        assert raised is caught.value
        ask()
        ask.check()
    del raised, caught  # as above
    own.close(ask.sender)
    wait_for_descriptors(before)
