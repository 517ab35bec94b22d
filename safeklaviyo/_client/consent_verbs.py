"""Verbs about consent: giving, withdrawing, suppressing, reading. Both clients inherit theirs from here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo._flows.verbs.consent import consent
from safeklaviyo._flows.verbs.subscribe import subscribe
from safeklaviyo._flows.verbs.unsubscribe import suppress, unsubscribe, unsuppress
from safeklaviyo._tracebacks import discreet

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import date, datetime
    from uuid import UUID

    from safeklaviyo._runtime.async_shell import AsyncShell
    from safeklaviyo._runtime.shell import Shell
    from safeklaviyo.consent import Channel, Consent, ConsentChange


@discreet
class ConsentVerbs:
    """The verbs of `Klaviyo` about consent."""

    _shell: Shell

    def subscribe(
        self,
        channels: Channel | Collection[Channel],
        *,
        external_id: str | int | UUID | None = None,
        email: str | None = None,
        phone_number: str | None = None,
        list_id: str | None = None,
        consented_at: datetime | float | str | None = None,
        historical: bool = False,
        source: str | None = None,
        resubscribe: bool = False,
        date_of_birth: date | str | None = None,
    ) -> ConsentChange:
        """Record that a customer allows these channels, and create their profile if there is none (R18).

        Klaviyo accepts it now and carries it out within minutes. Until that shows, or `Policy.consent_wait` has passed,
        changes of the customer's identifiers wait. Of several channels all are given, or none.

        Args:
            channels: One channel or several.
            external_id: The shop's own id of the customer.
            email: The customer's address.
            phone_number: In E.164 form. Attached to the profile if it has none. Alone it is enough where exactly one
                profile has it.
            list_id: The list to join. One with double opt-in asks the customer to confirm first.
            consented_at: When the customer agreed, as for `track`'s `time`. It proves that the consent is newer than a
                withdrawal; it is sent with `historical` only.
            historical: An import of consent that was given at least a minute ago: no double opt-in, no flows of the
                list. Needs `consented_at`.
            source: What the consent record says of where it came from, such as the version of the text that was shown.
            resubscribe: The customer asked for it again: lift what was withdrawn before this call, in any way.
            date_of_birth: For accounts with an age limit on text messages.

        Raises:
            ConsentWithdrawnError: The customer has withdrawn one of the channels; nothing was sent.
            InvalidPropertyError: An argument makes no sense, such as an unknown channel; nothing was sent.
            NotFoundError: There is no such list; nothing was sent.
            InvalidIdentifierError: A channel needs a phone number, and there is none, or it is another profile's.
            IdentityError: Who this is, is in doubt; nothing was given.
            LeaseHeldError: Another call is writing about this customer, or a withdrawal is being carried out.
            StoreError: The identity map cannot answer; nothing was sent.
            APIConnectionError: Klaviyo cannot be reached; `outcome` says whether it may have changed.
            APIStatusError: Klaviyo refused.
        """
        return self._shell.run(
            subscribe,
            channels,
            external_id=external_id,
            email=email,
            phone_number=phone_number,
            list_id=list_id,
            consented_at=consented_at,
            historical=historical,
            source=source,
            resubscribe=resubscribe,
            date_of_birth=date_of_birth,
        )

    def unsubscribe(
        self,
        channels: Channel | Collection[Channel],
        *,
        external_id: str | int | UUID | None = None,
        email: str | None = None,
        phone_number: str | None = None,
        list_id: str | None = None,
    ) -> ConsentChange:
        """Withdraw these channels, wherever the customer could receive them (R19).

        It reaches the customer's profile, living profiles on their former addresses, and a profile that has the very
        identifier given. It creates none. No doubt about the customer refuses it: erased, unknown, or a pair that
        contradicts the map. Klaviyo accepts it now and carries it out within minutes; `recheck_changes` compares
        later.

        Args:
            channels: One channel or several.
            external_id: The shop's own id of the customer.
            email: An address, such as that of the mail in which the link was clicked.
            phone_number: A number; alone it is enough.
            list_id: Withdraw from this list alone. Who is not in it is left alone.

        Raises:
            InvalidIdentifierError: An identifier is no identifier, or there is none.
            InvalidPropertyError: A channel or the list's id is none.
            NotFoundError: There is no such list; nothing was sent.
            LeaseHeldError: Another call is writing about this customer; `recheck_changes` carries the withdrawal out.
            StoreUnavailableError: The map cannot answer. A living profile with the identifier given was unsubscribed
                (`outcome`); make the same call again for the rest.
            APIConnectionError: Klaviyo cannot be reached; `outcome` says whether it may have changed.
            APIStatusError: Klaviyo refused.
        """
        return self._shell.run(
            unsubscribe, channels, external_id=external_id, email=email, phone_number=phone_number, list_id=list_id
        )

    def suppress(self, *, external_id: str | int | UUID | None = None, email: str | None = None) -> ConsentChange:
        """Keep a customer from receiving marketing mail, on all their profiles, also if they allow it.

        An address without a profile gets one first, so that a do-not-mail list holds for those who come later.

        Raises:
            IdOnlyError: No customer is known by the external id.
            ErasedError: The address is an erased customer's, and no profile has it.
            SafeKlaviyoError: As for `unsubscribe`.
        """
        return self._shell.run(suppress, external_id=external_id, email=email)

    def unsuppress(self, *, external_id: str | int | UUID | None = None, email: str | None = None) -> ConsentChange:
        """Lift what `suppress` did, on the customer's own profile. It gives no consent back.

        Raises:
            IdentityError: Who this is, is in doubt; nothing was sent.
            SafeKlaviyoError: As for `subscribe`.
        """
        return self._shell.run(unsuppress, external_id=external_id, email=email)

    def consent(self, *, external_id: str | int | UUID | None = None, email: str | None = None) -> Consent:
        """Return what Klaviyo says that a customer allows. Reads only.

        Raises:
            IdentityError: Several profiles answer, or the identifiers are different customers'.
            StoreError: The identity map cannot answer.
            APIConnectionError: Klaviyo cannot be reached.
            APIStatusError: Klaviyo refused.
        """
        return self._shell.run(consent, external_id=external_id, email=email)


@discreet
class AsyncConsentVerbs:
    """Same as `ConsentVerbs`, awaited."""

    _shell: AsyncShell

    async def subscribe(
        self,
        channels: Channel | Collection[Channel],
        *,
        external_id: str | int | UUID | None = None,
        email: str | None = None,
        phone_number: str | None = None,
        list_id: str | None = None,
        consented_at: datetime | float | str | None = None,
        historical: bool = False,
        source: str | None = None,
        resubscribe: bool = False,
        date_of_birth: date | str | None = None,
    ) -> ConsentChange:
        """Same as `Klaviyo.subscribe`."""
        return await self._shell.run(
            subscribe,
            channels,
            external_id=external_id,
            email=email,
            phone_number=phone_number,
            list_id=list_id,
            consented_at=consented_at,
            historical=historical,
            source=source,
            resubscribe=resubscribe,
            date_of_birth=date_of_birth,
        )

    async def unsubscribe(
        self,
        channels: Channel | Collection[Channel],
        *,
        external_id: str | int | UUID | None = None,
        email: str | None = None,
        phone_number: str | None = None,
        list_id: str | None = None,
    ) -> ConsentChange:
        """Same as `Klaviyo.unsubscribe`."""
        return await self._shell.run(
            unsubscribe, channels, external_id=external_id, email=email, phone_number=phone_number, list_id=list_id
        )

    async def suppress(self, *, external_id: str | int | UUID | None = None, email: str | None = None) -> ConsentChange:
        """Same as `Klaviyo.suppress`."""
        return await self._shell.run(suppress, external_id=external_id, email=email)

    async def unsuppress(
        self, *, external_id: str | int | UUID | None = None, email: str | None = None
    ) -> ConsentChange:
        """Same as `Klaviyo.unsuppress`."""
        return await self._shell.run(unsuppress, external_id=external_id, email=email)

    async def consent(self, *, external_id: str | int | UUID | None = None, email: str | None = None) -> Consent:
        """Same as `Klaviyo.consent`."""
        return await self._shell.run(consent, external_id=external_id, email=email)
