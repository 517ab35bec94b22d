"""The command `decisions`: what a decision log says in all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.guarding import Shop
from support.scenes import ANN, BOB, NEW

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from safeklaviyo.testing import KlaviyoSimulator
    from support.clients import OpenClient

Run = "Callable[..., tuple[int, str, str]]"


@pytest.fixture
def log(simulator: KlaviyoSimulator, store: Any, open_client: OpenClient, tmp_path: Path) -> Path:
    """A log of a week: four observed calls, two enforced ones, and lines that are none."""
    path = tmp_path / "decisions.jsonl"
    k = open_client(simulator, store, api_key="pk_simulator")
    k.identify(**ANN)
    k.change_email(NEW, external_id=ANN["external_id"])
    for mode, calls in (("observe", 2), ("enforce", 1)):
        shop = Shop(simulator, k, mode=mode, decision_log=path, learn=False)
        for _ in range(calls):
            shop.event(email=ANN["email"])
            shop.upsert(external_id=BOB["external_id"], email=NEW)
        shop.transport.guard.flush()
    with path.open("a") as more:
        more.write('{"v": 2}\nnot a line\n\n[]\n' + "[" * 100_000 + "\n")
    return path


def test_it_counts_by_rule_and_by_line_of_code(log: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    """Observed calls count by what the map says of them, enforced ones by what became of them."""
    status, out, err = run("decisions", str(log))
    assert (0, "") == (status, err)
    shown = [" ".join(line.split()) for line in out.splitlines()]
    assert shown[0].startswith("6 calls (2 in enforce, 4 in observe), 2")
    assert shown[0].endswith("; 4 lines skipped")
    assert {"create_event R11 identifiers replaced 3", "create_or_update_profile R7 refused 3"} <= {*shown}
    assert ["R11", "R7"] == [line.split()[1] for line in shown if line.startswith("support/guarding.py:")]


def test_a_program_gets_all_of_it(log: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    """As JSON."""
    status, out, _ = run("decisions", str(log), "--json")
    counted = json.loads(out)
    assert (0, 6, 4, {"observe": 4, "enforce": 2}) == (status, counted["calls"], counted["skipped"], counted["modes"])
    assert {("create_event", "rewrite", "R11", 3), ("create_or_update_profile", "refuse", "R7", 3)} == {
        (each["operation"], each["action"], each["rule"], each["calls"]) for each in counted["kinds"]
    }
    assert 2 == len(counted["sites"])


def test_a_log_without_lines_is_none(tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    """It says so, and fails."""
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    status, _, err = run("decisions", str(empty))
    assert (1, "the log has no line of a version that this program reads\n") == (status, err)
    status, _, err = run("decisions", str(tmp_path / "missing"))
    assert (1, True) == (status, err.startswith("FileNotFoundError"))
