"""The guard of a whole process: each library's calls are caught once, and nothing is left when it is taken away."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import httpx2
import pytest
import requests
from klaviyo_api import KlaviyoAPI

from safeklaviyo import ConfigurationError, Klaviyo, guard
from support.guarding import KEY, event, profile
from support.hooks import HEADERS
from support.scenes import ANN, NEW

if TYPE_CHECKING:
    from safeklaviyo.testing import KlaviyoSimulator

Scene = tuple[Any, str, Klaviyo]


def by_httpx(url: str, data: Any, headers: dict[str, str]) -> int:
    """Send by a function of httpx's."""
    return httpx.post(url, json={"data": data}, headers=headers).status_code


def by_httpx2(url: str, data: Any, headers: dict[str, str]) -> int:
    """Send by a function of httpx2's."""
    return httpx2.post(url, json={"data": data}, headers=headers).status_code


def by_requests(url: str, data: Any, headers: dict[str, str]) -> int:
    """Send by a function of requests'."""
    return requests.post(url, json={"data": data}, headers=headers, timeout=10).status_code


def by_httpx_async(url: str, data: Any, headers: dict[str, str]) -> int:
    """Send by a client of httpx's that is awaited."""

    async def send() -> int:
        async with httpx.AsyncClient() as http:
            return (await http.post(url, json={"data": data}, headers=headers)).status_code

    return asyncio.run(send())


def by_aiohttp(url: str, data: Any, headers: dict[str, str]) -> int:
    """Send by a session of aiohttp's."""

    async def send() -> int:
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json={"data": data}, headers=headers) as answer,
        ):
            return answer.status

    return asyncio.run(send())


def by_sdk(url: str, data: Any, headers: dict[str, str]) -> int:
    """Send by Klaviyo's own SDK."""
    api = KlaviyoAPI(headers["Authorization"].partition(" ")[2], max_retries=0)
    api.api_client.configuration.host = url.removesuffix("/api/events")
    api.Events.create_event({"data": data})
    return 202


Way = Callable[[str, Any, dict[str, str]], int]
WAYS = [by_httpx, by_httpx2, by_httpx_async, by_requests, by_aiohttp, by_sdk]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_call_that_makes_its_own_client_is_caught(way: Way, scene: Scene) -> None:
    """The call names a former address, and lands on the customer's one profile."""
    simulator, url, k = scene
    profile_id = k.identify(**ANN).profile_id
    k.change_email(NEW, external_id=ANN["external_id"])
    with guard.install(k, mode="enforce") as installed:
        assert 202 == way(f"{url}/api/events", event(email=ANN["email"]), HEADERS)
        assert (1, 1) == (installed.counters["enforced"], installed.counters["rewritten"])
    simulator.drain()
    assert [profile_id] == [each.profile_id for each in simulator.events]
    # And no more, once it was taken away.
    assert 202 == way(f"{url}/api/events", event(email=ANN["email"]), HEADERS)
    assert 1 == installed.counters["enforced"]
    simulator.drain()
    assert 2 == len(simulator.profiles)


def test_what_is_taken_away_leaves_the_originals() -> None:
    """The classes have their own functions again."""
    before = (httpx.HTTPTransport.handle_request, requests.adapters.HTTPAdapter.send, aiohttp.ClientSession._request)
    with Klaviyo(KEY, store="memory://", account="SiMuLa") as k:
        installed = guard.install(k)
        assert before[0] is not httpx.HTTPTransport.__dict__["handle_request"]
        installed.uninstall()
        installed.uninstall()
    assert before == (
        httpx.HTTPTransport.__dict__["handle_request"], requests.adapters.HTTPAdapter.__dict__["send"],
        aiohttp.ClientSession.__dict__["_request"],
    )  # fmt: skip


def test_a_wrapper_of_another_program_stays(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another program has wrapped the class since, taking the guard away leaves that, and does nothing more."""
    _, url, k = scene
    installed = guard.install(k, mode="enforce")
    ours = httpx.HTTPTransport.handle_request
    seen: list[str] = []

    def theirs(transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        seen.append(request.method)
        return ours(transport, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", theirs)
    installed.uninstall()
    assert 202 == by_httpx(f"{url}/api/events", event(email=ANN["email"]), HEADERS)
    assert (["POST"], 0) == (seen, installed.counters["enforced"])
    monkeypatch.undo()
    httpx.HTTPTransport.handle_request = ours.__wrapped__


def test_calls_of_clients_of_this_package_are_not_guarded_again(scene: Scene) -> None:
    """A client that sends through httpx is caught, recognised and left alone."""
    _, url, k = scene
    with httpx.Client() as http, guard.install(k, mode="enforce") as installed:
        with Klaviyo(KEY, store="memory://", account="SiMuLa", base_url=url, http_client=http) as other:
            other.identify(**ANN)
        assert {"own_calls"} == {name for name, count in installed.counters.items() if count}


def test_a_hook_within_the_process_wide_guard_counts_once(scene: Scene) -> None:
    """One context variable says that a request is handled."""
    _, url, k = scene
    hook = guard.transport(k, mode="enforce")
    with guard.install(k, mode="enforce") as installed, httpx.Client(transport=hook, headers=HEADERS) as http:
        path = f"{url}/api/profile-import"
        statuses = [http.post(path, json={"data": profile(**ANN)}).status_code for _ in range(2)]
    # The first was answered by first contact, the second was sent on.
    assert [201, 200] == statuses
    assert (2, 0) == (hook.guard.counters["enforced"], installed.counters["enforced"])


def test_each_account_has_its_client(scene: Scene) -> None:
    """A call belongs to the client whose key it carries; one with a key of no client passes, and is counted."""
    simulator, url, k = scene
    with ExitStack() as stack:
        other = stack.enter_context(Klaviyo("pk_other", store="memory://", account="OtHeR1", base_url=url))
        installed = stack.enter_context(guard.install(k, other, mode="enforce"))
        for key in (KEY, "pk_other", "pk_foreign"):
            headers = HEADERS | {"Authorization": f"Klaviyo-API-Key {key}"}
            by_requests(f"{url}/api/events", event(email=ANN["email"]), headers)
        assert (2, 1) == (installed.counters["enforced"], installed.counters["foreign_key"])
        assert [["ann@shop.test"]] * 2 == [[each.email for each in client.bindings] for client in (k, other)]
    assert 3 == len([each for each in simulator.journal if each.endpoint == "create_event"])


def test_two_guards_of_two_accounts_do_not_get_in_each_others_way(scene: Scene) -> None:
    """A call that is foreign to one is handled by the other."""
    _, url, k = scene
    with Klaviyo("pk_other", store="memory://", account="OtHeR1", base_url=url) as other:
        with guard.install(k, mode="enforce") as first, guard.install(other, mode="enforce") as second:
            by_httpx(f"{url}/api/events", event(email=ANN["email"]), HEADERS)
        assert (1, 0, 1) == (first.counters["enforced"], second.counters["enforced"], second.counters["foreign_key"])


def test_a_library_that_is_loaded_later_is_caught_then() -> None:
    """Installing loads no library of the shop's; one that the shop loads afterwards is wrapped."""
    code = """
import sys
from safeklaviyo import Klaviyo, guard
with Klaviyo("pk", store="memory://", account="SiMuLa") as k, guard.install(k):
    early = {"requests", "aiohttp", "openapi_client", "httpx2"} & sys.modules.keys()
    from requests.adapters import HTTPAdapter
    print(sorted(early), type(HTTPAdapter.__dict__["send"]).__name__)
print(type(HTTPAdapter.__dict__["send"]).__name__)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert ["[] FunctionWrapper", "function"] == shown.splitlines()


def test_without_wrapt_it_says_what_to_install(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "wrapt", None)
    with pytest.raises(ConfigurationError, match=r"safeklaviyo\[guard\]"):
        guard.install(scene[2])


class TestBypasses:
    """Look-ups of Klaviyo's host from outside of the guard."""

    def test_the_first_is_told_with_its_stack(self, scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
        """Each is counted; the log has the stack of the first alone."""
        _, url, k = scene
        host, _, port = url.partition("://")[2].partition(":")
        with guard.install(k) as installed:
            socket.getaddrinfo(host, port)
            socket.getaddrinfo(host, int(port))
            socket.getaddrinfo("localhost" if host != "localhost" else "127.0.0.1", port)
            socket.getaddrinfo(host, 6379)  # another server of this machine
            assert 2 == installed.counters["bypassed"]
        told = [each.getMessage() for each in caplog.records if "bypasses" in each.getMessage()]
        assert [True] == ["test_guard_install.py" in each for each in told]
        socket.getaddrinfo(host, port)
        assert 2 == installed.counters["bypassed"]

    @pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
    def test_guarded_calls_are_none(self, way: Way, scene: Scene) -> None:
        """Neither the shop's own look-up, nor that of the guard's client, by any library."""
        _, url, k = scene
        with guard.install(k, mode="enforce") as installed:
            assert 202 == way(f"{url}/api/events", event(email=ANN["email"]), HEADERS)
            assert 0 == installed.counters["bypassed"]

    def test_what_the_hook_itself_cannot_do_fails_no_look_up(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An audit hook that raised would fail the shop's own call."""
        _, url, k = scene
        with guard.install(k) as installed, caplog.at_level(logging.DEBUG, "safeklaviyo"):
            monkeypatch.setattr(installed.core, "clients", None)
            assert socket.getaddrinfo(url.partition("://")[2].partition(":")[0], 80)
        assert "a look-up could not be judged" in caplog.text


def test_the_simulator_is_whom_they_reached(scene: Scene) -> None:
    """The tests above reach a server: its journal has what they sent."""
    simulator: KlaviyoSimulator = scene[0]
    by_httpx(f"{scene[1]}/api/events", event(email=ANN["email"]), HEADERS)
    assert 1 == len(simulator.journal)
