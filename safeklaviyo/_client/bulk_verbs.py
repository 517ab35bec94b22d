"""Verbs about many people at once. Both clients inherit theirs from here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeklaviyo._client.many import Many, carry_out, carry_out_async
from safeklaviyo._flows.many.identify import identify_batch, identify_row, import_errors
from safeklaviyo._flows.many.track import track_batch, track_row
from safeklaviyo._tracebacks import discreet

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Mapping

    from safeklaviyo._runtime.async_shell import AsyncShell
    from safeklaviyo._runtime.shell import Shell
    from safeklaviyo.batches import BatchReport, OnRefused
    from safeklaviyo.models import Progress

_TRACK = Many(track_batch, track_row)
_IDENTIFY = Many(identify_batch, identify_row, import_errors)


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
