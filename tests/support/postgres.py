"""How the map in PostgreSQL is reached and asked, and what its failures mean."""

from safeklaviyo.stores._postgres import async_connections, connections, failures, queries
from safeklaviyo.stores._postgres.queries import Queries

__all__ = ["Queries", "async_connections", "connections", "failures", "queries"]
