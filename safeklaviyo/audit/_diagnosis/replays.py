"""One replay of linked calls into the simulator's account: where each call lands, and whether the log's answers agree.

Decided here: what happens when two calls race, and which person has two profiles in the end. Not here: what an endpoint
does (`endpoints`), what the answers prove (`evidence`), and which replays are tried (`histories`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from safeklaviyo.audit._diagnosis.bodies import READS
from safeklaviyo.audit._diagnosis.endpoints import NEVER_WARM, SYNCHRONOUS, carry_out, unchanged
from safeklaviyo.audit._diagnosis.evidence import Before, Evidence
from safeklaviyo.audit._diagnosis.open_questions import USUAL, Reading, person_of
from safeklaviyo.testing.simulator import matching
from safeklaviyo.testing.simulator.accounts import Account
from safeklaviyo.testing.simulator.clocks import Clock
from safeklaviyo.testing.simulator.merging import delete, merge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeklaviyo.audit._diagnosis.calls import Call
    from safeklaviyo.audit._diagnosis.people import Part, Who
    from safeklaviyo.testing.simulator.persons import Person
    from safeklaviyo.testing.simulator.records import Profile

_BEFORE: Final = -1
"""The place of profiles that were there before the log begins."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The order in which the parts of a group are done.

    Attributes:
        order: The numbers of the parts.
        race: Two parts of which the second looked for its profile before the first one wrote.
    """

    order: tuple[int, ...]
    race: tuple[int, int] | None = None


@dataclass(slots=True)
class Twice:
    """One person with two profiles.

    Attributes:
        who: The person.
        place: The place in the plan's order at which the second profile appeared.
        first: The number of the part that first landed on the other profile; None if that one was there before.
        profiles: The replay's ids of the two.
    """

    who: Who
    place: int
    first: int | None
    profiles: tuple[str, str]


@dataclass(slots=True)
class Replay:
    """The result of a replay.

    Attributes:
        landed: For each person and profile, the first place in the order at which a call about the person wrote it.
        refuted: The place at which the log's answer contradicts the replay; None if no answer does.
        lacking: A profile that would explain that answer, if it was there before the log begins.
        names: The log's id of each profile, by the replay's id.
        done: The numbers of the parts that wrote a profile.
        made: The numbers of the parts that made a profile.
        asked: The open questions that came up. Other answers to all other questions would change nothing.
        twice: The people with two profiles in the end.
    """

    landed: dict[Who, dict[str, int]] = field(default_factory=dict["Who", "dict[str, int]"])
    refuted: int | None = None
    lacking: Before | None = None
    names: dict[str, str] = field(default_factory=dict[str, str])
    done: set[int] = field(default_factory=set[int])
    made: set[int] = field(default_factory=set[int])
    asked: set[str] = field(default_factory=set[str])
    twice: list[Twice] = field(default_factory=list[Twice])


class Stage:
    """The parts of one group, ready to be replayed in any order.

    Args:
        parts: The parts, in the order of the log.
        before: The profiles that were there when the log begins.
    """

    def __init__(self, parts: Sequence[Part], before: Sequence[Before] = ()) -> None:
        self.parts = list(parts)
        self.before = list(before)
        self._persons: dict[Reading, list[list[Person]]] = {}
        self.known: dict[tuple[int, int], str] = {}
        """The log's id of the profile that a row has made, by the numbers of the part and of the row."""
        self.first_shown = {
            each.profile_id: each
            for part in reversed(self.parts)
            if part.call.operation in READS
            for each in part.shown
            if each.profile_id
        }
        """Each profile, as the log's reads show it first."""

    def persons(self, reading: Reading) -> list[list[Person]]:
        """Return the people of each part, as Klaviyo stores them under a reading."""
        found = self._persons.get(reading)
        if found is None:
            found = [[person_of(part.call, row, reading) for row, _ in part.rows] for part in self.parts]
            self._persons[reading] = found
        return found

    def play(self, plan: Plan, reading: Reading = USUAL, *, check: bool = True) -> Replay:
        """Replay some parts in some order.

        Args:
            plan: The parts, and their order.
            reading: The answers to Klaviyo's open questions.
            check: Stop at the first answer of the log that contradicts the replay. A history without some calls always
                contradicts the answers, so it is not checked. It takes the ids of profiles from the last whole history
                that agreed.
        """
        run = _Run(self, plan, reading, check=check)
        result = run.play()
        if check and result.refuted is None:
            self.known = {row: result.names[replayed] for replayed, row in run.made.items() if replayed in result.names}
        return result


class _Run:
    """One replay, on an account of its own."""

    def __init__(self, stage: Stage, plan: Plan, reading: Reading, *, check: bool) -> None:
        self.stage = stage
        self.plan = plan
        self.check = check
        self.persons = stage.persons(reading)
        self.account = Account("Replay", reading.readings, Clock(0.0), search_lag=0.0, queue_lag=0.0, consent_lag=0.0)
        self.result = Replay()
        self.evidence = Evidence(self.account, stage.first_shown)
        self.made: dict[str, tuple[int, int]] = {}
        """The part and the row that first landed on each profile, by the replay's id."""
        for each in stage.before:
            self._add(each)
        self.looked_up: dict[str, Profile] | None = None
        """The profiles that the second of two racing calls saw."""

    def play(self) -> Replay:
        """Carry out the parts in the plan's order."""
        race = self.plan.race
        for place, number in enumerate(self.plan.order):
            # The second of two racing calls has looked for its profile before the first one wrote.
            if race is not None and number == race[0]:
                self.looked_up = {profile.id: profile for profile in self.account.live}
            if race is not None and number == race[1]:
                self._racing(place, number)
            else:
                self._step(place, number)
            if self.evidence.refuted is not None and self.check:
                break
        self.result.refuted, self.result.lacking = self.evidence.refuted, self.evidence.lacking
        self.result.names = self.evidence.names
        self.result.twice = self._twice()
        return self.result

    def _add(self, before: Before) -> None:
        def _fill(empty: Profile) -> Profile:
            return replace(empty, external_id=before.external_id, email=before.email, phone_number=before.phone_number)

        made = self.account.add(_fill)
        self.evidence.note(made)
        self._note(_BEFORE, before.who, made.id)
        if before.profile_id is not None:
            self.evidence.bind(before.profile_id, made.id)

    def _racing(self, place: int, number: int) -> None:
        """Carry out the second of two racing calls, on the account as it was before the first call."""
        # Step 1: put the account back to that moment.
        seen = self.looked_up or {}
        live = self.account.live
        now = {profile.id: profile for profile in live}
        changed = [each for each in now.values() if seen.get(each.id) is not each]
        for each in changed:
            live.remove(each.id)
            if each.id in seen:
                live.put(seen[each.id])
        finds = any(matching.owners_of(self.account, person) for person in self.persons[number])
        if finds:
            # Step 2: the call finds a profile that was there already, so the two do not race to create one.
            for each in changed:
                live.put(each)
            self._step(place, number)
            return
        # Step 3: carry the call out, and then put back what the first call has written.
        self._step(place, number)
        for each in changed:
            live.put(each)

    def _step(self, place: int, number: int) -> None:
        part = self.stage.parts[number]
        operation = part.call.operation
        if operation in READS:
            if self.check:
                self.evidence.look(place, part)
        elif operation == "merge_profiles":
            self._merge(part)
        elif operation == "request_profile_deletion":
            self._delete(number)
        else:
            self._write(place, number, part)

    def _write(self, place: int, number: int, part: Part) -> None:
        """Carry out each row of a call, and compare the answer with the log's."""
        status, landed = 202, list[str]()
        for index, ((row, who), said) in enumerate(zip(part.rows, self.persons[number], strict=True)):
            person = self._translated(said)
            profile = None if part.call.operation in NEVER_WARM else unchanged(self.account, person)
            if profile is not None:
                # Most calls of a log change no identifier. Leaving them out here saves most of the time.
                status = 200 if part.call.operation in SYNCHRONOUS else 202
            else:
                self._ask(part.call, person)
                status, profile = carry_out(self.account, part.call, person)
            if profile is not None:
                landed.append(profile.id)
                self.evidence.note(profile)
                is_made = self._made(profile.id, number, index)
                self._note(place, who, profile.id)
                if self.check and row.profile_id is not None and part.call.operation not in SYNCHRONOUS:
                    self.evidence.seen_by_id(place, row, profile, who, is_made=is_made)
        if landed:
            self.result.done.add(number)
        if self.check and part.call.operation in SYNCHRONOUS:
            self.evidence.compare(place, part, status, landed)

    def _ask(self, call: Call, person: Person) -> None:
        """Note which open questions a row brings up."""
        if call.operation in SYNCHRONOUS:
            return
        owners = matching.owners_of(self.account, person)
        if len({owner.id for owner in owners.values()} | ({person.profile_id} - {None})) > 1:
            self.result.asked |= {"event_conflict", "event_email_first"}
        email = person.identifiers.get("email")
        if email is not None and any(owner.email not in {None, email} for owner in owners.values()):
            self.result.asked.add("event_replaces_email")

    def _made(self, profile_id: str, number: int, index: int) -> bool:
        """Note the row that first landed on a profile, and the log's id of it; tell whether this row is the first."""
        if profile_id in self.made:
            return False
        self.made[profile_id] = number, index
        self.result.made.add(number)
        known = None if self.check else self.stage.known.get((number, index))
        if known is not None:
            self.evidence.ids.setdefault(known, profile_id)
        return True

    def _note(self, place: int, who: Who | None, profile_id: str) -> None:
        if who is not None:
            self.result.landed.setdefault(who, {}).setdefault(profile_id, place)

    def _translated(self, person: Person) -> Person:
        if person.profile_id is None:
            return person
        return replace(person, profile_id=self.evidence.ids.get(person.profile_id, person.profile_id))

    def _merge(self, part: Part) -> None:
        source, destination = (self.evidence.ids.get(each, each) for each in part.call.merged or ("", ""))
        merge(self.account, source, destination)

    def _delete(self, number: int) -> None:
        for person in map(self._translated, self.persons[number]):
            if person.profile_id is not None:
                delete(self.account, person.profile_id)
            for kind, value in person.named().items():
                for owner in self.account.live.owners(kind, value):
                    delete(self.account, owner.id)

    def _twice(self) -> list[Twice]:
        """Return the people with two profiles that still exist, the earliest first."""
        found: list[Twice] = []
        for who, landed in self.result.landed.items():
            alive: dict[str, int] = {}
            for profile_id, place in landed.items():
                left: str = profile_id
                while left in self.account.merged:
                    left = self.account.merged[left]
                if self.account.live.get(left) is not None:
                    alive[left] = min(place, alive.get(left, place))
            if len(alive) > 1:
                (one, first), (other, second) = sorted(alive.items(), key=_place)[:2]
                # Two profiles from before the log begins were not made by a call of this log.
                if second != _BEFORE:
                    earlier = None if first == _BEFORE else self.plan.order[first]
                    found.append(Twice(who, second, earlier, (one, other)))
        return sorted(found, key=lambda each: each.place)


def _place(item: tuple[str, int]) -> int:
    return item[1]
