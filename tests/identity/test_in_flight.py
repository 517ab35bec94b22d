"""Calls in flight: a change of identifiers lets this process's own calls about the customer land first."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx
import pytest

from safeklaviyo import CLEAR, AsyncKlaviyo, Klaviyo, RetryPolicy, ServerError
from safeklaviyo.stores.memory import MemoryStore
from support.flows import Send, Sleep, operations
from support.scenes import ACCOUNT, ANN, BOB, NEW, asked, pairs, rejected
from support.simulator import VirtualClock, World
from support.stores import AsyncAdapter

OLD = ANN["email"]
WRITES = {"create_event", "update_profile"}
NOBODY = {"external_id": None, "email": None, "phone_number": None}
NOTHING = {"customer_properties": None, "properties": None, "value": None, "value_currency": None, "time": None}


@pytest.fixture
def world(simulator, open_client):
    """Ann and Bob, whom the map knows, and a clock that only those who wait move."""
    clock = VirtualClock(simulator.now())
    store = MemoryStore(clock=clock)
    k = open_client(simulator, store)
    for who in (ANN, BOB):
        k.identify(**who)
    simulator.journal.clear()
    return World(simulator, store, clock)


@pytest.fixture
def setup(simulator, world, open_client):
    """What the calls of one client share."""
    return open_client(simulator, world.store, retry=RetryPolicy(max_attempts=1))._shell._wiring.setup()


def track(setup, **who):
    """Return the flow of an event."""
    return operations.track(setup, "Ordered", **{**NOBODY, **NOTHING, **who}, unique_id="u-1", backfill=False)


def identify(setup, **who):
    """Return the flow of a write of properties."""
    named = {**NOBODY, **who}
    return operations.identify(setup, {"plan": "gold"}, **named, append=None, unappend=None, unset=None)


CHANGES = {
    "email": lambda setup: operations.change_email(setup, NEW, external_id="ann-1", old_email=None, on_taken="refuse"),
    "id": lambda setup: operations.change_external_id(setup, "ann-9", old_external_id="ann-1", email=None),
    "no id": lambda setup: operations.change_external_id(setup, CLEAR, old_external_id="ann-1", email=None),
}
CALLS = {"track": track, "identify": identify}


def on_its_way(world, flow):
    """Start a call, and stop it where its write has left and no answer has come back."""
    world.add("call", lambda: flow)
    actor = world.actors[-1]
    while not (isinstance(actor.effect, Send) and actor.effect.request.method != "GET"):
        world.move(("step", world.actors.index(actor)))
    return actor


def let_go_on(world, actor):
    """Let somebody go on until they wait, or end."""
    while actor.ended == "running" and not isinstance(actor.effect, Sleep):
        world.move(("step", world.actors.index(actor)))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("call", CALLS)
def test_a_change_waits_for_calls_about_the_customer(world, setup, simulator, call, change):
    """H1, H3: while a call about Ann is on its way nothing is asked about her new identifiers; then it is changed."""
    before = on_its_way(world, CALLS[call](setup, **ANN))
    world.add("change", lambda: CHANGES[change](setup))
    changing = world.actors[-1]
    for _ in range(5):
        let_go_on(world, changing)
        assert (True, []) == (isinstance(changing.effect, Sleep), asked(simulator))
        world.move(("step", 1))
    let_go_on(world, before)
    assert "returned" == before.ended
    while changing.ended == "running":
        world.move(("step", 1))
    assert "changed" == changing.result.status
    ours = [endpoint for endpoint in asked(simulator) if endpoint in WRITES]
    assert [{"track": "create_event", "identify": "update_profile"}[call], "update_profile"] == ours


@pytest.mark.parametrize("call", CALLS)
def test_a_change_waits_no_longer_than_an_attempt_can_take(world, setup, simulator, call):
    """A call that never comes back delays the change by one attempt's time, and no more."""
    on_its_way(world, CALLS[call](setup, **ANN))
    start = world.clock.now
    assert "changed" == world.run(CHANGES["email"](setup)).status
    assert setup.attempt <= world.clock.now - start <= setup.attempt + 0.1


def test_a_change_of_somebody_else_is_not_held_up(world, setup):
    """Calls about Bob are nothing to Ann's change."""
    on_its_way(world, track(setup, **BOB))
    start = world.clock.now
    assert "changed" == world.run(CHANGES["email"](setup)).status
    assert start == world.clock.now


@pytest.mark.parametrize("how", ["raised", "crashed"])
def test_a_call_that_ends_badly_holds_nobody_up(world, setup, simulator, how):
    """A call that failed, or whose task was cancelled, is no longer on its way."""
    actor = on_its_way(world, track(setup, **ANN))
    if how == "raised":
        simulator.fail_next("create_event", status=500)
        let_go_on(world, actor)
    else:
        world.move(("crash", 0))
    assert how == actor.ended
    start = world.clock.now
    assert "changed" == world.run(CHANGES["email"](setup)).status
    assert start == world.clock.now


def test_two_calls_are_both_waited_for(world, setup):
    """The change goes on when the last of them has come back."""
    first, second = on_its_way(world, track(setup, **ANN)), on_its_way(world, identify(setup, **ANN))
    world.add("change", lambda: CHANGES["email"](setup))
    changing = world.actors[-1]
    let_go_on(world, changing)
    let_go_on(world, first)
    world.move(("step", 2))
    let_go_on(world, changing)
    assert isinstance(changing.effect, Sleep)
    let_go_on(world, second)
    world.move(("step", 2))
    let_go_on(world, changing)
    assert "returned" == changing.ended


def test_a_call_that_begins_meanwhile_waits_for_the_change(world, setup, simulator):
    """R13: once the change holds its lease, a new call with the old address waits, and lands with the new one."""
    world.add("change", lambda: CHANGES["email"](setup))
    changing = world.actors[-1]
    while not isinstance(changing.effect, Send):
        world.move(("step", 0))
    world.add("track", lambda: track(setup, email=OLD))
    late = world.actors[-1]
    let_go_on(world, late)
    assert isinstance(late.effect, Sleep)
    let_go_on(world, changing)
    while late.ended == "running":
        world.move(("step", 1))
    simulator.drain()
    assert (NEW, {("ann-1", NEW), ("bob-2", BOB["email"])}) == (late.result.identity.email, pairs(simulator))


def test_a_failed_call_is_no_longer_in_flight(client, simulator):
    """Through the public face: after an error the next change waits for nobody."""
    k = client(retry=RetryPolicy(max_attempts=1))
    k.identify(**ANN)
    simulator.fail_next("create_event", status=500)
    assert isinstance(rejected(k.track, "Ordered", **ANN), ServerError)
    start = simulator.now()
    assert "changed" == k.change_email(NEW, external_id="ann-1").status
    assert start == simulator.now()


def signal_at_sleep(client, event):
    """Set an event as soon as the client waits for anything."""
    shell = client._shell
    perform = shell._perform

    def watched(sender, effect):
        if isinstance(effect, Sleep):
            event.set()
        return perform(sender, effect)

    shell._perform = watched


def test_threads_of_one_client_wait_for_each_other(simulator, store):
    """Between threads: the event is held up until the change waits for it, and arrives before the PATCH."""
    left, waits = Event(), Event()

    class Slow(httpx.BaseTransport):
        def handle_request(self, request):
            if request.url.path == "/api/events":
                left.set()
                assert waits.wait(10)
            return simulator.transport.handle_request(request)

    with (
        httpx.Client(transport=Slow()) as http,
        Klaviyo("pk_test", account=ACCOUNT, store=store, http_client=http) as k,
        ThreadPoolExecutor(2) as threads,
    ):
        k.identify(**ANN)
        signal_at_sleep(k, waits)
        tracked = threads.submit(k.track, "Ordered", **ANN)
        assert left.wait(10)
        changed = threads.submit(k.change_email, NEW, external_id="ann-1")
        assert (OLD, "changed") == (tracked.result(10).identity.email, changed.result(10).status)
    assert ["create_event", "update_profile"] == [each for each in asked(simulator) if each in WRITES]


async def test_tasks_of_one_client_wait_for_each_other(simulator, store):
    """Between tasks: likewise."""
    left, waits = asyncio.Event(), asyncio.Event()

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            if request.url.path == "/api/events":
                left.set()
                await asyncio.wait_for(waits.wait(), 10)
            return await simulator.transport.handle_async_request(request)

    async with (
        httpx.AsyncClient(transport=Slow()) as http,
        AsyncKlaviyo("pk_test", account=ACCOUNT, store=AsyncAdapter(store), http_client=http) as k,
    ):
        await k.identify(**ANN)
        signal_at_sleep(k, waits)
        tracked = asyncio.create_task(k.track("Ordered", **ANN))
        await asyncio.wait_for(left.wait(), 10)
        changed = await asyncio.wait_for(k.change_email(NEW, external_id="ann-1"), 10)
        assert (OLD, "changed") == ((await tracked).identity.email, changed.status)
    assert ["create_event", "update_profile"] == [each for each in asked(simulator) if each in WRITES]


def test_other_processes_calls_are_found_by_the_recheck(open_client, simulator, store):
    """What another process had on its way puts the old address back; the recheck finds and repairs it."""
    k, other = (open_client(simulator, store) for _ in range(2))
    k.identify(**ANN)
    other.track("Ordered", **ANN)
    k.change_email(NEW, external_id="ann-1")
    simulator.drain()
    assert {("ann-1", OLD)} == pairs(simulator)
    assert [True] == [review.repaired for review in k.recheck_changes(repair=True)]
    assert {("ann-1", NEW)} == pairs(simulator)
