"""`track_many` over many events: ``python -m tests.benchmarks.bulk`` from the project's root, by hand.

What is measured: the CPU of this process for each event, at the least of several runs; the same beside a bare loop that
sends the very same bodies by httpx; and how the process grows between a tenth of the way and the end. With ``--paced``
the server is the simulator with Klaviyo's limits, and the time that a real clock takes counts.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from safeklaviyo import Klaviyo
from tests.benchmarks.__main__ import served
from tests.benchmarks.customers import EVENT, customers, in_turn
from tests.benchmarks.measuring import ACCOUNT, KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = os.sysconf("SC_PAGE_SIZE")
BEGAN = 1_795_000_000
BODIES = 20


def events(number: int, shop: str) -> Iterator[dict[str, Any]]:
    """Yield events about 20,000 customers in turn, each with a key and a time of its own."""
    turn = in_turn(customers(shop))
    for at in range(number):
        who = turn()
        yield {
            "event": "Placed Order",
            "external_id": who.external_id,
            "email": who.email,
            "unique_id": f"order-{at}",
            "time": BEGAN + at,
            "value": 99.5,
            "properties": EVENT,
        }


def resident() -> int:
    """Return the bytes of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


class Watched:
    """Remembers what the process held at a tenth of the way and at the end, and the CPU of each thousand rows."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.tenth = self.end = 0
        self._before = time.process_time()
        self.thousands: list[float] = []

    def __call__(self, progress: Any) -> None:
        """Note how far it is."""
        now = time.process_time()
        self.thousands.append(now - self._before)
        self._before = now
        if progress.done >= self._number // 10:
            self.tenth = self.tenth or resident()
        self.end = resident()


# The simulator keeps all events, and has no cycles: full collections would walk through ever more of them in vain.
SIMULATE = "import gc, sys; gc.disable(); from safeklaviyo.cli import main; sys.exit(main(sys.argv[1:]))"


@contextmanager
def simulated() -> Iterator[tuple[str, int]]:
    """Serve the simulator with Klaviyo's limits in a process of its own; yield its URL and that process."""
    command = [sys.executable, "-c", SIMULATE, "simulate", "--rate-limits", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = next(word for line in process.stdout for word in line.split() if word.startswith("http://"))
            yield url, process.pid
        finally:
            process.terminate()


def cpu_of(process: int) -> float:
    """Return the seconds of processor that a process has had."""
    times = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")


def opened(url: str, store: str, shop: str, account: str = ACCOUNT) -> Klaviyo:
    """Return a client whose map knows the customers."""
    client = Klaviyo(KEY, account=account, store=store, base_url=url, deadline=None)
    rows = [
        {"external_id": each.external_id, "email": each.email, "profile_id": each.profile_id}
        for each in customers(shop)
    ]
    client.bindings.add(rows, trusted=True)
    return client


def bare(url: str, bodies: list[bytes]) -> float:
    """Return the CPU of sending these bodies by httpx."""
    headers = {"Authorization": f"Klaviyo-API-Key {KEY}", "revision": "2026-10-15", "content-type": "application/json"}
    with httpx.Client() as client:
        began = time.process_time()
        for body in bodies:
            client.post(f"{url}/api/event-bulk-create-jobs", content=body, headers=headers)
        return time.process_time() - began


def bodies_of(client: Klaviyo) -> list[bytes]:
    """Return the bodies of some jobs, as the client sends them."""
    kept: list[bytes] = []

    def keep(request: httpx.Request) -> httpx.Response:
        kept.append(request.content)
        return httpx.Response(202)

    inner: Any = client
    with Klaviyo(
        KEY, account=ACCOUNT, store=inner._shell.store, base_url="http://127.0.0.1:1", deadline=None,
        http_client=httpx.Client(transport=httpx.MockTransport(keep)),
    ) as other:  # fmt: skip
        other.track_many(events(BODIES * 1000, "bulk"))
    return kept


def measure(client: Klaviyo, url: str, number: int, rounds: int) -> None:
    """Print the CPU of an event, and of the same bodies sent bare."""
    bodies = bodies_of(client)
    times = []
    for _ in range(rounds):
        before, began = os.times(), time.process_time()
        watched = Watched(number)
        report = client.track_many(events(number, "bulk"), on_progress=watched)
        after, spent = os.times(), time.process_time() - began
        assert report.accepted == number, report
        drawing = time.process_time()
        for _row in events(number, "bulk"):
            pass
        drawing = time.process_time() - drawing
        times.append((spent - drawing, after.user - before.user, after.system - before.system, watched))
    spent, user, system, watched = min(times, key=lambda each: each[0])
    alone = min(bare(url, bodies) for _ in range(rounds)) / (len(bodies) * 1000)
    each = spent / number
    print(
        f"{number:,} events, least of {rounds} runs, the caller's own rows ({drawing / number * 1e6:.1f} us) taken off"
    )
    print(f"  CPU an event {each * 1e6:.1f} us (user {user / number * 1e6:.1f}, system {system / number * 1e6:.1f})")
    # On a machine that others use too, their share of its caches is in the mean.
    thousands = sorted(each / 1000 - drawing / number for each in watched.thousands)
    marks = ", ".join(f"{thousands[len(thousands) * part // 4] * 1e6:.1f}" for part in (0, 1, 2, 3))
    print(f"  by thousands, the least and the quartiles: {marks} us an event")
    print(f"  the same bodies by httpx {alone * 1e6:.1f} us: {each / alone:.1f} times")
    print(f"  memory {watched.tenth / 2**20:.1f} MiB at a tenth, {watched.end / 2**20:.1f} MiB at the end")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--store", help="a store's URL; else a SQLite file")
    parser.add_argument("--paced", action="store_true", help="against the simulator with Klaviyo's limits, once")
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = given.store or f"sqlite:///{folder / 'map.db'}"
        if given.paced:
            with simulated() as (url, process), opened(url, store, "bulk", "SiMuLa") as client:
                paced(client, given.events, process)
            return
        with served(folder) as server, opened(server.urls["plain"], store, "bulk") as client:
            if given.profile:
                profiler = cProfile.Profile()
                rows = list(islice(events(given.events, "bulk"), given.events))
                profiler.runcall(client.track_many, rows)
                pstats.Stats(profiler).sort_stats("tottime").print_stats(35)
                return
            measure(client, server.urls["plain"], given.events, given.rounds)


def paced(client: Klaviyo, number: int, process: int) -> None:
    """Print how long the events take under Klaviyo's limits."""
    watched, began, spent = Watched(number), time.monotonic(), time.process_time()
    report = client.track_many(events(number, "bulk"), on_progress=watched)
    seconds, spent = time.monotonic() - began, time.process_time() - spent
    print(f"{report}: {seconds:.0f} s, {number / seconds:,.0f} events a second, CPU {spent / number * 1e6:.1f} us each")
    time.sleep(1.5)
    print(f"  the simulator's CPU {cpu_of(process) / number * 1e6:.1f} us each; load {os.getloadavg()[0]:.0f}")
    recorded = client.request("GET", "/api/events?page%5Bsize%5D=1&sort=-datetime").json()["data"]
    print(f"  the last one recorded: {recorded[0]['attributes']['event_properties'].get('$event_id')}")
    print(f"  memory {watched.tenth / 2**20:.1f} MiB at a tenth, {watched.end / 2**20:.1f} MiB at the end")


if __name__ == "__main__":
    main()
