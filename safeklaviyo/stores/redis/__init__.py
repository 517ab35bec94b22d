"""The identity map in Redis: for many hosts that share a server, a replicated pair behind Sentinel, or a cluster.

Decided here: who executes a call, and what a failure leaves. How the map is kept is in `scripts`. Redis 7 or later, or
Valkey; redis-py 5 or later (the extra ``redis``). Every operation is one script in one round trip, and the time is the
server's.

**Repeating.** Nothing is sent twice. `StoreUnavailableError` after a lost connection or a timeout means that the
operation may have been done, and each can be asked again without harm: a lease that was taken unnoticed is in its
taker's own way until it expires, and is then taken over with its intent; a change that was made unnoticed is
``"fenced"`` or ``"stale"`` the second time, with what stands now; a row that was added is ``"unchanged"``; a renewal, a
note and all that reads is the same again; what was released or removed is no longer there. A client of the caller's own
keeps its own habits, which are as harmless for the same reasons.

**What Redis may lose.** A server confirms a write before it is on its disk or on a replica. What a crash or a failover
takes back is gone: the newest bindings (found again by asking Klaviyo), *retired addresses* (so that a late call with
an old address makes a new profile), *intents* (so that nobody finishes what was interrupted) and *leases* (so that
another may take one while its holder still writes). Fencing survives it as far as it can: tokens are never below the
time by the server's clock, so that a token given after a failover is a new one as long as the clocks of the servers
agree to within the time the failover took, and a holder whose lease was lost is told so when next it renews or binds.
Set ``appendonly yes``, ``maxmemory-policy noeviction`` and ``min-replicas-to-write``, or use another store where that
is not enough; `RedisStore.persistence` says what a server does.

**A map that vanishes** is not taken for one that knows nobody (P6). Each map has a name of its own, which a store
remembers from its first use; once the map is gone or another stands in its place, each operation raises
`StoreUnavailableError`, until it is back or the process is started anew. A process that never saw the map cannot know.

**Sentinels** are asked whenever a connection is made, so that the store follows a failover by itself. A primary that
froze and goes on takes writes until the sentinels have demoted it, and loses them: ``min-replicas-to-write`` makes that
time short. Sentinels that are spoken to by TLS need a client of the caller's own.

**TLS.** ``rediss://`` checks the server's certificate and its name. An authority of your own goes into the URL, as
``?ssl_ca_certs=/path/to/ca.pem``. What OpenSSL is told by ``SSL_CERT_FILE`` counts as well, but for the requests to
Klaviyo too. A certificate of the client's needs a client of the caller's own.

**Clusters.** All keys of an account have one hash tag and so one slot: an account is served by one shard, whatever the
cluster's size, and moving its slot stops that shard while its one large hash is copied. While a slot is being moved,
what writes is unavailable. Accounts spread over the shards. Give the store a ``RedisCluster`` client, with a
``socket_timeout``.
"""

from __future__ import annotations

import sys
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from redis.exceptions import NoScriptError, ResponseError

from safeklaviyo._interruption import let_through
from safeklaviyo.errors import ConfigurationError, SafeKlaviyoError, StoreUnavailableError
from safeklaviyo.stores.base import AsyncIdentityStore, IdentityStore
from safeklaviyo.stores.patience import in_time, in_time_async
from safeklaviyo.stores.redis import _persistence as persistence
from safeklaviyo.stores.redis import _servers as servers
from safeklaviyo.stores.redis._failures import FAILURES, cause_of, store_error
from safeklaviyo.stores.redis._loops import Loops
from safeklaviyo.stores.redis._maps import Maps
from safeklaviyo.stores.redis._packing import packed
from safeklaviyo.stores.redis._persistence import Persistence

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo.stores.calls import Call
    from safeklaviyo.stores.redis._packing import Packed

__all__ = ["AsyncRedisStore", "Persistence", "RedisClient", "RedisStore"]

T = TypeVar("T")

PREFIX = "safeklaviyo"
"""What the names of all keys begin with, unless another prefix is given."""

TIMEOUT = 5.0
"""Seconds to wait for an answer before the map counts as unavailable; for a connection no more than two."""

_RAW = {"NEVER_DECODE": True}  # the replies are not text, whatever the settings of a client that is given


class RedisClient(Protocol):
    """What a store needs of a client of redis-py: `Redis` or `RedisCluster`, of ``redis`` or of ``redis.asyncio``."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command and return its reply, or an awaitable of it."""
        ...


class RedisStore(IdentityStore):
    """The identity map on a Redis server. Connections are made when they are needed, by each process its own.

    Args:
        server: A URL: ``redis://[[user]:password@]host[:port][/database]``, ``rediss://…[?ssl_ca_certs=file]`` for TLS,
            or ``redis+sentinel://[[user]:password@]host[:port][,…]/service[/database]``, where
            ``?sentinel_password=…`` (and ``sentinel_username``) is for sentinels that want one. Or a client, which is
            never closed here; its timeouts and retries are its own.
        prefix: What the names of all keys begin with.
        timeout: How long to wait for an answer or for a free connection, in seconds. Not for a client.

    Raises:
        ConfigurationError: The URL or the prefix cannot be used.
    """

    def __init__(self, server: str | RedisClient, *, prefix: str = PREFIX, timeout: float = TIMEOUT) -> None:
        self._maps = Maps(prefix)
        self._clients: Callable[[], tuple[Any, ...]] | None = None
        self._own: tuple[Any, ...] = ()
        self._options = _RAW
        if isinstance(server, str):
            self._clients = partial(servers.parse(server).client, timeout)
            self._own = self._clients()
            server, self._options = self._own[0], {}
        elif iscoroutinefunction(server.execute_command):
            raise ConfigurationError("RedisStore needs a client of redis; AsyncRedisStore takes one of redis.asyncio")
        self._client: Any = server
        # A client that is given may wait for ever.
        self._slowest = 3 * timeout if self._own else float("inf")
        self._is_closed = False

    def persistence(self) -> Persistence:
        """Return what the server does with its data, as far as it says.

        Raises:
            StoreUnavailableError: The server cannot be asked.
            ConfigurationError: The server refuses the user or password.
        """
        try:
            written, memory = self._ask("INFO", "persistence"), self._ask("INFO", "memory")
            try:
                settings = self._ask("CONFIG GET", "save")
            except ResponseError:
                settings = None
        except FAILURES as exc:
            raise store_error(exc) from cause_of(exc)
        return persistence.read(written, memory, settings)

    def perform(self, call: Call[T]) -> T:
        """See `IdentityStore.perform`. The server does nothing else during an `add`: give a few thousand rows."""
        return in_time(partial(self._perform, call), self._slowest)

    def _perform(self, call: Call[T]) -> T:
        asked = packed(call)
        try:
            return self._maps.answer(call.account, asked, self._reply(call.account, asked))
        except SafeKlaviyoError:
            raise
        except BaseException:
            if self._clients is not None:  # a signal handler raised: a connection may have been lost on its way
                self._client, *_ = self._own = self._clients()
            raise

    def close(self) -> None:
        """See `IdentityStore.close`."""
        self._is_closed = True
        for client in self._own:
            client.close()

    def _reply(self, account: str, call: Packed[Any]) -> Any:
        outer = sys.exception()
        try:
            try:
                return self._ask(*self._maps.command(account, call))
            except NoScriptError:  # nothing was done: the server has not met the script, or has restarted since
                return self._ask(*self._maps.command(account, call, whole=True))
        except FAILURES as exc:
            let_through(exc, outer)
            raise store_error(exc) from cause_of(exc)

    def _ask(self, *command: Any) -> Any:
        if self._is_closed:
            raise _closed()
        return self._client.execute_command(*command, **self._options)


class AsyncRedisStore(AsyncIdentityStore):
    """The asynchronous twin of `RedisStore`. It may be used from one event loop after another, or from several at once.

    Args:
        server: As for `RedisStore`, but a client is one of ``redis.asyncio``, and belongs to its one event loop.
        prefix: As for `RedisStore`.
        timeout: How long a call may take as a whole, in seconds. Not for a client.

    Raises:
        ConfigurationError: The URL or the prefix cannot be used.
    """

    def __init__(self, server: str | RedisClient, *, prefix: str = PREFIX, timeout: float = TIMEOUT) -> None:
        self._maps = Maps(prefix)
        self._client: Any = None
        self._loops: Loops | None = None
        if isinstance(server, str):
            self._loops = Loops(servers.parse(server), timeout)
        elif not iscoroutinefunction(server.execute_command):
            raise ConfigurationError("AsyncRedisStore needs a client of redis.asyncio; RedisStore takes one of redis")
        else:
            self._client = server
        self._slowest = timeout if self._loops is not None else float("inf")
        self._is_closed = False

    async def persistence(self) -> Persistence:
        """Same as `RedisStore.persistence`."""
        try:
            written, memory = await self._ask("INFO", "persistence"), await self._ask("INFO", "memory")
            try:
                settings = await self._ask("CONFIG GET", "save")
            except ResponseError:
                settings = None
        except FAILURES as exc:
            raise store_error(exc) from cause_of(exc)
        return persistence.read(written, memory, settings)

    async def perform(self, call: Call[T]) -> T:
        """Same as `RedisStore.perform`."""
        return await in_time_async(self._perform(call), self._slowest)

    async def _perform(self, call: Call[T]) -> T:
        asked = packed(call)
        send, maps, outer = self._ask, self._maps, sys.exception()
        try:
            try:
                reply = await send(*maps.command(call.account, asked))
            except NoScriptError:  # nothing was done: the server has not met the script, or has restarted since
                reply = await send(*maps.command(call.account, asked, whole=True))
        except FAILURES as exc:
            let_through(exc, outer)
            raise store_error(exc) from cause_of(exc)
        return maps.answer(call.account, asked, reply)

    async def aclose(self) -> None:
        """Same as `IdentityStore.close`."""
        self._is_closed = True
        if self._loops is not None:
            await self._loops.leave()

    async def _ask(self, *command: Any) -> Any:
        if self._is_closed:
            raise _closed()
        if self._loops is not None:
            return await self._loops.ask(*command)
        return await self._client.execute_command(*command, **_RAW)


def _closed() -> StoreUnavailableError:
    return StoreUnavailableError("the identity map has been closed; open it again")
