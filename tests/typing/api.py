"""The types that users see. This file is checked by type checkers, and never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, assert_type
from uuid import UUID

import aiohttp
import httpx
import requests

import safeklaviyo
from safeklaviyo import (
    CLEAR,
    AsyncKlaviyo,
    BatchReport,
    Binding,
    ChangeReview,
    Decision,
    EmailChange,
    EmailMismatchError,
    Erasure,
    ExternalIdChange,
    IdentifyResult,
    Identity,
    ImportReport,
    InvalidPropertyError,
    Klaviyo,
    MailingList,
    MergePlan,
    MergeRequest,
    Notice,
    NoticeCode,
    PhoneChange,
    Policy,
    Problem,
    Profile,
    ProfileConflictError,
    Progress,
    RawResponse,
    Recovery,
    Resolution,
    RetryPolicy,
    SafeKlaviyoError,
    TrackResult,
    guard,
)
from safeklaviyo.stores import open_async_store, open_store


async def _fetched() -> str:
    return "token"


def constructing() -> None:
    """A client takes a URL or a store, seconds or an `httpx.Timeout`."""
    assert_type(Klaviyo(), Klaviyo)
    Klaviyo("pk", store="memory://", timeout=5, policy=Policy(lease=5), retry=RetryPolicy())
    Klaviyo("pk", store=open_store("memory://"), timeout=httpx.Timeout(5), http_client=httpx.Client())
    AsyncKlaviyo("pk", store=open_async_store("memory://"), http_client=httpx.AsyncClient(), dialect="legacy")
    told: list[Decision] = []
    Klaviyo("pk", on_decision=told.append)
    AsyncKlaviyo("pk", on_decision=told.append)
    Klaviyo("pk", on_decision=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Klaviyo(store=open_async_store("memory://"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Klaviyo(http_client=httpx.AsyncClient())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Klaviyo("pk", "memory://")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Klaviyo(access_token="token", account="AbC123")
    Klaviyo(access_token=lambda: "token")
    AsyncKlaviyo(access_token=_fetched)
    Klaviyo(access_token=_fetched)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Klaviyo(dialect="v3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def other_calls(k: Klaviyo) -> None:
    """Calls that have no verb."""
    answer = k.request("GET", "/api/campaigns", params={"filter": "a", "page[size]": 5, "fields[campaign]": ["name"]})
    assert_type(answer, RawResponse)
    assert_type(answer.status_code, int)
    assert_type(answer.request_id, str | None)
    assert_type(k.iterate("/api/campaigns", params={"sort": None}), Iterator[dict[str, Any]])
    k.request("BREW", "/api/tea")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def lists(k: Klaviyo) -> None:
    """Lists, and who is in them."""
    assert_type(k.lists.iterate(), Iterator[MailingList])
    assert_type(k.lists.get("Xy12Ab"), MailingList)
    assert_type(k.lists.members("Xy12Ab", subscriptions=True), Iterator[Profile])
    report = k.lists.add("Xy12Ab", [{"external_id": 7}, {"email": "a@b.dev"}], on_refused=print)
    assert_type(report, BatchReport)
    assert_type(k.lists.remove("Xy12Ab", iter([{"email": "a@b.dev"}])), BatchReport)
    k.lists.add("Xy12Ab", ["a@b.dev"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


async def other_calls_awaited(k: AsyncKlaviyo) -> None:
    """The same, awaited."""
    assert_type(await k.request("POST", "/api/tags", json={"data": {}}, headers={"a": "b"}), RawResponse)
    assert_type(k.iterate("/api/campaigns"), AsyncIterator[dict[str, Any]])


def blocking(k: Klaviyo) -> None:
    """What each call returns."""
    with k as same:
        assert_type(same, Klaviyo)
    result = k.identify({"plan": CLEAR}, external_id=7, email="a@b.dev", append={"a": 1}, unset=["b"])
    assert_type(result, IdentifyResult)
    assert_type(result.created, bool | None)
    assert_type(result.identity, Identity)
    assert_type(result.warnings, tuple[Notice, ...])
    assert_type(result.warnings[0].code, NoticeCode)
    event = k.track("Placed Order", email="a@b.dev", value=1, time=datetime.now(UTC))
    k.track("Placed Order", external_id=UUID(int=7), value=Decimal("9.90"), unique_id=17)
    k.track("Placed Order", external_id=7, value="9.90", unique_id=UUID(int=7))
    k.identify(external_id=7, unset={"a", "b"})
    assert_type(event, TrackResult)
    assert_type(event.time, datetime)
    change = k.change_email("b@b.dev", external_id="7")
    assert_type(change, EmailChange)
    assert_type(change.status, Literal["changed", "unchanged", "merge_requested"])
    assert_type(k.change_external_id(CLEAR, old_external_id="7"), ExternalIdChange)
    assert_type(k.change_phone_number("+12125550123", external_id=7), PhoneChange)
    assert_type(k.resolve(email="a@b.dev"), Resolution)
    assert_type(k.erase(email="a@b.dev"), Erasure)
    assert_type(k.recover(), list[Recovery])
    assert_type(k.recheck_changes(repair=True), list[ChangeReview])
    assert_type(k.profiles.plan_merge("01A", into="01B"), MergePlan)
    assert_type(k.profiles.merge("01A", into="01B"), MergeRequest)
    assert_type(k.bindings.release_email("a@b.dev"), bool)
    assert_type(k.explain(email="a@b.dev"), Decision)
    assert_type(k.profiles.search(email="a@b.dev"), list[Profile])
    assert_type(k.profiles.get("01A"), Profile)
    assert_type(k.profiles.update("01A", {"a": 1}), Profile)
    assert_type(k.profiles.iterate(), Iterator[Profile])
    assert_type(k.bindings.get(email="a@b.dev"), Binding | None)
    assert_type(k.bindings.add([{"email": "a@b.dev"}], verify=True), ImportReport)
    assert_type(k.bindings.learn(on_progress=lambda progress: assert_type(progress, Progress)), ImportReport)
    assert_type(k.bindings.remove(external_id=7), bool)
    assert_type(list(k.bindings), list[Binding])
    k.identify(extrenal_id=7)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(k.close(), None)


async def awaited(k: AsyncKlaviyo) -> None:
    """The same, awaited."""
    async with k as same:
        assert_type(same, AsyncKlaviyo)
    assert_type(await k.identify(email="a@b.dev"), IdentifyResult)
    assert_type(await k.track("Placed Order", email="a@b.dev"), TrackResult)
    assert_type(await k.change_email("b@b.dev", external_id="7"), EmailChange)
    assert_type(await k.change_external_id(CLEAR, old_external_id="7"), ExternalIdChange)
    assert_type(await k.change_phone_number("+12125550123", external_id=7), PhoneChange)
    assert_type(await k.resolve(email="a@b.dev"), Resolution)
    assert_type(await k.erase(email="a@b.dev"), Erasure)
    assert_type(await k.recover(), list[Recovery])
    assert_type(await k.recheck_changes(repair=True), list[ChangeReview])
    assert_type(await k.profiles.plan_merge("01A", into="01B"), MergePlan)
    assert_type(await k.profiles.merge("01A", into="01B"), MergeRequest)
    assert_type(await k.bindings.release_email("a@b.dev"), bool)
    assert_type(await k.explain(email="a@b.dev"), Decision)
    assert_type(await k.profiles.search(email="a@b.dev"), list[Profile])
    assert_type(await k.profiles.get("01A"), Profile)
    assert_type(await k.profiles.update("01A", {"a": 1}), Profile)
    assert_type(k.profiles.iterate(), AsyncIterator[Profile])
    assert_type(await k.bindings.get(email="a@b.dev"), Binding | None)
    assert_type(await k.bindings.add([{"email": "a@b.dev"}]), ImportReport)
    assert_type(await k.bindings.learn(on_progress=lambda progress: assert_type(progress, Progress)), ImportReport)
    assert_type(await k.bindings.remove(external_id=7), bool)
    assert_type([binding async for binding in k.bindings], list[Binding])
    await k.aclose()


def errors(k: Klaviyo) -> None:
    """What an error says."""
    try:
        k.identify(email="a@b.dev")
    except EmailMismatchError as error:
        assert_type(error.current_email, str | None)
    except InvalidPropertyError as error:
        assert_type(error.problems, tuple[Problem, ...])
        assert_type(error.problems[0].path, str)
    except ProfileConflictError as error:
        assert_type(error.status_code, int)
        assert_type(error.external_id, str | None)
    except SafeKlaviyoError as error:
        assert_type(error.outcome, Literal["not_applied", "unknown", "applied"])
        assert_type(error.may_retry, bool)
        assert_type(error.retry_after, float | None)
        assert_type(error.unique_id, str | None)
        assert_type(error.time, datetime | None)
    assert_type(safeklaviyo.__version__, str)


def guarded(k: Klaviyo, awaited: AsyncKlaviyo) -> None:
    """The hooks of the guard, and the guard of a whole process."""
    modes: guard.Modes = {"create_event": "enforce", "bulk_unsubscribe_profiles": "enforce"}
    installed = guard.install(k, awaited, mode=modes, decision_log="klaviyo.jsonl", on_store_failure="refuse")
    assert_type(installed, guard.Guard)
    assert_type(installed.counters, Mapping[str, int])
    with installed as again:
        assert_type(again, guard.Guard)
    httpx.Client(transport=guard.transport(k, httpx.HTTPTransport(), mode="enforce", learn=False))
    httpx.AsyncClient(transport=guard.async_transport(awaited))
    requests.Session().mount("https://a.klaviyo.com", guard.adapter(k))
    guard.sdk(k)
    aiohttp.ClientSession(middlewares=(guard.aiohttp_middleware(awaited),))
    guard.install(k, mode="enforced")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def judged(verdict: guard.Verdict) -> None:
    """What the guard says about a call."""
    assert_type(verdict.operation, str | None)
    assert_type(verdict.rule, str | None)
    assert_type(verdict.rewritten, tuple[str, ...])
    assert_type(verdict.account, str | None)
    assert_type(verdict.at, datetime)
