"""``k.outbox`` of the asynchronous client. Read `outbox` first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeklaviyo._flows.outbox.drain import drain
from safeklaviyo._flows.outbox.insert import (
    queue_change_email,
    queue_identify,
    queue_subscribe,
    queue_track,
    queue_unsubscribe,
)
from safeklaviyo._flows.outbox.keep import PART, counts, dead_rows, drop, due_lanes, retry
from safeklaviyo._tracebacks import discreet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping
    from datetime import date, datetime
    from decimal import Decimal
    from enum import Enum
    from uuid import UUID

    from safeklaviyo._runtime.async_shell import AsyncShell
    from safeklaviyo._runtime.config import OnTaken
    from safeklaviyo.consent import Channel
    from safeklaviyo.outboxes import DeadRow, DrainReport, OutboxCounts, Queued


@discreet
class AsyncOutbox:
    """Same as `Outbox`, awaited. Connections of the shop's are asynchronous ones here."""

    def __init__(self, shell: AsyncShell) -> None:
        self._shell = shell

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
        connection: object = None,
    ) -> Queued:
        """Same as `Outbox.track`."""
        return await self._shell.run(
            queue_track,
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
            connection=connection,
        )

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
        connection: object = None,
    ) -> Queued:
        """Same as `Outbox.identify`."""
        return await self._shell.run(
            queue_identify,
            properties,
            external_id=external_id,
            email=email,
            phone_number=phone_number,
            append=append,
            unappend=unappend,
            unset=unset,
            connection=connection,
        )

    async def change_email(
        self,
        new_email: str,
        *,
        external_id: str | int | UUID | None = None,
        old_email: str | None = None,
        on_taken: OnTaken = "refuse",
        connection: object = None,
    ) -> Queued:
        """Same as `Outbox.change_email`."""
        return await self._shell.run(
            queue_change_email,
            new_email,
            external_id=external_id,
            old_email=old_email,
            on_taken=on_taken,
            connection=connection,
        )

    async def subscribe(
        self,
        channels: Channel | Collection[Channel],
        *,
        external_id: str | int | UUID | None = None,
        email: str | None = None,
        phone_number: str | None = None,
        list_id: str | None = None,
        consented_at: datetime | float | str | None = None,
        historical: bool = False,
        source: str | None = None,
        resubscribe: bool = False,
        date_of_birth: date | str | None = None,
        connection: object = None,
    ) -> Queued:
        """Same as `Outbox.subscribe`."""
        return await self._shell.run(
            queue_subscribe,
            channels,
            external_id=external_id,
            email=email,
            phone_number=phone_number,
            list_id=list_id,
            consented_at=consented_at,
            historical=historical,
            source=source,
            resubscribe=resubscribe,
            date_of_birth=date_of_birth,
            connection=connection,
        )

    async def unsubscribe(
        self,
        channels: Channel | Collection[Channel],
        *,
        external_id: str | int | UUID | None = None,
        email: str | None = None,
        phone_number: str | None = None,
        list_id: str | None = None,
        connection: object = None,
    ) -> Queued:
        """Same as `Outbox.unsubscribe`."""
        return await self._shell.run(
            queue_unsubscribe,
            channels,
            external_id=external_id,
            email=email,
            phone_number=phone_number,
            list_id=list_id,
            connection=connection,
        )

    async def drain(self, *, limit: int | None = None, lane: int | None = None) -> DrainReport:
        """Same as `Outbox.drain`."""
        return await self._shell.run(drain, limit=limit, lane=lane)

    async def lanes(self) -> tuple[int, ...]:
        """Same as `Outbox.lanes`."""
        return await self._shell.run(due_lanes)

    async def dead(self) -> AsyncIterator[DeadRow]:
        """Same as `Outbox.dead`."""
        after = 0
        while rows := await self._shell.run(dead_rows, after):
            for row in rows:
                yield row
            if len(rows) < PART:
                return
            after = rows[-1].id

    async def retry(self, *ids: int, rule: str | None = None) -> int:
        """Same as `Outbox.retry`."""
        return await self._shell.run(retry, ids, rule)

    async def drop(self, *ids: int) -> int:
        """Same as `Outbox.drop`."""
        return await self._shell.run(drop, ids)

    async def counts(self) -> OutboxCounts:
        """Same as `Outbox.counts`."""
        return await self._shell.run(counts)
