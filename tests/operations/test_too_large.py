"""What is too large for Klaviyo is refused before anything is written about the customer."""

from __future__ import annotations

import pytest

from safeklaviyo import InvalidPropertyError, Policy
from support.scenes import ANN, NEW, bound, leases, pairs, rejected, writes

LARGE = {f"key_{number}": "x" * 90_000 for number in range(60)}
"""More than the 5 MB of a request."""
WIDE = {f"key_{number}": "x" * 30_000 for number in range(4)}
"""More than the 100 KB of a profile, and the 95 KB of one in an event."""


@pytest.mark.parametrize("what", [{"properties": LARGE}, {"customer_properties": WIDE}], ids=["event", "profile"])
@pytest.mark.parametrize("there", [None, {"email": ANN["email"]}], ids=["nobody", "an orphan"])
def test_an_event_that_is_too_large_makes_no_contact(client, simulator, store, what, there):
    """P3: an event that could not be sent leaves no new profile, and completes none."""
    if there is not None:
        simulator.add_profile(**there)
    error = rejected(client().track, "Ordered", **ANN, **what)
    assert (InvalidPropertyError, "not_applied", 0) == (type(error), error.outcome, leases(store))
    assert ([], [], [there] if there else []) == (
        simulator.journal,
        writes(simulator),
        [{"email": profile.email} for profile in simulator.profiles],
    )


def test_properties_that_are_too_large_complete_no_orphan(client, simulator):
    """P3: neither do properties of `identify` that could not be written afterwards."""
    simulator.add_profile(email=ANN["email"])
    error = rejected(client().identify, WIDE, **ANN)
    assert (InvalidPropertyError, {(None, ANN["email"])}) == (type(error), pairs(simulator))
    assert [] == writes(simulator)


def test_an_event_that_is_too_large_changes_no_email(client, simulator):
    """R6: with ``email_mismatch="change"`` neither is the customer's email changed first."""
    k = client(policy=Policy(email_mismatch="change"))
    k.identify(**ANN)
    error = rejected(k.track, "Ordered", external_id="ann-1", email=NEW, properties=LARGE)
    assert (InvalidPropertyError, ANN["email"]) == (type(error), bound(k, external_id="ann-1").email)
    assert {("ann-1", ANN["email"])} == pairs(simulator)
