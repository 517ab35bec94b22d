"""Several workers share one pace an account: whatever they do, no window has more requests than Klaviyo allows."""

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeklaviyo.errors import StoreUnavailableError
from support.examples import examples
from support.pace import ENDPOINT, MemoryFile, SharedPacer, SqliteOutbox, next_turn, pacer_over


class Clock:
    """The clock of an outbox and of its workers, which a test sets."""

    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def outbox(clock):
    """An outbox in memory."""
    return SqliteOutbox(MemoryFile(), None, clock=clock)


def most(times, seconds):
    """Return the most times that any window of so many seconds holds."""
    return max(sum(each <= other < each + seconds for other in times) for each in times)


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.01, 0.3, 1.0, 7.0])), min_size=1, max_size=80))
@settings(max_examples=examples(60), deadline=None)
def test_no_window_has_too_many(calls):
    """Three workers that send whenever they may: 8 in any second, 20 in any minute, by whole seconds of the clock."""
    clock = Clock()
    outbox = SqliteOutbox(MemoryFile(), None, clock=clock)
    pacers = [pacer_over(outbox) for _ in range(3)]
    sent = []
    for worker, pause in calls:
        clock.now += pause
        slot = pacers[worker].reserve(ENDPOINT, clock.now, until=clock.now + 100)
        if slot <= clock.now + 100:
            sent.append(slot)
    assert most(sent, 1.0) <= ENDPOINT.burst
    assert most(sent, 60.0) <= ENDPOINT.steady


def test_what_one_worker_has_used_another_lacks(outbox, clock):
    """The steady limit is the account's, and not each worker's."""
    first, second = pacer_over(outbox), pacer_over(outbox)
    for _ in range(ENDPOINT.steady):
        slot = first.reserve(ENDPOINT, clock.now)
        clock.now = max(clock.now, slot)
    used_at = clock.now
    assert second.reserve(ENDPOINT, clock.now) >= used_at + 50


def test_a_turn_that_comes_too_late_is_not_taken(outbox, clock):
    """A request that cannot wait leaves the turn to others."""
    first, second = pacer_over(outbox), pacer_over(outbox)
    for _ in range(ENDPOINT.burst):
        first.reserve(ENDPOINT, clock.now)
    refused = second.reserve(ENDPOINT, clock.now, until=clock.now + 0.5)
    assert refused > clock.now + 0.5
    assert refused == second.reserve(ENDPOINT, clock.now, until=clock.now + 0.5)


def test_a_clock_that_was_set_back_holds_nobody_up(outbox, clock):
    """Turns that were reserved far ahead by it count no more."""
    clock.now += 86_400
    pacer_over(outbox).reserve(ENDPOINT, clock.now)
    clock.now -= 86_400
    assert clock.now == pacer_over(outbox).reserve(ENDPOINT, clock.now)


def test_endpoints_and_their_turns_are_apart():
    """A window that is full is waited for, and only its own seconds count."""
    assert 100 == next_turn({}, 100.9, {1: 1})
    assert 102 == next_turn({100: 1}, 100.9, {1: 1})
    assert 161 == next_turn({100: 2}, 101.0, {1: 5, 60: 2})


def test_a_held_turn_is_not_taken_again(outbox, clock):
    """A request that has waited for its turn is sent then."""
    pacer = pacer_over(outbox)
    slots = [pacer.reserve(ENDPOINT, clock.now) for _ in range(ENDPOINT.burst + 1)]
    assert slots[-1] > clock.now
    held = pacer.reserve(ENDPOINT, clock.now, held=slots[-1])
    clock.now = slots[-1]
    assert [slots[-1], clock.now] == [held, pacer.reserve(ENDPOINT, clock.now, held=held)]


def test_without_the_count_each_keeps_its_own_pace(caplog):
    """A database that is away stops nobody, and is told of once a minute."""

    def away(*_):
        raise StoreUnavailableError("the outbox is away")

    pacer = SharedPacer(away)
    with caplog.at_level(logging.WARNING, "safeklaviyo"):
        slots = [pacer.reserve(ENDPOINT, 100.0) for _ in range(ENDPOINT.burst + 1)]
    assert [100.0] * ENDPOINT.burst == slots[:-1]
    assert slots[-1] > 101.0
    assert 1 == caplog.text.count("each keeps its own")
