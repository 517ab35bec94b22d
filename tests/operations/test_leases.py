"""Leases (R13): one writer at a time about a customer; whoever meets an expired lease finishes its write first."""

from __future__ import annotations

import logging

import pytest

from safeklaviyo import (
    EmailMismatchError,
    EmailTakenError,
    LeaseHeldError,
    Policy,
    RetryPolicy,
    ServerError,
    StoreIncompatibleError,
)
from safeklaviyo.identity import Identifier, Kind
from support.scenes import (
    ACCOUNT,
    ANN,
    BOB,
    NEW,
    Killed,
    Troubled,
    asked,
    bound,
    codes,
    delete,
    edit,
    expire,
    hold,
    journal_of,
    kill,
    leases,
    meanwhile,
    pairs,
    patiently,
    rejected,
    writes,
)

PAIR = ("ann-1", "ann@shop.test")
OLD = "ann@shop.test"
ANNS_EMAIL = Identifier(Kind.EMAIL, OLD)
ANNS_ID = Identifier(Kind.EXTERNAL_ID, "ann-1")


@pytest.fixture
def worker(simulator, store, open_client):
    """Another process, which knows Ann and can be killed."""
    k = open_client(simulator, store)
    k.identify(**ANN)
    simulator.journal.clear()
    return k


@pytest.mark.parametrize("held", [ANNS_EMAIL, ANNS_ID])
@pytest.mark.parametrize("verb", ["identify", "track", "change_email"])
def test_r13_whoever_waits_too_long_is_told(client, simulator, store, held, verb):
    """R13: a lease that outlives the policy's wait ends the call without a write; the error says when to come back."""
    hold(store, held, ttl=40)
    k = client(policy=Policy(wait=15))
    calls = {
        "identify": lambda: k.identify(**ANN),
        "track": lambda: k.track("Ordered", unique_id="u-1", **ANN),
        "change_email": lambda: k.change_email(NEW, external_id="ann-1", old_email=OLD),
    }
    start = simulator.now()
    error = rejected(calls[verb])
    assert (LeaseHeldError, "R13", "not_applied", True, verb, []) == (
        type(error),
        error.rule,
        error.outcome,
        error.may_retry,
        error.operation,
        simulator.journal,
    )
    assert 15 == pytest.approx(simulator.now() - start, abs=0.6)
    assert 25 == pytest.approx(error.retry_after, abs=0.6)
    assert ("u-1" if verb == "track" else None) == error.unique_id


def test_r13_a_released_lease_lets_the_next_one_in(client, simulator, store):
    """R13: a call that waits goes on soon after the lease is released."""
    token = hold(store, ANNS_EMAIL, ttl=40)
    k = client()
    waited = []

    def released(account, identifiers):
        if simulator.now() - start > 1 and not waited:
            waited.append(store.release(ACCOUNT, token))
        return find(account, identifiers)

    find, start = store.find, simulator.now()
    store.find = released
    assert k.identify(**ANN).created
    assert 2 > simulator.now() - start


def test_r13_explain_says_wait(client, store):
    """R13: `explain` says that somebody is writing."""
    hold(store, ANNS_EMAIL)
    assert ("wait", "R13") == (client().explain(**ANN).action, client().explain(**ANN).rule)


@pytest.mark.parametrize(("where", "made"), [("get_profiles", 0), ("create_profile", 0), ("bind", 1)])
def test_p4_a_killed_first_contact_is_finished(client, simulator, open_client, where, made):
    """P4, R13: wherever first contact is cut off, the next call finishes it, and there is one profile."""
    store = Troubled(simulator)
    kill(simulator, store, where, open_client(simulator, store).identify, **ANN)
    assert (made, 1) == (len(simulator.profiles), leases(store))
    expire(simulator)
    result = client(store=store).identify({"tier": "gold"}, **ANN)
    assert ({PAIR}, 1, 0, result.profile_id) == (
        pairs(simulator),
        len(simulator.profiles),
        leases(store),
        simulator.profiles[0].id,
    )
    assert {"tier": "gold"} == simulator.profiles[0].properties


@pytest.mark.parametrize("orphan", [{"email": OLD}, {"external_id": "ann-1"}])
def test_h6_a_killed_adoption_is_finished_before_anybody_else_adopts(client, simulator, open_client, orphan):
    """H6: an orphan that one customer was about to take, when their process died, is not taken by another."""
    simulator.add_profile(**orphan)
    store = Troubled(simulator)
    kill(simulator, store, "bind", open_client(simulator, store).identify, **ANN)
    expire(simulator)
    other = {"external_id": "eve-3", "email": OLD} if "email" in orphan else {"external_id": "ann-1", "email": NEW}
    error = rejected(client(store=store).identify, **other)
    assert error.rule in {"R6", "R7"}
    assert ({PAIR}, PAIR, 0) == (
        pairs(simulator),
        (bound(client(store=store), email=OLD).external_id, OLD),
        leases(store),
    )


def test_h6_an_address_that_is_being_given_is_not_taken(client, simulator, open_client):
    """H6: Bob wants the address of Ann's interrupted change, of which his own look into the map shows nothing."""
    store = Troubled(simulator)
    k = client(store=store)
    k.identify(**ANN)
    k.identify(**BOB)
    kill(simulator, store, "update_profile", open_client(simulator, store).change_email, NEW, external_id="ann-1")
    expire(simulator)
    error = rejected(k.change_email, NEW, external_id="bob-2")
    assert (EmailTakenError, {("ann-1", NEW), ("bob-2", "bob@shop.test")}, 0) == (
        type(error),
        pairs(simulator),
        leases(store),
    )


@pytest.mark.parametrize("where", ["get_profile", "update_profile", "bind"])
@pytest.mark.parametrize("who", [{"external_id": "ann-1"}, {"email": OLD}, {"email": NEW}])
def test_p4_a_killed_change_is_finished_by_whoever_comes_next(client, simulator, open_client, where, who):
    """P4, R13: wherever a change of address is cut off, the next call about either address finishes it."""
    store = Troubled(simulator)
    k = client(store=store)
    profile_id = k.identify(**ANN).profile_id
    kill(simulator, store, where, open_client(simulator, store).change_email, NEW, external_id="ann-1")
    assert 1 == leases(store)
    expire(simulator)
    result = k.track("Ordered", **who)
    assert (profile_id, NEW, {("ann-1", NEW)}, 0) == (
        result.profile_id,
        result.identity.email,
        pairs(simulator),
        leases(store),
    )
    assert [("change_email", OLD, NEW)] == journal_of(store)


def test_p4_a_killed_change_of_a_guest_is_finished(client, simulator, open_client):
    """P4, R13: a guest's change is finished by their address alone."""
    store = Troubled(simulator)
    k = client(store=store)
    k.identify(email=OLD)
    kill(simulator, store, "bind", open_client(simulator, store).change_email, NEW, old_email=OLD)
    expire(simulator)
    result = k.track("Ordered", email=OLD)
    assert ("R11", NEW) == (result.rule, result.identity.email)
    assert ({(None, NEW)}, 0) == (pairs(simulator), leases(store))


def test_p4_a_killed_repair_is_finished(client, simulator, open_client):
    """P4, R15: a repair that was cut off is finished by the next call about that customer."""
    store = Troubled(simulator)
    k = client(store=store)
    profile_id = k.identify(**ANN).profile_id
    k.change_email(NEW, external_id="ann-1")
    edit(simulator, profile_id, email=OLD)
    worker = open_client(simulator, store)
    kill(simulator, store, "update_profile:2", worker.identify, {"tier": "x"}, external_id="ann-1")
    assert ({("ann-1", OLD)}, 1) == (pairs(simulator), leases(store))
    expire(simulator)
    assert ["put_back_repaired"] == codes(k.identify(external_id="ann-1"))
    assert ({("ann-1", NEW)}, 0) == (pairs(simulator), leases(store))


def test_p4_a_repair_of_a_profile_that_is_gone_blocks_nobody(client, simulator, open_client):
    """P4: an interrupted repair of a profile that was deleted meanwhile is closed."""
    store = Troubled(simulator)
    k = client(store=store)
    profile_id = k.identify(**ANN).profile_id
    k.change_email(NEW, external_id="ann-1")
    edit(simulator, profile_id, email=OLD)
    kill(simulator, store, "update_profile:2", open_client(simulator, store).identify, {"t": 1}, external_id="ann-1")
    delete(simulator, profile_id)
    expire(simulator)
    result = patiently(simulator, k.identify, external_id="ann-1")
    assert (True, {("ann-1", NEW)}, 0) == (result.created, pairs(simulator), leases(store))


def test_p4_an_intent_that_cannot_be_carried_out_blocks_nobody(client, simulator, open_client, caplog):
    """P4: an interrupted change whose address became somebody else's is closed, and logged without data."""
    store = Troubled(simulator)
    k = client(store=store)
    k.identify(**ANN)
    kill(simulator, store, "update_profile", open_client(simulator, store).change_email, NEW, external_id="ann-1")
    simulator.add_profile(external_id="eve-3", email=NEW)
    expire(simulator)
    with caplog.at_level(logging.WARNING, "safeklaviyo"):
        result = k.track("Ordered", external_id="ann-1")
    assert (OLD, 0, {PAIR, ("eve-3", NEW)}) == (result.identity.email, leases(store), pairs(simulator))
    assert any("could not be completed: EmailTakenError" in record.getMessage() for record in caplog.records)
    assert not [word for word in ("ann", "eve", "shop.test") if word in caplog.text]


def test_p4_an_intent_about_which_klaviyo_cannot_be_asked_stays(client, simulator, open_client):
    """P4, P6: while Klaviyo fails, an interrupted change stays as it is, and the call says that it may be repeated."""
    store = Troubled(simulator)
    k = client(store=store, retry=RetryPolicy(max_attempts=1))
    k.identify(**ANN)
    kill(simulator, store, "update_profile", open_client(simulator, store).change_email, NEW, external_id="ann-1")
    expire(simulator)
    simulator.fail_next("get_profiles", status=503)
    error = rejected(k.track, "Ordered", external_id="ann-1")
    assert (ServerError, "not_applied", True, 1) == (type(error), error.outcome, error.may_retry, leases(store))
    expire(simulator)
    assert NEW == k.track("Ordered", external_id="ann-1").identity.email


@pytest.mark.parametrize(
    "intent", ["{}", "nonsense", "[1]", '{"verb": "dance"}', '{"verb": "contact", "moon": "full"}']
)
def test_an_intent_of_another_version_is_not_guessed_at(client, simulator, store, intent):
    """An expired lease whose intent cannot be understood stops the call: nothing is written over it."""
    hold(store, ANNS_EMAIL, intent=intent, ttl=1)
    simulator.advance(2)
    error = rejected(client().identify, **ANN)
    assert (StoreIncompatibleError, "not_applied", []) == (type(error), error.outcome, writes(simulator))


def test_h4_a_slow_first_contact_is_fenced(client, simulator, store, open_client):
    """H4: a first contact that outlives its lease finds the customer whom somebody else has created meanwhile."""
    other = open_client(simulator, store)

    def overtake() -> None:
        expire(simulator)
        other.identify({"tier": "first"}, **ANN)

    meanwhile(simulator, "get_profiles", overtake)
    assert not client().identify({"tier": "second"}, **ANN).created
    assert ({"tier": "second"}, 1, 0) == (simulator.profiles[0].properties, len(simulator.profiles), leases(store))


def test_h4_a_slow_look_refuses_nothing(client, simulator, open_client):
    """H4, R6: what a first contact has read before it lost its lease is out of date, and is no reason to refuse."""
    theirs = simulator.add_profile(external_id="ann-1", email=NEW)
    store = Troubled(simulator)
    other = open_client(simulator, store)

    def overtake() -> None:
        expire(simulator)
        edit(simulator, theirs.id, email=OLD)
        other.identify(**ANN)

    store.before["renew"] = overtake
    result = client(store=store).identify({"tier": "gold"}, **ANN)
    assert (theirs.id, OLD, 0) == (result.profile_id, result.identity.email, leases(store))


@pytest.mark.parametrize("failing", ["renew", "release"])
def test_p6_r6_a_refusal_survives_a_store_that_fails(client, simulator, failing):
    """P6, R6: where the map cannot take the lease back, the call is refused all the same, and nothing is written."""
    simulator.add_profile(external_id="ann-1", email=NEW)
    store = Troubled(simulator)
    store.failing = {failing}
    error = rejected(client(store=store).identify, **ANN)
    assert (EmailMismatchError, NEW, []) == (type(error), error.current_email, writes(simulator))


@pytest.mark.parametrize("orphan", [{}, {"email": OLD}, {"external_id": "ann-1"}])
def test_h4_a_slow_write_is_fenced(client, simulator, open_client, orphan):
    """H4: a create, or the completion of an orphan, checks its lease before it writes, and decides again without it."""
    if orphan:
        simulator.add_profile(**orphan)
    store = Troubled(simulator)
    other = open_client(simulator, store)

    def overtake() -> None:
        expire(simulator)
        other.identify(**ANN)
        other.change_email(NEW, external_id="ann-1")

    store.before["renew"] = overtake
    result = client(store=store).identify({"tier": "gold"}, **ANN)
    assert (NEW, {("ann-1", NEW)}, 0) == (result.identity.email, pairs(simulator), leases(store))


@pytest.mark.parametrize("orphan", [{"email": OLD}, {"external_id": "ann-1"}])
def test_h4_a_slow_reader_decides_again(client, simulator, store, open_client, orphan):
    """H4: who reads what another has written since their lease expired accuses nobody, and decides again."""
    simulator.add_profile(**orphan)
    other = open_client(simulator, store)

    def overtake() -> None:
        expire(simulator)
        other.identify(**ANN)
        other.change_email(NEW, external_id="ann-1")

    meanwhile(simulator, "get_profile", overtake)
    result = client().identify({"tier": "gold"}, **ANN)
    assert ("R5", {("ann-1", NEW)}, {"tier": "gold"}, 0) == (
        result.rule,
        pairs(simulator),
        simulator.profiles[0].properties,
        leases(store),
    )


def test_h4_a_write_that_was_fenced_after_it_landed_is_put_right(client, simulator, open_client):
    """H4, H8: a create that lands, and is fenced before it is bound, leaves map and Klaviyo agreeing."""
    store = Troubled(simulator)
    other = open_client(simulator, store)

    def overtake() -> None:
        expire(simulator)
        other.identify({"tier": "first"}, **ANN)
        other.change_email(NEW, external_id="ann-1")

    store.before["bind"] = overtake
    result = client(store=store).identify({"tier": "second"}, **ANN)
    assert (NEW, {("ann-1", NEW)}, 0) == (result.identity.email, pairs(simulator), leases(store))
    assert {"tier": "second"} == simulator.profiles[0].properties


@pytest.mark.parametrize("where", ["renew", "update_profile", "bind"])
def test_h8_a_slow_change_is_fenced_and_put_right(client, simulator, open_client, where):
    """H8: a change that outlives its lease ends with map and Klaviyo agreeing, whichever write came last."""
    store = Troubled(simulator)
    k = client(store=store)
    k.identify(**ANN)
    other = open_client(simulator, store)

    def overtake() -> None:
        expire(simulator)
        other.change_email("ann@third.test", external_id="ann-1")

    if where == "update_profile":
        meanwhile(simulator, where, overtake)
    else:
        store.before[where] = overtake
    change = k.change_email(NEW, external_id="ann-1")
    # Only a PATCH that was under way could land late; the others are not made, or are known to whoever comes first.
    assert [*(["put_back_repaired"] if where == "update_profile" else []), "superseded"] == codes(change)
    third = "ann@third.test"
    assert ("changed", third, {("ann-1", third)}) == (change.status, change.new_email, pairs(simulator))
    assert (third, 0) == (bound(k, external_id="ann-1").email, leases(store))


@pytest.mark.parametrize("where", ["get_profile", "renew", "update_profile", "bind"])
def test_h8_a_slow_repair_is_fenced_and_put_right(client, simulator, open_client, where):
    """H8, R15: a repair that outlives its lease ends with map and Klaviyo agreeing."""
    store = Troubled(simulator)
    k = client(store=store)
    profile_id = k.identify(**ANN).profile_id
    k.change_email(NEW, external_id="ann-1")
    edit(simulator, profile_id, email=OLD)
    other = open_client(simulator, store)

    def overtake() -> None:
        expire(simulator)
        other.change_email("ann@third.test", external_id="ann-1")

    if where in {"renew", "bind"}:
        store.before[where] = overtake
    else:  # the first PATCH is the call's own
        meanwhile(simulator, where, overtake, turn=2 if where == "update_profile" else 1)
    k.identify({"tier": "gold"}, external_id="ann-1")
    shown = pairs(simulator)
    assert ({("ann-1", "ann@third.test")}, "ann@third.test", 0) == (
        shown,
        bound(k, external_id="ann-1").email,
        leases(store),
    )


def test_r13_a_lease_that_is_finished_by_somebody_else_is_waited_for(client, simulator, open_client):
    """R13: where an expired lease is taken over by somebody else between two looks, this call waits for them."""
    store = Troubled(simulator)
    k = client(store=store)
    k.identify(**ANN)
    other = open_client(simulator, store)
    kill(simulator, store, "update_profile", other.change_email, NEW, external_id="ann-1")
    expire(simulator)
    store.before["acquire"] = lambda: store.acquire(ACCOUNT, frozenset({ANNS_ID}), intent="{}", ttl=2.0)
    result = k.track("Ordered", external_id="ann-1")
    assert (NEW, 0) == (result.identity.email, leases(store))


def test_r13_a_lease_that_is_released_between_two_looks_is_no_obstacle(client, simulator, open_client):
    """R13: where an expired lease is released between two looks, nothing is left to finish."""
    store = Troubled(simulator)
    k = client(store=store)
    k.identify(**BOB)
    token = hold(store, ANNS_EMAIL, intent='{"verb": "contact"}', ttl=1)
    simulator.advance(2)
    store.before["acquire"] = lambda: store.release(ACCOUNT, token)
    assert k.identify(**ANN).created
    assert 0 == leases(store)


def test_r13_a_lease_that_cannot_be_released_costs_nothing(client, simulator, caplog):
    """R13: a map that fails when the lease is given back costs the caller nothing: it expires."""
    store = Troubled(simulator)
    k = client(store=store)
    simulator.add_profile(external_id="eve-3", email=OLD)
    store.failing.add("release")
    error = rejected(k.identify, **ANN)
    assert ("R7", 1) == (error.rule, leases(store))
    assert "could not be released" in caplog.text
    store.failing.clear()
    expire(simulator)
    assert "eve-3" == k.identify(email=OLD).identity.external_id


def test_r13_a_lease_is_renewed_before_each_attempt(client, simulator, store):
    """R13: while a write waits for its next attempt, its lease lives on, and nobody takes it over."""
    seen = []

    def look(request) -> bool:
        row = next(iter(store._accounts[ACCOUNT].leases.values()))
        seen.append(row.expires - simulator.now())
        return len(seen) <= 2

    simulator.fail_next("create_profile", status=429, headers={"retry-after": "9"}, match=look, times=2)
    assert client().identify(**ANN).created
    assert 2 == len(seen)
    assert all(left > 10 for left in seen)


def test_a_killed_call_leaves_its_client_usable(worker, simulator, store):
    """A call that dies with a foreign exception costs only itself."""
    meanwhile(simulator, "create_event", _die)
    with pytest.raises(Killed):
        worker.track("Ordered", **ANN)
    worker.track("Ordered", **ANN)
    simulator.drain()
    assert 1 == len(simulator.events)
    assert "create_event" == asked(simulator)[-1]


def _die() -> None:
    raise Killed
