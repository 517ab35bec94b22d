"""``k.outbox``: calls that are committed with the shop's own rows, and carried out later."""

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
    from collections.abc import Collection, Iterator, Mapping
    from datetime import date, datetime
    from decimal import Decimal
    from enum import Enum
    from uuid import UUID

    from safeklaviyo._runtime.config import OnTaken
    from safeklaviyo._runtime.shell import Shell
    from safeklaviyo.consent import Channel
    from safeklaviyo.outboxes import DeadRow, DrainReport, OutboxCounts, Queued


@discreet
class Outbox:
    """The outbox of `Klaviyo`: a call becomes a row, which is committed with the shop's own rows and carried out later.

    A call with wrong arguments is refused when it is queued, as by the direct verb. An event gets its `unique_id` and
    `time` then, and the row gets the customer's profile if the map knows it.

    Rows of one customer are carried out in order, if one was committed before the other was queued, or both were queued
    in one transaction.

    The verbs take a `connection`: that of the shop's transaction, to the database of the outbox. It may be a connection
    or cursor of psycopg or sqlite3, a connection or session of SQLAlchemy, or a connection or cursor of Django. The row
    is committed or rolled back with the transaction. Without a `connection` **the row is committed at once**, even if
    the shop's transaction is rolled back.
    """

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def track(
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
        """Queue an event.

        Args:
            event: As for `Klaviyo.track`, and so are all others.
            external_id: As for `Klaviyo.track`.
            email: As for `Klaviyo.track`.
            phone_number: As for `Klaviyo.track`.
            customer_properties: As for `Klaviyo.track`.
            properties: As for `Klaviyo.track`.
            value: As for `Klaviyo.track`.
            value_currency: As for `Klaviyo.track`.
            time: As for `Klaviyo.track`; else now.
            unique_id: As for `Klaviyo.track`; else a new one.
            backfill: As for `Klaviyo.track`.
            connection: The shop's own connection. The row becomes part of its transaction. None commits it at once.

        Raises:
            InvalidIdentifierError: As `Klaviyo.track`; nothing was written.
            InvalidPropertyError: As `Klaviyo.track`; nothing was written.
            ConfigurationError: There is no outbox; or the connection is not to its database; or none was given while
                this thread has an open transaction in the outbox's SQLite file. Nothing was written.
            StoreError: The map or the outbox cannot answer. Without a connection the row may have been committed. Give
                a `unique_id`, so that queueing the event again does not double it.
        """
        return self._shell.run(
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

    def identify(
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
        """Queue properties of a customer. The arguments are those of `Klaviyo.identify`, and `connection` of `track`.

        Raises:
            SafeKlaviyoError: As for `track`.
        """
        return self._shell.run(
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

    def change_email(
        self,
        new_email: str,
        *,
        external_id: str | int | UUID | None = None,
        old_email: str | None = None,
        on_taken: OnTaken = "refuse",
        connection: object = None,
    ) -> Queued:
        """Queue a change of email. The arguments are those of `Klaviyo.change_email`, and `connection` of `track`.

        Until the change is made, a direct call with the new address waits for it (R13).

        Raises:
            SafeKlaviyoError: As for `track`.
        """
        return self._shell.run(
            queue_change_email,
            new_email,
            external_id=external_id,
            old_email=old_email,
            on_taken=on_taken,
            connection=connection,
        )

    def subscribe(
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
        """Queue a consent. The arguments are those of `Klaviyo.subscribe`, and `connection` of `track`.

        Raises:
            SafeKlaviyoError: As for `track`.
        """
        return self._shell.run(
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

    def unsubscribe(
        self,
        channels: Channel | Collection[Channel],
        *,
        external_id: str | int | UUID | None = None,
        email: str | None = None,
        phone_number: str | None = None,
        list_id: str | None = None,
        connection: object = None,
    ) -> Queued:
        """Queue a withdrawal. The arguments are those of `Klaviyo.unsubscribe`, and `connection` of `track`.

        Raises:
            SafeKlaviyoError: As for `track`.
        """
        return self._shell.run(
            queue_unsubscribe,
            channels,
            external_id=external_id,
            email=email,
            phone_number=phone_number,
            list_id=list_id,
            connection=connection,
        )

    def drain(self, *, limit: int | None = None, lane: int | None = None) -> DrainReport:
        """Carry out rows that wait, and return when no row is left that may go.

        Any number of drains may run at the same time, in any process. Each lane is held by one drain, and the others
        leave it alone. A row that Klaviyo or the rules refuse raises no error. It is parked, or it waits if the refusal
        may pass by itself (`Policy.outbox_wait`). If Klaviyo does not answer, all rows wait.

        Args:
            limit: How many rows to carry out at most; None for all.
            lane: Only this lane, from 0 to 63; None for all that have rows.

        Raises:
            AuthenticationError: Klaviyo does not accept the key; the rows wait.
            PermissionDeniedError: The key may not do this; the rows wait.
            StoreError: The map or the outbox cannot answer; the rows wait.
            ConfigurationError: There is no outbox, or an argument makes no sense.
        """
        return self._shell.run(drain, limit=limit, lane=lane)

    def lanes(self) -> tuple[int, ...]:
        """Return the lanes with rows to be carried out now. Each may be given to `drain`, in any process."""
        return self._shell.run(due_lanes)

    def dead(self) -> Iterator[DeadRow]:
        """Iterate over the rows that were parked, oldest first."""
        # By the id of the last row, and not by a number of rows: rows that the caller retries or drops while it
        # iterates shift none of those that follow.
        after = 0
        while rows := self._shell.run(dead_rows, after):
            yield from rows
            if len(rows) < PART:
                return
            after = rows[-1].id

    def retry(self, *ids: int, rule: str | None = None) -> int:
        """Put parked rows at the end of the queue, each under a new id and with its old time.

        A change of an identifier or of consent is left parked if a later one of the same customer was made since.

        Args:
            ids: The rows; none for all.
            rule: Only rows that this rule has refused, such as ``"R6"``.

        Returns:
            How many were put back.
        """
        return self._shell.run(retry, ids, rule)

    def drop(self, *ids: int) -> int:
        """Delete rows, parked or waiting, for good; return how many there were, 0 without ids."""
        return self._shell.run(drop, ids)

    def counts(self) -> OutboxCounts:
        """Return how many rows there are."""
        return self._shell.run(counts)
