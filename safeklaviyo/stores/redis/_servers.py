"""The URLs of Redis servers, the clients that are made for them, and their timeouts.

Decided here: what a URL may say, how long a client waits, and that it sends nothing twice. Making a client does no I/O.

For each new connection the sentinels are asked in turn. They share the store's timeout, so that a silent sentinel
leaves time for one that answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from urllib.parse import unquote, urlsplit

import redis.asyncio.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

ACCEPTED: Final = (
    "give redis://[[user]:password@]host[:port][/database], the same with rediss:// for TLS, then perhaps"
    " ?ssl_ca_certs=file, or redis+sentinel://[[user]:password@]host[:port][,host[:port]…]/service[/database], then"
    " perhaps ?sentinel_username=user&sentinel_password=password"
)
CONNECTIONS: Final = 32
"""The most connections of one store. A call that needs one more waits until one is free."""

_CONNECT_TIMEOUT: Final = 2.0
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_PARAMETERS: Final = {
    "redis": frozenset[str](),
    "rediss": frozenset({"ssl_ca_certs"}),
    "redis+sentinel": frozenset({"sentinel_username", "sentinel_password"}),
}
"""The parameters that a URL may have, by its scheme."""


@dataclass(frozen=True, slots=True, repr=False)
class Server:
    """What a URL says.

    Attributes:
        hosts: The server, or the sentinels that name it.
        service: The sentinels' name for the server; None if the URL names the server itself.
        login: The user, password and database of the server.
        more: Further settings: of the connections to the sentinels, if there are any, else of those to the server.
    """

    hosts: tuple[tuple[str, int], ...]
    service: str | None
    is_secure: bool
    login: dict[str, Any] = field(default_factory=dict[str, Any])
    more: dict[str, Any] = field(default_factory=dict[str, Any])

    def client(self, timeout: float) -> tuple[Any, ...]:
        """Return a client, followed by the clients of the sentinels: all have to be closed."""
        return self._opened(_BLOCKING, timeout, {"timeout": timeout, "socket_timeout": timeout})

    def async_client(self, timeout: float) -> tuple[Any, ...]:
        """Same as `client`, for one event loop, but without a timeout for answers, which `Loops.ask` has."""
        return self._opened(_AWAITED, timeout, {"socket_timeout": None})

    def _opened(self, driver: _Driver, timeout: float, waits: dict[str, Any]) -> tuple[Any, ...]:
        settings = {"max_connections": CONNECTIONS, **self.login, **driver.settings(timeout), **waits}
        if self.service is not None:
            share = timeout / (len(self.hosts) + 1)  # one share for each sentinel, and one for the server itself
            asked = {**self.more, **driver.settings(share), "socket_timeout": share}
            sentinel = driver.module.Sentinel(self.hosts, sentinel_kwargs=asked)
            client = sentinel.master_for(self.service, connection_pool_class=driver.named_pool, **settings)
            return (client, *sentinel.sentinels)
        host, port = self.hosts[0]
        kind = driver.module.SSLConnection if self.is_secure else driver.module.Connection
        address = {"host": host, "port": port, "connection_class": kind, **self.more}
        return (driver.module.Redis.from_pool(driver.pool(**address, **settings)),)


class _WaitingPool(SentinelConnectionPool, redis.BlockingConnectionPool):
    """Connections to the server that sentinels name; if none is free, a call waits, as in `BlockingConnectionPool`."""

    def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002 - as it is called
        """Close all connections, or only the idle ones: redis-py does the latter after a failover."""
        if inuse_connections:
            super().disconnect()
            return
        # By hand, because before version 7 redis-py's pool could only close all, also those in use.
        idle: list[Any] = list(cast("Any", self).pool.queue)
        for connection in idle:
            if connection is not None:
                connection.disconnect()


class _Driver(NamedTuple):
    """One half of redis-py.

    Attributes:
        pool: The connections to a server.
        named_pool: Those to the server that sentinels name.
    """

    module: Any
    retry: Any
    pool: Any
    named_pool: Any

    def settings(self, timeout: float) -> dict[str, Any]:
        """Return the settings of every connection."""
        return {
            "socket_connect_timeout": min(timeout, _CONNECT_TIMEOUT),
            "retry": self.retry(NoBackoff(), 0),  # none: a repeat is the caller's decision
            "protocol": 2,  # the third protocol costs a round trip on each connection, and nothing here needs it
        }


_BLOCKING: Final = _Driver(redis, Retry, redis.BlockingConnectionPool, _WaitingPool)
_AWAITED: Final = _Driver(
    redis.asyncio, AsyncRetry, redis.asyncio.ConnectionPool, redis.asyncio.sentinel.SentinelConnectionPool
)


def parse(url: str) -> Server:
    """Return what a URL says.

    Raises:
        ConfigurationError: The URL names no server. The message does not quote it: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        hosts = _hosts(parts)
        given = _parameters(parts.query)
    except ValueError:
        # Not chained: the parser's message quotes the URL.
        raise ConfigurationError(f"the store's URL cannot be read; {ACCEPTED}") from None
    if parts.scheme not in _PARAMETERS or not all(host for host, _ in hosts):
        raise ConfigurationError(f"the store's URL names no Redis server; {ACCEPTED}")
    if given.keys() - _PARAMETERS[parts.scheme] or parts.fragment or url.endswith(("?", "#")):
        raise ConfigurationError(f"the store's URL has parameters that it does not take; {ACCEPTED}")
    path = [unquote(each) for each in parts.path.removeprefix("/").split("/")]
    service = path.pop(0) if parts.scheme == "redis+sentinel" else None
    database = path[0] if path else ""
    if service == "" or len(path) > 1 or not (database == "" or (database.isascii() and database.isdigit())):
        raise ConfigurationError(f"the path of the store's URL is not understood; {ACCEPTED}")
    given_login = {"username": parts.username, "password": parts.password}
    login: dict[str, Any] = {name: unquote(value) for name, value in given_login.items() if value}
    login["db"] = int(database or 0)
    more: dict[str, Any] = {name.removeprefix("sentinel_"): value for name, value in given.items()}
    if parts.scheme == "rediss":
        more["ssl_check_hostname"] = True  # older versions of redis-py take any trusted certificate
    return Server(hosts, service, parts.scheme == "rediss", login, more)


def _parameters(query: str) -> dict[str, str]:
    return {name: unquote(value) for name, _, value in (part.partition("=") for part in query.split("&") if part)}


def _hosts(parts: SplitResult) -> tuple[tuple[str, int], ...]:
    addresses = parts.netloc.rpartition("@")[2]
    if parts.scheme != "redis+sentinel":
        return ((parts.hostname or "", parts.port or _PORT),)
    sentinels = [urlsplit(f"//{address}") for address in addresses.split(",")]
    return tuple((each.hostname or "", each.port or _SENTINEL_PORT) for each in sentinels)
