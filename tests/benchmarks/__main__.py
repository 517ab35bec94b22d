"""Benchmarks, as ratios within one run: ``python -m tests.benchmarks`` from the project's root, by hand.

Nothing here is a test: times depend on the machine. CPU is this process's own; the server is another process.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, NamedTuple

from safeklaviyo import Klaviyo
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores import open_store
from tests.benchmarks import peers, verbs, writers
from tests.benchmarks import rounds as rounds_of
from tests.benchmarks.measuring import ACCOUNT, KEY, show
from tests.benchmarks.rounds import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

THREADS = (1, 8, 32)
IN_FLIGHT = (1, 16, 64, 256)
MANY = (64, 256)
DELAY = 0.02


class Served(NamedTuple):
    """A server that runs.

    Attributes:
        urls: Its addresses by what they are: plain, and with TLS if it has a certificate.
    """

    urls: dict[str, str]
    clock: Server


@contextmanager
def served(folder: Path, delay: float = 0.0) -> Iterator[Served]:
    """Run the server in a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("server.py")), str(delay), *_certificate(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            ports = process.stdout.readline().split()
            names = (("plain", "http"), ("TLS", "https"))
            urls = {name: f"{scheme}://127.0.0.1:{port}" for (name, scheme), port in zip(names, ports, strict=False)}
            yield Served(urls, Server(process.pid))
        finally:
            process.terminate()


def _certificate(folder: Path) -> tuple[str, ...]:
    """Make a certificate for 127.0.0.1 that this process trusts, and return its files; none without openssl."""
    if which("openssl") is None:
        print("NOT RUN: TLS; openssl is not installed")
        return ()
    certificate, key = str(folder / "server.pem"), str(folder / "server.key")
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    says = ("subjectAltName=IP:127.0.0.1", "keyUsage=critical,digitalSignature,keyCertSign")
    extensions = [word for each in says for word in ("-addext", each)]
    written = ["-subj", "/CN=benchmark", "-keyout", key, "-out", certificate]
    subprocess.run(["openssl", *new, *extensions, *written], check=True, capture_output=True)
    os.environ["SSL_CERT_FILE"] = certificate
    return certificate, key


def blocking(server: Served, folder: Path, seconds: float, rounds: int) -> None:
    """Compare warm `track` calls with a POST of the same event by other clients, in one thread and in many."""
    for kind, url in server.urls.items():
        with peers.blocking(url, str(folder), max(THREADS)) as clients:
            for threads in THREADS:
                calls = {name: each[:threads] for name, each in clients.items()}
                samples = rounds_of.threaded(calls, server.clock, seconds=seconds, rounds=rounds)
                rounds_of.show(f"A warm track, {kind}, {threads} threads", samples, peers.HTTPX)


async def awaited(server: Served, folder: Path, seconds: float, rounds: int) -> None:
    """Same as `blocking`, of calls that are awaited, one at a time and many."""
    for kind, url in server.urls.items():
        async with peers.awaited(url, str(folder)) as clients:
            for in_flight in IN_FLIGHT:
                samples = await rounds_of.awaited(
                    clients, server.clock, in_flight=in_flight, seconds=seconds, rounds=rounds
                )
                rounds_of.show(f"A warm awaited track, {kind}, {in_flight} in flight", samples, peers.ASYNC_HTTPX)
    with served(folder, DELAY) as slow:
        for in_flight in MANY:
            # New clients for each: a pool keeps the connections that it once needed.
            async with peers.awaited(
                slow.urls["plain"],
                str(folder),
                one_each=in_flight == min(MANY),  # with 256 a round takes minutes
            ) as clients:
                samples = await rounds_of.awaited(
                    clients, slow.clock, in_flight=in_flight, seconds=seconds, rounds=(rounds + 1) // 2
                )
                title = f"The same, plain, {in_flight} in flight, answered after {DELAY * 1e3:.0f} ms"
                rounds_of.show(title, samples, peers.ASYNC_HTTPX)


def versions() -> None:
    """Print what is compared. Without sniffio httpcore is slower, and this library always brings it."""
    names = ("httpx", "httpcore", "h11", "sniffio", "anyio", "urllib3", "httpx2", "aiohttp", "klaviyo-api")
    found = []
    for name in names:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores; {', '.join(found)}")


def imports(rounds: int) -> None:
    """Compare the CPU of importing, in new interpreters."""
    touched = "import klaviyo_api; k = klaviyo_api.KlaviyoAPI('pk_x'); k.Events; k.Profiles"
    wanted = {
        "import httpx, pydantic, tenacity": "import httpx, pydantic, tenacity",
        "import safeklaviyo": "import safeklaviyo",
        "from safeklaviyo import Klaviyo": "from safeklaviyo import Klaviyo",
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
    parser.add_argument("--quick", action="store_true", help="few and short rounds, and a smaller map")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=200_000)
    only = ["sync", "async", "import", "lookup", "stores", "adding", "enqueue", "writers", "verbs"]
    parser.add_argument("--only", choices=only)
    given = parser.parse_args()
    rounds, seconds, rows = (3, 0.06, 20_000) if given.quick else (given.rounds, 0.2, given.rows)
    with tempfile.TemporaryDirectory() as name, served(Path(name)) as server:
        folder = Path(name)
        versions()
        if given.only in (None, "sync"):
            blocking(server, folder, seconds, rounds)
        if given.only in (None, "async"):
            asyncio.run(awaited(server, folder, seconds, rounds))
        if given.only in (None, "import"):
            imports(rounds)
        if given.only in (None, "lookup"):
            lookups(folder, rows)
        if given.only in (None, "stores"):
            from tests.benchmarks import stores  # the drivers are extras

            stores.compare(server.urls["plain"], rounds)
        if given.only in (None, "adding"):
            from tests.benchmarks import adding  # the drivers are extras

            adding.compare(folder, rows, min(rounds, 3))
        if given.only in (None, "verbs"):
            verbs.compare(folder, rounds)
        if given.only in (None, "enqueue"):
            from tests.benchmarks import enqueue  # the drivers are extras

            enqueue.compare(folder, 200 if given.quick else 1000, rounds)
        if given.only in (None, "writers"):
            writers.compare(folder, 2.0 if given.quick else 6.0)


if __name__ == "__main__":
    main()
