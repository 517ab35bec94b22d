"""What the day left behind: counted from the simulator's profiles and events, with the script as the truth.

The script knows whose each identifier and each event is; a profile is the customer's whose identifiers it carries.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeklaviyo.demo.script import Customer, Moment
    from safeklaviyo.testing.simulator import KlaviyoSimulator, Profile


@dataclass(frozen=True, slots=True)
class Counts:
    """What is in Klaviyo in the evening.

    Attributes:
        requests: What it took.
        profiles: All of them.
        complete: Customers with a profile that carries both their id and their current address.
        duplicates: Profiles beyond each customer's first.
        id_only: Profiles without an address.
        mixed: Profiles that carry identifiers or events of several customers.
        sent: Events that happened in the shop.
        recorded: Events in Klaviyo.
        lost: Events that are not there.
        doubled: Events that are there once more than they happened.
        misplaced: Events that are on another customer's profile.
    """

    requests: int
    profiles: int
    complete: int
    duplicates: int
    id_only: int
    mixed: int
    sent: int
    recorded: int
    lost: int
    doubled: int
    misplaced: int

    def is_clean(self, customers: int) -> bool:
        """Whether each customer has one whole profile, and each event is there once, where it belongs."""
        one_each = self.profiles == self.complete == customers and self.sent == self.recorded
        return one_each and not any(
            (self.duplicates, self.id_only, self.mixed, self.lost, self.doubled, self.misplaced)
        )


def count(simulator: KlaviyoSimulator, people: Sequence[Customer], moments: Sequence[Moment]) -> Counts:
    """Count what there is."""
    truth = _Truth(people, moments)
    happened = truth.customers_of_events
    references = [str(event.properties["reference"]) for event in simulator.events]
    recorded = Counter(references)
    places = {profile.id: truth.customer_of(profile) for profile in simulator.profiles}
    visitors: dict[str, set[int]] = {profile.id: truth.owners(profile) for profile in simulator.profiles}
    misplaced = 0
    for event, reference in zip(simulator.events, references, strict=True):
        assert event.profile_id is not None
        visitors[event.profile_id].add(happened[reference])
        misplaced += places[event.profile_id] != happened[reference]
    return Counts(
        requests=len(simulator.journal),
        profiles=len(simulator.profiles),
        complete=len({truth.customer_of(profile) for profile in simulator.profiles if truth.is_whole(profile)}),
        duplicates=simulator.duplicates(truth.customer_of),
        id_only=simulator.id_only_profiles(),
        mixed=sum(len(each) > 1 for each in visitors.values()),
        sent=len(happened),
        recorded=len(references),
        lost=len(happened.keys() - recorded.keys()),
        doubled=sum(times - 1 for times in recorded.values()),
        misplaced=misplaced,
    )


class _Truth:
    """Whose what is, by the script."""

    def __init__(self, people: Sequence[Customer], moments: Sequence[Moment]) -> None:
        self._people = people
        self._by_id = {each.external_id: each.number for each in people}
        self._by_email = {email: each.number for each in people for email in (each.email, each.current_email)}
        self.customers_of_events = {
            call.reference: call.customer.number for moment in moments for call in moment.calls if call.verb == "track"
        }

    def owners(self, profile: Profile) -> set[int]:
        found = (self._by_id.get(profile.external_id or ""), self._by_email.get(profile.email or ""))
        return {number for number in found if number is not None}

    def customer_of(self, profile: Profile) -> int | None:
        by_id = self._by_id.get(profile.external_id or "")
        return by_id if by_id is not None else self._by_email.get(profile.email or "")

    def is_whole(self, profile: Profile) -> bool:
        number = self._by_id.get(profile.external_id or "")
        return number is not None and self._people[number].current_email == profile.email
