"""`Klaviyo`: the client with blocking calls. `async_klaviyo` has the same calls, awaited.

Nothing is decided here: a method hands its arguments to the flow of the same name (`_flows`), which a shell carries out
(`_runtime.shell`). What the arguments of a client mean is in `_runtime.config`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from safeklaviyo._client.bindings import Bindings
from safeklaviyo._client.bulk_verbs import BulkVerbs
from safeklaviyo._client.consent_verbs import ConsentVerbs
from safeklaviyo._client.description import Described
from safeklaviyo._client.identity_verbs import IdentityVerbs
from safeklaviyo._client.lists import Lists
from safeklaviyo._client.other_calls import OtherCalls
from safeklaviyo._client.outbox import Outbox
from safeklaviyo._client.profiles import Profiles
from safeklaviyo._flows.verbs.identify import identify
from safeklaviyo._flows.verbs.track import track
from safeklaviyo._runtime.config import (
    DEADLINE,
    REVISION,
    SAME,
    DialectName,
    Same,
    store_url,
    wiring,
)
from safeklaviyo._runtime.shell import Shell
from safeklaviyo._tracebacks import discreet
from safeklaviyo.policy import Policy, RetryPolicy
from safeklaviyo.stores import open_store
from safeklaviyo.stores.base import IdentityStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime, timedelta
    from decimal import Decimal
    from enum import Enum
    from uuid import UUID

    from safeklaviyo._runtime.senders.client import SyncClient
    from safeklaviyo._runtime.senders.timeouts import Timeout
    from safeklaviyo.models import (
        Decision,
        IdentifyResult,
        TrackResult,
    )


@discreet
class Klaviyo(IdentityVerbs, ConsentVerbs, BulkVerbs, OtherCalls, Described):
    """The identity-safe client for Klaviyo. Safe between threads; after a fork the child gets its own connections.

    Constructing it does no I/O. Close it, or use it as a context manager, when the program ends.

    Args:
        api_key: Klaviyo's private key; else the environment's ``KLAVIYO_API_KEY``. A client may be made without one:
            its first request then raises `ConfigurationError`.
        store: The identity map: a URL (``sqlite:///path``, ``memory://``) or a store, which this client then never
            closes; else the environment's ``SAFEKLAVIYO_STORE``; else an SQLite file in the user's state folder.
        account: The namespace of the map: Klaviyo's account id, which is the six-character public key; else
            `public_key`; else Klaviyo is asked once and the answer remembered, or with `access_token` asked once for
            each client. A new key keeps the map. Where an answer of Klaviyo's names another account, the call raises.
        public_key: The account's public key, which the legacy dialect sends as its token.
        policy: How strictly identities are kept.
        retry: How long one request is tried.
        timeout: Seconds for one attempt in all, or an `httpx.Timeout`, of which connecting and reading make up the
            whole. It holds for an `http_client` too; the timeout of that client is not used.
        deadline: Seconds, or a timedelta, that one call about one person may take in all: leases, pacing, retries,
            requests and the map; None for no limit. `recover` and `recheck_changes` apply it to each person.
        base_url: A scheme and a host; plain http only to loopback; else the environment's ``KLAVIYO_BASE_URL``; else
            Klaviyo's own.
        revision: Klaviyo's API revision.
        dialect: ``"current"``, or ``"legacy"`` for a server that still has the Track, Identify and People endpoints,
            for which Klaviyo's own host answers 410. Legacy *keys* such as ``$email`` work in both dialects.
        access_token: An OAuth access token in place of a key, or a callable that returns it. The callable is asked
            before each request, by one thread at a time, so it caches the token; and once more after a 401. It ends
            with the attempt's `timeout` only by itself: a thread cannot be stopped. What it raises reaches the caller.
        http_client: Send through this client of httpx or httpx2, so that its hooks, auth, headers and proxies are
            honoured; redirects are never followed, and it is never closed here. httpx then logs URLs at INFO, and some
            hold addresses.
        outbox: The URL of the database that holds the outbox (``sqlite:///path`` or ``postgresql://``); else the
            environment's ``SAFEKLAVIYO_OUTBOX``; else the map's own database. Of a map in Redis there is none: the
            first use of `outbox` raises. A map in memory has an outbox in memory, for tests: it ends with the map.
        on_decision: Called with each decision of the rules that a call has made, once that call is over and holds no
            lease. What it raises is logged and dropped; what it takes, the call waits for.

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
        deadline: float | timedelta | None = DEADLINE,
        base_url: str | None = None,
        revision: str = REVISION,
        dialect: DialectName = "current",
        access_token: str | Callable[[], str] | None = None,
        http_client: SyncClient | None = None,
        outbox: str | None = None,
        on_decision: Callable[[Decision], None] | None = None,
    ) -> None:
        self._wiring = wiring(
            api_key,
            access_token=access_token,
            account=account,
            public_key=public_key,
            policy=policy,
            retry=retry,
            timeout=timeout,
            deadline=deadline,
            base_url=base_url,
            revision=revision,
            dialect=dialect,
            on_decision=on_decision,
            outbox=outbox,
        )
        # A store that the caller has made may serve other clients too, so `close` leaves it open.
        self._owns_store = not isinstance(store, IdentityStore)
        opened = store if isinstance(store, IdentityStore) else open_store(store_url(store))
        self._shell = Shell(self._wiring, opened, http_client)

    def with_options(
        self,
        *,
        timeout: Timeout | Same = SAME,
        deadline: float | timedelta | Same | None = SAME,
        policy: Policy | Same = SAME,
        retry: RetryPolicy | Same = SAME,
    ) -> Self:
        """Return a view of this client with other options.

        It shares everything with this client: connections, map, pacing and retry budget. Closing it closes nothing, and
        it ends with this client. An option that is not given stays as it is; None for `deadline` means no limit.

        Raises:
            ConfigurationError: An option makes no sense.
        """
        # Not by `__init__`: a view with a pacer and a retry budget of its own would send beside its client, and both
        # together more than Klaviyo allows.
        view = type(self).__new__(type(self))
        wiring = self._wiring.with_options(timeout, deadline, policy, retry)
        # A view owns no store. Closing one must not take the map away from the client and from the other views.
        view.__dict__ |= {"_wiring": wiring, "_shell": self._shell.view(wiring), "_owns_store": False}
        return view

    @property
    def profiles(self) -> Profiles:
        """Klaviyo's profiles, by their ids."""
        return Profiles(self._shell)

    @property
    def lists(self) -> Lists:
        """Klaviyo's mailing lists, and who is in them."""
        return Lists(self._shell)

    @property
    def outbox(self) -> Outbox:
        """The outbox: calls that are committed with the shop's own rows, and carried out afterwards."""
        return Outbox(self._shell)

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
        """Write properties onto the profile of one customer, and create the profile if there is none.

        Sends at most one create, even when called concurrently; never changes who owns an identifier.

        Args:
            properties: Legacy keys such as ``$email`` are understood, and the attributes of a profile in Klaviyo's
                API. `CLEAR` erases a property; None never does. What cannot be sent is left out, with a notice in
                `warnings`, or refused (`Policy.properties`).
            external_id: The shop's own id of the customer.
            email: The customer's address. It may be left out with an `external_id` that the map or Klaviyo has.
            phone_number: In E.164 form, or of `Policy.phone_region`. Attached if the customer has none. Never decides
                who the customer is.
            append: Values to add to list properties.
            unappend: Values to take out of list properties.
            unset: Properties to remove.

        Raises:
            IdentityError: Who this is, is in doubt; nothing was written.
            InvalidPropertyError: An identifier is given twice, or `Policy.properties` refuses what cannot be sent.
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
        """Record one event about one customer, and create the profile if there is none.

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

    def close(self) -> None:
        """Close the connections, and the store if this client opened it. May be called twice."""
        # The store last: the outbox, which the shell closes, may work over the map's own connections.
        self._shell.close()
        if self._owns_store:
            self._shell.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
