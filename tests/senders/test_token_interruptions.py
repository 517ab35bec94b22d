"""An exception at any bytecode of asking for a token leaves no lock taken."""

from __future__ import annotations

import sys
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo.identity import Kind
from support.wire import SECONDS, Request, Response, current, senders

if TYPE_CHECKING:
    from collections.abc import Callable

REQUEST = current.search_profiles(Kind.EMAIL, "ann@shop.dev")
FILE = senders.TokenSender.send.__code__.co_filename


class Limit(BaseException):
    """What a signal handler raises."""


class Inner:
    """A sender that answers at once."""

    def send(self, _: Request, __: Any, ___: Any) -> Response:
        """Answer."""
        return Response(200, {}, b'{"data": []}')


def interrupted_at(number: int, sender: Any, after: Callable[[], None]) -> bool:
    """Send, with an exception at one bytecode of the module; tell whether there was that bytecode.

    What comes after is done while the thread lives: another thread could have the number of one that is gone, and a
    lock that was left taken would then be its own.

    In a thread of its own: Python may go on to count an exception that came there as one that is being handled, and
    every later one of the same thread would have it as its context.
    """
    left = number

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename != FILE:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                raise Limit
        return trace

    def send() -> None:
        sys._getframe().f_trace_opcodes = True  # before `settrace`, or Python 3.12 reports no bytecode
        sys.settrace(trace)
        try:
            sender.send(REQUEST, SECONDS)
        except (Limit, senders.Unsent):
            pass
        finally:
            sys.settrace(None)
        after()

    thread = Thread(target=send)
    thread.start()
    thread.join()
    return left <= 0


@pytest.mark.untraceable
def test_the_next_thread_asks_at_once() -> None:
    """Wherever the exception comes, another thread gets its token and its answer."""
    answers: list[int] = []
    sender = senders.TokenSender(Inner(), lambda: "a")

    def ask() -> None:
        other = Thread(target=lambda: answers.append(sender.send(REQUEST, senders.timeouts(1.0)).status))
        other.start()
        other.join(5)

    number = 1
    while interrupted_at(number, sender, ask):
        assert [200] * number == answers, number
        number += 1
        sender = senders.TokenSender(Inner(), lambda: "a")
    assert number > 100
