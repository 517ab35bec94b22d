"""The outbox's own parts, for tests."""

from safeklaviyo.stores.outbox.postgres import PostgresOutbox

__all__ = ["PostgresOutbox"]
