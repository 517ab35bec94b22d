"""The identity map in Redis: for many hosts that share a server, a replicated pair behind Sentinel, or a cluster.

Decided here: which client executes a call, and what a failure leaves. How the map is kept is in `_scripts`. Redis 7 or
later, or Valkey; redis-py 5 or later (the extra ``redis``). Every operation is one script in one round trip, and times
come from the server's clock.

**Repeating.** The store sends nothing twice. `StoreUnavailableError` after a lost connection or a timeout means that
the operation may have been done. Each operation may be repeated:

- a read changes nothing; `renew` and `remember` write the same again;
- `release`, `remove` and `release_identifier` return False if the first attempt was done;
- `add` says ``"unchanged"``;
- `bind` says ``"fenced"`` or ``"stale"``, with the binding as it is now;
- `acquire` meets its own lease. It returns None until that lease expires, and then takes it over with its own intent.

A client that the caller hands in may repeat commands by itself, which is harmless for the same reasons.

**What Redis may lose.** A server confirms a write before the write is on its disk or on a replica. So a crash or a
failover can lose

- the newest bindings, which the next calls find again by asking Klaviyo;
- *retired addresses*: a late call with an old address then creates a new profile;
- *intents*: an interrupted change is then never finished;
- *leases*: another call may then take one while its holder still writes.

Fencing survives such a loss if the clocks of the two servers differ by less than the failover took. Tokens are never
below the time of the server's clock, so the new server gives higher tokens than the old one did, and the holder of a
lost lease is fenced when it next renews or binds. Set ``appendonly yes``, ``maxmemory-policy noeviction`` and
``min-replicas-to-write``, or use another store if that is not enough. `RedisStore.persistence` reads these settings.

**A map that vanishes** does not count as an empty map (P6). Each map has a name of its own, its generation, which a
store keeps from its first use on. If the map is gone, or another map has its keys, each operation raises
`StoreUnavailableError` until the map is back or the process restarts. A process that never used the map cannot notice.

**Sentinels** are asked for the server with each new connection, so the store follows a failover by itself. A primary
that froze and goes on accepts writes, and loses them, until the sentinels have demoted it; ``min-replicas-to-write``
makes that time short. Sentinels that need TLS need a client of the caller's own.

**TLS.** ``rediss://`` checks the server's certificate and its name. Name your own certificate authority in the URL, as
``?ssl_ca_certs=/path/to/ca.pem``. OpenSSL's ``SSL_CERT_FILE`` works too, but also applies to the requests to Klaviyo. A
client certificate needs a client of the caller's own.

**Clusters.** All keys of an account have one hash tag and so one slot: one shard serves an account in a cluster of any
size. Accounts spread over the shards. While a slot is moved, its account cannot be written, and the shard stands still
while the account's one large hash is copied. Give the store a ``RedisCluster`` client, with a ``socket_timeout``.
"""

from __future__ import annotations

import sys
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from redis.exceptions import NoScriptError, ResponseError

from safeklaviyo._interruption import let_through
from safeklaviyo._tracebacks import discreet
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
"""The beginning of the names of all keys, unless another prefix is given."""

TIMEOUT = 5.0
"""Seconds to wait for an answer until the store raises `StoreUnavailableError`; for a connection at most two."""

_RAW = {"NEVER_DECODE": True}  # replies are not UTF-8, but a client that is handed in may be set to decode them


class RedisClient(Protocol):
    """What a store uses of a client of redis-py: `Redis` or `RedisCluster`, of ``redis`` or of ``redis.asyncio``."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command and return its reply, or an awaitable of it."""
        ...


@discreet
class RedisStore(IdentityStore):
    """The identity map on a Redis server. Each process makes its own connections, when it needs them.

    Args:
        server: A URL: ``redis://[[user]:password@]host[:port][/database]``, ``rediss://…[?ssl_ca_certs=file]`` for TLS,
            or ``redis+sentinel://[[user]:password@]host[:port][,…]/service[/database]``, where
            ``?sentinel_password=…`` (and ``sentinel_username``) is for sentinels that want one. Or a client, which the
            store never closes, and which has its own timeouts and retries.
        prefix: The beginning of the names of all keys.
        timeout: Seconds to wait for an answer or for a free connection. Without effect on a client.

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
            # Managed services often forbid CONFIG, which is no failure here.
            try:
                settings = self._ask("CONFIG GET", "save")
            except ResponseError:
                settings = None
        except FAILURES as exc:
            raise store_error(exc) from cause_of(exc)
        return persistence.read(written, memory, settings)

    def perform(self, call: Call[T]) -> T:
        """See `IdentityStore.perform`. An `add` blocks the server while it runs: give a few thousand rows at most."""
        return in_time(partial(self._perform, call), self._slowest)

    def _perform(self, call: Call[T]) -> T:
        asked = packed(call)
        try:
            return self._maps.answer(call.account, asked, self._reply(call.account, asked))
        except SafeKlaviyoError:
            raise
        except BaseException:
            # A signal handler raised. A connection that was just taken from the pool would never come back, and one
            # that was in use may still receive an answer. So the store makes new clients.
            if self._clients is not None:
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
            except NoScriptError:
                # The server has never had the script, or has restarted since. It did nothing, so this is no repeat.
                return self._ask(*self._maps.command(account, call, whole=True))
        except FAILURES as exc:
            let_through(exc, outer)
            raise store_error(exc) from cause_of(exc)

    def _ask(self, *command: Any) -> Any:
        if self._is_closed:
            raise _closed()
        return self._client.execute_command(*command, **self._options)


@discreet
class AsyncRedisStore(AsyncIdentityStore):
    """Same as `RedisStore`, awaited. It may be used from one event loop after another, or from several at once.

    Args:
        server: As for `RedisStore`, but a client is one of ``redis.asyncio``, and belongs to its one event loop.
        prefix: As for `RedisStore`.
        timeout: Seconds that a call may take as a whole. Without effect on a client.

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
            except NoScriptError:
                # The server did nothing, as in `RedisStore`.
                reply = await send(*maps.command(call.account, asked, whole=True))
        except FAILURES as exc:
            let_through(exc, outer)
            raise store_error(exc) from cause_of(exc)
        return maps.answer(call.account, asked, reply)

    async def aclose(self) -> None:
        """Same as `IdentityStore.close`."""
        self._is_closed = True
        if self._loops is not None:
            await self._loops.close_here()

    async def _ask(self, *command: Any) -> Any:
        if self._is_closed:
            raise _closed()
        if self._loops is not None:
            return await self._loops.ask(*command)
        return await self._client.execute_command(*command, **_RAW)


def _closed() -> StoreUnavailableError:
    return StoreUnavailableError("the identity map has been closed; open it again")
