"""`track`: one event on the known profile, fixed before the first attempt (P5), named by the pair (P2)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from safeklaviyo import (
    BadRequestError,
    IdOnlyError,
    InvalidIdentifierError,
    InvalidPropertyError,
    NoResponseError,
    Policy,
    RetryPolicy,
    ServerError,
)
from support.scenes import (
    ANN,
    NEW,
    asked,
    delete,
    meanwhile,
    pairs,
    patiently,
    person_in,
    rejected,
    writes,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def known(client, simulator):
    """A client that knows Ann; the journal is empty."""
    k = client()
    k.identify(**ANN)
    simulator.journal.clear()
    return k


def test_p2_an_event_names_profile_id_and_pair(known, simulator):
    """P2: an event names the profile id, the external id and the current email, and no phone (R14)."""
    result = known.track(
        "Ordered", external_id="ann-1", properties={"sku": 1}, value=5, value_currency="EUR", time=NOON, unique_id="u-1"
    )
    profile = simulator.profiles[0]
    assert ["create_event"] == asked(simulator)
    assert {"id": profile.id, **ANN} == person_in(writes(simulator)[0])
    simulator.drain()
    event = simulator.events[0]
    assert (profile.id, "Ordered", "u-1", NOON.timestamp(), 5, "EUR", {"sku": 1}, False) == (
        event.profile_id,
        event.metric,
        event.unique_id,
        event.time,
        event.value,
        event.value_currency,
        event.properties,
        event.backfill,
    )
    assert ("u-1", NOON, profile.id, "R8", ("ann-1", "ann@shop.test"), ()) == (
        result.unique_id,
        result.time,
        result.profile_id,
        result.rule,
        (result.identity.external_id, result.identity.email),
        result.warnings,
    )


def test_the_policy_may_name_events_by_profile_id_alone(known, client, simulator):
    """With ``event_naming="profile_id"`` a queued event holds no address that it could put back (H1)."""
    k = client(policy=Policy(event_naming="profile_id"))
    k.track("Ordered", **ANN)
    assert {"id": simulator.profiles[0].id} == person_in(writes(simulator)[0])
    k.change_email(NEW, external_id="ann-1")
    simulator.drain()
    assert ({("ann-1", NEW)}, 1) == (pairs(simulator), len(simulator.events))


def test_customer_properties_travel_with_the_event(known, simulator):
    """What is said about the customer is written onto the profile, and identifiers among it say who it is."""
    given = {"$email": "ann@shop.test", "$first_name": "Ann", "tier": "gold", "$append": {"tags": "x"}}
    known.track("Ordered", customer_properties=given, backfill=True)
    simulator.drain()
    profile = simulator.profiles[0]
    assert ({"first_name": "Ann"}, {"tier": "gold", "tags": ["x"]}) == (profile.attributes, profile.properties)
    assert simulator.events[0].backfill


def test_r4_a_first_event_makes_contact_first(client, simulator):
    """R4, R12: the profile exists, with both identifiers, before anything asynchronous is sent."""
    result = client().track("Ordered", **ANN)
    assert ["get_profiles", "get_profiles", "create_profile", "create_event"] == asked(simulator)
    simulator.drain()
    assert (result.profile_id, 1) == (simulator.events[0].profile_id, len(simulator.profiles))


def test_p5_a_retry_repeats_the_event_and_reads_the_address_anew(known, simulator, store, open_client):
    """P5, H10: each attempt has the same profile, key and time; the address is the one of now."""
    other = open_client(simulator, store)
    meanwhile(simulator, "create_event", lambda: other.change_email(NEW, external_id="ann-1"))
    simulator.fail_next("create_event", when="after")
    result = known.track("Ordered", **ANN)
    first, second = [
        entry.body["data"]["attributes"] for entry in writes(simulator) if entry.endpoint == "create_event"
    ]
    assert (first["unique_id"], first["time"]) == (second["unique_id"], second["time"])
    assert result.unique_id == first["unique_id"]
    who = [entry["profile"]["data"] for entry in (first, second)]
    assert ["ann@shop.test", NEW] == [each["attributes"]["email"] for each in who]
    assert 1 == len({each["id"] for each in who})
    simulator.drain()
    assert (1, 1) == (len(simulator.events), len(simulator.profiles))


def test_p5_a_retry_whose_customer_is_gone_from_the_map_repeats_what_it_knew(known, simulator, store, open_client):
    """P5: an event whose binding was removed meanwhile goes to the profile that it was meant for."""
    other = open_client(simulator, store)
    meanwhile(simulator, "create_event", lambda: other.bindings.remove(external_id="ann-1"))
    simulator.fail_next("create_event", when="after")
    result = known.track("Ordered", **ANN)
    simulator.drain()
    assert [result.profile_id] == [event.profile_id for event in simulator.events]


def test_p5_two_events_in_one_second_are_two(known, simulator):
    """F-17: without a key given, each call makes its own, so that no second event is taken for a repetition."""
    results = [known.track("Ordered", **ANN) for _ in range(2)]
    simulator.drain()
    assert (2, 2, []) == (len({each.unique_id for each in results}), len(simulator.events), simulator.deduplicated)


def test_p5_a_call_repeated_with_its_key_counts_once(known, simulator):
    """P5: the same key and time make the same event, also from another call with a former address."""
    first = known.track("Ordered", **ANN)
    known.change_email(NEW, external_id="ann-1")
    known.track("Ordered", email="ann@shop.test", unique_id=first.unique_id, time=first.time)
    simulator.drain()
    assert (1, 1) == (len(simulator.events), len(simulator.deduplicated))


@pytest.mark.parametrize(
    ("fault", "kind", "outcome", "may_retry"),
    [
        ({"status": 500}, ServerError, "unknown", True),
        ({"when": "after"}, NoResponseError, "unknown", True),
        ({"status": 400}, BadRequestError, "not_applied", False),
    ],
)
def test_p5_an_errors_key_and_time_repeat_the_event(known, client, simulator, *, fault, kind, outcome, may_retry):
    """P5: the error of `track` carries the event's key and time, with which the same call is the same event."""
    simulator.fail_next("create_event", **fault)
    error = rejected(client(retry=RetryPolicy(max_attempts=1)).track, "Ordered", **ANN)
    assert (kind, outcome, may_retry, "track") == (type(error), error.outcome, error.may_retry, error.operation)
    result = known.track("Ordered", unique_id=error.unique_id, time=error.time, **ANN)
    assert (error.unique_id, error.time) == (result.unique_id, result.time)
    simulator.drain()
    assert 1 == len(simulator.events)


def test_p5_every_error_after_the_checks_has_the_events_key(client, simulator):
    """P5: an event that is refused because of its customer keeps its key, and one that is malformed has none."""
    error = rejected(client().track, "Ordered", external_id="ann-1", unique_id="u-1")
    assert (IdOnlyError, "u-1") == (type(error), error.unique_id)
    error = rejected(client().track, " ", unique_id="u-1", **ANN)
    assert (InvalidPropertyError, "event", []) == (type(error), error.path, writes(simulator))


@pytest.mark.parametrize("email", ["ann@example.com", "ann@test.com"])
def test_test_addresses_are_refused_where_klaviyo_drops_them(client, simulator, email):
    """Klaviyo's Events API overview: events of these addresses are dropped in silence, so they are refused."""
    error = rejected(client().track, "Ordered", email=email)
    assert (InvalidIdentifierError, "R1", "email", email, []) == (
        type(error),
        error.rule,
        error.identifier_kind,
        error.email,
        simulator.journal,
    )
    client(policy=Policy(allow_test_addresses=True)).track("Ordered", email=email)
    client(base_url="http://127.0.0.1:9").track("Ordered", email=email)
    assert 2 == asked(simulator).count("create_event")


def test_a_test_address_in_the_map_is_refused_as_well(client, simulator):
    """An external id that leads to such an address is refused before the event is sent."""
    k = client()
    k.identify(external_id="ann-1", email="ann@example.com")
    error = rejected(k.track, "Ordered", external_id="ann-1")
    assert (InvalidIdentifierError, 0) == (type(error), asked(simulator).count("create_event"))


def test_an_event_for_a_deleted_profile_brings_the_pair_back(known, simulator):
    """An event for a profile that was deleted by hand makes the customer's next one, with both identifiers."""
    delete(simulator, simulator.profiles[0].id)
    known.track("Ordered", **ANN)
    simulator.drain()
    assert ({("ann-1", "ann@shop.test")}, 1) == (pairs(simulator), len(simulator.events))
    result = patiently(simulator, known.identify, {"tier": "gold"}, **ANN)
    assert (simulator.profiles[0].id, 1) == (result.profile_id, len(simulator.profiles))


def test_r6_the_policy_may_change_the_email_before_the_event(known, client, simulator):
    """R6: with ``email_mismatch="change"`` the address is changed, and the event names the new one."""
    k = client(policy=Policy(email_mismatch="change"))
    assert NEW == k.track("Ordered", external_id="ann-1", email=NEW).identity.email
    assert NEW == person_in(writes(simulator)[-1])["email"]


def test_r6_the_policy_changes_an_email_that_klaviyo_alone_shows(client, simulator):
    """R6: an id that only Klaviyo knows, with another email, gets the new one before the event."""
    theirs = simulator.add_profile(external_id="eve-3", email="eve@shop.test")
    result = client(policy=Policy(email_mismatch="change")).track("Ordered", external_id="eve-3", email=NEW)
    assert (theirs.id, {("eve-3", NEW)}) == (result.profile_id, pairs(simulator))


def test_r6_a_change_before_the_event_is_not_the_event(known, client, simulator):
    """P7: where the address was changed and the event refused, the error says that the event was not applied."""
    simulator.fail_next("create_event", status=400)
    error = rejected(client(policy=Policy(email_mismatch="change")).track, "Ordered", external_id="ann-1", email=NEW)
    assert (BadRequestError, "not_applied", NEW) == (
        type(error),
        error.outcome,
        simulator.profiles[0].email,
    )
