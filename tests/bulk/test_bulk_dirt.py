"""`safeklaviyo track FILE` on a large file with every kind of dirt: each bad row is told, every other arrives once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from safeklaviyo import Klaviyo
from safeklaviyo.testing import KlaviyoSimulator
from support.dirty_events import PEOPLE, PROGRAM, REFUSED, person, write

ACCOUNT = "SiMuLa"


def check_sent(tmp_path, rows, *more):
    """Send a file of so many rows, and check what became of each; return the memory that the command had, in MiB."""
    simulator = KlaviyoSimulator(account=ACCOUNT, queue_lag=0.0, clock="real")
    path, kept, store = tmp_path / f"{rows}.csv", tmp_path / f"{rows}-refused.csv", f"sqlite:///{tmp_path}/{rows}.db"
    written = write(path, rows)
    with Klaviyo("pk_dirt", account=ACCOUNT, store=store) as k:
        k.bindings.add([person(who) for who in range(PEOPLE)], trusted=True)
    with simulator.serve() as url:
        given = ["track", str(path), "--number", "number", "--refused", str(kept), "--base-url", url, *more]
        command = [sys.executable, "-c", PROGRAM, *given, "--account", ACCOUNT, "--store", store]
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | {"KLAVIYO_API_KEY": "pk_dirt"}
        )
    *told, last = ended.stderr.splitlines()
    status, memory = map(int, last.split())
    assert (int(written.refused > 0), f"accepted {len(written.taken)}, refused {written.refused}\n") == (
        status, ended.stdout,
    ), ended.stderr[-2000:]  # fmt: skip
    assert written.refused == sum(line.startswith("line ") for line in told)
    assert written.refused + 1 == kept.read_text(encoding="utf-8").count("\n")
    simulator.drain()
    assert dict.fromkeys(written.taken, 1) == Counter(each.properties["number"] for each in simulator.events)
    assert PEOPLE == len(simulator.profiles)
    return memory / 1024


def test_each_kind_of_dirt(tmp_path):
    """As many rows as there are kinds."""
    check_sent(tmp_path, len(REFUSED) * 80)


@pytest.mark.slow
def test_a_hundred_thousand_rows(tmp_path):
    """P5, P7: none is lost or doubled, and the command needs no more memory than for a tenth of the rows."""
    assert check_sent(tmp_path, 100_000) < check_sent(tmp_path, 10_000) + 16
