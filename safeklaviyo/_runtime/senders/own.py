"""Requests over connections of our own, kept in a list and used by one request at a time.

httpcore's connections are used without httpcore's pool: the pool looks through all of its connections under one lock at
each step, and an exception that a signal handler raises there leaves the lock taken for ever. A connection here belongs
to one request, or to the list. An exception at any bytecode of a request takes at most that request's connection with
it: nothing counts connections, and nothing is locked. Python's `append` and `pop` of a list need no lock.

Decided here: which connection a request takes. Read `senders.connections` and `senders.sockets` next.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safeklaviyo._api.messages import Response
from safeklaviyo._runtime.senders.bodies import Body
from safeklaviyo._runtime.senders.connections import KEPT_FOR, Requests, is_reusable, is_usable, response_of
from safeklaviyo._runtime.senders.failures import explain
from safeklaviyo._runtime.senders.sockets import Wire

if TYPE_CHECKING:
    from safeklaviyo._api.messages import Request
    from safeklaviyo._runtime.senders.timeouts import Timeouts
    from safeklaviyo._runtime.server import Target
    from safeklaviyo._secrets import Secret


@dataclass(slots=True, eq=False)
class Kept:
    """A connection of httpcore's, and the wire below it, which closes it.

    Attributes:
        since: When its last request ended, on the monotonic clock.
    """

    http: Any
    wire: Any
    since: float = 0.0


class OwnSender:
    """Requests over connections of our own. Safe between threads."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._requests = Requests(target)
        self._new = self._requests.connection(is_awaited=False)
        self._kept: list[Kept] = []
        self._is_closed = False

    def send(self, request: Request, timeouts: Timeouts, authorization: Secret | None = None) -> Response:
        """Same as `Sender.send`."""
        outer, connection = sys.exception(), self._connection()
        try:
            connection.wire.begin(timeouts.limit)
            response = _exchange(connection.http, self._requests.outgoing(request, timeouts, authorization))
        except Exception as exc:  # noqa: BLE001 - `explain` raises again what no transport raised
            connection.wire.close()
            explain(exc, outer, may_have_left=not connection.wire.is_connecting)
        except BaseException:
            # The wire and not httpcore's connection, which may be in any state, and may have taken locks.
            connection.wire.close()
            raise
        # Not within: once it is kept, another thread may be using it, and an exception must not close it any more.
        self._keep(connection)
        return response

    def _connection(self) -> Kept:
        """Return the connection that was used last, if it can be used again, or a new one."""
        while self._kept:
            try:
                connection = self._kept.pop()
            except IndexError:  # another thread was quicker
                break
            if is_usable(connection.http):
                return connection
            connection.wire.close()
        wire = Wire(self._target)
        return Kept(self._new(wire), wire)

    def _keep(self, connection: Kept) -> None:
        """Keep a connection for the next request, and close those that were not needed for a while."""
        if not is_reusable(connection.http):
            connection.wire.close()
            return
        now = connection.since = time.monotonic()
        self._kept.append(connection)
        # The last ones are taken first, so the first ones are the oldest.
        while self._kept and (self._is_closed or self._kept[0].since < now - KEPT_FOR):
            try:
                oldest = self._kept.pop(0)
            except IndexError:  # as above
                return
            oldest.wire.close()

    def close(self) -> None:
        """Close the connections. One that another thread's request is using is closed at the end of that request."""
        self._is_closed = True
        while self._kept:
            self._kept.pop().wire.close()


def _exchange(http: Any, request: Any) -> Response:
    answer = http.handle_request(request)
    if isinstance(answer, Response):
        return answer
    body = Body().read(answer.stream)
    answer.close()
    return response_of(answer, body)
