"""What calls other than a warm `track` cost, in CPU of this process, with the simulator as the server.

- A warm `identify`, against the same profile posted by `httpx.Client`.
- A page of 100 profiles, against the same page fetched and decoded by `httpx.Client`.
- The first contact of a customer: the look-up, the lease, the searches, the create, and what the map is told.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx

from safeklaviyo import Klaviyo
from tests.benchmarks.customers import customers, in_turn
from tests.benchmarks.measuring import ACCOUNT, HEADERS, KEY, cpu, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROPERTIES = {"plan": "gold", "size": 42, "tags": ["a", "b"]}
NAMES = {"first_name": "Ann", "last_name": "Lee"}
HTTPX = "the same by httpx.Client"


@contextmanager
def simulated() -> Iterator[str]:
    """Serve the simulator, without limits, in a process of its own."""
    command = [sys.executable, "-m", "safeklaviyo", "simulate", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield next(word for line in process.stdout for word in line.split() if word.startswith("http://"))
        finally:
            process.terminate()


def compare(folder: Path, rounds: int) -> None:
    """Print the three tables."""
    with simulated() as url, httpx.Client(base_url=url, headers=HEADERS) as plain:
        for store in ("memory://", f"sqlite:///{folder}/verbs.db"):
            with Klaviyo(KEY, account=ACCOUNT, base_url=url, store=store) as client:
                shop = "verbs" + store[:6]
                name = store.partition(":")[0]
                contact = _first_contact(client, shop)
                contacts = {"a bare request by httpx.Client": _get(plain), f"first contact, {name}": contact}
                show("First contact of a customer", cpu(contacts, number=100, rounds=rounds), next(iter(contacts)))
                known = {HTTPX: _posted(plain, shop), f"Klaviyo.identify, {name}": _identify(client, shop)}
                show("A warm identify", cpu(known, number=200, rounds=rounds), HTTPX)
        with Klaviyo(KEY, account=ACCOUNT, base_url=url, store="memory://") as client:
            pages = {HTTPX: _page(plain), "Klaviyo.profiles.iterate": _iterated(client)}
            show("A page of 100 profiles", cpu(pages, number=20, rounds=rounds), HTTPX)


def _first_contact(client: Klaviyo, shop: str) -> Callable[[], object]:
    number = itertools.count()
    return lambda: client.identify(
        external_id=f"{shop}-new-{(n := next(number))}",
        email=f"new.{shop[:5]}{shop[-1]}{n}@shop.example.net",
        properties=NAMES,
    )


def _get(plain: httpx.Client) -> Callable[[], object]:
    return lambda: plain.get("/api/profiles", params={"filter": 'equals(email,"none@shop.example.net")'}).json()


def _identify(client: Klaviyo, shop: str) -> Callable[[], object]:
    following = in_turn(customers(shop)[:1000])
    for _ in range(1000):
        each = following()
        client.identify(external_id=each.external_id, email=each.email, properties=NAMES)

    def call() -> None:
        each = following()
        client.identify(external_id=each.external_id, email=each.email, properties=NAMES | PROPERTIES)

    return call


def _posted(plain: httpx.Client, shop: str) -> Callable[[], object]:
    following = in_turn(customers("plain" + shop))

    def call() -> None:
        each = following()
        attributes: dict[str, Any] = {"external_id": each.external_id, "email": each.email, **NAMES}
        profile = {"type": "profile", "attributes": attributes | {"properties": PROPERTIES}}
        answer = plain.post("/api/profile-import", json={"data": profile})
        assert answer.status_code in (200, 201), answer.text
        json.loads(answer.content)

    return call


def _page(plain: httpx.Client) -> Callable[[], object]:
    return lambda: plain.get("/api/profiles", params={"page[size]": 100}).json()["data"]


def _iterated(client: Klaviyo) -> Callable[[], object]:
    return lambda: list(itertools.islice(client.profiles.iterate(page_size=100), 100))
