"""`AsyncKlaviyo`: the client with awaited calls, under the same names as `Klaviyo`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from safeklaviyo._client.async_outbox import AsyncOutbox
from safeklaviyo._client.bindings import AsyncBindings
from safeklaviyo._client.bulk_verbs import AsyncBulkVerbs
from safeklaviyo._client.consent_verbs import AsyncConsentVerbs
from safeklaviyo._client.description import Described
from safeklaviyo._client.identity_verbs import AsyncIdentityVerbs
from safeklaviyo._client.lists import AsyncLists
from safeklaviyo._client.other_calls import AsyncOtherCalls
from safeklaviyo._client.profiles import AsyncProfiles
from safeklaviyo._flows.verbs.identify import identify
from safeklaviyo._flows.verbs.track import track
from safeklaviyo._runtime.async_shell import AsyncShell
from safeklaviyo._runtime.config import (
    DEADLINE,
    REVISION,
    SAME,
    DialectName,
    Same,
    store_url,
    wiring,
)
from safeklaviyo._tracebacks import discreet
from safeklaviyo.policy import Policy, RetryPolicy
from safeklaviyo.stores import open_async_store
from safeklaviyo.stores.base import AsyncIdentityStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping
    from datetime import datetime, timedelta
    from decimal import Decimal
    from enum import Enum
    from uuid import UUID

    from safeklaviyo._runtime.senders.client import AsyncClient
    from safeklaviyo._runtime.senders.timeouts import Timeout
    from safeklaviyo.models import (
        Decision,
        IdentifyResult,
        TrackResult,
    )


@discreet
class AsyncKlaviyo(AsyncIdentityVerbs, AsyncConsentVerbs, AsyncBulkVerbs, AsyncOtherCalls, Described):
    """Same as `Klaviyo`, awaited. Safe between tasks of one event loop at a time.

    A callable given as `access_token` may return an awaitable, which is cut off at the end of the attempt's time. One
    that blocks holds up the event loop.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        store: str | AsyncIdentityStore | None = None,
        account: str | None = None,
        public_key: str | None = None,
        policy: Policy = Policy(),  # noqa: B008 - frozen
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        timeout: Timeout = 10.0,
        deadline: float | timedelta | None = DEADLINE,
        base_url: str | None = None,
        revision: str = REVISION,
        dialect: DialectName = "current",
        access_token: str | Callable[[], str | Awaitable[str]] | None = None,
        http_client: AsyncClient | None = None,
        outbox: str | None = None,
        on_decision: Callable[[Decision], None] | None = None,
    ) -> None:
        self._wiring = wiring(
            api_key,
            access_token=access_token,
            account=account,
            public_key=public_key,
            policy=policy,
            retry=retry,
            timeout=timeout,
            deadline=deadline,
            base_url=base_url,
            revision=revision,
            dialect=dialect,
            on_decision=on_decision,
            outbox=outbox,
        )
        self._owns_store = not isinstance(store, AsyncIdentityStore)
        opened = store if isinstance(store, AsyncIdentityStore) else open_async_store(store_url(store))
        self._shell = AsyncShell(self._wiring, opened, http_client)

    def with_options(
        self,
        *,
        timeout: Timeout | Same = SAME,
        deadline: float | timedelta | Same | None = SAME,
        policy: Policy | Same = SAME,
        retry: RetryPolicy | Same = SAME,
    ) -> Self:
        """Same as `Klaviyo.with_options`."""
        view = type(self).__new__(type(self))
        wiring = self._wiring.with_options(timeout, deadline, policy, retry)
        view.__dict__ |= {"_wiring": wiring, "_shell": self._shell.view(wiring), "_owns_store": False}
        return view

    @property
    def profiles(self) -> AsyncProfiles:
        """Same as `Klaviyo.profiles`."""
        return AsyncProfiles(self._shell)

    @property
    def lists(self) -> AsyncLists:
        """Same as `Klaviyo.lists`."""
        return AsyncLists(self._shell)

    @property
    def outbox(self) -> AsyncOutbox:
        """Same as `Klaviyo.outbox`."""
        return AsyncOutbox(self._shell)

    @property
    def bindings(self) -> AsyncBindings:
        """Same as `Klaviyo.bindings`."""
        return AsyncBindings(self._shell)

    async def identify(
        self,
        properties: Mapping[str, Any] | None = None,
        *,
        external_id: str | int | UUID | None = None,
        email: str | None = None,
        phone_number: str | None = None,
        append: Mapping[str, Any] | None = None,
        unappend: Mapping[str, Any] | None = None,
        unset: str | Collection[str] | None = None,
    ) -> IdentifyResult:
        """Same as `Klaviyo.identify`."""
        return await self._shell.run(
            identify,
            properties,
            external_id=external_id,
            email=email,
            phone_number=phone_number,
            append=append,
            unappend=unappend,
            unset=unset,
        )

    async def track(
        self,
        event: str | Enum,
        *,
        external_id: str | int | UUID | None = None,
        email: str | None = None,
        phone_number: str | None = None,
        customer_properties: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        value: float | Decimal | str | None = None,
        value_currency: str | None = None,
        time: datetime | float | str | None = None,
        unique_id: str | int | UUID | None = None,
        backfill: bool = False,
    ) -> TrackResult:
        """Same as `Klaviyo.track`."""
        return await self._shell.run(
            track,
            event,
            external_id=external_id,
            email=email,
            phone_number=phone_number,
            customer_properties=customer_properties,
            properties=properties,
            value=value,
            value_currency=value_currency,
            time=time,
            unique_id=unique_id,
            backfill=backfill,
        )

    async def aclose(self) -> None:
        """Same as `Klaviyo.close`."""
        await self._shell.aclose()
        if self._owns_store:
            await self._shell.store.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
