"""Carrying out a call about many people: rows are drawn as they are needed, a batch at a time, and counted.

Rows that go singly are sent several at once, but never two of one person: those keep their order. While the requests
of a batch are on their way, the next batches are drawn and checked, and their requests begun, in their order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Iterable, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from safeklaviyo._client.tally import Tally
from safeklaviyo._flows.many.rows import ENDING, Batch, Checked, Refused
from safeklaviyo.errors import ConfigurationError, SafeKlaviyoError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from safeklaviyo._effects import Flow
    from safeklaviyo._flows.call import Setup
    from safeklaviyo._runtime.async_shell import AsyncShell
    from safeklaviyo._runtime.shell import Shell
    from safeklaviyo.batches import BatchReport, OnRefused
    from safeklaviyo.models import Progress

R = TypeVar("R", bound=Checked)

BATCH: Final = 1000
"""Rows for which the map is read once."""
JOBS: Final = 4
"""Jobs that Klaviyo is at work on while further rows are sent; the rows of each are kept until it is done."""
AT_ONCE: Final = 8
"""Rows that are sent singly at the same time."""
AHEAD: Final = 4
"""Batches on their way at the same time, where a verb sends them apart: Klaviyo allows five such requests in two
seconds, and may take a second for each."""


@dataclass(frozen=True, slots=True)
class Many(Generic[R]):
    """A verb about many.

    Attributes:
        batch: Checks the rows of a batch, and sends their requests unless `send` does.
        one: Sends one row.
        errors: Waits for a job of Klaviyo's.
        send: Sends the requests of a batch, while others are checked.
    """

    batch: Callable[[Setup, Iterable[tuple[int, object]]], Flow[Batch[R]]]
    one: Callable[[Setup, R], Flow[object]]
    errors: Callable[[Setup, str, list[R]], Flow[list[Refused]]] | None = None
    send: Callable[[Setup, Batch[R]], Flow[None]] | None = None


@dataclass(frozen=True, slots=True)
class _Begun(Generic[R]):
    """A batch on its way.

    Attributes:
        rows: How many rows it has.
        end: Returns once its requests have been answered.
    """

    rows: int
    batch: Batch[R]
    end: Callable[[], object]


def carry_out(
    shell: Shell,
    verb: Many[R],
    rows: Iterable[object],
    on_progress: Callable[[Progress], object] | None,
    on_refused: OnRefused | None,
) -> BatchReport:
    """Carry out a call about many with blocking calls."""
    tally: Tally[R] = Tally(_length(rows), on_progress, on_refused)
    ahead: deque[_Begun[R]] = deque()
    try:
        for batch_of in _batches(rows):
            # Batches are checked one after the other, in the order of their rows: only their requests go side by side.
            batch = shell.run(verb.batch, batch_of)
            most = _most_ahead(verb, batch, len(batch_of))
            end = _sending(shell, verb, batch)
            ahead.append(_Begun(len(batch_of), batch, _in_thread(end) if most else end))
            while len(ahead) > most:
                _finish(shell, verb, ahead.popleft(), tally)
        while ahead:
            _finish(shell, verb, ahead.popleft(), tally)
    finally:
        for begun in ahead:
            # A thread cannot be stopped. It finishes the request that it has sent, and is told here to begin no other.
            begun.batch.is_given_up = True
    _follow(shell, verb, tally, 0)
    return tally.report()


def _most_ahead(verb: Many[R], batch: Batch[R], rows: int) -> int:
    """Return how many batches may be on their way while the next one is drawn."""
    # The rows of strangers go before all later ones, for which the map then knows these people. Of few rows, or of the
    # last ones, there is nothing to draw in the meantime.
    return 0 if verb.send is None or batch.cold or rows < BATCH else AHEAD - 1


def _finish(shell: Shell, verb: Many[R], begun: _Begun[R], tally: Tally[R]) -> None:
    """Wait for a batch on its way, and send the rows of it that are left."""
    batch, end = begun.batch, begun.end
    while True:
        end()
        # First what the requests have said: a batch that ends the call has its refused rows counted before.
        tally.take(batch)
        _send_singly(shell, verb, batch.singly, tally)
        left = _send_first(shell, verb, batch.cold, tally)
        if not left:
            break
        batch = shell.run(verb.batch, left)
        end = _sending(shell, verb, batch)
    # The rows of a job stay in memory until its errors are known, so no more than a few jobs may be open.
    _follow(shell, verb, tally, JOBS)
    tally.tell(begun.rows)


def _follow(shell: Shell, verb: Many[R], tally: Tally[R], most: int) -> None:
    while verb.errors is not None and len(tally.jobs) > most:
        tally.fail(shell.run(verb.errors, *tally.jobs.pop(0)))


def _sending(shell: Shell, verb: Many[R], batch: Batch[R]) -> Callable[[], object]:
    """Return what sends the requests of a batch, where its check has not sent them."""
    return lambda: None if verb.send is None else shell.run(verb.send, batch)


def _in_thread(work: Callable[[], object]) -> Callable[[], object]:
    """Begin work in a thread, and return what waits for its result.

    The thread is no reason for a process to live on: it may wait for its turn for a minute.
    """
    future: Future[object] = Future()

    def _run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is waited for
            future.set_exception(error)

    Thread(target=_run, name="safeklaviyo-job", daemon=True).start()
    return future.result


def _send_first(shell: Shell, verb: Many[R], rows: list[R], tally: Tally[R]) -> list[tuple[int, object]]:
    """Send the first row of each person; return the others, for which the map may know the person now."""
    groups = _by_person(rows)
    # An accepted row is a person whom the map knows from now on, so the others may go together after all.
    before = tally.accepted
    _send_singly(shell, verb, [group[0] for group in groups], tally)
    rest = [row for group in groups for row in group[1:]]
    if tally.accepted > before:
        return [(row.number, row.row) for row in rest]
    # No person was made known, so that the others would come back as they are.
    _send_singly(shell, verb, rest, tally)
    return []


def _send_singly(shell: Shell, verb: Many[R], rows: list[R], tally: Tally[R]) -> None:
    groups = _by_person(rows)

    def _send(group: list[R]) -> list[SafeKlaviyoError | None]:
        return [_ended(shell, verb, row) for row in group]

    if len(groups) < 2:
        results = [_send(group) for group in groups]
    else:
        # Threads, because one call about one person waits for Klaviyo three times or more.
        with ThreadPoolExecutor(min(AT_ONCE, len(groups)), "safeklaviyo-row") as pool:
            try:
                results = list(pool.map(_send, groups))
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
    tally: Tally[R] = Tally(_length(rows), on_progress, on_refused)
    ahead: deque[tuple[int, Batch[R], asyncio.Task[None]]] = deque()
    try:
        async for batch_of in _async_batches(rows):
            batch = await shell.run(verb.batch, batch_of)
            ahead.append((len(batch_of), batch, asyncio.create_task(_send_async(shell, verb, batch))))
            while len(ahead) > _most_ahead(verb, batch, len(batch_of)):
                await _finish_async(shell, verb, ahead.popleft(), tally)
        while ahead:
            await _finish_async(shell, verb, ahead.popleft(), tally)
    finally:
        # Tasks, unlike threads, can be stopped: none may go on after the call has ended.
        await _cancel([task for _, _, task in ahead])
    await _follow_async(shell, verb, tally, 0)
    return tally.report()


async def _send_async(shell: AsyncShell, verb: Many[R], batch: Batch[R]) -> None:
    if verb.send is not None:
        await shell.run(verb.send, batch)


async def _finish_async(
    shell: AsyncShell, verb: Many[R], begun: tuple[int, Batch[R], Awaitable[None]], tally: Tally[R]
) -> None:
    """Same as `_finish`, awaited."""
    rows, batch, sent = begun
    while True:
        await sent
        tally.take(batch)
        await _send_singly_async(shell, verb, batch.singly, tally)
        left = await _send_first_async(shell, verb, batch.cold, tally)
        if not left:
            break
        batch = await shell.run(verb.batch, left)
        sent = _send_async(shell, verb, batch)
    await _follow_async(shell, verb, tally, JOBS)
    tally.tell(rows)


async def _follow_async(shell: AsyncShell, verb: Many[R], tally: Tally[R], most: int) -> None:
    while verb.errors is not None and len(tally.jobs) > most:
        tally.fail(await shell.run(verb.errors, *tally.jobs.pop(0)))


async def _send_first_async(
    shell: AsyncShell, verb: Many[R], rows: list[R], tally: Tally[R]
) -> list[tuple[int, object]]:
    """Same as `_send_first`, awaited."""
    groups = _by_person(rows)
    before = tally.accepted
    await _send_singly_async(shell, verb, [group[0] for group in groups], tally)
    rest = [row for group in groups for row in group[1:]]
    if tally.accepted > before:
        return [(row.number, row.row) for row in rest]
    await _send_singly_async(shell, verb, rest, tally)
    return []


async def _send_singly_async(shell: AsyncShell, verb: Many[R], rows: list[R], tally: Tally[R]) -> None:
    groups = _by_person(rows)
    places = asyncio.Semaphore(AT_ONCE)

    async def _send(group: list[R]) -> list[SafeKlaviyoError | None]:
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

    running = [asyncio.create_task(_send(group)) for group in groups]
    try:
        results = await asyncio.gather(*running)
    finally:
        await _cancel(running)
    _count(groups, results, tally)


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Let tasks end that no call waits for any more. A task group would raise a group of their errors."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _count(groups: list[list[R]], results: list[list[SafeKlaviyoError | None]], tally: Tally[R]) -> None:
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
        # A row may name the id of one group and the address of another: then both are about one person, and become one
        # group.
        joined: list[R] = []
        for group in {id(group_of[name]): group_of[name] for name in names if name in group_of}.values():
            joined += group
        joined.append(row)
        # In the order of the file again, which the union of two groups has lost.
        joined.sort(key=lambda each: each.number)
        for each in joined:
            for name in _names(each):
                group_of[name] = joined
    return list({id(group): group for group in group_of.values()}.values())


def _names(row: Checked) -> Iterable[object]:
    # Whom a phone number alone names is not known here: such a row is a group of its own.
    return row.claim.identifiers() or (row.number,)


def _length(rows: object) -> int | None:
    # These are iterables too. Refused here, because each letter or key would be refused as a row of its own.
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
