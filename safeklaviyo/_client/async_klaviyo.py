"""`AsyncKlaviyo`: the client with awaited calls, under the same names as `Klaviyo`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from safeklaviyo._client.bindings import AsyncBindings
from safeklaviyo._client.description import Described
from safeklaviyo._client.profiles import AsyncProfiles
from safeklaviyo._flows.verbs.change_email import change_email
from safeklaviyo._flows.verbs.change_external_id import change_external_id
from safeklaviyo._flows.verbs.change_phone_number import change_phone_number
from safeklaviyo._flows.verbs.erase import erase
from safeklaviyo._flows.verbs.explain import explain
from safeklaviyo._flows.verbs.identify import identify
from safeklaviyo._flows.verbs.recheck_changes import recheck_changes
from safeklaviyo._flows.verbs.recover import recover
from safeklaviyo._flows.verbs.resolve import resolve
from safeklaviyo._flows.verbs.track import track
from safeklaviyo._runtime.async_shell import AsyncShell
from safeklaviyo._runtime.config import BASE_URL, REVISION, DialectName, OnTaken, store_url, wiring
from safeklaviyo.policy import Policy, RetryPolicy
from safeklaviyo.stores import open_async_store
from safeklaviyo.stores.base import AsyncIdentityStore

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime
    from decimal import Decimal
    from enum import Enum
    from uuid import UUID

    from safeklaviyo._runtime.senders.http import AsyncClient, Timeout
    from safeklaviyo.models import (
        ChangeReview,
        Clear,
        Decision,
        EmailChange,
        Erasure,
        ExternalIdChange,
        IdentifyResult,
        PhoneChange,
        Recovery,
        Resolution,
        TrackResult,
    )


class AsyncKlaviyo(Described):
    """Same as `Klaviyo`, awaited. Safe between tasks of one event loop at a time."""

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
        base_url: str = BASE_URL,
        revision: str = REVISION,
        dialect: DialectName = "current",
        http_client: AsyncClient | None = None,
    ) -> None:
        self._wiring = wiring(
            api_key,
            account=account,
            public_key=public_key,
            policy=policy,
            retry=retry,
            timeout=timeout,
            base_url=base_url,
            revision=revision,
            dialect=dialect,
        )
        self._owns_store = not isinstance(store, AsyncIdentityStore)
        opened = store if isinstance(store, AsyncIdentityStore) else open_async_store(store_url(store))
        self._shell = AsyncShell(self._wiring, opened, http_client)

    @property
    def profiles(self) -> AsyncProfiles:
        """Same as `Klaviyo.profiles`."""
        return AsyncProfiles(self._shell)

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

    async def change_email(
        self,
        new_email: str,
        *,
        external_id: str | int | UUID | None = None,
        old_email: str | None = None,
        on_taken: OnTaken = "refuse",
    ) -> EmailChange:
        """Same as `Klaviyo.change_email`."""
        return await self._shell.run(
            change_email, new_email, external_id=external_id, old_email=old_email, on_taken=on_taken
        )

    async def change_external_id(
        self,
        new_external_id: str | int | UUID | Clear,
        *,
        old_external_id: str | int | UUID | None = None,
        email: str | None = None,
    ) -> ExternalIdChange:
        """Same as `Klaviyo.change_external_id`."""
        return await self._shell.run(change_external_id, new_external_id, old_external_id=old_external_id, email=email)

    async def change_phone_number(
        self, new_phone_number: str | Clear, *, external_id: str | int | UUID | None = None, email: str | None = None
    ) -> PhoneChange:
        """Same as `Klaviyo.change_phone_number`."""
        return await self._shell.run(change_phone_number, new_phone_number, external_id=external_id, email=email)

    async def resolve(self, *, external_id: str | int | UUID | None = None, email: str | None = None) -> Resolution:
        """Same as `Klaviyo.resolve`."""
        return await self._shell.run(resolve, external_id=external_id, email=email)

    async def erase(
        self, *, external_id: str | int | UUID | None = None, email: str | None = None, profile_id: str | None = None
    ) -> Erasure:
        """Same as `Klaviyo.erase`."""
        return await self._shell.run(erase, external_id=external_id, email=email, profile_id=profile_id)

    async def recover(self, limit: int | None = None) -> list[Recovery]:
        """Same as `Klaviyo.recover`."""
        return await self._shell.run(recover, limit)

    async def recheck_changes(
        self, since: datetime | float | str | None = None, *, repair: bool = False
    ) -> list[ChangeReview]:
        """Same as `Klaviyo.recheck_changes`."""
        return await self._shell.run(recheck_changes, since, repair=repair)

    async def explain(
        self, *, external_id: str | int | UUID | None = None, email: str | None = None, phone_number: str | None = None
    ) -> Decision:
        """Same as `Klaviyo.explain`."""
        return await self._shell.run(explain, external_id=external_id, email=email, phone_number=phone_number)

    async def aclose(self) -> None:
        """Same as `Klaviyo.close`."""
        await self._shell.aclose()
        if self._owns_store:
            await self._shell.store.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
