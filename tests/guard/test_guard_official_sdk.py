"""Klaviyo's own SDK for Python, guarded in each way: the answers that a shop reads are those that it always had."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from typing import Any

import pytest
from klaviyo_api import KlaviyoAPI
from openapi_client.exceptions import ApiException

from safeklaviyo import Klaviyo, guard
from safeklaviyo.testing import KlaviyoSimulator
from support.guarding import KEY, event, profile
from support.node import comparable

NOW = int(time.time())
ADA = {"external_id": "1815", "email": "ada@shop.test"}
BYRON = {"external_id": "1852", "email": "byron@shop.test"}
STATUSES = [200, 200, 409, 200, 200, 202, 400, 200, 202, 200, 202, 200, 200, 404]
"""As far as the SDK tells: it gives a document for each 2xx, and nothing where there is none."""


def events_of(who: dict[str, str], *keys: str) -> dict[str, Any]:
    """Return events of one person, as they stand in a bulk job."""
    metric = {"data": {"type": "metric", "attributes": {"name": "Synced"}}}
    attributes = [{"unique_id": key, "properties": {"a": 1}, "metric": metric} for key in keys]
    events = {"data": [{"type": "event", "attributes": each} for each in attributes]}
    return {
        "type": "event-bulk-create",
        "attributes": {"profile": {"data": {"type": "profile", "attributes": who}}, "events": events},
    }


def consent(email: str, list_id: str) -> dict[str, Any]:
    """Return a job that subscribes one address to a list."""
    subscriptions = {"email": {"marketing": {"consent": "SUBSCRIBED"}}}
    person = {"type": "profile", "attributes": {"email": email, "subscriptions": subscriptions}}
    return {
        "type": "profile-subscription-bulk-create-job",
        "attributes": {"profiles": {"data": [person]}},
        "relationships": {"list": {"data": {"type": "list", "id": list_id}}},
    }


def asked(api: Any) -> list[Any]:
    """Return what the SDK gives for each call of a shop."""
    answers: list[Any] = []

    def ask(call: Any, *given: Any, **named: Any) -> Any:
        try:
            answer = call(*given, **named)
        except ApiException as refused:
            errors = json.loads(str(refused.body))["errors"]
            answers.append((int(str(refused.status)), [(each["code"], each["title"]) for each in errors]))
            return None
        shown = None if answer is None else answer if isinstance(answer, dict) else answer.to_dict()
        (shown or {}).pop("links", None)
        answers.append((202 if shown is None else 200, shown))
        return shown

    people, bulk = api.Profiles, {"type": "event-bulk-create-job"}
    made = ask(people.create_or_update_profile, {"data": profile(**ADA, first_name="Ada", properties={"plan": "gold"})})
    mine = made["data"]["id"]
    ask(people.create_or_update_profile, {"data": profile(**ADA, title="Ms")})
    ask(people.create_profile, {"data": profile(**ADA)})
    ask(people.create_profile, {"data": profile(**BYRON)})
    ask(people.update_profile, mine, {"data": {**profile(last_name="Lovelace"), "id": mine}})
    ask(api.Events.create_event, {"data": event(**ADA)})
    ask(api.Events.create_event, {"data": event()})
    ask(people.update_profile, mine, {"data": {**profile(email="ada@new.test"), "id": mine}})
    rows = [events_of({"email": "ada@new.test"}, "a", "b"), events_of({"email": BYRON["email"]}, "c")]
    ask(api.Events.bulk_create_events, {"data": {**bulk, "attributes": {"events-bulk-create": {"data": rows}}}})
    lists = ask(api.Lists.get_lists)
    ask(people.bulk_subscribe_profiles, {"data": consent("ada@new.test", lists["data"][0]["id"])})
    ask(people.get_profiles, filter='equals(email,"ada@new.test")')
    ask(people.get_profile, mine)
    ask(people.get_profile, "01NOBODY0000000000000000")
    return answers


def answers(way: str, mode: Any) -> list[Any]:
    """Return the answers of a new pretend Klaviyo with a list, guarded in a way."""
    simulator = KlaviyoSimulator(account="AbC123", queue_lag=0.0, start=NOW)
    simulator.add_list("Newsletter")
    with simulator.serve() as url, Klaviyo(KEY, account="AbC123", store="memory://", base_url=url) as k:
        api: Any = KlaviyoAPI(KEY, max_retries=1, test_host=url)
        if way == "sdk":
            api.api_client.rest_client = guard.sdk(k, api.api_client.rest_client, mode=mode)
        with guard.install(k, mode=mode) if way == "install" else nullcontext() as installed:
            given = asked(api)
        if mode == "enforce":
            core = installed if way == "install" else api.api_client.rest_client.guard
            assert 4 == core.counters["rewritten"]
    loaded: list[Any] = json.loads(comparable(json.dumps(given, default=str)))
    return loaded


@pytest.fixture(scope="module")
def plain() -> list[Any]:
    """The answers without a guard."""
    return answers("plain", None)


@pytest.mark.parametrize("mode", ["observe", "enforce"])
@pytest.mark.parametrize("way", ["sdk", "install"])
def test_klaviyos_own_sdk_gets_the_answers_that_it_gets_without_the_guard(plain, way, mode):
    """Each document, each status and each code of a refusal is the same; only what was asked differs."""
    assert STATUSES == [status for status, _ in plain]
    assert plain == answers(way, mode)
