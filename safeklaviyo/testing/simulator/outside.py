"""What people do to an account without its API: operators make lists, customers click, reply and fill in forms."""

from __future__ import annotations

from typing import Literal

from safeklaviyo.testing.simulator import matching
from safeklaviyo.testing.simulator.consent_events import put_consent
from safeklaviyo.testing.simulator.consent_jobs import Row, Subscribing
from safeklaviyo.testing.simulator.consents import SPAM_COMPLAINT, with_suppression, withdrawn
from safeklaviyo.testing.simulator.inspected import Inspected
from safeklaviyo.testing.simulator.persons import Person
from safeklaviyo.testing.simulator.records import (
    EMAIL_MARKETING,
    SMS_MARKETING,
    UNSUBSCRIBE,
    MailingList,
    Profile,
    Segment,
)
from safeklaviyo.testing.simulator.tables import EMAIL, PHONE_NUMBER

OptIn = Literal["single_opt_in", "double_opt_in"]
Reason = Literal["UNSUBSCRIBE", "SPAM_COMPLAINT", "USER_SUPPRESSED", "HARD_BOUNCE", "INVALID_EMAIL"]


class Outside(Inspected):
    """The part of `KlaviyoSimulator` by which tests play the people. Each act is done at once."""

    @property
    def lists(self) -> list[MailingList]:
        """The lists, in the order of creation."""
        return list(self._account.lists.values())

    def members(self, list_id: str) -> list[Profile]:
        """Return the profiles in a list, in the order of joining."""
        with self._lock:
            # A member may have been merged or deleted since it joined.
            found = [self._account.get(member) for each, member in self._account.members if each == list_id]
        return [profile for profile in found if profile is not None]

    def add_list(self, name: str, opt_in_process: OptIn = "single_opt_in") -> str:
        """Add a list, and return its id.

        The first list of every simulator has the id ``Xy12Ab``, the second ``Xy13Ab``, so that a program under test may
        hold them as constants.
        """
        with self._lock:
            return self._account.add_list(name, opt_in_process).id

    def add_segment(self, name: str, *profile_ids: str) -> str:
        """Add a segment of these profiles, and return its id. Later changes add and remove no profile."""
        with self._lock:
            now = self._account.clock.now()
            made = Segment(self._account.new_id()[-6:], name, now, now)
            self._account.segments[made.id] = made
            for profile_id in profile_ids:
                self._account.join(made.id, profile_id)
        return made.id

    def confirm_opt_in(self, email: str) -> None:
        """Let the person click in Klaviyo's mail: what waits for it is done.

        Raises:
            LookupError: Klaviyo has sent no such mail. Accepted jobs send it when they are done: `drain` them first.
        """
        with self._lock:
            waiting = self._account.opt_ins.pop(email.strip().lower(), None)
            if waiting is None:
                raise LookupError("no opt-in waits for this address: drain() first")
            for task in waiting:
                task.apply(self._account)

    def withdraw(
        self, *, email: str | None = None, phone_number: str | None = None, reason: Reason = "UNSUBSCRIBE"
    ) -> None:
        """Let a person leave: by the link in a mail, or by STOP in reply to a text message.

        Args:
            email: The address of the person who got the mail.
            phone_number: The number that replies.
            reason: For an email: ``UNSUBSCRIBE`` is the link, ``SPAM_COMPLAINT`` a report to the mail provider,
                ``USER_SUPPRESSED`` an operator of the shop. A bounce is no person's wish, so it is no reason here.

        Raises:
            LookupError: No profile has it.
        """
        with self._lock:
            now = self._account.clock.now()
            for kind, value in ((EMAIL, email), (PHONE_NUMBER, phone_number)):
                for profile in [] if value is None else self._owners(kind, value):
                    put_consent(self._account, profile, self._left(profile, kind, reason, now))

    def submit_form(
        self, *, email: str | None = None, phone_number: str | None = None, list_id: str | None = None
    ) -> Profile:
        """Let a person fill in a form in a browser, and return the profile.

        As with an event, the identifiers lead to a profile or make one. What was withdrawn before is lifted; a list
        with double opt-in has to be confirmed.
        """
        given = {EMAIL: email, PHONE_NUMBER: phone_number}
        named = {kind: value for kind, value in given.items() if value is not None}
        channels = {EMAIL: EMAIL_MARKETING, PHONE_NUMBER: SMS_MARKETING}
        with self._lock:
            profile = matching.meet(self._account, Person(None, dict(named)))
            if profile is None:
                raise ValueError("a form has an email or a phone number")
            row = Row(profile.id, {}, dict.fromkeys((channels[kind] for kind in named), None))
            Subscribing((row,), list_id, method="Form").apply(self._account)
            # Read again: the consent was written after the profile was found.
            found = self._account.get(profile.id)
        assert found is not None
        return found

    def _owners(self, kind: str, value: str) -> list[Profile]:
        owners = self._account.live.owners(kind, value)
        if not owners:
            raise LookupError("no profile has it")
        return owners

    def _left(self, profile: Profile, kind: str, reason: Reason, now: float) -> Profile:
        if kind == PHONE_NUMBER:
            channels = [channel for channel in profile.consents if channel.startswith("sms.")]
            # STOP is about all text messages. Marketing is withdrawn even if it was never allowed.
            for channel in {SMS_MARKETING, *channels}:
                profile = withdrawn(profile, channel, now, "Customer")
            return profile
        if reason == UNSUBSCRIBE or (reason == SPAM_COMPLAINT and self.readings.spam_report_unsubscribes):
            profile = withdrawn(profile, EMAIL_MARKETING, now, "Customer")
        return profile if reason == UNSUBSCRIBE else with_suppression(profile, reason, now)
