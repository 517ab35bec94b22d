"""Refusals where there is an outbox: an order before its sign-up waits for it, and a job goes without its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.guarding import KEY, Shop, bulk_events, bulk_rows, event, profile
from support.scenes import ANN, BOB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from safeklaviyo import Klaviyo
    from safeklaviyo.stores.memory import MemoryStore
    from safeklaviyo.testing import KlaviyoSimulator
    from support.clients import OpenClient

EVENTS = "/api/event-bulk-create-jobs"
IMPORTS = "/api/profile-bulk-import-jobs"
STRANGER = {"external_id": "eve-3", "email": ANN["email"]}
"""A row that R7 refuses."""


@pytest.fixture
def k(simulator: KlaviyoSimulator, store: MemoryStore, open_client: OpenClient, tmp_path: Path) -> Iterator[Klaviyo]:
    """A client that was given an outbox."""
    with open_client(simulator, store, api_key=KEY, outbox=f"sqlite:///{tmp_path}/outbox.db") as opened:
        yield opened


def test_an_order_before_its_sign_up_waits_for_it(shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator) -> None:
    """It is accepted as Klaviyo accepts, so that no caller repeats it; the sign-up frees it, whole, and once."""
    order = event(external_id="ann-1")
    order["attributes"] |= {
        "value": 9.5,
        "value_currency": "EUR",
        "unique_id": "order-1",
        "time": "2026-11-01T12:00:00Z",
    }
    order["attributes"]["profile"]["data"]["attributes"]["first_name"] = "Ann"
    answer = shop.post("/api/events", order)
    assert (202, b"") == (answer.status_code, answer.content)
    assert ([], []) == (simulator.profiles, shop.sent)
    assert {"enforced": 1, "answered": 1, "parked": 1} == shop.counters
    assert 201 == shop.upsert(**ANN).status_code
    assert 1 == k.outbox.drain().delivered
    simulator.drain()
    (recorded,) = simulator.events
    (ann,) = simulator.profiles
    assert (ann.id, "order-1", 9.5, {"number": 1}) == (
        recorded.profile_id, recorded.unique_id, recorded.value, recorded.properties,
    )  # fmt: skip
    assert "Ann" == ann.attributes["first_name"]


def test_a_caller_who_repeats_it_all_the_same_doubles_nothing(
    shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator
) -> None:
    """With the event's own key, before and after the sign-up."""
    order = event(external_id="ann-1")
    order["attributes"]["unique_id"] = "order-1"
    for _ in range(2):
        assert 202 == shop.post("/api/events", order).status_code
    shop.upsert(**ANN)
    assert 202 == shop.post("/api/events", order).status_code
    assert 2 == k.outbox.drain().delivered
    simulator.drain()
    assert ["order-1"] == [each.unique_id for each in simulator.events]


def test_what_no_sign_up_would_free_is_told(shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator) -> None:
    """R7, R1 and R6: the caller has to change something, so nothing waits that would double what is repeated then."""
    k.identify(**ANN)
    simulator.add_profile(**BOB)
    people = (STRANGER, {"external_id": "null"}, {**BOB, "email": "other@shop.test"})
    assert [409, 400, 409] == [shop.event(**who).status_code for who in people]
    assert 0 == k.outbox.counts().waiting


def test_an_event_that_cannot_be_queued_is_told(shop: Shop, k: Klaviyo) -> None:
    """A time without a zone could mean two moments."""
    order = event(external_id="ann-1")
    order["attributes"]["time"] = "2026-11-01T12:00:00"
    answer = shop.post("/api/events", order)
    assert (400, "R9") == (answer.status_code, answer.json()["errors"][0]["meta"]["safeklaviyo"]["rule"])
    assert 0 == k.outbox.counts().waiting


def test_a_client_that_was_given_no_outbox_parks_nothing(
    simulator: KlaviyoSimulator, store: MemoryStore, open_client: OpenClient
) -> None:
    """The map's own database could hold one, but perhaps no worker empties it."""
    with open_client(simulator, store, api_key=KEY) as k:
        assert 400 == Shop(simulator, k, mode="enforce").event(external_id="ann-1").status_code
        assert 0 == k.outbox.counts().waiting


@pytest.mark.parametrize("refused", [[0], [1], [2], [0, 1], [1, 2], [0, 2]])
def test_a_job_goes_without_the_rows_that_are_refused(
    shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator, refused: list[int]
) -> None:
    """Those become dead letters, each with the rule; the others are forwarded as one request."""
    everyone = [ANN, BOB, {"email": "cat@shop.test"}]
    profiles = [k.identify(**who).profile_id for who in everyone]
    people = [STRANGER if number in refused else who for number, who in enumerate(everyone)]
    assert 202 == shop.post(EVENTS, bulk_events(*people)).status_code
    assert 3 - len(refused) == len(shop.last["attributes"]["events-bulk-create"]["data"])
    assert (len(refused), len(refused)) == (k.outbox.drain().dead, shop.counters["parked"])
    assert ["R7"] * len(refused) == [each.rule for each in k.outbox.dead()]
    simulator.drain()
    gone = {each.payload["event"]["properties"]["n"] for each in k.outbox.dead()}
    assert set(refused) == gone
    assert {each for each in enumerate(profiles) if each[0] not in refused} == {
        (each.properties["n"], each.profile_id) for each in simulator.events
    }


def test_a_job_of_which_nothing_is_left_is_accepted(shop: Shop, k: Klaviyo) -> None:
    """All its events are parked, and Klaviyo is not asked."""
    k.identify(**ANN)
    assert (202, b"") == ((answer := shop.post(EVENTS, bulk_events(STRANGER))).status_code, answer.content)
    assert ([], 1) == (shop.sent, k.outbox.counts().waiting)


def test_an_import_goes_without_the_rows_that_are_refused(shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator) -> None:
    """A row by an unknown id waits for the sign-up, with all that it says."""
    k.identify(**ANN)
    early: dict[str, Any] = profile(external_id="bob-2", first_name="Bob")
    early["meta"] = {"patch_properties": {"append": {"tags": "new"}}}
    job = bulk_rows("profile-bulk-import-job", {**ANN, "first_name": "Ann"})
    job["attributes"]["profiles"]["data"].append(early)
    assert 202 == shop.post(IMPORTS, job).status_code
    assert ["Ann"] == [each["attributes"]["first_name"] for each in shop.last["attributes"]["profiles"]["data"]]
    k.identify(**BOB)
    assert 1 == k.outbox.drain().delivered
    simulator.drain()
    bob = next(each for each in simulator.profiles if each.email == BOB["email"])
    assert ("Bob", ["new"]) == (bob.attributes["first_name"], bob.properties["tags"])


def test_an_import_of_which_nothing_is_left_is_told(shop: Shop, k: Klaviyo) -> None:
    """Its receipt would have to name a job that Klaviyo does not have."""
    assert 400 == shop.post(IMPORTS, bulk_rows("profile-bulk-import-job", {"external_id": "eve-3"})).status_code
    assert 0 == k.outbox.counts().waiting


def test_a_row_that_cannot_be_queued_refuses_the_job(shop: Shop, k: Klaviyo) -> None:
    """R1: no drain could carry it out. Nothing was sent, and nothing waits."""
    k.identify(**ANN)
    assert 400 == shop.post(EVENTS, bulk_events(ANN, STRANGER, {"external_id": "null"})).status_code
    bad = bulk_events(ANN, STRANGER, STRANGER)
    bad["attributes"]["events-bulk-create"]["data"][2]["attributes"]["events"]["data"][0]["attributes"]["time"] = "x"
    assert 409 == shop.post(EVENTS, bad).status_code
    assert ([], 0) == (shop.sent, k.outbox.counts().waiting)


@pytest.mark.parametrize(("status", "waiting"), [(400, 0), (404, 0), (503, 1)])
def test_a_job_that_klaviyo_refuses_takes_its_rows_back(
    shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator, status: int, waiting: int
) -> None:
    """The caller is told, and repeats all of it. Where Klaviyo may have taken the job, its rows stay."""
    k.identify(**ANN)
    simulator.fail_next("bulk_create_events", status=status)
    assert shop.post(EVENTS, bulk_events(ANN, STRANGER)).status_code >= 400
    assert waiting == k.outbox.counts().waiting
