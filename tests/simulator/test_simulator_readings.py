"""The readings: each question is asked, and a shop's day passes under every answer."""

from __future__ import annotations

import ast
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from safeklaviyo.testing import KlaviyoSimulator, Readings
from support.simulator import package
from support.source import SIMULATOR, SIMULATOR_CLIENTS, SIMULATOR_SERVER

EACH = list(Readings.each())


def test_each_question_is_answered_otherwise_once_at_a_time():
    """The readings to try are the default and others that differ from it in one answer; no question is left out."""
    usual, *others = EACH
    assert Readings() == usual
    changed = [[name for name, answer in asdict(other).items() if answer != getattr(usual, name)] for other in others]
    assert [1] * len(others) == [len(names) for names in changed]
    assert {field.name for field in fields(Readings)} == {name for names in changed for name in names}
    assert len(EACH) == len(set(EACH))


def test_every_answer_that_a_question_names_is_tried():
    """Where a question has three answers, both others are tried; where it has two, the other one."""
    tried = {other.event_conflict for other in EACH}, {other.deep_merge for other in EACH}
    assert ({"merge_alone", "merge", "keep"}, {False, True}) == tried
    assert {"lowered", "kept", "distinct"} == {other.email_case for other in EACH}


@pytest.mark.parametrize("readings", EACH, ids=str)
def test_a_days_work_passes(asking, readings):
    """Whatever the reading, creating, changing, tracking, merging and deleting work, and an email is owned once."""
    simulator = KlaviyoSimulator(readings)
    ask = asking(simulator)
    ann, bob = ask.created(email="ann@shop.org", external_id="1"), ask.created(email="bob@shop.org", external_id="2")
    assert ask.create(email="ann@shop.org").status == 409
    assert ask.patch(ann, email="ann@new.org", properties={"a": {"b": 1}}).status == 200
    assert [ann] == ask.found('equals(email,"ann@new.org")')
    assert ask.event(profile_id=ann, external_id="1", email="ann@new.org", unique_id="u").status == 202
    assert ask.merge(bob, ann).status in {201, 202}
    simulator.drain()
    assert {"Ordered", "Merged Profile"} == {event.metric for event in simulator.events}
    assert [ann] == [profile.id for profile in simulator.profiles]
    assert ask.delete(ann).status == 202
    simulator.drain()
    assert simulator.profiles == []
    assert all(entry.status < 500 for entry in simulator.journal)


def test_it_is_independent_of_what_it_judges():
    """The simulator imports nothing of the library, so that it cannot share a mistake with it.

    Its server, and the clients that it makes for tests, are loaded when a test asks for them.
    """
    roots = set()
    for source in Path(package.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("safeklaviyo"):
                roots.add(".".join(node.module.split(".")[:3]))
    assert {SIMULATOR, SIMULATOR_CLIENTS, SIMULATOR_SERVER} == roots
