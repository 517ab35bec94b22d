"""The schema of the identity map in PostgreSQL: its name, its version, and the SQL that creates it.

Decided here: what is filled into ``version_1.sql``, which has the tables and the functions. A shop that runs its own
migrations runs `migration_sql`; all others call `migrate` of a store.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final
from urllib.parse import unquote

from psycopg import sql

from safeklaviyo.errors import ConfigurationError, StoreIncompatibleError

VERSION: Final = 1
SCHEMA: Final = "safeklaviyo"
MIGRATE: Final = "run `safeklaviyo store migrate`"

# PostgreSQL keeps a function's plans for the life of a connection. A plan made while the tables were empty would scan
# them, and would be slow for ever. So only plans that use an index are allowed.
_PLANNING = "SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off"
# Below the store's timeout of 5 s, so that the server reports a busy account before the client gives the server up.
_WAITING = "SET lock_timeout = '4s'"
# A page has to come from the index in order. Without statistics PostgreSQL would rather sort all rows after the cursor.
_PAGING = "SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off"
_NAME_LIMIT = 63  # PostgreSQL cuts longer names off (its *Identifiers and Key Words*)


def named(url: str) -> tuple[str, str]:
    """Return a URL without its parameter ``schema``, which libpq does not know, and the schema that the URL names."""
    server, _, query = url.partition("?")
    if not server.startswith(("postgresql://", "postgres://")):
        return url, SCHEMA
    parts = [part for part in query.split("&") if part]
    own = [part for part in parts if part.startswith("schema=")]
    rest = "&".join(part for part in parts if part not in own)
    return f"{server}?{rest}", unquote(own[-1].removeprefix("schema=")) if own else SCHEMA


def quoted(schema: str) -> str:
    """Return the schema's name, quoted for a statement.

    Raises:
        ConfigurationError: PostgreSQL does not accept the name, or would cut it off.
    """
    if not schema or "\0" in schema or len(schema.encode()) > _NAME_LIMIT:
        raise ConfigurationError(f"schema has to be a name of 1 to {_NAME_LIMIT} bytes")
    return sql.Identifier(schema).as_string(None)


def numbers(schema: str) -> str:
    """Return the name of the sequence that gives the numbers, as a text for a statement."""
    return sql.Literal(f"{quoted(schema)}.numbers").as_string(None)


def migration_sql(schema: str = SCHEMA) -> str:
    """Return the SQL that creates the identity map in an empty schema, for shops that run their own migrations.

    Run it as one transaction. A role that uses the map without owning it needs USAGE on the schema, and SELECT, INSERT,
    UPDATE and DELETE on its tables.

    Args:
        schema: The schema of the tables; created if it is missing.

    Raises:
        ConfigurationError: PostgreSQL does not accept the schema's name.
    """
    text = files(__package__ or "").joinpath(f"version_{VERSION}.sql").read_text("utf-8")
    names = {
        "schema": quoted(schema),
        "schema_text": sql.Literal(schema).as_string(None),
        "numbers_text": numbers(schema),
    }
    names |= {"planning": _PLANNING, "waiting": _WAITING, "paging": _PAGING}
    # All at once, so that a name which looks like one of these words stays as it is. `str.format` would trip over the
    # braces of the SQL itself, such as '{}' for an empty array.
    return re.sub(r"\{(\w+)\}", lambda word: names.get(word[1], word[0]), _delimited(text, schema))


def _delimited(text: str, schema: str) -> str:
    """Return the SQL with delimiters of the functions' bodies that the schema's name cannot end."""
    if "$" not in schema:
        return text
    tag = "body"
    while f"${tag}" in schema:
        tag += "_"
    return text.replace("$_$", f"${tag}_inner$").replace("$$", f"${tag}$")


def check(version: int | None) -> None:
    """Check that the tables are those of this version.

    Raises:
        StoreIncompatibleError: The tables are of another version.
    """
    if version is None or version < VERSION:
        raise StoreIncompatibleError(f"the identity map's tables are older than this version of safeklaviyo; {MIGRATE}")
    if version > VERSION:
        raise StoreIncompatibleError(
            f"the identity map's tables are newer than this version of safeklaviyo; upgrade it, then {MIGRATE}"
        )
