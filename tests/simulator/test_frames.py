"""What a paused operation depends on: two that would go on alike have one digest, and no others (`testing.frames`)."""

from __future__ import annotations

import enum
import logging
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from safeklaviyo.errors import NoResponseError
from support.flows import Recall, Sleep
from support.simulator import Point, digest_of


def after(flow, *results):
    """Return a generator that was sent these results."""
    next(flow)
    for each in results:
        flow.send(each)
    return flow


def looking():
    """Look until something is there, and remember nothing of what was seen before."""
    while True:
        seen = yield "look"
        if seen == "there":
            break
        seen = None
    return (yield "found")


class Colour(enum.Enum):
    """One of a kind."""

    RED = 1


@dataclass(slots=True)
class Held:
    """Something with fields."""

    values: list[Any] = field(default_factory=list)


def holding(held):
    """Hold something while it waits."""
    yield held
    yield held


def test_what_is_forgotten_makes_no_difference():
    """An operation that has looked five times is where it was when it had looked once."""
    assert digest_of(after(looking(), "a")) == digest_of(after(looking(), "a", "b", "c", "d"))
    assert digest_of(after(looking())) != digest_of(after(looking(), "there"))


def test_the_place_in_a_loop():
    """It stands on the stack alone, where no variable shows it."""

    def three():
        for _ in range(3):
            yield "again"

    def same():
        for each in ["one", "one", "one"]:  # noqa: UP028 - a loop of its own is the point
            yield each

    for flow in (three, same):
        assert digest_of(after(flow())) != digest_of(after(flow(), None))
    twice = [after(same(), None) for _ in range(2)]
    assert digest_of(twice[0]) == digest_of(twice[1])


def test_what_an_inner_operation_holds():
    """An operation depends on those that it has begun."""

    def outer():
        return (yield from looking())

    assert digest_of(after(outer(), "a")) == digest_of(after(outer(), "a", "b"))
    assert digest_of(after(outer())) != digest_of(after(outer(), "there"))
    ended = looking()
    ended.close()
    assert digest_of(ended) != digest_of(looking())


def test_each_kind_of_value():
    """By value, and apart from every other."""

    def bound(held):
        return lambda: held

    def later():
        return lambda: unset  # noqa: F821 - that is the point

    itself: list[object] = []
    itself.append(itself)
    values = [
        None, 1, 1.0, "1", b"1", True, Colour.RED, Held, Held([1]), Held([2]), [1], (1,), {1}, frozenset({1}), {1: 2},
        {1: 3}, bound(1), bound(2), Held([1]).values.append, Recall("a", "b"), NoResponseError("no"), range(3), itself,
        iter([1, 2]), iter([1, 3]), print, looking, later(), Point(lambda: holding(1)).after,
    ]  # fmt: skip
    digests = [digest_of(after(holding(each))) for each in values]
    assert len(values) == len(set(digests))
    assert digest_of(Held([{"a": {2, 3}}])) == digest_of(Held([{"a": {3, 2}}]))


def test_what_holds_nothing_to_decide_by():
    """A lock, or a logger, is like another of its kind."""
    assert digest_of(threading.Lock()) == digest_of(threading.Lock())
    assert digest_of(logging.getLogger("a")) == digest_of(logging.getLogger("b"))


def test_what_cannot_be_read():
    """An operation that holds such a thing counts by all that it was sent."""

    def flow():
        with open(__file__, "rb") as held:  # noqa: PTH123 - any object that cannot be copied
            assert held.readable()
            yield Sleep(1.0)

    with pytest.raises(TypeError):
        digest_of(after(flow()))
    point = Point(flow)
    assert point.remembers is None
    point.die()


def test_how_an_operation_ended():
    """What it returned or raised is all that counts then."""

    def flow(*, fails):
        seen = yield Recall("a", "b")
        yield Sleep(float(seen is None))
        if fails:
            raise NoResponseError("no")
        return 1

    for fails in (True, False):
        first = Point(lambda fails=fails: flow(fails=fails))
        paused = [first.after(seen) for seen in (None, "c")]
        assert 2 == len({each.remembers for each in paused})
        ends = [each.after(None) for each in paused]
        assert 1 == len({each.remembers for each in ends})


def test_whatever_it_asks():
    """An operation that has forgotten what it was sent is like one that was sent something else."""

    def flow():
        seen = yield Recall("a", "b")
        seen = seen is None
        yield Recall("a", "c")
        return seen

    first = Point(flow)
    assert first.remembers is not None
    one, two, other = (first.after(seen).remembers for seen in ("x", "y", None))
    assert one == two
    assert one != other


def test_what_is_asked_too_late():
    """A point from which the operation has gone on has nothing to read any more."""

    def flow():
        yield Recall("a", "b")

    first = Point(flow)
    first.after(None)
    assert first.remembers is None
