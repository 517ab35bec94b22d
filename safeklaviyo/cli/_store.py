"""The commands about a whole identity map: creating its tables and the outbox's, and copying it to another store.

Decided here: where the outbox's tables are made, what is refused before anything is copied, and when two URLs name the
same source. The rest is in `_copy`.
"""

from __future__ import annotations

import re
from contextlib import ExitStack, closing
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from safeklaviyo._runtime.config import outbox_url
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
    """Create the tables of a map and of its outbox in PostgreSQL, or print the SQL that creates them."""
    url = store_url(arguments)
    if arguments.sql:
        require("psycopg", extra="postgres")
    # Opened for any kind of store, because that refuses a URL that names none.
    with closing(opening.open_store(url)):
        elsewhere = _outbox_elsewhere(url, arguments)
    if arguments.sql:
        _print_sql(url, arguments.schema, elsewhere)
        return 0
    if opening.is_postgres(url):
        from safeklaviyo.stores.postgres import PostgresStore  # noqa: PLC0415 - an extra

        with PostgresStore(url, schema=arguments.schema) as store:
            store.migrate()
        _make_outbox(url, arguments.schema)
        say("the tables are there, and of this version")
    elif elsewhere is None:
        say("there is nothing to do: only PostgreSQL has to be told to make the tables")
    if elsewhere is not None:
        _make_outbox(elsewhere)
        say("the outbox's tables are there in its own database, and of this version")
    return 0


def _outbox_elsewhere(url: str, arguments: Namespace) -> str | None:
    """Return the URL of an outbox in PostgreSQL that is not beside the map; None if there is no such one."""
    named = outbox_url(arguments.outbox)
    if named is None or not opening.is_postgres(named):
        return None
    require("psycopg", extra="postgres")
    from safeklaviyo.stores.postgres._schema import named as placed  # noqa: PLC0415 - an extra

    if not opening.is_postgres(url):
        return named
    server, schema = placed(url)
    return None if placed(named) == (server, arguments.schema or schema) else named


def _print_sql(url: str, schema: str | None, elsewhere: str | None) -> None:
    from safeklaviyo.stores.outbox.schema import postgres_sql  # noqa: PLC0415 - not at every start
    from safeklaviyo.stores.postgres._schema import migration_sql, named  # noqa: PLC0415 - an extra

    # A map elsewhere than in PostgreSQL needs none of it, but the SQL may be wanted before the map is moved there.
    if elsewhere is None or opening.is_postgres(url):
        own = schema or named(url)[1]
        say(migration_sql(own))
        say("\n".join(f"{statement};" for statement in postgres_sql(own)))
    if elsewhere is not None:
        say("-- In the database of the outbox:")
        say("\n".join(f"{statement};" for statement in postgres_sql(named(elsewhere)[1])))


def _make_outbox(url: str, schema: str | None = None) -> None:
    from safeklaviyo.stores.outbox.postgres import PostgresOutbox  # noqa: PLC0415 - an extra

    with closing(PostgresOutbox(url, schema=schema)) as outbox:
        outbox.migrate()


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
