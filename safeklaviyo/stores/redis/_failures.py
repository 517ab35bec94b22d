"""Which error a failure of Redis, or a script's refusal, becomes.

Decided here: which failures mean that the data is not a map of this version, which that something is set up wrongly,
and which that the map cannot answer now (P6). A message contains neither the server's name nor any value. Failures
with a text that may quote them are not chained (P8).
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final, NamedTuple

import redis.asyncio.sentinel
import redis.sentinel
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from safeklaviyo.errors import ConfigurationError, SafeKlaviyoError, StoreIncompatibleError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

FAILURES: Final = (RedisError, RedisClusterException, OSError)
"""All that redis-py raises."""

_NO_PRIMARY: Final = (redis.sentinel.MasterNotFoundError, redis.asyncio.sentinel.MasterNotFoundError)


class Meaning(NamedTuple):
    """The error to raise, and its message."""

    error: type[SafeKlaviyoError]
    message: str


_LOST: Final = "if the server keeps its data, restore it; else run a recheck, then restart with an empty map"
_UNKNOWN: Final = "the operation may have been done or not; try again"
_CREDENTIALS: Final = Meaning(
    ConfigurationError, "the identity map's server refuses this user or password; see to the store's URL or client"
)
_CLUSTERED: Final = Meaning(
    ConfigurationError, "the identity map's server is part of a cluster; give the store a RedisCluster client"
)
_CLUSTER_DOWN: Final = Meaning(
    StoreUnavailableError, "the cluster that holds the identity map does not serve it now; try again"
)
_DISCONNECTED: Final = Meaning(
    StoreUnavailableError, f"the identity map's server cannot be reached, or hung up: {_UNKNOWN}"
)
_SILENT: Final = Meaning(StoreUnavailableError, f"the identity map's server did not answer in time: {_UNKNOWN}")
_UNNAMED: Final = Meaning(
    StoreUnavailableError,
    "no sentinel names a server that holds the identity map now: try again, or see to the sentinels, to the service's"
    " name, and to what they want as a password",
)
_UNTRUSTED: Final = Meaning(
    ConfigurationError,
    "the certificate of the identity map's server is not to be trusted: see to its name, its dates and who signed it;"
    " an authority of your own goes into the URL's ssl_ca_certs",
)
_REFUSED: Final = Meaning(
    StoreIncompatibleError,
    "the identity map's server refuses what Redis 7 accepts; see to its version, its database number and any proxy",
)

BY_CLASS: Final = {
    "AskError": _CLUSTERED,
    "AuthenticationError": _CREDENTIALS,
    "AuthenticationWrongNumberOfArgsError": _CREDENTIALS,
    "AuthorizationError": _CREDENTIALS,
    "BusyLoadingError": Meaning(
        StoreUnavailableError, "the identity map's server is still reading its data; try again"
    ),
    "ClusterDownError": _CLUSTER_DOWN,
    "ClusterError": _CLUSTER_DOWN,  # one node named another until the client gave up, as while a slot is moved
    "ConnectionError": _DISCONNECTED,
    "ExternalAuthProviderError": _CREDENTIALS,
    "InvalidResponse": Meaning(
        StoreIncompatibleError, "what answers in place of the identity map's server is no Redis; see to the store's URL"
    ),
    "MaxConnectionsError": Meaning(
        StoreUnavailableError, "all connections to the identity map's server are in use; try again"
    ),
    "MovedError": _CLUSTERED,
    "NoPermissionError": _CREDENTIALS,
    "OSError": _DISCONNECTED,
    "OutOfMemoryError": Meaning(
        StoreUnavailableError, "the identity map's server has no memory left; raise its maxmemory"
    ),
    "ReadOnlyError": Meaning(
        StoreUnavailableError, "the identity map's server is a replica, which cannot be written to; name the primary"
    ),
    "RedisClusterException": _CLUSTER_DOWN,
    "RedisError": _REFUSED,
    "TimeoutError": _SILENT,
    "TryAgainError": _CLUSTER_DOWN,
}
"""By class name, the nearest base class first. Names, because not every version of redis-py has every class."""

BY_CODE: Final = {
    "ASK": _CLUSTERED,
    "BUSY": Meaning(StoreUnavailableError, "the identity map's server is busy with a long script; try again"),
    "MISCONF": Meaning(StoreUnavailableError, "the identity map's server cannot write to its disk; see to that"),
    "MOVED": _CLUSTERED,
    "NOREPLICAS": Meaning(StoreUnavailableError, "the identity map's server misses its replicas; see to them"),
    "WRONGTYPE": Meaning(
        StoreIncompatibleError, "other data stands where the identity map should be; choose another prefix"
    ),
}
"""By the first word of an error reply for which some version of redis-py has no class."""

BY_REFUSAL: Final = {
    "foreign": Meaning(
        StoreIncompatibleError, "other data stands where the identity map should be; choose another prefix"
    ),
    "gone": Meaning(StoreUnavailableError, f"the identity map that was in use is gone from the server: {_LOST}"),
    "replaced": Meaning(
        StoreUnavailableError, f"another identity map stands where the one in use was on the server: {_LOST}"
    ),
    "version": Meaning(
        StoreIncompatibleError, "the identity map was written by another version of safeklaviyo; use that version"
    ),
}
"""By the word that a script returns when it refuses."""


def meaning_of(failure: BaseException) -> Meaning:
    """Return what a failure of redis-py means."""
    # An error reply of the server may have no class of its own in this version of redis-py.
    if isinstance(failure, ResponseError):
        by_code = BY_CODE.get(str(failure).partition(" ")[0])
        if by_code is not None:
            return by_code
    # redis-py wraps a refused certificate in a ConnectionError, which would look like a server that is down.
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in _chain(failure)):
        return _UNTRUSTED
    if isinstance(failure, _NO_PRIMARY):
        return _UNNAMED
    return next(BY_CLASS[each.__name__] for each in type(failure).__mro__ if each.__name__ in BY_CLASS)


def _chain(failure: BaseException | None) -> Iterator[BaseException]:
    while failure is not None:
        yield failure
        failure = failure.__cause__ or failure.__context__


def store_error(failure: BaseException) -> SafeKlaviyoError:
    """Return the error that says what a failure of redis-py means."""
    error, message = meaning_of(failure)
    return error(message)


def cause_of(failure: BaseException) -> BaseException | None:
    """Return the failure, unless its text may quote a command's values or the sentinels' password."""
    return None if isinstance(failure, (ResponseError, *_NO_PRIMARY)) else failure


def refusal(word: str) -> SafeKlaviyoError:
    """Return the error for the word with which a script refused."""
    error, message = BY_REFUSAL.get(word, _REFUSED)
    return error(message)
