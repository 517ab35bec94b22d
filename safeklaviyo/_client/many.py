"""Carrying out a call about many people: rows are drawn as they are needed, a batch at a time, and counted.

Rows that go singly are sent several at once, but never two of one person: those keep their order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Iterable, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from safeklaviyo._flows.many.rows import ENDING, Batch, Checked, Refused
from safeklaviyo.batches import BatchReport
from safeklaviyo.errors import ConfigurationError, SafeKlaviyoError
from safeklaviyo.models import Progress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Setup
    from safeklaviyo._runtime.async_shell import AsyncShell
    from safeklaviyo._runtime.shell import Shell
    from safeklaviyo.batches import OnRefused

R = TypeVar("R", bound=Checked)

BATCH: Final = 1000
"""Rows for which the map is read once."""
JOBS: Final = 4
"""Jobs that Klaviyo is at work on while further rows are sent; the rows of each are kept until it is done."""
AT_ONCE: Final = 8
"""Rows that are sent singly at the same time."""


@dataclass(frozen=True, slots=True)
class Many(Generic[R]):
    """A verb about many: what sends a batch, what sends one row of it, and what waits for a job of Klaviyo's."""

    batch: Callable[[Setup, Iterable[tuple[int, object]]], Flow[Batch[R]]]
    one: Callable[[Setup, R], Flow[object]]
    errors: Callable[[Setup, str, list[R]], Flow[list[Refused]]] | None = None


@dataclass(slots=True)
class Tally:
    """What has become of the rows so far, and who is told."""

    total: int | None
    on_progress: Callable[[Progress], object] | None
    on_refused: OnRefused | None
    began: float = field(default_factory=time.monotonic)
    done: int = 0
    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    job_ids: list[str] = field(default_factory=list[str])

    def refuse(self, number: int, row: Mapping[str, Any], error: SafeKlaviyoError) -> None:
        """Count a row that was not accepted, and tell it."""
        if error.outcome == "unknown":
            self.unknown += 1
        else:
            self.refused += 1
        if self.on_refused is not None:
            self.on_refused(number, row, error)

    def take(self, batch: Batch[Any]) -> None:
        """Count what a batch has concluded by itself.

        Raises:
            SafeKlaviyoError: The batch says that the whole call ends here.
        """
        self.accepted += batch.accepted
        self.job_ids += [job for job, _ in batch.jobs]
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
        seconds = time.monotonic() - self.began
        pace = self.done / seconds if seconds > 0 else 0.0
        left = None if self.total is None or not pace else max(0.0, (self.total - self.done) / pace)
        self.on_progress(Progress(self.done, self.total, self.refused + self.unknown, pace, left))

    def report(self) -> BatchReport:
        """Return what the call returns."""
        return BatchReport(self.done, self.accepted, self.refused, self.unknown, tuple(self.job_ids))


def carry_out(
    shell: Shell,
    verb: Many[R],
    rows: Iterable[object],
    on_progress: Callable[[Progress], object] | None,
    on_refused: OnRefused | None,
) -> BatchReport:
    """Carry out a call about many with blocking calls."""
    tally = Tally(_length(rows), on_progress, on_refused)
    jobs: list[tuple[str, list[R]]] = []

    def follow(most: int) -> None:
        while verb.errors is not None and len(jobs) > most:
            tally.fail(shell.run(verb.errors, *jobs.pop(0)))

    for batch_of in _batches(rows):
        left = batch_of
        while left:
            batch = shell.run(verb.batch, left)
            tally.take(batch)
            jobs += batch.jobs
            _send_singly(shell, verb, batch.singly, tally)
            left = _send_first(shell, verb, batch.cold, tally)
        follow(JOBS)
        tally.tell(len(batch_of))
    follow(0)
    return tally.report()


def _send_first(shell: Shell, verb: Many[R], rows: list[R], tally: Tally) -> list[tuple[int, object]]:
    """Send the first row of each person; return the others, for which the map may know the person now."""
    groups = _by_person(rows)
    before = tally.accepted
    _send_singly(shell, verb, [group[0] for group in groups], tally)
    rest = [row for group in groups for row in group[1:]]
    if tally.accepted > before:
        return [(row.number, row.row) for row in rest]
    # No person was made known, so that the others would come back as they are.
    _send_singly(shell, verb, rest, tally)
    return []


def _send_singly(shell: Shell, verb: Many[R], rows: list[R], tally: Tally) -> None:
    groups = _by_person(rows)

    def send(group: list[R]) -> list[SafeKlaviyoError | None]:
        return [_ended(shell, verb, row) for row in group]

    if len(groups) < 2:
        results = [send(group) for group in groups]
    else:
        # Threads, because one call about one person waits for Klaviyo three times or more.
        with ThreadPoolExecutor(min(AT_ONCE, len(groups)), "safeklaviyo-row") as pool:
            try:
                results = list(pool.map(send, groups))
            except BaseException:
                # An interruption, or an error that ends the call: what is on its way is finished, and nothing begun.
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    _count(groups, results, tally)


def _ended(shell: Shell, verb: Many[R], row: R) -> SafeKlaviyoError | None:
    """Return the error with which a row ended, if it did.

    Raises:
        SafeKlaviyoError: One that would end every further row the same way.
    """
    try:
        shell.run(verb.one, row)
    except ENDING:
        raise
    except SafeKlaviyoError as error:
        return error
    return None


async def carry_out_async(
    shell: AsyncShell,
    verb: Many[R],
    rows: Iterable[object] | AsyncIterable[object],
    on_progress: Callable[[Progress], object] | None,
    on_refused: OnRefused | None,
) -> BatchReport:
    """Same as `carry_out`, awaited."""
    tally = Tally(_length(rows), on_progress, on_refused)
    jobs: list[tuple[str, list[R]]] = []

    async def follow(most: int) -> None:
        while verb.errors is not None and len(jobs) > most:
            tally.fail(await shell.run(verb.errors, *jobs.pop(0)))

    async for batch_of in _async_batches(rows):
        left = batch_of
        while left:
            batch = await shell.run(verb.batch, left)
            tally.take(batch)
            jobs += batch.jobs
            await _send_singly_async(shell, verb, batch.singly, tally)
            left = await _send_first_async(shell, verb, batch.cold, tally)
        await follow(JOBS)
        tally.tell(len(batch_of))
    await follow(0)
    return tally.report()


async def _send_first_async(shell: AsyncShell, verb: Many[R], rows: list[R], tally: Tally) -> list[tuple[int, object]]:
    """Same as `_send_first`, awaited."""
    groups = _by_person(rows)
    before = tally.accepted
    await _send_singly_async(shell, verb, [group[0] for group in groups], tally)
    rest = [row for group in groups for row in group[1:]]
    if tally.accepted > before:
        return [(row.number, row.row) for row in rest]
    await _send_singly_async(shell, verb, rest, tally)
    return []


async def _send_singly_async(shell: AsyncShell, verb: Many[R], rows: list[R], tally: Tally) -> None:
    groups = _by_person(rows)
    places = asyncio.Semaphore(AT_ONCE)

    async def send(group: list[R]) -> list[SafeKlaviyoError | None]:
        ended: list[SafeKlaviyoError | None] = []
        async with places:
            for row in group:
                try:
                    await shell.run(verb.one, row)
                except ENDING:
                    raise
                except SafeKlaviyoError as error:
                    ended.append(error)
                else:
                    ended.append(None)
        return ended

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(send(group)) for group in groups]
    _count(groups, [task.result() for task in running], tally)


def _count(groups: list[list[R]], results: list[list[SafeKlaviyoError | None]], tally: Tally) -> None:
    for group, ended in zip(groups, results, strict=True):
        for row, error in zip(group, ended, strict=True):
            if error is None:
                tally.accepted += 1
            else:
                tally.refuse(row.number, row.row, error)


def _by_person(rows: list[R]) -> list[list[R]]:
    """Group rows that share an identifier, in their order: they may be about one person."""
    group_of: dict[object, list[R]] = {}
    for row in rows:
        names = _names(row)
        joined: list[R] = []
        for group in {id(group_of[name]): group_of[name] for name in names if name in group_of}.values():
            joined += group
        joined.append(row)
        joined.sort(key=lambda each: each.number)
        for each in joined:
            for name in _names(each):
                group_of[name] = joined
    return list({id(group): group for group in group_of.values()}.values())


def _names(row: Checked) -> Iterable[object]:
    # Whom a phone number alone names is not known here: such a row is a group of its own.
    return row.claim.identifiers() or (row.number,)


def _length(rows: object) -> int | None:
    if isinstance(rows, str | bytes | dict) or not isinstance(rows, Iterable | AsyncIterable):
        raise ConfigurationError("rows has to be an iterable of mappings, one for each row")
    return len(rows) if isinstance(rows, Sized) else None


def _batches(rows: Iterable[object]) -> Iterator[list[tuple[int, object]]]:
    numbered = enumerate(rows)
    while batch := list(islice(numbered, BATCH)):
        yield batch


async def _async_batches(rows: Iterable[object] | AsyncIterable[object]) -> AsyncIterator[list[tuple[int, object]]]:
    if not isinstance(rows, AsyncIterable):
        for some in _batches(rows):
            yield some
        return
    batch: list[tuple[int, object]] = []
    number = 0
    async for row in rows:
        batch.append((number, row))
        number += 1
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
