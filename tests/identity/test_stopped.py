"""1.7: a writer that was stopped past its lease, while others went on: it undoes nothing that came later."""

from __future__ import annotations

import pytest

from safeklaviyo import CLEAR, EmailMismatchError, ExternalIdMismatchError, NoResponseError, Policy, RetryPolicy
from support.scenes import ANN, NEW, Troubled, asked, bound, codes, edit, expire, leases, meanwhile, pairs, rejected

OLD = ANN["email"]
THIRD = "ann@third.test"
PHONES = ("+12345678901", "+12345678902")


@pytest.fixture
def stage(client, simulator, open_client):
    """A client on a map on which another client goes on while the first is stopped."""
    store = Troubled(simulator)
    k = client(store=store, retry=RetryPolicy(max_attempts=1))
    k.identify(**ANN)
    return k, store, open_client(simulator, store)


def stop(simulator, store, where, go_on):
    """Stop the next call before one of its steps, past its lease, while others go on."""

    def overtake() -> None:
        expire(simulator)
        go_on()

    if where == "update_profile":
        meanwhile(simulator, where, overtake)
    else:
        store.before[where] = overtake


@pytest.mark.parametrize("where", ["renew", "update_profile", "bind"])
@pytest.mark.parametrize(
    ("change", "later", "end"),
    [
        (
            lambda k: k.change_email(NEW, external_id="ann-1"),
            lambda other: other.change_email(THIRD, external_id="ann-1"),
            {("ann-1", THIRD)},
        ),
        (
            lambda k: k.change_external_id("ann-2", email=OLD),
            lambda other: other.change_external_id("ann-3", email=OLD),
            {("ann-3", OLD)},
        ),
        (
            lambda k: k.change_external_id(CLEAR, email=OLD),
            lambda other: other.change_external_id("ann-3", email=OLD),
            {("ann-3", OLD)},
        ),
    ],
    ids=["email", "external_id", "clear"],
)
def test_a_later_change_stands(stage, simulator, *, where, change, later, end):
    """The change was made by the call that took the lease over, a later one replaced it, and the result says so."""
    k, store, other = stage
    stop(simulator, store, where, lambda: later(other))
    result = change(k)
    assert ("changed", "superseded") == (result.status, codes(result)[-1])
    assert (end, 0) == (pairs(simulator), leases(store))
    binding = bound(k, email=next(iter(end))[1])
    assert end == {(binding.external_id, binding.email)}


@pytest.mark.parametrize("where", ["renew", "update_profile", "bind"])
def test_a_later_phone_number_stands(stage, simulator, where):
    """The same for a phone number, of which the map keeps no former ones."""
    k, store, other = stage
    stop(simulator, store, where, lambda: other.change_phone_number(PHONES[1], external_id="ann-1"))
    result = k.change_phone_number(PHONES[0], external_id="ann-1")
    assert (PHONES[1], "superseded") == (result.new_phone_number, codes(result)[-1])
    assert (PHONES[1], 0) == (simulator.profiles[0].phone_number, leases(store))


@pytest.mark.parametrize(
    ("change", "later", "kind"),
    [
        (
            lambda k: k.change_email(NEW, external_id="ann-1"),
            lambda other: other.change_email(THIRD, external_id="ann-1"),
            EmailMismatchError,
        ),
        (
            lambda k: k.change_external_id("ann-2", email=OLD),
            lambda other: other.change_external_id("ann-3", email=OLD),
            ExternalIdMismatchError,
        ),
    ],
    ids=["email", "external_id"],
)
def test_a_change_that_was_never_made_is_refused_after_a_later_one(stage, simulator, change, later, kind):
    """Where the intent was closed without the change, and a later change made: the caller decides, not this call."""
    k, store, other = stage

    def go_on() -> None:
        simulator.add_profile(external_id="ann-2", email=NEW)
        assert ["failed"] == [each.status for each in other.recover()]
        later(other)

    stop(simulator, store, "renew", go_on)
    error = rejected(change, k)
    assert (kind, False, 0) == (type(error), error.may_retry, leases(store))
    assert bound(k, email=OLD if kind is ExternalIdMismatchError else THIRD).external_id in {"ann-1", "ann-3"}


def test_an_attempt_that_timed_out_reconciles(stage, simulator):
    """A PATCH without an answer may land after a later change: the profile is brought back to the map's truth."""
    k, store, other = stage

    overtaken: list[bool] = []

    def overtake() -> None:
        expire(simulator)
        other.change_email(THIRD, external_id="ann-1")
        overtaken.append(True)

    meanwhile(simulator, "update_profile", overtake)
    simulator.fail_next("update_profile", when="after", match=lambda _: bool(overtaken))
    error = rejected(k.change_email, NEW, external_id="ann-1")
    assert (NoResponseError, "unknown") == (type(error), error.outcome)
    assert ({("ann-1", THIRD)}, THIRD, 0) == (pairs(simulator), bound(k, external_id="ann-1").email, leases(store))


@pytest.mark.parametrize("where", ["get_profiles", "get_profile"])
def test_p7_a_read_that_fails_under_a_lost_lease_leaves_the_outcome_unknown(stage, simulator, where):
    """P7: nothing was written by this call, but the call that took the lease over has made the change."""
    k, store, other = stage
    overtaken: list[bool] = []

    def overtake() -> None:
        expire(simulator)
        assert ["completed"] == [each.status for each in other.recover()]
        overtaken.append(True)

    meanwhile(simulator, where, overtake)
    simulator.fail_next(where, when="after", match=lambda _: bool(overtaken))
    error = rejected(k.change_email, NEW, external_id="ann-1")
    assert (NoResponseError, "unknown", 0) == (type(error), error.outcome, leases(store))
    assert ({("ann-1", NEW)}, NEW) == (pairs(simulator), bound(k, external_id="ann-1").email)


@pytest.mark.parametrize("where", ["renew", "request_profile_deletion", "remember", "remove"])
def test_an_erasure_that_was_finished_leaves_the_next_customer_alone(client, simulator, open_client, where):
    """A customer who came back after another call had finished the erasure is not erased by the stopped one."""
    store = Troubled(simulator)
    k = client(store=store)
    k.identify(**ANN)
    other = open_client(simulator, store)

    def come_back() -> None:
        expire(simulator)
        assert ["completed"] == [each.status for each in other.recover()]
        simulator.drain()
        other.bindings.release_email(OLD)
        other.identify(external_id="ann-7", email=OLD)

    if where in {"renew", "remember", "remove"}:
        store.before[where] = come_back
    else:
        meanwhile(simulator, where, come_back)
    k.erase(email=OLD)
    simulator.drain()
    assert ({("ann-7", OLD)}, 0) == (pairs(simulator), leases(store))
    assert ("ann-7", OLD) == (bound(k, email=OLD).external_id, bound(k, external_id="ann-7").email)
    assert k.track("Ordered", email=OLD).profile_id == simulator.profiles[0].id
    assert not k.bindings.release_email(OLD)


def test_p4_an_erasure_of_an_imported_customer_leaves_the_next_one_alone(client, simulator, open_client):
    """P4: where the map knew no profile id, the binding of a customer who came back with the pair is not removed."""
    store = Troubled(simulator)
    k, other = client(store=store), open_client(simulator, store)
    k.bindings.add([ANN])

    def come_back() -> None:
        expire(simulator)
        assert ["completed"] == [each.status for each in other.recover()]
        other.bindings.release_email(OLD)
        other.identify(**ANN)

    store.before["remove"] = come_back
    k.erase(**ANN)
    assert {("ann-1", OLD)} == pairs(simulator)
    assert bound(k, external_id="ann-1").profile_id == k.track("Ordered", **ANN).profile_id


def test_1_6_what_can_refuse_comes_before_the_merge(client, simulator):
    """1.6: where the customer's own profile contradicts the map, the merge that cannot be undone is not asked for."""
    k = client(policy=Policy(visible_wait=0))
    ann = k.identify(**ANN).profile_id
    simulator.add_profile(email=NEW)
    edit(simulator, ann, external_id="eve-3")
    error = rejected(k.change_email, NEW, external_id="ann-1", on_taken="merge")
    assert "not_applied" == error.outcome
    assert "merge_profiles" not in asked(simulator)
    assert {("eve-3", OLD), (None, NEW)} == pairs(simulator)
