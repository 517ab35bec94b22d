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

from typing import TYPE_CHECKING, Any, TypeVar

from safeklaviyo.errors import ConfigurationError
from safeklaviyo.stores.base import AsyncIdentityStore, IdentityStore
from safeklaviyo.stores.postgres._async_connections import AsyncConnections
from safeklaviyo.stores.postgres._connections import PATIENCE, Connections
from safeklaviyo.stores.postgres._joined import AsyncJoined, Joined
from safeklaviyo.stores.postgres._queries import Queries
from safeklaviyo.stores.postgres._schema import SCHEMA, migration_sql, named

if TYPE_CHECKING:
    import psycopg

    from safeklaviyo.stores.calls import Call

__all__ = ["AsyncPostgresStore", "PostgresStore", "migration_sql"]

T = TypeVar("T")

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

    def perform(self, call: Call[T]) -> T:
        """See `IdentityStore.perform`."""
        return self._to.run(self._ask.query(call))

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

    async def perform(self, call: Call[T]) -> T:
        """Same as `IdentityStore.perform`."""
        return await self._to.run(self._ask.query(call))

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
