"""The clients of an asynchronous store, one for each event loop, and the time limit of a call.

Decided here:

- Each event loop has a client of its own, because a connection belongs to the loop in which it was made.
- A call has one time limit, from waiting for a free connection to the end of the answer. redis-py would limit each step
  instead, with a task and several timers, which take longer than all else that this library does for a call.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from safeklaviyo.stores.redis._servers import CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from safeklaviyo.stores.redis._servers import Server


class _Opened(NamedTuple):
    """The client of one event loop.

    Attributes:
        free: Counts the free connections, so that a call waits for one within its time limit.
        closer: An asynchronous generator that closes the client when it is closed itself.
    """

    client: Any
    free: asyncio.Semaphore
    closer: AsyncGenerator[Any]


class Loops:
    """A client for each event loop that uses the store.

    A loop that ends closes its connections: an asynchronous generator owns them, and a loop that ends, as `asyncio.run`
    ends one, first closes its generators.

    Args:
        server: The server to connect to.
        timeout: Seconds that a call may take.
    """

    def __init__(self, server: Server, timeout: float) -> None:
        self._server = server
        self._timeout = timeout
        self._by_loop: dict[asyncio.AbstractEventLoop, _Opened] = {}

    async def ask(self, *command: Any) -> Any:
        """Send a command from the running loop, and return the reply.

        Raises:
            TimeoutError: There was none in time.
        """
        opened = self._by_loop.get(asyncio.get_running_loop()) or await self._open()
        async with asyncio.timeout(self._timeout), opened.free:
            return await opened.client.execute_command(*command)

    async def close_here(self) -> None:
        """Close the running loop's client, if there is one."""
        opened = self._by_loop.get(asyncio.get_running_loop())
        if opened is not None:
            await opened.closer.aclose()

    async def _open(self) -> _Opened:
        loop = asyncio.get_running_loop()
        closer = self._close_at_end(loop)
        # `anext` starts the generator: a loop that ends closes only generators that were started in it.
        self._by_loop[loop] = opened = _Opened(await anext(closer), asyncio.Semaphore(CONNECTIONS), closer)
        return opened

    async def _close_at_end(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[Any]:
        clients = self._server.async_client(self._timeout)
        try:
            yield clients[0]
        finally:
            self._by_loop.pop(loop, None)
            for client in clients:
                await client.aclose()
