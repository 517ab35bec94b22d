"""A shop's day, run over real HTTP against pretend Klaviyos: with plain calls, the same guarded, and by `Klaviyo`.

Decided here: what all runs share, so that the shop's own code is the only difference: the script (`script`), the
faults, the time that passes, and the counting of profiles and events at the end (`counts`). The two shops are in
`shops`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from threading import Barrier
from typing import TYPE_CHECKING, Final

import httpx

from safeklaviyo import Klaviyo, guard
from safeklaviyo.demo import script
from safeklaviyo.demo.counts import Counts, count
from safeklaviyo.demo.shops import RawShop, SafeShop
from safeklaviyo.testing.simulator import KlaviyoSimulator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeklaviyo.demo.script import Customer, Moment
    from safeklaviyo.demo.shops import Shop

__all__ = ["Counts", "Outcome", "run"]

_KEY: Final = "pk_demo"
_ACCOUNT: Final = "SiMuLa"
_HEADERS: Final = {"Authorization": f"Klaviyo-API-Key {_KEY}", "revision": "2026-10-15"}
_BETWEEN_MOMENTS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is in each of the Klaviyos after the day.

    Attributes:
        customers: The number of the shop's customers.
        raw: After plain HTTP calls.
        safe: After the same day through `Klaviyo`.
        postponed: Events that `Klaviyo` refused because they had only an external id that neither the map nor Klaviyo
            had yet, and that the shop repeated after the customer's first contact.
        observed: After the same plain calls, observed by the guard.
        guarded: After the same plain calls, with the guard in enforce, with an outbox, and with keys from content.
        parked: Events that the guard put into the outbox, because they had only an external id that neither the map
            nor Klaviyo had yet. They were carried out after the customer's sign-up.
    """

    customers: int
    raw: Counts
    safe: Counts
    postponed: int
    observed: Counts
    guarded: Counts
    parked: int


def run(customers: int) -> Outcome:
    """Run the day in each way, and count.

    Args:
        customers: The number of the shop's customers; with six each kind of day occurs.

    Raises:
        RuntimeError: uvicorn is not installed.
    """
    people = script.customers(customers)
    moments = script.day(people)
    raw = _run_raw(people, moments)
    observed, _ = _run_guarded(people, moments, "observe")
    guarded, parked = _run_guarded(people, moments, "enforce")
    safe, postponed = _run_safe(people, moments)
    return Outcome(customers, raw, safe, postponed, observed, guarded, parked)


def _run_raw(people: Sequence[Customer], moments: Sequence[Moment]) -> Counts:
    simulator = KlaviyoSimulator()
    with simulator.serve() as url, httpx.Client(base_url=url, headers=_HEADERS) as http:
        _live(RawShop(http, wait=simulator.advance), simulator, moments)
    return count(simulator, people, moments)


def _run_guarded(people: Sequence[Customer], moments: Sequence[Moment], mode: guard.Mode) -> tuple[Counts, int]:
    """Run the plain day through the guard: the shop's code is the same, and its HTTP client has another transport.

    In enforce a worker drains the outbox in the evening.
    """
    simulator = KlaviyoSimulator()
    with ExitStack() as opened:
        folder = opened.enter_context(TemporaryDirectory())
        url = opened.enter_context(simulator.serve())
        store = f"sqlite:///{folder}/identity.db"
        k = opened.enter_context(Klaviyo(_KEY, store=store, outbox=store, base_url=url, account=_ACCOUNT))
        hook = guard.transport(k, mode=mode, unique_id="from_content")
        http = opened.enter_context(httpx.Client(base_url=url, headers=_HEADERS, transport=hook))
        _live(RawShop(http, wait=simulator.advance), simulator, moments)
        k.outbox.drain()
        _let_time_pass(simulator)
    return count(simulator, people, moments), hook.guard.counters["parked"]


def _run_safe(people: Sequence[Customer], moments: Sequence[Moment]) -> tuple[Counts, int]:
    simulator = KlaviyoSimulator()
    with ExitStack() as opened:
        folder = opened.enter_context(TemporaryDirectory())
        url = opened.enter_context(simulator.serve())
        # Two clients on one file, as two worker processes of a shop have them.
        workers = [
            opened.enter_context(Klaviyo(_KEY, store=f"sqlite:///{folder}/identity.db", base_url=url)) for _ in range(2)
        ]
        shop = SafeShop(workers)
        _live(shop, simulator, moments)
    return count(simulator, people, moments), shop.postponed


def _live(shop: Shop, simulator: KlaviyoSimulator, moments: Sequence[Moment]) -> None:
    with ThreadPoolExecutor(2) as threads:
        for moment in moments:
            if moment.fault is not None:
                simulator.fail_next("create_event", status=moment.fault.status, when=moment.fault.when)
            if moment.is_race:
                _race(shop, moment, threads)
            else:
                for call in moment.calls:
                    shop.perform(call)
            # The queue is drained before the next moment: the demo shows the faults of the shop's code, not those that
            # come of Klaviyo's lag (H1).
            _let_time_pass(simulator)
            shop.catch_up()
            _let_time_pass(simulator)


def _race(shop: Shop, moment: Moment, threads: ThreadPoolExecutor) -> None:
    start = Barrier(len(moment.calls))  # without it the first call would be done before the second begins

    def _work(worker: int) -> None:
        start.wait()
        shop.perform(moment.calls[worker], worker)

    list(threads.map(_work, range(len(moment.calls))))


def _let_time_pass(simulator: KlaviyoSimulator) -> None:
    simulator.advance(_BETWEEN_MOMENTS)
    simulator.drain()
