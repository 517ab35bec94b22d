"""The search for the calls that made one person's second profile.

In this order: the log's own order under the usual reading; the same under each other reading that matters; and if none
of these is a history with a second profile, the histories that differ from the log in one thing. Decided here: what is
certain, and which of several causes is named. Read next: `replays`, `histories`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from safeklaviyo.audit._diagnosis.bodies import READS
from safeklaviyo.audit._diagnosis.endpoints import BY_ID, SYNCHRONOUS, UNDOING
from safeklaviyo.audit._diagnosis.evidence import Before
from safeklaviyo.audit._diagnosis.histories import Change, changes, reaches, unanswered
from safeklaviyo.audit._diagnosis.open_questions import BY_EVENTS, USUAL, Reading, other_readings
from safeklaviyo.audit._diagnosis.replays import Plan, Replay, Stage, Twice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from safeklaviyo.audit._diagnosis.people import Group, Part, Who

_MOST_BEFORE: Final = 20


@dataclass(frozen=True, slots=True)
class Cause:
    """The calls that made a second profile.

    Attributes:
        stage: The linked calls that were replayed.
        plan: Of the calls that are needed: the order in which they did it. The last one is the cause.
        change: How that differs from the log; None where the log's order does it.
        rank: How well it is founded; 0 is certain.
        before: What was there before the log begins, which is assumed.
    """

    stage: Stage
    plan: Plan
    twice: Twice
    reading: Reading
    rank: int
    change: Change | None = None
    disagrees: Reading | None = None
    before: tuple[Before, ...] = ()
    away: tuple[int, ...] = ()
    carried_out: tuple[int, ...] = ()

    @property
    def in_log_order(self) -> list[int]:
        """The numbers of the parts in the order in which they were sent."""
        return sorted(self.plan.order)

    @property
    def at(self) -> int:
        """The place of the cause in the log."""
        return self.stage.parts[self.plan.order[-1]].at


CERTAIN, BY_ORDER, BY_ANSWERS, BY_CHANGE, BY_READING = range(5)
"""How well a cause is founded: by the log's order under every reading, or under the usual one; by a change of the order
that the log's answers ask for, or that they allow; by the log's order under another reading."""


@dataclass(slots=True)
class Search:
    """Looks for a cause in groups of linked calls.

    Args:
        asked: The people that are meant; None for all.
        on_progress: Called with the number of groups that were looked at.
    """

    asked: set[Who] | None = None
    found: list[Cause] = field(default_factory=list["Cause"])

    def run(self, groups: Sequence[Group], on_progress: Callable[[int], None] = lambda _: None) -> Cause | None:
        """Return the best founded cause; of several, the earliest."""
        looked_at: list[_Group] = []
        for number, each in enumerate(groups):
            group = _Group(_stage(each), self.asked)
            if len(group.stage.parts) > 1 or group.stage.before:
                self.found += group.in_order()
                looked_at.append(group)
            on_progress(number + 1)
        best = min(self.found, key=_rank, default=None)
        if best is not None and best.rank <= BY_ORDER:
            return best
        refuted = [group for group in looked_at if group.is_refuted]
        for group in refuted:
            self.found += group.otherwise(BY_ANSWERS)
        if not self.found:
            self._speculate(group for group in looked_at if not group.is_refuted)
        return min(self.found, key=_rank, default=None)

    def _speculate(self, groups: Iterable[_Group]) -> None:
        """Look for a change of the order, or another reading, in groups of which nothing says that there was one."""
        # Many customers have the same calls: one of them is searched for all.
        memory: dict[object, bool] = {}
        for group in groups:
            first = min((cause.at for cause in self.found if cause.rank == BY_CHANGE), default=None)
            if first is not None and first < group.stage.parts[0].at:
                # All that is left to search begins later than what is found.
                return
            if group.is_open and memory.get(group.shape, True):
                causes = list(group.otherwise(BY_CHANGE))
                memory[group.shape] = bool(causes)
                self.found += causes


def _stage(group: Group) -> Stage:
    before = [Before(row.profile_id, row.external_id, row.email, row.phone_number, who) for row, who in group.before]
    return Stage([part for part in group.parts if _counts(part)], before)


def _counts(part: Part) -> bool:
    """Tell whether a call did something, or shows something: a call that was refused for its form did neither."""
    call = part.call
    refused = call.accepted is False and call.operation not in READS
    return not refused or (call.operation in SYNCHRONOUS and call.status in {404, 409})


def _rank(cause: Cause) -> tuple[int, int, int]:
    return cause.rank, cause.at, len(cause.plan.order)


@dataclass(slots=True)
class _Needs:
    """What makes a reduced history the same story.

    Attributes:
        who: The person who has two profiles.
        told: Calls of which one has to have been done, if there are any.
        made: Which of two racing calls made a profile; None without a race.
    """

    who: Who
    told: set[int] = field(default_factory=set[int])
    made: set[int] | None = None


class _Group:
    """One group of linked calls."""

    def __init__(self, stage: Stage, asked: set[Who] | None) -> None:
        self.stage = stage
        self.asked = asked
        self.assumed: list[Before] = []
        self.is_refuted = False
        self.asked_of_events = BY_EVENTS
        self.usual = Plan(tuple(range(len(stage.parts))))

    @property
    def is_open(self) -> bool:
        """Whether anybody is named in more than one way. Nobody else can get a second profile by a change."""
        forms: dict[Who | None, tuple[str | None, ...]] = {}
        for part in self.stage.parts:
            for row, who in part.rows:
                form = (row.external_id, row.email, row.phone_number)
                if forms.setdefault(who, form) != form or part.call.merged:
                    return True
        return False

    @property
    def shape(self) -> object:
        """What makes the search of another group the same: the calls without their values."""
        names: dict[object, int] = {}

        def short(value: object) -> int | None:
            return None if value is None else names.setdefault(value, len(names))

        parts = self.stage.parts
        return tuple(
            (
                part.call.operation,
                part.call.status,
                part.call.has_list,
                reach,
                tuple(
                    (short(row.external_id), short(row.email), short(row.phone_number), short(row.profile_id),
                     short(row.anonymous_id), row.is_number, short(who))
                    for row, who in part.rows
                ),
                tuple((short(each.profile_id), short(each.external_id), short(each.email)) for each in part.shown),
                tuple(map(short, part.call.merged or ())),
            )
            for part, reach in zip(parts, reaches(parts), strict=True)
        )  # fmt: skip

    def in_order(self) -> Iterator[Cause]:
        """Yield the cause that the log's own order has, under the usual reading."""
        replay = self._learn_before()
        self.is_refuted = replay.refuted is not None
        self.asked_of_events = BY_EVENTS if self.is_refuted else frozenset(replay.asked)
        if not self.is_refuted and (replay.twice or self._undoes):
            found = self._twice(self.usual, USUAL)
            if found is not None:
                yield self._judged(*found)

    @property
    def _undoes(self) -> bool:
        return any(part.call.operation in UNDOING for part in self.stage.parts)

    def otherwise(self, rank: int) -> Iterator[Cause]:
        """Yield the nearest causes that another history has: one thing changed, or the log's order read otherwise."""
        without = unanswered(self.stage.parts)
        if without:
            kept = tuple(number for number in self.usual.order if number not in without)
            found = self._checked(Plan(kept), USUAL)
            if found is not None:
                yield self._cause(*found, USUAL, rank, away=tuple(without))
        others = list(other_readings(self.stage.parts))
        for reading in others:
            came_up = reading.deviates not in BY_EVENTS or reading.deviates in self.asked_of_events
            if came_up and self._agrees(reading):
                found = self._twice(self.usual, reading)
                if found is not None:
                    yield self._cause(*found, reading, BY_READING)
                    break
        for reading in [USUAL, *others] if rank == BY_ANSWERS else [USUAL]:
            for change, plan in changes(self.stage.parts):
                found = self._checked(plan, reading)
                if found is not None:
                    yield self._cause(*found, reading, rank, change=change)
                    return

    def _learn_before(self) -> Replay:
        """Add the profiles that were there before the log begins, as its first answers show; return the last replay."""
        replay = self.stage.play(self.usual)
        for _ in range(_MOST_BEFORE):
            if replay.refuted is None or replay.lacking is None:
                break
            self.stage.before.append(replay.lacking)
            after = self.stage.play(self.usual)
            if after.refuted is not None and after.refuted <= replay.refuted:
                # With this profile an earlier answer is wrong, or the same one still is: it was made later.
                self.stage.before.pop()
                break
            self.assumed.append(replay.lacking)
            replay = after
        return replay

    def _agrees(self, reading: Reading) -> bool:
        return self.stage.play(self.usual, reading).refuted is None

    def _checked(self, plan: Plan, reading: Reading) -> tuple[Plan, Twice] | None:
        """Return the cause in a plan, if the log's answers agree with the whole of it."""
        replay = self.stage.play(plan, reading)
        return None if replay.refuted is not None else self._first(plan, reading, replay.twice)

    def _twice(self, plan: Plan, reading: Reading) -> tuple[Plan, Twice] | None:
        """Return the cause in a plan: what is there at its end, else what a merge or a deletion has put right."""
        ends = [place for place, number in enumerate(plan.order) if self.stage.parts[number].call.operation in UNDOING]
        for end in (len(plan.order), *reversed(ends)):
            part = Plan(plan.order[:end], plan.race)
            found = self._first(part, reading, self.stage.play(part, reading).twice)
            if found is not None:
                return found
        return None

    def _first(self, plan: Plan, reading: Reading, twice: list[Twice]) -> tuple[Plan, Twice] | None:
        """Return the first person with two profiles, and the calls that are needed for it."""
        meant = [each for each in twice if self.asked is None or each.who in self.asked]
        if not meant:
            return None
        return self._least(plan, reading, meant[0])

    def _least(self, plan: Plan, reading: Reading, twice: Twice) -> tuple[Plan, Twice] | None:
        """Take away every call that is not needed, the latest first, so that the earliest are left."""
        # A read changes nothing, so it is never a cause.
        parts = self.stage.parts
        order = tuple(number for number in plan.order[: twice.place + 1] if parts[number].call.operation not in READS)
        needs = _Needs(twice.who, self._told(order, twice.who))
        if plan.race is not None:
            # Two calls that race to one profile are another story than two that race to none.
            replay = self.stage.play(Plan(order, plan.race), reading, check=False)
            needs.made = replay.made.intersection(plan.race)
        best = self._still(Plan(order, plan.race), reading, needs)
        if best is None:
            return None
        is_smaller = True
        while is_smaller:
            is_smaller = False
            for place in range(len(order) - 2, -1, -1):
                if order[place] in (plan.race or ()):
                    continue
                fewer = Plan((*order[:place], *order[place + 1 :]), plan.race)
                still = self._still(fewer, reading, needs)
                if still is not None:
                    order, best, is_smaller = fewer.order, still, True
        return Plan(order, plan.race), best

    def _told(self, order: Sequence[int], who: Who) -> set[int]:
        """Return the calls that told Klaviyo that the last call's identifiers are this person's.

        One of them stays. Without it Klaviyo could not have known better, and the cause would be another one.
        """
        last = [row for row, whose in self.stage.parts[order[-1]].rows if whose == who]
        named = {(kind, value) for row in last for kind, value in (("id", row.key), ("email", row.address)) if value}
        found: set[int] = set()
        for number in order[:-1]:
            part = self.stage.parts[number]
            for row, whose in part.rows:
                gives = (row.key and row.address) or part.call.operation in BY_ID
                if whose == who and gives and named & {("id", row.key), ("email", row.address)}:
                    found.add(number)
        return found

    def _still(self, plan: Plan, reading: Reading, needs: _Needs) -> Twice | None:
        """Return the person's two profiles, if the last call of a plan makes the second one."""
        last = len(plan.order) - 1
        replay = self.stage.play(plan, reading, check=False)
        if needs.told and not needs.told & replay.done:
            return None
        if needs.made is not None and needs.made != replay.made.intersection(plan.race or ()):
            return None
        return next((each for each in replay.twice if each.who == needs.who and each.place == last), None)

    def _judged(self, plan: Plan, twice: Twice) -> Cause:
        """Return a cause of the log's own order, with what it assumes."""
        doubted = unanswered([self.stage.parts[number] for number in plan.order])
        carried_out = tuple(plan.order[place] for place in doubted)
        # A reading that the log's answers rule out is no objection.
        others = (each for each in other_readings(self.stage.parts) if self._agrees(each))
        disagrees = next((each for each in others if self._still(plan, each, _Needs(twice.who)) is None), None)
        is_certain = disagrees is None and not self.assumed and not carried_out
        rank = CERTAIN if is_certain else BY_ORDER
        return self._cause(plan, twice, USUAL, rank, disagrees=disagrees, carried_out=carried_out)

    def _cause(self, plan: Plan, twice: Twice, reading: Reading, rank: int, **more: Any) -> Cause:
        return Cause(self.stage, plan, twice, reading, rank, before=tuple(self.assumed), **more)
