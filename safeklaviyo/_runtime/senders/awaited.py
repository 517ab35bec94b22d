"""Requests over connections of our own, awaited. Read `senders.own` first.

At most `CONNECTIONS` requests are on their way at once in one client; others wait for a place, as part of their
attempt's time. A request that is cancelled gives its place back. A signal handler may raise anywhere in asyncio's own
code. After such an exception the client starts again, with new places and new connections.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

from safeklaviyo._api.messages import Response
from safeklaviyo._runtime.senders.async_sockets import AsyncWire
from safeklaviyo._runtime.senders.bodies import Body
from safeklaviyo._runtime.senders.connections import KEPT_FOR, Requests, is_reusable, is_usable, response_of, unlock
from safeklaviyo._runtime.senders.failures import explain
from safeklaviyo._runtime.senders.own import Kept
from safeklaviyo.errors import APIConnectionError

if TYPE_CHECKING:
    from safeklaviyo._api.messages import Request
    from safeklaviyo._runtime.senders.timeouts import Timeouts
    from safeklaviyo._runtime.server import Target
    from safeklaviyo._secrets import Secret

CONNECTIONS: Final = 256


class _Places:
    """The connections that are kept, and the places for requests."""

    def __init__(self) -> None:
        self.kept: list[Kept] = []
        self.free = asyncio.Semaphore(CONNECTIONS)

    def take(self) -> Kept | None:
        """Return the connection that was used last, if it can be used again."""
        while self.kept:
            connection = self.kept.pop()
            if is_usable(connection.http):
                return connection
            connection.wire.close()
        return None

    def keep(self, connection: Kept) -> None:
        """Same as `OwnSender._keep`."""
        now = connection.since = time.monotonic()
        self.kept.append(connection)
        while self.kept[0].since < now - KEPT_FOR:
            self.kept.pop(0).wire.close()

    def close(self) -> None:
        """Close the connections that are kept."""
        while self.kept:
            self.kept.pop().wire.close()


class AsyncOwnSender:
    """Same as `OwnSender`, awaited. Belongs to one event loop."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._requests = Requests(target)
        self._new = self._requests.connection(is_awaited=True)
        self._places = _Places()
        self._is_closed = False

    async def send(self, request: Request, timeouts: Timeouts, authorization: Secret | None = None) -> Response:
        """Same as `OwnSender.send`."""
        outer, places = sys.exception(), self._places
        wire: Any = None
        try:
            async with asyncio.timeout(timeouts.limit), places.free:
                connection = places.take() or self._made()
                wire = connection.wire
                wire.begin(timeouts.limit)
                outgoing = self._requests.outgoing(request, timeouts, authorization)
                response = await _exchange(connection.http, outgoing)
                # Places that a signal handler's exception has spoilt keep no connection: they are not used any more.
                if self._is_closed or places is not self._places or not is_reusable(connection.http):
                    connection.wire.close()
                else:
                    places.keep(connection)
        except Exception as exc:  # noqa: BLE001 - as in `OwnSender.send`
            self._fail(exc, outer, places, wire)
        except BaseException as exc:
            if wire is not None:
                wire.close()
            if not isinstance(exc, asyncio.CancelledError | GeneratorExit):
                self._start_anew(places)
            raise
        return response

    def _made(self) -> Kept:
        wire = AsyncWire(self._target)
        http = self._new(wire)
        unlock(http)
        return Kept(http, wire)

    def _fail(self, exc: Exception, outer: BaseException | None, places: _Places, wire: Any) -> NoReturn:
        if wire is not None:
            wire.close()
        try:
            # Without a wire there was no place in time, so nothing left.
            explain(exc, outer, may_have_left=wire is not None and not wire.is_connecting)
        except APIConnectionError:
            raise
        except BaseException:
            self._start_anew(places)
            raise

    def _start_anew(self, places: _Places) -> None:
        """Leave the places and connections in which a signal handler has raised. Requests on their way go on."""
        if places is self._places:
            self._places = _Places()
        places.close()

    async def aclose(self) -> None:
        """Same as `OwnSender.close`."""
        self._is_closed = True
        self._places.close()
        await asyncio.sleep(0)  # asyncio closes the sockets in its next round


async def _exchange(http: Any, request: Any) -> Response:
    answer = await http.handle_async_request(request)
    if isinstance(answer, Response):
        return answer
    body = await Body().read_async(answer.stream)
    await answer.aclose()
    return response_of(answer, body)
