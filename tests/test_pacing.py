"""What `_pacing` decides: how long a request waits so that Klaviyo's windows are never overrun."""

from __future__ import annotations

import heapq
import math
import sys
from threading import Barrier, Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.flows import LONGEST_CLOSURE, MARGIN, Endpoint, Pacer, Response

SLOW = Endpoint("get_accounts", burst=1, steady=15)
FAST = Endpoint("create_event", burst=350, steady=3500)


def says(status: int = 200, **headers: Any) -> Response:
    """Return an answer with ``RateLimit-*`` headers."""
    return Response(status, {f"ratelimit-{name}": str(value) for name, value in headers.items()}, b"")


def fits(times: list[float], limit: int, window: float) -> bool:
    """Tell whether no window of that length, wherever it begins, holds more than the limit."""
    ordered = sorted(times)
    return all(later - earlier >= window for earlier, later in zip(ordered, ordered[limit:], strict=False))


def sends(pacer: Pacer, endpoint: Endpoint, arrivals: list[float], closures: dict[float, float]) -> list[float]:
    """Let requests arrive and wait for their turns, while 429s close the endpoint; return when each was sent."""
    events: list[tuple[float, int, float | None]] = [(at, number, None) for number, at in enumerate(arrivals)]
    events += [(at, -1, seconds) for at, seconds in closures.items()]
    heapq.heapify(events)
    sent: list[float] = []
    while events:
        at, number, held = heapq.heappop(events)
        if number < 0:
            pacer.learn(endpoint, says(429), at, retry_after=held)
            continue
        place = pacer.reserve(endpoint, at, held=held)
        if place <= at:
            sent.append(at)
        else:
            heapq.heappush(events, (place, number, place))
    return sent


endpoints = st.builds(Endpoint, st.just("any"), burst=st.integers(1, 12), steady=st.integers(1, 40))
arriving = st.lists(st.one_of(st.floats(0, 5), st.floats(0, 200), st.just(1.0)), min_size=1, max_size=80)


@settings(max_examples=80, deadline=None)
@given(endpoint=endpoints, arrivals=arriving, closures=st.dictionaries(st.floats(0, 100), st.floats(0, 70), max_size=3))
def test_no_window_is_overrun_wherever_it_begins(endpoint, arrivals, closures):
    """Klaviyo does not say where its windows begin: no position of them ever holds more requests than allowed."""
    sent = sends(Pacer(), endpoint, arrivals, closures)
    assert len(arrivals) == len(sent)
    assert fits(sent, endpoint.burst, 1)
    assert fits(sent, endpoint.steady, 60)


@settings(max_examples=60, deadline=None)
@given(endpoint=endpoints, arrivals=arriving, closed_at=st.floats(0, 20), seconds=st.floats(0.1, 90))
def test_nothing_is_sent_while_the_endpoint_is_closed(endpoint, arrivals, closed_at, seconds):
    """After a 429 nobody sends until the time it names, not even who had a place already."""
    sent = sends(Pacer(), endpoint, arrivals, {closed_at: seconds})
    until = closed_at + min(seconds, LONGEST_CLOSURE)
    assert [] == [at for at in sent if closed_at < at < until]


@settings(max_examples=60, deadline=None)
@given(
    arrivals=arriving,
    limits=st.tuples(st.integers(1, 12), st.integers(1, 40)),
    told=st.tuples(st.integers(1, 12), st.integers(1, 40)),
    told_at=st.floats(0, 100),
)
def test_limits_learnt_hold_from_then_on(arrivals, limits, told, told_at):
    """Whether Klaviyo tells higher or lower limits, no window that begins later is overrun."""
    endpoint = Endpoint("any", burst=limits[0], steady=limits[1])
    pacer = Pacer()
    before = sends(pacer, endpoint, [at for at in arrivals if at < told_at], {})
    now = max([told_at, *before])
    pacer.learn(endpoint, says(limit=f"{told[0]}, {told[0]};w=1, {told[1]};w=60"), now)
    after = sends(pacer, endpoint, [at for at in arrivals if at >= now], {})
    assert fits(after, told[0], 1)
    assert fits(after, told[1], 60)


def test_places_are_given_in_order():
    """Whoever asks first goes first, one margin more than a window apart where the limit is one."""
    pacer = Pacer()
    places = [pacer.reserve(SLOW, 100.0) for _ in range(16)]
    assert [100.0 + number * (1 + MARGIN) for number in range(15)] == pytest.approx(places[:15])
    assert pytest.approx(160.0 + MARGIN) == places[15]


def test_higher_limits_let_nobody_overtake():
    """Who asks after the limits have risen still goes after those who have a place."""
    pacer = Pacer()
    last = [pacer.reserve(SLOW, 0.0) for _ in range(3)][-1]
    pacer.learn(SLOW, says(limit="9;w=1, 99;w=60"), 0.1)
    assert last == pacer.reserve(SLOW, 0.1)


def test_lower_limits_count_what_was_sent_before():
    """What went out under the old limits fills the new windows."""
    pacer = Pacer()
    for _ in range(3):
        pacer.reserve(FAST, 0.0)
    pacer.learn(FAST, says(limit="3;w=1"), 0.5)
    assert 1 + MARGIN == pacer.reserve(FAST, 0.5)


def test_endpoints_do_not_wait_for_each_other():
    """Each endpoint has a queue of its own."""
    pacer = Pacer()
    assert [5.0, 5.0] == [pacer.reserve(SLOW, 5.0), pacer.reserve(FAST, 5.0)]


def test_a_burst_within_the_limit_does_not_wait():
    """As many requests as the burst allows go at once."""
    pacer = Pacer()
    assert [7.0] * 350 == [pacer.reserve(FAST, 7.0) for _ in range(350)]
    assert pytest.approx(8.0 + MARGIN) == pacer.reserve(FAST, 7.0)


def test_a_place_too_late_is_named_but_not_taken():
    """A caller that cannot wait so long leaves the queue as it was."""
    pacer = Pacer()
    pacer.reserve(SLOW, 0.0)
    refused = [pacer.reserve(SLOW, 0.0, until=1.0) for _ in range(3)]
    assert [1 + MARGIN] * 3 == refused
    assert 1 + MARGIN == pacer.reserve(SLOW, 0.0, until=math.inf)


def test_a_place_held_is_used_when_its_time_has_come():
    """Waking a little early costs nothing, too early means waiting on, and no second place is taken for it."""
    pacer = Pacer()
    pacer.reserve(SLOW, 0.0)
    place = pacer.reserve(SLOW, 0.0)
    asked = [0.5, place - 0.0005, place, place + 3]
    expected = [place, place - 0.0005, place, place + 3]
    assert expected == [pacer.reserve(SLOW, at, held=place) for at in asked]
    assert pytest.approx(2 * (1 + MARGIN)) == pacer.reserve(SLOW, 0.0)


def test_waking_early_after_a_closure_costs_no_second_place():
    """A place at the end of a closure is one's own, even if one wakes a little before it."""
    pacer = Pacer()
    pacer.learn(SLOW, says(429), 0.0, retry_after=5)
    place = pacer.reserve(SLOW, 0.0)
    assert 4.9995 == pacer.reserve(SLOW, 4.9995, held=place)


def test_without_published_limits_an_endpoint_is_free():
    """A host that is not Klaviyo's has no limits until it names them."""
    pacer = Pacer(published=False)
    assert [0.0] * 1000 == [pacer.reserve(SLOW, 0.0) for _ in range(1000)]
    pacer.learn(SLOW, says(limit="2;w=1"), 0.0)
    assert [0.0, 0.0, 1 + MARGIN] == [pacer.reserve(SLOW, 0.0) for _ in range(3)]


@pytest.mark.parametrize(
    ("limit", "places"),
    [
        ("75, 75;w=1, 750;w=60", [0.0] * 3),
        ("2, 2 ; w=1", [0.0, 0.0, 1 + MARGIN]),
        ("2;w=5", [0.0, 1 + MARGIN, 5 + MARGIN]),
        ("", [0.0, 1 + MARGIN, 2 * (1 + MARGIN)]),
        ("0;w=1", [0.0, 1 + MARGIN, 2 * (1 + MARGIN)]),
        ("-5;w=1, 1.5;w=60, 9;w=0", [0.0, 1 + MARGIN, 2 * (1 + MARGIN)]),
        ("99999999999;w=1", [0.0, 1 + MARGIN, 2 * (1 + MARGIN)]),
    ],
)
def test_limit_header(limit, places):
    """`RateLimit-Limit` replaces the windows it names, and only those; nonsense changes nothing."""
    pacer = Pacer()
    pacer.learn(SLOW, says(limit=limit), 0.0)
    assert places == pytest.approx([pacer.reserve(SLOW, 0.0) for _ in range(3)])


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (says(remaining=0, reset=4), 4.0),
        (says(remaining=0, reset="0.5"), 0.5),
        (says(remaining=0, reset=9999), LONGEST_CLOSURE),
        (says(remaining=0, reset="soon"), 0.0),
        (says(remaining=0), 0.0),
        (says(remaining=1, reset=4), 0.0),
        (says(429, remaining=0, reset=4), 0.0),
    ],
)
def test_remaining_header(answer, wait):
    """An exhausted window closes the endpoint until it ends, and no answer closes it for more than a minute."""
    pacer = Pacer()
    pacer.learn(FAST, answer, 10.0)
    assert 10.0 + wait == pacer.reserve(FAST, 10.0)


@pytest.mark.parametrize(
    ("status", "retry_after", "wait"),
    [(429, 5.0, 5.0), (429, None, 0.0), (429, 900.0, LONGEST_CLOSURE), (503, 5.0, 0.0)],
)
def test_retry_after_closes_only_with_a_429(status, retry_after, wait):
    """A 429 speaks for the endpoint, a 503 for one request."""
    pacer = Pacer()
    pacer.learn(FAST, says(status), 10.0, retry_after=retry_after)
    assert 10.0 + wait == pacer.reserve(FAST, 10.0)


def test_a_closure_is_never_shortened():
    """A later answer with a shorter wait does not open the endpoint."""
    pacer = Pacer()
    pacer.learn(FAST, says(429), 0.0, retry_after=30)
    pacer.learn(FAST, says(429), 1.0, retry_after=2)
    assert 30.0 == pacer.reserve(FAST, 1.0)


def test_news_are_news_once():
    """A limit is adopted once, sense or nonsense; an exhausted window and a 429 are always news."""
    pacer = Pacer()
    for limit in ("2;w=1", "gibberish"):
        assert pacer.has_news(SLOW, says(limit=limit))
        pacer.learn(SLOW, says(limit=limit), 0.0)
        assert not pacer.has_news(SLOW, says(limit=limit, remaining=7))
    news = [says(), says(remaining=5), says(remaining=0), says(429)]
    assert [False, False, True, True] == [pacer.has_news(SLOW, each) for each in news]


@pytest.fixture
def eager_switching():
    """Let threads take turns as often as they can, so that what is not locked breaks."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_switching")
@pytest.mark.parametrize("threads", [2, 8])
def test_threads_share_the_places(threads):
    """Threads that ask at the same time get places that fit the limits together."""
    pacer = Pacer()
    endpoint = Endpoint("any", burst=3, steady=10**6)
    barrier = Barrier(threads)
    places: list[float] = []

    def ask() -> None:
        barrier.wait()
        places.extend(pacer.reserve(endpoint, 0.0) for _ in range(500))

    workers = [Thread(target=ask) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert 500 * threads == len(places)
    assert fits(places, 3, 1)
