"""Every fault at every request of every operation: the outcome is told truly, and the same call heals (P4, P5, P7)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from safeklaviyo import RetryPolicy, SafeKlaviyoError
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator
from support.scenes import ANN, NEW, edit, expire, leases

pytestmark = pytest.mark.proof

OLD = "ann@shop.test"
ONCE = RetryPolicy(max_attempts=1)
HTML = "<html>blocked</html>"

FAULTS: dict[str, dict[str, Any]] = {
    "refused": {"broken": "refused"},
    "lost before": {"when": "before"},
    "lost after": {"when": "after"},
    "truncated": {"broken": "truncated", "when": "after"},
    "429": {"status": 429, "headers": {"retry-after": "1"}},
    "503": {"status": 503},
    "503 with a wait": {"status": 503, "headers": {"retry-after": "2"}},
    "503 after": {"status": 503, "when": "after"},
    "500": {"status": 500},
    "500 after": {"status": 500, "when": "after"},
    "400": {"status": 400},
    "401": {"status": 401},
    "403": {"status": 403, "body": HTML},
    "404": {"status": 404},
    "409": {"status": 409},
    "410": {"status": 410},
    "413": {"status": 413},
    "unreadable": {"status": 200, "body": HTML, "when": "after"},
}
PASSING = {"refused", "lost before", "lost after", "truncated", "429", "503", "503 with a wait", "503 after", "500",
           "500 after"}  # fmt: skip


def identify(k, **again):
    """Write what is said about Ann."""
    return k.identify({"tier": "gold"}, **ANN)


def identify_with_a_phone(k, **again):
    """Write it, and attach a phone."""
    return k.identify({"tier": "gold"}, phone_number="+12345678901", **ANN)


def look_up(k, **again):
    """Name her by the id alone."""
    return k.identify({"tier": "gold"}, external_id="ann-1")


def track(k, **again):
    """Record an event."""
    return k.track("Ordered", customer_properties={"tier": "gold"}, **(ANN | again))


def change_email(k, **again):
    """Change her address."""
    return k.change_email(NEW, external_id="ann-1")


def nobody(simulator, k):
    """Nobody is there."""


def orphan(simulator, k):
    """A form has made a profile with the email."""
    simulator.add_profile(email=OLD)


def bare(simulator, k):
    """Somebody has made a profile with the id."""
    simulator.add_profile(external_id="ann-1")


def unmapped(simulator, k):
    """The profile is there, and the map does not know it."""
    simulator.add_profile(**ANN)


def known(simulator, k):
    """The map knows the customer."""
    k.identify(**ANN)


def put_back(simulator, k):
    """The map knows the customer, whose former address was put back in Klaviyo."""
    k.identify(external_id="ann-1", email="former@shop.test")
    k.change_email(OLD, external_id="ann-1")
    edit(simulator, simulator.profiles[0].id, email="former@shop.test")


SCENES = [
    (nobody, identify), (orphan, identify), (bare, identify), (unmapped, look_up), (known, identify_with_a_phone),
    (put_back, identify), (nobody, track), (known, track), (known, change_email), (put_back, change_email),
]  # fmt: skip


@pytest.mark.parametrize(("scene", "call"), SCENES, ids=lambda part: part.__name__)
@pytest.mark.parametrize("retry", [ONCE, RetryPolicy()], ids=["once", "retrying"])
def test_p7_every_fault_at_every_request_is_told_truly_and_heals(open_client, scene, call, retry):
    """P4, P5, P7: wherever a request fails, the error says whether Klaviyo changed, and the same call again ends well.

    With retries, a fault that passes is never seen by the caller.
    """
    set_up = _scene(open_client, scene)
    for name in FAULTS if retry is ONCE else PASSING:
        for turn in range(1, 12):
            world = _World(open_client, set_up, retry)
            if not world.try_with(call, FAULTS[name], turn):
                break
            note = f"{name} at request {turn}"
            world.check_outcome(note)
            assert retry is ONCE or world.error is None, note
            world.heal(call)
            world.check_end(call, note)
        else:
            pytest.fail("an operation makes more requests than are tried")


def _scene(open_client, scene) -> tuple[KlaviyoSimulator, MemoryStore]:
    simulator = KlaviyoSimulator()
    store = MemoryStore(clock=simulator.now)
    scene(simulator, open_client(simulator, store))
    return simulator, store


class _World:
    """One run: a copy of a scene, a client, and what came of one call."""

    def __init__(self, open_client, set_up, retry) -> None:
        self.simulator, self.store = deepcopy(set_up)
        self.k = open_client(self.simulator, self.store, retry=retry)
        self.before = self._state()
        self.error: SafeKlaviyoError | None = None
        self.event: dict[str, Any] = {}

    def _state(self):
        profiles = {(p.id, p.external_id, p.email, str(p.properties)) for p in self.simulator.profiles}
        return profiles, len(self.simulator.pending)

    def try_with(self, call, fault, turn) -> bool:
        """Make the call with one failing request; False if it makes fewer requests."""
        asked = []

        def is_its_turn(request) -> bool:
            asked.append(request)
            return len(asked) == turn

        self.simulator.fail_next(match=is_its_turn, **fault)
        try:
            result = call(self.k)
        except SafeKlaviyoError as error:
            self.error = error
            if error.unique_id is not None:
                self.event = {"unique_id": error.unique_id, "time": error.time}
        else:
            if hasattr(result, "unique_id"):
                self.event = {"unique_id": result.unique_id, "time": result.time}
        return len(asked) >= turn

    def check_outcome(self, note: str) -> None:
        """P7: "not_applied" and "applied" are true, and "unknown" is said wherever nobody can know."""
        error = self.error
        if error is None:
            return
        assert error.outcome in {"not_applied", "unknown", "applied"}, note
        profiles, pending = self._state()
        tier = any("gold" in each[3] for each in profiles)
        moved = any(each[2] == NEW for each in profiles)
        done = tier or moved or pending > self.before[1]
        if error.outcome == "not_applied":
            assert not done, note
        if error.outcome == "applied":
            assert done, note

    def heal(self, call) -> None:
        """Make the same call again, when leases have expired."""
        expire(self.simulator)
        if self.error is not None:
            call(self.k, **self.event)

    def check_end(self, call, note: str) -> None:
        """P4, P5: one profile, with the right identifiers, known to the map, and each event once."""
        self.simulator.drain()
        self.k.identify(external_id="ann-1")
        email = NEW if call is change_email else OLD
        assert [("ann-1", email)] == [(p.external_id, p.email) for p in self.simulator.profiles], note
        binding = self.k.bindings.get(external_id="ann-1")
        assert binding is not None, note
        assert (email, self.simulator.profiles[0].id) == (binding.email, binding.profile_id), note
        assert 0 == leases(self.store), note
        if call is not change_email:
            assert "gold" == self.simulator.profiles[0].properties["tier"], note
        assert (call is track) == len(self.simulator.events), note


def test_a_fault_that_never_comes_is_not_counted(open_client):
    """The loop over faults ends where an operation makes no further request."""
    set_up = _scene(open_client, known)
    tried = [_World(open_client, set_up, ONCE).try_with(identify, FAULTS["500"], turn) for turn in (1, 2)]
    assert [True, False] == tried
