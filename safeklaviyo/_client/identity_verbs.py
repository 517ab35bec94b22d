"""Verbs about who a customer is: changing, looking up, erasing, repairing. Both clients inherit theirs from here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._flows.verbs.change_email import change_email
from safeklaviyo._flows.verbs.change_external_id import change_external_id
from safeklaviyo._flows.verbs.change_phone_number import change_phone_number
from safeklaviyo._flows.verbs.erase import erase
from safeklaviyo._flows.verbs.explain import explain
from safeklaviyo._flows.verbs.recheck_changes import recheck_changes
from safeklaviyo._flows.verbs.recover import recover
from safeklaviyo._flows.verbs.resolve import resolve
from safeklaviyo._tracebacks import discreet

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from safeklaviyo._runtime.async_shell import AsyncShell
    from safeklaviyo._runtime.config import OnTaken
    from safeklaviyo._runtime.shell import Shell
    from safeklaviyo.models import (
        ChangeReview,
        Clear,
        Decision,
        EmailChange,
        Erasure,
        ExternalIdChange,
        PhoneChange,
        Recovery,
        Resolution,
    )


@discreet
class IdentityVerbs:
    """The verbs of `Klaviyo` about who a customer is."""

    _shell: Shell

    def change_email(
        self,
        new_email: str,
        *,
        external_id: str | int | UUID | None = None,
        old_email: str | None = None,
        on_taken: OnTaken = "refuse",
    ) -> EmailChange:
        """Change a customer's email on their own profile: search, read, decide, PATCH by profile id, check, write down.

        Every step can be repeated: if the process dies, the next call about this customer finishes the change. Calls
        with the old address go to the new one from then on.

        Args:
            new_email: The address from now on; going back to a former one is allowed.
            external_id: The customer's id.
            old_email: The address until now; either this or `external_id` may be left out.
            on_taken: What to do if the new address is on a profile without a customer, such as a newsletter form makes:
                ``"refuse"``, or ``"merge"`` it into the customer's. Merging cannot be undone, happens some time later,
                and is refused where it would cost the customer a consent.

        Raises:
            EmailTakenError: The new address is on another profile; nothing was written.
            IdentityError: Who this is, is in doubt; nothing was written.
            LeaseHeldError: Another call is writing about this customer.
            StoreError: The identity map cannot answer.
            APIConnectionError: Klaviyo cannot be reached; `outcome` says whether it may have changed.
            APIStatusError: Klaviyo refused.
        """
        return self._shell.run(change_email, new_email, external_id=external_id, old_email=old_email, on_taken=on_taken)

    def change_external_id(
        self,
        new_external_id: str | int | UUID | Clear,
        *,
        old_external_id: str | int | UUID | None = None,
        email: str | None = None,
    ) -> ExternalIdChange:
        """Give a customer another external id, or with `CLEAR` none: the account is closed, the profile kept.

        Durable as `change_email` is. Calls with the old id go to the new one from then on.

        Args:
            new_external_id: The id from now on.
            old_external_id: The id until now; either this or `email` may be left out.
            email: The customer's address.

        Raises:
            ExternalIdMismatchError: The new id is another customer's; nothing was written.
            IdentityError: Who this is, is in doubt; nothing was written.
            LeaseHeldError: Another call is writing about this customer.
            StoreError: The identity map cannot answer.
            APIConnectionError: Klaviyo cannot be reached; `outcome` says whether it may have changed.
            APIStatusError: Klaviyo refused.
        """
        return self._shell.run(change_external_id, new_external_id, old_external_id=old_external_id, email=email)

    def change_phone_number(
        self, new_phone_number: str | Clear, *, external_id: str | int | UUID | None = None, email: str | None = None
    ) -> PhoneChange:
        """Give a customer another phone number, or with `CLEAR` none.

        Klaviyo may drop the consent to text messages that was given for a number that is replaced; `warnings` says so.

        Args:
            new_phone_number: In E.164 form.
            external_id: The customer's id; either this or `email` may be left out.
            email: The customer's address.

        Raises:
            ProfileConflictError: The number is another profile's; nothing was written.
            IdentityError: Who this is, is in doubt; nothing was written.
            LeaseHeldError: Another call is writing about this customer.
            StoreError: The identity map cannot answer.
            APIConnectionError: Klaviyo cannot be reached; `outcome` says whether it may have changed.
            APIStatusError: Klaviyo refused.
        """
        return self._shell.run(change_phone_number, new_phone_number, external_id=external_id, email=email)

    def resolve(self, *, external_id: str | int | UUID | None = None, email: str | None = None) -> Resolution:
        """Return the customer's identity and profile, by the map or else by Klaviyo. Reads only.

        Raises:
            IdentityError: The identifiers are different customers', or several profiles answer.
            ErasedError: The customer was erased.
            StoreError: The identity map cannot answer.
            APIConnectionError: Klaviyo cannot be reached.
            APIStatusError: Klaviyo refused.
        """
        return self._shell.run(resolve, external_id=external_id, email=email)

    def erase(
        self, *, external_id: str | int | UUID | None = None, email: str | None = None, profile_id: str | None = None
    ) -> Erasure:
        """Ask Klaviyo to delete a customer's profile, by its id, and forget them here.

        A tombstone stays: a keyed hash of the identifiers, by which a late call is refused instead of creating the
        profile again. `bindings.release_email` lets a customer come back. Klaviyo deletes some time later.

        Profiles on former identifiers that still resolve to the customer are deleted too (R8, R11). Any other profile
        that shows an identifier of the customer is left and named in the result: it may be another person's.

        Raises:
            AmbiguousIdentityError: The identifiers are different customers', or several profiles answer.
            LeaseHeldError: Another call is writing about this customer.
            StoreError: The identity map cannot answer.
            APIConnectionError: Klaviyo cannot be reached; `outcome` says whether it may have changed.
            APIStatusError: Klaviyo refused.
        """
        return self._shell.run(erase, external_id=external_id, email=email, profile_id=profile_id)

    def recover(self, limit: int | None = None) -> list[Recovery]:
        """Complete what a process that died has left unfinished, oldest first. Schedule it, every few minutes.

        The next call about a customer does so too; this is for customers without a next call. One failure does not hide
        the others.

        Args:
            limit: How many at most.

        Raises:
            StoreError: The identity map cannot answer.
        """
        return self._shell.run(recover, limit)

    def recheck_changes(
        self, since: datetime | float | str | None = None, *, repair: bool = False
    ) -> list[ChangeReview]:
        """Compare Klaviyo with the map for every customer with lately changed identifiers. Schedule it, every hour.

        An event that was queued before a change can put the old address back on the profile. A browser's own call with
        the old address creates another profile. The first is repaired on request; all else is only reported.

        Args:
            since: How far back to look; else seven days.
            repair: Replace a former address that was put back with the current one.

        Raises:
            StoreError: The identity map cannot answer.
            APIConnectionError: Klaviyo cannot be reached.
            APIStatusError: Klaviyo refused.
        """
        return self._shell.run(recheck_changes, since, repair=repair)

    def explain(
        self, *, external_id: str | int | UUID | None = None, email: str | None = None, phone_number: str | None = None
    ) -> Decision:
        """Say what a call about this person would do, and by which rule. Reads the map only, sends nothing.

        Only where no `account` was given, Klaviyo is asked once for the key's account, as by every other call.

        Raises:
            InvalidIdentifierError: An identifier is unusable, or there is none.
            StoreError: The identity map cannot answer.
        """
        return self._shell.run(explain, external_id=external_id, email=email, phone_number=phone_number)


@discreet
class AsyncIdentityVerbs:
    """Same as `IdentityVerbs`, awaited."""

    _shell: AsyncShell

    async def change_email(
        self,
        new_email: str,
        *,
        external_id: str | int | UUID | None = None,
        old_email: str | None = None,
        on_taken: OnTaken = "refuse",
    ) -> EmailChange:
        """Same as `Klaviyo.change_email`."""
        return await self._shell.run(
            change_email, new_email, external_id=external_id, old_email=old_email, on_taken=on_taken
        )

    async def change_external_id(
        self,
        new_external_id: str | int | UUID | Clear,
        *,
        old_external_id: str | int | UUID | None = None,
        email: str | None = None,
    ) -> ExternalIdChange:
        """Same as `Klaviyo.change_external_id`."""
        return await self._shell.run(change_external_id, new_external_id, old_external_id=old_external_id, email=email)

    async def change_phone_number(
        self, new_phone_number: str | Clear, *, external_id: str | int | UUID | None = None, email: str | None = None
    ) -> PhoneChange:
        """Same as `Klaviyo.change_phone_number`."""
        return await self._shell.run(change_phone_number, new_phone_number, external_id=external_id, email=email)

    async def resolve(self, *, external_id: str | int | UUID | None = None, email: str | None = None) -> Resolution:
        """Same as `Klaviyo.resolve`."""
        return await self._shell.run(resolve, external_id=external_id, email=email)

    async def erase(
        self, *, external_id: str | int | UUID | None = None, email: str | None = None, profile_id: str | None = None
    ) -> Erasure:
        """Same as `Klaviyo.erase`."""
        return await self._shell.run(erase, external_id=external_id, email=email, profile_id=profile_id)

    async def recover(self, limit: int | None = None) -> list[Recovery]:
        """Same as `Klaviyo.recover`."""
        return await self._shell.run(recover, limit)

    async def recheck_changes(
        self, since: datetime | float | str | None = None, *, repair: bool = False
    ) -> list[ChangeReview]:
        """Same as `Klaviyo.recheck_changes`."""
        return await self._shell.run(recheck_changes, since, repair=repair)

    async def explain(
        self, *, external_id: str | int | UUID | None = None, email: str | None = None, phone_number: str | None = None
    ) -> Decision:
        """Same as `Klaviyo.explain`."""
        return await self._shell.run(explain, external_id=external_id, email=email, phone_number=phone_number)
