"""A process that dies after each step of a guarded call: when the call is made again, nothing is there twice."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.testing import KlaviyoSimulator
from support.clients import ACCOUNT
from support.deaths import act_after
from support.guarding import KEY, Shop, bulk_events, bulk_rows, event, profile
from support.scenes import ANN, BOB, NEW

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from safeklaviyo import Klaviyo
    from support.clients import OpenClient

    Pairs = set[tuple[str | None, str | None]]

ANNS, BOBS = (ANN["external_id"], ANN["email"]), (BOB["external_id"], BOB["email"])
CAT = {"email": "cat@shop.test"}
TOKEN = {
    "type": "push-token",
    "attributes": {
        "token": "t-1",
        "platform": "ios",
        "vendor": "apns",
        "enablement_status": "AUTHORIZED",
        "profile": {"data": profile(**ANN)},
    },
}
SUBSCRIBED = {"email": {"marketing": {"consent": "SUBSCRIBED"}}}


class Dead(BaseException):
    """The process is gone. No handler of an exception runs in a process that is gone, so this is no `Exception`."""

    is_death = True


@dataclass(frozen=True, slots=True)
class Scene:
    """One call of a shop's.

    Attributes:
        call: Makes it; the second argument is Bob's profile. Bob is known.
        after: All pairs in Klaviyo once the call was made again.
        events: How many events are recorded then.
    """

    call: Callable[[Shop, str], httpx.Response]
    after: Pairs
    events: int = 0


def keyed(data: dict[str, Any], number: int) -> dict[str, Any]:
    """Give an event a key, as a shop should."""
    data["attributes"]["unique_id"] = f"order-{number}"
    return data


def job_of(*people: dict[str, Any]) -> dict[str, Any]:
    """Return a job of events, each with a key."""
    job = bulk_events(*people)
    for number, row in enumerate(job["attributes"]["events-bulk-create"]["data"]):
        keyed(row["attributes"]["events"]["data"][0], number)
    return job


SCENES = {
    "first contact by an upsert": Scene(lambda shop, _: shop.upsert(**ANN, first_name="Ann"), {ANNS, BOBS}),
    "a change of address": Scene(lambda shop, bob: shop.patch(bob, email=NEW), {(BOB["external_id"], NEW)}),
    "first contact by an event": Scene(
        lambda shop, _: shop.post("/api/events", keyed(event(**ANN), 1)), {ANNS, BOBS}, events=1
    ),
    "first contact by a create": Scene(lambda shop, _: shop.create(**ANN), {ANNS, BOBS}),
    "a change of id": Scene(lambda shop, bob: shop.patch(bob, external_id="bob-9"), {("bob-9", BOB["email"])}),
    "a job of events": Scene(
        lambda shop, _: shop.post("/api/event-bulk-create-jobs", job_of(ANN, BOB, CAT)),
        {ANNS, BOBS, (None, CAT["email"])},
        events=3,
    ),
    "an import": Scene(
        lambda shop, _: shop.post("/api/profile-bulk-import-jobs", bulk_rows("profile-bulk-import-job", ANN, BOB)),
        {ANNS, BOBS},
    ),
    "consent": Scene(
        lambda shop, _: shop.post(
            "/api/profile-subscription-bulk-create-jobs",
            bulk_rows("profile-subscription-bulk-create-job", {**ANN, "subscriptions": SUBSCRIBED}),
        ),
        {ANNS, BOBS},
    ),
    "a withdrawal": Scene(
        lambda shop, _: shop.post(
            "/api/profile-subscription-bulk-delete-jobs", bulk_rows("profile-subscription-bulk-delete-job", BOB)
        ),
        {BOBS},
    ),
    "a token": Scene(lambda shop, _: shop.post("/api/push-tokens", TOKEN), {ANNS, BOBS}),
}
QUICK = {"first contact by an upsert", "a change of address"}


@pytest.mark.parametrize(
    "name", [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in SCENES]
)
def test_nothing_is_there_twice_after_a_death(name: str, open_client: OpenClient) -> None:
    """Whichever step of a guarded call was the last of its process: the next process and the same call put it right."""
    for steps in count(1):
        if not died(SCENES[name], steps, open_client):
            break
    assert steps > 3


def died(scene: Scene, steps: int, open_client: OpenClient) -> bool:
    """Let a process die after so many steps, if it takes as many, and make the call again in another one."""
    simulator = KlaviyoSimulator(account=ACCOUNT)
    store = MemoryStore(clock=simulator.now)
    with open_client(simulator, store, api_key=KEY) as k:
        bob = str(k.identify(**BOB).profile_id)
    simulator.drain()
    is_dead = _dies(scene, steps, bob, simulator, open_client(simulator, store, api_key=KEY))
    simulator.drain()
    simulator.advance(300.0)  # longer than any lease
    with open_client(simulator, store, api_key=KEY) as k:
        k.recover()
        simulator.drain()
        shop = Shop(simulator, k, mode="enforce")
        answer = scene.call(shop, bob)
        # A create that was made is refused as Klaviyo refuses it: the customer is there.
        assert answer.status_code in {200, 201, 202, 409}, (steps, answer.text)
        assert 0 == shop.counters.get("failed", 0)
    simulator.drain()
    pairs = [(each.external_id, each.email) for each in simulator.profiles]
    assert sorted(scene.after, key=str) == sorted(pairs, key=str), steps
    assert scene.events == len(simulator.events), steps
    return is_dead


def _dies(scene: Scene, steps: int, bob: str, simulator: KlaviyoSimulator, k: Klaviyo) -> bool:
    def die() -> None:
        raise Dead

    act_after(k, steps, die)
    try:
        scene.call(Shop(simulator, k, mode="enforce"), bob)
    except Dead:
        return True
    return False
