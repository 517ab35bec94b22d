"""Logs with one planted fault each, many of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from safeklaviyo.audit import diagnose
from support.diagnosis_logs import FAULTS, log

if TYPE_CHECKING:
    from pathlib import Path


def judged(numbers: range, path: Path) -> tuple[int, list[str]]:
    """Diagnose logs; return how often the planted call is named, and what is called certain and is not."""
    kinds = list(FAULTS)
    named, wrong = 0, list[str]()
    for number in numbers:
        kind = kinds[number % len(kinds)]
        planted = log(number, kind)
        path.write_text(json.dumps(planted.har))
        found = diagnose(path)
        index = None if found.cause is None else found.cause.index
        named += index == planted.cause and set(planted.calls) <= {call.index for call in found.calls}
        if found.certain != planted.certain:
            wrong.append(f"{kind}, {number}")
    return named, wrong


def clean(numbers: range, path: Path) -> list[int]:
    """Diagnose logs without a fault; return those in which something is called certain."""
    certain: list[int] = []
    for number in numbers:
        path.write_text(json.dumps(log(number).har))
        if diagnose(path).certain:
            certain.append(number)
    return certain


def test_planted_calls_are_named(tmp_path: Path) -> None:
    """Of 45 planted faults each is named, and certain only where the log alone shows it."""
    assert (45, []) == judged(range(45), tmp_path / "shop.har")


def test_nothing_is_certain_in_clean_logs(tmp_path: Path) -> None:
    """In 15 logs without a fault nothing is certain."""
    assert [] == clean(range(15), tmp_path / "shop.har")


@pytest.mark.slow
def test_a_thousand_planted_calls_are_named(tmp_path: Path) -> None:
    """Of 1,000 planted faults at least 99 % are named, and certain only where the log alone shows it."""
    named, wrong = judged(range(1000, 2000), tmp_path / "shop.har")
    assert (True, []) == (named >= 990, wrong), named


@pytest.mark.slow
def test_nothing_is_certain_in_a_thousand_clean_logs(tmp_path: Path) -> None:
    """In 1,000 logs without a fault nothing is certain."""
    assert [] == clean(range(5000, 6000), tmp_path / "shop.har")
