"""The current dialect's requests: paths, bodies, and what repeating them can do."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from safeklaviyo.errors import InvalidIdentifierError, InvalidPropertyError
from safeklaviyo.identity import Identity, Kind
from safeklaviyo.models import CLEAR
from support.values import NOTHING, Event, Person
from support.wire import Repeat, Request, current

ANN = Identity("cust-1", "ann@shop.ch")
PROFILE_ID = "01GDDKASAP8TKDDA2GRZDSVP4H"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ORDER = Event("Placed Order", {"OrderId": "7"}, None, None, NOON, "order-7")
PERSON = Person(
    attributes={"first_name": "Ann", "title": None, "location": {"city": "Bern", "zip": None}},
    properties={"plan": "gold", "gone": None},
    append={"tags": "a"},
    unappend={"lists": ["b"]},
    unset=("old",),
)
CLAUSE = re.compile(r'(?P<operator>[a-z-]+)\((?P<field>[a-z_]+),"(?P<text>(?:[^"\\]|\\.)*)"\)', re.DOTALL)
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
ADVERSARIAL = st.text(st.sampled_from("ab\"\\+,() &=%#'\n\té☃😀@"), max_size=20)


def document(request: Request) -> Any:
    """Return the body as JSON."""
    assert request.body is not None
    assert "application/vnd.api+json" == request.content_type
    return json.loads(request.body)


def clause_in(request: Request) -> tuple[str, str, str]:
    """Read a request's filter back: its one clause, as an independent reader of Klaviyo's filter language sees it."""
    query = urlsplit(request.path).query
    assert "+" not in query
    (name, _, value), *others = [part.partition("=") for part in query.split("&")]
    assert ("filter", []) == (name, others)
    clause = CLAUSE.fullmatch(unquote(value, errors="strict"))
    assert clause is not None
    text = re.sub(
        r"\\(u[0-9a-f]{4}|.)",
        lambda escape: chr(int(escape[1][1:], 16)) if len(escape[1]) == 5 else ESCAPES.get(escape[1], escape[1]),
        clause["text"],
        flags=re.DOTALL,
    )
    return clause["operator"], clause["field"], text


@given(
    st.sampled_from([(Kind.EMAIL, "email"), (Kind.EXTERNAL_ID, "external_id"), (Kind.PHONE_NUMBER, "phone_number")]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | ADVERSARIAL,
)
@settings(max_examples=300, deadline=None)
@example((Kind.EXTERNAL_ID, "external_id"), 'x"),equals(email,"victim@shop.ch')
@example((Kind.EXTERNAL_ID, "external_id"), "cust 12")
@example((Kind.EMAIL, "email"), "ann+news@shop.ch")
@example((Kind.EXTERNAL_ID, "external_id"), "\\")
def test_f6_a_search_asks_for_exactly_one_value(kind_and_field: tuple[Kind, str], value: str) -> None:
    """F-6: whatever is in an identifier, the filter read back is the one clause with that value and nothing else."""
    kind, field = kind_and_field
    request = current.search_profiles(kind, value)
    assert ("equals", field, value) == clause_in(request)
    assert request.path.isascii()
    assert ("GET", Repeat.READ, None) == (request.method, request.repeat, request.body)


def test_a_search_by_profile_id_uses_klaviyos_name() -> None:
    """A profile id is called id in Klaviyo's filters."""
    assert ("equals", "id", PROFILE_ID) == clause_in(current.search_profiles(Kind.PROFILE_ID, PROFILE_ID))


def test_a_page_of_profiles_is_asked_for() -> None:
    """A filter, an order and a size travel percent-encoded, and only what is given travels."""
    request = current.list_profiles(
        filter="greater-than(updated,2026-01-01T00:00:00+00:00)", sort="-updated", page_size=5
    )
    query = parse_qs(urlsplit(request.path).query, strict_parsing=True)
    wanted = {"filter": ["greater-than(updated,2026-01-01T00:00:00+00:00)"], "sort": ["-updated"], "page[size]": ["5"]}
    assert wanted == query
    assert "/api/profiles?page%5Bsize%5D=100" == current.list_profiles().path


def test_f30_a_next_page_stays_at_its_host() -> None:
    """F-30: of a next page's link only path and query are used."""
    link = "https://evil.example/api/profiles/?page%5Bcursor%5D=bmV4dA"
    assert "/api/profiles?page%5Bcursor%5D=bmV4dA" == current.list_profiles(cursor_url=link).path
    with pytest.raises(current.UnreadableAnswer):
        current.list_profiles(cursor_url="https://a.klaviyo.com/api/accounts?x=1")


def test_a_profile_is_read_by_its_id() -> None:
    """One profile is asked for by its path, with its consent where that is wanted."""
    assert f"/api/profiles/{PROFILE_ID}" == current.get_profile(PROFILE_ID).path
    request = current.get_profile(PROFILE_ID, subscriptions=True)
    assert f"/api/profiles/{PROFILE_ID}?additional-fields%5Bprofile%5D=subscriptions" == request.path


@given(st.text(max_size=12).filter(lambda text: not (text.isascii() and text.isalnum())))
@settings(max_examples=100, deadline=None)
@example("..")
@example("../accounts")
def test_f7_no_request_leaves_its_path(profile_id: str) -> None:
    """F-7: an id that is not made of letters and digits is refused by every request that would carry it."""
    for build in (
        current.get_profile,
        current.request_deletion,
        lambda value: current.update_profile(value, NOTHING),
        lambda value: current.merge_profiles(value, PROFILE_ID),
        lambda value: current.merge_profiles(PROFILE_ID, value),
    ):
        with pytest.raises(InvalidIdentifierError):
            build(profile_id)


def test_a_profile_is_created_with_the_pair_and_first_values() -> None:
    """A create carries both identifiers, appended values as lists, and nothing to clear or remove."""
    request = current.create_profile(ANN, PERSON)
    expected = {
        "data": {
            "type": "profile",
            "attributes": {
                "first_name": "Ann",
                "location": {"city": "Bern"},
                "properties": {"plan": "gold", "tags": ["a"]},
                "external_id": "cust-1",
                "email": "ann@shop.ch",
            },
        }
    }
    assert expected == document(request)
    assert ("POST", "/api/profiles", Repeat.IDEMPOTENT) == (request.method, request.path, request.repeat)
    listed = current.create_profile(Identity(None, "ann@shop.ch"), Person(append={"tags": ["a", "b"]}))
    assert {"email": "ann@shop.ch", "properties": {"tags": ["a", "b"]}} == document(listed)["data"]["attributes"]
    bare = current.create_profile(Identity("cust-1"), Person({"location": {"zip": None}}))
    assert {"external_id": "cust-1"} == document(bare)["data"]["attributes"]


def test_f15_an_update_sends_only_what_is_given() -> None:
    """F-15: an update carries no field that was not given, and null only for what is cleared."""
    request = current.update_profile(PROFILE_ID, PERSON)
    expected = {
        "data": {
            "type": "profile",
            "id": PROFILE_ID,
            "attributes": {
                "first_name": "Ann",
                "title": None,
                "location": {"city": "Bern", "zip": None},
                "properties": {"plan": "gold", "gone": None},
            },
            "meta": {"patch_properties": {"append": {"tags": "a"}, "unappend": {"lists": ["b"]}, "unset": ["old"]}},
        }
    }
    assert expected == document(request)
    assert ("PATCH", f"/api/profiles/{PROFILE_ID}") == (request.method, request.path)
    empty = current.update_profile(PROFILE_ID, NOTHING)
    assert {"data": {"type": "profile", "id": PROFILE_ID, "attributes": {}}} == document(empty)


def test_identifiers_are_moved_or_cleared() -> None:
    """A verb that changes an identifier sends it, and CLEAR sends null."""
    moved = current.update_profile(PROFILE_ID, NOTHING, external_id="1", email="a@shop.ch", phone_number="+12345678901")
    expected = {"external_id": "1", "email": "a@shop.ch", "phone_number": "+12345678901"}
    assert expected == document(moved)["data"]["attributes"]
    cleared = current.update_profile(PROFILE_ID, NOTHING, external_id=CLEAR, phone_number=CLEAR)
    assert {"external_id": None, "phone_number": None} == document(cleared)["data"]["attributes"]


@pytest.mark.parametrize(
    ("person", "repeat"),
    [
        (Person(properties={"a": 1}, unset=("b",)), Repeat.IDEMPOTENT),
        (Person(append={"a": 1}), Repeat.ONCE),
        (Person(unappend={"a": 1}), Repeat.ONCE),
    ],
)
def test_f19_lists_are_not_changed_twice(person: Person, repeat: Repeat) -> None:
    """F-19: an update that changes lists is not repeated after an unknown outcome; one that sets fields may be."""
    assert repeat is current.update_profile(PROFILE_ID, person).repeat


def test_an_event_names_its_profile_three_times() -> None:
    """An event carries profile id, external id and email, its key and its time, and what is given besides."""
    event = Event("Placed Order", {"OrderId": "7"}, 9.9, "CHF", NOON, "order-7", backfill=True)
    request = current.create_event(
        event, profile_id=PROFILE_ID, external_id="cust-1", email="ann@shop.ch", person=PERSON
    )
    patch = {"append": {"tags": "a"}, "unappend": {"lists": ["b"]}, "unset": ["old"]}
    profile = {
        "type": "profile",
        "id": PROFILE_ID,
        "attributes": {
            "first_name": "Ann",
            "title": None,
            "location": {"city": "Bern", "zip": None},
            "properties": {"plan": "gold", "gone": None},
            "external_id": "cust-1",
            "email": "ann@shop.ch",
        },
        "meta": {"patch_properties": patch},
    }
    attributes = {
        "properties": {"OrderId": "7"},
        "time": "2026-11-23T12:00:00+00:00",
        "unique_id": "order-7",
        "metric": {"data": {"type": "metric", "attributes": {"name": "Placed Order"}}},
        "profile": {"data": profile},
        "value": 9.9,
        "value_currency": "CHF",
        "backfill": True,
    }
    assert {"data": {"type": "event", "attributes": attributes}} == document(request)
    # The key makes the event count once, but not the value that is appended to the profile.
    assert ("POST", "/api/events", Repeat.ONCE) == (request.method, request.path, request.repeat)
    plain = current.create_event(event, profile_id="P1", external_id=None, email=None)
    assert Repeat.KEYED == plain.repeat


def test_an_event_can_name_its_profile_by_id_alone() -> None:
    """What is not given is not sent: neither identifiers nor value, currency and backfill."""
    sent = document(current.create_event(ORDER, profile_id=PROFILE_ID, external_id=None, email=None))
    attributes = sent["data"]["attributes"]
    assert {"properties", "time", "unique_id", "metric", "profile"} == set(attributes)
    assert {"data": {"type": "profile", "id": PROFILE_ID, "attributes": {}}} == attributes["profile"]
    by_email = document(current.create_event(ORDER, profile_id=None, external_id=None, email="ann@shop.ch"))
    expected = {"data": {"type": "profile", "attributes": {"email": "ann@shop.ch"}}}
    assert expected == by_email["data"]["attributes"]["profile"]


def test_f10_building_a_request_changes_nothing() -> None:
    """F-10: no request leaves one person's identifiers in what the next request is built from."""
    before = repr(vars_of(PERSON)), repr(vars_of(NOTHING))
    current.create_profile(ANN, PERSON)
    current.create_profile(ANN, NOTHING)
    current.update_profile(PROFILE_ID, NOTHING, email="a@shop.ch")
    current.update_profile(PROFILE_ID, PERSON, email="a@shop.ch")
    current.create_event(ORDER, profile_id=PROFILE_ID, external_id="1", email="a@shop.ch")
    current.create_event(ORDER, profile_id=PROFILE_ID, external_id="1", email="a@shop.ch", person=PERSON)
    assert before == (repr(vars_of(PERSON)), repr(vars_of(NOTHING)))


def vars_of(person: Person) -> list[Any]:
    """Return all that a person holds."""
    return [person.attributes, person.properties, person.append, person.unappend, person.unset]


def test_a_merge_names_one_source_and_the_survivor() -> None:
    """A merge's own id is the profile that survives, and it is never repeated after an unknown outcome."""
    request = current.merge_profiles("SOURCE", "SURVIVOR")
    sources = {"profiles": {"data": [{"type": "profile", "id": "SOURCE"}]}}
    expected = {"data": {"type": "profile-merge", "id": "SURVIVOR", "relationships": sources}}
    assert expected == document(request)
    assert ("POST", "/api/profile-merge", Repeat.ONCE) == (request.method, request.path, request.repeat)


def test_a_deletion_names_one_profile() -> None:
    """A deletion goes by profile id, never by an address that several profiles may have."""
    request = current.request_deletion(PROFILE_ID)
    profile = {"data": {"type": "profile", "id": PROFILE_ID, "attributes": {}}}
    assert {"data": {"type": "data-privacy-deletion-job", "attributes": {"profile": profile}}} == document(request)
    assert ("POST", "/api/data-privacy-deletion-jobs") == (request.method, request.path)


def test_the_account_is_asked_for() -> None:
    """Whose key it is, is a read."""
    request = current.get_account()
    assert ("GET", "/api/accounts", Repeat.READ) == (request.method, request.path, request.repeat)


def test_text_travels_as_it_is() -> None:
    """Letters beyond ASCII are sent as UTF-8, not as escapes, so that limits count what Klaviyo counts."""
    request = current.update_profile(PROFILE_ID, Person({"first_name": "Zoë😀"}))
    assert request.body is not None
    assert "Zoë😀".encode() in request.body


def test_what_klaviyo_would_not_take_is_refused_by_its_size() -> None:
    """A profile over 100 KB, one over 95 KB within an event, and a request over 5 MB are refused before sending."""
    rows = {str(number): "x" * 24_000 for number in range(4)}
    fits = Person(properties={**rows, "last": "x" * 3700})
    current.update_profile(PROFILE_ID, fits)
    large = Person(properties={**rows, "last": "x" * 4200})
    for build in (lambda: current.update_profile(PROFILE_ID, large), lambda: current.create_profile(ANN, large)):
        with pytest.raises(InvalidPropertyError, match="100 KB"):
            build()
    with pytest.raises(InvalidPropertyError, match="95 KB") as caught:
        current.create_event(ORDER, profile_id=PROFILE_ID, external_id=None, email=None, person=fits)
    assert "customer_properties" == caught.value.path
    wide = Event("Placed Order", {str(number): "x" * 24_000 for number in range(200)}, None, None, NOON, "order-7")
    current.create_event(wide, profile_id=PROFILE_ID, external_id=None, email=None)
    wider = Event("Placed Order", {str(number): "x" * 24_000 for number in range(210)}, None, None, NOON, "order-7")
    with pytest.raises(InvalidPropertyError, match="5 MB"):
        current.create_event(wider, profile_id=PROFILE_ID, external_id=None, email=None)


def test_the_largest_body_is_allowed_to_the_byte() -> None:
    """A profile, an event's profile and a request of exactly the largest size are sent; one byte more is refused."""

    def update(size: int) -> Request:
        return current.update_profile(PROFILE_ID, Person(properties={"a": "x" * size}))

    def track(size: int) -> Request:
        person = Person(properties={"a": "x" * size})
        return current.create_event(ORDER, profile_id=PROFILE_ID, external_id=None, email=None, person=person)

    def weight_of_profile(request: Request) -> int:
        return len(current.encoded(document(request)["data"]["attributes"]["profile"]["data"]))

    room = 100_000 - len(update(0).body or b"")
    assert 100_000 == len(update(room).body or b"")
    room_in_event = 95_000 - weight_of_profile(track(0))
    assert 95_000 == weight_of_profile(track(room_in_event))
    assert 5_000_000 == len(current.encoded({"a": "x" * (5_000_000 - 8)}))
    for build in (
        lambda: update(room + 1),
        lambda: track(room_in_event + 1),
        lambda: current.encoded({"a": "x" * (5_000_000 - 7)}),
    ):
        with pytest.raises(InvalidPropertyError):
            build()


@pytest.mark.parametrize("value", [{1}, float("nan"), "\ud800"])
def test_p8_what_was_changed_meanwhile_is_refused_without_quoting_it(value: object) -> None:
    """P8: properties that were changed after they had been checked are refused, and not shown."""
    with pytest.raises(InvalidPropertyError, match="changed while they were being sent") as caught:
        current.encoded({"secret": value})
    assert caught.value.__suppress_context__


def test_properties_made_endless_meanwhile_are_refused() -> None:
    """A mapping that was made to hold itself after it had been checked is refused."""
    endless: dict[str, Any] = {}
    endless["a"] = endless
    with pytest.raises(InvalidPropertyError):
        current.encoded(endless)


def test_p8_a_requests_repr_shows_neither_query_nor_body() -> None:
    """P8: a request shows its method and path only."""
    assert "Request(GET /api/profiles)" == repr(current.search_profiles(Kind.EMAIL, "ann@shop.ch"))
    assert "Request(POST /api/profiles)" == repr(current.create_profile(ANN, NOTHING))


def test_endpoints_are_paced_as_klaviyo_publishes() -> None:
    """Each endpoint has a name of its own and the burst and steady limits of Klaviyo's reference."""
    published = {
        "get_accounts": (1, 15),
        "create_event": (350, 3500),
        "add_profiles_to_list": (10, 150),
        "remove_profiles_from_list": (10, 150),
        "get_lists": (75, 750),
        "bulk_create_events": (10, 150),
        "bulk_import_profiles": (10, 150),
        "get_bulk_import_profiles_job": (10, 150),
        "get_errors_for_bulk_import_profiles_job": (10, 150),
        "bulk_subscribe_profiles": (75, 750),
        "bulk_suppress_profiles": (75, 750),
        "bulk_unsubscribe_profiles": (75, 750),
        "bulk_unsuppress_profiles": (75, 750),
        "create_profile": (75, 750),
        "get_events": (350, 3500),
        "get_list": (75, 750),
        "get_profile": (75, 750),
        "get_profiles": (75, 750),
        "get_profiles_for_list": (75, 750),
        "merge_profiles": (10, 150),
        "request_profile_deletion": (3, 60),
        "update_profile": (75, 750),
    }
    assert published == {endpoint.name: (endpoint.burst, endpoint.steady) for endpoint in current.ENDPOINTS}
    assert len(published) == len(current.ENDPOINTS)


def test_each_request_is_paced_by_its_own_endpoint() -> None:
    """A request names the endpoint that Klaviyo counts it under."""
    event = current.create_event(ORDER, profile_id=PROFILE_ID, external_id=None, email=None)
    built = {
        "get_accounts": current.get_account(),
        "create_event": event,
        "create_profile": current.create_profile(ANN, NOTHING),
        "get_profile": current.get_profile(PROFILE_ID),
        "get_profiles": current.search_profiles(Kind.EMAIL, "ann@shop.ch"),
        "merge_profiles": current.merge_profiles("SOURCE", "SURVIVOR"),
        "request_profile_deletion": current.request_deletion(PROFILE_ID),
        "update_profile": current.update_profile(PROFILE_ID, NOTHING),
    }
    assert list(built) == [request.endpoint.name for request in built.values()]
    page, following = current.list_profiles(), current.list_profiles(cursor_url="/api/profiles?page%5Bcursor%5D=b")
    assert {"get_profiles"} == {page.endpoint.name, following.endpoint.name}
    assert {Repeat.READ} == {page.repeat, following.repeat}
    assert Repeat.IDEMPOTENT is built["request_profile_deletion"].repeat
