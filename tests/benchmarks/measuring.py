"""What the benchmarks of the stores share: one customer, and how a ratio is measured."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from typing import TYPE_CHECKING

from safeklaviyo import Binding
from tests.benchmarks.customers import body_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

KEY = "pk_benchmark"
ACCOUNT = "BENCHM"
ROW = Binding("customer-1", "customer-1@shop.example.net", "01BENCHMARK000000000000001")
BODY = body_of(ROW)
HEADERS = {"Authorization": f"Klaviyo-API-Key {KEY}", "revision": "2026-10-15"}


def cpu(calls: dict[str, Callable[[], object]], *, number: int, rounds: int, part: float = 0.5) -> dict[str, float]:
    """Return the CPU seconds of a call of each, measured in turns so that the machine's moods hit all alike.

    Args:
        part: Which of the rounds counts: the median. A smaller part is steadier where other programs run.
    """
    measured: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    gc.collect()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.process_time()
            for _ in range(number):
                call()
            measured[name].append((time.process_time() - start) / number)
    return {name: sorted(values)[int(len(values) * part)] for name, values in measured.items()}


async def awaited_cpu(
    calls: dict[str, Callable[[], Awaitable[object]]], *, in_flight: int, number: int, rounds: int
) -> dict[str, float]:
    """Same as `cpu`, of calls that are awaited, so many at once."""
    measured: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        await repeat(call, number, in_flight)  # every connection is made
    gc.collect()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.process_time()
            await repeat(call, number, in_flight)
            measured[name].append((time.process_time() - start) / number)
    return {name: statistics.median(values) for name, values in measured.items()}


async def repeat(call: Callable[[], Awaitable[object]], number: int, in_flight: int) -> None:
    """Await a call so often, so many at once."""
    left = iter(range(number))

    async def worker() -> None:
        for _ in left:
            await call()

    await asyncio.gather(*(worker() for _ in range(in_flight)))


def show(title: str, measured: dict[str, float], base: str, unit: float = 1e6, suffix: str = "us") -> None:
    """Print one table."""
    print(f"\n{title}")
    for name, value in measured.items():
        print(f"  {name:<44} {value * unit:10.1f} {suffix}   x {value / measured[base]:.2f}")
