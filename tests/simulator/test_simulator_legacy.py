"""The retired Track, Identify and People endpoints: gone, and alive."""

from __future__ import annotations

import base64
import json
from urllib.parse import urlencode

import pytest

from safeklaviyo.testing import KlaviyoSimulator, Readings

FORM = {"content-type": "application/x-www-form-urlencoded"}
PATHS = [
    ("POST", "/api/track"), ("GET", "/api/track"), ("POST", "/api/identify"), ("GET", "/api/v2/people/search"),
    ("GET", "/api/v1/person/01X"), ("PUT", "/api/v1/person/01X"),
]  # fmt: skip


@pytest.fixture
def simulator():
    """A pretend Klaviyo of the days before the retirement."""
    return KlaviyoSimulator(legacy="alive", start=1_790_000_000)


def said(simulator, path, document, way):
    """Say something in one of the three ways of sending."""
    text = json.dumps(document)
    if way == "base64":
        data = base64.b64encode(text.encode()).decode()
        return simulator.handle("GET", f"{path}?{urlencode({'data': data})}", {})
    if way == "form":
        return simulator.handle("POST", path, FORM, urlencode({"data": text}).encode())
    return simulator.handle("POST", path, {"content-type": "application/json"}, text.encode())


def track(simulator, customer, properties=None, way="json", **more):
    """Record an event about a customer."""
    document = {
        "token": "SiMuLa",
        "event": "Ordered",
        "customer_properties": customer,
        "properties": properties or {},
        **more,
    }
    return said(simulator, "/api/track", document, way)


def people(simulator, method, path, body=b"", **query):
    """Ask a People endpoint, with a key."""
    return simulator.handle(method, f"{path}?{urlencode({'api_key': 'pk_x', **query})}", FORM, body)


@pytest.mark.parametrize("status", [410, 404])
@pytest.mark.parametrize(("method", "path"), PATHS)
def test_they_are_gone(method, path, status):
    """By default every legacy path answers 410, or 404 by the reading, with Klaviyo's words, and nothing changes."""
    simulator = KlaviyoSimulator(Readings(retired_status=status))
    answer = simulator.handle(
        method, path, {}, b'{"token":"x","event":"A","customer_properties":{"$email":"ann@shop.org"}}'
    )
    simulator.drain()
    assert (status, [], False) == (answer.status, simulator.profiles, simulator.journal[0].committed)
    assert json.loads(answer.body)["message"].startswith("This API has been retired and is no longer in service.")


@pytest.mark.parametrize("way", ["json", "form", "base64"])
def test_track_records_later(simulator, way):
    """Track answers 1, in each of three ways of sending, and records the event and the person later."""
    answer = track(
        simulator, {"$email": "ann@shop.org", "$id": 7, "$first_name": "Ann", "$city": "Rome", "plan": "pro"},
        {"$event_id": 12, "$value": 9.5, "$value_currency": "EUR", "item": "Boots"}, way, time=1_387_302_423,
    )  # fmt: skip
    assert (200, b"1", "text/html; charset=utf-8") == (answer.status, answer.body, answer.headers["content-type"])
    assert simulator.events == []
    simulator.drain()
    (event,), (ann,) = simulator.events, simulator.profiles
    assert ("Ordered", "12", 9.5, "EUR", 1_387_302_423, {"item": "Boots"}) == (
        event.metric, event.unique_id, event.value, event.value_currency, event.time, event.properties,
    )  # fmt: skip
    assert ("7", "ann@shop.org", {"first_name": "Ann", "location": {"city": "Rome"}}, {"plan": "pro"}) == (
        ann.external_id, ann.email, ann.attributes, ann.properties,
    )  # fmt: skip
    assert simulator.journal[0].committed


def test_track_without_a_time_is_now(simulator):
    """An event without a time, a value or an id has the time of receipt, no value and no id."""
    track(simulator, {"email": "ann@shop.org"}, {"$value": "x"})
    simulator.drain()
    (event,) = simulator.events
    assert (1_790_000_000, None, None) == (event.time, event.value, event.unique_id)


@pytest.mark.parametrize("way", ["json", "form", "base64"])
def test_identify_writes_later(simulator, way):
    """Identify answers 1, and creates or updates the person later, patches included."""
    simulator.add_profile(email="ann@shop.org", properties={"tags": ["x"], "old": 1})
    patches = {"$append": {"tags": "y"}, "$unappend": {"tags": "x"}, "$unset": ["old"]}
    document = {"token": "SiMuLa", "properties": {"$email": "ANN@shop.org", "$id": "7", **patches}}
    assert said(simulator, "/api/identify", document, way).body == b"1"
    simulator.drain()
    (ann,) = simulator.profiles
    assert ("7", {"tags": ["y"]}, []) == (ann.external_id, ann.properties, simulator.events)


def test_identify_of_nobody_creates_nobody(simulator):
    """Identify without an identifier is accepted and comes to nothing, an event is dropped."""
    assert said(simulator, "/api/identify", {"token": "x", "properties": {"$first_name": "Ann"}}, "json").body == b"1"
    assert track(simulator, {}).body == b"1"
    simulator.drain()
    assert (0, 1) == (len(simulator.profiles), len(simulator.dropped))


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/api/track", {"event": "A", "customer_properties": {"$email": "a@b.co"}}),
        ("/api/track", {"token": "x", "customer_properties": {"$email": "a@b.co"}}),
        ("/api/track", {"token": "x", "event": "A", "customer_properties": {"$email": "nobody"}}),
        ("/api/track", {"token": "x", "event": "A", "customer_properties": {"$id": ["7"]}}),
        ("/api/track", []), ("/api/identify", {"properties": {"$email": "a@b.co"}}), ("/api/identify", "x"),
        ("/api/identify", {"token": "x", "properties": {"$phone_number": "1"}}),
    ],
)  # fmt: skip
def test_what_is_not_understood_answers_0(simulator, path, document):
    """What is no object, has no token, or a malformed identifier answers 200 with 0, and comes to nothing."""
    answer = said(simulator, path, document, "form")
    assert (200, b"0", []) == (answer.status, answer.body, simulator.pending)
    assert not simulator.journal[0].committed


@pytest.mark.parametrize("target", ["/api/track", "/api/track?data=%25", "/api/track?data=e30", "/api/track?data=W10="])
def test_broken_base64_answers_0(simulator, target):
    """Data that is missing, or is no base64 of an object, answers 0."""
    assert simulator.handle("GET", target, {}).body == b"0"


def test_a_raw_plus_in_base64_is_understood(simulator):
    """Base64 whose plus signs were not encoded, and so arrive as spaces, is understood all the same."""
    data = base64.b64encode(b'{"token":"x","event":">>>","customer_properties":{"$email":"a@b.co"}}').decode()
    assert "+" in data
    assert simulator.handle("GET", f"/api/track?data={data}", {}).body == b"1"


def test_a_pixel_is_asked_for(simulator):
    """With i=1 the answer is an image of one pixel."""
    answer = simulator.handle("GET", "/api/track?i=1", {})
    assert (200, "image/gif", b"GIF89a") == (answer.status, answer.headers["content-type"], answer.body[:6])


class TestPeople:
    def test_search(self, simulator):
        """People search answers the id, 404 with Klaviyo's words for nobody, 400 for none or two identifiers."""
        ann = simulator.add_profile(email="ann@shop.org", external_id="7", phone_number="+12025550123")
        for identifier in ({"email": "Ann@shop.org"}, {"external_id": "7"}, {"phone_number": "+12025550123"}):
            answer = people(simulator, "GET", "/api/v2/people/search", **identifier)
            assert (200, {"id": ann.id}) == (answer.status, json.loads(answer.body))
        nobody = people(simulator, "GET", "/api/v2/people/search", email="bob@shop.org")
        assert (404, {"detail": "There is no profile matching the given parameters."}) == (
            nobody.status, json.loads(nobody.body),
        )  # fmt: skip
        assert people(simulator, "GET", "/api/v2/people/search").status == 400
        assert people(simulator, "GET", "/api/v2/people/search", email="a@b.co", external_id="7").status == 400

    @pytest.mark.parametrize(
        ("query", "words"),
        [("", "You must specify an API key to make requests."), ("?api_key=x", "The API key specified is invalid.")],
    )
    def test_keys(self, simulator, query, words):
        """A missing and a wrong key answer 403, each in its words."""
        answer = simulator.handle("GET", f"/api/v1/person/01X{query}", {})
        assert (403, {"status": 403, "message": words}) == (answer.status, json.loads(answer.body))

    def test_get(self, simulator):
        """A person is shown with marked and plain names, and its own properties; an unknown one answers 404."""
        ann = simulator.add_profile(
            email="ann@shop.org",
            external_id="7",
            first_name="Ann",
            location={"city": "Rome"},
            properties={"plan": "pro"},
        )
        shown = json.loads(people(simulator, "GET", f"/api/v1/person/{ann.id}").body)
        assert {
            "object": "person", "id": ann.id, "$id": "7", "$email": "ann@shop.org", "email": "ann@shop.org",
            "$first_name": "Ann", "first_name": "Ann", "$city": "Rome", "plan": "pro", "created": "2026-09-21 14:13:20",
        }.items() <= shown.items()  # fmt: skip
        assert people(simulator, "GET", "/api/v1/person/01X").status == 404

    @pytest.mark.parametrize("way", ["query", "form"])
    def test_put(self, simulator, way):
        """PUT changes an identifier and properties, from the query or a form, and returns the person."""
        ann = simulator.add_profile(email="ann@shop.org", properties={"old": 1, "$": 1})
        given = {"$email": "new@shop.org", "plan": "pro", "$unset": '["old"]', "$append": "broken"}
        path = f"/api/v1/person/{ann.id}"
        if way == "query":
            answer = people(simulator, "PUT", path, **given)
        else:
            answer = simulator.handle("PUT", path, FORM, urlencode({"api_key": "pk_x", **given}).encode())
        assert (200, "new@shop.org") == (answer.status, json.loads(answer.body)["$email"])
        assert {"plan": "pro", "$": 1} == simulator.profiles[0].properties
        journal = simulator.journal[0]
        assert (True, False) == (journal.committed, "api_key" in (journal.body or journal.query))

    def test_put_refuses_what_is_taken_or_malformed(self, simulator):
        """PUT with somebody else's or a malformed identifier, or of nobody, is refused and changes nothing."""
        simulator.add_profile(email="bob@shop.org")
        ann = simulator.add_profile(email="ann@shop.org")
        path = f"/api/v1/person/{ann.id}"
        statuses = [people(simulator, "PUT", path, **{"$email": email}).status for email in ("bob@shop.org", "nobody")]
        assert [409, 400] == statuses
        assert people(simulator, "PUT", "/api/v1/person/01X", **{"$email": "x@shop.org"}).status == 404
        assert "ann@shop.org" == next(each.email for each in simulator.profiles if each.id == ann.id)


@pytest.mark.parametrize(
    ("scene", "customer", "left"),
    [
        ({"external_id": "7", "email": "ann@shop.org"}, {"$id": "7"}, [("7", "ann@shop.org")]),
        ({"external_id": "7", "email": "ann@shop.org"}, {"$email": "ann@shop.org"}, [("7", "ann@shop.org")]),
        ({"external_id": "7"}, {"$id": "7", "$email": "ann@shop.org"}, [("7", "ann@shop.org")]),
        ({"email": "ann@shop.org"}, {"$id": "7", "$email": "ann@shop.org"}, [("7", "ann@shop.org")]),
        (
            {"external_id": "7", "email": "ann@shop.org"},
            {"$id": "8", "$email": "ann@shop.org"},
            [("8", "ann@shop.org")],
        ),
        ({"external_id": "7"}, {"$email": "ann@shop.org"}, [("7", None), (None, "ann@shop.org")]),
    ],
)
def test_the_six_situations(simulator, scene, customer, left):
    """Track settles identities as Klaviyo's staff describe; in the sixth situation it makes the duplicate."""
    simulator.add_profile(**scene)
    track(simulator, customer)
    simulator.drain()
    assert left == [(profile.external_id, profile.email) for profile in simulator.profiles]
