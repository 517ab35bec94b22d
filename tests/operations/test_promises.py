"""The promises P1 to P8, each as one history that would break it."""

from __future__ import annotations

import logging
import pickle

import pytest

from safeklaviyo import NoResponseError, NotSentError, RetryPolicy, ServerError, StoreUnavailableError
from support.scenes import (
    ANN,
    BOB,
    NEW,
    PHONE,
    Troubled,
    asked,
    edit,
    journal_of,
    leases,
    ours,
    pairs,
    person_in,
    rejected,
    writes,
)

OLD = "ann@shop.test"
ONCE = RetryPolicy(max_attempts=1)


def live(k):
    """Let Ann and Bob live a little: sign up, order, give a phone, change an address, come late."""
    k.identify({"$first_name": "Ann"}, phone_number=PHONE, **ANN)
    k.track("Viewed", email="guest@shop.test", phone_number="+19876543210")
    k.identify(external_id="guest-9", email="guest@shop.test")
    k.track("Ordered", **BOB)
    k.change_email(NEW, external_id="ann-1")
    for who in (ANN, {"external_id": "ann-1"}, {"email": OLD}, {"email": NEW}):
        k.track("Ordered", **who)
        k.identify({"tier": "gold"}, **who)
    rejected(k.identify, external_id="nobody-0")
    rejected(k.track, "Ordered", external_id="nobody-0")


def test_p1_no_write_identifies_by_an_external_id_alone(client, simulator):
    """P1: in all that is ever sent, an external id stands beside an email, or on a profile named by its id."""
    live(client())
    named = [person_in(entry) for entry in writes(simulator)]
    assert [] == [who for who in named if "external_id" in who and not (who.get("email") or who["id"])]
    assert 0 == simulator.id_only_profiles()
    assert "create_or_update_profile" not in asked(simulator)


def test_p2_a_known_customer_is_named_by_the_pair(client, simulator):
    """P2: an event names profile id, external id and current email; a PATCH an identifier only for a verb's sake."""
    live(client())
    events = [person_in(entry) for entry in writes(simulator) if entry.endpoint == "create_event"]
    for who in events:
        profile = next(each for each in simulator.profiles if each.id == who["id"])
        assert profile.email == who["email"]
    patches = [person_in(entry) for entry in writes(simulator) if entry.endpoint == "update_profile"]
    with_identifiers = [set(who) - {"id"} for who in patches if {"external_id", "email", "phone_number"} & set(who)]
    assert [{"phone_number"}, {"phone_number"}, {"external_id"}, {"email"}] == with_identifiers


@pytest.mark.parametrize("verb", ["identify", "track"])
@pytest.mark.parametrize("email", [OLD, "bob@shop.test", "eve@shop.test", None])
@pytest.mark.parametrize("external_id", ["ann-1", "bob-2", "eve-3"])
def test_p3_identify_and_track_change_no_owner(client, simulator, *, verb, email, external_id):
    """P3: whatever pair they are given, they never move an address or an id from one customer to another."""
    k = client()
    owners = {"ann-1": OLD, "bob-2": "bob@shop.test", "eve-3": "eve@shop.test"}
    k.identify(**ANN)
    k.identify(**BOB)
    simulator.add_profile(external_id="eve-3", email="eve@shop.test")
    before = pairs(simulator)
    call = k.identify if verb == "identify" else lambda **who: k.track("Ordered", **who)
    if email in {owners[external_id], None}:
        assert owners[external_id] == call(external_id=external_id, email=email).identity.email
    else:
        assert "not_applied" == rejected(call, external_id=external_id, email=email).outcome
    simulator.drain()
    assert before == pairs(simulator)


def test_p4_a_customer_who_is_met_everywhere_at_once_is_one(client, simulator, store, open_client):
    """P4: several processes that share a map make one profile of one customer."""
    workers = [client(), open_client(simulator, store), open_client(simulator, store)]
    for worker in workers:
        worker.track("Ordered", **ANN)
        worker.track("Ordered", email=OLD)
        worker.track("Ordered", external_id="ann-1")
    simulator.drain()
    assert ({("ann-1", OLD)}, 9, 0) == (pairs(simulator), len(simulator.events), leases(store))
    assert 1 == asked(simulator).count("create_profile")


def test_p5_an_event_is_the_same_in_every_attempt(client, simulator):
    """P5: profile, key and time are fixed before the first attempt, and repeated by each."""
    simulator.fail_next("create_event", when="after", times=3)
    result = client().track("Ordered", **ANN)
    sent = [entry.body["data"]["attributes"] for entry in writes(simulator) if entry.endpoint == "create_event"]
    assert 4 == len(sent)
    assert {(result.unique_id, result.time.isoformat(), result.profile_id)} == {
        (each["unique_id"], each["time"], each["profile"]["data"]["id"]) for each in sent
    }
    simulator.drain()
    assert (1, 3) == (len(simulator.events), len(simulator.deduplicated))


@pytest.mark.parametrize("failing", ["find", "acquire", "renew"])
def test_p6_a_map_that_fails_stops_every_write(client, simulator, failing):
    """P6: without the map, or without its lease, nothing is written, and the error says that it may be repeated."""
    store = Troubled(simulator)
    store.failing.add(failing)
    k = client(store=store)
    for call in (lambda: k.identify(**ANN), lambda: k.track("Ordered", **ANN)):
        error = rejected(call)
        assert (StoreUnavailableError, "not_applied", True) == (type(error), error.outcome, error.may_retry)
    assert [] == writes(simulator)


@pytest.mark.parametrize(
    ("fault", "kind", "outcome", "may_retry"),
    [
        ({"broken": "refused"}, NotSentError, "not_applied", True),
        ({"when": "before"}, NoResponseError, "unknown", True),
        ({"when": "after"}, NoResponseError, "unknown", True),
        ({"status": 500}, ServerError, "unknown", True),
        ({"status": 503}, ServerError, "unknown", True),
    ],
)
@pytest.mark.parametrize("where", ["create_profile", "create_event", "update_profile"])
def test_p7_an_error_says_whether_klaviyo_changed(client, simulator, *, fault, kind, outcome, may_retry, where):
    """P7: what is not known is called unknown, what surely did not happen not applied."""
    k = client(retry=ONCE)
    if where != "create_profile":
        k.identify(**ANN)
    simulator.fail_next(where, **fault)
    error = rejected(lambda: k.track("Ordered", **ANN) if where == "create_event" else k.identify({"x": 1}, **ANN))
    assert (kind, outcome, may_retry) == (type(error), error.outcome, error.may_retry)


def test_p7_a_contact_before_an_event_is_not_the_event(client, simulator):
    """P7: the outcome is that of the main write: an event that was never sent was not applied, whatever went before."""
    simulator.fail_next("create_profile", when="after")
    error = rejected(client(retry=ONCE).track, "Ordered", **ANN)
    assert (NoResponseError, "not_applied", 1) == (type(error), error.outcome, len(simulator.profiles))


def test_p8_nothing_personal_is_logged_shown_or_quoted(client, simulator, store, caplog):
    """P8: a whole life, and its errors, leave no identifier, property or key in a log, a message or a ``repr``."""
    with caplog.at_level(logging.DEBUG):
        k = client()
        live(k)
        edit(simulator, simulator.find(external_id="bob-2").id, email="edited@shop.test")
        errors = [rejected(k.identify, {"secret": "xyzzy"}, external_id="bob-2")]
        results = [k.explain(**ANN), k.identify({"secret": "xyzzy"}, **ANN), k.bindings.get(external_id="ann-1")]
        results += [k.change_email(OLD, external_id="ann-1"), *store.page("SiMuLa").bindings]
        errors += [rejected(k.identify, external_id="none-7"), rejected(k.change_email, OLD, external_id="guest-9")]
    shown = [record.getMessage() for record in caplog.records if record.name.startswith("safeklaviyo")]
    shown += [
        str(vars(each).get(name)) for each in caplog.records for name in ("rule", "outcome", "request_id", "code")
    ]
    shown += [repr(each) for each in (*results, *errors, k)] + [str(error) for error in errors]
    personal = [
        "ann-1",
        "ann@",
        "bob-2",
        "guest",
        "shop.test",
        "new.test",
        "xyzzy",
        "gold",
        "12345678901",
        "pk_0123456789abcdef",
    ]
    assert shown
    assert [] == [(word, text) for text in shown for word in personal if word in text.lower()]


def test_p8_errors_survive_a_task_queue(client, simulator):
    """P7, P8: an error can be pickled with what a retry needs."""
    simulator.fail_next("create_event", status=500)
    error = rejected(client(retry=ONCE).track, "Ordered", **ANN)
    copied = pickle.loads(pickle.dumps(error))
    assert (error.unique_id, error.time, error.outcome, error.may_retry, error.operation, str(error)) == (
        copied.unique_id,
        copied.time,
        copied.outcome,
        copied.may_retry,
        copied.operation,
        str(copied),
    )


def test_the_journal_of_the_map_says_what_changed(client, simulator, store):
    """What changed an identity is written down; what did not is not."""
    live(client())
    assert [("change_email", OLD, NEW)] == journal_of(store)
    assert {200, 201, 202} == {entry.status for entry in ours(simulator)}
