"""Klaviyo's own client, unmodified, against the simulator over real HTTP: what it reads is what Klaviyo would say."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from klaviyo_api import KlaviyoAPI
from openapi_client.exceptions import ApiException

from safeklaviyo.testing import KlaviyoSimulator, Readings


@pytest.fixture(scope="module")
def served():
    """One server for all: each test's people have addresses of their own."""
    simulator = KlaviyoSimulator()
    with simulator.serve() as url:
        yield simulator, url


@pytest.fixture
def simulator(served):
    """The simulator that is served."""
    return served[0]


@pytest.fixture
def klaviyo(served):
    """Klaviyo's own client, pointed to it."""
    # Its waits between attempts are real: one attempt has none.
    return KlaviyoAPI("pk_official", max_retries=1, test_host=served[1])


def profile(**attributes):
    """Return the body that creates a profile."""
    return {"data": {"type": "profile", "attributes": attributes}}


def test_a_profile_is_created_read_and_changed(simulator, klaviyo):
    """Create, get, update and read again, typed: every field that was sent comes back, times as times."""
    made = klaviyo.Profiles.create_profile(
        profile(
            email="Ann@shop.org", external_id="ann", phone_number="+12025550123", first_name="Ann",
            location={"city": "Rome", "latitude": 41.9}, properties={"plan": "pro", "n": 1},
        )
    ).data  # fmt: skip
    assert ("ann@shop.org", "ann", "Rome", {"plan": "pro", "n": 1}) == (
        made.attributes.email, made.attributes.external_id, made.attributes.location.city, made.attributes.properties,
    )  # fmt: skip
    assert datetime.fromtimestamp(simulator.now(), UTC) == made.attributes.created
    patch = {"data": {"type": "profile", "id": made.id, "attributes": {"email": "ann@new.org"}}}
    patch["data"]["meta"] = {"patch_properties": {"append": {"tags": "vip"}, "unset": ["plan"]}}
    changed = klaviyo.Profiles.update_profile(made.id, patch).data
    read = klaviyo.Profiles.get_profile(made.id, additional_fields_profile=["subscriptions"]).data
    for each in (changed, read):
        assert (made.id, "ann@new.org", {"n": 1, "tags": ["vip"]}) == (
            each.id, each.attributes.email, each.attributes.properties,
        )  # fmt: skip
    assert read.attributes.subscriptions.email.marketing.can_receive_email_marketing


def test_profiles_are_searched_and_paged(klaviyo):
    """A filter finds one, and the pages' links lead through all of them."""
    made = [klaviyo.Profiles.create_profile(profile(email=f"page+{number}@shop.org")).data.id for number in range(5)]
    (found,) = klaviyo.Profiles.get_profiles(filter='equals(email,"page+3@shop.org")').data
    assert made[3] == found.id
    wanted = "any(id,[" + ",".join(f'"{each}"' for each in made) + "])"
    seen, cursor = [], None
    while True:
        page = klaviyo.Profiles.get_profiles(filter=wanted, sort="-id", page_size=2, page_cursor=cursor)
        seen += [each.id for each in page.data]
        cursor = page.links.next
        if cursor is None:
            break
    assert made[::-1] == seen


def test_a_conflict_names_the_owner(klaviyo):
    """A second create raises the client's error with status 409 and the owner's id in the body."""
    owner = klaviyo.Profiles.create_profile(profile(email="conflict@shop.org")).data.id
    with pytest.raises(ApiException) as caught:
        klaviyo.Profiles.create_profile(profile(email="conflict@shop.org"))
    assert caught.value.status == 409
    assert f'"duplicate_profile_id":"{owner}"' in caught.value.body


def test_an_unknown_profile_is_not_found(klaviyo):
    """An unknown id raises the client's error with status 404."""
    with pytest.raises(ApiException) as caught:
        klaviyo.Profiles.get_profile("NOPE01")
    assert caught.value.status == 404


def test_an_import_creates_and_updates(klaviyo):
    """Create or Update answers the same profile twice."""
    first = klaviyo.Profiles.create_or_update_profile(profile(email="import@shop.org", first_name="Ann"))
    second = klaviyo.Profiles.create_or_update_profile(profile(email="import@shop.org", last_name="Lee"))
    assert first.data.id == second.data.id
    assert ("Ann", "Lee") == (second.data.attributes.first_name, second.data.attributes.last_name)


def test_profiles_are_merged_and_deleted(simulator, klaviyo):
    """A merge and a deletion are accepted, and done when the simulator is drained."""
    ids = [klaviyo.Profiles.create_profile(profile(email=f"merge{number}@shop.org")).data.id for number in range(2)]
    profiles = {"data": [{"type": "profile", "id": ids[0]}]}
    merge = {"data": {"type": "profile-merge", "id": ids[1], "relationships": {"profiles": profiles}}}
    # Of Klaviyo's recorded 202 its client, which knows the schema's 201 only, makes nothing; it is no error.
    assert klaviyo.Profiles.merge_profiles(merge) is None
    simulator.drain()
    assert ids[1] == simulator.merged[ids[0]]
    doomed = {"data": {"type": "profile", "id": ids[1], "attributes": {}}}
    job = {"data": {"type": "data-privacy-deletion-job", "attributes": {"profile": doomed}}}
    klaviyo.Data_Privacy.request_profile_deletion(job)
    simulator.drain()
    with pytest.raises(ApiException):
        klaviyo.Profiles.get_profile(ids[1])


def test_a_merge_answered_by_the_schema_is_read():
    """In the schema's reading, 201, the client reads the destination from a merge's answer."""
    simulator = KlaviyoSimulator(Readings(merge_status=201))
    source, destination = (simulator.add_profile(email=f"{name}@shop.org").id for name in ("ann", "bob"))
    profiles = {"data": [{"type": "profile", "id": source}]}
    merge = {"data": {"type": "profile-merge", "id": destination, "relationships": {"profiles": profiles}}}
    with simulator.serve() as url:
        assert destination == KlaviyoAPI("pk_x", max_retries=1, test_host=url).Profiles.merge_profiles(merge).data.id


def test_an_event_is_recorded(simulator, klaviyo):
    """An event with all its fields is accepted, and is listed after the queue is drained."""
    metric = {"data": {"type": "metric", "attributes": {"name": "Official"}}}
    who = {"data": {"type": "profile", "attributes": {"email": "event@shop.org"}}}
    attributes = {
        "properties": {"n": 1}, "time": "2026-01-01T00:00:00+00:00", "value": 9.5, "value_currency": "EUR",
        "unique_id": "u",
        "metric": metric, "profile": who,
    }  # fmt: skip
    klaviyo.Events.create_event({"data": {"type": "event", "attributes": attributes}})
    simulator.drain()
    owner = simulator.find(email="event@shop.org").id
    (event,) = klaviyo.Events.get_events(filter=f'equals(profile_id,"{owner}")').data
    assert {"n": 1, "$event_id": "u", "$value": 9.5, "$value_currency": "EUR"} == event.attributes.event_properties
    assert 1767225600 == event.attributes.timestamp


def test_the_account_is_named(klaviyo):
    """Get Accounts is read, its contact information too."""
    (account,) = klaviyo.Accounts.get_accounts().data
    assert ("SiMuLa", "SiMuLa") == (account.id, account.attributes.public_api_key)


def test_a_429_says_how_long():
    """Too many requests raise the client's error with an integer Retry-After, as its own retry expects."""
    simulator = KlaviyoSimulator(rate_limits=True, start=1_800_000_000)
    with simulator.serve() as url:
        klaviyo = KlaviyoAPI("pk_official", max_retries=1, test_host=url)
        klaviyo.Accounts.get_accounts()
        with pytest.raises(ApiException) as caught:
            klaviyo.Accounts.get_accounts()
    assert (429, 1) == (caught.value.status, int(caught.value.headers["Retry-After"]))


def test_a_token_is_accepted_and_a_wrong_key_is_not(served):
    """An OAuth token is accepted; a key of another form raises the client's error with status 401."""
    _, url = served
    assert KlaviyoAPI(None, access_token="token", max_retries=1, test_host=url).Accounts.get_accounts().data
    with pytest.raises(ApiException) as caught:
        KlaviyoAPI("wrong", max_retries=1, test_host=url).Accounts.get_accounts()
    assert caught.value.status == 401
