"""The command `gateway`, as a process between a caller and a pretend Klaviyo."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import httpx
import pytest

from safeklaviyo.testing import KlaviyoSimulator
from support.programs import until

TOKEN = "a-token-of-the-gateway"
HEADERS = {"Authorization": "Klaviyo-API-Key pk_test", "revision": "2026-07-15"}
PROFILE = {"data": {"type": "profile", "attributes": {"external_id": "1", "email": "ada@shop.test"}}}


@contextmanager
def gateway(tmp_path, *arguments, **environment):
    """Run a gateway, and yield its process and what its first line says."""
    command = [sys.executable, "-m", "safeklaviyo", "gateway", "--store", f"sqlite:///{tmp_path}/map.db", *arguments]
    variables = {**os.environ, "KLAVIYO_API_KEY": "pk_test", **environment}
    with subprocess.Popen(
        command, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        try:
            yield process, process.stdout.readline()
        finally:
            process.kill()


def test_it_serves_a_socket_until_it_is_told_to_stop(tmp_path):
    """SIGTERM ends it after the call in hand; what it was asked stands in the decision log without names."""
    place, log = tmp_path / "gateway.sock", tmp_path / "decisions.jsonl"
    simulator = KlaviyoSimulator(account="AbC123", clock="real")
    with simulator.serve() as url:
        options = ("--mode", "enforce", "--listen", f"unix:{place}", "--base-url", url, "--account", "AbC123")
        with gateway(tmp_path, *options, "--decision-log", str(log)) as (process, first):
            assert f"the gateway listens on unix:{place} until Ctrl-C (enforce)\n" == first
            transport = httpx.HTTPTransport(uds=str(place))
            with httpx.Client(transport=transport, base_url="http://gateway", headers=HEADERS) as http:
                assert {"map": "ok"} == http.get("/-/ready").json()
                for _ in range(2):
                    answer = http.post("/api/profile-import", json=PROFILE)
                    assert answer.status_code in {200, 201}
                answer = http.post(
                    "/api/profile-import", json={"data": {"type": "profile", "attributes": {"external_id": "2"}}}
                )
                assert 400 == answer.status_code
            process.send_signal(signal.SIGTERM)
            process.wait(20)
            assert "Traceback" not in process.stderr.read()
    assert 1 == len(simulator.profiles)
    assert 3 == len(log.read_text().splitlines())
    assert "ada@" not in log.read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--listen", "nowhere"), "give HOST:PORT, or unix:PATH"),
        (("--mode-file", "modes.json"), "has to be a JSON object"),
        (("--token-file", "token"), "at least 16 characters"),
    ],
)
def test_bad_set_up_is_said_at_once(tmp_path, arguments, says):
    """It ends before it listens, with one sentence."""
    (tmp_path / "modes.json").write_text("[1]")
    (tmp_path / "token").write_text("short\n")
    with gateway(tmp_path, *arguments) as (process, first):
        assert ("", True) == (first, says in process.stderr.read())
        assert process.wait() in {1, 2}


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_it_says_the_address_that_callers_are_to_use(tmp_path, host):
    """With port 0 that is the port that the system has chosen, and an address of IPv6 stands in brackets."""
    with gateway(tmp_path, "--listen", f"{host}:0") as (_, first):
        url = next(word for word in first.split() if word.startswith("http://"))
        assert {"status": "ok"} == httpx.get(f"{url}/-/health").json()


@pytest.mark.parametrize(("drift", "status"), [("refuse", 409), ("adopt", 202)])
def test_an_address_that_changed_in_klaviyo_is_refused_or_taken_over(tmp_path, drift, status):
    """As `--drift` says, once the map has to look again: here because an observed call has changed it (R15)."""
    (tmp_path / "modes.json").write_text('{"create_event": "enforce", "create_or_update_profile": "enforce"}')
    simulator = KlaviyoSimulator(account="AbC123", clock="real", queue_lag=0.0)
    metric = {"data": {"type": "metric", "attributes": {"name": "Viewed"}}}
    person = {"data": {"type": "profile", "attributes": {"external_id": "1"}}}
    event = {"data": {"type": "event", "attributes": {"properties": {}, "metric": metric, "profile": person}}}
    with simulator.serve() as url:
        options = ("--listen", "127.0.0.1:0", "--mode-file", "modes.json", "--base-url", url, "--account", "AbC123")
        with gateway(tmp_path, *options, "--drift", drift, SAFEKLAVIYO_GATEWAY_TOKEN=TOKEN) as (_, first):
            place = next(word for word in first.split() if word.startswith("http://"))
            with httpx.Client(base_url=place, headers=HEADERS) as http:
                made = http.post("/api/profile-import", json=PROFILE).json()["data"]["id"]
                changed = {"type": "profile", "id": made, "attributes": {"email": "ada@new.test"}}
                assert 200 == http.patch(f"/api/profiles/{made}", json={"data": changed}).status_code
                told = {"safeklaviyo-token": TOKEN}
                until(lambda: 'what="doubted"} 1.0' in http.get("/-/metrics", headers=told).text)
                assert status == http.post("/api/events", json=event).status_code
    assert ["ada@new.test"] == [each.email for each in simulator.profiles]


def test_a_port_that_is_taken_is_an_error(tmp_path):
    """A supervisor sees that the gateway does not run."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with gateway(tmp_path, "--listen", f"127.0.0.1:{port}") as (process, _):
            assert process.wait(20) != 0
