"""`Klaviyo`: the client with blocking calls. `async_klaviyo` has the same calls, awaited.

Nothing is decided here: a method hands its arguments to the flow of the same name (`_flows`), which a shell carries out
(`_runtime.shell`). What the arguments of a client mean is in `_runtime.config`.
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
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from safeklaviyo._runtime.senders.client import SyncClient
    from safeklaviyo._runtime.senders.timeouts import Timeout
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
        store: The identity map: a URL (``sqlite:///path``, ``memory://``) or a store, which this client then never
            closes; else the environment's ``SAFEKLAVIYO_STORE``; else an SQLite file in the user's state folder.
        account: The namespace of the map: Klaviyo's account id, which is the six-character public key; else
            `public_key`; else Klaviyo is asked once and the answer remembered. A new key keeps the map.
        public_key: The account's public key, which the legacy dialect sends as its token.
        policy: How strictly identities are kept.
        retry: How long one request is tried.
        timeout: Seconds for one attempt in all, or an `httpx.Timeout`, of which connecting and reading make up the
            whole. It holds for an `http_client` too; the timeout of that client is not used.
        base_url: A scheme and a host; plain http only to loopback.
        revision: Klaviyo's API revision.
        dialect: ``"current"``, or ``"legacy"`` for a server that still has the Track, Identify and People endpoints,
            for which Klaviyo's own host answers 410. Legacy *keys* such as ``$email`` work in both dialects.
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
        external_id: str | int | None = None,
        email: str | None = None,
        phone_number: str | None = None,
        append: Mapping[str, Any] | None = None,
        unappend: Mapping[str, Any] | None = None,
        unset: str | Sequence[str] | None = None,
    ) -> IdentifyResult:
        """Write properties onto the profile of one customer, and create the profile if there is none.

        Sends at most one create, even when called concurrently; never changes who owns an identifier.

        Args:
            properties: Legacy keys such as ``$email`` and ``$first_name`` are understood. `CLEAR` erases a property;
                None is refused, because a missing value must never erase data.
            external_id: The shop's own id of the customer.
            email: The customer's address. It may be left out with an `external_id` that the map or Klaviyo has.
            phone_number: In E.164 form. Attached if the customer has none. Never decides who the customer is.
            append: Values to add to list properties.
            unappend: Values to take out of list properties.
            unset: Properties to remove.

        Raises:
            IdentityError: Who this is, is in doubt; nothing was written.
            InvalidPropertyError: A property cannot be sent; nothing was.
            LeaseHeldError: Another call is writing about this customer.
            StoreError: The identity map cannot answer; nothing was sent.
            APIConnectionError: Klaviyo cannot be reached; `outcome` says whether it may have changed.
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
        event: str,
        *,
        external_id: str | int | None = None,
        email: str | None = None,
        phone_number: str | None = None,
        customer_properties: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        value: float | None = None,
        value_currency: str | None = None,
        time: datetime | float | str | None = None,
        unique_id: str | None = None,
        backfill: bool = False,
    ) -> TrackResult:
        """Record one event about one customer, and create the profile if there is none.

        The event's `unique_id` and `time` are fixed before the first attempt and repeated by every retry; every error
        carries them, so that a task queue's retry can repeat the same event.

        Args:
            event: The metric's name, such as ``"Placed Order"``.
            external_id: As for `identify`.
            email: As for `identify`.
            phone_number: As for `identify`.
            customer_properties: Written onto the profile with the event; as `properties` of `identify`.
            properties: The event's own; None in it is JSON null.
            value: What the event is worth.
            value_currency: ISO 4217, such as ``"EUR"``.
            time: An aware datetime, unix seconds, or ISO 8601 with an offset; else now.
            unique_id: The idempotency key, 1 to 255 characters; else a new one.
            backfill: Record it without triggering flows.

        Raises:
            IdentityError: Who this is, is in doubt; nothing was written.
            InvalidPropertyError: Something cannot be sent; nothing was.
            LeaseHeldError: Another call is writing about this customer.
            StoreError: The identity map cannot answer; nothing was sent.
            APIConnectionError: Klaviyo cannot be reached; `outcome` says whether it may have changed.
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
        external_id: str | int | None = None,
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
        self, new_external_id: str | int | Clear, *, old_external_id: str | int | None = None, email: str | None = None
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
        self, new_phone_number: str | Clear, *, external_id: str | int | None = None, email: str | None = None
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

    def resolve(self, *, external_id: str | int | None = None, email: str | None = None) -> Resolution:
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
        self, *, external_id: str | int | None = None, email: str | None = None, profile_id: str | None = None
    ) -> Erasure:
        """Ask Klaviyo to delete a customer's profile, by its id, and forget them here.

        A tombstone stays: a keyed hash of the identifiers, by which a late call is refused instead of creating the
        profile again. `bindings.release_email` lets a customer come back. Klaviyo deletes some time later.

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
        self, *, external_id: str | int | None = None, email: str | None = None, phone_number: str | None = None
    ) -> Decision:
        """Say what a call about this person would do, and by which rule. Reads the map only, sends nothing.

        Only where no `account` was given, Klaviyo is asked once for the key's account, as by every other call.

        Raises:
            InvalidIdentifierError: An identifier is unusable, or there is none.
            StoreError: The identity map cannot answer.
        """
        return self._shell.run(explain, external_id=external_id, email=email, phone_number=phone_number)

    def close(self) -> None:
        """Close the connections, and the store if this client opened it. May be called twice."""
        self._shell.close()
        if self._owns_store:
            self._shell.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
