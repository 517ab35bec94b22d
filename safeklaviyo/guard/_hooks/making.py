"""The hooks that a shop puts into its own HTTP code, one for each library."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from safeklaviyo.errors import ConfigurationError
from safeklaviyo.guard._async_core import AsyncCore
from safeklaviyo.guard._core import Core

if TYPE_CHECKING:
    import os

    import httpx
    from requests.adapters import BaseAdapter

    from safeklaviyo._client.async_klaviyo import AsyncKlaviyo
    from safeklaviyo._client.klaviyo import Klaviyo
    from safeklaviyo.guard._core import OnStoreFailure, UniqueId
    from safeklaviyo.guard._decide.verdicts import Modes
    from safeklaviyo.guard._hooks.over_aiohttp import GuardMiddleware
    from safeklaviyo.guard._hooks.over_httpx import AsyncGuardTransport, GuardTransport
    from safeklaviyo.guard._hooks.over_requests import GuardAdapter
    from safeklaviyo.guard._hooks.over_sdk import GuardRestClient, RestClient


def transport(
    k: Klaviyo,
    inner: httpx.BaseTransport | None = None,
    *,
    mode: Modes = "observe",
    decision_log: str | os.PathLike[str] | None = None,
    on_store_failure: OnStoreFailure = "refuse",
    learn: bool = True,
    unique_id: UniqueId = "as_sent",
) -> GuardTransport:
    """Return a transport for `httpx.Client`, or `httpx2.Client`, that guards the calls of one account.

    Args:
        k: The client of the account. Calls with another key pass untouched, and are counted.
        inner: The transport that sends; a new `httpx.HTTPTransport` if none is given.
        mode: One mode for all operations, or a mode for each, by Klaviyo's id of the operation; see `Mode`.
        decision_log: The file of the decision log. Without a file no log is written.
        on_store_failure: In enforce, while the map is away: ``"refuse"`` with 503, or ``"forward"`` the call as it is.
        learn: In observe, take what Klaviyo's answers show of customers into the map, as hints.
        unique_id: ``"from_content"`` gives, in enforce, an event without ``unique_id`` one of its own content: who is
            named, metric, properties, value, and the time, else the second. A repeat of the same call within a minute
            of a lost answer gets the same one, and counts once. A repeat from another process in a later second, or
            with other content, counts twice, as it does without. Events of jobs are left as they are.

    Raises:
        ConfigurationError: An argument makes no sense.
    """
    guard = Core(
        k, mode=mode, decision_log=decision_log, on_store_failure=on_store_failure, learn=learn, unique_id=unique_id
    )
    over = _hook("over_httpx", "httpx")
    made: GuardTransport = over.GuardTransport(guard, inner or over.httpx.HTTPTransport())
    return made


def async_transport(
    k: AsyncKlaviyo | Klaviyo,
    inner: httpx.AsyncBaseTransport | None = None,
    *,
    mode: Modes = "observe",
    decision_log: str | os.PathLike[str] | None = None,
    on_store_failure: OnStoreFailure = "refuse",
    learn: bool = True,
    unique_id: UniqueId = "as_sent",
) -> AsyncGuardTransport:
    """Same as `transport`, for `httpx.AsyncClient`. A `Klaviyo` works in threads beside the event loop."""
    guard = Core(
        k, mode=mode, decision_log=decision_log, on_store_failure=on_store_failure, learn=learn, unique_id=unique_id
    )
    over = _hook("over_httpx", "httpx")
    made: AsyncGuardTransport = over.AsyncGuardTransport(AsyncCore(guard), inner or over.httpx.AsyncHTTPTransport())
    return made


def adapter(
    k: Klaviyo,
    inner: BaseAdapter | None = None,
    *,
    mode: Modes = "observe",
    decision_log: str | os.PathLike[str] | None = None,
    on_store_failure: OnStoreFailure = "refuse",
    learn: bool = True,
    unique_id: UniqueId = "as_sent",
) -> GuardAdapter:
    """Return an adapter for a session of requests: ``session.mount("https://a.klaviyo.com", guard.adapter(k))``.

    Args:
        k: See `transport`.
        inner: The adapter that sends; a new `HTTPAdapter` if none is given.
        mode: See `transport`.
        decision_log: See `transport`.
        on_store_failure: See `transport`.
        learn: See `transport`.
        unique_id: See `transport`.

    Raises:
        ConfigurationError: An argument makes no sense, or requests is not installed.
    """
    guard = Core(
        k, mode=mode, decision_log=decision_log, on_store_failure=on_store_failure, learn=learn, unique_id=unique_id
    )
    made: GuardAdapter = _hook("over_requests", "requests").GuardAdapter(guard, inner)
    return made


def sdk(
    k: Klaviyo,
    inner: RestClient | None = None,
    *,
    mode: Modes = "observe",
    decision_log: str | os.PathLike[str] | None = None,
    on_store_failure: OnStoreFailure = "refuse",
    learn: bool = True,
    unique_id: UniqueId = "as_sent",
) -> GuardRestClient:
    """Return a REST client for Klaviyo's own SDK.

    With ``api = KlaviyoAPI(…)``: ``api.api_client.rest_client = guard.sdk(k, api.api_client.rest_client)``.

    Args:
        k: See `transport`.
        inner: The REST client that sends; a new one if none is given.
        mode: See `transport`.
        decision_log: See `transport`.
        on_store_failure: See `transport`.
        learn: See `transport`.
        unique_id: See `transport`.

    Raises:
        ConfigurationError: An argument makes no sense, or the SDK is not installed.
    """
    guard = Core(
        k, mode=mode, decision_log=decision_log, on_store_failure=on_store_failure, learn=learn, unique_id=unique_id
    )
    made: GuardRestClient = _hook("over_sdk", "klaviyo-api").GuardRestClient(guard, inner)
    return made


def aiohttp_middleware(
    k: AsyncKlaviyo | Klaviyo,
    *,
    mode: Modes = "observe",
    decision_log: str | os.PathLike[str] | None = None,
    on_store_failure: OnStoreFailure = "refuse",
    learn: bool = True,
    unique_id: UniqueId = "as_sent",
) -> GuardMiddleware:
    """Return a middleware for ``aiohttp.ClientSession(middlewares=(…,))``, where it has to be the last one.

    Args:
        k: See `async_transport`.
        mode: See `transport`.
        decision_log: See `transport`.
        on_store_failure: See `transport`.
        learn: See `transport`.
        unique_id: See `transport`.

    Raises:
        ConfigurationError: An argument makes no sense, or aiohttp is not installed.
    """
    guard = Core(
        k, mode=mode, decision_log=decision_log, on_store_failure=on_store_failure, learn=learn, unique_id=unique_id
    )
    made: GuardMiddleware = _hook("over_aiohttp", "aiohttp").GuardMiddleware(AsyncCore(guard))
    return made


def _hook(module: str, package: str) -> Any:
    """Return the module of a library's hook, which loads the library."""
    try:
        return import_module(f"safeklaviyo.guard._hooks.{module}")
    except ImportError as exc:
        raise ConfigurationError(f"this hook is for another package: pip install {package}") from exc
