"""The guard's own threads: they end with the guard, and what waits for the log is written before."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import httpx

from safeklaviyo import Klaviyo, guard
from support.guarding import event
from support.hooks import HEADERS
from support.scenes import ANN

if TYPE_CHECKING:
    from pathlib import Path

Scene = tuple[Any, str, Klaviyo]
BOTH = {"safeklaviyo-guard-map", "safeklaviyo-guard-log"}


def begun(before: set[threading.Thread]) -> dict[str, threading.Thread]:
    """Return the guard's threads that have begun since."""
    return {each.name: each for each in threading.enumerate() if each not in before and each.name in BOTH}


def test_both_end_when_the_guard_is_taken_away(scene: Scene, tmp_path: Path) -> None:
    """An observed call with a log needs both; afterwards neither is left, and the log has its line."""
    _, url, k = scene
    before = set(threading.enumerate())
    with guard.install(k, decision_log=tmp_path / "log.jsonl"):
        httpx.post(f"{url}/api/events", json={"data": event(**ANN)}, headers=HEADERS)
        assert BOTH == begun(before).keys()
    assert {} == begun(before)
    assert 1 == len((tmp_path / "log.jsonl").read_text().splitlines())


def test_both_end_with_the_client_and_begin_again(scene: Scene, tmp_path: Path) -> None:
    """A transport that is used after it was closed works as before."""
    _, url, k = scene
    before = set(threading.enumerate())
    hook = guard.transport(k, decision_log=tmp_path / "log.jsonl")
    for number in (1, 2):
        with httpx.Client(base_url=url, headers=HEADERS, transport=hook) as http:
            http.post("/api/events", json={"data": event(**ANN)})
        assert {} == begun(before)
        assert number == len((tmp_path / "log.jsonl").read_text().splitlines())


def test_both_end_with_a_guard_that_is_dropped(scene: Scene, tmp_path: Path) -> None:
    """A shop that makes a client for each call, and closes none, piles up no threads."""
    _, url, k = scene
    before = set(threading.enumerate())
    inner = httpx.HTTPTransport()
    hook = guard.transport(k, inner, decision_log=tmp_path / "log")
    http = httpx.Client(base_url=url, headers=HEADERS, transport=hook)
    http.post("/api/events", json={"data": event(**ANN)})
    threads = begun(before)
    assert BOTH == threads.keys()
    hook.guard.flush()  # a line that waits needs its guard
    inner.close()
    del http, hook
    gc.collect()
    for each in threads.values():
        each.join(10.0)
    assert {} == begun(before)


def test_a_process_that_ends_has_written_its_lines(scene: Scene, tmp_path: Path) -> None:
    """Also without an `uninstall`: a script of three lines is a shop's usual way to call Klaviyo."""
    _, url, _ = scene
    program = f"""
import httpx
from safeklaviyo import Klaviyo, guard
k = Klaviyo("pk_simulator", account="SiMuLa", store="memory://", base_url={url!r})
guard.install(k, decision_log={str(tmp_path / "log.jsonl")!r})
httpx.post("{url}/api/events", json={{"data": {event(**ANN)!r}}}, headers={HEADERS!r})
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    assert "create_event" == json.loads(line)["operation"]
