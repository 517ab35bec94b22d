"""One replay of linked calls into the simulator's account: where each call lands, and whether the log's answers agree.

Decided here: what it is that two calls race, which person has two profiles in the end, and which of the log's answers
contradict a replay. Not here: what an endpoint does (`endpoints`), and which replays are tried (`histories`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from safeklaviyo.audit._diagnosis.bodies import READS
from safeklaviyo.audit._diagnosis.endpoints import BY_ID, NEVER_WARM, SYNCHRONOUS, carry_out, unchanged
from safeklaviyo.audit._diagnosis.open_questions import NUMBER, USUAL, Reading, person_of
from safeklaviyo.testing.simulator import matching
from safeklaviyo.testing.simulator.accounts import Account
from safeklaviyo.testing.simulator.clocks import Clock
from safeklaviyo.testing.simulator.merging import delete, merge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeklaviyo.audit._diagnosis.calls import Call, Named
    from safeklaviyo.audit._diagnosis.people import Part, Who
    from safeklaviyo.testing.simulator.persons import Person
    from safeklaviyo.testing.simulator.records import Profile

_BEFORE: Final = -1
"""The place at which what was there before the log lands."""
_KINDS: Final = ("external_id", "email", "phone_number")


@dataclass(frozen=True, slots=True)
class Before:
    """A profile that was there before the log begins.

    Attributes:
        profile_id: As the log shows it, if it does.
        who: Whose it was.
    """

    profile_id: str | None
    external_id: str | None
    email: str | None
    phone_number: str | None = None
    who: Who | None = None


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
        place: Where in the plan's order the second one appeared.
        first: The number of the part that first landed on the other profile; None for one that was there before.
    """

    who: Who
    place: int
    first: int | None
    profiles: tuple[str, str]


@dataclass(slots=True)
class Replay:
    """What a replay came to.

    Attributes:
        landed: By person and profile: the first place in the order at which a call about the person landed there.
        refuted: The place at which the log's answer says otherwise; None where none does.
        lacking: What was there before the log begins, as far as that place shows.
        names: The log's id of each profile, by the replay's.
        done: The numbers of the parts that wrote a profile.
        made: The numbers of those that made one.
        asked: The open questions that came up: under another answer to any other one it would have been the same.
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
        before: The profiles that were there when the log begins.
    """

    def __init__(self, parts: Sequence[Part], before: Sequence[Before] = ()) -> None:
        self.parts = list(parts)
        self.before = list(before)
        self._persons: dict[Reading, list[list[Person]]] = {}
        self.known: dict[tuple[int, int], str] = {}
        """The log's id of the profile on which a row of a part landed first, by the numbers of the part and the row."""
        self._shows = {
            each.profile_id: each
            for part in reversed(self.parts)
            if part.call.operation in READS
            for each in part.shown
            if each.profile_id
        }
        """The first that the log's reads show of each profile."""

    def persons(self, reading: Reading) -> list[list[Person]]:
        """Return what each part says, as Klaviyo stores it under a reading."""
        found = self._persons.get(reading)
        if found is None:
            found = [[person_of(part.call, row, reading) for row, _ in part.rows] for part in self.parts]
            self._persons[reading] = found
        return found

    def play(self, plan: Plan, reading: Reading = USUAL, *, check: bool = True) -> Replay:
        """Replay some parts in some order.

        Args:
            check: Stop where the log's answers contradict the replay. A reduced history always contradicts them: there
                the ids of profiles are those of the last whole history that agreed.
        """
        run = _Run(self, plan, reading, check=check)
        result = run.play()
        if check and result.refuted is None:
            self.known = {row: result.names[replayed] for replayed, row in run.made.items() if replayed in result.names}
        return result

    def first_shown(self, profile_id: str | None) -> Named | None:
        """Return what the log's reads first show of a profile."""
        return None if profile_id is None else self._shows.get(profile_id)


class _Run:
    def __init__(self, stage: Stage, plan: Plan, reading: Reading, *, check: bool) -> None:
        self.stage = stage
        self.plan = plan
        self.check = check
        self.persons = stage.persons(reading)
        self.account = Account("Replay", reading.readings, Clock(0.0), search_lag=0.0, queue_lag=0.0, consent_lag=0.0)
        self.result = Replay()
        self.ids: dict[str, str] = {}
        """The replay's id of each profile, by the log's."""
        self.made: dict[str, tuple[int, int]] = {}
        """The part and the row that first landed on each profile, by the replay's id."""
        for each in stage.before:
            self._add(each)
        self.looked_up: dict[str, Profile] | None = None
        """The profiles that the second of two racing calls saw."""

    def play(self) -> Replay:
        race = self.plan.race
        for place, number in enumerate(self.plan.order):
            if race is not None and number == race[0]:
                self.looked_up = {profile.id: profile for profile in self.account.live}
            if race is not None and number == race[1]:
                self._racing(place, number)
            else:
                self._step(place, number)
            if self.result.refuted is not None and self.check:
                break
        self.result.twice = self._twice()
        return self.result

    def _add(self, before: Before) -> None:
        def fill(empty: Profile) -> Profile:
            return replace(empty, external_id=before.external_id, email=before.email, phone_number=before.phone_number)

        made = self.account.add(fill)
        self._note(_BEFORE, before.who, made.id)
        if before.profile_id is not None:
            self._bind(before.profile_id, made.id)

    def _racing(self, place: int, number: int) -> None:
        """Do the second of two racing calls: it saw the account as it was before the first one."""
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
            # It changes a profile that was there already: that is no race between two creations.
            for each in changed:
                live.put(each)
            self._step(place, number)
            return
        self._step(place, number)
        for each in changed:
            live.put(each)

    def _step(self, place: int, number: int) -> None:
        part = self.stage.parts[number]
        operation = part.call.operation
        if operation in READS:
            if self.check:
                self._look(place, part)
        elif operation == "merge_profiles":
            self._merge(part)
        elif operation == "request_profile_deletion":
            self._delete(number)
        else:
            self._write(place, number, part)

    def _write(self, place: int, number: int, part: Part) -> None:
        """Do what each row of a call asks, and compare the answer with the log's."""
        status, landed = 202, list[str]()
        for index, ((row, who), said) in enumerate(zip(part.rows, self.persons[number], strict=True)):
            person = self._translated(said)
            profile = None if part.call.operation in NEVER_WARM else unchanged(self.account, person)
            if profile is not None:
                # Most calls of a log name one profile by what it has already, and change no identifier.
                status = 200 if part.call.operation in SYNCHRONOUS else 202
            else:
                self._ask(part.call, person)
                status, profile = carry_out(self.account, part.call, person)
            if profile is not None:
                landed.append(profile.id)
                self._made(profile.id, number, index)
                self._note(place, who, profile.id)
                if row.profile_id is not None and part.call.operation not in SYNCHRONOUS:
                    self._seen_by_id(place, row, profile)
        if landed:
            self.result.done.add(number)
        if self.check and part.call.operation in SYNCHRONOUS:
            self._compare(place, part, status, landed)

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

    def _made(self, profile_id: str, number: int, index: int) -> None:
        """Note which row made a profile, and by which id the log knows it."""
        if profile_id in self.made:
            return
        self.made[profile_id] = number, index
        self.result.made.add(number)
        known = None if self.check else self.stage.known.get((number, index))
        if known is not None:
            self.ids.setdefault(known, profile_id)

    def _note(self, place: int, who: Who | None, profile_id: str) -> None:
        if who is not None:
            self.result.landed.setdefault(who, {}).setdefault(profile_id, place)

    def _translated(self, person: Person) -> Person:
        if person.profile_id is None:
            return person
        return replace(person, profile_id=self.ids.get(person.profile_id, person.profile_id))

    def _merge(self, part: Part) -> None:
        source, destination = (self.ids.get(each, each) for each in part.call.merged or ("", ""))
        merge(self.account, source, destination)

    def _delete(self, number: int) -> None:
        for person in map(self._translated, self.persons[number]):
            if person.profile_id is not None:
                delete(self.account, person.profile_id)
            for kind, value in person.named().items():
                for owner in self.account.live.owners(kind, value):
                    delete(self.account, owner.id)

    # What the log's answers prove.

    def _bind(self, logged: str, replayed: str) -> bool:
        """Take a profile of the log and one of the replay for one; tell whether that can be."""
        known = self.ids.setdefault(logged, replayed)
        while known in self.account.merged:
            known = self.account.merged[known]
        return known == replayed and self.result.names.setdefault(replayed, logged) == logged

    def _refute(self, place: int, lacking: Before | None = None) -> None:
        if self.check and self.result.refuted is None:
            self.result.refuted, self.result.lacking = place, lacking

    def _compare(self, place: int, part: Part, status: int, landed: list[str]) -> None:
        call = part.call
        if call.accepted is None or call.status is None:
            return
        if (call.status >= 400) != (status >= 400):
            self._refute(place, self._before(part, call, landed))
        elif call.status < 400:
            shown = next((each for each in part.shown if each.profile_id), None)
            if {call.status, status} == {200, 201}:
                self._refute(place, self._before(part, call, landed) if call.status == 200 else None)
            elif shown is not None and shown.profile_id is not None:
                # What an answer shows and no call has given was there before the log begins.
                lacks = self._before(part, call, landed) if shown.profile_id not in self.ids else None
                if not self._bind(shown.profile_id, landed[0]):
                    self._refute(place)
                elif self._differs(landed[0], shown):
                    self._refute(place, lacks if call.status == 200 else None)

    def _differs(self, profile_id: str, shown: Named) -> bool:
        """Tell whether an answer shows other identifiers than the replay's profile has."""
        profile = self.account.live.get(profile_id)
        if profile is None:
            return False
        same_id = shown.external_id is None or (profile.external_id or "").removesuffix(NUMBER) == shown.external_id
        same_email = shown.email is None or (profile.email or "").lower() == shown.email.lower()
        return not (same_id and same_email)

    def _before(self, part: Part, call: Call, landed: list[str]) -> Before | None:
        """Return the profile that has to have been there, if an answer says that one was.

        Args:
            landed: What the call itself has written in the replay.
        """
        row, who = part.rows[0]
        logged = call.owner_shown or next((each.profile_id for each in part.shown), None) or row.profile_id
        if logged is not None and logged in self.ids:
            return None
        shown = self.stage.first_shown(logged)
        if shown is None and call.status is not None and call.status < 400:
            shown = next(iter(part.shown), None)
            # The answer shows what the call has written. What an update gives is not what was there before.
            if call.operation in BY_ID and shown is not None:
                own_id = None if row.external_id else shown.external_id
                return Before(logged, own_id, None if row.email else shown.email, who=who)
        source = row if shown is None else shown
        free = {
            kind: value for kind in _KINDS if (value := getattr(source, kind)) and self._is_free(kind, value, landed)
        }
        if not free:
            return None
        return Before(logged, free.get("external_id"), free.get("email"), free.get("phone_number"), who)

    def _is_free(self, kind: str, value: str, but: list[str]) -> bool:
        return all(owner.id in but for owner in self.account.live.owners(kind, value))

    def _seen_by_id(self, place: int, row: Named, profile: Profile) -> None:
        """Compare an event that names its profile by Klaviyo's id."""
        assert row.profile_id is not None
        if row.profile_id in self.ids or not self.check:
            return
        if profile.id not in self.result.names and place and len(self.result.landed) > 1:
            self._bind(row.profile_id, profile.id)

    def _look(self, place: int, part: Part) -> None:
        """Compare a read, or a search, with the replay."""
        if not self.check or part.call.status != 200:
            return
        for shown in part.shown:
            if shown.profile_id is None:
                continue
            if shown.profile_id in self.ids:
                continue
            candidates = self._candidates(shown)
            free = [each for each in candidates if each not in self.result.names]
            if free:
                self._bind(shown.profile_id, free[0])
            else:
                known = (
                    None if candidates else Before(shown.profile_id, shown.external_id, shown.email, shown.phone_number)
                )
                self._refute(place, known)

    def _candidates(self, shown: Named) -> list[str]:
        live = self.account.live
        given = [(kind, getattr(shown, kind)) for kind in _KINDS]
        return list(dict.fromkeys(
            owner.id for kind, value in given if value is not None for owner in live.owners(kind, value)
        ))  # fmt: skip

    def _twice(self) -> list[Twice]:
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
                # Two that were there before the log begins are not this log's doing.
                if second != _BEFORE:
                    earlier = None if first == _BEFORE else self.plan.order[first]
                    found.append(Twice(who, second, earlier, (one, other)))
        return sorted(found, key=lambda each: each.place)


def _place(item: tuple[str, int]) -> int:
    return item[1]
