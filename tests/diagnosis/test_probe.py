"""The example that asks an account what Klaviyo has not confirmed, against a pretend Klaviyo under each reading."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import pytest

from safeklaviyo.testing import KlaviyoSimulator, Readings

PROGRAM = Path(__file__).parents[2] / "examples" / "probe_account.py"


@pytest.fixture(scope="module")
def program() -> Any:
    """The example, as a module."""
    spec = importlib.util.spec_from_file_location("probe_account", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def asked(program: Any, readings: Readings) -> tuple[dict[str, Any], KlaviyoSimulator]:
    """Ask a pretend Klaviyo, and delete what was made."""
    simulator = KlaviyoSimulator(readings, queue_lag=60.0)
    headers = {"Authorization": "Klaviyo-API-Key pk_simulator", "revision": "2026-10-15"}
    with httpx.Client(base_url="https://a.klaviyo.com", headers=headers, transport=simulator.transport) as http:
        account = program.Account(http, simulator.advance)
        answers = program.probe(account)
        assert 0 == account.delete()
    return answers, simulator


def check(program: Any, readings: Readings) -> None:
    """Compare each answer with the reading's; no profile is left, and the file is a reading of the simulator's."""
    names = {question.__name__ for question in program.QUESTIONS}
    answers, simulator = asked(program, readings)
    assert {name: getattr(readings, name) for name in names} == answers
    assert [] == simulator.profiles
    assert readings == Readings(**json.loads(json.dumps(answers)))


def test_answers_are_the_readings(program: Any) -> None:
    """The usual reading is found out, and one that is unusual in four ways."""
    check(program, Readings())
    check(program, Readings(email_case="kept", event_conflict="keep", merged_id="alias", external_ids_cut_at=64))


@pytest.mark.slow
def test_each_answer_is_the_readings(program: Any) -> None:
    """Under each reading each question is answered as that reading answers it."""
    names = {question.__name__ for question in program.QUESTIONS}
    assert names <= {each.name for each in fields(Readings)}
    usual = Readings()
    for readings in Readings.each():
        if any(getattr(readings, name) != getattr(usual, name) for name in names):
            check(program, readings)


def test_wrong_account_is_left_alone(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of another account than the one that is named sends nothing but the question whose it is."""
    simulator = KlaviyoSimulator(account="SiMuLa")
    monkeypatch.setenv("KLAVIYO_API_KEY", "pk_0123456789abcdef")
    with simulator.mock(), pytest.raises(SystemExit, match="not that account's"):
        program.main("OtHeRs")
    assert ["get_accounts"] == [entry.endpoint for entry in simulator.journal]
