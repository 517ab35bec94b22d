"""How an accepted event is recorded, in both dialects (Klaviyo's *Create Event* reference and its Events API overview).

Decided here, when the event is recorded and not before: which profile it belongs to, whether it repeats another event
(the same profile, metric, and unique id or second), and whether it is dropped without a trace.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from safeklaviyo.testing.simulator import matching
from safeklaviyo.testing.simulator.records import Event, Record
from safeklaviyo.testing.simulator.tables import EMAIL

if TYPE_CHECKING:
    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.persons import Person

_TEST_DOMAINS = ("@example.com", "@test.com")


@dataclass(frozen=True, slots=True, repr=False)
class Recording(Record):
    """An accepted event, or an accepted update without one.

    Attributes:
        event: The event, still without a profile; None for a legacy identify.
    """

    person: Person
    event: Event | None

    def apply(self, account: Account) -> None:
        """Do it."""
        # Before the profile is looked for, so that a dropped event leaves no profile behind.
        email = self.person.named().get(EMAIL, "").lower()
        if self.event and account.readings.drops_test_addresses and email.endswith(_TEST_DOMAINS):
            account.dropped.append(replace(self.event, why="a test address"))
            return
        profile = matching.meet(account, self.person)
        if profile is None:
            if self.event:
                account.dropped.append(replace(self.event, why="it names no known profile"))
        elif self.event:
            _record(account, replace(self.event, profile_id=profile.id))


@dataclass(frozen=True, slots=True, repr=False)
class Recordings(Record):
    """An accepted job with several events."""

    each: tuple[Recording, ...]

    def apply(self, account: Account) -> None:
        """Do it."""
        for recording in self.each:
            recording.apply(account)


def key_of(event: Event, profile_id: str) -> tuple[str, str, str | int]:
    """Return what an event repeats if another event has the same.

    Without a unique id the second is the key: two events of one metric in one second count once (F-17).
    """
    return profile_id, event.metric, event.unique_id or event.time


def _record(account: Account, event: Event) -> None:
    assert event.profile_id is not None
    key = key_of(event, event.profile_id)
    if key in account.recorded:
        account.deduplicated.append(replace(event, why="repeated"))
        return
    account.recorded.add(key)
    account.record(event)
    profile = account.live.get(event.profile_id)
    assert profile is not None
    # The latest of the times: events may be recorded in another order than they happened.
    account.put(replace(profile, last_event_date=max(profile.last_event_date or 0.0, float(event.time))))
