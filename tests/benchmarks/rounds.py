"""How clients are measured against each other: in short rounds and in turns, so that the machine's moods hit all alike.

A ratio is taken within each round, and the median of the ratios is shown. Beside each median stands what was seen: the
smallest and the largest. CPU is this process's own. The server is another process, which shares the machine: where it
is busy all the time, throughput says how fast the server is, and CPU still says what the client costs.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Barrier
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

BUSY = 0.95


@dataclass(frozen=True)
class Sample:
    """What one client did in one round.

    Attributes:
        seconds: How long it took.
        cpu: Seconds of CPU in this process.
        server: Seconds of CPU in the server.
    """

    calls: int
    seconds: float
    cpu: float
    server: float

    @property
    def each(self) -> float:
        """CPU of a call, in microseconds."""
        return self.cpu / self.calls * 1e6

    @property
    def rate(self) -> float:
        """Calls in a second."""
        return self.calls / self.seconds


class Server:
    """The CPU clock of the server's process."""

    def __init__(self, pid: int) -> None:
        self._clock = (~pid << 3) | 2  # Linux's number of it; other systems have none

    def cpu(self) -> float:
        try:
            return time.clock_gettime(self._clock)
        except OSError:
            return 0.0


class Watch:
    """Takes the time of one client in one round."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._start = (time.perf_counter(), time.process_time(), server.cpu())

    def sample(self, calls: int) -> Sample:
        ended = (time.perf_counter(), time.process_time(), self._server.cpu())
        seconds, cpu, served = (end - start for end, start in zip(ended, self._start, strict=True))
        return Sample(calls, seconds, cpu, served)


def threaded(
    clients: dict[str, Sequence[Callable[[], object]]], server: Server, *, seconds: float, rounds: int
) -> dict[str, list[Sample]]:
    """Measure clients, each called by as many threads as it has calls."""
    threads = len(next(iter(clients.values())))
    with ThreadPoolExecutor(threads) as pool, _swept():

        def rounded(calls: Sequence[Callable[[], object]], length: float) -> Sample:
            together = Barrier(threads + 1)

            def work(call: Callable[[], object]) -> int:
                together.wait()
                end = time.perf_counter() + length
                done = 0
                while not done or time.perf_counter() < end:
                    call()
                    done += 1
                return done

            working = [pool.submit(work, call) for call in calls]
            together.wait()
            watch = Watch(server)
            done = sum(each.result() for each in working)
            return watch.sample(done)

        for calls in clients.values():
            rounded(calls, seconds / 4)  # every connection is made
        samples: dict[str, list[Sample]] = {name: [] for name in clients}
        for name in _in_turns(clients, rounds):
            samples[name].append(rounded(clients[name], seconds))
    return samples


async def awaited(
    clients: dict[str, Callable[[], Awaitable[object]]],
    server: Server,
    *,
    in_flight: int,
    seconds: float,
    rounds: int,
) -> dict[str, list[Sample]]:
    """Measure clients with so many calls in flight. Each client makes that many at least, however slow it is."""

    async def rounded(call: Callable[[], Awaitable[object]], at_least: int, length: float) -> Sample:
        made = 0
        watch = Watch(server)
        end = time.perf_counter() + length

        async def work() -> None:
            nonlocal made
            while made < at_least or time.perf_counter() < end:
                made += 1
                await call()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(in_flight):
                tasks.create_task(work())
        return watch.sample(made)

    with _swept():
        for call in clients.values():
            await rounded(call, in_flight, seconds / 4)  # every connection is made
        samples: dict[str, list[Sample]] = {name: [] for name in clients}
        for name in _in_turns(clients, rounds):
            samples[name].append(await rounded(clients[name], in_flight, seconds))
    return samples


def _in_turns(names: Iterable[str], rounds: int) -> Iterator[str]:
    forth = list(names)
    for number in range(rounds):
        yield from forth[::-1] if number % 2 else forth


@contextmanager
def _swept() -> Iterator[None]:
    """Keep the collector from looking at what was there before, on whichever client's time."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def show(title: str, samples: dict[str, list[Sample]], base: str) -> None:
    """Print one table."""
    print(f"\n{title}")
    print(f"  {'':<30}{'CPU of a call, us':>24}{'x':>7}{'calls a second':>27}{'x':>8}{'server busy':>13}")
    for name, taken in samples.items():
        pairs = list(zip(taken, samples[base], strict=True))
        cost = statistics.median(one.each / other.each for one, other in pairs)
        speed = statistics.median(one.rate / other.rate for one, other in pairs)
        busy = statistics.median(one.server / one.seconds for one in taken)
        print(
            f"  {name:<30}{_spread([one.each for one in taken]):>24}{cost:7.2f}"
            f"{_spread([one.rate for one in taken]):>27}{speed:8.2f}{busy:12.0%}{'!' if busy >= BUSY else ' '}",
            flush=True,
        )


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}..{max(values):,.0f})"
