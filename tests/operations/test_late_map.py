"""A map that answers a call only after the call's end: no lease stays behind, and no thread holds the process up."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo import DeadlineExceededError, Klaviyo
from safeklaviyo.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from safeklaviyo.testing import KlaviyoSimulator

KEY = "pk_0123456789abcdef"
ACCOUNT = "SiMuLa"
ANN: dict[str, Any] = {"external_id": "ann-1", "email": "ann@shop.dev"}
BOB: dict[str, Any] = {"external_id": "bob-2", "email": "bob@shop.dev"}


class Soft(Exception):  # noqa: N818 - named as task queues name theirs
    """A task queue's soft limit."""


class Locked:
    """A map in a file that another process has locked, and a client that uses it."""

    def __init__(self, path: Path, base: str) -> None:
        self._before = set(threading.enumerate())
        self.store = SqliteStore(path, timeout=2.0)
        self.store.count(ACCOUNT)
        self._blocker = sqlite3.connect(path, isolation_level=None)
        self._blocker.execute("BEGIN IMMEDIATE")
        self.client = Klaviyo(KEY, account=ACCOUNT, store=self.store, base_url=base)

    def within(self, seconds: float) -> Klaviyo:
        """Return the client with a deadline."""
        return self.client.with_options(deadline=seconds)

    def unlock(self) -> None:
        """End what the other process does, and wait for what calls have left behind in threads."""
        self._blocker.close()
        for thread in set(threading.enumerate()) - self._before:
            if thread.name.startswith("safeklaviyo"):
                thread.join(5.0)

    def close(self) -> None:
        """Close all."""
        self.unlock()
        self.client.close()
        self.store.close()


@pytest.fixture
def locked(tmp_path: Path, simulator: KlaviyoSimulator) -> Iterator[Locked]:
    """A map that is locked until the test says otherwise."""
    with simulator.serve() as base:
        made = Locked(tmp_path / "map.db", base)
        yield made
        made.close()


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise from a signal handler after so many seconds."""

    def handler(signum: int, frame: object) -> None:
        raise Soft

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_lease_granted_after_the_deadline(locked: Locked) -> None:
    """A lease that the map grants when the call is over is given back: no later call waits for it."""
    began = time.monotonic()
    with pytest.raises(DeadlineExceededError) as caught:
        locked.within(0.2).identify(**ANN)
    assert time.monotonic() - began < 0.6
    assert "not_applied" == caught.value.outcome
    locked.unlock()
    assert () == locked.store.leases(ACCOUNT, 10)
    locked.within(2.0).identify(**ANN)


def test_a_lease_granted_after_an_interruption(locked: Locked) -> None:
    """Same, where a signal handler has ended the call: its exception arrives, and the lease is given back."""
    with pytest.raises(Soft), alarm(0.1):
        locked.within(5.0).identify(**ANN)
    locked.unlock()
    assert () == locked.store.leases(ACCOUNT, 10)
    locked.within(2.0).identify(**ANN)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_interruption_before_the_thread_runs(locked: Locked, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Where a handler raises before the lease is asked for, there is nothing to wait for."""
    started: list[threading.Thread] = []

    def start(thread: threading.Thread, real: Callable[[Any], None] = threading.Thread.start) -> None:
        started.append(thread)
        if [each.name for each in started] == number * ["safeklaviyo-store"]:
            raise Soft
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    began = time.monotonic()
    with pytest.raises(Soft):
        locked.within(5.0).identify(**ANN)
    assert time.monotonic() - began < 0.6


def test_a_fork_in_between(locked: Locked) -> None:
    """A child that is forked while the map is still at work for its parent works, and so does the parent."""
    with pytest.raises(DeadlineExceededError):
        locked.within(0.2).identify(**ANN)
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            locked.within(5.0).track("Ordered", **BOB)
        except DeadlineExceededError:  # the file is locked for the child, too
            os.write(writable, b"late")
        finally:
            os._exit(0)
    time.sleep(0.1)
    locked.unlock()
    os.waitpid(child, 0)
    locked.within(2.0).identify(**ANN)
    os.close(writable)
    assert os.read(readable, 10) in {b"", b"late"}
    os.close(readable)


EXIT = """
import sqlite3, sys
from safeklaviyo import DeadlineExceededError, Klaviyo
from safeklaviyo.stores.sqlite import SqliteStore

store = SqliteStore(sys.argv[1], timeout=60.0)
store.count("SiMuLa")
blocker = sqlite3.connect(sys.argv[1], isolation_level=None)
blocker.execute("BEGIN IMMEDIATE")
try:
    Klaviyo("pk_0123456789abcdef", account="SiMuLa", store=store, deadline=0.2).bindings.add([{"external_id": "ann-1"}])
except DeadlineExceededError:
    print("ended")
"""


def test_the_process_ends_while_the_map_hangs(tmp_path: Path) -> None:
    """A process whose call has ended exits, although the map has not answered."""
    began = time.monotonic()
    command = [sys.executable, "-c", EXIT, str(tmp_path / "map.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
    assert "ended\n" == done.stdout
    assert time.monotonic() - began < 20
