"""Real processes that send many rows, killed with SIGKILL anywhere: sent again, nothing is lost and nothing doubled.

They share one SQLite file and one served Klaviyo. The map knows half of the customers before, so that some rows go in a
job, and the others make first contact.
"""

from __future__ import annotations

import csv
import signal
import time
from collections import Counter
from multiprocessing import get_context

import pytest

from safeklaviyo.testing import KlaviyoSimulator, Readings
from support.bulk_victims import ACCOUNT, BEGAN, CALLS, LEASE, PEOPLE, ROWS, TIMEOUT, live, opened, person, row
from support.clients import BLOCKING

SERVER = get_context("forkserver")
SERVER.set_forkserver_preload(["pytest", "httpx", "email_validator", *BLOCKING, "safeklaviyo.stores.sqlite"])
KILLED = -signal.SIGKILL
READINGS = {each: Readings(bulk_repeats=each) for each in ("dropped", "refused", "refused_without_pointer")}


def written(path):
    """Write the events as a file without keys, and return its name."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["event", "external_id", "email", "time", "number"])
        for number in range(ROWS):
            who = row(number)
            table.writerow([who["event"], who["external_id"], who["email"], BEGAN + number, number])
    return str(path)


def run(name, url, path, file, steps=0):
    """Let a process live, and return how it ended."""
    process = SERVER.Process(target=live, args=(name, url, path, file, steps))
    process.start()
    process.join(60)
    return process.exitcode


def check(simulator, name):
    """Each event was recorded once; each customer has one profile, with what was said last."""
    simulator.drain()
    if name == "identify":
        assert {f"c-{n}": n for n in range(ROWS)} == {p.external_id: p.properties["points"] for p in simulator.profiles}
        return
    assert dict.fromkeys(range(ROWS), 1) == Counter(each.properties["number"] for each in simulator.events)
    assert PEOPLE == len(simulator.profiles)


def killed(tmp_path, name, reading, steps):
    """Kill a process after so many steps, and let another do the whole again; return whether the first was killed."""
    simulator = KlaviyoSimulator(READINGS[reading], account=ACCOUNT, queue_lag=0.0, clock="real")
    path, file = str(tmp_path / f"{steps}.db"), written(tmp_path / f"{steps}.csv")
    with simulator.serve() as url:
        with opened(url, path) as k:
            half = range(0, ROWS if name == "identify" else PEOPLE, 2)
            k.identify_many([{"external_id": person(n)["external_id"], "email": person(n)["email"]} for n in half])
        ended = run(name, url, path, file, steps)
        assert ended in {0, KILLED}
        time.sleep(TIMEOUT + LEASE if ended else 0)
        assert 0 == run(name, url, path, file)
        check(simulator, name)
    return ended == KILLED


@pytest.mark.parametrize(("name", "steps"), [("track", 4), ("command", 9)])
def test_a_process_that_is_killed(tmp_path, name, steps):
    """P5: one point of each call."""
    assert killed(tmp_path, name, "refused", steps)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1, 202, 10))
@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("name", CALLS)
def test_a_process_that_is_killed_anywhere(tmp_path, name, reading, first):
    """P5: every point, ten in each test, under each reading of a key that a job repeats."""
    were_killed = [killed(tmp_path, name, reading, steps) for steps in range(first, first + 10)]
    # The last points are beyond the end.
    assert first > 1 or all(were_killed)
    assert first < 201 or not all(were_killed)
