"""The identity map in PostgreSQL: for all processes of all hosts that share a database.

The contract is in `base`. Each operation is one statement, which calls a function of ``version_1.sql``. The function
does all of the operation in one transaction, so this client never reads first and writes later. Writers of one account
take turns. A `find` is one round trip and waits for no writer. An `add` judges and writes its rows as a set, in the
statement of ``add.sql``; before it, in the same transaction, another statement takes the account's lock. One statement
could not do both, because it sees the map as it was before it waited.

**Why a look-up calls a function.** A plain statement could read the tables, too. But PostgreSQL would plan it for each
look-up, because a session keeps no prepared statements (PgBouncer). Each connection keeps the plan of a function.
Measured on PostgreSQL 15 with 50,000 customers, a look-up cost the server 605 us of CPU by the statement and 266 us by
the function.

**Repeating.** An operation that loses its connection raises `StoreUnavailableError`, and may have been done. Each
operation may be repeated:

- a read changes nothing; `renew` and `remember` write the same again;
- `release`, `remove` and `release_identifier` return False if the first attempt was done;
- `add` says ``"unchanged"``;
- `bind` says ``"fenced"`` under a lease, otherwise ``"stale"`` with the binding as it is now; the flow then decides
  again, as after another call's change;
- `acquire` meets its own lease. It returns None until that lease expires, and then takes it over with its own intent.

**Durability.** Leases, intents and retired identifiers are as durable as a commit. With ``synchronous_commit`` off, or
after a failover to a standby that lags, the newest can be lost. Tokens and keys are not given twice, because a promoted
standby gives higher numbers, if the service lets its timeline be read. So the holder of a lost lease is fenced. The
operator who promotes a standby has to keep the old primary away, and has to set the sequence of a subscriber of logical
replication before it takes over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from safeklaviyo._tracebacks import discreet
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

    from safeklaviyo.stores.calls import Call

__all__ = ["AsyncPostgresStore", "PostgresStore", "migration_sql"]

T = TypeVar("T")

SIZE = 8


@discreet
class PostgresStore(IdentityStore):
    """The identity map of any number of hosts. Nothing is opened before the first use.

    `migrate` alone creates the tables. Behind PgBouncer every pooling mode except ``statement`` works. After a fork
    each process has connections of its own.

    With `connection` the store joins a transaction of the caller's:

    - its changes are committed or rolled back with the caller's own rows; a refused or failed operation leaves the
      transaction as it was;
    - before the commit no other connection sees the changes, and all other writers of the account wait, for a few
      seconds at most. So bind near the end of a short transaction, and do not call Klaviyo in it;
    - a lease that is taken in the transaction is invisible to other calls, and a rollback or a crash loses the lease
      and its intent. So use a store of its own for operations that change an identity in Klaviyo;
    - the transaction must be READ COMMITTED, and its time limits are the caller's.

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
        server, own_schema = _server(url, connection)
        self._ask = ask = Queries(own_schema if schema is None else schema)
        self.address = server
        self.schema: str = own_schema if schema is None else schema
        self._to: Connections | Joined
        if server is None:
            self._to = Joined(connection, ask)
        else:
            self._to = Connections(server, ask, size, timeout)

    def migrate(self) -> None:
        """Create the tables, if the schema has none. Existing tables are left as they are.

        Raises:
            StoreIncompatibleError: The schema holds something else, or tables of another version.
        """
        self._to.migrate()

    def perform(self, call: Call[T]) -> T:
        """See `IdentityStore.perform`."""
        return self._to.run(self._ask.query(call))

    def each(self, account: str, several: Sequence[Call[T]]) -> tuple[T, ...]:
        """See `IdentityStore.each`: most kinds of calls are made in one transaction and one round trip."""
        query = self._ask.each(several)
        return super().each(account, several) if query is None else self._to.run(query)

    def close(self) -> None:
        """See `IdentityStore.close`."""
        self._to.close()


@discreet
class AsyncPostgresStore(AsyncIdentityStore):
    """Same as `PostgresStore`, awaited. It may be used in one event loop after another.

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
        server, own_schema = _server(url, connection)
        self._ask = ask = Queries(own_schema if schema is None else schema)
        self.address = server
        self.schema: str = own_schema if schema is None else schema
        self._to: AsyncConnections | AsyncJoined
        if server is None:
            self._to = AsyncJoined(connection, ask)
        else:
            self._to = AsyncConnections(server, ask, size, timeout)

    async def migrate(self) -> None:
        """Same as `PostgresStore.migrate`."""
        await self._to.migrate()

    async def perform(self, call: Call[T]) -> T:
        """Same as `IdentityStore.perform`."""
        return await self._to.run(self._ask.query(call))

    async def each(self, account: str, several: Sequence[Call[T]]) -> tuple[T, ...]:
        """Same as `PostgresStore.each`."""
        query = self._ask.each(several)
        return await super().each(account, several) if query is None else await self._to.run(query)

    async def aclose(self) -> None:
        """Same as `IdentityStore.close`."""
        await self._to.aclose()


def _server(url: str | None, connection: object) -> tuple[str | None, str]:
    """Return the URL of the server, or None to use the connection, and the schema that the URL names."""
    if url is None:
        return None, SCHEMA
    if connection is not None:
        raise ConfigurationError("give a PostgreSQL URL or a connection, not both")
    return named(url)
