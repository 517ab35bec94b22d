"""A shop on Node.js with Klaviyo's own SDK, through the gateway: no duplicate, and the answers that it always had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
import uvicorn

from safeklaviyo import AsyncKlaviyo
from safeklaviyo.gateway import Gateway
from safeklaviyo.testing import KlaviyoSimulator
from support.node import comparable, shop_on_node

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
CALLS = Path(__file__).parent / "node" / "calls.js"
LEFT_OUT = {"connection", "keep-alive", "server", "safeklaviyo-decision", "safeklaviyo-overhead-ms"}
STATUSES = [201, 200, 409, 201, 200, 202, 400, 200, 202, 200, 202, 200, 200, 404]
DECISIONS = [
    "contact", "rewrite", "answer", "contact", "pass", "rewrite", "refuse",
    "change", "rewrite", "", "answer", "", "", "",
]  # fmt: skip
NOW = int(time.time())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where the shop is."""
    return shop_on_node(tmp_path_factory.mktemp("node"))


@contextmanager
def gateway(klaviyo, mode):
    """Serve a gateway in a thread, and yield its address."""
    app = Gateway(AsyncKlaviyo("pk_shop", account="AbC123", store="memory://", base_url=klaviyo), mode=mode)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, server_header=False))
    thread = Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def through(place, mode):
    """Return the answers of a new pretend Klaviyo with a list, through a gateway in a mode, or with no gateway."""
    simulator = KlaviyoSimulator(account="AbC123", queue_lag=0.0, start=NOW)
    simulator.add_list("Newsletter")
    with simulator.serve() as klaviyo:
        if mode is None:
            return answers(place, klaviyo)
        with gateway(klaviyo, mode) as url:
            return answers(place, url)


def answers(place, url):
    """Return what the SDK gives for each call, in the form that `comparable` has."""
    environment = {**os.environ, "KLAVIYO_URL": url}
    command = ["node", CALLS.name]
    done = subprocess.run(command, cwd=place, env=environment, text=True, capture_output=True, check=False, timeout=200)
    assert ("", 0) == (done.stderr, done.returncode)
    return [json.loads(line) for line in comparable(done.stdout).splitlines()]


def klaviyos_part(answer):
    """Return an answer without what tells of one connection, and without what is the gateway's."""
    kept = {name: value for name, value in answer["headers"].items() if name not in LEFT_OUT}
    return {**answer, "headers": kept}


def meaning(answer):
    """Return what shops read of an answer: all but the reasons of refusals, and the links of the document itself."""
    document, body = (answer.get(name) or {} for name in ("data", "body"))
    errors = [(each["code"], each["title"]) for each in document.get("errors", ())]
    body = {name: part for name, part in body.items() if name != "links"}
    data = {name: part for name, part in document.items() if name not in {"errors", "links"}}
    return answer["name"], answer["status"], answer["headers"].get("content-type"), errors, body, data


def test_klaviyos_own_sdk_gets_the_answers_that_it_gets_without_the_gateway(place):
    """Observed they are the same byte for byte; enforced, in all that a shop reads, also where the gateway refuses."""
    (place / CALLS.name).write_text(CALLS.read_text())
    plain, observed, enforced = (through(place, mode) for mode in (None, "observe", "enforce"))
    assert STATUSES == [each["status"] for each in plain]
    assert [klaviyos_part(each) for each in plain] == [klaviyos_part(each) for each in observed]
    assert [meaning(each) for each in plain] == [meaning(each) for each in enforced]
    told = [each["headers"].get("safeklaviyo-decision", "").removeprefix("enforce: ") for each in enforced]
    assert DECISIONS == [each.partition(";")[0] for each in told]


def test_the_example_makes_no_duplicate(place):
    """The shop on Node makes one by itself, and none through the gateway."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "run.py"]
    done = subprocess.run(command, cwd=place, env=environment, text=True, capture_output=True, check=False, timeout=200)
    assert ("", 0) == (done.stderr, done.returncode)
    assert [
        "raw: 1 duplicate, 1 of 2 events on the customer",
        "through the gateway: 0 duplicate, 2 of 2 events on the customer",
    ] == done.stdout.splitlines()
