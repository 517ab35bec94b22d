"""Every request of the current dialect is one that Klaviyo's own package, of the same revision, would send."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeklaviyo.identity import Identity, Kind
from safeklaviyo.models import CLEAR, Clear
from support.values import ATTRIBUTES, IDENTIFIERS, LOCATION, Event, Person, event_from, person_from
from support.wire import Request, Response, current

REVISION = "2026-10-15"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
KEYS = st.text(st.characters(codec="ascii", categories=["Lu", "Ll"]), min_size=14, max_size=18)
VALUES = st.recursive(
    TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=4,
)
PROFILE_IDS = st.text(st.characters(codec="ascii", categories=["Lu", "Ll", "Nd"]), min_size=20, max_size=26).filter(
    lambda text: len(set(text)) > 2  # others are placeholders, such as 26 zeros
)
IDENTITIES = st.builds(
    Identity, st.none() | TEXT.map(lambda text: f"cust {text}"), st.none() | st.just("ann+1@shop.ch")
).filter(lambda identity: identity != Identity())


@st.composite
def persons(draw: st.DrawFn, values: st.SearchStrategy[Any] = VALUES) -> Person:
    """Return what a call could say about a person."""
    clear = st.just(CLEAR)
    properties: dict[str, Any] = draw(st.dictionaries(KEYS, values | clear, max_size=3))
    for name in draw(st.sets(st.sampled_from(ATTRIBUTES), max_size=3)):
        properties[name] = draw(TEXT | clear)
    for name in draw(st.sets(st.sampled_from(LOCATION), max_size=3)):
        properties[f"${name}"] = draw(TEXT | clear)
    others = draw(st.lists(KEYS.map(lambda key: f"other{key}"), unique=True, max_size=4))
    patches: dict[str, Any] = {"append": {}, "unappend": {}}
    for key in others[1:]:
        patches[draw(st.sampled_from(["append", "unappend"]))][key] = draw(VALUES)
    return person_from(properties, unset=others[:1], **patches)[0]


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Return an event that a call could give."""
    return event_from(
        draw(st.sampled_from(["Placed Order", "Été ✓", "x" * 127])),
        draw(st.dictionaries(KEYS, VALUES | st.none(), max_size=4)),
        value=draw(st.none() | st.integers(0, 10**6) | st.floats(0, 10**6)),
        value_currency=draw(st.sampled_from([None, "EUR"])),
        time=draw(st.none() | st.integers(10**9, int(NOW))),
        backfill=draw(st.booleans()),
        now=NOW,
        new_id="order-7",
    )


@cache
def official(module: str, name: str) -> Any:
    """Return a class of the official package, which takes a second to import and is imported when first asked for."""
    from importlib import import_module

    return getattr(import_module(f"openapi_client.{module}"), name)


@cache
def operations(module: str, name: str) -> Any:
    """Return one group of the official package's operations."""
    return official(f"api.{module}", name)(official("api_client", "ApiClient")())


def assert_official(
    request: Request, api: tuple[str, str], operation: str, *, model: Any = None, **fields: Any
) -> None:
    """Compare a request with what the official package makes of the same body, path and query.

    A body read by the official model and written again is the same but for nulls, which that package cannot send:
    a key that the model does not know would be missing from it.
    """
    serialise = getattr(operations(*api), f"_{operation}_serialize")
    if model is not None:
        assert request.body is not None
        name, query_model = model
        fields[name] = query_model.from_json(request.body.decode())
    arguments = dict.fromkeys(inspect.signature(serialise).parameters) | fields | {"_host_index": 0}
    method, url, headers, body, _ = serialise(**arguments)
    ours, theirs = urlsplit(request.path), urlsplit(url)
    assert (method, theirs.path) == (request.method, ours.path)
    assert parse_qs(theirs.query, keep_blank_values=True) == parse_qs(ours.query, keep_blank_values=True)
    if request.body is not None:
        assert headers["Content-Type"] == request.content_type
        assert without_nulls(body) == without_nulls(json.loads(request.body))


def without_nulls(value: Any) -> Any:
    """Return the fields that hold something."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def query_model(name: str) -> Any:
    """Return a model of the official package by its class name."""
    return official("models", name)


PROFILES = ("profiles_api", "ProfilesApi")


def test_the_official_package_speaks_the_same_revision() -> None:
    """The comparison is with the revision that the client asks for."""
    from klaviyo_api.wrapper import KlaviyoAPI

    assert REVISION == KlaviyoAPI._REVISION


def test_the_fields_of_a_person_are_klaviyos() -> None:
    """The reserved names are exactly the fields that the official models give a profile and its location."""
    fields = {*IDENTIFIERS, *ATTRIBUTES, "location", "properties"}
    assert fields == set(query_model("ProfileCreateQueryResourceObjectAttributes").model_fields)
    assert set(LOCATION) == set(query_model("ProfileLocation").model_fields)


@given(IDENTITIES, persons())
@settings(max_examples=60, deadline=None)
def test_create_profile(identity: Identity, person: Person) -> None:
    """A create is an official Create Profile, with every key known to it, and sends no null."""
    request = current.create_profile(identity, person)
    model = ("profile_create_query", query_model("ProfileCreateQuery"))
    assert_official(request, PROFILES, "create_profile", model=model)
    attributes = json.loads(request.body or b"")["data"]["attributes"]
    assert None not in [*attributes.values(), *attributes.get("location", {}).values()]
    assert (identity.external_id, identity.email) == (attributes.get("external_id"), attributes.get("email"))


@given(PROFILE_IDS, persons(), st.none() | TEXT | st.just(CLEAR), st.none() | st.just("ann@shop.ch"))
@settings(max_examples=60, deadline=None)
def test_update_profile(profile_id: str, person: Person, external_id: str | Clear | None, email: str | None) -> None:
    """An update is an official Update Profile, with every key known to it."""
    request = current.update_profile(
        profile_id, person, external_id=external_id, email=email, phone_number="+12345678901"
    )
    model = ("profile_partial_update_query", query_model("ProfilePartialUpdateQuery"))
    assert_official(request, PROFILES, "update_profile", model=model, id=profile_id)


@given(events(), PROFILE_IDS, IDENTITIES, persons())
@settings(max_examples=60, deadline=None)
def test_create_event(event: Event, profile_id: str, identity: Identity, person: Person) -> None:
    """An event is an official Create Event, with the profile's meta where this revision has it."""
    request = current.create_event(
        event, profile_id=profile_id, external_id=identity.external_id, email=identity.email, person=person
    )
    model = ("event_create_query_v2", query_model("EventCreateQueryV2"))
    # The official model writes backfill always; where it is not asked for, leaving it out means the same.
    body = json.loads(request.body or b"")
    body["data"]["attributes"].setdefault("backfill", False)
    spelt_out = Request(request.method, request.path, request.endpoint, request.repeat, json.dumps(body).encode())
    assert_official(spelt_out, ("events_api", "EventsApi"), "create_event", model=model)


@given(PROFILE_IDS, PROFILE_IDS)
@settings(max_examples=20, deadline=None)
def test_merge_and_deletion(first: str, second: str) -> None:
    """A merge and a deletion are the official ones."""
    model = ("profile_merge_query", query_model("ProfileMergeQuery"))
    assert_official(current.merge_profiles(first, second), PROFILES, "merge_profiles", model=model)
    model = ("data_privacy_create_deletion_job_query", query_model("DataPrivacyCreateDeletionJobQuery"))
    deletion = current.request_deletion(first)
    assert_official(deletion, ("data_privacy_api", "DataPrivacyApi"), "request_profile_deletion", model=model)


@given(PROFILE_IDS, st.booleans())
@settings(max_examples=20, deadline=None)
def test_get_profile(profile_id: str, subscriptions: bool) -> None:
    """A read is an official Get Profile."""
    fields = {"additional_fields_profile": ["subscriptions"]} if subscriptions else {}
    request = current.get_profile(profile_id, subscriptions=subscriptions)
    assert_official(request, PROFILES, "get_profile", id=profile_id, **fields)


@given(TEXT)
@settings(max_examples=40, deadline=None)
def test_get_profiles(value: str) -> None:
    """A search and a page are official Get Profiles, with the filter as one parameter."""
    wanted = f"equals(external_id,{json.dumps(value, ensure_ascii=False)})"
    assert_official(current.search_profiles(Kind.EXTERNAL_ID, value), PROFILES, "get_profiles", filter=wanted)
    page = current.list_profiles(filter=wanted, sort="-updated", page_size=7)
    assert_official(page, PROFILES, "get_profiles", filter=wanted, sort="-updated", page_size=7)


def test_get_accounts() -> None:
    """Asking whose key it is, is the official Get Accounts."""
    assert_official(current.get_account(), ("accounts_api", "AccountsApi"), "get_accounts")


def test_a_key_that_the_official_models_do_not_know_is_noticed() -> None:
    """The comparison itself fails for a body with one key too many, wherever it stands."""
    model = ("profile_create_query", query_model("ProfileCreateQuery"))
    for attributes in ({"emial": "x"}, {"location": {"town": "Bern"}}):
        body = json.dumps({"data": {"type": "profile", "attributes": attributes}}).encode()
        request = Request("POST", "/api/profiles", current.CREATE_PROFILE, current.get_account().repeat, body)
        with pytest.raises(AssertionError):
            assert_official(request, PROFILES, "create_profile", model=model)


@given(PROFILE_IDS, TEXT, st.dictionaries(KEYS, VALUES, max_size=3))
@settings(max_examples=40, deadline=None)
def test_an_official_profile_is_read(profile_id: str, name: str, properties: dict[str, Any]) -> None:
    """A profile that the official model writes is read with the same fields."""
    attributes = query_model("ProfileResponseObjectResourceAttributes")(
        email="ann@shop.ch", external_id="cust-1", first_name=name, properties=properties, location={"city": "Bern"}
    )
    written = {"data": {"type": "profile", "id": profile_id, "attributes": attributes.to_dict()}}
    read = current.read_profile(Response(200, {}, json.dumps(written).encode()))
    assert (profile_id, "ann@shop.ch", "cust-1", name) == (read.id, read.email, read.external_id, read.first_name)
    assert (properties, {"city": "Bern"}) == (read.properties, read.location)
