"""What each endpoint of the current dialect answers: shapes, statuses, error bodies, headers."""

from __future__ import annotations

import json

import pytest

from safeklaviyo.testing import KlaviyoSimulator, Readings

EVENT = "/data/attributes"
METRIC = "/data/attributes/metric/data"
BAD_PHONE = "Invalid phone number format (Example of a valid format: +12345678901)"
WHO = "/data/attributes/profile/data/attributes"


def error_of(answer):
    """Return the only error of an answer."""
    (error,) = json.loads(answer.body)["errors"]
    return error


def test_a_created_profile_has_klaviyos_shape(ask):
    """Create answers 201 with the whole profile, every field of Klaviyo's there."""
    document = json.loads(ask.create(email="ann@shop.org", location={"city": "Rome"}, properties={"n": 1}).body)["data"]
    attributes = document["attributes"]
    assert ("profile", 26) == (document["type"], len(document["id"]))
    assert {"attributes", "id", "links", "relationships", "type"} == document.keys()
    assert {
        "email", "phone_number", "external_id", "anonymous_id", "whatsapp_bsuid", "first_name", "last_name",
        "organization", "locale", "title", "image", "created", "updated", "last_event_date", "location", "properties",
    } == attributes.keys()  # fmt: skip
    assert ("Rome", None, {"n": 1}) == (
        attributes["location"]["city"],
        attributes["location"]["zip"],
        attributes["properties"],
    )
    assert attributes["created"].endswith(".000000+00:00")


def test_a_conflict_has_klaviyos_shape(ask):
    """A 409 names the owner in the error's meta, with an integer status and a code."""
    ann = ask.created(email="ann@shop.org")
    error = error_of(ask.create(email="ann@shop.org"))
    assert {
        "id": error["id"],
        "status": 409,
        "code": "duplicate_profile",
        "title": "Conflict.",
        "detail": "A profile already exists with one of these identifiers.",
        "source": {"pointer": "/data/attributes"},
        "links": {},
        "meta": {"duplicate_profile_id": ann},
    } == error


def test_an_unknown_profile_is_not_found(ask):
    """Get and update answer 404 with the id in the detail."""
    for answer in (ask("GET", "/api/profiles/NOPE01"), ask.patch("NOPE01", first_name="Ann")):
        error = error_of(answer)
        assert (404, "not_found", "A profile with id NOPE01 does not exist.") == (
            answer.status, error["code"], error["detail"],
        )  # fmt: skip


def test_no_match_is_an_empty_list(ask):
    """A search that finds nobody answers 200 and an empty list."""
    assert ask.search('equals(email,"nobody@shop.org")')["data"] == []


@pytest.mark.parametrize("path", ["/api/profiles/", "/api/accounts/"])
def test_a_slash_at_the_end_is_ignored(ask, path):
    """Klaviyo's older documentation ends paths with a slash; both forms answer."""
    assert ask("GET", path).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404), ("GET", "/", 404), ("GET", "/api/profiles/..", 404),
        ("DELETE", "/api/profiles", 405),
        ("POST", "/api/profiles/01X", 405), ("GET", "/api/profile-merge", 405),
    ],
)  # fmt: skip
def test_unknown_paths_and_methods(simulator, ask, method, path, status):
    """An unknown path answers 404, dots resolved; another method 405; the journal shows no endpoint."""
    assert ask(method, path).status == status
    assert (status, "", False) == (
        simulator.journal[0].status,
        simulator.journal[0].endpoint,
        simulator.journal[0].committed,
    )


class TestKeys:
    @pytest.mark.parametrize(
        ("keys", "authorization", "status"),
        [
            (None, "Klaviyo-API-Key pk_any", 200), (None, "Klaviyo-API-Key other", 401), (None, "Bearer token", 200),
            (None, "Bearer ", 401), (None, "pk_any", 401), ({"pk_a"}, "Klaviyo-API-Key pk_a", 200),
            ({"pk_a"}, "Klaviyo-API-Key pk_b", 401), ({"pk_a"}, "Bearer pk_a", 200), ({"pk_a"}, "Bearer pk_b", 401),
        ],
    )  # fmt: skip
    def test_which_are_accepted(self, asking, keys, authorization, status):
        """Private keys and tokens are accepted, by prefix or from a given set; others answer 401 at /data/."""
        answer = asking(KlaviyoSimulator(keys=keys))("GET", "/api/accounts", authorization=authorization)
        assert answer.status == status
        if status == 401:
            error = error_of(answer)
            is_token = authorization.startswith("Bearer")
            code, words = (
                ("authentication_failed", "Incorrect authentication credentials.")
                if is_token
                else ("not_authenticated", "Missing or invalid private key.")
            )
            assert (code, words, "/data/") == (error["code"], error["detail"], error["source"]["pointer"])
            assert "Bearer, Klaviyo-API-Key" == answer.headers["www-authenticate"]
            assert "ratelimit-limit" not in answer.headers

    @pytest.mark.parametrize("code", ["not_authenticated", "authentication_failed"])
    def test_a_missing_one_by_reading(self, code):
        """A request without a key answers 401 with the code of the reading."""
        answer = KlaviyoSimulator(Readings(no_credentials=code)).handle("GET", "/api/accounts", {})
        assert (401, code) == (answer.status, error_of(answer)["code"])


class TestRevisions:
    @pytest.mark.parametrize(("readings", "status"), [(Readings(), 200), (Readings(revision_missing=400), 400)])
    def test_missing_by_reading(self, readings, status):
        """A request without a revision is answered by the latest or refused, by the reading."""
        headers = {"Authorization": "Klaviyo-API-Key pk_x"}
        assert KlaviyoSimulator(readings).handle("GET", "/api/accounts", headers).status == status

    @pytest.mark.parametrize(("readings", "status"), [(Readings(), 400), (Readings(revision_unknown=200), 200)])
    def test_unknown_by_reading(self, asking, readings, status):
        """An unknown revision is refused or answered by the latest, by the reading."""
        assert asking(KlaviyoSimulator(readings))("GET", "/api/accounts", revision="2026-10-16").status == status

    def test_a_retired_one_falls_forward(self, ask):
        """A retired revision is answered by the oldest live one, unless the request opts out: 410."""
        assert ask("GET", "/api/accounts", revision="2024-02-15").status == 200
        for opted, status in (("1", 410), ("0", 200)):
            headers = {"revision": "2024-02-15", "x_klaviyo_revision_fall_forward_opt_out": opted}
            assert status == ask("GET", "/api/accounts", **headers).status

    @pytest.mark.parametrize(
        ("revision", "beside"),
        [("2026-10-15", True), ("2026-07-15", False), ("2025-01-15", False), ("2026-10-15.pre", True)],
    )
    def test_where_an_events_meta_is(self, simulator, ask, revision, beside):
        """From 2026-10-15 the profile's meta in an event is beside its attributes; before, among them."""
        meta = {"patch_properties": {"append": {"tags": "x"}}}
        attributes = {"email": "ann@shop.org"}
        among = {"type": "profile", "attributes": {**attributes, "meta": meta}}
        outside = {"type": "profile", "attributes": attributes, "meta": meta}
        assert ask.raw_event("A", outside, revision=revision).status == 202
        assert ask.raw_event("B", among, revision=revision).status == (400 if beside else 202)
        simulator.drain()
        assert simulator.profiles[0].properties == {"tags": ["x"]}

    def test_backfill_came_later(self, ask):
        """An older revision does not know the field backfill."""
        who = {"type": "profile", "attributes": {"email": "ann@shop.org"}}
        assert ask.raw_event("A", who, backfill=True, revision="2026-01-15").status == 400
        assert ask.raw_event("A", who, backfill=True, revision="2026-04-15").status == 202
        assert ask.raw_event("B", who).status == 202
        ask.simulator.drain()
        assert [True, False] == [event.backfill for event in ask.simulator.events]

    def test_anonymous_ids_left_profiles(self, ask):
        """Profile writes accept an anonymous id up to 2025-07-15, and ignore it."""
        document = {"data": {"type": "profile", "attributes": {"email": "ann@shop.org", "anonymous_id": "x"}}}
        assert ask("POST", "/api/profiles", document, revision="2025-10-15").status == 400
        assert ask("POST", "/api/profiles", document, revision="2025-07-15").status == 201


class TestBodies:
    @pytest.mark.parametrize(
        ("kind", "encoding", "status"),
        [
            ("application/json", "identity", 201), ("application/vnd.api+json; charset=utf-8", "identity", 201),
            ("text/plain", "identity", 415), ("application/json", "gzip", 415),
        ],
    )  # fmt: skip
    def test_which_types_are_accepted(self, ask, kind, encoding, status):
        """Both JSON types are accepted; others, and compressed bodies, answer 415."""
        document = {"data": {"type": "profile", "attributes": {"email": "ann@shop.org"}}}
        assert ask("POST", "/api/profiles", document, content_type=kind, content_encoding=encoding).status == status

    @pytest.mark.parametrize("body", [b"{", b"[]", b'{"data":[]}', b"\xff", b"[" * 100_000, b'{"data":{"type":"x"}}'])
    def test_malformed_ones_are_refused(self, simulator, body):
        """A body that is no JSON:API document of the type answers 400."""
        headers = {"authorization": "Klaviyo-API-Key pk_x"}
        assert simulator.handle("POST", "/api/profiles", headers, body).status == 400

    def test_sizes(self, ask):
        """More than 5 MB answers 413; a profile of more than 100 KB, or 95 KB within an event, 400."""
        assert ask.event(email="ann@shop.org", properties={"x": "y" * 5_000_000}).status == 413
        halves = {"a": "y" * 51_000, "b": "y" * 51_000}
        assert ask.create(email="ann@shop.org", properties=halves).status == 400
        assert ask.event(email="ann@shop.org", properties={"a": "y" * 50_000, "b": "y" * 46_000}).status == 400
        assert ask.create(email="ann@shop.org", properties={"a": "y" * 50_000, "b": "y" * 46_000}).status == 201

    @pytest.mark.parametrize(
        ("attributes", "pointer", "detail"),
        [
            ({"email": "nobody"}, "email", "Invalid email address"),
            ({"email": "x" * 92 + "@shop.org"}, "email", "Invalid email address"),
            ({"phone_number": "555"}, "phone_number", BAD_PHONE),
            ({"email": "a@b.co", "external_id": ""}, "external_id", "'external_id' must have 1 to 255 characters."),
            ({"external_id": "x" * 256}, "external_id", "'external_id' must have 1 to 255 characters."),
            ({"external_id": [7]}, "external_id", "'external_id' must be a string."),
            ({"email": 7}, "email", "'email' must be a string."),
            ({"external_id": True}, "external_id", "'external_id' must be a string."),
            ({"emial": "a@b.co"}, "emial", "'emial' is not a valid field for the resource 'profile'."),
            ({"first_name": 1}, "first_name", "This must be a string of 1 to 100000 characters."),
            ({"location": {"town": "Rome"}}, "location/town", "'town' is not a valid field for a location."),
            ({"location": "Rome"}, "location", "This must be an object."),
            ({"properties": []}, "properties", "This must be an object."),
            ({"properties": {"a": {"b": 2**63}}}, "properties/a/b", "A number is larger than 64 bits."),
            ({"properties": {"a": [0] * 4001}}, "properties/a", "An array has more than 4000 elements."),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_pointed_at(self, simulator, ask, attributes, pointer, detail):
        """A malformed attribute answers 400, code invalid, with a pointer to it, and nothing is created."""
        answer = ask.create(**attributes)
        error = error_of(answer)
        assert (400, "invalid", "Invalid input.", detail) == (
            answer.status,
            error["code"],
            error["title"],
            error["detail"],
        )
        assert error["source"] == {"pointer": f"/data/attributes/{pointer}"}
        assert simulator.profiles == []

    def test_depth(self, ask):
        """Ten levels are accepted, eleven are not."""
        value: object = "x"
        for _ in range(9):
            value = {"a": value}
        assert ask.create(email="ann@shop.org", properties={"a": value}).status == 201
        assert ask.create(email="bob@shop.org", properties={"a": {"a": value}}).status == 400

    @pytest.mark.parametrize("attributes", [{}, {"first_name": "Ann"}, {"email": None}])
    def test_an_identifier_is_required(self, ask, attributes):
        """Create, import and event without an identifier answer 400."""
        assert [400, 400, 400] == [
            ask.create(**attributes).status, ask.load(**attributes).status, ask.event(**attributes).status,
        ]  # fmt: skip

    def test_create_takes_no_id_and_no_meta(self, asking):
        """Create refuses an id and a meta, which its schema does not have; a lenient reading ignores them."""
        data = {"type": "profile", "attributes": {"email": "ann@shop.org", "color": "red"}}
        for reading, status in (("refused", 400), ("ignored", 201)):
            ask = asking(KlaviyoSimulator(Readings(unknown_fields=reading)))
            extra = {"id": "01X", "meta": {"patch_properties": {}}}
            assert ask("POST", "/api/profiles", {"data": {**data, "id": "01X"}}).status == status
            ask = asking(KlaviyoSimulator(Readings(unknown_fields=reading)))
            assert ask("POST", "/api/profiles", {"data": {**data, **extra}}).status == status

    def test_an_update_needs_its_own_id(self, ask):
        """An update answers 400 when the id in the body is another or missing."""
        ann = ask.created(email="ann@shop.org")
        for data in ({"type": "profile", "id": "01X"}, {"type": "profile"}, {"type": "profile", "id": 7}):
            assert ask("PATCH", f"/api/profiles/{ann}", {"data": data}).status == 400
        assert ask("POST", "/api/profile-import", {"data": {"type": "profile", "id": 7}}).status == 400


@pytest.mark.parametrize(
    ("kind", "body", "shown"),
    [
        ("application/json", b'{"a":1}', {"a": 1}), ("application/json", b"", None),
        ("application/json", b"{\xff", "{\ufffd"),
        ("application/x-www-form-urlencoded", b"data=%7B%7D&api_key=pk_x", {"data": "{}"}),
    ],
)  # fmt: skip
def test_the_journal_shows_bodies_decoded(simulator, kind, body, shown):
    """The journal shows JSON, a form without its key, or text, whatever was answered; nothing for nothing."""
    simulator.handle("POST", "/api/events?a=%2B&api_key=pk_x", {"Content-Type": kind, "Cookie": "c", "X": "y"}, body)
    (entry,) = simulator.journal
    assert ({"a": "+"}, {"content-type": kind, "x": "y"}, shown) == (entry.query, entry.headers, entry.body)


class TestProperties:
    def test_they_are_merged_per_key(self, simulator, ask):
        """Keys not sent remain; append, unappend and unset act in this order; nested objects are replaced."""
        ann = ask.created(
            email="ann@shop.org", properties={"tags": ["x", "y"], "plan": "pro", "score": 7, "one": 1, "deep": {"a": 1}}
        )
        patch = {
            "append": {"tags": "z", "one": [2], "new": "n"},
            "unappend": {"tags": "x", "none": "?"},
            "unset": "plan",
        }
        answer = ask.patch(ann, {"patch_properties": patch}, properties={"score": 8, "deep": {"b": 2}})
        assert answer.status == 200
        assert {"tags": ["y", "z"], "score": 8, "one": [1, 2], "new": ["n"], "none": [], "deep": {"b": 2}} == (
            simulator.profiles[0].properties
        )

    def test_deep_merge_by_reading(self, asking):
        """In the other reading nested objects are merged key by key."""
        ask = asking(KlaviyoSimulator(Readings(deep_merge=True)))
        ann = ask.created(email="ann@shop.org", properties={"deep": {"a": 1, "in": {"x": 1}}})
        ask.patch(ann, properties={"deep": {"b": 2, "in": {"y": 1}}})
        assert {"a": 1, "b": 2, "in": {"x": 1, "y": 1}} == ask.simulator.profiles[0].properties["deep"]

    def test_a_location_is_merged_and_cleared(self, simulator, ask):
        """A location's fields are set one by one; null takes one, or all, away."""
        ann = ask.created(email="ann@shop.org", location={"city": "Rome", "zip": "1"})
        ask.patch(ann, location={"zip": None, "country": "IT"})
        assert {"city": "Rome", "country": "IT"} == simulator.profiles[0].attributes["location"]
        ask.patch(ann, location=None)
        assert simulator.profiles[0].attributes == {}

    @pytest.mark.parametrize("unset", [7, ["a", 7]])
    def test_a_malformed_patch_is_refused(self, ask, unset):
        """The patch unset takes one name or a list of names; anything else answers 400."""
        ann = ask.created(email="ann@shop.org")
        assert ask.patch(ann, {"patch_properties": {"unset": unset}}).status == 400
        assert ask.patch(ann, {"patch_properties": {"append": unset}}).status == 400


class TestReading:
    def test_fields_are_chosen(self, ask):
        """fields[profile] leaves the rest out, additional-fields adds, an unknown name or include answers 400."""
        ann = ask.created(email="ann@shop.org")
        one = f"/api/profiles/{ann}"
        attributes = ask.json("GET", f"{one}?fields[profile]=email,location.city")["data"]["attributes"]
        assert {"email", "location"} == attributes.keys()
        more = ask.json("GET", f"{one}?additional-fields[profile]=subscriptions,predictive_analytics")
        assert {"subscriptions", "predictive_analytics"} <= more["data"]["attributes"].keys()
        assert ask("GET", f"{one}?fields[profile]=emial").status == 400
        assert ask("GET", f"{one}?include=lists,push-tokens").status == 200
        error = error_of(ask("GET", f"{one}?include=profiless"))
        assert error["source"] == {"parameter": "include"}
        assert error["detail"] == "'profiless' is not an allowed include parameter for this resource."

    def test_suppression_and_consent_are_shown(self, simulator, ask):
        """The field subscriptions says whether a profile may be written to, and what it consented to."""
        ann = simulator.add_profile(
            email="ann@shop.org", suppressed=True, consent="UNSUBSCRIBED", sms_consent="SUBSCRIBED"
        )
        one = f"/api/profiles/{ann.id}?additional-fields[profile]=subscriptions"
        shown = ask.json("GET", one)["data"]["attributes"]["subscriptions"]
        email, text = shown["email"]["marketing"], shown["sms"]["marketing"]
        assert (False, "UNSUBSCRIBED", "USER_SUPPRESSED") == (
            email["can_receive_email_marketing"], email["consent"], email["suppression"][0]["reason"],
        )  # fmt: skip
        assert (True, "SUBSCRIBED") == (text["can_receive_sms_marketing"], text["consent"])

    def test_pages_are_followed(self, ask):
        """Pages are linked in both directions by absolute links, and hold every profile once."""
        made = [ask.created(email=f"{number}@shop.org") for number in range(5)]
        seen, path = [], "/api/profiles?page%5Bsize%5D=2"
        while path:
            page = ask.json("GET", path)
            seen += [row["id"] for row in page["data"]]
            link, back = page["links"]["next"], page["links"]["prev"]
            path = link and link.removeprefix("https://a.klaviyo.com")
            assert (back is None) is (len(seen) == 2)
        assert made == seen

    def test_links_follow_the_host(self, ask):
        """Behind another host the links lead to that host, not to Klaviyo's."""
        links = ask.json("GET", "/api/profiles", host="127.0.0.1:81")["links"]
        assert links["self"] == "http://127.0.0.1:81/api/profiles"

    @pytest.mark.parametrize(
        "query",
        [
            "page[size]=0",
            "page[size]=101",
            "page[size]=x",
            "page[size]=²",
            "page[cursor]=!",
            "page[cursor]=é",
            "sort=name",
            "sort=--id",
        ],
    )
    def test_a_malformed_query_is_refused(self, ask, query):
        """A size out of 1 to 100, an unknown sort or a cursor that is none answers 400."""
        assert ask("GET", f"/api/profiles?{query}").status == 400

    def test_sorts(self, simulator, ask):
        """Profiles are sorted by each field in both directions; without one, as created."""
        for email in ("b@shop.org", "a@shop.org", "c@shop.org"):
            ask.created(email=email)
            simulator.advance(1)
        b, a, c = (simulator.find(email=f"{name}@shop.org").id for name in "bac")
        ask.patch(b, first_name="B")
        assert [b, a, c] == ask.found() == ask.found(sort="created") == ask.found(sort="id")
        assert [c, a, b] == ask.found(sort="-created") == ask.found(sort="-id")
        assert [a, b, c] == ask.found(sort="email")
        assert [a, c, b] == ask.found(sort="updated")

    def test_the_account(self, asking):
        """Get Accounts names the one account, whose id is its public key."""
        (account,) = asking(KlaviyoSimulator(account="ABC123")).json("GET", "/api/accounts")["data"]
        assert ("ABC123", "ABC123") == (account["id"], account["attributes"]["public_api_key"])


class TestEvents:
    def test_it_is_accepted_without_a_body(self, simulator, ask):
        """Create Event answers 202 and nothing, and records later what was sent."""
        answer = ask.event(
            "Ordered", email="ann@shop.org", unique_id="u", time="2026-01-02T03:04:05.9+00:00", value=9.5
        )
        assert (202, b"", []) == (answer.status, answer.body, simulator.events)
        simulator.drain()
        (event,) = simulator.events
        assert ("Ordered", "u", 1767323045, 9.5) == (event.metric, event.unique_id, event.time, event.value)
        assert event.profile_id == simulator.profiles[0].id
        ask.event("Ordered", email="ann@shop.org", time="2025-01-01T00:00:00Z")
        simulator.drain()
        assert event.time == simulator.profiles[0].last_event_date

    def test_it_updates_the_profile(self, simulator, ask):
        """An event writes the profile's attributes and properties; null takes no identifier away."""
        ann = simulator.add_profile(email="ann@shop.org", external_id="7", properties={"a": 1})
        ask.event(profile_id=ann.id, external_id=None, first_name="Ann", properties={"b": 2})
        simulator.drain()
        (profile,) = simulator.profiles
        assert ("7", {"first_name": "Ann"}, {"a": 1, "b": 2}) == (
            profile.external_id, profile.attributes, profile.properties,
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("first", "second", "recorded"),
        [
            ({"unique_id": "u"}, {"unique_id": "u", "time": "2026-01-01T00:00:00Z"}, 1),
            ({"unique_id": "u"}, {"unique_id": "v"}, 2),
            ({"time": "2026-01-01T00:00:00.1Z"}, {"time": "2026-01-01T00:00:00.9Z"}, 1),
            ({"time": "2026-01-01T00:00:00"}, {"time": "2026-01-01T00:00:01Z"}, 2),
            ({}, {}, 1),
        ],
    )
    def test_repetitions_are_recorded_once(self, simulator, ask, first, second, recorded):
        """Of one profile and metric, one event with a unique id, or one in a second, is recorded."""
        ask.event(email="ann@shop.org", **first)
        ask.event(email="ann@shop.org", **second)
        ask.event(email="bob@shop.org", **first)
        ask.event("Other", email="ann@shop.org", **first)
        simulator.drain()
        assert (recorded + 2, 2 - recorded) == (len(simulator.events), len(simulator.deduplicated))

    @pytest.mark.parametrize(("drops", "recorded"), [(True, 1), (False, 3)])
    def test_test_addresses_by_reading(self, asking, drops, recorded):
        """Events of @example.com and @test.com are accepted and dropped in silence where the reading says so."""
        simulator = KlaviyoSimulator(Readings(drops_test_addresses=drops))
        for email in ("ann@EXAMPLE.com", "bob@test.com", "cat@shop.org"):
            assert asking(simulator).event(email=email).status == 202
        simulator.drain()
        lost = [event.why for event in simulator.dropped]
        assert (recorded, recorded, ["a test address"] * (3 - recorded)) == (
            len(simulator.events), len(simulator.profiles), lost,
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("fields", "pointer"),
        [
            ({"unique_id": ""}, f"{EVENT}/unique_id"), ({"unique_id": "x" * 256}, f"{EVENT}/unique_id"),
            ({"unique_id": 7}, f"{EVENT}/unique_id"), ({"time": "yesterday"}, f"{EVENT}/time"),
            ({"time": 7}, f"{EVENT}/time"),
            ({"time": "1999-12-31T23:59:59Z"}, f"{EVENT}/time"), ({"time": "2999-01-01T00:00:00Z"}, f"{EVENT}/time"),
            ({"value": "9"}, f"{EVENT}/value"), ({"value": True}, f"{EVENT}/value"),
            ({"value_currency": "EURO"}, f"{EVENT}/value_currency"), ({"color": "red"}, f"{EVENT}/color"),
            ({"properties": {str(number): 1 for number in range(401)}}, f"{EVENT}/properties"),
            ({"properties": {"a": "y" * 100_001}}, f"{EVENT}/properties/a"),
            ({"properties": None}, f"{EVENT}/properties"), ({"metric": None}, f"{EVENT}/metric"),
            ({"profile": None}, f"{EVENT}/profile"),
            ({"profile": {"data": {"type": "x"}}}, f"{EVENT}/profile/data/type"),
            ({"profile": {"data": {"type": "profile", "attributes": {"email": "x"}}}}, f"{WHO}/email"),
            ({"profile": {"data": {"type": "profile", "attributes": {"phone_number": "1"}}}}, f"{WHO}/phone_number"),
            ({"metric": {"data": {"type": "metric", "attributes": {}}}}, f"{METRIC}/attributes/name"),
            ({"metric": {"data": {"type": "x", "attributes": {"name": "A"}}}}, f"{EVENT}/metric/data/attributes/name"),
            ({"metric": {"data": {"type": "metric", "attributes": {"name": "x" * 128}}}}, f"{METRIC}/attributes/name"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_pointed_at(self, simulator, ask, fields, pointer):
        """A malformed event answers 400 at once with a pointer to the fault, and nothing is queued."""
        who = {"data": {"type": "profile", "attributes": {"email": "ann@shop.org"}}}
        metric = {"data": {"type": "metric", "attributes": {"name": "A"}}}
        attributes = {"properties": {}, "profile": who, "metric": metric, **fields}
        answer = ask("POST", "/api/events", {"data": {"type": "event", "attributes": attributes}})
        assert (400, {"pointer": pointer}) == (answer.status, error_of(answer)["source"])
        assert simulator.pending == []

    @pytest.mark.parametrize("phone", ["555", 555, None])
    def test_a_bad_phone_beside_an_email_is_left_out(self, simulator, ask, phone):
        """An event with an email and a malformed phone is accepted, and the phone that was there stays."""
        simulator.add_profile(email="ann@shop.org", phone_number="+12025550123")
        assert ask.event(email="ann@shop.org", phone_number=phone).status == 202
        simulator.drain()
        assert "+12025550123" == simulator.profiles[0].phone_number

    @pytest.mark.parametrize(("year", "status"), [(2000, 400), (1990, 202)])
    def test_the_earliest_year_by_reading(self, asking, year, status):
        """An event of 1995 is refused or accepted, by the reading."""
        ask = asking(KlaviyoSimulator(Readings(earliest_year=year)))
        assert ask.event(email="ann@shop.org", time="1995-01-01T00:00:00Z").status == status

    def test_an_unknown_field_is_ignored_by_reading(self, asking):
        """A lenient reading accepts fields that the schema does not name."""
        ask = asking(KlaviyoSimulator(Readings(unknown_fields="ignored")))
        assert (
            ask.raw_event("A", {"type": "profile", "attributes": {"email": "ann@shop.org"}}, color="red").status == 202
        )

    def test_they_are_listed(self, simulator, ask):
        """Get Events lists what was recorded, of all or of one profile, with the unique id and the value inside."""
        who = {"type": "profile", "attributes": {"email": "ann@shop.org"}}
        ask.raw_event("A", who, {"x": 1}, unique_id="u", value=2, value_currency="EUR")
        ask.event("B", email="bob@shop.org", time="2026-01-01T00:00:00Z")
        simulator.drain()
        ann = simulator.find(email="ann@shop.org").id
        (shown,) = ask.json("GET", f'/api/events?filter=equals(profile_id,"{ann}")')["data"]
        assert {"x": 1, "$event_id": "u", "$value": 2, "$value_currency": "EUR"} == shown["attributes"][
            "event_properties"
        ]
        both = ask.json("GET", "/api/events")["data"]
        assert ["1767225600", "u"] == [row["attributes"]["event_properties"]["$event_id"] for row in both]
        assert ask("GET", "/api/events?filter=has(email)").status == 400
