"""Verbs about many people at once. Both clients inherit theirs from here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from safeklaviyo._client.many import Many, carry_out, carry_out_async
from safeklaviyo._flows.many.consent import (
    subscribe_batch,
    subscribe_row,
    suppress_batch,
    suppress_row,
    unsubscribe_batch,
    unsubscribe_row,
)
from safeklaviyo._flows.many.identify import identify_batch, identify_row, import_errors, rehearse_people
from safeklaviyo._flows.many.track import prepare_events, rehearse_events, send_events, track_row
from safeklaviyo._tracebacks import discreet

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Mapping

    from safeklaviyo._flows.many.rows import Batch
    from safeklaviyo._runtime.async_shell import AsyncShell
    from safeklaviyo._runtime.shell import Shell
    from safeklaviyo.batches import BatchReport, OnRefused
    from safeklaviyo.models import Progress

# Only the requests of events are sent while later batches are checked. An event has its own time, so their order does
# not matter. What is written onto a profile, and what a customer allows, keeps the order of the rows.
_TRACK = Many(prepare_events, track_row, send=send_events)
# An import alone has errors to wait for: Klaviyo accepts it first, and carries it out later.
_IDENTIFY = Many(identify_batch, identify_row, import_errors)
_SUBSCRIBE = Many(subscribe_batch, subscribe_row)
_UNSUBSCRIBE = Many(unsubscribe_batch, unsubscribe_row)
_SUPPRESS = Many(suppress_batch, suppress_row)


@discreet
class BulkVerbs:
    """The verbs of `Klaviyo` about many people at once."""

    _shell: Shell

    def track_many(
        self,
        rows: Iterable[Mapping[str, Any]],
        *,
        on_progress: Callable[[Progress], object] | None = None,
        on_refused: OnRefused | None = None,
    ) -> BatchReport:
        """Record many events: those of customers whom the map knows in jobs of a thousand, all others as `track` does.

        Rows are drawn as they are needed, and a row that is refused costs no other row. Give each row a `unique_id`, so
        that a call that was cut off can be made again with the same rows without doubling one.

        Args:
            rows: Mappings with the arguments of `track`; ``"event"`` is the metric's name.
            on_progress: Called after each thousand rows.
            on_refused: Called with the number of a row, the row, and the error, for each that was not accepted.

        Raises:
            ConfigurationError: `rows` is no iterable, or the client is set up wrongly.
            AuthenticationError: Klaviyo does not accept the key; rows so far were sent.
            PermissionDeniedError: The key may not do this; rows so far were sent.
            StoreError: The identity map cannot answer; rows so far were sent.
        """
        return carry_out(self._shell, _TRACK, rows, on_progress, on_refused)

    def identify_many(
        self,
        rows: Iterable[Mapping[str, Any]],
        *,
        on_progress: Callable[[Progress], object] | None = None,
        on_refused: OnRefused | None = None,
    ) -> BatchReport:
        """Write properties onto many profiles: those that the map knows in imports, all others as `identify` does.

        Klaviyo carries imports out later. This waits for them, at most `Policy.consent_wait` after the last row, and
        tells `on_refused` the rows that Klaviyo has refused.

        Args:
            rows: Mappings with the arguments of `identify`.
            on_progress: As for `track_many`.
            on_refused: As for `track_many`.

        Raises:
            SafeKlaviyoError: As for `track_many`.
        """
        return carry_out(self._shell, _IDENTIFY, rows, on_progress, on_refused)

    def subscribe_many(
        self,
        rows: Iterable[Mapping[str, Any]],
        *,
        on_progress: Callable[[Progress], object] | None = None,
        on_refused: OnRefused | None = None,
    ) -> BatchReport:
        """Record the consent of many customers, each as `subscribe` does (R18), in jobs of up to 1,000.

        Whom the map knows is read one by one, under a lease each, and their requests travel together. All others go one
        by one. Of a row, either all channels are given or none.

        Args:
            rows: Mappings with the arguments of `subscribe`, with `channels`.
            on_progress: As for `track_many`.
            on_refused: As for `track_many`; a withdrawal that stands in the way is a `ConsentWithdrawnError` here.

        Raises:
            SafeKlaviyoError: As for `track_many`.
        """
        return carry_out(self._shell, _SUBSCRIBE, rows, on_progress, on_refused)

    def unsubscribe_many(
        self,
        rows: Iterable[Mapping[str, Any]],
        *,
        on_progress: Callable[[Progress], object] | None = None,
        on_refused: OnRefused | None = None,
    ) -> BatchReport:
        """Withdraw the consent of many customers, each as `unsubscribe` does (R19): jobs of up to 100.

        A row with the external id of one customer and the email of another is refused here, while `unsubscribe` acts on
        both. If more than 1 % of the first 1,000 rows are so, and more than one, no request is sent.

        Args:
            rows: Mappings with the arguments of `unsubscribe`, with `channels`.
            on_progress: As for `track_many`.
            on_refused: As for `track_many`.

        Raises:
            IdentityError: Too many rows contradict the map; nothing was sent.
            SafeKlaviyoError: As for `track_many`.
        """
        return carry_out(self._shell, _UNSUBSCRIBE, rows, on_progress, on_refused)

    def suppress_many(
        self,
        rows: Iterable[Mapping[str, Any]],
        *,
        on_progress: Callable[[Progress], object] | None = None,
        on_refused: OnRefused | None = None,
    ) -> BatchReport:
        """Suppress many customers, such as a do-not-mail list, each as `suppress` does: jobs of up to 100.

        Args:
            rows: Mappings with the arguments of `suppress`.
            on_progress: As for `track_many`.
            on_refused: As for `track_many`.

        Raises:
            IdentityError: As for `unsubscribe_many`.
            SafeKlaviyoError: As for `track_many`.
        """
        return carry_out(self._shell, _SUPPRESS, rows, on_progress, on_refused)


def rehearse(
    verbs: BulkVerbs, verb: Literal["track", "identify"], rows: list[dict[str, Any]], on_refused: OnRefused
) -> int:
    """Tell the rows that would be refused, by what they say and by the map; return how many would not.

    Asks Klaviyo nothing, but for the account, and writes nothing.
    """
    shell, numbered = verbs._shell, enumerate(rows)  # noqa: SLF001 - of this module
    batch: Batch[Any] = (
        shell.run(rehearse_events, numbered) if verb == "track" else shell.run(rehearse_people, numbered)
    )
    for each in batch.refused:
        on_refused(each.number, each.row, each.error)
    return batch.accepted


@discreet
class AsyncBulkVerbs:
    """Same as `BulkVerbs`, awaited."""

    _shell: AsyncShell

    async def track_many(
        self,
        rows: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        *,
        on_progress: Callable[[Progress], object] | None = None,
        on_refused: OnRefused | None = None,
    ) -> BatchReport:
        """Same as `Klaviyo.track_many`."""
        return await carry_out_async(self._shell, _TRACK, rows, on_progress, on_refused)

    async def identify_many(
        self,
        rows: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        *,
        on_progress: Callable[[Progress], object] | None = None,
        on_refused: OnRefused | None = None,
    ) -> BatchReport:
        """Same as `Klaviyo.identify_many`."""
        return await carry_out_async(self._shell, _IDENTIFY, rows, on_progress, on_refused)

    async def subscribe_many(
        self,
        rows: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        *,
        on_progress: Callable[[Progress], object] | None = None,
        on_refused: OnRefused | None = None,
    ) -> BatchReport:
        """Same as `Klaviyo.subscribe_many`."""
        return await carry_out_async(self._shell, _SUBSCRIBE, rows, on_progress, on_refused)

    async def unsubscribe_many(
        self,
        rows: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        *,
        on_progress: Callable[[Progress], object] | None = None,
        on_refused: OnRefused | None = None,
    ) -> BatchReport:
        """Same as `Klaviyo.unsubscribe_many`."""
        return await carry_out_async(self._shell, _UNSUBSCRIBE, rows, on_progress, on_refused)

    async def suppress_many(
        self,
        rows: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        *,
        on_progress: Callable[[Progress], object] | None = None,
        on_refused: OnRefused | None = None,
    ) -> BatchReport:
        """Same as `Klaviyo.suppress_many`."""
        return await carry_out_async(self._shell, _SUPPRESS, rows, on_progress, on_refused)
