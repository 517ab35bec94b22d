"""A process that dies after each step of a bulk consent: `recover` completes each person, the same call the rest."""

from __future__ import annotations

import copy
from itertools import count

import pytest

from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator
from support.consent import READINGS, can_receive, come_to_rest, subscribed
from support.deaths import die_after
from support.scenes import ACCOUNT, ANN, BOB, NEW, Killed, expire, journal_of, leases

pytestmark = pytest.mark.proof

CAROL = {"external_id": "carol-3", "email": "carol@shop.test"}
DAVE = {"external_id": "dave-4", "email": "dave@shop.test"}
OURS = (ANN["email"], NEW, BOB["email"], CAROL["email"])
"""The addresses of the three who are meant: Ann has moved, and a ghost is on her former address."""


def rows(**more):
    """Return the rows about the three."""
    return [{"external_id": each["external_id"]} | more for each in (ANN, BOB, CAROL)]


VERBS = {
    "unsubscribe_many": (lambda k: k.unsubscribe_many(rows(channels="email")), lambda s: [] == can_receive(s, OURS)),
    "suppress_many": (lambda k: k.suppress_many(rows()), lambda s: [] == can_receive(s, OURS)),
    "subscribe_many": (
        lambda k: k.subscribe_many(rows(channels="email")),
        lambda s: sorted([NEW, BOB["email"], CAROL["email"]]) == [each for each in subscribed(s) if each in OURS],
    ),
}


def scene(open_client, reading):
    """Return a Klaviyo and a map that know the three, and a bystander."""
    simulator = KlaviyoSimulator(READINGS[reading], account=ACCOUNT)
    store = MemoryStore(clock=simulator.now)
    k = open_client(simulator, store)
    for each in (ANN, BOB, CAROL, DAVE):
        k.identify(**each)
    k.change_email(NEW, external_id="ann-1")
    come_to_rest(simulator, k)
    simulator.add_profile(email=ANN["email"])
    return simulator, store


def deaths(begin, open_client, call):
    """Let a process die after each step in turn, each in a copy of the scene, and yield that copy."""
    for steps in count(1):
        simulator, store = copy.deepcopy(begin)
        doomed = open_client(simulator, store)
        die_after(doomed, steps)
        try:
            call(doomed)
        except Killed:
            yield steps, simulator, store
        else:
            assert steps > 20
            return


EVERY = [
    pytest.param(name, reading, jobs, marks=() if (reading, jobs) == ("usual", "late") else pytest.mark.slow)
    for name in VERBS
    for reading in READINGS
    for jobs in ("late", "at once")
]


@pytest.mark.parametrize(("name", "reading", "jobs"), EVERY)
def test_p4_after_each_step(open_client, name, reading, jobs):
    """P4, R18, R19: each lease that is left says what to finish; nobody is reached who was not asked for."""
    call, is_done = VERBS[name]
    begin = scene(open_client, reading)
    for steps, simulator, store in deaths(begin, open_client, call):
        if jobs == "at once":
            simulator.drain()
        expire(simulator)
        k = open_client(simulator, store)
        are_begun = 3 == leases(store)
        assert {"completed"} >= set(come_to_rest(simulator, k)), steps
        assert not are_begun or is_done(simulator), steps
        report = call(k)
        assert (3, 0) == (report.accepted, report.refused + report.unknown), steps
        come_to_rest(simulator, k)
        assert (True, 5, 0) == (is_done(simulator), len(simulator.profiles), leases(store)), steps
        assert [DAVE["email"]] == can_receive(simulator, [DAVE["email"]]), steps
        assert "dave-4" not in {each for _, *who in journal_of(store)[-9:] for each in who}, steps
