"""The schema of the identity map in PostgreSQL: its name, its version, and the SQL that makes it.

Decided here: what is filled into ``version_1.sql``, where the tables and the functions stand. A shop that runs its own
migrations runs `migration_sql`; everybody else calls `migrate` of a store.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final
from urllib.parse import unquote

from psycopg import sql

from safeklaviyo.errors import ConfigurationError, StoreIncompatibleError

VERSION: Final = 1
SCHEMA: Final = "safeklaviyo"
MIGRATE: Final = "run `safeklaviyo store migrate`"

# A plan is kept for as long as a connection, and must not be one for the empty tables it was made with.
_PLANNING = "SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off"
_WAITING = "SET lock_timeout = '4s'"
# Without statistics a part of a large table looks small enough to be sorted, with all that is behind it.
_PAGING = "SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off"
_NAME_LIMIT = 63  # PostgreSQL cuts longer names off (its *Identifiers and Key Words*)


def named(url: str) -> tuple[str, str]:
    """Return a URL without its parameter ``schema``, which is this library's own, and the schema that it names."""
    place, _, query = url.partition("?")
    if not place.startswith(("postgresql://", "postgres://")):
        return url, SCHEMA
    parts = [part for part in query.split("&") if part]
    own = [part for part in parts if part.startswith("schema=")]
    rest = "&".join(part for part in parts if part not in own)
    return f"{place}?{rest}", unquote(own[-1].removeprefix("schema=")) if own else SCHEMA


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
    names = {
        "schema": quoted(schema),
        "schema_text": sql.Literal(schema).as_string(None),
        "numbers_text": sql.Literal(f"{quoted(schema)}.numbers").as_string(None),
    }
    for name, value in {**names, "planning": _PLANNING, "waiting": _WAITING, "paging": _PAGING}.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def check(version: int | None) -> None:
    """Make sure that the tables found are those of this version.

    Raises:
        StoreIncompatibleError: They are not.
    """
    if version is None or version < VERSION:
        raise StoreIncompatibleError(f"the identity map's tables are older than this version of safeklaviyo; {MIGRATE}")
    if version > VERSION:
        raise StoreIncompatibleError(
            f"the identity map's tables are newer than this version of safeklaviyo; upgrade it, then {MIGRATE}"
        )
