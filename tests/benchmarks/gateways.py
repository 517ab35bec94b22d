"""The gateway beside a server that only passes calls on: ``python -m tests.benchmarks.gateways``, as ratios.

Each is a process of its own, before the same server that answers at once. Its processor time, and the time that a
caller waits, are to be at most 2 of the plain server's. ``--calls 100000`` measures memory in place of that: the
gateway's own after 10,000 calls, after half of them and at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from safeklaviyo.stores import open_store
from safeklaviyo.stores.base import Change
from tests.benchmarks.__main__ import served
from tests.benchmarks.customers import body_of, customers
from tests.benchmarks.measuring import ACCOUNT, KEY
from tests.benchmarks.rounds import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN = "plain"
WAYS = {
    PLAIN: None,
    "off": ("--mode", "off"),
    "observe": ("--mode", "observe"),
    "observe, with a log": ("--mode", "observe", "--decision-log", "decisions.jsonl"),
    "enforce, with a log": ("--mode", "enforce", "--decision-log", "enforced.jsonl"),
}
IN_FLIGHT = (1, 16)
_HEAD = (
    "POST /api/events HTTP/1.1\r\nHost: gateway\r\nAuthorization: Klaviyo-API-Key {key}\r\nrevision: 2026-10-15\r\n"
    "Content-Type: application/json\r\nAccept: application/json\r\nUser-Agent: shop/1.0\r\n"
    "Content-Length: {length}\r\n\r\n"
)


class Caller:
    """Sends requests that are ready beforehand over connections that stay open, and reads the answers as far as needed.

    So that what a caller costs is as little as it can be.
    """

    def __init__(self, url: str, requests: list[bytes]) -> None:
        self._place = urlsplit(url)
        self._requests = cycle(requests)
        self._open: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def call(self, number: int, in_flight: int) -> None:
        """Make so many calls, so many at once."""
        while len(self._open) < in_flight:
            self._open.append(await asyncio.open_connection(self._place.hostname, self._place.port))
        left = iter(range(number))

        async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for _ in left:
                writer.write(next(self._requests))
                head = await reader.readuntil(b"\r\n\r\n")
                if not head.startswith((b"HTTP/1.1 202", b"HTTP/1.1 409")):
                    raise RuntimeError(head.decode("latin-1") + (await reader.read(2000)).decode("latin-1"))
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                if length:
                    await reader.readexactly(length)

        await asyncio.gather(*(work(*each) for each in self._open[:in_flight]))


@contextmanager
def running(klaviyo: str, folder: Path, more: tuple[str, ...] | None) -> Iterator[tuple[str, int]]:
    """Run a gateway, or the plain server, and yield its address and the number of its process."""
    command = [sys.executable, "-m", "tests.benchmarks.passing", klaviyo]
    if more is not None:
        command = [sys.executable, "-m", "safeklaviyo", "gateway", "--listen", "127.0.0.1:0", "--base-url", klaviyo]
        command += ["--account", ACCOUNT, "--store", f"sqlite:///{folder}/map.db"]
        command += [str(folder / each) if each.endswith(".jsonl") else each for each in more]
    variables = {**os.environ, "KLAVIYO_API_KEY": KEY}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stdout is not None
        try:
            url = next(word for word in process.stdout.readline().split() if word.startswith("http"))
            yield url, process.pid
        finally:
            process.terminate()


def requests_of(shop: str, known: int) -> list[bytes]:
    """Return an event about each of so many customers."""
    bodies = [json.dumps(body_of(each)).encode() for each in customers(shop)[:known]]
    return [_HEAD.format(key=KEY, length=len(body)).encode() + body for body in bodies]


def fill(folder: Path, shop: str, known: int) -> None:
    """Make a map that knows the customers."""
    with open_store(f"sqlite:///{folder}/map.db") as store:
        for row in customers(shop)[:known]:
            store.bind(ACCOUNT, Change(row))


def compare(klaviyo: str, folder: Path, rounds: int, number: int) -> None:
    """Measure each way in turns, and print medians of the ratios of each round."""
    requests = requests_of("gateway", 2_000)
    fill(folder, "gateway", 2_000)
    with ExitStack() as stack, asyncio.Runner() as runner:
        opened = {name: stack.enter_context(running(klaviyo, folder, more)) for name, more in WAYS.items()}
        callers = {name: Caller(url, requests) for name, (url, _) in opened.items()}
        clocks = {name: Server(pid) for name, (_, pid) in opened.items()}
        for in_flight in IN_FLIGHT:
            cpu: dict[str, list[float]] = {name: [] for name in WAYS}
            wall: dict[str, list[float]] = {name: [] for name in WAYS}
            for turn in range(rounds + 1):
                for name, caller in callers.items():
                    before, started = clocks[name].cpu(), time.perf_counter()
                    runner.run(caller.call(number, in_flight))
                    if turn:  # the first makes connections and fills caches
                        wall[name].append((time.perf_counter() - started) / number)
                        cpu[name].append((clocks[name].cpu() - before) / number)
            print(f"\nA call of a known customer, {in_flight} at once: median of {rounds} rounds of {number}")
            for name in WAYS:
                shown = []
                for measured in (cpu, wall):
                    ratios = [a / b for a, b in zip(measured[name], measured[PLAIN], strict=True)]
                    shown.append(
                        f"{statistics.median(measured[name]) * 1e6:8.0f} us  x {statistics.median(ratios):.2f}"
                    )
                print(f"  {name:<22} processor {shown[0]}   wall {shown[1]}")


def memory(klaviyo: str, folder: Path, calls: int) -> None:
    """Print the memory of a gateway as calls go by: 20,000 customers observed, most of them unknown; 1,000 enforced."""
    requests = requests_of("gateway", 20_000)
    fill(folder, "gateway", 1_000)
    for name in ("observe, with a log", "enforce, with a log"):
        given = requests if name.startswith("observe") else requests[:1_000]
        with running(klaviyo, folder, WAYS[name]) as (url, pid), asyncio.Runner() as runner:
            caller, done = Caller(url, given), 0
            for each in (10_000, calls // 2, calls):
                runner.run(caller.call(each - done, 16))
                done = each
                print(f"  {name:<22} {done:>8,} calls: {resident(pid):7.1f} MiB", flush=True)


def resident(pid: int) -> float:
    """Return the memory of a process, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--number", type=int, default=300)
    parser.add_argument("--calls", type=int, help="measure memory over so many calls")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, served(Path(name)) as server:
        print(f"load average {os.getloadavg()[0]:.1f}")
        if given.calls:
            memory(server.urls["plain"], Path(name), given.calls)
        else:
            compare(server.urls["plain"], Path(name), given.rounds, given.number)


if __name__ == "__main__":
    main()
