"""Real processes, killed with SIGKILL at every point of every verb, on one SQLite file and one served Klaviyo.

A process is killed while Klaviyo has its request: before it is done, or, of a write, after it was done and before the
answer; and after each call of the map. All victims of a verb share one map, so that one wait lets all leases expire.
"""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import Future
from itertools import count
from multiprocessing import get_context
from typing import TYPE_CHECKING

import pytest

from safeklaviyo import ErasedError, ProfileNotVisibleError
from safeklaviyo.identity import Identifier, Kind
from safeklaviyo.stores import open_store
from safeklaviyo.testing import KlaviyoSimulator
from support.clients import BLOCKING
from support.victims import (
    ACCOUNT,
    LAG,
    LEASE,
    SCENES,
    TIMEOUT,
    external_id,
    live,
    new,
    old,
    opened,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeklaviyo.testing import Asked

SERVER = get_context("forkserver")
SERVER.set_forkserver_preload(["pytest", "httpx", "email_validator", *BLOCKING, "safeklaviyo.stores.sqlite"])
KILLED = -signal.SIGKILL


class Executioner:
    """Kills a process when Klaviyo gets its n-th request, which is lost, or its n-th write, which is done."""

    def __init__(self, turn: int, *, is_lost: bool) -> None:
        self.victim: Future[int] = Future()
        self._turn = turn
        self._is_lost = is_lost
        self._met = count(1)

    def retire(self) -> None:
        """Kill nobody any more."""
        self._turn = 0

    def __call__(self, asked: Asked) -> bool:
        if not (self._is_lost or asked.method != "GET") or next(self._met) != self._turn:
            return False
        os.kill(self.victim.result(5), signal.SIGKILL)
        return self._is_lost


def deaths(simulator: KlaviyoSimulator, url: str, path: str, name: str) -> Iterator[int]:
    """Kill a process at each point of a verb, each about another customer, and yield the customers' numbers."""
    numbers = count(1)
    with opened(url, path) as k:
        for kind in ("lost", "done", "map"):
            for turn in count(1):
                number = next(numbers)
                SCENES[name].prepare(k, number)
                executioner = Executioner(0 if kind == "map" else turn, is_lost=kind == "lost")
                simulator.fail_next(match=executioner)
                process = SERVER.Process(target=live, args=(url, path, name, number, turn if kind == "map" else 0))
                process.start()
                executioner.victim.set_result(process.pid)
                process.join(30)
                executioner.retire()
                yield number
                if process.exitcode == 0:
                    assert turn > 1
                    break
                assert KILLED == process.exitcode


def of(simulator: KlaviyoSimulator, number: int) -> list[tuple[str | None, str | None]]:
    """Return the pairs of a customer's profiles."""
    theirs = {external_id(number), f"d-{number}", old(number), new(number)}
    return sorted(
        ((each.external_id, each.email) for each in simulator.profiles if {each.external_id, each.email} & theirs),
        key=str,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENES)
def test_a_process_that_is_killed_anywhere(tmp_path, name):
    """P4: another process finishes what was begun, by `recover` or its next call; the same call ends as ever."""
    scene, path = SCENES[name], str(tmp_path / "identity.db")
    simulator = KlaviyoSimulator(account=ACCOUNT, queue_lag=0.0, clock="real")
    with simulator.serve() as url, open_store(f"sqlite:///{path}") as store:
        begun = {}
        for number in deaths(simulator, url, path, name):
            names = [Identifier(Kind.EMAIL, each(number)) for each in (old, new)]
            begun[number] = store.find(ACCOUNT, names).lease is not None
        assert {True, False} == set(begun.values())
        time.sleep(TIMEOUT + LEASE)
        with opened(url, path) as k:
            for number in begun:
                if number % 2:
                    come_by(k, simulator, number)
            assert {"completed"} >= set(statuses(k))
            for number, was_begun in begun.items():
                ends = [scene.after(number), scene.between(number)] + [scene.before(number)] * (not was_begun)
                assert of(simulator, number) in [sorted(end, key=str) for end in ends], number
            assert () == store.expired(ACCOUNT, 1)
            for number in begun:
                patiently(scene.call, k, number)
                simulator.drain()
                assert sorted(scene.after(number), key=str) == of(simulator, number)
                agree(store, simulator, number)


def patiently(call, *args, **named):
    """Call again as long as Klaviyo does not show a profile that may be gone, as each error advises."""
    for _ in range(5):
        try:
            return call(*args, **named)
        except ProfileNotVisibleError as error:
            seconds = error.retry_after or LAG
        time.sleep(seconds)
    return call(*args, **named)


def statuses(k):
    """Recover until nothing is postponed, and say what became of each intent in the end."""
    for _ in range(5):
        ended = [each.status for each in k.recover()]
        if "postponed" not in ended:
            return ended
        time.sleep(TIMEOUT + LEASE + LAG)
    return ended


def come_by(k, simulator, number):
    """Make the next call about a customer: it lands on one profile of theirs, unless they were erased."""
    try:
        who = {"external_id": external_id(number), "email": old(number)}
        landed = patiently(k.track, "Ordered", unique_id=f"next-{number}", **who).profile_id
    except ErasedError:
        return
    simulator.drain()
    assert [landed] == [event.profile_id for event in simulator.events if event.unique_id == f"next-{number}"]


def agree(store, simulator, number):
    """The map says of a customer what Klaviyo shows, and nobody is still writing about them."""
    found = store.find(ACCOUNT, [Identifier(Kind.EMAIL, each(number)) for each in (old, new)])
    assert None is found.lease
    shown = {each.id: (each.external_id, each.email) for each in simulator.profiles}
    for match in found.matches:
        assert shown[match.binding.profile_id] == (match.binding.external_id, match.binding.email)
