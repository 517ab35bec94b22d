"""How long writers of one SQLite file wait for each other: eight processes, beside plain sqlite3 in the same run."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROCESSES: Final = 8
ACCOUNT: Final = "AbC123"
PLAIN: Final = "sqlite3, timeout=5"


def plain(path: str, who: str) -> Callable[[int], object]:
    """Return a write of a row as a program without this library does it."""
    connection = sqlite3.connect(path, timeout=5.0, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")

    def write(number: int) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO note VALUES (?, ?, ?)", (who, str(number), "x"))
        connection.execute("COMMIT")

    return write


def ours(path: str, who: str) -> Callable[[int], object]:
    """Return a write of a lease, which is what a first contact begins with."""
    store = SqliteStore(path)

    def write(number: int) -> None:
        name = Identifier(Kind.EXTERNAL_ID, f"{who}-{number}")
        store.acquire(ACCOUNT, frozenset({name}), intent="an intent", ttl=60.0)

    return write


KINDS: Final = {PLAIN: plain, "the store": ours}


def work(kind: str, path: str, who: str, seconds: float) -> None:
    """Write for some seconds, and print how long each write took, in milliseconds."""
    write = KINDS[kind](path, who)
    number, ends = 0, time.monotonic() + seconds
    while time.monotonic() < ends:
        start = time.perf_counter()
        write(number)
        print(f"{(time.perf_counter() - start) * 1e3:.2f}")
        number += 1
        time.sleep(0.0005)  # a program does something else, too


def compare(folder: Path, seconds: float) -> None:
    """Let the writers write, of each kind in turn."""
    print(f"\nSQLite, {PROCESSES} processes that write for {seconds:.0f} s, ms for each write")
    for number, kind in enumerate(KINDS):
        path = folder / f"writers{number}.db"
        with SqliteStore(path) as store:
            store.remember(ACCOUNT, "a", "b")
        command = [sys.executable, "-m", "tests.benchmarks.writers", kind, str(path)]
        running = [
            subprocess.Popen([*command, f"w{who}", str(seconds)], stdout=subprocess.PIPE, text=True)
            for who in range(PROCESSES)
        ]
        took = sorted(float(line) for each in running for line in each.communicate()[0].splitlines())
        at = {name: took[min(int(part * len(took)), len(took) - 1)] for name, part in (("p50", 0.5), ("p99", 0.99))}
        print(
            f"  {kind:<24} {len(took) / seconds:6.0f} a second  p50 {at['p50']:7.1f}  p99 {at['p99']:7.1f}"
            f"  longest {took[-1]:7.1f}"
        )


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]))
