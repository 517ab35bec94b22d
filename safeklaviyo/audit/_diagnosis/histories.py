"""The histories that a log leaves open: the same calls, delayed, racing, earlier, or without those that got no answer.

A log has the order in which calls were sent. Klaviyo may have applied them in another order: it answers an event at
once and applies it later, "up to a few minutes" (its Events API overview). Decided here: how far apart two calls may be
for each kind of change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from safeklaviyo.audit._diagnosis.bodies import READS
from safeklaviyo.audit._diagnosis.endpoints import SYNCHRONOUS, UNDOING
from safeklaviyo.audit._diagnosis.replays import Plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from safeklaviyo.audit._diagnosis.people import Part

DELAY: Final = 600.0
"""Seconds that an accepted call may wait in Klaviyo."""
AT_ONCE: Final = 2.0
"""Two calls within so many seconds may have been in Klaviyo's hands at the same moment."""

Operator = Literal["away", "delayed", "earlier", "racing"]


@dataclass(frozen=True, slots=True)
class Change:
    """How a history differs from the log's order.

    Attributes:
        operator: What is different: ``one`` was not carried out, was applied after ``other``, came before ``other``, or
            raced it.
        one: The number of the first part.
        other: The number of the second part.
    """

    operator: Operator
    one: int
    other: int


def changes(parts: Sequence[Part]) -> list[tuple[Change, Plan]]:
    """Return the histories of a group that differ from the log in one thing, those with the shortest delay first."""
    writes = [number for number, part in enumerate(parts) if part.call.operation not in READS]
    found: list[tuple[float, int, Change, Plan]] = []
    for place, first in enumerate(writes):
        for second in writes[place + 1 :]:
            apart = _seconds(parts, first, second)
            if apart > _longest(parts, first):
                break
            found += ((apart, second - first, change, plan) for change, plan in _between(parts, first, second))
    return [(change, plan) for _, _, change, plan in sorted(found, key=_distance)]


def _between(parts: Sequence[Part], first: int, second: int) -> Iterator[tuple[Change, Plan]]:
    """Yield the changes that may have happened between two calls."""
    usual = range(len(parts))
    if _may_race(parts, first, second):
        yield Change("racing", first, second), Plan(tuple(usual), (first, second))
    if _may_wait(parts, first, second):
        order = [*usual[:first], *usual[first + 1 : second + 1], first, *usual[second + 1 :]]
        yield Change("delayed", first, second), Plan(tuple(order))
    if _may_come_first(parts, first, second):
        order = [*usual[:first], second, *usual[first:second], *usual[second + 1 :]]
        yield Change("earlier", second, first), Plan(tuple(order))


def _distance(item: tuple[float, int, Change, Plan]) -> tuple[float, int]:
    return item[0], item[1]


def reaches(parts: Sequence[Part]) -> list[int]:
    """Return, for each part, how many later parts were sent before it was certainly done, counting itself."""
    found: list[int] = []
    for first in range(len(parts)):
        second = first + 1
        while second < len(parts) and _seconds(parts, first, second) <= _longest(parts, first):
            second += 1
        found.append(second - first)
    return found


def unanswered(parts: Sequence[Part]) -> list[int]:
    """Return the numbers of the writes without an answer: Klaviyo may have carried them out or not."""
    return [
        number
        for number, part in enumerate(parts)
        if part.call.accepted is None and part.call.operation not in READS
    ]  # fmt: skip


def _may_wait(parts: Sequence[Part], first: int, second: int) -> bool:
    """Tell whether Klaviyo may have applied the first of two calls after the second."""
    return parts[first].call.operation not in SYNCHRONOUS and not _is_same(parts[first], parts[second])


def _may_come_first(parts: Sequence[Part], first: int, second: int) -> bool:
    """Tell whether the second of two calls may have reached Klaviyo first, sent before the first was answered."""
    return parts[first].call.operation in SYNCHRONOUS and not _is_same(parts[first], parts[second])


def _may_race(parts: Sequence[Part], first: int, second: int) -> bool:
    """Tell whether two calls may have looked for one person at the same moment, one by id and one by email."""
    operations = {parts[first].call.operation, parts[second].call.operation}
    return not operations & UNDOING and _keyed_apart(parts, first, second)


def _keyed_apart(parts: Sequence[Part], first: int, second: int) -> bool:
    one, other = parts[first], parts[second]
    for row, who in one.rows:
        for another, owner in other.rows:
            if who is None or who != owner or row.profile_id or another.profile_id:
                continue
            if (row.external_id is None) != (another.external_id is None):
                return True
    return False


def _is_same(one: Part, other: Part) -> bool:
    return one.call.operation == other.call.operation and one.rows == other.rows


def _longest(parts: Sequence[Part], number: int) -> float:
    """Return the seconds after which a call is certainly done."""
    call = parts[number].call
    return max(AT_ONCE, call.took or 0.0) if call.operation in SYNCHRONOUS else DELAY


def _seconds(parts: Sequence[Part], first: int, second: int) -> float:
    """Return how many seconds later the second call was sent; 0 if the log has no times."""
    before, after = parts[first].call.time, parts[second].call.time
    return 0.0 if before is None or after is None else (after - before).total_seconds()
