"""Benchmarks, as ratios within one run: ``python -m tests.benchmarks`` from the project's root, by hand.

Nothing here is a test: times depend on the machine. CPU is this process's own; the server is another process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from safeklaviyo import AsyncKlaviyo, Klaviyo
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores import open_store
from tests.benchmarks.measuring import ACCOUNT, BODY, EVENT, HEADERS, KEY, ROW, cpu, repeat, show

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


@contextmanager
def served() -> Iterator[str]:
    """Run the server in a process of its own, and yield its address."""
    command = [sys.executable, str(Path(__file__).with_name("server.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def blocking(url: str, folder: Path, rounds: int) -> None:
    """Compare one warm `track` with a plain POST of the same body, and with the official package."""
    content = json.dumps(BODY).encode()
    with (
        httpx.Client(base_url=url, headers=HEADERS) as raw,
        Klaviyo(KEY, account=ACCOUNT, base_url=url, store=f"sqlite:///{folder / 'warm.db'}") as client,
        Klaviyo(KEY, account=ACCOUNT, base_url=url, store="memory://") as in_memory,
    ):
        for each in (client, in_memory):
            each.bindings.add([ROW], trusted=True)
        calls: dict[str, Callable[[], object]] = {
            "httpx.Client.post(json=)": lambda: raw.post("/api/events", json=BODY),
            "httpx.Client.post(content=)": lambda: raw.post("/api/events", content=content),
            "Klaviyo.track, SQLite": lambda: client.track(
                "Placed Order", external_id=ROW.external_id, email=ROW.email, properties=EVENT
            ),
            "Klaviyo.track, memory": lambda: in_memory.track(
                "Placed Order", external_id=ROW.external_id, email=ROW.email, properties=EVENT
            ),
        }
        official = _official(url)
        if official is not None:
            calls["klaviyo-api create_event"] = official
        show("A warm track, CPU per call", cpu(calls, number=100, rounds=rounds), "httpx.Client.post(json=)")


def _official(url: str) -> Callable[[], object] | None:
    try:
        from klaviyo_api import KlaviyoAPI
    except ImportError:
        return None
    official = KlaviyoAPI(KEY, max_retries=0)
    official.Events.api_client.configuration._base_path = url
    official.Events.api_client.configuration.host = url
    return lambda: official.Events.create_event(BODY)


async def awaited(url: str, folder: Path, rounds: int, in_flight: int) -> None:
    """Compare the throughput of warm `track` calls with a plain `AsyncClient`, many in flight."""

    async def throughput(call: Callable[[], Awaitable[object]], number: int) -> float:
        start = time.perf_counter()
        await repeat(call, number, in_flight)
        return (time.perf_counter() - start) / number

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with (
        httpx.AsyncClient(base_url=url, headers=HEADERS, limits=limits) as raw,
        AsyncKlaviyo(KEY, account=ACCOUNT, base_url=url, store=f"sqlite:///{folder / 'warm.db'}") as client,
    ):
        await client.bindings.add([ROW], trusted=True)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "httpx.AsyncClient.post": lambda: raw.post("/api/events", json=BODY),
            "AsyncKlaviyo.track, SQLite": lambda: client.track(
                "Placed Order", external_id=ROW.external_id, email=ROW.email, properties=EVENT
            ),
        }
        measured: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, call in calls.items():
                measured[name].append(await throughput(call, 640))
        medians = {name: statistics.median(values) for name, values in measured.items()}
        transport = "aiohttp's transport" if find_spec("httpx_aiohttp") else "httpx's transports, in shards"
        show(f"{in_flight} in flight, time per call ({transport})", medians, "httpx.AsyncClient.post")
        print(f"  throughput x {medians['httpx.AsyncClient.post'] / medians['AsyncKlaviyo.track, SQLite']:.2f}")


def imports(rounds: int) -> None:
    """Compare the CPU of importing, in new interpreters."""
    touched = "import klaviyo_api; k = klaviyo_api.KlaviyoAPI('pk_x'); k.Events; k.Profiles"
    wanted = {
        "import httpx, pydantic, tenacity": "import httpx, pydantic, tenacity",
        "import safeklaviyo": "import safeklaviyo",
        "klaviyo-api, Events and Profiles touched": touched,
    }
    measured: dict[str, list[float]] = {name: [] for name in wanted}
    for _ in range(rounds):
        for name, code in wanted.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if done.returncode == 0:
                spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                measured[name].append(spent)
    medians = {name: statistics.median(values) for name, values in measured.items() if values}
    show("Importing, CPU of a new interpreter", medians, "import httpx, pydantic, tenacity", 1e3, "ms")


def lookups(folder: Path, rows: int) -> None:
    """Load many bindings, and look some up."""
    url = f"sqlite:///{folder / 'many.db'}"
    with Klaviyo(KEY, account=ACCOUNT, store=url) as client:
        start = time.process_time()
        given = (
            {"external_id": f"c{n}", "email": f"c{n}@shop.example.net", "profile_id": f"P{n:024d}"} for n in range(rows)
        )
        report = client.bindings.add(given, trusted=True)
        loading = time.process_time() - start
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open_store(url) as store:
        step = max(rows // 20_000, 1)
        wanted = [
            (Identifier(Kind.EXTERNAL_ID, f"c{n}"), Identifier(Kind.EMAIL, f"c{n}@shop.example.net"))
            for n in range(0, rows, step)
        ]
        store.find(ACCOUNT, wanted[0])
        start = time.process_time()
        for identifiers in wanted:
            store.find(ACCOUNT, identifiers)
        each = (time.process_time() - start) / len(wanted)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(
        f"\n{report.added:,} bindings in SQLite, loaded in {loading:.1f} s of CPU: a lookup {each * 1e6:.1f} us of CPU"
    )
    print(f"  {len(wanted):,} lookups all over the map grew the process by {grown / 1024:.1f} MiB")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", choices=["sync", "async", "import", "lookup", "stores"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, served() as url:
        folder = Path(name)
        if given.only in (None, "sync"):
            blocking(url, folder, given.rounds)
        if given.only in (None, "async"):
            asyncio.run(awaited(url, folder, given.rounds, 64))
        if given.only in (None, "import"):
            imports(given.rounds)
        if given.only in (None, "lookup"):
            lookups(folder, given.rows)
        if given.only in (None, "stores"):
            from tests.benchmarks import stores  # the drivers are extras

            stores.compare(url, given.rounds)


if __name__ == "__main__":
    main()
