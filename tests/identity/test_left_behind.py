"""P7: where the map fails under a change, it is open whether Klaviyo changes, as somebody may finish the change."""

from __future__ import annotations

import pytest

from safeklaviyo import EmailTakenError, LeaseHeldError, PermissionDeniedError, Policy, StoreUnavailableError
from support.scenes import ACCOUNT, ANN, BOB, Troubled, asked, edit, expire, leases, meanwhile, pairs, rejected, writes

VERBS = {
    "change_email": lambda k: k.change_email("new@shop.test", external_id="ann-1"),
    "change_external_id": lambda k: k.change_external_id("ann-9", old_external_id="ann-1"),
    "change_phone_number": lambda k: k.change_phone_number("+12345678901", external_id="ann-1"),
    "erase": lambda k: k.erase(external_id="ann-1"),
    "merge": lambda k: k.profiles.merge(k.bindings.get(email="g@shop.test").profile_id,
                                        k.bindings.get(external_id="ann-1").profile_id),
}  # fmt: skip


class Deaf(Troubled):
    """A map that does as it is told once more, and is away before it can say so."""

    def acquire(self, account, identifiers, *, intent, ttl):
        lease = super().acquire(account, identifiers, intent=intent, ttl=ttl)
        if "deaf" in self.failing:
            self.failing |= {"find", "acquire", "renew", "release", "bind"}
            raise StoreUnavailableError("the answer was lost")
        return lease


@pytest.fixture
def store(simulator):
    """A map that can be made to fail."""
    return Deaf(simulator)


@pytest.fixture
def known(client, simulator):
    """A client that knows Ann and a guest; the journal is empty."""
    k = client()
    k.identify(**ANN)
    k.identify(email="g@shop.test")
    simulator.journal.clear()
    return k


@pytest.mark.parametrize("failing", ["deaf", "renew"])
@pytest.mark.parametrize("verb", sorted(VERBS))
def test_p7_a_change_that_may_yet_be_made_is_not_called_off(known, simulator, store, verb, failing):
    """P6, P7: nothing was sent, and still it is open whether Klaviyo changes: the intent is there, and is finished."""
    before = pairs(simulator)
    store.failing = {failing}
    error = rejected(VERBS[verb], known)
    assert (StoreUnavailableError, "unknown", True) == (type(error), error.outcome, error.may_retry)
    assert [] == writes(simulator)
    store.failing = set()
    assert 1 == leases(store)
    expire(simulator)
    assert ["completed"] == [each.status for each in known.recover()]
    simulator.drain()
    assert verb == "change_phone_number" or before != pairs(simulator)


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_p7_a_change_that_could_not_be_called_off_is_not_called_off(known, simulator, store, verb):
    """P7: the map is away when a change that failed gives its lease back, so that somebody may yet make it."""
    store.failing = {"release"}
    store.before["acquire"] = lambda: simulator.fail_next(times=9, status=403)
    error = rejected(VERBS[verb], known)
    assert (PermissionDeniedError, "unknown", []) == (type(error), error.outcome, writes(simulator))
    assert 1 == leases(store)


@pytest.mark.parametrize("failing", ["find", "acquire"])
@pytest.mark.parametrize("verb", ["change_email", "change_external_id", "change_phone_number", "erase"])
def test_p7_a_change_that_nobody_knows_of_is_not_applied(known, simulator, store, verb, failing):
    """P7: where the map fails before it can be told of the change, or to be asked at all, nothing will come of it."""
    store.failing = {failing}
    error = rejected(VERBS[verb], known)
    expected = "not_applied" if failing == "find" else "unknown"  # nobody can tell whether it took the lease
    assert (StoreUnavailableError, expected) == (type(error), error.outcome)
    store.failing = set()
    assert ([], 0) == (known.recover(), leases(store))


@pytest.mark.parametrize("failing", ["deaf", "renew"])
def test_p7_a_first_contact_that_is_finished_later_writes_nothing_that_was_asked_for(known, simulator, store, failing):
    """P7: what a call was to write is not written, though whoever meets its lease will make the profile."""
    store.failing = {failing}
    error = rejected(known.track, "Ordered", **BOB)
    assert (StoreUnavailableError, "not_applied", []) == (type(error), error.outcome, writes(simulator))
    store.failing = set()
    expire(simulator)
    known.recover()
    simulator.drain()
    assert [] == simulator.events


def test_p7_a_change_that_somebody_else_is_making_is_not_called_off(known, simulator, store, client):
    """P7: the lease was taken over by somebody who is making this very change; waiting for them in vain tells that."""
    other = client(policy=Policy(wait=1.0))

    def stall():
        expire(simulator)
        (lease,) = store.expired(ACCOUNT, 1)
        assert store.acquire(ACCOUNT, lease.identifiers, intent=lease.intent, ttl=60.0).taken_over

    meanwhile(simulator, "get_profiles", stall)
    error = rejected(VERBS["change_email"], other)
    assert (LeaseHeldError, "unknown", []) == (type(error), error.outcome, writes(simulator))


def test_p7_whether_the_lease_still_holds_is_not_known(known, simulator, store):
    """P7: a change is refused, and the map is away when it is asked whether the lease still holds."""

    def taken():
        simulator.add_profile(external_id="eve-5", email="new@shop.test")
        store.failing = {"renew", "release"}

    meanwhile(simulator, "get_profiles", taken)
    error = rejected(VERBS["change_email"], known)
    assert (EmailTakenError, "unknown", []) == (type(error), error.outcome, writes(simulator))
    assert 1 == leases(store)


@pytest.mark.parametrize("settings", [{"queue_lag": 0.0}])
@pytest.mark.parametrize("where", ["get_profile", "update_profile"])
def test_p7_a_merge_that_klaviyo_has_accepted_is_gone_on_with(known, simulator, store, where):
    """P7: after a merge was accepted a failure leaves the intent, and the change is finished after it."""
    simulator.add_profile(email="new@shop.test")
    simulator.fail_next(where, status=403, match=lambda _: "merge_profiles" in asked(simulator))
    error = rejected(known.change_email, "new@shop.test", external_id="ann-1", on_taken="merge")
    assert (PermissionDeniedError, "applied", 1) == (type(error), error.outcome, leases(store))
    simulator.drain()
    expire(simulator)
    assert ["completed"] == [each.status for each in known.recover()]
    assert {("ann-1", "new@shop.test"), (None, "g@shop.test")} == pairs(simulator)


def test_a_guest_who_is_not_leased_is_not_merged(known, simulator, client):
    """P3: a guest whom the map knows by another address than their profile shows is somebody in use."""
    guest = known.bindings.get(email="g@shop.test")
    edit(simulator, guest.profile_id, email="new@shop.test")
    error = rejected(known.change_email, "new@shop.test", external_id="ann-1", on_taken="merge")
    assert (EmailTakenError, 0) == (type(error), len(simulator.merged))
