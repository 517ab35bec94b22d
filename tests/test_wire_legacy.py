"""The legacy dialect's requests and answers: special keys, what that API cannot say, and what `0` means."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from safeklaviyo.errors import BadRequestError, GoneError, InvalidIdentifierError, InvalidPropertyError, RateLimitError
from safeklaviyo.identity import Identity, Kind
from safeklaviyo.models import CLEAR
from support.values import NOTHING, Event, Person, person_from
from support.wire import Repeat, Request, Response, Secret, UnreadableAnswer, error_from, legacy

ANN = Identity("cust-1", "ann@shop.ch")
KEY = "pk_0123456789"
HELD = Secret(KEY)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ORDER = Event("Placed Order", {"OrderId": "7"}, None, None, NOON, "order-7")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def sent(request: Request) -> Any:
    """Return the JSON in a form, as a server decodes it."""
    assert request.body is not None
    assert ("POST", "application/x-www-form-urlencoded") == (request.method, request.content_type)
    [(name, value)] = parse_qsl(request.body.decode("ascii"), strict_parsing=True)
    assert "data" == name
    return json.loads(value)


def query_of(request: Request) -> dict[str, str]:
    """Return a request's query, as a server decodes it."""
    assert request.body is None
    assert request.path.isascii()
    query = parse_qs(urlsplit(request.path).query, keep_blank_values=True, strict_parsing=True)
    return {name: value for name, [value] in query.items()}


def answer(body: object, status: int = 200) -> Response:
    """Return an answer with a JSON body, or with the bytes given."""
    return Response(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())


def test_identify_speaks_in_special_keys() -> None:
    """The pair and Klaviyo's own fields get their dollar sign; the shop's own properties stay as they are."""
    person, _ = person_from(
        {"first_name": "Zoë", "$city": "Bern", "$latitude": 46.9, "city": "home", "$source": "till"}
    )
    request = legacy.identify("PubKey", ANN, person)
    properties = {
        "$id": "cust-1", "$email": "ann@shop.ch", "$first_name": "Zoë", "$city": "Bern", "$latitude": 46.9,
        "city": "home", "$source": "till",
    }  # fmt: skip
    assert {"token": "PubKey", "properties": properties} == sent(request)
    assert ("/api/identify", Repeat.IDEMPOTENT) == (request.path, request.repeat)


def test_track_fixes_its_key_and_time() -> None:
    """P5: an event carries its key and its time in unix seconds, and names its customer by the pair."""
    event = Event("Placed Order", {"OrderId": "7"}, 9.9, "CHF", NOON, "order-7")
    request = legacy.track("PubKey", event, ANN, Person(properties={"plan": "gold"}))
    expected = {
        "token": "PubKey",
        "event": "Placed Order",
        "customer_properties": {"$id": "cust-1", "$email": "ann@shop.ch", "plan": "gold"},
        "properties": {"OrderId": "7", "$event_id": "order-7", "$value": 9.9, "$value_currency": "CHF"},
        "time": 1_795_435_200,
    }
    assert expected == sent(request)
    assert ("/api/track", Repeat.KEYED) == (request.path, request.repeat)
    assert {"OrderId": "7"} == event.properties


def test_what_is_not_given_is_not_sent() -> None:
    """A guest is named by email alone, and an event without a value has none."""
    document = sent(legacy.track("PubKey", ORDER, Identity(None, "ann@shop.ch"), NOTHING))
    assert {"$email": "ann@shop.ch"} == document["customer_properties"]
    assert {"OrderId": "7", "$event_id": "order-7"} == document["properties"]
    assert {"$id": "cust-1"} == sent(legacy.identify("PubKey", Identity("cust-1"), NOTHING))["properties"]


@pytest.mark.parametrize(
    ("properties", "changes", "path", "why"),
    [
        ({"first_name": CLEAR}, {}, "properties.first_name", "cannot be cleared"),
        ({"$city": CLEAR}, {}, "properties.city", "cannot be cleared"),
        ({"plan": CLEAR}, {}, "properties.plan", "cannot be cleared"),
        ({"ann@shop.ch": CLEAR}, {}, "properties.a***@***", "cannot be cleared"),
        ({"locale": "de-CH"}, {}, "properties.locale", "not known to the legacy API"),
        ({"$ip": "10.0.0.1"}, {}, "properties.ip", "not known to the legacy API"),
        ({}, {"append": {"tags": 1}}, "properties", "cannot append, unappend or unset"),
        ({}, {"unappend": {"tags": 1}}, "properties", "cannot append, unappend or unset"),
        ({}, {"unset": "tags"}, "properties", "cannot append, unappend or unset"),
    ],
)
def test_what_the_legacy_api_cannot_say_is_refused(properties: Any, changes: Any, path: str, why: str) -> None:
    """What Track and Identify have no way to say is refused before sending, and the error names the way out."""
    person, _ = person_from(properties, **changes)
    with pytest.raises(InvalidPropertyError, match=why) as caught:
        legacy.identify("PubKey", ANN, person)
    assert path == caught.value.path
    assert 'dialect="current"' in str(caught.value)
    with pytest.raises(InvalidPropertyError, match=why) as caught:
        legacy.track("PubKey", ORDER, ANN, person)
    assert f"customer_{path}" == caught.value.path


def test_a_backfill_would_run_flows() -> None:
    """An event that must not trigger flows is refused, because this API would trigger them."""
    event = Event("Placed Order", {}, None, None, NOON, "order-7", backfill=True)
    with pytest.raises(InvalidPropertyError) as caught:
        legacy.track("PubKey", event, ANN, NOTHING)
    assert "backfill" == caught.value.path


@given(st.sampled_from([Kind.EMAIL, Kind.EXTERNAL_ID, Kind.PHONE_NUMBER]), TEXT)
@settings(max_examples=150, deadline=None)
@example(Kind.EMAIL, "ann+news@shop.ch")
@example(Kind.EXTERNAL_ID, "1&email=victim@shop.ch#")
def test_f6_a_search_asks_for_exactly_one_value(kind: Kind, value: str) -> None:
    """F-6: whatever is in an identifier, the server decodes that one parameter with exactly that value."""
    request = legacy.search_person(HELD, kind, value)
    assert {"api_key": KEY, kind.value: value} == query_of(request)
    assert ("GET", Repeat.READ) == (request.method, request.repeat)
    assert request.path.startswith("/api/v2/people/search?")


def test_a_person_is_not_searched_for_by_profile_id() -> None:
    """The search knows no profile ids."""
    with pytest.raises(InvalidIdentifierError) as caught:
        legacy.search_person(HELD, Kind.PROFILE_ID, "abc123")
    assert "profile_id" == caught.value.identifier_kind


def test_a_person_is_read_and_changed_by_its_id() -> None:
    """One person is named by the path, and what changes of it by the query."""
    read = legacy.get_person(HELD, "abc123")
    assert ("GET", "/api/v1/person/abc123", Repeat.READ) == (read.method, urlsplit(read.path).path, read.repeat)
    assert {"api_key": KEY} == query_of(read)
    changed = legacy.update_person(
        HELD, "abc123", external_id="a&b", email="ann+1@shop.ch", phone_number="+41791234567"
    )
    assert ("PUT", "/api/v1/person/abc123") == (changed.method, urlsplit(changed.path).path)
    assert Repeat.IDEMPOTENT is changed.repeat
    expected = {"api_key": KEY, "$id": "a&b", "$email": "ann+1@shop.ch", "$phone_number": "+41791234567"}
    assert expected == query_of(changed)
    assert {"api_key": KEY} == query_of(legacy.update_person(HELD, "abc123"))


@pytest.mark.parametrize("name", ["external_id", "phone_number"])
def test_an_identifier_is_not_cleared_in_the_legacy_api(name: str) -> None:
    """Clearing an identifier is refused, because nothing says how it would be done."""
    with pytest.raises(InvalidPropertyError) as caught:
        legacy.update_person(HELD, "abc123", **{name: CLEAR})
    assert name == caught.value.path


@pytest.mark.parametrize("profile_id", ["..", "a/b", "a?api_key=x", ""])
def test_f7_no_request_leaves_its_path(profile_id: str) -> None:
    """F-7: an id that is not made of letters and digits is refused by both requests that carry it."""
    for build in (legacy.get_person, legacy.update_person):
        with pytest.raises(InvalidIdentifierError):
            build(HELD, profile_id)


def test_f27_the_key_in_a_query_shows_nowhere() -> None:
    """F-27: the key, which these endpoints take in the query, is in no repr of a request and in no error."""
    requests = [
        legacy.search_person(HELD, Kind.EMAIL, "ann@shop.ch"),
        legacy.get_person(HELD, "abc123"),
        legacy.update_person(HELD, "abc123", email="ann@shop.ch"),
        legacy.identify("PubKey", ANN, NOTHING),
        legacy.track("PubKey", ORDER, ANN, NOTHING),
    ]
    body = {"status": 403, "message": f"The API key specified is invalid. {KEY} ann@shop.ch"}
    shown = " ".join([*map(repr, requests), str(error_from(answer(body, 403), outcome="not_applied"))])
    for secret in (KEY, "PubKey", "ann@shop.ch", "cust-1"):
        assert secret not in shown


@pytest.mark.parametrize("body", [b"1", b" 1\n"])
def test_one_is_accepted(body: bytes) -> None:
    """The body `1` says that the request was queued."""
    assert None is legacy.failure_in(answer(body))


def test_p7_zero_is_refused() -> None:
    """P7: the body `0` says with a successful status that nothing was done."""
    error = legacy.failure_in(answer(b"0"))
    assert isinstance(error, BadRequestError)
    assert ("not_applied", 200, False) == (error.outcome, error.status_code, error.may_retry)


def test_a_search_finds_somebody_or_nobody() -> None:
    """A search names one person, or says that there is none."""
    assert "abc123" == legacy.read_search(answer({"id": "abc123"}))
    nobody = {"detail": "There is no profile matching the given parameters."}
    assert None is legacy.read_search(answer(nobody, 404))


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"<html>", 404), ({"id": "abc123"}, 404), ({}, 404), ([], 404), (b"", 200), ({"id": None}, 200),
     ({"id": "../x"}, 200), ({"detail": "There is no profile"}, 200), (b"[" * 100_000, 200)],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_f3_a_search_that_cannot_be_read_found_nobody_in_no_case(body: object, status: int) -> None:
    """F-3: an answer that is not in Klaviyo's form, such as a proxy's 404, is unreadable and not "nobody"."""
    with pytest.raises(UnreadableAnswer):
        legacy.read_search(answer(body, status))


def test_a_person_is_read_into_the_same_model() -> None:
    """Special keys become Klaviyo's fields, whatever is written twice is read once, and the rest is the shop's."""
    read = legacy.read_person(
        answer(
            {
                "object": "person",
                "id": "abc123",
                "$email": "",
                "email": "ann@shop.ch",
                "$id": "cust-1",
                "$first_name": "Ann",
                "first_name": "Ann",
                "$title": "",
                "$phone_number": "",
                "$city": "Bern",
                "$latitude": "46.9",
                "created": "2021-11-04 09:06:13",
                "updated": "2021-11-04T09:06:13+01:00",
                "plan": "gold",
                "title": "boss",
                "$consent": ["email"],
            }
        )
    )
    assert ("abc123", "cust-1", "ann@shop.ch", None) == (read.id, read.external_id, read.email, read.phone_number)
    assert ("Ann", None, None) == (read.first_name, read.last_name, read.title)
    assert {"city": "Bern", "latitude": "46.9"} == read.location
    assert {"plan": "gold", "title": "boss", "$consent": ["email"]} == read.properties
    assert datetime(2021, 11, 4, 9, 6, 13, tzinfo=UTC) == read.created
    assert datetime(2021, 11, 4, 8, 6, 13, tzinfo=UTC) == read.updated


@given(st.dictionaries(st.sampled_from(["$first_name", "created", "$city", "plan", "updated", "$image", "first_name"]),
                       st.none() | st.integers() | TEXT | st.lists(st.integers(), max_size=2)))  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_f23_a_person_is_read_whatever_else_it_holds(attributes: dict[str, Any]) -> None:
    """F-23: an unexpected type in a field leaves that field out."""
    read = legacy.read_person(answer({**attributes, "id": "abc123", "$id": "1", "$email": "ann@shop.ch"}))
    assert ("abc123", "1", "ann@shop.ch") == (read.id, read.external_id, read.email)


@pytest.mark.parametrize(
    "body",
    [b"1", {}, {"id": 7}, {"id": "abc123", "$email": ["a"]},
     {"id": "abc123", "$email": []}, {"id": "abc123", "email": False}],
)  # fmt: skip
def test_a_body_that_holds_no_person_is_unreadable(body: object) -> None:
    """An answer without an id, or with an identifier that is no text, is reported as unreadable."""
    with pytest.raises(UnreadableAnswer):
        legacy.read_person(answer(body))


def test_a_retired_endpoint_says_how_to_go_on() -> None:
    """The 410 that Klaviyo's own host answers becomes an error that names the current dialect."""
    body = {"message": "This API has been retired and is no longer in service."}
    error = error_from(answer(body, 410), outcome="not_applied")
    assert isinstance(error, GoneError)
    assert 'dialect="current"' in str(error)


def test_a_legacy_429_says_its_wait_in_words() -> None:
    """The People endpoints name the wait in their body only."""
    body = {"detail": "Request was throttled. Expected available in 56.0 seconds."}
    error = error_from(answer(body, 429), outcome="not_applied")
    assert isinstance(error, RateLimitError)
    assert 56.0 == error.retry_after


def test_each_request_is_paced_by_its_own_endpoint() -> None:
    """A request names its endpoint, apart from the other legacy ones and the current ones; People are the slowest."""
    built = {
        "legacy_get_person": legacy.get_person(HELD, "abc123"),
        "legacy_identify": legacy.identify("PubKey", ANN, NOTHING),
        "legacy_search_person": legacy.search_person(HELD, Kind.EMAIL, "ann@shop.ch"),
        "legacy_track": legacy.track("PubKey", ORDER, ANN, NOTHING),
        "legacy_update_person": legacy.update_person(HELD, "abc123"),
    }
    assert list(built) == [request.endpoint.name for request in built.values()]
    assert list(built) == [endpoint.name for endpoint in legacy.ENDPOINTS]
    limits = [(endpoint.burst, endpoint.steady) for endpoint in legacy.ENDPOINTS]
    assert [(10, 150), (75, 750), (10, 150), (350, 3500), (10, 150)] == limits
