"""The demonstration of a change of email that is killed half-way and completed by another process."""

from __future__ import annotations

import signal
from dataclasses import replace

from safeklaviyo.testing import KlaviyoSimulator
from support.simulator import NEW, Interruption, State, change, run


def test_the_change_is_completed():
    """Klaviyo had made the change and the map did not know of it; afterwards both know, and nothing is left over."""
    told = run()
    assert (-signal.SIGKILL, State(False, True, 1)) == (told.exit_code, told.after_kill)
    assert (("completed",), State(True, True, 1)) == (told.recovered, told.after_recovery)
    assert (True, True) == (told.is_late_call_right, told.is_clean)


def test_what_is_not_clean_is_seen():
    """A process that lived, a change that was not completed, or a call that went astray is not clean."""
    done = State(True, True, 1)
    told = Interruption(-signal.SIGKILL, State(False, True, 1), ("completed",), done, is_late_call_right=True)
    assert told.is_clean
    for change_ in (
        {"exit_code": 0},
        {"recovered": ("failed",)},
        {"after_recovery": State(False, True, 1)},
        {"is_late_call_right": False},
    ):
        assert not replace(told, **change_).is_clean


def test_the_process_makes_the_change_if_it_lives(tmp_path):
    """What the killed process runs is a plain change of email."""
    simulator = KlaviyoSimulator()
    simulator.add_profile(external_id="customer-00001", email="customer-00001@shop.test")
    with simulator.serve() as url:
        change(url, f"sqlite:///{tmp_path}/identity.db")
    assert [NEW] == [profile.email for profile in simulator.profiles]
