"""How a Redis server is named, reached and waited for.

Decided here: what a URL may say, how long is waited, and that nothing is sent twice. Making a client does no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

ACCEPTED: Final = (
    "give redis://[[user]:password@]host[:port][/database], the same with rediss:// for TLS, or"
    " redis+sentinel://[[user]:password@]host[:port][,host[:port]…]/service[/database]"
)
CONNECTIONS: Final = 32
"""How many connections one store keeps open at most; who needs one more waits for it."""

_CONNECT_TIMEOUT: Final = 2.0
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_SCHEMES: Final = frozenset({"redis", "rediss", "redis+sentinel"})


@dataclass(frozen=True, slots=True, repr=False)
class Server:
    """What a URL says.

    Attributes:
        hosts: The server; or the sentinels that know it.
        service: The name by which the sentinels know it; None where the server is named itself.
    """

    hosts: tuple[tuple[str, int], ...]
    service: str | None
    is_secure: bool
    login: dict[str, Any] = field(default_factory=dict[str, Any])

    def client(self, timeout: float) -> tuple[Any, ...]:
        """Return a client, and behind it whatever else is to be closed with it."""
        return self._opened(redis, Retry(NoBackoff(), 0), timeout)

    def async_client(self, timeout: float) -> tuple[Any, ...]:
        """Same as `client`, for one event loop."""
        return self._opened(redis.asyncio, AsyncRetry(NoBackoff(), 0), timeout)

    def _opened(self, driver: Any, retry: Any, timeout: float) -> tuple[Any, ...]:  # redis-py's own types say less
        waits = _waits(timeout, retry)
        if self.service is not None:
            sentinel = driver.Sentinel(self.hosts, sentinel_kwargs=waits)
            return (sentinel.master_for(self.service, **self.login, **waits), *sentinel.sentinels)
        host, port = self.hosts[0]
        kind = driver.SSLConnection if self.is_secure else driver.Connection
        place = {"host": host, "port": port, "connection_class": kind, "max_connections": CONNECTIONS}
        return (driver.Redis.from_pool(driver.BlockingConnectionPool(timeout=timeout, **place, **self.login, **waits)),)


def parse(url: str) -> Server:
    """Return what a URL says.

    Raises:
        ConfigurationError: It names no server. It is not quoted, because it may hold a password.
    """
    try:
        parts = urlsplit(url)
        hosts = _hosts(parts)
    except ValueError:
        raise ConfigurationError(f"the store's URL cannot be read; {ACCEPTED}") from None
    if parts.scheme not in _SCHEMES or not all(host for host, _ in hosts):
        raise ConfigurationError(f"the store's URL names no Redis server; {ACCEPTED}")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ConfigurationError(f"a store's URL takes no parameters; {ACCEPTED}")
    path = [unquote(each) for each in parts.path.removeprefix("/").split("/")]
    service = path.pop(0) if parts.scheme == "redis+sentinel" else None
    database = path[0] if path else ""
    if service == "" or len(path) > 1 or not (database == "" or (database.isascii() and database.isdigit())):
        raise ConfigurationError(f"the path of the store's URL is not understood; {ACCEPTED}")
    login = {"username": parts.username, "password": parts.password}
    given = {name: unquote(value) for name, value in login.items() if value}
    return Server(hosts, service, parts.scheme == "rediss", given | {"db": int(database or 0)})


def _hosts(parts: SplitResult) -> tuple[tuple[str, int], ...]:
    places = parts.netloc.rpartition("@")[2]
    if parts.scheme != "redis+sentinel":
        return ((parts.hostname or "", parts.port or _PORT),)
    each = [urlsplit(f"//{place}") for place in places.split(",")]
    return tuple((place.hostname or "", place.port or _SENTINEL_PORT) for place in each)


def _waits(timeout: float, retry: Any) -> dict[str, Any]:
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": min(timeout, _CONNECT_TIMEOUT),
        "retry": retry,
        "protocol": 2,  # the third protocol costs a round trip on each connection, and nothing here needs it
    }
