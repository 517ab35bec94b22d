"""The hooks that a shop puts into its own HTTP code, one for each library."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from safeklaviyo.guard._async_core import AsyncCore
from safeklaviyo.guard._core import Core
from safeklaviyo.guard._hooks.over_httpx import AsyncGuardTransport, GuardTransport

if TYPE_CHECKING:
    import os

    from safeklaviyo._client.async_klaviyo import AsyncKlaviyo
    from safeklaviyo._client.klaviyo import Klaviyo
    from safeklaviyo.guard._core import OnStoreFailure
    from safeklaviyo.guard._decide.verdicts import Modes


def transport(
    k: Klaviyo,
    inner: httpx.BaseTransport | None = None,
    *,
    mode: Modes = "observe",
    decision_log: str | os.PathLike[str] | None = None,
    on_store_failure: OnStoreFailure = "refuse",
    learn: bool = True,
) -> GuardTransport:
    """Return a transport for `httpx.Client`, or `httpx2.Client`, that guards the calls of one account.

    Args:
        k: The client of the account. Calls with another key pass untouched, and are counted.
        inner: The transport that sends; a new one of httpx's if none is given.
        mode: What is done, for all operations or for each by Klaviyo's id of it; see `Mode`.
        decision_log: The file for the decision log; none is written if none is given.
        on_store_failure: In enforce, while the map is away: ``"refuse"`` with 503, or ``"forward"`` the call as it is.
        learn: In observe, take what Klaviyo's answers show of customers into the map, as hints.

    Raises:
        ConfigurationError: An argument makes no sense.
    """
    guard = Core(k, mode=mode, decision_log=decision_log, on_store_failure=on_store_failure, learn=learn)
    return GuardTransport(guard, inner or httpx.HTTPTransport())


def async_transport(
    k: AsyncKlaviyo | Klaviyo,
    inner: httpx.AsyncBaseTransport | None = None,
    *,
    mode: Modes = "observe",
    decision_log: str | os.PathLike[str] | None = None,
    on_store_failure: OnStoreFailure = "refuse",
    learn: bool = True,
) -> AsyncGuardTransport:
    """Same as `transport`, for `httpx.AsyncClient`. A `Klaviyo` works in threads beside the event loop."""
    guard = Core(k, mode=mode, decision_log=decision_log, on_store_failure=on_store_failure, learn=learn)
    return AsyncGuardTransport(AsyncCore(guard), inner or httpx.AsyncHTTPTransport())
