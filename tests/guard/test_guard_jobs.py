"""Jobs about several people, consent, merges and tokens, guarded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.guarding import bulk_events, profile
from support.guarding import bulk_rows as rows
from support.scenes import ANN, BOB, NEW, PHONE

if TYPE_CHECKING:
    from safeklaviyo import Klaviyo
    from safeklaviyo.testing import KlaviyoSimulator
    from support.guarding import Shop

SUBSCRIBED = {"email": {"marketing": {"consent": "SUBSCRIBED"}}}
UNSUBSCRIBED = {"email": {"marketing": {"consent": "UNSUBSCRIBED"}}}


def test_each_row_of_a_job_of_events_is_named(shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator) -> None:
    """A former address, an id alone and somebody new: one request, three people, none of them twice."""
    ann, bob = k.identify(**ANN).profile_id, k.identify(**BOB).profile_id
    k.change_email(NEW, external_id=ANN["external_id"])
    people = ({"email": ANN["email"]}, {"external_id": BOB["external_id"]}, {"email": "new@shop.test"})
    assert 202 == shop.post("/api/event-bulk-create-jobs", bulk_events(*people)).status_code
    simulator.drain()
    assert 3 == len(simulator.profiles)
    assert [ann, bob] == [each.profile_id for each in simulator.events][:2]
    assert 1 == len(shop.sent)


def test_a_job_with_a_row_that_is_refused_is_refused_whole(shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator) -> None:
    """Klaviyo's own form: 400 with each row's pointer; nothing was sent, and no profile made for the others."""
    k.identify(**ANN)
    before = len(simulator.journal)
    people = ({"email": "new@shop.test"}, {"external_id": "null"}, {"external_id": "eve-3", "email": ANN["email"]})
    answer = shop.post("/api/event-bulk-create-jobs", bulk_events(*people))
    pointers = [error["source"]["pointer"] for error in answer.json()["errors"]]
    rules = [error["meta"]["safeklaviyo"]["rule"] for error in answer.json()["errors"]]
    at = "/data/attributes/events-bulk-create/data/{}/attributes/profile/data/attributes"
    assert (400, [f"{at.format(1)}/external_id", at.format(2)], ["R1", "R7"]) == (answer.status_code, pointers, rules)
    assert before == len(simulator.journal)


def test_what_only_klaviyo_can_refuse_refuses_the_job_too(shop: Shop, simulator: KlaviyoSimulator) -> None:
    """An id of which neither the map nor Klaviyo knows an address (R9): nothing of the job is forwarded."""
    answer = shop.post("/api/event-bulk-create-jobs", bulk_events(ANN, {"external_id": "nobody-9"}))
    assert (400, [], 1) == (answer.status_code, shop.sent, len(simulator.profiles))


def test_each_row_of_an_import_is_named(shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator) -> None:
    """By profile id, without identifiers: an import puts no address back, and overwrites no id."""
    ann = k.identify(**ANN).profile_id
    job = rows("profile-bulk-import-job", {**ANN, "first_name": "Ann"}, {**BOB, "first_name": "Bob"})
    assert 202 == shop.post("/api/profile-bulk-import-jobs", job).status_code
    sent = shop.last["attributes"]["profiles"]["data"]
    assert [{"first_name": "Ann"}, {"first_name": "Bob"}] == [each["attributes"] for each in sent]
    assert ann == sent[0]["id"]
    simulator.drain()
    assert {("Ann", ANN["email"]), ("Bob", BOB["email"])} == {
        (each.attributes["first_name"], each.email) for each in simulator.profiles
    }


@pytest.mark.parametrize("path", ["/api/back-in-stock-subscriptions", "/api/push-tokens"])
def test_a_person_without_a_verb_is_named_by_profile_id_alone(shop: Shop, k: Klaviyo, path: str) -> None:
    """A former address leads to the customer's own profile here too."""
    ann = k.identify(**ANN).profile_id
    k.change_email(NEW, external_id=ANN["external_id"])
    attributes: dict[str, Any] = {"profile": {"data": profile(email=ANN["email"])}}
    shop.post(path, {"type": "anything", "attributes": attributes})
    assert {"id": ann, "type": "profile", "attributes": {}} == shop.last["attributes"]["profile"]["data"]


class TestConsent:
    """The consent jobs, by R18 and R19."""

    def test_r18_consent_goes_to_the_customers_profile(
        self, shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator
    ) -> None:
        """A former address subscribes the customer, makes no second profile, and is not put back."""
        k.identify(**ANN)
        k.change_email(NEW, external_id=ANN["external_id"])
        job = rows("profile-subscription-bulk-create-job", {"email": ANN["email"], "subscriptions": SUBSCRIBED})
        answer = shop.post("/api/profile-subscription-bulk-create-jobs", job)
        assert (202, b"") == (answer.status_code, answer.content)
        simulator.drain()
        assert [NEW] == [each.email for each in simulator.profiles]
        assert "subscribed" == k.consent(external_id=ANN["external_id"]).channels["email"].status

    def test_r18_a_withdrawal_is_not_lifted(self, shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator) -> None:
        """400 with the row's pointer and the rule; Klaviyo was not asked to subscribe."""
        k.subscribe("email", **ANN)
        simulator.drain()
        k.unsubscribe("email", **ANN)
        simulator.drain()
        job = rows("profile-subscription-bulk-create-job", {"email": ANN["email"], "subscriptions": SUBSCRIBED})
        answer = shop.post("/api/profile-subscription-bulk-create-jobs", job)
        (error,) = answer.json()["errors"]
        where = "/data/attributes/profiles/data/0/attributes"
        assert (400, where, "R18") == (
            answer.status_code, error["source"]["pointer"], error["meta"]["safeklaviyo"]["rule"],
        )  # fmt: skip
        simulator.drain()
        assert "unsubscribed" == k.consent(**ANN).channels["email"].status

    def test_a_profile_id_alone_subscribes_its_customer(
        self, shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator
    ) -> None:
        """The row that Klaviyo recommends; a profile that the map does not know is read first."""
        made = simulator.add_profile(**ANN)
        row = {"type": "profile", "id": made.id, "attributes": {"subscriptions": SUBSCRIBED}}
        job = {"type": "profile-subscription-bulk-create-job", "attributes": {"profiles": {"data": [row]}}}
        assert 202 == shop.post("/api/profile-subscription-bulk-create-jobs", job).status_code
        simulator.drain()
        assert "subscribed" == k.consent(**ANN).channels["email"].status

    def test_r19_a_former_address_unsubscribes_the_customer(
        self, shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator
    ) -> None:
        """Klaviyo alone would make a profile on the old address, and leave the customer subscribed."""
        k.subscribe("email", **ANN)
        simulator.drain()
        k.change_email(NEW, external_id=ANN["external_id"])
        job = rows("profile-subscription-bulk-delete-job", {"email": ANN["email"], "subscriptions": UNSUBSCRIBED})
        assert 202 == shop.post("/api/profile-subscription-bulk-delete-jobs", job).status_code
        simulator.drain()
        assert [NEW] == [each.email for each in simulator.profiles]
        assert not k.consent(external_id=ANN["external_id"]).channels["email"].can_receive

    def test_r19_suppressing_and_lifting_reach_the_customer(
        self, shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator
    ) -> None:
        """Both jobs are answered with a document, as Klaviyo answers them."""
        k.identify(**ANN)
        for path, can_receive in (
            ("/api/profile-suppression-bulk-create-jobs", False),
            ("/api/profile-suppression-bulk-delete-jobs", True),
        ):
            answer = shop.post(path, rows("profile-suppression-bulk-job", {"email": ANN["email"]}))
            assert (202, "processing") == (answer.status_code, answer.json()["data"]["attributes"]["status"])
            simulator.drain()
            assert can_receive is k.consent(**ANN).channels["email"].can_receive

    def test_a_job_about_a_list_passes(self, shop: Shop) -> None:
        """It names no people."""
        data = {"type": "profile-suppression-bulk-create-job", "attributes": {}}
        related = {"list": {"data": {"type": "list", "id": "LiSt01"}}}
        shop.post("/api/profile-suppression-bulk-create-jobs", {**data, "relationships": related})
        assert {"enforced": 1, "passed": 1} == shop.counters


class TestMerges:
    """A merge, by its plan."""

    def merge(self, shop: Shop, source: str, into: str) -> Any:
        """Ask for a merge as Klaviyo's reference shows it."""
        related = {"profiles": {"data": [{"type": "profile", "id": source}]}}
        return shop.post("/api/profile-merge", {"type": "profile-merge", "id": into, "relationships": related})

    def test_an_orphan_of_the_customer_is_merged(self, shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator) -> None:
        """The plan allows it, and the answer is Klaviyo's receipt with the profile that stays."""
        ann = str(k.identify(**ANN).profile_id)
        orphan = simulator.add_profile(email="ann.old@shop.test")
        answer = self.merge(shop, orphan.id, ann)
        assert (202, ann) == (answer.status_code, answer.json()["data"]["id"])
        simulator.drain()
        assert [ann] == [each.id for each in simulator.profiles]

    def test_two_customers_are_not_merged(self, shop: Shop, k: Klaviyo, simulator: KlaviyoSimulator) -> None:
        """A merge cannot be undone: two ids are two customers."""
        ann, bob = (str(k.identify(**who).profile_id) for who in (ANN, BOB))
        assert 409 == self.merge(shop, bob, ann).status_code
        simulator.drain()
        assert 2 == len(simulator.profiles)

    def test_what_names_no_two_profiles_is_refused(self, shop: Shop) -> None:
        """One that stays, and one that goes."""
        for related in ({}, {"profiles": {"data": []}}, {"profiles": {"data": [{"id": "A"}, {"id": "B"}]}}):
            data = {"type": "profile-merge", "id": "X", "relationships": related}
            assert 400 == shop.post("/api/profile-merge", data).status_code


def test_members_of_a_list_pass(shop: Shop, k: Klaviyo) -> None:
    """Lists are filled by profile ids."""
    ann = k.identify(**ANN).profile_id
    shop.http.post("/api/lists/LiSt01/relationships/profiles", json={"data": [{"type": "profile", "id": ann}]})
    assert {"observed": 1} == shop.counters


def test_a_number_alone_is_no_customer(shop: Shop) -> None:
    """R2, as for the verbs."""
    answer = shop.event(phone_number=PHONE)
    assert (400, "R2") == (answer.status_code, answer.json()["errors"][0]["meta"]["safeklaviyo"]["rule"])
