"""How the map in PostgreSQL is reached and asked, and what its failures mean."""

from safeklaviyo.stores.outbox.schema import postgres_sql as outbox_sql
from safeklaviyo.stores.postgres import _async_connections as async_connections
from safeklaviyo.stores.postgres import _connections as connections
from safeklaviyo.stores.postgres import _failures as failures
from safeklaviyo.stores.postgres import _queries as queries
from safeklaviyo.stores.postgres import _values as values
from safeklaviyo.stores.postgres._queries import Queries

__all__ = ["Queries", "async_connections", "connections", "failures", "outbox_sql", "queries", "values"]
