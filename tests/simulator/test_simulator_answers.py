"""What the simulator's answers have in common: how they are signed, linked and refused, and what they show."""

from __future__ import annotations

import json
from hashlib import sha256
from urllib.parse import quote

import pytest

from safeklaviyo.testing import KlaviyoSimulator, Readings

ANN = "ann@shop.org"


class TestSigns:
    def test_every_answer_is_signed(self, simulator, ask):
        """Answers and refusals say the revision, the account, the path's methods, and an id, which the error has."""
        for path, status in (("/api/profiles", 200), ("/api/profiles/NOPE01", 404), ("/api/profiles?sort=x", 400)):
            answer = ask("GET", path)
            assert (status, "2026-10-15", "SiMuLa") == (
                answer.status, answer.headers["x-klaviyo-api-revision"], answer.headers["cid"],
            )  # fmt: skip
            assert {"GET", "HEAD", "OPTIONS"} <= set(answer.headers["allow"].split(", "))
            if status != 200:
                assert answer.headers["x-klaviyo-req-id"] == json.loads(answer.body)["errors"][0]["id"]
        ids = [ask("GET", "/api/profiles").headers["x-klaviyo-req-id"] for _ in range(2)]
        assert ids[0] != ids[1]

    def test_a_deprecated_revision_says_when_it_ends(self, ask):
        """The revision that answers is named, older than the one that was asked for or not."""
        old = ask("GET", "/api/profiles", revision="2023-02-22").headers
        assert ("2025-01-15", "2027-01-15") == (
            old["x-klaviyo-api-revision"], old["x-klaviyo-api-retirement-date"],
        )  # fmt: skip
        assert "x-klaviyo-api-retirement-date" not in ask("GET", "/api/profiles", revision="2026-01-15").headers

    def test_one_too_many_is_signed(self, asking):
        """A 429 has its time to wait in place of the quota."""
        ask = asking(KlaviyoSimulator(rate_limits=True, start=1_800_000_000))
        first, second = (ask("GET", "/api/accounts").headers for _ in range(2))
        assert ("ratelimit-limit" in first, "ratelimit-limit" in second) == (True, False)
        assert ("1", "SiMuLa") == (second["retry-after"], second["cid"])

    @pytest.mark.parametrize(
        ("path", "headers", "has"),
        [
            ("/api/profiles/NOPE01", {}, False), ("/api/profiles", {"authorization": "Bearer "}, False),
            ("/api/profiles?sort=x", {}, True),
        ],
    )  # fmt: skip
    def test_what_is_not_there_has_no_links(self, ask, path, headers, has):
        """A 404 and a 401 have neither links nor meta; a 400 has both."""
        error = ask.json("GET", path, **headers)["errors"][0]
        assert (has, has) == ("links" in error, "meta" in error)


class TestLinks:
    def test_of_a_single_one(self, simulator, ask):
        """The document links to itself as it was asked; the resource and its relations end with a slash."""
        ann = simulator.add_profile(email=ANN).id
        path = f"/api/profiles/{ann}?fields[profile]=email"
        shown = ask.json("GET", path)
        own = f"https://a.klaviyo.com/api/profiles/{ann}/"
        assert f"https://a.klaviyo.com{path}" == shown["links"]["self"]
        assert own == shown["data"]["links"]["self"]
        assert {"self": f"{own}relationships/lists/", "related": f"{own}lists/"} == shown["data"]["relationships"][
            "lists"
        ]["links"]

    def test_conversations(self, simulator, ask):
        """Reads of later revisions name many conversations, writes and earlier reads one."""
        ann = simulator.add_profile(email=ANN).id
        for revision, name in (("2026-04-15", "conversation"), ("2026-07-15", "conversations")):
            for path in (f"/api/profiles/{ann}", "/api/profiles"):
                data = ask.json("GET", path, revision=revision)["data"]
                assert name in (data if isinstance(data, dict) else data[0])["relationships"]
        assert "conversation" in json.loads(ask.patch(ann, first_name="A").body)["data"]["relationships"]

    def test_a_merge_names_the_destination(self, simulator, ask):
        """Its answer has no attributes, and both links."""
        ann, bob = (simulator.add_profile(email=f"{name}@shop.org").id for name in ("ann", "bob"))
        shown = json.loads(ask.merge(bob, ann).body)
        assert (ann, {}, "https://a.klaviyo.com/api/profile-merge") == (
            shown["data"]["id"], shown["data"]["attributes"], shown["links"]["self"],
        )  # fmt: skip


class TestFields:
    def test_further_fields_are_shown_besides(self, simulator, ask):
        """Additional fields come although the sparse ones do not name them; inner fields are chosen alone."""
        ann = simulator.add_profile(email=ANN, location={"city": "Rome", "zip": "1"}).id
        query = "fields[profile]=location.city&additional-fields[profile]=subscriptions"
        attributes = ask.json("GET", f"/api/profiles/{ann}?{query}")["data"]["attributes"]
        assert {"city": "Rome"} == attributes["location"]
        assert {"location", "subscriptions"} == attributes.keys()
        assert ask("GET", f"/api/profiles/{ann}?fields[profile]=location.town").status == 400

    def test_hashed_identifiers(self, simulator, ask):
        """The latest revision can show the hash of an address and of a number; earlier ones refuse the field."""
        ann = simulator.add_profile(email=ANN).id
        path = f"/api/profiles/{ann}?additional-fields[profile]=hashed_email,hashed_phone_number"
        shown = ask.json("GET", path)["data"]["attributes"]
        assert (sha256(ANN.encode()).hexdigest(), None) == (shown["hashed_email"], shown["hashed_phone_number"])
        assert ask("GET", path, revision="2026-07-15").status == 400

    def test_only_a_create_has_fractions(self, simulator, ask):
        """The answer to a create shows its moment in microseconds, every later one in seconds."""
        simulator.advance(0.25)
        made = json.loads(ask.create(email=ANN).body)["data"]
        assert made["attributes"]["created"].endswith(".250000+00:00")
        assert len("2026-11-29T00:00:00+00:00") == len(
            ask.json("GET", f"/api/profiles/{made['id']}")["data"]["attributes"]["created"]
        )

    @pytest.mark.parametrize(("reading", "shown"), [("text", ["7", "007", "x7"]), ("number", [7, "007", "x7"])])
    def test_numbers_as_external_ids(self, asking, reading, shown):
        """A number is accepted and found by its text; it is answered as a text, or as a number by reading."""
        ask = asking(KlaviyoSimulator(Readings(external_ids_shown=reading)))
        made = [ask.created(external_id=each) for each in (7, "007", "x7")]
        assert [made[0]] == ask.found("equals(external_id,'7')")
        assert shown == [row["attributes"]["external_id"] for row in ask.search()["data"]]
        assert ask.event(external_id=7).status == ask.load(external_id=7, first_name="Ann").status + 2 == 202


class TestSuppressionFilters:
    def test_profiles_are_found_by_why_they_get_nothing(self, simulator, ask):
        """By reason and time, in general and by list."""
        news = simulator.add_list("News")
        ann, bob = (simulator.add_profile(email=f"{name}@shop.org").id for name in ("ann", "bob"))
        simulator.withdraw(email=ANN, reason="HARD_BOUNCE")
        simulator.advance(100)
        simulator.submit_form(email="bob@shop.org", list_id=news)
        ask.unsubscribe(ask.person("email.marketing", email="bob@shop.org", status="UNSUBSCRIBED"), list_id=news)
        simulator.drain()
        general, listed = (f"subscriptions.email.marketing.{name}" for name in ("suppression", "list_suppressions"))
        moment = ask.subscriptions(ann)["email"]["marketing"]["suppression"][0]["timestamp"]
        for text, expected in (
            (f'equals({general}.reason,"HARD_BOUNCE")', [ann]),
            (f'equals({general}.reason,"UNSUBSCRIBE")', []),
            (f"less-or-equal({general}.timestamp,{moment})", [ann]),
            (f"less-than({general}.timestamp,{moment})", []),
            (f'equals({listed}.list_id,"{news}")', [bob]),
            (f'equals({listed}.reason,"UNSUBSCRIBE"),greater-than({listed}.timestamp,{moment})', [bob]),
        ):
            assert expected == ask.found(text), text
        assert [bob, ann] == ask.found(sort=f"-{listed}.timestamp")


class TestSegments:
    def test_they_are_read(self, simulator, ask):
        """A test says who is in a segment; it is listed, counted, filtered, and shown with a profile."""
        ann = simulator.add_profile(email=ANN).id
        segment = simulator.add_segment("VIP", ann)
        simulator.add_segment("Empty")
        one = f"/api/segments/{segment}"
        assert {"VIP", "Empty"} == {each["attributes"]["name"] for each in ask.json("GET", "/api/segments")["data"]}
        text = quote("equals(name,'VIP'),any(is_active,[true])")
        assert [segment] == [each["id"] for each in ask.json("GET", f"/api/segments?filter={text}")["data"]]
        counted = ask.json("GET", f"{one}?additional-fields[segment]=profile_count")["data"]["attributes"]
        assert (1, "VIP", False) == (counted["profile_count"], counted["name"], counted["is_processing"])
        assert "profile_count" not in ask.json("GET", one)["data"]["attributes"]
        assert [ann] == [each["id"] for each in ask.json("GET", f"{one}/profiles")["data"]]
        assert [{"type": "profile", "id": ann}] == ask.json("GET", f"{one}/relationships/profiles")["data"]
        assert [segment] == [each["id"] for each in ask.json("GET", f"/api/profiles/{ann}/segments")["data"]]
        assert [{"type": "segment", "id": segment}] == ask.json("GET", f"/api/profiles/{ann}/relationships/segments")[
            "data"
        ]
        shown = ask.json("GET", f"/api/profiles/{ann}?include=segments")
        assert [segment] == [each["id"] for each in shown["included"]]
        assert ask("GET", "/api/segments/nope").status == ask("GET", "/api/segments/nope/profiles").status == 404

    def test_one_is_suppressed(self, simulator, ask):
        """A suppression may name a segment instead of a list, a known one."""
        segment = simulator.add_segment("VIP", simulator.add_profile(email=ANN).id)
        for each, status in ((segment, 202), ("nope", 400)):
            related = {"segment": {"data": {"type": "segment", "id": each}}}
            data = {"type": "profile-suppression-bulk-create-job", "attributes": {}, "relationships": related}
            assert status == ask("POST", "/api/profile-suppression-bulk-create-jobs", {"data": data}).status
        simulator.drain()
        assert simulator.find(email=ANN).suppressed

    def test_what_is_deleted_or_merged_is_in_none(self, simulator, ask):
        """A merge moves the membership; a deletion ends it."""
        ann, bob = (simulator.add_profile(email=f"{name}@shop.org").id for name in ("ann", "bob"))
        path = f"/api/segments/{simulator.add_segment('VIP', bob)}/relationships/profiles"
        ask.merge(bob, ann)
        simulator.drain()
        assert [ann] == [each["id"] for each in ask.json("GET", path)["data"]]
        ask.delete(ann)
        simulator.drain()
        assert [] == ask.json("GET", path)["data"]


class TestAccounts:
    def test_one_is_read_by_its_id(self, ask):
        """Its id is the public key; another one is not found, in Klaviyo's words."""
        shown = ask.json("GET", "/api/accounts/SiMuLa?fields[account]=timezone")["data"]
        assert ("SiMuLa", {"timezone": "UTC"}) == (shown["id"], shown["attributes"])
        answer = ask("GET", "/api/accounts/Other1")
        assert (404, "Account with id Other1 not found.") == (
            answer.status, json.loads(answer.body)["errors"][0]["detail"],
        )  # fmt: skip


def test_what_never_is_there(simulator, ask):
    """Tags, flows and conversations of what exists are none; of what does not, they are not found."""
    ann, news = simulator.add_profile(email=ANN).id, simulator.add_list("News")
    for path in (f"lists/{news}/tags", f"lists/{news}/relationships/flow-triggers", f"profiles/{ann}/conversations"):
        assert [] == ask.json("GET", f"/api/{path}")["data"]
    assert ask.json("GET", f"/api/profiles/{ann}/conversation")["data"] is None
    for path in (
        "lists/NoList/tags",
        "segments/nope/tags",
        "metrics/nope/flow-triggers",
        "profiles/NOPE01/conversations",
    ):
        assert ask("GET", f"/api/{path}").status == 404


@pytest.mark.parametrize(("moves", "recorded"), [(True, 1), (False, 2)])
def test_keys_of_events_after_a_merge(asking, moves, recorded):
    """By reading, what the source's events were known by counts for the destination, or does not."""
    simulator = KlaviyoSimulator(Readings(merge_moves_keys=moves))
    ask = asking(simulator)
    ann, bob = (simulator.add_profile(email=f"{name}@shop.org").id for name in ("ann", "bob"))
    ask.event("A", profile_id=bob, unique_id="u")
    ask.merge(bob, ann)
    ask.event("A", profile_id=ann, unique_id="u")
    simulator.drain()
    assert recorded == sum(event.metric == "A" for event in simulator.events)
