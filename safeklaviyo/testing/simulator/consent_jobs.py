"""The accepted consent jobs, as Klaviyo does them later: whom each row means, and whether a profile is made for it.

Decided here (Klaviyo's *Bulk Subscribe*, *Unsubscribe*, *Suppress* and *Unsuppress Profiles* references, and its guide
*Collect email and SMS consent via API*):

- a row is looked up by its id, else by its email, else by its phone number, when the job is done and not before;
- a subscription creates the profile that it does not find, but for a new address without a list (see `Subscribing`);
- a withdrawal and a suppression create it too, in one reading;
- an identifier of the row is set on the profile, unless it is another profile's.

Read next: `consents`, which changes a profile.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from safeklaviyo.testing.simulator import matching
from safeklaviyo.testing.simulator.consent_events import put_consent
from safeklaviyo.testing.simulator.consents import (
    BY_API,
    consented,
    with_suppression,
    withdrawn,
    without_suppression,
)
from safeklaviyo.testing.simulator.persons import Person
from safeklaviyo.testing.simulator.records import (
    EMAIL_MARKETING,
    SUBSCRIBED,
    UNSUBSCRIBE,
    USER_SUPPRESSED,
    Consent,
    Record,
)
from safeklaviyo.testing.simulator.tables import EMAIL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.records import Profile


@dataclass(frozen=True, slots=True, repr=False)
class Row(Record):
    """One person of a job.

    Attributes:
        profile_id: The profile that the row names, if any.
        named: Email and phone number, by kind.
        channels: When the person consented, by channel; None for now.
    """

    profile_id: str | None
    named: Mapping[str, str]
    channels: Mapping[str, float | None] = field(default_factory=dict[str, "float | None"])

    def owner(self, account: Account) -> Profile | None:
        """Return the profile that the row means."""
        if self.profile_id is not None:
            return account.get(self.profile_id)
        return next(iter(matching.owners_of(account, self.person()).values()), None)

    def person(self) -> Person:
        """Return the row's identifiers as a write of them."""
        return Person(None, dict(self.named))


@dataclass(frozen=True, slots=True, repr=False)
class Subscribing(Record):
    """An accepted subscription.

    The email of a list with double opt-in waits for the click in Klaviyo's mail. So does a new address without a list,
    and no profile is made for it before: none ever appeared. A historical import and an address that is subscribed
    already wait for nothing. A list that is gone when the job is done counts as none.

    Attributes:
        historical: The consent is an old one.
        confirmed: The person has clicked.
    """

    rows: tuple[Row, ...]
    list_id: str | None = None
    historical: bool = False
    source: str | None = None
    method: str = BY_API
    confirmed: bool = False

    def apply(self, account: Account) -> None:
        """Subscribe each person."""
        for row in self.rows:
            self._subscribe(account, row)

    def _subscribe(self, account: Account, row: Row) -> None:
        # Step 1: whom the row means, now that the job is done. An id that is gone makes no profile.
        profile = row.owner(account)
        if profile is None and row.profile_id is not None:
            return
        # Step 2: an email that has to be confirmed. For it alone no profile is made before the click.
        waits = EMAIL_MARKETING in row.channels and self._waits(account, profile)
        if profile is None and waits and self.list_id not in account.lists and len(row.channels) == 1:
            self._wait(account, row.named[EMAIL])
            return
        now = account.clock.now()
        is_job = self.method == BY_API and not self.confirmed
        if is_job and profile is not None and _is_too_soon(account, profile, now):
            return
        # Step 3: write the identifiers, then the consent of each channel that the profile has an address for.
        profile = _written(account, profile, row)
        if is_job:
            account.subscribed_at[profile.id] = now
        for channel, at in row.channels.items():
            address = profile.email if channel == EMAIL_MARKETING else profile.phone_number
            if address is None:
                continue
            if channel == EMAIL_MARKETING and waits:
                self._wait(account, address)
            else:
                when = now if at is None else at
                consent = Consent(SUBSCRIBED, when, now, self.method, self.source, self.confirmed)
                profile = put_consent(account, profile, consented(profile, channel, consent))
        if self.list_id in account.lists and not waits:
            account.join(self.list_id, profile.id)

    def _waits(self, account: Account, profile: Profile | None) -> bool:
        if self.historical or self.confirmed or (profile is not None and profile.consent == SUBSCRIBED):
            return False
        # Without a list a new address has to be confirmed too.
        listed = account.lists.get(self.list_id or "")
        return profile is None if listed is None else listed.opt_in_process == "double_opt_in"

    def _wait(self, account: Account, email: str) -> None:
        row = Row(None, {EMAIL: email}, {EMAIL_MARKETING: None})
        asked = replace(self, rows=(row,), confirmed=True)
        account.opt_ins[email.lower()] = (*account.opt_ins.get(email.lower(), ()), asked)


@dataclass(frozen=True, slots=True, repr=False)
class Withdrawing(Record):
    """An accepted withdrawal.

    Attributes:
        list_id: The list to leave. A profile that is not in the list withdraws from all email marketing.
    """

    rows: tuple[Row, ...]
    list_id: str | None = None

    def apply(self, account: Account) -> None:
        """Withdraw the consent of each person."""
        for row in self.rows:
            profile = _found_or_made(account, row)
            if profile is not None:
                self._withdraw(account, profile, row)

    def _withdraw(self, account: Account, profile: Profile, row: Row) -> None:
        now, list_id, before = account.clock.now(), self.list_id, profile
        is_member = list_id is not None and (list_id, profile.id) in account.members
        for channel in row.channels:
            # A member leaves the list only: mail of other lists still goes to the address.
            if channel == EMAIL_MARKETING and is_member:
                profile = with_suppression(profile, UNSUBSCRIBE, now, list_id)
            else:
                profile = withdrawn(profile, channel, now)
        put_consent(account, before, profile)
        if list_id is not None:
            account.leave(list_id, profile.id)


@dataclass(frozen=True, slots=True, repr=False)
class Suppressing(Record):
    """An accepted suppression, or the end of one.

    Attributes:
        job_id: The job that is done with it.
        lifts: It ends suppressions. It never creates a profile.
        group_id: The list or segment with the members that are meant, instead of rows.
    """

    job_id: str
    rows: tuple[Row, ...] = ()
    group_id: str | None = None
    lifts: bool = False

    def apply(self, account: Account) -> None:
        """Suppress each profile, or lift its suppression, and close the job."""
        meant = [row.owner(account) if self.lifts else _found_or_made(account, row) for row in self.rows]
        meant += [account.get(profile_id) for group_id, profile_id in account.members if group_id == self.group_id]
        now = account.clock.now()
        for profile in filter(None, meant):
            if self.lifts:
                account.put(without_suppression(profile, USER_SUPPRESSED))
            else:
                account.put(with_suppression(profile, USER_SUPPRESSED, now))
        done = sum(profile is not None for profile in meant)
        job = account.jobs[self.job_id]
        account.jobs[job.id] = replace(
            job, total=len(meant), completed=done, skipped=len(meant) - done, completed_at=now
        )


def _is_too_soon(account: Account, profile: Profile, now: float) -> bool:
    last = account.subscribed_at.get(profile.id)
    return last is not None and now - last < account.readings.subscribe_pause


def _found_or_made(account: Account, row: Row) -> Profile | None:
    profile = row.owner(account)
    if profile is None and account.readings.withdrawal_creates:
        return matching.store(account, None, row.person())
    return profile


def _written(account: Account, profile: Profile | None, row: Row) -> Profile:
    """Set the row's identifiers on its profile, but for those that are another profile's."""
    person = row.person()
    if profile is None:
        return matching.store(account, None, person)
    others = matching.others_of(account, profile, person)
    own = {kind: value for kind, value in person.identifiers.items() if kind not in others}
    return matching.store(account, profile, replace(person, identifiers=own))
