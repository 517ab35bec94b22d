"""The clients of an asynchronous store, and how long it waits.

Decided here: each event loop has a client of its own, because a connection belongs to the loop in which it was made;
and a call has one time limit for all of it, from waiting for a free connection to the end of the answer. redis-py
would set a limit to each step, which costs a task and several timers, and more than all that this library does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from safeklaviyo.stores.redis._servers import CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from safeklaviyo.stores.redis._servers import Server


class _Kept(NamedTuple):
    """What one loop has.

    Attributes:
        free: As many turns as there are connections.
        keeper: Closes the client when it is closed.
    """

    client: Any
    free: asyncio.Semaphore
    keeper: AsyncGenerator[Any]


class Loops:
    """A client for each event loop that asks.

    The connections of a loop are closed with it: an asynchronous generator keeps them, and a loop that ends, as
    `asyncio.run` ends one, finishes its generators first.

    Args:
        server: What the clients connect to.
        timeout: How long a call may take, in seconds.
    """

    def __init__(self, server: Server, timeout: float) -> None:
        self._server = server
        self._timeout = timeout
        self._keepers: dict[asyncio.AbstractEventLoop, _Kept] = {}

    async def ask(self, *command: Any) -> Any:
        """Send a command from the running loop, and return the reply.

        Raises:
            TimeoutError: There was none in time.
        """
        kept = self._keepers.get(asyncio.get_running_loop()) or await self._opened()
        async with asyncio.timeout(self._timeout), kept.free:
            return await kept.client.execute_command(*command)

    async def leave(self) -> None:
        """Close the running loop's client, if there is one."""
        kept = self._keepers.get(asyncio.get_running_loop())
        if kept is not None:
            await kept.keeper.aclose()

    async def _opened(self) -> _Kept:
        loop = asyncio.get_running_loop()
        keeper = self._keep(loop)
        self._keepers[loop] = kept = _Kept(await anext(keeper), asyncio.Semaphore(CONNECTIONS), keeper)
        return kept

    async def _keep(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[Any]:
        opened = self._server.async_client(self._timeout)
        try:
            yield opened[0]
        finally:
            self._keepers.pop(loop, None)
            for client in opened:
                await client.aclose()
