"""The search for the calls that made one person's second profile.

The search tries in turn:

1. the log's own order, under the usual reading;
2. the log's own order, under each other reading that matters;
3. the histories that differ from the log in one thing, if none of the first two has a second profile.

Decided here: which cause is certain, and which of several causes is named. Read next: `replays`, `histories`.
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
        plan: The needed calls, in the order in which they made the second profile. The last one is the cause.
        twice: The person, and the two profiles.
        reading: The answers to Klaviyo's open questions under which they did so.
        rank: How well the cause is founded; 0 is certain.
        change: How the plan differs from the log; None if it has the log's order.
        disagrees: A reading under which the plan makes no second profile; None if there is none.
        before: Profiles that are assumed to have been there before the log begins.
        away: Calls without an answer that are assumed not to have been carried out.
        carried_out: Calls without an answer that are assumed to have been carried out.
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
"""How well a cause is founded, the best first:

- the log's own order makes the second profile, under every reading;
- the log's own order does, under the usual reading;
- another order does, and the log's answers contradict the log's own order;
- another order does, and the log's answers allow it;
- the log's own order does, under another reading.
"""


@dataclass(slots=True)
class Search:
    """Looks for a cause in groups of linked calls.

    Args:
        asked: The people to look at; None for all.
        found: The causes that were found so far.
    """

    asked: set[Who] | None = None
    found: list[Cause] = field(default_factory=list["Cause"])

    def run(self, groups: Sequence[Group], on_progress: Callable[[int], None] = lambda _: None) -> Cause | None:
        """Return the best founded cause, and the earliest of several; None if there is none.

        Args:
            groups: The groups of linked calls.
            on_progress: Called with the number of groups that were looked at.
        """
        # Step 1: the log's own order, in every group. A cause that it has needs no guess, so the search ends with it.
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
        # Step 2: groups of which the log's answers contradict the log's order. There something else must have happened.
        refuted = [group for group in looked_at if group.is_refuted]
        for group in refuted:
            self.found += group.otherwise(BY_ANSWERS)
        # Step 3: all other groups, in which something else may have happened.
        if not self.found:
            self._speculate(group for group in looked_at if not group.is_refuted)
        return min(self.found, key=_rank, default=None)

    def _speculate(self, groups: Iterable[_Group]) -> None:
        """Look for a change of the order, or another reading, in groups with answers that allow the log's order."""
        # Many customers have calls of the same shape. One of them is searched for all.
        memory: dict[object, bool] = {}
        for group in groups:
            first = min((cause.at for cause in self.found if cause.rank == BY_CHANGE), default=None)
            if first is not None and first < group.stage.parts[0].at:
                # All groups that are left begin later than the cause that was found.
                return
            if group.is_open and memory.get(group.shape, True):
                causes = list(group.otherwise(BY_CHANGE))
                memory[group.shape] = bool(causes)
                self.found += causes


def _stage(group: Group) -> Stage:
    before = [Before(row.profile_id, row.external_id, row.email, row.phone_number, who) for row, who in group.before]
    return Stage([part for part in group.parts if _counts(part)], before)


def _counts(part: Part) -> bool:
    """Tell whether a call did something, or its answer shows something. A call refused for its form did neither."""
    call = part.call
    refused = call.accepted is False and call.operation not in READS
    return not refused or (call.operation in SYNCHRONOUS and call.status in {404, 409})


def _rank(cause: Cause) -> tuple[int, int, int]:
    return cause.rank, cause.at, len(cause.plan.order)


@dataclass(slots=True)
class _Needs:
    """The conditions under which a history with fewer calls is still the same story.

    Attributes:
        who: The person who has two profiles.
        told: At least one of these calls has to be done, if there are any.
        made: The racing calls that have to make a profile; None without a race.
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
        """Whether a person is named in more than one way. Only such a person can get a second profile by a change."""
        forms: dict[Who | None, tuple[str | None, ...]] = {}
        for part in self.stage.parts:
            for row, who in part.rows:
                form = (row.external_id, row.email, row.phone_number)
                if forms.setdefault(who, form) != form or part.call.merged:
                    return True
        return False

    @property
    def shape(self) -> object:
        """The calls without their values. Groups of the same shape have the same causes."""
        names: dict[object, int] = {}

        def _short(value: object) -> int | None:
            return None if value is None else names.setdefault(value, len(names))

        parts = self.stage.parts
        return tuple(
            (
                part.call.operation,
                part.call.status,
                part.call.has_list,
                reach,
                tuple(
                    (_short(row.external_id), _short(row.email), _short(row.phone_number), _short(row.profile_id),
                     _short(row.anonymous_id), row.is_number, _short(who))
                    for row, who in part.rows
                ),
                tuple((_short(each.profile_id), _short(each.external_id), _short(each.email)) for each in part.shown),
                tuple(map(_short, part.call.merged or ())),
            )
            for part, reach in zip(parts, reaches(parts), strict=True)
        )  # fmt: skip

    def in_order(self) -> Iterator[Cause]:
        """Yield the cause that the log's own order shows, under the usual reading."""
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
        """Yield the nearest causes of other histories: with one thing changed, or with the log's order read otherwise.

        Args:
            rank: The rank of a cause with one thing changed.
        """
        # Step 1: calls without an answer may not have been carried out.
        without = unanswered(self.stage.parts)
        if without:
            kept = tuple(number for number in self.usual.order if number not in without)
            found = self._checked(Plan(kept), USUAL)
            if found is not None:
                yield self._cause(*found, USUAL, rank, away=tuple(without))
        # Step 2: the log's order, under other answers to Klaviyo's open questions. One cause is enough.
        others = list(other_readings(self.stage.parts))
        for reading in others:
            came_up = reading.deviates not in BY_EVENTS or reading.deviates in self.asked_of_events
            if came_up and self._agrees(reading):
                found = self._twice(self.usual, reading)
                if found is not None:
                    yield self._cause(*found, reading, BY_READING)
                    break
        # Step 3: another order. Other readings are combined with it only where the answers rule out the log's order.
        for reading in [USUAL, *others] if rank == BY_ANSWERS else [USUAL]:
            for change, plan in changes(self.stage.parts):
                found = self._checked(plan, reading)
                if found is not None:
                    yield self._cause(*found, reading, rank, change=change)
                    return

    def _learn_before(self) -> Replay:
        """Add the profiles that must have been there before the log begins; return the last replay.

        The log's answers show them: an answer names a profile that no call of the log has made.
        """
        replay = self.stage.play(self.usual)
        for _ in range(_MOST_BEFORE):
            if replay.refuted is None or replay.lacking is None:
                break
            self.stage.before.append(replay.lacking)
            after = self.stage.play(self.usual)
            if after.refuted is not None and after.refuted <= replay.refuted:
                # With this profile no further answer agrees, so the profile was made later.
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
        """Return the cause in a plan: a second profile at its end, or one that a merge or a deletion removed."""
        # From the end backwards: the end of the log, then the moment before each merge or deletion.
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
        # Step 1: leave out the reads. A read changes no profile, so it is never a cause.
        parts = self.stage.parts
        order = tuple(number for number in plan.order[: twice.place + 1] if parts[number].call.operation not in READS)
        needs = _Needs(twice.who, self._told(order, twice.who))
        if plan.race is not None:
            # A race in which both calls make a profile is another story than one in which one of them does.
            replay = self.stage.play(Plan(order, plan.race), reading, check=False)
            needs.made = replay.made.intersection(plan.race)
        best = self._still(Plan(order, plan.race), reading, needs)
        if best is None:
            return None
        # Step 2: leave out one call after the other, as long as the story stays the same. Again from the beginning
        # after each round: a call may be needed only by one that is gone now.
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

        One of them stays in the cause. Without it Klaviyo could not have known better, and the cause would be another.
        """
        last = [row for row, owner in self.stage.parts[order[-1]].rows if owner == who]
        named = {(kind, value) for row in last for kind, value in (("id", row.key), ("email", row.address)) if value}
        found: set[int] = set()
        for number in order[:-1]:
            part = self.stage.parts[number]
            for row, owner in part.rows:
                gives = (row.key and row.address) or part.call.operation in BY_ID
                if owner == who and gives and named & {("id", row.key), ("email", row.address)}:
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
        """Return a cause of the log's own order, with its rank and its assumptions."""
        doubted = unanswered([self.stage.parts[number] for number in plan.order])
        carried_out = tuple(plan.order[place] for place in doubted)
        # A reading that the log's answers rule out says nothing against the cause.
        others = (each for each in other_readings(self.stage.parts) if self._agrees(each))
        disagrees = next((each for each in others if self._still(plan, each, _Needs(twice.who)) is None), None)
        is_certain = disagrees is None and not self.assumed and not carried_out
        rank = CERTAIN if is_certain else BY_ORDER
        return self._cause(plan, twice, USUAL, rank, disagrees=disagrees, carried_out=carried_out)

    def _cause(self, plan: Plan, twice: Twice, reading: Reading, rank: int, **more: Any) -> Cause:
        return Cause(self.stage, plan, twice, reading, rank, before=tuple(self.assumed), **more)
