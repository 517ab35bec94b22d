"""Events of a shop's own, guarded: they land on the customer's one profile, and nothing else in them changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from support.guarding import event
from support.scenes import ANN, BOB, NEW, PHONE

if TYPE_CHECKING:
    from safeklaviyo import Klaviyo
    from safeklaviyo.testing import KlaviyoSimulator
    from support.guarding import Shop


def test_a_known_customer_is_named_by_profile_id_and_pair(shop: Shop, k: Klaviyo) -> None:
    """An event by the id alone goes out with the profile's id and the customer's pair (R8)."""
    profile_id = k.identify(**ANN).profile_id
    assert 202 == shop.event(external_id=ANN["external_id"]).status_code
    who = shop.last["attributes"]["profile"]["data"]
    assert {"type": "profile", "id": profile_id, "attributes": ANN} == who


def test_a_former_address_becomes_the_current_one(shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator) -> None:
    """R11: an event that names a former address makes no new profile, and lands on the customer's."""
    profile_id = k.identify(**ANN).profile_id
    k.change_email(NEW, external_id=ANN["external_id"])
    assert 202 == shop.event(email=ANN["email"]).status_code
    simulator.drain()
    assert [profile_id] == [each.id for each in simulator.profiles]
    assert [profile_id] == [each.profile_id for each in simulator.events]


def test_an_unknown_customer_gets_a_profile_first(shop: Shop, simulator: KlaviyoSimulator) -> None:
    """R12: the first event about an address makes first contact, and then goes by the profile's id."""
    assert 202 == shop.event(email=ANN["email"]).status_code
    (only,) = simulator.profiles
    assert only.id == shop.last["attributes"]["profile"]["data"]["id"]
    assert ["get_profiles", "create_profile", "create_event"] == [each.endpoint for each in simulator.journal]


def test_an_unknown_id_alone_is_refused_as_klaviyo_would(shop: Shop, simulator: KlaviyoSimulator) -> None:
    """R9: an id of which nobody knows an address makes no profile; the answer is Klaviyo's 400, with the pointer."""
    answer = shop.event(external_id="nobody-9")
    (error,) = answer.json()["errors"]
    where = "/data/attributes/profile/data/attributes/external_id"
    assert (400, "invalid", where) == (answer.status_code, error["code"], error["source"]["pointer"])
    assert "R9" == error["meta"]["safeklaviyo"]["rule"]
    assert [] == simulator.profiles
    assert [] == shop.sent


def test_everything_else_stays_as_it_was_written(shop: Shop, k: Klaviyo) -> None:
    """Only identifiers change: order, spacing, escapes, numbers and unknown attributes are the caller's own bytes."""
    profile_id = k.identify(**ANN).profile_id
    body = (
        '{ "data" : {"type":"event", "later": [1.50, 1e2],\n "attributes":'
        '{"properties":{"a":"\\u00e9","b":12345678901234567890},'
        '"metric":{"data":{"type":"metric","attributes":{"name":"X"}}},"time":"2026-11-01T00:00:00",'
        '"profile":{"data":{"type":"profile","attributes":{"first_name":"A", "email" :"ANN@shop.test" }}}}}}'
    )
    shop.http.post("/api/events?x=1", content=body, headers={"revision": "2026-07-15", "x-shop": "7"})
    sent = shop.sent[-1]
    named = body.replace('"ANN@shop.test"', '"ann@shop.test"')
    named = named.replace('"attributes":{"first_name"', '"attributes":{"external_id":"ann-1","first_name"')
    named = named.replace('{"data":{"type":"profile"', f'{{"data":{{"id":"{profile_id}","type":"profile"')
    assert named == sent.content.decode()
    assert ("2026-07-15", "7", "x=1") == (sent.headers["revision"], sent.headers["x-shop"], sent.url.query.decode())


def test_a_phone_number_is_attached_and_does_not_travel(shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator) -> None:
    """R14: another customer's number in an event neither decides who is meant, nor moves to this one's profile."""
    k.identify(**BOB, phone_number=PHONE)
    ann = k.identify(**ANN).profile_id
    shop.event(email=ANN["email"], phone_number=PHONE)
    simulator.drain()
    assert "phone_number" not in shop.last["attributes"]["profile"]["data"]["attributes"]
    assert {None, PHONE} == {each.phone_number for each in simulator.profiles}
    assert [ann] == [each.profile_id for each in simulator.events]


def test_neither_a_key_nor_a_time_is_added(shop: Shop, k: Klaviyo) -> None:
    """H35: a caller that repeats its own event is not given a second key; Klaviyo drops the repeat by its second."""
    k.identify(**ANN)
    shop.event(**ANN)
    assert not {"unique_id", "time"} & shop.last["attributes"].keys()
    assert 1 == shop.counters["unkeyed_events"]


def test_nothing_is_repeated_after_a_lost_answer(shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator) -> None:
    """H35: the guard does not send a caller's event again; that is the caller's own decision."""
    k.identify(**ANN)
    simulator.fail_next("create_event", status=503, when="after")
    assert 503 == shop.event(**ANN).status_code
    assert 1 == len(shop.sent)


def test_in_observe_the_bytes_are_the_same_and_nothing_is_sent_besides(
    observed: Shop, k: Klaviyo, simulator: KlaviyoSimulator
) -> None:
    """Observing changes nothing, and asks Klaviyo nothing."""
    k.identify(**ANN)
    before = len(simulator.journal)
    given = json.dumps({"data": event(email=ANN["email"].upper(), phone_number=PHONE)}).encode()
    observed.http.post("/api/events", content=given)
    assert [given] == [each.content for each in observed.sent]
    assert 1 == len(simulator.journal) - before
