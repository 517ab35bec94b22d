"""Many events to a Klaviyo behind a socket that refuses, breaks off, or stays silent: nothing is lost, nothing doubled.

What the call reports is compared with what was recorded. Then the same rows are sent once more, as a shop does.
"""

from __future__ import annotations

from collections import Counter

import pytest

from safeklaviyo import Klaviyo, RetryPolicy
from safeklaviyo.testing import KlaviyoSimulator, Readings

READINGS = ["dropped", "refused", "refused_without_pointer"]
PEOPLE = 40
ACCOUNT = "SiMuLa"
DAY = 1_799_000_000
TIMEOUT = 1.0


def faults(rows, is_broken):
    """Return what Klaviyo does wrong: arguments of `fail_next`, by what it is.

    Args:
        is_broken: Empty once Klaviyo is well again.
    """
    often = rows * 3
    key = f'"order-{rows // 2 + 17}"'.encode()
    job = {"where": "bulk_create_events", "match": lambda _: is_broken}
    return {
        "400 for one row": {"status": 400, "match": lambda asked: is_broken and key in asked.body, "times": often},
        "413 for each job": job | {"status": 413, "times": often},
        "429 again and again": job | {"status": 429, "headers": {"retry-after": "0"}, "times": 9},
        "500 for each job": job | {"status": 500, "when": "after", "times": often},
        "no answer, not done": job | {"when": "before", "times": 2},
        "no answer, done": job | {"when": "after", "times": 2},
        "half an answer": job | {"when": "after", "broken": "truncated", "times": 2},
        "an answer too late": job | {"delay": TIMEOUT * 3},
        "nothing at all": {"when": "after", "match": lambda _: is_broken, "times": often},
    }


def events(rows):
    """Yield events of a few customers, half of whom the map knows."""
    for number in range(rows):
        who = number % PEOPLE
        yield {
            "event": "Placed Order", "external_id": f"c-{who}", "email": f"c{who}@shop.test",
            "unique_id": f"order-{number}", "time": DAY + number, "properties": {"number": number},
        }  # fmt: skip


def recorded(simulator):
    """Return how often each event was recorded."""
    simulator.drain()
    return Counter(event.properties["number"] for event in simulator.events)


def check(tmp_path, rows, fault, reading):
    """Send rows to a Klaviyo with a fault, then once more to one without."""
    simulator = KlaviyoSimulator(Readings(bulk_repeats=reading), account=ACCOUNT, queue_lag=0.0, clock="real")
    options = {"account": ACCOUNT, "store": f"sqlite:///{tmp_path}/map.db", "deadline": None, "timeout": TIMEOUT}
    with simulator.serve() as url, Klaviyo(
        "pk_served", base_url=url, retry=RetryPolicy(max_attempts=1), **options
    ) as k:  # fmt: skip
        # What is no fault is waited for, also on a machine that is busy.
        patient = k.with_options(timeout=60.0)
        for who in range(0, PEOPLE, 2):
            patient.identify(external_id=f"c-{who}", email=f"c{who}@shop.test")
        is_broken, told = [True], {}
        simulator.fail_next(**faults(rows, is_broken)[fault])
        report = k.track_many(events(rows), on_refused=lambda number, _, error: told.update({number: error.outcome}))
        assert rows == report.total == report.accepted + report.refused + report.unknown
        assert len(told) == report.refused + report.unknown
        arrived = recorded(simulator)
        # What was accepted was recorded; what was refused was not; of the rest nothing is promised.
        assert {1} >= set(arrived.values())
        assert not {number for number in range(rows) if number not in arrived and number not in told}
        assert not {number for number, outcome in told.items() if number in arrived and outcome == "not_applied"}
        is_broken.clear()
        again = patient.track_many(events(rows))
        assert (rows, 0, 0) == (again.accepted, again.refused, again.unknown)
        assert dict.fromkeys(range(rows), 1) == recorded(simulator)
        assert PEOPLE == len(simulator.profiles)
    return report


@pytest.mark.parametrize("fault", ["400 for one row", "half an answer"])
def test_a_hundred_events(tmp_path, fault):
    """P5, P7: under the reading by which Klaviyo refuses a job for one key that it has already."""
    report = check(tmp_path, 100, fault, "refused")
    assert ("400" in fault) == report.refused


@pytest.mark.slow
@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("fault", faults(1, []))
def test_many_events(tmp_path, fault, reading):
    """P5, P7: every fault under every reading, with a job that is full and one that is not."""
    check(tmp_path, 1500, fault, reading)
