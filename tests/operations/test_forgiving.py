"""Strict about who, forgiving about everything else: what a shop gives costs it no order and no customer."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from safeklaviyo import CLEAR, IdOnlyError, InvalidPropertyError, Policy
from support.scenes import ANN, BOB, NEW, asked, bound, by_hand, codes, edit, person_in, rejected, writes

ROW: dict[str, Any] = {
    "first_name": None, "plan": "gold", "zip": float("nan"), "$zip": 8001, "tags": {"a"}, "$consent": [], "meta": {},
    "subscriptions": {}, "emial": "x", "id": 7,
}  # fmt: skip
LOST = ["zip", "tags", "emial", "id", "first_name", "$consent", "meta", "subscriptions"]


@pytest.fixture
def known(client, simulator):
    """A client that knows Ann; the journal is empty."""
    k = client()
    k.identify({"first_name": "Ann"}, **ANN)
    simulator.journal.clear()
    return k


def lost(result: Any) -> set[str]:
    """Return the paths of what was left out."""
    return {notice.path for notice in result.warnings if notice.code == "property_dropped"}


def named(profile: Any, name: str = "first_name") -> Any:
    """Return a field of a profile."""
    return profile.attributes.get(name)


def test_f15_f25_a_customer_is_written_without_what_cannot_travel(known, simulator, caplog):
    """F-15, F-25: the rest is written, None clears nothing, and what is left out has a notice and a line in the log."""
    with caplog.at_level(logging.WARNING, logger="safeklaviyo"):
        result = known.identify(ROW, **ANN)
    profile = simulator.profiles[0]
    assert ("Ann", "8001", {"plan": "gold"}) == (
        named(profile),
        profile.attributes["location"]["zip"],
        profile.properties,
    )
    assert {f"properties.{key}" for key in LOST} == lost(result)
    logged = [record for record in caplog.records if getattr(record, "code", None) == "property_dropped"]
    assert {notice.message for notice in result.warnings} == {
        record.getMessage().partition(": ")[2] for record in logged
    }


def test_f15_f25_an_order_is_recorded_without_what_cannot_travel(known, simulator):
    """F-25: neither the customer's properties nor the event's cost the event."""
    result = known.track("Ordered", customer_properties=ROW, properties={"sku": 1, "at": object()}, value="x", **ANN)
    simulator.drain()
    assert {"sku": 1} == simulator.events[0].properties
    assert {f"customer_properties.{key}" for key in LOST} | {"properties.at", "value"} == lost(result)


def test_f15_f25_an_update_is_made_without_what_cannot_travel(known, simulator):
    """F-25: the profile that is returned says what was left out, and one without warnings equals what is read."""
    profile_id = simulator.profiles[0].id
    profile = known.profiles.update(profile_id, {"plan": "gold", "odd": {1}, "first_name": None})
    assert ("Ann", {"plan": "gold"}) == (profile.first_name, profile.properties)
    assert {"properties.odd", "properties.first_name"} == lost(profile)
    assert {"properties.odd"} == lost(known.profiles.update(profile_id, {"odd": {1}}))
    assert () == known.profiles.update(profile_id, {"plan": "gold"}).warnings
    assert "warnings" not in profile.model_dump()


@pytest.mark.parametrize("verb", ["identify", "track", "update"])
def test_f25_the_strict_policy_names_everything_and_sends_nothing(client, simulator, verb):
    """F-25: with ``properties="refuse"`` one error holds every problem, and nothing is sent."""
    k = client(policy=Policy(properties="refuse"))
    where = "properties"
    if verb == "identify":
        error = rejected(k.identify, ROW, **ANN)
    elif verb == "update":
        error = rejected(k.profiles.update, "01A", ROW)
    else:
        where = "customer_properties"
        error = rejected(k.track, "", customer_properties=ROW, properties={"at": object()}, value="x", **ANN)
    assert isinstance(error, InvalidPropertyError)
    more = {"properties.at", "value", "event"} if verb == "track" else set()
    assert {f"{where}.{key}" for key in LOST} | more == {problem.path for problem in error.problems}
    assert ("not_applied", []) == (error.outcome, asked(simulator))


def test_p3_an_update_refuses_identifiers_whatever_the_policy(known):
    """P3: `profiles.update` changes no identifier, and names each that was given."""
    error = rejected(known.profiles.update, "01A", {"email": NEW, "$id": "1", "odd": {1}})
    assert isinstance(error, InvalidPropertyError)
    assert ["properties.external_id", "properties.email"] == [problem.path for problem in error.problems]


@pytest.mark.parametrize("verb", ["identify", "track"])
def test_f38_the_attributes_that_a_raw_caller_holds_are_understood(client, simulator, verb):
    """F-38: the dict of a raw call reaches the profile's own fields and properties, and says who it is."""
    k = client()
    attributes = {**ANN, "location": {"city": "Wien"}, "properties": {"Birthday": "1990-02-03"}}
    result = k.identify(attributes) if verb == "identify" else k.track("Ordered", customer_properties=attributes)
    simulator.drain()
    profile = simulator.profiles[0]
    assert ("ann-1", "Wien", {"Birthday": "1990-02-03"}, ()) == (
        profile.external_id, profile.attributes["location"]["city"], profile.properties, result.warnings,
    )  # fmt: skip


@pytest.mark.parametrize("verb", ["identify", "track"])
def test_r6_the_policy_may_keep_the_email(client, simulator, verb):
    """R6: with ``email_mismatch="keep"`` the id decides, its customer keeps the email, and a notice says so."""
    client().identify(**ANN)
    k = client(policy=Policy(email_mismatch="keep"))
    for email in (NEW, BOB["email"]):
        who = {"external_id": "ann-1", "email": email}
        result = k.identify({"plan": "gold"}, **who) if verb == "identify" else k.track("Ordered", **who)
        assert ("R6", ["email_kept"], "ann@shop.test") == (result.rule, codes(result), result.identity.email)
        assert "email" == result.warnings[0].identifier_kind
    simulator.drain()
    assert ["ann@shop.test"] == [profile.email for profile in simulator.profiles]
    assert None is k.bindings.get(email=NEW)


def test_r6_the_email_of_another_customer_moves_nothing(client, simulator):
    """R6: an order of one customer with another's email is the first one's, and the other's profile is as it was."""
    k = client(policy=Policy(email_mismatch="keep"))
    k.identify(**ANN)
    k.identify(**BOB)
    simulator.journal.clear()
    result = k.track("Ordered", external_id="ann-1", email=BOB["email"])
    assert ANN == {name: person_in(writes(simulator)[0])[name] for name in ANN}
    assert bound(k, external_id="ann-1").profile_id == result.profile_id


def test_r6_an_email_is_kept_that_only_klaviyo_knows(client, simulator):
    """R6: where the map is empty and the id has another email in Klaviyo, that customer is meant too."""
    data = {"type": "profile", "attributes": ANN}
    assert 201 == by_hand(simulator, "POST", "/api/profiles", data).status
    k = client(policy=Policy(email_mismatch="keep"))
    result = k.track("Ordered", external_id="ann-1", email=NEW)
    assert (["email_kept"], "ann@shop.test") == (codes(result), result.identity.email)
    assert 1 == len(simulator.profiles)


def test_r6_nothing_is_said_where_nothing_was_kept(client):
    """R6: the customer's own email, a former one, and an email alone give no notice under ``"keep"``."""
    k = client(policy=Policy(email_mismatch="keep"))
    k.identify(**ANN)
    k.change_email(NEW, external_id="ann-1")
    for who in ({"external_id": "ann-1", "email": NEW}, ANN, {"email": NEW}, {"external_id": "ann-1"}):
        assert () == k.track("Ordered", **who).warnings


def test_r6_a_kept_email_still_needs_a_profile(client, simulator):
    """R6, R16: a customer whose profile has to be looked at first is looked at first under ``"keep"`` too."""
    k = client(policy=Policy(email_mismatch="keep"))
    k.bindings.add([ANN])
    result = k.track("Ordered", external_id="ann-1", email=NEW)
    assert (["email_kept"], "ann@shop.test") == (codes(result), result.identity.email)
    assert ["ann@shop.test"] == [profile.email for profile in simulator.profiles]


def test_r9_an_unknown_id_may_be_tried_again(client, simulator):
    """R9: after the customer has signed up, the same call succeeds, so that a worker queues it again."""
    k = client()
    error = rejected(k.track, "Ordered", external_id="ann-1", unique_id="o-1")
    assert isinstance(error, IdOnlyError)
    assert (True, "not_applied") == (error.may_retry, error.outcome)
    k.identify(**ANN)
    k.track("Ordered", external_id="ann-1", unique_id=error.unique_id, time=error.time)
    simulator.drain()
    assert 1 == len(simulator.events)


@pytest.mark.parametrize("key", ["ann-1", " Ann@Shop.test ", "profile"])
def test_f44_the_customers_id_as_the_events_is_told_of(known, simulator, key):
    """F-44: under such a key Klaviyo records one event of a name, which is right for a sign-up and wrong for orders."""
    key = simulator.profiles[0].id if key == "profile" else key
    assert ["unique_id_of_customer"] == codes(known.track("Ordered", email=ANN["email"], unique_id=key))
    assert () == known.track("Ordered", **ANN, unique_id="order-1").warnings


@pytest.mark.parametrize("revision", ["2025-01-15", "2026-04-15", "2026-07-15", "2026-07-15.pre", "2026-10-15"])
def test_changes_of_lists_arrive_in_each_revision(client, simulator, revision):
    """An older revision looks for them elsewhere, so that they are written there."""
    k = client(revision=revision)
    k.track("Ordered", customer_properties={"$append": {"tags": "a"}, "$unset": "old"}, **ANN)
    simulator.drain()
    assert {"tags": ["a"]} == simulator.profiles[0].properties


def test_a_backfill_is_refused_where_it_would_run_flows(client, simulator):
    """A revision that does not know backfills would start flows for old events, so that nothing is sent."""
    k = client(revision="2026-01-15")
    k.identify(**ANN)
    error = rejected(k.track, "Ordered", backfill=True, **ANN)
    assert isinstance(error, InvalidPropertyError)
    assert "backfill" == error.path
    assert "backfill" not in str(writes(simulator))
    assert client(revision="2026-07-15").track("Ordered", backfill=True, **ANN).profile_id


def test_f15_clear_is_the_one_way_to_erase(known, simulator):
    """F-15: CLEAR erases a field and a property; None, wherever it stands, leaves what Klaviyo has."""
    profile_id = simulator.profiles[0].id
    edit(simulator, profile_id, last_name="Miller", properties={"plan": "gold", "tags": ["a"], "home": {"zip": "1"}})
    known.identify({"last_name": None, "plan": None, "tags": [None], "home": {"zip": None}}, **ANN)
    assert ("Miller", {"plan": "gold", "tags": ["a"], "home": {"zip": "1"}}) == (
        named(simulator.profiles[0], "last_name"), simulator.profiles[0].properties,
    )  # fmt: skip
    known.identify({"last_name": CLEAR, "plan": CLEAR}, **ANN)
    assert (None, None) == (named(simulator.profiles[0], "last_name"), simulator.profiles[0].properties.get("plan"))
