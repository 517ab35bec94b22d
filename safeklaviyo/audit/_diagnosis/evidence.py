"""What the log's answers prove about a replay.

Decided here: which profile of the log is which profile of the replay; which answer contradicts a replay; and which
profiles must have been there before the log begins. Not here: the replay (`replays`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from safeklaviyo.audit._diagnosis.endpoints import BY_ID
from safeklaviyo.audit._diagnosis.open_questions import NUMBER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from safeklaviyo.audit._diagnosis.calls import Call, Named
    from safeklaviyo.audit._diagnosis.people import Part, Who
    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.records import Profile

_KINDS: Final = ("external_id", "email", "phone_number")


@dataclass(frozen=True, slots=True)
class Before:
    """A profile that was there before the log begins.

    Attributes:
        profile_id: The id in the log; None if the log does not show it.
        who: The person whom the profile belonged to; None if that is not known.
    """

    profile_id: str | None
    external_id: str | None
    email: str | None
    phone_number: str | None = None
    who: Who | None = None


@dataclass(slots=True)
class Evidence:
    """The log's answers, compared with one replay.

    Attributes:
        account: The account of the replay.
        first_shown: Each profile as the log's reads first show it.
        ids: The replay's id of each profile, by the log's id.
        names: The log's id of each profile, by the replay's id.
        had: The addresses that each profile has or had, by the replay's id.
        refuted: The first place at which the log's answer contradicts the replay; None if no answer does.
        lacking: A profile that would explain that answer, if it was there before the log begins.
    """

    account: Account
    first_shown: Mapping[str, Named]
    ids: dict[str, str] = field(default_factory=dict[str, str])
    names: dict[str, str] = field(default_factory=dict[str, str])
    had: dict[str, set[str]] = field(default_factory=dict[str, "set[str]"])
    refuted: int | None = None
    lacking: Before | None = None

    def bind(self, logged: str, replayed: str) -> bool:
        """Take a profile of the log and one of the replay for the same; tell whether they can be."""
        # A profile of the log stays the same profile of the replay, but for merges.
        known = self.ids.setdefault(logged, replayed)
        while known in self.account.merged:
            known = self.account.merged[known]
        return known == replayed and self.names.setdefault(replayed, logged) == logged

    def _refute(self, place: int, lacking: Before | None = None) -> None:
        if self.refuted is None:
            self.refuted, self.lacking = place, lacking

    def compare(self, place: int, part: Part, status: int, landed: list[str]) -> None:
        """Compare the log's answer to a write with the replay's.

        Args:
            place: The place in the order of the replay.
            part: The call.
            status: The replay's status.
            landed: The profiles that the call has written in the replay.
        """
        call = part.call
        if call.accepted is None or call.status is None:
            return
        # One of the two was refused: a profile that stood in the way, or was found, explains it.
        if (call.status >= 400) != (status >= 400):
            self._refute(place, self._before(part, call, landed))
        elif call.status < 400:
            shown = next((each for each in part.shown if each.profile_id), None)
            # One has created a profile and the other one has found it.
            if {call.status, status} == {200, 201}:
                self._refute(place, self._before(part, call, landed) if call.status == 200 else None)
            elif shown is not None and shown.profile_id is not None:
                # Both have written: it must be the same profile, with the same identifiers. An identifier that no call
                # has given was there before the log begins.
                lacks = self._before(part, call, landed) if shown.profile_id not in self.ids else None
                if not self.bind(shown.profile_id, landed[0]):
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
        """Return the profile that must have been there before the log, so that an answer is right; None if none can.

        Args:
            part: The call.
            call: The same, with its answer.
            landed: The profiles that the call itself has written in the replay.
        """
        row, who = part.rows[0]
        logged = call.owner_shown or next((each.profile_id for each in part.shown), None) or row.profile_id
        if logged is not None and logged in self.ids:
            return None
        shown = None if logged is None else self.first_shown.get(logged)
        if shown is None and call.status is not None and call.status < 400:
            shown = next(iter(part.shown), None)
            # The answer shows the profile after the call. An identifier that the update gives was not there before.
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

    def seen_by_id(self, place: int, row: Named, profile: Profile, who: Who | None, *, is_made: bool) -> None:
        """Compare an event that names its profile by Klaviyo's id.

        Args:
            place: The place in the order of the replay.
            row: The person, as the event names them.
            profile: The profile that the event has written in the replay.
            who: The person.
            is_made: The event has made the profile, in the replay.
        """
        assert row.profile_id is not None
        if row.profile_id in self.ids:
            return
        if is_made:
            # The shop knows the id of a profile that no call of the log has made.
            self._refute(place, Before(row.profile_id, row.external_id, row.email, row.phone_number, who))
        elif profile.id not in self.names:
            self.bind(row.profile_id, profile.id)

    def look(self, place: int, part: Part) -> None:
        """Compare a read, or a search, with the replay."""
        # A profile that the log shows for the first time is one of the replay's that has no name yet. Without such a
        # one it was there before the log begins.
        for shown in part.shown if part.call.status == 200 else ():
            if shown.profile_id is None:
                continue
            if shown.profile_id in self.ids:
                if not self._may_show(self.ids[shown.profile_id], shown):
                    self._refute(place)
                continue
            candidates = self._candidates(shown)
            free = [each for each in candidates if each not in self.names]
            if free:
                self.bind(shown.profile_id, free[0])
            else:
                there = Before(shown.profile_id, shown.external_id, shown.email, shown.phone_number)
                self._refute(place, None if candidates else there)

    def _may_show(self, profile_id: str, shown: Named) -> bool:
        """Tell whether a read may show an address of a profile. It may be a former one, because Klaviyo's reads lag."""
        had = self.had.get(profile_id)
        return shown.email is None or had is None or shown.email.lower() in had

    def note(self, profile: Profile) -> None:
        """Remember the address of a profile."""
        if profile.email is not None:
            self.had.setdefault(profile.id, set()).add(profile.email.lower())

    def _candidates(self, shown: Named) -> list[str]:
        live = self.account.live
        given = [(kind, getattr(shown, kind)) for kind in _KINDS]
        return list(dict.fromkeys(
            owner.id for kind, value in given if value is not None for owner in live.owners(kind, value)
        ))  # fmt: skip
