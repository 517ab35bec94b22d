"""What is in Klaviyo after the day: counted from the simulator's profiles and events, and compared with the script.

The script says which customer each identifier and each event belongs to. A profile belongs to the customer who has the
external id on it; without one, to the customer who has the address on it.
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
        requests: Requests of the whole day.
        profiles: All profiles.
        complete: Customers with a profile that carries both their id and their current address.
        duplicates: Profiles beyond each customer's first.
        id_only: Profiles without an address.
        mixed: Profiles that carry identifiers or events of several customers.
        sent: Events that happened in the shop.
        recorded: Events in Klaviyo.
        lost: Events of the shop that Klaviyo did not record.
        doubled: Events that Klaviyo recorded once more than they happened.
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
        """Whether each customer has one complete profile, and each event is recorded once, on the right profile."""
        one_each = self.profiles == self.complete == customers and self.sent == self.recorded
        return one_each and not any(
            (self.duplicates, self.id_only, self.mixed, self.lost, self.doubled, self.misplaced)
        )


def count(simulator: KlaviyoSimulator, people: Sequence[Customer], moments: Sequence[Moment]) -> Counts:
    """Count the profiles and events of a simulator."""
    truth = _Truth(people, moments)
    happened = truth.customers_of_events
    references = [str(event.properties["reference"]) for event in simulator.events]
    recorded = Counter(references)
    customers = {profile.id: truth.customer_of(profile) for profile in simulator.profiles}
    # The customers with an identifier or an event on a profile: more than one is a mix-up.
    found_on: dict[str, set[int]] = {profile.id: truth.owners(profile) for profile in simulator.profiles}
    misplaced = 0
    for event, reference in zip(simulator.events, references, strict=True):
        assert event.profile_id is not None
        found_on[event.profile_id].add(happened[reference])
        misplaced += customers[event.profile_id] != happened[reference]
    return Counts(
        requests=len(simulator.journal),
        profiles=len(simulator.profiles),
        complete=len({truth.customer_of(profile) for profile in simulator.profiles if truth.is_whole(profile)}),
        duplicates=simulator.duplicates(truth.customer_of),
        id_only=simulator.id_only_profiles(),
        mixed=sum(len(each) > 1 for each in found_on.values()),
        sent=len(happened),
        recorded=len(references),
        lost=len(happened.keys() - recorded.keys()),
        doubled=sum(times - 1 for times in recorded.values()),
        misplaced=misplaced,
    )


class _Truth:
    """Which customer an identifier, a profile or an event belongs to, by the script."""

    def __init__(self, people: Sequence[Customer], moments: Sequence[Moment]) -> None:
        self._people = people
        self._by_id = {each.external_id: each.number for each in people}
        self._by_email = {email: each.number for each in people for email in (each.email, each.current_email)}
        self.customers_of_events = {
            call.reference: call.customer.number for moment in moments for call in moment.calls if call.verb == "track"
        }

    def owners(self, profile: Profile) -> set[int]:
        """Return the customers whom a profile's identifiers belong to: two, if it is mixed."""
        found = (self._by_id.get(profile.external_id or ""), self._by_email.get(profile.email or ""))
        return {number for number in found if number is not None}

    def customer_of(self, profile: Profile) -> int | None:
        """Return the customer of a profile, by its id first; None if its identifiers are no customer's."""
        by_id = self._by_id.get(profile.external_id or "")
        return by_id if by_id is not None else self._by_email.get(profile.email or "")

    def is_whole(self, profile: Profile) -> bool:
        """Tell whether a profile has its customer's id and current email."""
        number = self._by_id.get(profile.external_id or "")
        return number is not None and self._people[number].current_email == profile.email
