"""What `_budget` decides: whether one more retry can be paid for."""

from __future__ import annotations

import time
from threading import Barrier, Thread

from hypothesis import given, settings
from hypothesis import strategies as st

from support.flows import CAPACITY, RETRY_COST, SUCCESS_GAIN, TIMEOUT_COST, Budget


def test_a_new_budget_is_full():
    """A client begins with all its tokens."""
    assert CAPACITY == Budget().tokens


def test_an_outage_pays_for_a_fixed_number_of_retries():
    """Without a success the budget ends after a hundred retries, or fifty after timeouts."""
    plain, timeouts = Budget(), Budget()
    assert (100, 50) == (CAPACITY // RETRY_COST, CAPACITY // TIMEOUT_COST)
    assert [True] * 100 + [False] == [plain.take(RETRY_COST) for _ in range(101)]
    assert [True] * 50 + [False] == [timeouts.take(TIMEOUT_COST) for _ in range(51)]


def test_a_retry_that_cannot_be_paid_costs_nothing():
    """Tokens that do not suffice stay, for a cheaper retry."""
    budget = Budget(7)
    assert (False, 7, True, 2) == (budget.take(10), budget.tokens, budget.take(5), budget.tokens)


def test_a_success_puts_one_token_back():
    """Plain successes refill the budget slowly, and never beyond its capacity."""
    budget = Budget(10)
    budget.take(10)
    for _ in range(12):
        budget.give()
    assert (1, 10) == (SUCCESS_GAIN, budget.tokens)


@settings(max_examples=100, deadline=None)
@given(capacity=st.integers(1, 50), moves=st.lists(st.tuples(st.booleans(), st.integers(1, 20)), max_size=60))
def test_tokens_stay_within_bounds(capacity, moves):
    """Whatever is taken and given, the tokens are what they should be, from nothing to the capacity."""
    budget = Budget(capacity)
    expected = capacity
    for takes, amount in moves:
        if takes:
            assert (expected >= amount) == budget.take(amount)
            expected -= amount if expected >= amount else 0
        else:
            budget.give(amount)
            expected = min(capacity, expected + amount)
        assert expected == budget.tokens


class Slow(int):
    """A cost that lets other threads in while it is being subtracted."""

    def __rsub__(self, other: int) -> int:
        time.sleep(0)
        return other - int(self)


def test_threads_share_the_tokens():
    """No token is spent twice, however many threads ask at once."""
    budget = Budget(1_501)
    barrier = Barrier(8)
    paid: list[bool] = []

    def spend() -> None:
        barrier.wait()
        paid.extend(budget.take(Slow(3)) for _ in range(200))

    workers = [Thread(target=spend) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (500, 1) == (sum(paid), budget.tokens)
