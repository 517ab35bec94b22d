"""One call of each operation of the simulator in the current dialect, on an account where each finds something."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safeklaviyo.testing import KlaviyoSimulator

if TYPE_CHECKING:
    from collections.abc import Mapping

ANN, BOB, EVE = "ann@shop.org", "bob@shop.org", "eve@shop.org"


@dataclass(frozen=True)
class Call:
    """One call.

    Attributes:
        named: What stands for the id in the path; None for a path without one.
        query: By the names of the description.
        body: What is sent.
    """

    named: str | None = None
    query: Mapping[str, str] | None = None
    body: Any = None


def scene() -> tuple[KlaviyoSimulator, dict[str, str]]:
    """Return an account with something of everything, and the ids of it."""
    simulator = KlaviyoSimulator(start=1_780_000_000.25)
    news = simulator.add_list("News", opt_in_process="double_opt_in")
    ann = simulator.add_profile(
        email=ANN, external_id="7", phone_number="+12025550123", first_name="Ann", properties={"plan": "pro"},
        location={"city": "Rome", "latitude": 41.9, "ip": "1.2.3.4"}, consent="SUBSCRIBED", sms_consent="UNSUBSCRIBED",
    )  # fmt: skip
    bob = simulator.submit_form(email=BOB, phone_number="+12025550124", list_id=news)
    simulator.confirm_opt_in(BOB)
    simulator.withdraw(email=BOB, reason="HARD_BOUNCE")
    ids = {"news": news, "ann": ann.id, "bob": bob.id, "vip": simulator.add_segment("VIP", ann.id)}
    post(simulator, "/api/events", _event(ANN, value=9.5))
    post(simulator, "/api/profile-subscription-bulk-delete-jobs", _consent("delete", BOB, news))
    for each in ("create", "delete"):
        ids[f"{each} job"] = post(simulator, f"/api/profile-suppression-bulk-{each}-jobs", _suppression(each))["id"]
    ids["job"] = post(simulator, "/api/profile-bulk-import-jobs", _import(news))["id"]
    post(simulator, "/api/push-tokens", _push_token(ANN))
    simulator.drain()
    headers = {"authorization": "Klaviyo-API-Key pk_x", "revision": "2026-07-15"}
    ids["token"] = json.loads(simulator.handle("GET", "/api/push-tokens", headers).body)["data"][0]["id"]
    ids["event"] = simulator.events[0].id
    ids["metric"] = json.loads(simulator.handle("GET", "/api/metrics", headers).body)["data"][0]["id"]
    return simulator, ids


def post(simulator: KlaviyoSimulator, path: str, data: Any) -> Any:
    """Send something, and return what the answer has."""
    headers = {"authorization": "Klaviyo-API-Key pk_x", "revision": "2026-07-15", "content-type": "application/json"}
    answer = simulator.handle("POST", path, headers, json.dumps(data).encode())
    assert answer.status < 300, answer.body
    return json.loads(answer.body)["data"] if answer.body else None


def calls(ids: Mapping[str, str]) -> dict[str, Call]:
    """Return a call of each operation, by its id, with what it can be asked to show."""
    ann, news, vip, job = (ids[name] for name in ("ann", "news", "vip", "job"))
    whole = {"additional-fields[profile]": "subscriptions,predictive_analytics"}
    count = {"additional-fields[{}]": "profile_count"}
    related = {"include": "tags,flow-triggers"}
    body = _profile(ann, first_name="Anna")
    members = {"data": [{"type": "profile", "id": ann}]}
    event = {"include": "attributions,metric,profile"}
    listed = {"data": {"type": "list", "attributes": {"name": "VIP", "opt_in_process": "single_opt_in"}}}
    merge = {"profiles": {"data": [{"type": "profile", "id": ids["bob"]}]}}
    return {
        "get_accounts": Call(),
        "get_account": Call("SiMuLa"),
        "request_profile_deletion": Call(body=_deletion(ann)),
        "get_events": Call(query={**event, "sort": "-datetime", "filter": f'equals(profile_id,"{ann}")'}),
        "get_event": Call(ids["event"], event),
        "get_metric_for_event": Call(ids["event"]),
        "get_metric_id_for_event": Call(ids["event"]),
        "get_profile_for_event": Call(ids["event"], whole),
        "get_profile_id_for_event": Call(ids["event"]),
        "create_event": Call(body=_event(EVE, unique_id="u")),
        "bulk_create_events": Call(body=_events(EVE)),
        "get_lists": Call(query={**related, "sort": "name", "filter": 'equals(name,"News")'}),
        "get_list": Call(news, {**related, **{name.format("list"): each for name, each in count.items()}}),
        "create_list": Call(body=listed),
        "update_list": Call(news, body={"data": {"type": "list", "id": news, "attributes": {"name": "Old"}}}),
        "delete_list": Call(news),
        "get_profiles_for_list": Call(news, {**whole, "sort": "-joined_group_at"}),
        "get_profile_ids_for_list": Call(news, {"filter": f'equals(email,"{BOB}")'}),
        "add_profiles_to_list": Call(news, body=members),
        "remove_profiles_from_list": Call(news, body=members),
        **{name: Call(news) for name in _of("list")},
        "get_metrics": Call(query={"include": "flow-triggers", "filter": 'equals(integration.name,"API")'}),
        "get_metric": Call(ids["metric"], {"include": "flow-triggers"}),
        "get_flows_triggered_by_metric": Call(ids["metric"]),
        "get_ids_for_flows_triggered_by_metric": Call(ids["metric"]),
        "get_profiles": Call(query={**whole, "include": "conversations,push-tokens", "page[size]": "1"}),
        "get_profile": Call(ann, {**whole, "include": "conversations,lists,push-tokens,segments"}),
        "create_profile": Call(query=whole, body=_profile(email=EVE, location={"city": "Rome"})),
        "update_profile": Call(ann, whole, body),
        "create_or_update_profile": Call(query=whole, body=_profile(email=ANN, last_name="Lee")),
        "merge_profiles": Call(body={"data": {"type": "profile-merge", "id": ann, "relationships": merge}}),
        "bulk_import_profiles": Call(body=_import(news)),
        "get_bulk_import_profiles_jobs": Call(query={"filter": 'equals(status,"complete")', "sort": "-created_at"}),
        "get_bulk_import_profiles_job": Call(job, {"include": "lists"}),
        "get_errors_for_bulk_import_profiles_job": Call(job),
        "get_profiles_for_bulk_import_profiles_job": Call(job, whole),
        "get_profile_ids_for_bulk_import_profiles_job": Call(job),
        "get_list_for_bulk_import_profiles_job": Call(job),
        "get_list_ids_for_bulk_import_profiles_job": Call(job),
        "bulk_subscribe_profiles": Call(body=_consent("create", EVE, news)),
        "bulk_unsubscribe_profiles": Call(body=_consent("delete", BOB, news)),
        "bulk_suppress_profiles": Call(body=_suppression("create")),
        "bulk_unsuppress_profiles": Call(body=_suppression("delete")),
        "get_bulk_suppress_profiles_jobs": Call(query={"sort": "created", "filter": 'equals(status,"complete")'}),
        "get_bulk_suppress_profiles_job": Call(ids["create job"]),
        "get_bulk_unsuppress_profiles_jobs": Call(),
        "get_bulk_unsuppress_profiles_job": Call(ids["delete job"]),
        "create_push_token": Call(body=_push_token(EVE)),
        "get_push_tokens": Call(query={"include": "profile", "filter": f'equals(profile.id,"{ann}")'}),
        "get_push_token": Call(ids["token"], {"include": "profile"}),
        "delete_push_token": Call(ids["token"]),
        "get_profile_for_push_token": Call(ids["token"], whole),
        "get_profile_id_for_push_token": Call(ids["token"]),
        "get_push_tokens_for_profile": Call(ann),
        "get_push_token_ids_for_profile": Call(ann),
        "create_back_in_stock_subscription": Call(body=_back_in_stock(EVE)),
        "get_lists_for_profile": Call(ann),
        "get_list_ids_for_profile": Call(ann),
        "get_segments_for_profile": Call(ann),
        "get_segment_ids_for_profile": Call(ann),
        **{name: Call(ann) for name in _of("profile")},
        "get_segments": Call(query={**related, "filter": "any(is_active,[true])"}),
        "get_segment": Call(vip, {**related, **{name.format("segment"): each for name, each in count.items()}}),
        "get_profiles_for_segment": Call(vip, whole),
        "get_profile_ids_for_segment": Call(vip),
        **{name: Call(vip) for name in _of("segment")},
    }


def _of(owner: str) -> list[str]:
    """Return the reads of what is never there."""
    if owner == "profile":
        names = (
            "conversation",
            "conversation_id",
            "conversations",
            "conversation_ids",
        )
        return [f"get_{name}_for_profile" for name in names]
    return [
        f"get_tags_for_{owner}", f"get_tag_ids_for_{owner}", f"get_flows_triggered_by_{owner}",
        f"get_ids_for_flows_triggered_by_{owner}",
    ]  # fmt: skip


def _profile(profile_id: str | None = None, **attributes: Any) -> Any:
    named = {} if profile_id is None else {"id": profile_id}
    return {"data": {"type": "profile", **named, "attributes": attributes}}


def _event(email: str, **fields: Any) -> Any:
    metric = {"data": {"type": "metric", "attributes": {"name": "Ordered"}}}
    attributes = {"properties": {"n": 1}, "metric": metric, "profile": _profile(email=email), **fields}
    return {"data": {"type": "event", "attributes": attributes}}


def _events(email: str) -> Any:
    metric = {"data": {"type": "metric", "attributes": {"name": "Ordered"}}}
    event = {"type": "event", "attributes": {"properties": {}, "metric": metric}}
    attributes = {"profile": _profile(email=email), "events": {"data": [event]}}
    groups = {"data": [{"type": "event-bulk-create", "attributes": attributes}]}
    return {"data": {"type": "event-bulk-create-job", "attributes": {"events-bulk-create": groups}}}


def _push_token(email: str) -> Any:
    attributes = {"token": "t-1", "platform": "ios", "vendor": "apns", "device_metadata": {"device_id": "d-1"}}
    return {"data": {"type": "push-token", "attributes": {**attributes, "profile": _profile(email=email)}}}


def _back_in_stock(email: str) -> Any:
    variant = {"data": {"type": "catalog-variant", "id": "$custom:::$default:::1"}}
    data = {"type": "back-in-stock-subscription", "relationships": {"variant": variant}}
    return {"data": {**data, "attributes": {"channels": ["EMAIL"], "profile": _profile(email=email)}}}


def _deletion(profile_id: str) -> Any:
    attributes = {"profile": _profile(profile_id)}
    return {"data": {"type": "data-privacy-deletion-job", "attributes": attributes}}


def _consent(kind: str, email: str, list_id: str) -> Any:
    status = "SUBSCRIBED" if kind == "create" else "UNSUBSCRIBED"
    asked = {"email": {"marketing": {"consent": status}}}
    rows = [{"type": "profile", "attributes": {"email": email, "subscriptions": asked}}]
    listed = {"list": {"data": {"type": "list", "id": list_id}}}
    data = {"type": f"profile-subscription-bulk-{kind}-job", "attributes": {"profiles": {"data": rows}}}
    return {"data": {**data, "relationships": listed}}


def _suppression(kind: str) -> Any:
    rows = [{"type": "profile", "attributes": {"email": BOB}}]
    return {"data": {"type": f"profile-suppression-bulk-{kind}-job", "attributes": {"profiles": {"data": rows}}}}


def _import(list_id: str) -> Any:
    rows = [_profile(email=ANN, last_name="Lee")["data"], _profile(email=ANN, phone_number="+12025550124")["data"]]
    lists = {"lists": {"data": [{"type": "list", "id": list_id}]}}
    attributes = {"profiles": {"data": rows}}
    return {"data": {"type": "profile-bulk-import-job", "attributes": attributes, "relationships": lists}}
