"""The tables of the outbox, in SQLite and in PostgreSQL. Each statement may be run again.

- ``outbox`` has the rows. No id is given twice, even after the newest row was deleted.
- ``outbox_name`` has one row for each name of each row, by which rows with the same name are found. Its lane is the
  row's; for a parked row it is -1.
- ``outbox_lane`` has the lanes: the token of the drain that holds a lane, and when it expires.
- ``outbox_mark`` has, for each name, when a change of that person was made.
- ``outbox_pace`` has, for each endpoint, how many requests each second has.
- ``outbox_about`` has one row: the random id of these tables, and the key of the names.
"""

from __future__ import annotations

from typing import Final

from safeklaviyo.stores.outbox.at_once import PUT

VERSION: Final = 1

_ROW = """
    account {text} NOT NULL, lane {small} NOT NULL, names {json} NOT NULL, profile {text}, verb {text} NOT NULL,
    payload {text} NOT NULL, unique_id {text}, time {real} NOT NULL, at {real} NOT NULL, due {real} NOT NULL,
    born {big}, attempts {small} NOT NULL DEFAULT 0, unsure {small} NOT NULL DEFAULT 0,
    state {text} NOT NULL DEFAULT 'waiting', rule {text}, error {text}
"""
_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS {about}(
        id {text} NOT NULL, key {text} NOT NULL, version {small} NOT NULL, one {small} PRIMARY KEY DEFAULT 1,
        CHECK(one = 1))
    """,
    f"CREATE TABLE IF NOT EXISTS {{outbox}}(id {{identity}}, {_ROW})",
    "CREATE INDEX IF NOT EXISTS {index}_waiting ON {outbox}(account, lane, id) WHERE state = 'waiting'",
    "CREATE INDEX IF NOT EXISTS {index}_due ON {outbox}(account, lane, due) WHERE state = 'waiting'",
    "CREATE INDEX IF NOT EXISTS {index}_dead ON {outbox}(account, id) WHERE state = 'dead'",
    """
    CREATE TABLE IF NOT EXISTS {name}(
        name {text} NOT NULL, lane {small} NOT NULL, id {big} NOT NULL, PRIMARY KEY(name, lane, id)){keyed}
    """,
    """
    CREATE TABLE IF NOT EXISTS {lane}(
        account {text} NOT NULL, lane {small} NOT NULL, token {big} NOT NULL, expires {real} NOT NULL,
        PRIMARY KEY(account, lane)){keyed}
    """,
    """
    CREATE TABLE IF NOT EXISTS {mark}(
        name {text} NOT NULL, kind {text} NOT NULL, at {real} NOT NULL, PRIMARY KEY(name, kind)){keyed}
    """,
    """
    CREATE TABLE IF NOT EXISTS {pace}(
        account {text} NOT NULL, endpoint {text} NOT NULL, used {text} NOT NULL,
        PRIMARY KEY(account, endpoint)){keyed}
    """,
)
_SQLITE = (
    # A caller's connection inserts a row with one statement, so a trigger writes the names.
    """
    CREATE TRIGGER IF NOT EXISTS {index}_names AFTER INSERT ON {outbox} BEGIN
        INSERT OR IGNORE INTO {name} SELECT value, NEW.lane, NEW.id FROM json_each(NEW.names);
    END
    """,
    """
    INSERT OR IGNORE INTO {about}(id, key, version)
    VALUES (lower(hex(randomblob(16))), lower(hex(randomblob(16))), {version})
    """,
)
_RANDOM = "md5(random()::text || clock_timestamp()::text || pg_backend_pid()::text)"
_POSTGRES = (
    f"INSERT INTO {{about}}(id, key, version) VALUES ({_RANDOM}, {_RANDOM}, {{version}}) ON CONFLICT DO NOTHING",  # noqa: S608 - own
    PUT,
)
_NAMES = ("about", "name", "lane", "mark", "pace")
_TYPES_OF_SQLITE: Final = {
    "text": "TEXT", "small": "INTEGER", "big": "INTEGER", "real": "REAL", "json": "TEXT",
    "identity": "INTEGER PRIMARY KEY AUTOINCREMENT", "keyed": " WITHOUT ROWID", "index": "safeklaviyo_outbox",
    "version": str(VERSION),
}  # fmt: skip
_TYPES_OF_POSTGRES: Final = {
    "text": 'text COLLATE "C"', "small": "integer", "big": "bigint", "real": "double precision", "json": "jsonb",
    "identity": "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "keyed": "", "index": "outbox",
    "version": str(VERSION),
}  # fmt: skip

SQLITE_TABLES: Final = {"outbox": "safeklaviyo_outbox"} | {each: f"safeklaviyo_outbox_{each}" for each in _NAMES}


def postgres_tables(schema: str) -> dict[str, str]:
    """Return the names of the tables in a schema, given the schema's quoted name."""
    tables = {each: f"{schema}.{each}" for each in ("outbox", "place", "binding")}
    return tables | {each: f"{schema}.outbox_{each}" for each in (*_NAMES, "put")}


def sqlite_sql() -> list[str]:
    """Return the statements that create the outbox in an SQLite file, for shops that run their own migrations."""
    return [each.format(**SQLITE_TABLES, **_TYPES_OF_SQLITE) for each in (*_TABLES, *_SQLITE)]


def postgres_sql(schema: str = "safeklaviyo") -> list[str]:
    """Return the statements that create the outbox in a schema of PostgreSQL, for shops that run their own migrations.

    Args:
        schema: The schema, as for the identity map. The first statement creates it.
    """
    quoted = '"' + schema.replace('"', '""') + '"'
    tables = postgres_tables(quoted)
    statements = [each.format(**tables, **_TYPES_OF_POSTGRES) for each in (*_TABLES, *_POSTGRES)]
    literal = "'" + schema.replace("'", "''") + "'"
    # CREATE SCHEMA IF NOT EXISTS would fail for a role that may not create schemas, even if the schema exists.
    make = (
        f"DO $body_of_safeklaviyo$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = {literal})"
        f" THEN CREATE SCHEMA {quoted}; END IF; END $body_of_safeklaviyo$"
    )
    return [make, *statements]
