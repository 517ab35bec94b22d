"""The commands about a whole identity map: creating its tables, and copying it to another store.

Decided here: what is refused before anything is copied, and when two URLs name the same source. The rest is in `_copy`.
"""

from __future__ import annotations

import re
from contextlib import ExitStack, closing
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from safeklaviyo.cli._console import require, say
from safeklaviyo.cli._copy import Copy, Map, compare
from safeklaviyo.cli._map import lasting, store_url
from safeklaviyo.errors import ConfigurationError
from safeklaviyo.stores import opening

if TYPE_CHECKING:
    from argparse import Namespace

_NAMING: Final = ("schema=", "host=", "port=", "dbname=")
"""The parameters of a URL that name the map, while all others say how to connect."""


def migrate(arguments: Namespace) -> int:
    """Create the tables of a map in PostgreSQL, or print the SQL that creates them."""
    url = store_url(arguments)
    if arguments.sql:
        require("psycopg", extra="postgres")
        from safeklaviyo.stores.outbox.schema import postgres_sql  # noqa: PLC0415 - not at every start
        from safeklaviyo.stores.postgres._schema import migration_sql, named  # noqa: PLC0415 - an extra

        schema = arguments.schema or named(url)[1]
        say(migration_sql(schema))
        say("\n".join(f"{statement};" for statement in postgres_sql(schema)))
        return 0
    # Opened for any kind of store, because that refuses a URL that names none.
    with closing(opening.open_store(url)):
        if not opening.is_postgres(url):
            say("there is nothing to do: only PostgreSQL has to be told to make the tables")
            return 0
    from safeklaviyo.stores.outbox.postgres import PostgresOutbox  # noqa: PLC0415 - an extra
    from safeklaviyo.stores.postgres import PostgresStore  # noqa: PLC0415 - an extra

    with PostgresStore(url, schema=arguments.schema) as store:
        store.migrate()
    with closing(PostgresOutbox(url, schema=arguments.schema)) as outbox:
        outbox.migrate()
    say("the tables are there, and of this version")
    return 0


def copy(arguments: Namespace) -> int:
    """Copy an account's map from one store to another, and compare the two."""
    with ExitStack() as opened:
        source, target = (
            Map(opened.enter_context(opening.open_store(lasting(url))), arguments.account, name)
            for url, name in ((arguments.source, "FROM"), (arguments.target, "TO"))
        )
        # Leases and intents are not copied, so a change that is under way would be lost.
        source.refuse_writers()
        target.refuse_writers()
        total = source.store.count(source.account)
        if not total:
            raise ConfigurationError("FROM has no customer of this account; check --account")
        copying = Copy(source, target, _subject(arguments.source))
        if arguments.resume:
            copying.resume()
        copying.run(total)
        return compare(source, target)


def _subject(url: str) -> str:
    """Return a digest of a store's address. The user and password are left out: they may change before a resume."""
    address, _, query = re.sub(r"//[^/]*@", "//", url).partition("?")
    naming = sorted(each for each in query.split("&") if each.startswith(_NAMING))
    return sha256("&".join((address, *naming)).encode()).hexdigest()
