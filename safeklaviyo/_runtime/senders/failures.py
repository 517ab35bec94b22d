"""What an exception on the way of a request means: it was not sent, or its answer was lost.

Decided here: which exceptions are failures of a connection, and which of them say that no byte of the request can have
left. Everything else that is raised during a request (a signal handler's exception, a fault of a caller's hook or of a
test's mock) passes through as it is.
"""

from __future__ import annotations

from typing import Final, NoReturn

from safeklaviyo._interruption import let_through
from safeklaviyo.errors import APIConnectionError, NoResponseError, NotSentError

TRANSPORTS: Final = frozenset(
    {
        "aiohttp",
        "anyio",
        "asyncio",
        "h11",
        "httpcore",
        "httpcore2",
        "httpx",
        "httpx2",
        "httpx_aiohttp",
        "socksio",
        "ssl",
    }
)  # fmt: skip
"""The packages with exceptions that mean a failed connection. Those of the operating system are `OSError`."""

NOT_SENT: Final = frozenset(
    {"ConnectError", "ConnectTimeout", "InvalidURL", "PoolTimeout", "ProxyError", "UnsupportedProtocol"}
)
"""The exceptions, by the names that httpx and httpcore share, that are raised before a byte of the request leaves."""


class BrokenAnswerError(OSError):
    """An answer that cannot be read: larger than allowed, or encoded in a way that was not asked for."""


def explain(exc: Exception, outer: BaseException | None, *, may_have_left: bool = True) -> NoReturn:
    """Raise what an exception during a request means.

    Args:
        outer: What the caller was handling before the request, `sys.exception()`.
        may_have_left: Some of the request can have been written to Klaviyo.

    Raises:
        NotSentError: No byte of the request has left.
        NoResponseError: The request may have left, and no whole answer came back.
        BaseException: The exception itself, if no transport raised it, or the signal handler's behind it.
    """
    let_through(exc, outer)
    if not _is_transports(exc):
        raise exc
    raise failure(exc, may_have_left=may_have_left) from _origin(exc)


def failure(exc: Exception, *, may_have_left: bool = True) -> APIConnectionError:
    """Return the error that a transport's exception stands for."""
    if not may_have_left or (_has_name_of_not_sent(exc) and _is_believed(exc)):
        return NotSentError(f"no connection to Klaviyo could be made ({type(exc).__name__}); nothing was sent")
    return NoResponseError(f"the connection to Klaviyo broke before its whole answer came ({type(exc).__name__})")


def _has_name_of_not_sent(exc: Exception) -> bool:
    return any(each.__name__ in NOT_SENT and _package(each) in TRANSPORTS for each in type(exc).__mro__)


def _is_transports(exc: Exception) -> bool:
    return isinstance(exc, OSError) or any(_package(each) in TRANSPORTS for each in type(exc).__mro__)


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _is_believed(exc: Exception) -> bool:
    """Tell whether "no connection" is to be believed of a transport.

    httpx-aiohttp calls every lost connection a connect timeout, also one that the request had left on. aiohttp's own
    error, the cause of httpx-aiohttp's, knows better.
    """
    cause = exc.__cause__
    if cause is None or _package(type(cause)) != "aiohttp":
        return True
    names = {each.__name__ for each in type(cause).__mro__}
    return not names.isdisjoint({"ClientConnectorError", "ClientHttpProxyError", "ConnectionTimeoutError"})


def _origin(exc: Exception) -> OSError | None:
    """Return the operating system's own error behind a failure. What lies between may quote the URL in its message."""
    chain: list[BaseException] = []
    step: BaseException | None = exc
    while step is not None and step not in chain:
        # The frames of a traceback hold the key, and from Python 3.12 on they keep each other alive (F-32).
        chain.append(step.with_traceback(None))
        # httpcore raises its errors "from None", which hides the exception behind them and keeps it.
        step = step.__cause__ or (step.__context__ if step.__suppress_context__ else None)
    return next((each for each in chain if isinstance(each, OSError) and _package(type(each)) != "aiohttp"), None)
