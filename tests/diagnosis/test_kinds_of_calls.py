"""Each kind of call that can make, take over or take away a profile, as shops send them."""

from __future__ import annotations

import base64
import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo.audit import Diagnosis, diagnose
from support.diagnosis_logs import JSON, PAUSE, START, Shop, entry

if TYPE_CHECKING:
    from pathlib import Path

ADA, NEW = "ada@shop.test", "ada@new.test"


@pytest.fixture
def shop() -> Shop:
    """A shop whose calls are logged, and that pauses between them."""
    made = Shop(Random(0))
    made.klaviyo.add_list("News")
    return made


def told(made: Shop, tmp_path: Path, **options: Any) -> Diagnosis:
    """Diagnose a shop's log."""
    path = tmp_path / "shop.har"
    path.write_text(json.dumps({"log": {"entries": made.entries}}))
    return diagnose(path, **options)


def found(diagnosis: Diagnosis) -> tuple[str | None, list[int], bool]:
    """Return the situation, the calls, and whether it is certain."""
    return diagnosis.situation, [call.index for call in diagnosis.calls], diagnosis.certain


def people(kind: str, rows: str, *who: JSON, **more: Any) -> JSON:
    """Return the body of a job about several people."""
    listed = [{"type": "profile", "attributes": each} for each in who]
    return {"data": {"type": kind, "attributes": {rows: {"data": listed}}, **more}}


def test_customers_without_ids(shop: Shop, tmp_path: Path) -> None:
    """In a shop that names by email alone, an update by profile id carries the person on to the new address."""
    first = shop.identify(email=ADA)
    shop.wait(PAUSE)
    shop.update(shop.id_of(first), email=NEW)
    shop.wait(PAUSE)
    shop.track(email=NEW)
    shop.wait(PAUSE)
    shop.track(email=ADA)
    assert ("old address", [0, 1, 3], True) == found(told(shop, tmp_path))


def test_conflict_that_is_written_blindly(shop: Shop, tmp_path: Path) -> None:
    """After a 409 the whole payload is written onto the owner's profile, which takes it from its customer (F-1)."""
    owner = shop.identify(external_id="1", email=ADA)
    shop.wait(PAUSE)
    shop.create(external_id="2", email=ADA)
    shop.update(shop.id_of(owner), external_id="2", email=ADA)
    shop.wait(PAUSE)
    shop.identify(external_id="1", email=NEW)
    assert ("takeover", [0, 2, 3], True) == found(told(shop, tmp_path))


def test_two_spellings(shop: Shop, tmp_path: Path) -> None:
    """Two spellings of an address are two addresses in one reading alone."""
    shop.identify(email="Ada@Shop.test")
    shop.wait(PAUSE)
    shop.track(email=ADA)
    diagnosis = told(shop, tmp_path)
    assert ("spelling", [0, 1], False) == found(diagnosis)
    assert "email_case" in diagnosis.assumes[0]


def test_jobs_of_many(shop: Shop, tmp_path: Path) -> None:
    """Rows of imports, events and subscriptions each count for their own person."""
    job = people("profile-bulk-import-job", "profiles", {"external_id": "1", "email": ADA}, {"email": "bea@shop.test"})
    shop.call("POST", "/api/profile-bulk-import-jobs", job)
    shop.wait(PAUSE)
    shop.update(shop.klaviyo.find(email=ADA).id, email=NEW)  # type: ignore[union-attr]
    shop.wait(PAUSE)
    shop.subscribe(shop.klaviyo.lists[0].id, email=ADA)
    diagnosis = told(shop, tmp_path)
    assert ("old address", 2) == (diagnosis.situation, diagnosis.calls[-1].index)


def test_events_in_bulk(shop: Shop, tmp_path: Path) -> None:
    """The groups of a job are read as single events are."""
    group = {"profile": {"data": {"type": "profile", "attributes": {"external_id": "1"}}}, "events": {"data": [
        {"type": "event", "attributes": {"properties": {}, "metric": {"data": {
            "type": "metric", "attributes": {"name": "Paid"}}}}}]}}  # fmt: skip
    rows = {"events-bulk-create": {"data": [{"type": "event-bulk-create", "attributes": group}]}}
    shop.call("POST", "/api/event-bulk-create-jobs", {"data": {"type": "event-bulk-create-job", "attributes": rows}})
    shop.wait(PAUSE)
    shop.track(email=ADA)
    shop.wait(PAUSE)
    shop.identify(external_id="1", email=ADA)
    assert ("6", [0, 1], True) == found(told(shop, tmp_path))


def test_events_by_profile_id(shop: Shop, tmp_path: Path) -> None:
    """An event that names an id of which the log knows nothing says that the log lacks the beginning."""
    body = shop.event(external_id="1", email=ADA)
    profile = shop.klaviyo.add_profile(external_id="1", email=ADA)
    body["data"]["attributes"]["profile"]["data"]["id"] = profile.id
    shop.call("POST", "/api/events", body)
    shop.wait(PAUSE)
    shop.update(profile.id, email=NEW)
    shop.wait(PAUSE)
    shop.track(email=ADA)
    diagnosis = told(shop, tmp_path)
    assert (2, False) == (diagnosis.calls[-1].index, diagnosis.certain)
    assert any(each.startswith("start:") for each in diagnosis.assumes)


def test_deleted_and_merged_by_the_shop(shop: Shop, tmp_path: Path) -> None:
    """A second profile that the shop has merged away again is found, too."""
    first = shop.identify(external_id="1", email=ADA)
    shop.wait(PAUSE)
    shop.update(shop.id_of(first), email=NEW)
    shop.wait(PAUSE)
    ghost = shop.identify(email=ADA)
    shop.wait(PAUSE)
    shop.merge(shop.id_of(ghost), shop.id_of(first))
    assert ("old address", [0, 1, 2]) == found(told(shop, tmp_path))[:2]


def test_deletion_ends_a_person(shop: Shop, tmp_path: Path) -> None:
    """A customer who was deleted and comes back has one profile."""
    shop.identify(external_id="1", email=ADA)
    shop.wait(PAUSE)
    who = {"profile": {"data": {"type": "profile", "attributes": {"email": ADA}}}}
    shop.call("POST", "/api/data-privacy-deletion-jobs", {"data": {
        "type": "data-privacy-deletion-job", "attributes": who}})  # fmt: skip
    shop.wait(PAUSE)
    shop.identify(external_id="1", email=ADA)
    assert (None, [], False) == found(told(shop, tmp_path))


def test_browser_of_a_known_customer(shop: Shop, tmp_path: Path) -> None:
    """A browser changes no identifier of a profile that is there."""
    shop.identify(external_id="1", email=ADA)
    shop.wait(PAUSE)
    shop.browse(email=ADA, phone_number="+491701234567")
    shop.wait(PAUSE)
    shop.identify(external_id="1", email=ADA)
    assert (None, [], False) == found(told(shop, tmp_path))


def test_unanswered_change(shop: Shop, tmp_path: Path) -> None:
    """A change of address that got no answer, and was not carried out: the new address makes the second profile."""
    first = shop.identify(external_id="1", email=ADA)
    shop.wait(PAUSE)
    shop.update(shop.id_of(first), email="ada@lost.test")
    shop.entries[-1]["response"] = {"status": 0, "headers": [], "content": {}}
    shop.wait(PAUSE)
    shop.track(email=ADA)
    diagnosis = told(shop, tmp_path)
    assert ("old address", [0, 1, 2], False) == found(diagnosis)
    assert "outcome: Klaviyo carried out" in diagnosis.assumes[0]


def test_retired_update(tmp_path: Path) -> None:
    """The retired API changed an address by query parameters."""
    packed = base64.b64encode(json.dumps({
        "token": "SiMuLa", "event": "Paid", "customer_properties": {"$id": "1", "$email": ADA}}).encode())  # fmt: skip
    path = tmp_path / "retired.har"
    person, moved = (json.dumps({"id": "PeRsOn", "$email": each, "$id": "1"}).encode() for each in (ADA, NEW))
    path.write_text(json.dumps({"log": {"entries": [
        entry(START, "GET", f"/api/track?data={packed.decode()}", None, (200, b"1")),
        entry(START + 900, "GET", f"/api/v2/people/search?email={ADA}", None, (200, b'{"id": "PeRsOn"}')),
        entry(START + 910, "GET", "/api/v1/person/PeRsOn", None, (200, person)),
        entry(START + 1800, "PUT", f"/api/v1/person/PeRsOn?$email={NEW}", None, (200, moved)),
        entry(START + 2700, "POST", "/api/track", {
            "token": "SiMuLa", "event": "Paid", "customer_properties": {"$email": ADA}}, (200, b"1")),
    ]}}))  # fmt: skip
    diagnosis = diagnose(path)
    assert ("old address", 4) == (diagnosis.situation, diagnosis.calls[-1].index)


def test_events_of_2023(shop: Shop, tmp_path: Path) -> None:
    """A profile in the retired words, as the first revisions of the events had it."""
    for who in ({"$id": "1"}, {"$email": ADA}):
        body = shop.event()
        body["data"]["attributes"]["profile"] = who
        shop.entries.append(entry(shop.klaviyo.now(), "POST", "/api/events", body, (202, b"")))
        shop.wait(PAUSE)
    conflict = json.dumps({"errors": [{"code": "duplicate_profile", "meta": {"duplicate_profile_id": "P1"}}]}).encode()
    body = {"data": {"type": "profile", "attributes": {"external_id": "1", "email": ADA}}}
    shop.entries.append(entry(shop.klaviyo.now(), "POST", "/api/profile-import", body, (409, conflict)))
    assert ("6", [0, 1], True) == found(told(shop, tmp_path))
