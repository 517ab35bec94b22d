"""The schema of the identity map in PostgreSQL: its name, its version, and the SQL that makes it.

Decided here: what is filled into ``version_1.sql``, where the tables and the functions stand. A shop that runs its own
migrations runs `migration_sql`; everybody else calls `migrate` of a store.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from psycopg import sql

from safeklaviyo.errors import ConfigurationError, StoreIncompatibleError

VERSION: Final = 1
SCHEMA: Final = "safeklaviyo"
MIGRATE: Final = "run `safeklaviyo store migrate`"

# A plan is kept for as long as a connection, and must not be one for the empty tables it was made with.
_PLANNING = "SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off"
_WAITING = "SET lock_timeout = '4s'"
_NAME_LIMIT = 63  # PostgreSQL cuts longer names off (its *Identifiers and Key Words*)


def quoted(schema: str) -> str:
    """Return the schema's name as it stands in a statement.

    Raises:
        ConfigurationError: It is no name.
    """
    if not schema or "\0" in schema or len(schema.encode()) > _NAME_LIMIT:
        raise ConfigurationError(f"schema has to be a name of 1 to {_NAME_LIMIT} bytes")
    return sql.Identifier(schema).as_string(None)


def migration_sql(schema: str = SCHEMA) -> str:
    """Return the SQL that makes the identity map in an empty schema, for shops that run their own migrations.

    Run it as one transaction. A role that uses the map without owning it needs USAGE on the schema, and SELECT, INSERT,
    UPDATE and DELETE on its tables.

    Args:
        schema: Where the tables go; made if it is missing.

    Raises:
        ConfigurationError: The schema's name is none.
    """
    text = files(__package__ or "").joinpath(f"version_{VERSION}.sql").read_text("utf-8")
    names = {"schema": quoted(schema), "schema_text": sql.Literal(schema).as_string(None)}
    for name, value in {**names, "planning": _PLANNING, "waiting": _WAITING}.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def is_made(rows: list[tuple[int | None]]) -> bool:
    """Tell whether the schema stands there in this version; False if there is none.

    Args:
        rows: The version found, if any.

    Raises:
        StoreIncompatibleError: It is of another version.
    """
    found = rows[0][0] if rows else None
    if found is None:
        return False
    if found != VERSION:
        raise StoreIncompatibleError(
            f"the identity map's tables are older than this version of safeklaviyo; {MIGRATE}"
            if found < VERSION
            else "the identity map's tables are newer than this version of safeklaviyo; upgrade it"
        )
    return True
