"""Faults of shipped clients that are about whole calls (F-1 to F-33); those of one module are tested beside it.

F-1, F-11 and F-12 are in `test_conflicts` and `test_first_contact`, F-13 in `test_drift`, F-15 and F-23 to F-25 in
`test_identify`, F-16 in `test_phone`, F-17 to F-19 in `test_track` and `test_faults`, F-26 in `test_leases`.
"""

from __future__ import annotations

from uuid import UUID

import pytest

from safeklaviyo import InvalidIdentifierError, InvalidPropertyError, Policy, RateLimitError, RetryPolicy
from safeklaviyo.testing import KlaviyoSimulator
from support.scenes import ANN, BOB, asked, ours, pairs, person_in, rejected, writes


def test_f2_no_data_is_dropped_at_a_conflict(client, simulator):
    """F-2: what a call says arrives, also where its create meets a conflict."""
    simulator.fail_next("create_profile", status=409)
    client().identify({"tier": "gold"}, **ANN)
    assert {"tier": "gold"} == simulator.profiles[0].properties


def test_f4_an_email_match_keeps_its_external_id(client, simulator):
    """F-4: a profile that is met by its address keeps its external id."""
    simulator.add_profile(**ANN)
    client().identify({"tier": "gold"}, email="ann@shop.test")
    assert {("ann-1", "ann@shop.test")} == pairs(simulator)


@pytest.mark.parametrize("external_id", ["cust 12", 'a"b', "a\\b", "a,b", "a)b", "a+b", "a&b=c", "ä", "a%20b", "x'x'y"])
def test_f6_a_key_is_searched_for_as_it_is(client, simulator, external_id):
    """F-6: whatever stands in a key, it is found as itself, and as nobody else."""
    theirs = simulator.add_profile(external_id=external_id, email="ann@shop.test")
    for other in {external_id.replace(" ", ""), external_id.replace("+", " "), external_id[0]} - {external_id}:
        simulator.add_profile(external_id=other, email=f"else{len(simulator.profiles)}@shop.test")
    assert theirs.id == client().track("Ordered", external_id=external_id).profile_id


@pytest.mark.parametrize("profile_id", ["..", ".", "../accounts", "a/b", "", "%2e%2e", "x?y", "a b"])
def test_f7_a_profile_id_is_no_path(client, simulator, profile_id):
    """F-7: what is no profile id is refused before it could name another path."""
    k = client()
    for call in (k.profiles.get, lambda it: k.profiles.update(it, {"x": 1})):
        assert isinstance(rejected(call, profile_id), InvalidIdentifierError)
    assert [] == simulator.journal


def test_f8_a_case_makes_no_second_customer(client, simulator):
    """F-8: an address in another case is the same customer's."""
    k = client()
    for email in ("Ann@Shop.test", "ann@shop.test", "ANN@SHOP.TEST "):
        k.identify(email=email)
    assert ({(None, "ann@shop.test")}, 1) == (pairs(simulator), asked(simulator).count("create_profile"))


@pytest.mark.parametrize(
    "external_id", ["anonymous", "undefined", "null", "0", "[object Object]", "{{ user.id }}", "guest"]
)
def test_f9_a_placeholder_is_nobody(client, simulator, external_id):
    """F-9: an id that stands for nobody would make strangers one customer."""
    error = rejected(client().identify, external_id=external_id, email="ann@shop.test")
    assert (InvalidIdentifierError, "R1", []) == (type(error), error.rule, simulator.journal)


def test_f9_a_number_and_its_text_are_one_key(client, simulator):
    """F-9: a number, and a UUID, are sent as the text they are written with."""
    k = client()
    first = k.identify(external_id=1001, email="ann@shop.test")
    assert first.profile_id == k.identify({"tier": "gold"}, external_id="1001").profile_id
    assert "1001" == person_in(writes(simulator)[0])["external_id"]
    second = k.identify(external_id=UUID(int=7), email="bob@shop.test")
    assert second.profile_id == k.track("x", external_id=str(UUID(int=7))).profile_id


def test_f10_nothing_is_kept_between_calls(client, simulator):
    """F-10: no call sends what an earlier one was given, and no argument of the caller's is changed."""
    k = client()
    properties = {"$email": "ann@shop.test", "tags": ["x"], "tier": "gold"}
    k.identify(properties, external_id="ann-1")
    k.track("Ordered", customer_properties=properties, properties={"a": 1}, external_id="ann-1")
    assert {"$email": "ann@shop.test", "tags": ["x"], "tier": "gold"} == properties
    assert "R9" == rejected(k.identify, external_id="bob-2").rule
    k.identify(**BOB)
    assert {} == simulator.find(external_id="bob-2").properties


def test_f15_what_is_not_given_is_not_sent(client, simulator):
    """F-15: nothing is sent as null but what `CLEAR` says."""
    k = client()
    k.identify({"$first_name": "Ann"}, **ANN)
    k.identify({"tier": "gold"}, **ANN)
    k.track("Ordered", **ANN)
    assert [] == [entry for entry in writes(simulator) if b"null" in entry.raw]
    assert {"first_name": "Ann"} == simulator.profiles[0].attributes


def test_f18_the_key_of_an_event_can_be_the_shops_own(client, simulator):
    """F-18: a key that the shop keeps makes the event one, also after a restart, in another client."""
    for _ in range(2):
        client().track("Ordered", unique_id="order-17", time=simulator.now(), **ANN)
    simulator.drain()
    assert ["order-17"] == [event.unique_id for event in simulator.events]


@pytest.mark.parametrize(
    ("header", "waited"),
    [("3", 3), ("0.5", 0.5), ("Wed, 01 Jan 2020 00:00:00 GMT", 0), ("soon", 0), ("-5", 0), ("", 0)],
)
def test_f20_a_retry_after_of_any_form_is_understood(open_client, store, header, waited):
    """F-20: seconds, fractions and dates are waited for, nonsense is not, and none of them hides the 429."""
    simulator = KlaviyoSimulator()
    simulator.fail_next("get_profiles", status=429, headers={"retry-after": header})
    start = simulator.now()
    open_client(simulator, store).identify(**ANN)
    assert waited <= simulator.now() - start <= waited + 2.1


def test_f20_a_wait_beyond_the_limit_is_the_callers(client, simulator):
    """F-20: who is asked to wait longer than the policy allows is told, and how long."""
    simulator.fail_next("get_profiles", status=429, headers={"retry-after": "3600"})
    error = rejected(client(retry=RetryPolicy(max_delay=5)).identify, **ANN)
    assert (RateLimitError, 3600.0, True, "not_applied") == (
        type(error),
        error.retry_after,
        error.may_retry,
        error.outcome,
    )


@pytest.mark.parametrize("where", ["get_profiles", "create_profile", "create_event"])
def test_f21_attempts_do_not_multiply(client, simulator, where):
    """F-21: four attempts are four requests, wherever in a call they are made."""
    simulator.fail_next(where, status=503, times=50)
    rejected(client(retry=RetryPolicy(max_attempts=4)).track, "Ordered", **ANN)
    assert 4 == asked(simulator).count(where)


@pytest.mark.parametrize("key", ["emial", "externalid", "first_nam"])
def test_f24_a_misspelt_key_does_not_vanish(client, simulator, key):
    """F-24: a key that looks like a reserved one is named, in a notice or in an error."""
    error = rejected(client(policy=Policy(properties="refuse")).identify, {key: "x"}, **ANN)
    assert (InvalidPropertyError, f"properties.{key}", []) == (type(error), error.path, simulator.journal)
    (notice,) = client().identify({key: "x"}, **ANN).warnings
    assert ("property_dropped", f"properties.{key}") == (notice.code, notice.path)


@pytest.mark.parametrize("key", ["size", "emails_opened", "firstborn"])
def test_f24_a_key_of_the_shops_own_is_kept(client, simulator, key):
    """F-24: a genuine property never vanishes."""
    client().identify({key: "x"}, **ANN)
    assert {key: "x"} == simulator.profiles[0].properties


def test_f30_only_klaviyo_is_asked(client, simulator):
    """F-30: whatever an answer links to, every request goes to the host that was given."""
    for number in range(3):
        simulator.add_profile(email=f"p{number}@shop.test")
    assert 3 == len(list(client().profiles.iterate(page_size=1)))
    assert {"a.klaviyo.com"} == {entry.headers["host"] for entry in ours(simulator)}


def test_f32_a_warm_call_is_one_request(client, simulator):
    """F-32: once a customer is known, a call is one look into the map and one request."""
    k = client(policy=Policy())
    k.identify(**ANN)
    for call in (lambda: k.identify({"x": 1}, **ANN), lambda: k.track("Ordered", email="ann@shop.test")):
        simulator.journal.clear()
        call()
        assert 1 == len(simulator.journal)
