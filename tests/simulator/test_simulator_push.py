"""The simulator's push tokens and its waiting for stock: calls that name a person as an event does."""

from __future__ import annotations

import json

import pytest

ANN, BOB = "ann@shop.org", "bob@shop.org"


def token(value="t-1", *, profile_id=None, **more):
    """Return the body that registers a device."""
    who = {key: more.pop(key) for key in ("email", "external_id") if key in more}
    named = {} if profile_id is None else {"id": profile_id}
    attributes = {"token": value, "platform": "ios", "vendor": "apns", **more}
    profile = {"data": {"type": "profile", **named, "attributes": who}}
    return {"data": {"type": "push-token", "attributes": {**attributes, "profile": profile}}}


def waiting(variant="v-1", **who):
    """Return the body by which a person waits for an item."""
    related = {"variant": {"data": {"type": "catalog-variant", "id": variant}}}
    profile = {"data": {"type": "profile", "attributes": who}}
    attributes = {"channels": ["EMAIL"], "profile": profile}
    return {"data": {"type": "back-in-stock-subscription", "attributes": attributes, "relationships": related}}


def pointer(answer):
    """Return where the fault of a refused body is."""
    assert answer.status == 400
    return json.loads(answer.body)["errors"][0]["source"]["pointer"]


class TestTokens:
    def test_a_device_is_registered_later(self, simulator, ask):
        """The answer is 202 without a body; the profile is found or made when the queue is drained."""
        ann = simulator.add_profile(email=ANN).id
        for body in (token(email=ANN), token("t-2", email=BOB, platform="android", vendor="fcm", background="DENIED")):
            answer = ask("POST", "/api/push-tokens", body)
            assert (202, b"") == (answer.status, answer.body)
        assert [] == ask.json("GET", "/api/push-tokens")["data"]
        simulator.drain()
        (own,) = ask.json("GET", f"/api/profiles/{ann}/push-tokens")["data"]
        assert ("t-1", "ios", "AUTHORIZED", "AVAILABLE", None) == tuple(
            own["attributes"][name] for name in ("token", "platform", "enablement_status", "background", "metadata")
        )
        assert {"type": "profile", "id": ann} == own["relationships"]["profile"]["data"]
        assert [{"type": "push-token", "id": own["id"]}] == ask.json(
            "GET", f"/api/profiles/{ann}/relationships/push-tokens"
        )["data"]
        assert simulator.find(email=BOB) is not None
        assert (
            "DENIED"
            == ask.json("GET", "/api/push-tokens?filter=equals(platform,'android')")["data"][0]["attributes"][
                "background"
            ]
        )

    def test_a_token_is_one_device(self, simulator, ask):
        """A token that is sent again moves to the profile that is named then, and keeps its id and its first time."""
        ask("POST", "/api/push-tokens", token(email=ANN))
        simulator.drain()
        before = ask.json("GET", "/api/push-tokens")["data"][0]
        simulator.advance(60)
        ask("POST", "/api/push-tokens", token(email=BOB, device_metadata={"device_id": "d"}))
        simulator.drain()
        (after,) = ask.json("GET", "/api/push-tokens")["data"]
        assert before["id"] == after["id"]
        assert before["attributes"]["created"] == after["attributes"]["created"] != after["attributes"]["recorded_date"]
        assert {"device_id": "d"} == after["attributes"]["metadata"]
        path = f"/api/push-tokens/{after['id']}"
        assert BOB == ask.json("GET", f"{path}/profile")["data"]["attributes"]["email"]
        assert simulator.find(email=BOB).id == ask.json("GET", f"{path}/relationships/profile")["data"]["id"]
        shown = ask.json("GET", f"{path}?include=profile")
        assert [BOB] == [each["attributes"]["email"] for each in shown["included"]]
        assert "included" not in ask.json("GET", path)

    def test_nobody_gets_nothing(self, simulator, ask):
        """A token for an unknown profile id is accepted, and lost."""
        assert ask("POST", "/api/push-tokens", token(profile_id="01NOBODY")).status == 202
        simulator.drain()
        assert [] == ask.json("GET", "/api/push-tokens")["data"]

    def test_a_profile_shows_its_own(self, simulator, ask):
        """As related and as included resources, in a read and in a search."""
        ask("POST", "/api/push-tokens", token(email=ANN))
        simulator.drain()
        ann = simulator.find(email=ANN).id
        for path in (f"/api/profiles/{ann}", "/api/profiles"):
            shown = ask.json("GET", f"{path}?include=push-tokens&fields[push-token]=token")
            data = shown["data"] if isinstance(shown["data"], dict) else shown["data"][0]
            assert [{"token": "t-1"}] == [each["attributes"] for each in shown["included"]]
            assert data["relationships"]["push-tokens"]["data"] == [
                {"type": "push-token", "id": shown["included"][0]["id"]}
            ]

    def test_they_end(self, simulator, ask):
        """One is deleted by its id; a merge moves them, a deletion of the profile takes them along."""
        for each in ("t-1", "t-2"):
            ask("POST", "/api/push-tokens", token(each, email=ANN))
        simulator.drain()
        ann, bob = simulator.find(email=ANN).id, simulator.add_profile(email=BOB).id
        first, second = (each["id"] for each in ask.json("GET", "/api/push-tokens")["data"])
        assert [204, 404] == [ask("DELETE", f"/api/push-tokens/{first}").status for _ in range(2)]
        ask.merge(ann, bob)
        simulator.drain()
        assert [second] == [each["id"] for each in ask.json("GET", f"/api/profiles/{bob}/push-tokens")["data"]]
        ask.delete(bob)
        simulator.drain()
        assert ask("GET", f"/api/push-tokens/{second}").status == 404

    @pytest.mark.parametrize(
        ("body", "where"),
        [
            (token(None, email=ANN), "token"), (token(platform="tv", email=ANN), "platform"),
            (token(vendor=None, email=ANN), "vendor"), (token(background="x", email=ANN), "background"),
            (token(), "profile/data/attributes"), (token(email="x"), "profile/data/attributes/email"),
            ({"data": {"type": "push-token", "attributes": {"token": "t"}}}, "profile"),
        ],
    )  # fmt: skip
    def test_malformed_ones_are_refused(self, ask, body, where):
        """With a pointer, and nothing is accepted."""
        assert f"/data/attributes/{where}" == pointer(ask("POST", "/api/push-tokens", body))
        assert [] == ask.simulator.pending


class TestBackInStock:
    def test_it_is_an_event(self, simulator, ask):
        """The person is found or made later, and has an event of Klaviyo's own metric."""
        answer = ask("POST", "/api/back-in-stock-subscriptions", waiting(email=ANN))
        assert (202, b"", []) == (answer.status, answer.body, simulator.profiles)
        simulator.drain()
        (event,) = simulator.events
        assert ("Subscribed to Back in Stock", {"VariantId": "v-1"}, simulator.find(email=ANN).id) == (
            event.metric, event.properties, event.profile_id,
        )  # fmt: skip

    def test_malformed_ones_are_refused(self, ask):
        """Without a channel, a person or an item."""
        path, bad = "/api/back-in-stock-subscriptions", waiting(email=ANN)
        del bad["data"]["attributes"]["channels"]
        assert "/data/attributes/channels" == pointer(ask("POST", path, bad))
        bad = waiting(email=ANN)
        bad["data"]["attributes"]["profile"] = None
        assert "/data/attributes/profile" == pointer(ask("POST", path, bad))
        assert "/data/relationships/variant" == pointer(ask("POST", path, waiting(None, email=ANN)))
