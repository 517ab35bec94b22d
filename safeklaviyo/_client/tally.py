"""Counting what becomes of the rows of a call about many people, and telling it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from safeklaviyo._flows.many.rows import Checked
from safeklaviyo.batches import BatchReport
from safeklaviyo.models import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from safeklaviyo._flows.many.rows import Batch, Refused
    from safeklaviyo.batches import OnRefused
    from safeklaviyo.errors import SafeKlaviyoError

R = TypeVar("R", bound=Checked)


@dataclass(slots=True)
class Tally(Generic[R]):
    """What has become of the rows so far, and who is told.

    Attributes:
        jobs: The jobs that Klaviyo is at work on, with their rows.
    """

    total: int | None
    on_progress: Callable[[Progress], object] | None
    on_refused: OnRefused | None
    began: float = field(default_factory=time.monotonic)
    done: int = 0
    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    job_ids: list[str] = field(default_factory=list[str])
    jobs: list[tuple[str, list[R]]] = field(default_factory=list[tuple[str, list[R]]])

    def refuse(self, number: int, row: Mapping[str, Any], error: SafeKlaviyoError) -> None:
        """Count a row that was not accepted, and tell it."""
        # Apart from the refused rows: Klaviyo may have this one, so only the same row with the same key is safe to send
        # again.
        if error.outcome == "unknown":
            self.unknown += 1
        else:
            self.refused += 1
        if self.on_refused is not None:
            self.on_refused(number, row, error)

    def take(self, batch: Batch[R]) -> None:
        """Count what a batch has concluded by itself.

        Raises:
            SafeKlaviyoError: The batch says that the whole call ends here.
        """
        self.accepted += batch.accepted
        self.job_ids += [job for job, _ in batch.jobs]
        self.jobs += batch.jobs
        # Before `stops` is raised: the caller is told of these rows even if the call ends here.
        for each in batch.refused:
            self.refuse(each.number, each.row, each.error)
        if batch.stops is not None:
            raise batch.stops

    def fail(self, rows: list[Refused]) -> None:
        """Count rows of a job that were accepted, and have failed since."""
        self.accepted -= len(rows)
        for each in rows:
            self.refuse(each.number, each.row, each.error)

    def tell(self, rows: int) -> None:
        """Count rows as done, and tell how far the call is."""
        self.done += rows
        if self.on_progress is None:
            return
        # Over the whole call: a batch that goes as one job and a batch that goes row by row have nothing in common, so
        # the pace of the last one says little about the rest.
        seconds = time.monotonic() - self.began
        pace = self.done / seconds if seconds > 0 else 0.0
        left = None if self.total is None or not pace else max(0.0, (self.total - self.done) / pace)
        self.on_progress(Progress(self.done, self.total, self.refused + self.unknown, pace, left))

    def report(self) -> BatchReport:
        """Return what the call returns."""
        return BatchReport(self.done, self.accepted, self.refused, self.unknown, tuple(self.job_ids))
