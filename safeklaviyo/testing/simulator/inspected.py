"""What a test sees of the simulator, and what it puts there, without any request."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from safeklaviyo.testing.simulator.checks import Body
from safeklaviyo.testing.simulator.consents import started
from safeklaviyo.testing.simulator.persons import Person, written
from safeklaviyo.testing.simulator.records import EMAIL_MARKETING, NEVER_SUBSCRIBED, SMS_MARKETING, Event, Profile
from safeklaviyo.testing.simulator.refusals import Refusal
from safeklaviyo.testing.simulator.tables import EMAIL, EXTERNAL_ID, PHONE_NUMBER

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from contextlib import AbstractContextManager

    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.readings import Readings


class Inspected:
    """The part of `KlaviyoSimulator` that tests look at."""

    readings: Readings
    _account: Account
    _lock: AbstractContextManager[Any]

    @property
    def profiles(self) -> list[Profile]:
        """The profiles as they are, in no promised order."""
        with self._lock:
            # A copy under the lock, because another thread may write while the caller iterates.
            return list(self._account.live)

    @property
    def events(self) -> list[Event]:
        """The recorded events, in the order of recording."""
        return self._account.events

    @property
    def dropped(self) -> list[Event]:
        """The events that were accepted and are lost."""
        return self._account.dropped

    @property
    def deduplicated(self) -> list[Event]:
        """The events that were taken for repetitions."""
        return self._account.deduplicated

    @property
    def merged(self) -> Mapping[str, str]:
        """The id of the profile that each merged profile became part of, by its former id."""
        return self._account.merged

    def add_profile(
        self,
        *,
        profile_id: str | None = None,
        external_id: str | None = None,
        email: str | None = None,
        phone_number: str | None = None,
        properties: Mapping[str, Any] | None = None,
        consent: str = NEVER_SUBSCRIBED,
        sms_consent: str = NEVER_SUBSCRIBED,
        suppressed: bool = False,
        **attributes: Any,
    ) -> Profile:
        """Add a profile for a test. The search shows it at once. Another profile may have the same identifiers.

        Args:
            profile_id: An id of your choice; old ones have six characters.
            consent: To email marketing; ``UNSUBSCRIBED`` comes with the suppression that it has.
            suppressed: As by an operator of the shop.
            attributes: Klaviyo's own, such as ``first_name`` and ``location``.

        Raises:
            ValueError: An identifier is malformed, or the id is taken.
        """
        given = {EXTERNAL_ID: external_id, EMAIL: email, PHONE_NUMBER: phone_number}
        with self._lock:
            if profile_id is not None and self._account.live.get(profile_id):
                raise ValueError("there is a profile with this id")
            try:
                body = Body(self.readings)
                stored = {kind: body.identifier(kind, value, "") for kind, value in given.items()}
            except Refusal as refusal:
                raise ValueError(refusal.detail) from None
            person = Person(None, stored, attributes, properties or {})
            return self._account.add(
                lambda empty: started(
                    replace(written(empty, person, self.readings), id=profile_id or empty.id),
                    {EMAIL_MARKETING: consent, SMS_MARKETING: sms_consent},
                    suppressed=suppressed,
                )
            )

    def find(
        self, *, external_id: str | None = None, email: str | None = None, phone_number: str | None = None
    ) -> Profile | None:
        """Return the profile with an identifier, as it is; None if there is none.

        Raises:
            LookupError: Several have it.
        """
        given = {EXTERNAL_ID: external_id, EMAIL: email, PHONE_NUMBER: phone_number}
        with self._lock:
            # By id: one profile may have several of the identifiers that were asked for.
            found = {
                profile.id: profile
                for kind, value in given.items()
                if value is not None
                for profile in self._account.live.owners(kind, value)
            }
        if len(found) > 1:
            raise LookupError(f"{len(found)} profiles have it")
        return next(iter(found.values()), None)

    def duplicates(self, person: Callable[[Profile], Hashable | None]) -> int:
        """Count the profiles beyond each person's first.

        Args:
            person: Returns something that stands for the person of a profile; None to leave the profile out.
        """
        owners = [owner for owner in map(person, self.profiles) if owner is not None]
        return len(owners) - len(set(owners))

    def id_only_profiles(self) -> int:
        """Count the profiles that have an external id and no address."""
        return sum(profile.external_id is not None and profile.email is None for profile in self.profiles)
