"""The identity map in PostgreSQL: for all processes of all hosts that share a database.

Decided here: nothing but what asks what. The contract is in `base`; each operation is one statement, which calls a
function that does all of it in one transaction, so that nothing is ever read first and written later from here
(``version_1.sql``). Writers of one account take turns; a `find` waits for nobody and is one round trip.

Repeating: an operation whose connection is lost may or may not have been done, and raises `StoreUnavailableError`. Each
may be repeated. Reading changes nothing; `renew` and `remember` do the same again. A repeated `release`, `remove` or
`release_identifier` returns False, `add` says ``"unchanged"``, and `bind` says ``"fenced"`` or ``"stale"``, with what
stands where it was not under a lease: the rules then look again, as they do after anybody else's change. An `acquire`
that was done meets its own lease until it expires, and then takes it over with its own intent.

Leases, intents and retired identifiers are as durable as a commit: with ``synchronous_commit`` off, or a failover to a
standby that lags behind, the last of them can be lost. Their tokens and keys are not given again, because a promoted
standby begins numbers of its own, where the service lets its timeline be read; so whoever held a lost lease is fenced.
An old primary that comes back beside the new one has to be kept away by whoever promotes, and a subscriber of logical
replication needs its sequence set before it takes over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeklaviyo.errors import ConfigurationError
from safeklaviyo.stores.base import AsyncIdentityStore, IdentityStore
from safeklaviyo.stores.postgres._async_connections import AsyncConnections
from safeklaviyo.stores.postgres._connections import PATIENCE, Connections
from safeklaviyo.stores.postgres._joined import AsyncJoined, Joined
from safeklaviyo.stores.postgres._queries import Queries
from safeklaviyo.stores.postgres._schema import SCHEMA, migration_sql, named

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from safeklaviyo.identity import Identifier
    from safeklaviyo.models import Binding
    from safeklaviyo.stores.base import AddStatus, BindOutcome, Change, Found, JournalRow, Lease, Match, Notes, Page

__all__ = ["AsyncPostgresStore", "PostgresStore", "migration_sql"]

SIZE = 8


class PostgresStore(IdentityStore):
    """The identity map of as many hosts as there are. Nothing is opened before the first use.

    The tables are made by `migrate`, and never by anything else. Behind PgBouncer any pooling mode but ``statement``
    will do. After a fork each process has connections of its own.

    With `connection` the store joins a transaction of the caller's: what it changes is committed or rolled back with
    the caller's own rows, and a refused or failed operation leaves that transaction as it was. Until then nobody else
    sees the change, and everybody else who writes about the same account waits, for a few seconds at most: so bind
    near the end of a short transaction, and do not call Klaviyo in one. A lease taken in it is unseen by others and
    gone with a rollback or a crash, and its intent with it, so that an operation that changes an identity in Klaviyo
    belongs in a store of its own. The transaction must be READ COMMITTED, and its time limits are the caller's.

    Args:
        url: A PostgreSQL URL or connection string, as libpq understands it.
        connection: An open connection, in place of a URL; never committed, rolled back or closed by the store.
        schema: The schema of the tables; else the URL's parameter ``schema``, else ``safeklaviyo``.
        size: How many connections each process opens at most.
        timeout: Seconds to wait for a connection, and for an answer.

    Raises:
        ConfigurationError: An argument makes no sense.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        connection: psycopg.Connection[Any] | None = None,
        schema: str | None = None,
        size: int = SIZE,
        timeout: float = PATIENCE,
    ) -> None:
        place, own_schema = _place(url, connection)
        self._ask = ask = Queries(own_schema if schema is None else schema)
        self._to: Connections | Joined
        if place is None:
            self._to = Joined(connection, ask)
        else:
            self._to = Connections(place, ask, size, timeout)

    def migrate(self) -> None:
        """Make the tables where they are missing; changes nothing where they stand.

        Raises:
            StoreIncompatibleError: The schema holds something else.
        """
        self._to.migrate()

    def find(self, account: str, identifiers: Sequence[Identifier]) -> Found:
        """See `IdentityStore.find`."""
        return self._to.run(self._ask.find(account, identifiers))

    def acquire(self, account: str, identifiers: frozenset[Identifier], *, intent: str, ttl: float) -> Lease | None:
        """See `IdentityStore.acquire`."""
        return self._to.run(self._ask.acquire(account, identifiers, intent, ttl))

    def renew(self, account: str, token: int, *, ttl: float, intent: str | None = None) -> bool:
        """See `IdentityStore.renew`."""
        return self._to.run(self._ask.renew(account, token, ttl, intent))

    def release(self, account: str, token: int) -> bool:
        """See `IdentityStore.release`."""
        return self._to.run(self._ask.release(account, token))

    def bind(self, account: str, change: Change) -> BindOutcome:
        """See `IdentityStore.bind`."""
        return self._to.run(self._ask.bind(account, change))

    def add(self, account: str, bindings: Sequence[Binding]) -> tuple[AddStatus, ...]:
        """See `IdentityStore.add`."""
        return self._to.run(self._ask.add(account, bindings))

    def remove(self, account: str, identifier: Identifier) -> bool:
        """See `IdentityStore.remove`."""
        return self._to.run(self._ask.remove(account, identifier))

    def release_identifier(self, account: str, identifier: Identifier) -> bool:
        """See `IdentityStore.release_identifier`."""
        return self._to.run(self._ask.release_identifier(account, identifier))

    def expired(self, account: str, limit: int) -> tuple[Lease, ...]:
        """See `IdentityStore.expired`."""
        return self._to.run(self._ask.expired(account, limit))

    def leases(self, account: str, limit: int) -> tuple[Lease, ...]:
        """See `IdentityStore.leases`."""
        return self._to.run(self._ask.leases(account, limit))

    def journal(self, account: str, *, since: float, after: int = 0, limit: int = 1000) -> tuple[JournalRow, ...]:
        """See `IdentityStore.journal`."""
        return self._to.run(self._ask.journal(account, since, after, limit))

    def forget_journal(self, account: str, key: str) -> int:
        """See `IdentityStore.forget_journal`."""
        return self._to.run(self._ask.forget_journal(account, key))

    def page(self, account: str, *, after: str | None = None, limit: int = 1000) -> Page:
        """See `IdentityStore.page`."""
        return self._to.run(self._ask.page(account, after, limit))

    def bindings(self, account: str, keys: Sequence[str]) -> tuple[Binding, ...]:
        """See `IdentityStore.bindings`."""
        return self._to.run(self._ask.bindings(account, keys))

    def former(self, account: str, bindings: Sequence[Binding]) -> tuple[Match, ...]:
        """See `IdentityStore.former`."""
        return self._to.run(self._ask.former(account, bindings))

    def restore(self, account: str, former: Sequence[Match]) -> int:
        """See `IdentityStore.restore`."""
        return self._to.run(self._ask.restore(account, former))

    def restore_journal(self, account: str, rows: Sequence[tuple[Binding, JournalRow]]) -> int:
        """See `IdentityStore.restore_journal`."""
        return self._to.run(self._ask.restore_journal(account, rows))

    def count(self, account: str) -> int:
        """See `IdentityStore.count`."""
        return self._to.run(self._ask.count(account))

    def recall(self, account: str, name: str) -> str | None:
        """See `IdentityStore.recall`."""
        return self._to.run(self._ask.recall(account, name))

    def remember(self, account: str, name: str, value: str | None) -> None:
        """See `IdentityStore.remember`."""
        self._to.run(self._ask.remember(account, name, value))

    def notes(self, account: str, *, after: str | None = None, limit: int = 1000) -> Notes:
        """See `IdentityStore.notes`."""
        return self._to.run(self._ask.notes(account, after, limit))

    def close(self) -> None:
        """See `IdentityStore.close`."""
        self._to.close()


class AsyncPostgresStore(AsyncIdentityStore):
    """The asynchronous twin of `PostgresStore`. May be used in one event loop after another.

    Args:
        url: As for `PostgresStore`.
        connection: As for `PostgresStore`, an asynchronous one.
        schema: As for `PostgresStore`.
        size: How many connections each event loop opens at most.
        timeout: As for `PostgresStore`.

    Raises:
        ConfigurationError: An argument makes no sense.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        connection: psycopg.AsyncConnection[Any] | None = None,
        schema: str | None = None,
        size: int = SIZE,
        timeout: float = PATIENCE,
    ) -> None:
        place, own_schema = _place(url, connection)
        self._ask = ask = Queries(own_schema if schema is None else schema)
        self._to: AsyncConnections | AsyncJoined
        if place is None:
            self._to = AsyncJoined(connection, ask)
        else:
            self._to = AsyncConnections(place, ask, size, timeout)

    async def migrate(self) -> None:
        """Same as `PostgresStore.migrate`."""
        await self._to.migrate()

    async def find(self, account: str, identifiers: Sequence[Identifier]) -> Found:
        """Same as `IdentityStore.find`."""
        return await self._to.run(self._ask.find(account, identifiers))

    async def acquire(
        self, account: str, identifiers: frozenset[Identifier], *, intent: str, ttl: float
    ) -> Lease | None:
        """Same as `IdentityStore.acquire`."""
        return await self._to.run(self._ask.acquire(account, identifiers, intent, ttl))

    async def renew(self, account: str, token: int, *, ttl: float, intent: str | None = None) -> bool:
        """Same as `IdentityStore.renew`."""
        return await self._to.run(self._ask.renew(account, token, ttl, intent))

    async def release(self, account: str, token: int) -> bool:
        """Same as `IdentityStore.release`."""
        return await self._to.run(self._ask.release(account, token))

    async def bind(self, account: str, change: Change) -> BindOutcome:
        """Same as `IdentityStore.bind`."""
        return await self._to.run(self._ask.bind(account, change))

    async def add(self, account: str, bindings: Sequence[Binding]) -> tuple[AddStatus, ...]:
        """Same as `IdentityStore.add`."""
        return await self._to.run(self._ask.add(account, bindings))

    async def remove(self, account: str, identifier: Identifier) -> bool:
        """Same as `IdentityStore.remove`."""
        return await self._to.run(self._ask.remove(account, identifier))

    async def release_identifier(self, account: str, identifier: Identifier) -> bool:
        """Same as `IdentityStore.release_identifier`."""
        return await self._to.run(self._ask.release_identifier(account, identifier))

    async def expired(self, account: str, limit: int) -> tuple[Lease, ...]:
        """Same as `IdentityStore.expired`."""
        return await self._to.run(self._ask.expired(account, limit))

    async def leases(self, account: str, limit: int) -> tuple[Lease, ...]:
        """Same as `IdentityStore.leases`."""
        return await self._to.run(self._ask.leases(account, limit))

    async def journal(self, account: str, *, since: float, after: int = 0, limit: int = 1000) -> tuple[JournalRow, ...]:
        """Same as `IdentityStore.journal`."""
        return await self._to.run(self._ask.journal(account, since, after, limit))

    async def forget_journal(self, account: str, key: str) -> int:
        """Same as `IdentityStore.forget_journal`."""
        return await self._to.run(self._ask.forget_journal(account, key))

    async def page(self, account: str, *, after: str | None = None, limit: int = 1000) -> Page:
        """Same as `IdentityStore.page`."""
        return await self._to.run(self._ask.page(account, after, limit))

    async def bindings(self, account: str, keys: Sequence[str]) -> tuple[Binding, ...]:
        """Same as `IdentityStore.bindings`."""
        return await self._to.run(self._ask.bindings(account, keys))

    async def former(self, account: str, bindings: Sequence[Binding]) -> tuple[Match, ...]:
        """Same as `IdentityStore.former`."""
        return await self._to.run(self._ask.former(account, bindings))

    async def restore(self, account: str, former: Sequence[Match]) -> int:
        """Same as `IdentityStore.restore`."""
        return await self._to.run(self._ask.restore(account, former))

    async def restore_journal(self, account: str, rows: Sequence[tuple[Binding, JournalRow]]) -> int:
        """Same as `IdentityStore.restore_journal`."""
        return await self._to.run(self._ask.restore_journal(account, rows))

    async def count(self, account: str) -> int:
        """Same as `IdentityStore.count`."""
        return await self._to.run(self._ask.count(account))

    async def recall(self, account: str, name: str) -> str | None:
        """Same as `IdentityStore.recall`."""
        return await self._to.run(self._ask.recall(account, name))

    async def remember(self, account: str, name: str, value: str | None) -> None:
        """Same as `IdentityStore.remember`."""
        await self._to.run(self._ask.remember(account, name, value))

    async def notes(self, account: str, *, after: str | None = None, limit: int = 1000) -> Notes:
        """Same as `IdentityStore.notes`."""
        return await self._to.run(self._ask.notes(account, after, limit))

    async def aclose(self) -> None:
        """Same as `IdentityStore.close`."""
        await self._to.aclose()


def _place(url: str | None, connection: object) -> tuple[str | None, str]:
    """Return where the map is, None for the connection, and the schema if nobody says otherwise."""
    if url is None:
        return None, SCHEMA
    if connection is not None:
        raise ConfigurationError("give a PostgreSQL URL or a connection, not both")
    return named(url)
