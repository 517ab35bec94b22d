"""How long an asynchronous store in Redis waits, and for what."""

import asyncio

from safeklaviyo.errors import StoreUnavailableError
from safeklaviyo.stores.redis import AsyncRedisStore
from support.redis import CONNECTIONS
from support.redis_servers import OwnServer

PAUSE = "60000"


async def test_who_needs_one_more_connection_waits_for_it(tmp_path):
    """However many ask at once, all are answered, over no more connections than a store may have."""
    with OwnServer(tmp_path, "--save", "") as server:
        async with AsyncRedisStore(server.url) as store:
            await store.remember("shop", "a", "1")
            answers = await asyncio.gather(*[store.recall("shop", "a") for _ in range(3 * CONNECTIONS)])
            clients = await asyncio.to_thread(server.run, "CLIENT", "LIST", "TYPE", "normal")
    assert ["1"] * (3 * CONNECTIONS) == answers
    assert CONNECTIONS + 1 == len(clients.splitlines() if isinstance(clients, str) else clients)


async def test_an_answer_that_comes_too_late_is_nobodys(tmp_path):
    """A server that is silent is given up in time by all who wait, and its late answer is not taken for the next."""
    with OwnServer(tmp_path, "--save", "") as server:
        async with AsyncRedisStore(server.url, timeout=0.5) as store:
            await store.remember("shop", "a", "1")
            await store.remember("shop", "b", "2")
            await asyncio.to_thread(server.run, "CLIENT", "PAUSE", PAUSE, "WRITE")
            asked = [store.recall("shop", "a") for _ in range(2 * CONNECTIONS)]
            for failure in await asyncio.gather(*asked, return_exceptions=True):
                assert isinstance(failure, StoreUnavailableError)
                assert "in time" in str(failure)
            await asyncio.to_thread(server.run, "CLIENT", "UNPAUSE")
            assert ["2"] * CONNECTIONS == await asyncio.gather(*[store.recall("shop", "b") for _ in range(CONNECTIONS)])
