"""P8 as a whole: a long faulty day, of which every signal is searched for 200 names and secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
HEARD = {"command", "command line", "error", "log", "metrics", "sentry", "spans", "structlog"}
"""The channels in which a day has something to say. Of files there may be none."""


@pytest.fixture
def day(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Lets a day pass in a process of its own, and returns what was found."""

    def pass_one(*arguments: str) -> dict[str, Any]:
        path = os.pathsep.join([str(HERE), *(each for each in sys.path if each)])
        program = [sys.executable, "-m", "support.faulty_day", str(tmp_path), *arguments]
        done = subprocess.run(
            program, check=False, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
        )
        assert 0 == done.returncode, done.stderr[-3000:]
        report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return report

    return pass_one


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_nothing_tells_on_anybody(day: Callable[..., dict[str, Any]], tmp_path: Path, kind: str) -> None:
    """P8: 0 of 200 identifiers and secrets are found, with OpenTelemetry, Sentry, structlog and the log at level 1."""
    report = day(kind, f"sqlite:///{tmp_path}/identity.db")
    assert {} == report["shown"]
    assert {0} == set(report["found"].values())
    assert report["planted"] >= 200
    # The day was one: much was said in each channel, calls went well, and they failed in many ways.
    assert not HEARD - {channel for channel, number in report["texts"].items() if number}
    assert report["texts"]["log"] > 500
    counts = report["counts"]
    assert counts["done"] > 30
    assert len(counts) > 15
    assert {"NoResponseError", "ServerError", "StoreUnavailableError", "ConfigurationError", "LookupError"} <= set(
        counts
    )
    assert {"Soft", "TimeoutError"} & set(counts)


def test_the_search_is_not_blind(day: Callable[..., dict[str, Any]]) -> None:
    """What tells on one customer is found in each channel, also where the package would be the one that tells."""
    report = day("sync", "memory://", "leaking")
    unheard = {channel for channel, number in report["found"].items() if not number}
    assert set() == unheard
    assert {*HEARD, "file name", "temporary file"} == set(report["found"])
