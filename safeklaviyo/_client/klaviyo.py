"""`Klaviyo`: the client with blocking calls. Its twin with awaited ones, under the same names, is in `async_klaviyo`.

Nothing is decided here: a method hands its arguments to the flow of the same name (`_flows`) and to a shell that
carries it out (`_runtime.shell`). What the arguments of a client mean is in `_runtime.config`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from safeklaviyo._client.bindings import Bindings
from safeklaviyo._client.description import Described
from safeklaviyo._client.profiles import Profiles
from safeklaviyo._flows.verbs.change_email import change_email
from safeklaviyo._flows.verbs.change_external_id import change_external_id
from safeklaviyo._flows.verbs.change_phone_number import change_phone_number
from safeklaviyo._flows.verbs.erase import erase
from safeklaviyo._flows.verbs.explain import explain
from safeklaviyo._flows.verbs.identify import identify
from safeklaviyo._flows.verbs.recheck_changes import recheck_changes
from safeklaviyo._flows.verbs.recover import recover
from safeklaviyo._flows.verbs.resolve import resolve
from safeklaviyo._flows.verbs.track import track
from safeklaviyo._runtime.config import BASE_URL, REVISION, DialectName, OnTaken, store_url, wiring
from safeklaviyo._runtime.shell import Shell
from safeklaviyo.policy import Policy, RetryPolicy
from safeklaviyo.stores import open_store
from safeklaviyo.stores.base import IdentityStore

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime
    from decimal import Decimal
    from enum import Enum
    from uuid import UUID

    from safeklaviyo._runtime.senders.http import SyncClient, Timeout
    from safeklaviyo.models import (
        ChangeReview,
        Clear,
        Decision,
        EmailChange,
        Erasure,
        ExternalIdChange,
        IdentifyResult,
        PhoneChange,
        Recovery,
        Resolution,
        TrackResult,
    )


class Klaviyo(Described):
    """The identity-safe client for Klaviyo. Safe between threads; after a fork the child gets its own connections.

    Constructing it does no I/O. Close it, or use it as a context manager, when the program ends.

    Args:
        api_key: Klaviyo's private key; else the environment's ``KLAVIYO_API_KEY``.
        store: The identity map: a URL (``sqlite:///path``, ``memory://``) or an instance, which is then never closed
            here; else the environment's ``SAFEKLAVIYO_STORE``; else an SQLite file in the user's state folder.
        account: The namespace of the map: Klaviyo's account id, which is the six-character public key; else
            `public_key`; else Klaviyo is asked once and the answer remembered. A new key keeps the map.
        public_key: The account's public key, which the legacy dialect sends as its token.
        policy: How strictly identities are kept.
        retry: How long one request is tried.
        timeout: Seconds for one attempt in all, or an `httpx.Timeout`, of which connecting and reading make up the
            whole. It holds for an `http_client` too; the timeout of that client is not used.
        base_url: A scheme and a host; plain http only to loopback.
        revision: Klaviyo's API revision.
        dialect: ``"current"``, or ``"legacy"`` for a server that still speaks Track, Identify and People; Klaviyo's own
            answers 410 there. Legacy *keys* such as ``$email`` are understood under both.
        http_client: Send through this client, so that its hooks, auth, headers and proxies are honoured; redirects are
            never followed, and it is never closed here. httpx then logs URLs at INFO, and some hold addresses.

    Raises:
        ConfigurationError: An argument makes no sense; the message says which, and never what it was.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        store: str | IdentityStore | None = None,
        account: str | None = None,
        public_key: str | None = None,
        policy: Policy = Policy(),  # noqa: B008 - frozen
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        timeout: Timeout = 10.0,
        base_url: str = BASE_URL,
        revision: str = REVISION,
        dialect: DialectName = "current",
        http_client: SyncClient | None = None,
    ) -> None:
        self._wiring = wiring(
            api_key,
            account=account,
            public_key=public_key,
            policy=policy,
            retry=retry,
            timeout=timeout,
            base_url=base_url,
            revision=revision,
            dialect=dialect,
        )
        self._owns_store = not isinstance(store, IdentityStore)
        opened = store if isinstance(store, IdentityStore) else open_store(store_url(store))
        self._shell = Shell(self._wiring, opened, http_client)

    @property
    def profiles(self) -> Profiles:
        """Klaviyo's profiles, by their ids."""
        return Profiles(self._shell)

    @property
    def bindings(self) -> Bindings:
        """The identity map."""
        return Bindings(self._shell)

    def identify(
        self,
        properties: Mapping[str, Any] | None = None,
        *,
        external_id: str | int | UUID | None = None,
        email: str | None = None,
        phone_number: str | None = None,
        append: Mapping[str, Any] | None = None,
        unappend: Mapping[str, Any] | None = None,
        unset: str | Collection[str] | None = None,
    ) -> IdentifyResult:
        """Write properties onto the profile of one customer, who is made known to Klaviyo if need be.

        Sends at most one create, even when called concurrently; never changes who owns an identifier.

        Args:
            properties: Legacy keys such as ``$email`` are understood, and the attributes of a profile in Klaviyo's
                API. `CLEAR` erases a property; None never does. What cannot be sent is left out, with a notice in
                `warnings`, or refused (`Policy.properties`).
            external_id: The shop's own id of the customer.
            email: The customer's address. With an `external_id` that is known, it may be left out.
            phone_number: In E.164 form, or of `Policy.phone_region`. Attached where the customer has none; never
                decides who it is.
            append: Values to add to list properties.
            unappend: Values to take out of list properties.
            unset: Properties to remove.

        Raises:
            IdentityError: Who this is, is in doubt; nothing was written.
            InvalidPropertyError: An identifier is given twice, or `Policy.properties` refuses what cannot be sent.
            LeaseHeldError: Another call is writing about this customer.
            StoreError: The identity map cannot answer; nothing was sent.
            APIConnectionError: Klaviyo cannot be reached; `outcome` says what is known.
            APIStatusError: Klaviyo refused.
        """
        return self._shell.run(
            identify,
            properties,
            external_id=external_id,
            email=email,
            phone_number=phone_number,
            append=append,
            unappend=unappend,
            unset=unset,
        )

    def track(
        self,
        event: str | Enum,
        *,
        external_id: str | int | UUID | None = None,
        email: str | None = None,
        phone_number: str | None = None,
        customer_properties: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        value: float | Decimal | str | None = None,
        value_currency: str | None = None,
        time: datetime | float | str | None = None,
        unique_id: str | int | UUID | None = None,
        backfill: bool = False,
    ) -> TrackResult:
        """Record one event about one customer, who is made known to Klaviyo if need be.

        The event's `unique_id` and `time` are fixed before the first attempt and repeated by every retry; every error
        carries them, so that a task queue's retry can repeat the same event.

        Args:
            event: The metric's name, such as ``"Placed Order"``; blanks around it are taken off.
            external_id: As for `identify`.
            email: As for `identify`.
            phone_number: As for `identify`.
            customer_properties: Written onto the profile with the event; as `properties` of `identify`.
            properties: The event's own; None in it is JSON null.
            value: What the event is worth; else the property ``value``, where that is a number.
            value_currency: ISO 4217, such as ``"EUR"``.
            time: An aware datetime, unix seconds, or ISO 8601 with an offset; else now.
            unique_id: The idempotency key, 1 to 255 characters; else a new one.
            backfill: Record it without triggering flows.

        Raises:
            IdentityError: Who this is, is in doubt; nothing was written.
            InvalidPropertyError: The name, `time` or `unique_id` is unusable, or as for `identify`; nothing was sent.
            LeaseHeldError: Another call is writing about this customer.
            StoreError: The identity map cannot answer; nothing was sent.
            APIConnectionError: Klaviyo cannot be reached; `outcome` says what is known.
            APIStatusError: Klaviyo refused.
        """
        return self._shell.run(
            track,
            event,
            external_id=external_id,
            email=email,
            phone_number=phone_number,
            customer_properties=customer_properties,
            properties=properties,
            value=value,
            value_currency=value_currency,
            time=time,
            unique_id=unique_id,
            backfill=backfill,
        )

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
            APIConnectionError: Klaviyo cannot be reached; `outcome` says what is known.
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
            APIConnectionError: Klaviyo cannot be reached; `outcome` says what is known.
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
            APIConnectionError: Klaviyo cannot be reached; `outcome` says what is known.
            APIStatusError: Klaviyo refused.
        """
        return self._shell.run(change_phone_number, new_phone_number, external_id=external_id, email=email)

    def resolve(self, *, external_id: str | int | UUID | None = None, email: str | None = None) -> Resolution:
        """Return the customer's identity and profile, by the map or else by Klaviyo. Reads only.

        Raises:
            IdentityError: The identifiers are different customers', or several profiles answer.
            ErasedError: They were erased.
            StoreError: The identity map cannot answer.
            APIConnectionError: Klaviyo cannot be reached.
            APIStatusError: Klaviyo refused.
        """
        return self._shell.run(resolve, external_id=external_id, email=email)

    def erase(
        self, *, external_id: str | int | UUID | None = None, email: str | None = None, profile_id: str | None = None
    ) -> Erasure:
        """Ask Klaviyo to delete a customer's profile, by its id, and forget them here.

        What stays is a keyed hash of their identifiers, by which a late call is refused instead of making them known
        again. `bindings.release_email` lets a customer come back. Klaviyo deletes some time later.

        Raises:
            AmbiguousIdentityError: The identifiers are different customers', or several profiles answer.
            LeaseHeldError: Another call is writing about this customer.
            StoreError: The identity map cannot answer.
            APIConnectionError: Klaviyo cannot be reached; `outcome` says what is known.
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

        An event that was queued before a change can put the old address back, and a browser's own call with it makes a
        profile of its own. The first is repaired on request; everything else is reported only.

        Args:
            since: How far back to look; else seven days.
            repair: Put former addresses that were put back right.

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

    def close(self) -> None:
        """Close connections, and the store if it was opened here. May be called twice."""
        self._shell.close()
        if self._owns_store:
            self._shell.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
