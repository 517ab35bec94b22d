"""Profile calls of a shop's own, guarded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.guarding import profile
from support.scenes import ANN, BOB, NEW, PHONE

if TYPE_CHECKING:
    from safeklaviyo import Klaviyo
    from safeklaviyo.testing import KlaviyoSimulator
    from support.guarding import Shop


def test_an_upsert_of_a_known_customer_names_the_profile_alone(shop: Shop, k: Klaviyo) -> None:
    """The same endpoint with the profile's id, without identifiers: a late copy can put no address back (H3)."""
    profile_id = k.identify(**ANN).profile_id
    answer = shop.upsert(**ANN, first_name="Ann")
    assert (200, profile_id) == (answer.status_code, answer.json()["data"]["id"])
    assert {"type": "profile", "id": profile_id, "attributes": {"first_name": "Ann"}} == shop.last


def test_an_upsert_of_an_unknown_customer_is_first_contact(shop: Shop, simulator: KlaviyoSimulator) -> None:
    """The create's own answer is the answer: 201 with the document, and all that the caller has said is in it."""
    answer = shop.upsert(**ANN, first_name="Ann", properties={"vip": True, "gone": None})
    assert (201, "Ann") == (answer.status_code, answer.json()["data"]["attributes"]["first_name"])
    assert [] == shop.sent
    assert ANN["email"] == simulator.find(external_id=ANN["external_id"]).email


def test_an_address_of_another_customer_is_refused_without_their_profile(shop: Shop, k: Klaviyo) -> None:
    """R7: 409 as Klaviyo's, without the id of the profile that shipped code would write to next (F-1)."""
    k.identify(**ANN)
    answer = shop.upsert(external_id="eve-3", email=ANN["email"], first_name="Eve")
    (error,) = answer.json()["errors"]
    assert (409, "duplicate_profile", "R7") == (
        answer.status_code, error["code"], error["meta"]["safeklaviyo"]["rule"],
    )  # fmt: skip
    assert "duplicate_profile_id" not in error["meta"]
    assert [] == shop.sent


def test_another_address_of_the_customer_is_refused_with_their_own_profile(shop: Shop, k: Klaviyo) -> None:
    """R6: the profile that the 409 names is the customer's own, so what shipped code does next changes that one."""
    profile_id = k.identify(**ANN).profile_id
    answer = shop.upsert(external_id=ANN["external_id"], email=NEW)
    assert (409, profile_id) == (answer.status_code, answer.json()["errors"][0]["meta"]["duplicate_profile_id"])


def test_a_patch_with_an_address_changes_it_and_then_writes_the_rest(
    shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator
) -> None:
    """The change is `change_email`: the former address resolves to the customer from then on (R11)."""
    profile_id = str(k.identify(**ANN).profile_id)
    answer = shop.patch(profile_id, email=NEW, first_name="Ann")
    assert (200, NEW) == (answer.status_code, answer.json()["data"]["attributes"]["email"])
    assert {"first_name": "Ann"} == shop.last["attributes"]
    shop.event(email=ANN["email"])
    simulator.drain()
    assert [(profile_id, NEW)] == [(each.id, each.email) for each in simulator.profiles]


def test_a_patch_with_anothers_address_is_refused(shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator) -> None:
    """One customer never gets another's address, and is not told whose it is."""
    profile_id = str(k.identify(**ANN).profile_id)
    k.identify(**BOB)
    answer = shop.patch(profile_id, email=BOB["email"], first_name="Ann")
    assert 409 == answer.status_code
    assert "duplicate_profile_id" not in answer.json()["errors"][0]["meta"]
    assert [None, None] == [each.attributes.get("first_name") for each in simulator.profiles]


def test_a_patch_without_identifiers_passes(shop: Shop, k: Klaviyo) -> None:
    """A profile that is named by Klaviyo's id needs no help."""
    profile_id = str(k.identify(**ANN).profile_id)
    shop.patch(profile_id, first_name="Ann")
    assert {"type": "profile", "id": profile_id, "attributes": {"first_name": "Ann"}} == shop.last
    assert {"enforced": 1, "passed": 1} == shop.counters


def test_klaviyos_own_conflict_is_passed_on_without_the_other_profile(
    shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator
) -> None:
    """A 409 of Klaviyo's own names no other customer's profile either; all else in it stays."""
    k.identify(**BOB, phone_number=PHONE)
    profile_id = str(k.identify(**ANN).profile_id)
    answer = shop.patch(profile_id, phone_number=PHONE)
    assert (409, {}) == (answer.status_code, answer.json()["errors"][0]["meta"])
    assert 409 == simulator.journal[-1].status


def test_a_create_of_a_known_customer_is_klaviyos_conflict(shop: Shop, k: Klaviyo) -> None:
    """Klaviyo answers 409 with the profile, and so does the guard, without asking: it is the customer's own."""
    profile_id = k.identify(**ANN).profile_id
    answer = shop.create(**ANN)
    assert (409, profile_id) == (answer.status_code, answer.json()["errors"][0]["meta"]["duplicate_profile_id"])
    assert [] == shop.sent


def test_a_create_of_an_unknown_customer_is_first_contact(shop: Shop, simulator: KlaviyoSimulator) -> None:
    """201 with the document of the profile that was made."""
    answer = shop.create(**ANN, first_name="Ann")
    (only,) = simulator.profiles
    assert (201, only.id) == (answer.status_code, answer.json()["data"]["id"])


def test_a_create_that_ends_in_a_patch_is_answered_201(shop: Shop, simulator: KlaviyoSimulator) -> None:
    """The SDKs read the id at 201 only: a guest's profile that takes the id is answered so, with the document."""
    shop.event(email=ANN["email"])
    answer = shop.create(**ANN, first_name="Ann")
    (only,) = simulator.profiles
    assert (201, only.id) == (answer.status_code, answer.json()["data"]["id"])
    assert (ANN["external_id"], "Ann") == (only.external_id, only.attributes["first_name"])


def test_what_klaviyo_refuses_of_a_first_contact_is_its_own_answer(shop: Shop, simulator: KlaviyoSimulator) -> None:
    """An attribute that Klaviyo does not know is refused by Klaviyo, in its own words, and nothing is made."""
    answer = shop.post("/api/profiles", profile(**ANN, nickname="A"))
    (error,) = answer.json()["errors"]
    assert (400, "invalid") == (answer.status_code, error["code"])
    assert "nickname" in error["detail"]
    assert [] == simulator.profiles
