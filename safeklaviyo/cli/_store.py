"""The commands about where the identity map is: making its tables, and moving it to another store.

Decided here: what is refused before anything is copied, and what makes two copies the same one. The rest is in `_copy`.
"""

from __future__ import annotations

import re
from contextlib import ExitStack, closing
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from safeklaviyo.cli._console import require, say
from safeklaviyo.cli._copy import Copy, Map, compare
from safeklaviyo.cli._map import store_url
from safeklaviyo.errors import ConfigurationError
from safeklaviyo.stores import opening

if TYPE_CHECKING:
    from argparse import Namespace

_PLACES: Final = ("schema=", "host=", "port=", "dbname=")
"""The parameters of a URL that tell where a map is, rather than how to get there."""


def migrate(arguments: Namespace) -> int:
    """Make the tables of a map in PostgreSQL, or print the SQL that makes them."""
    url = store_url(arguments)
    if arguments.sql:
        require("psycopg", extra="postgres")
        from safeklaviyo.stores.postgres._schema import migration_sql, named  # noqa: PLC0415 - an extra

        say(migration_sql(arguments.schema or named(url)[1]))
        return 0
    with closing(opening.open_store(url)):  # which refuses a URL that names no store
        if not opening.is_postgres(url):
            say("there is nothing to do: only PostgreSQL has to be told to make the tables")
            return 0
    from safeklaviyo.stores.postgres import PostgresStore  # noqa: PLC0415 - an extra

    with PostgresStore(url, schema=arguments.schema) as store:
        store.migrate()
    say("the tables are there, and of this version")
    return 0


def copy(arguments: Namespace) -> int:
    """Copy an account's map from one store to another, and compare the two."""
    with ExitStack() as opened:
        source, target = (
            Map(opened.enter_context(opening.open_store(url)), arguments.account, name)
            for url, name in ((arguments.source, "FROM"), (arguments.target, "TO"))
        )
        source.refuse_writers()
        target.refuse_writers()
        total = source.store.count(source.account)
        if not total:
            raise ConfigurationError("FROM knows no customer of this account")
        moving = Copy(source, target, _subject(arguments.source))
        if arguments.resume:
            moving.go_on()
        moving.run(total)
        return compare(source, target)


def _subject(url: str) -> str:
    """Return a digest of where a store is, without whoever uses it and with what password."""
    place, _, query = re.sub(r"//[^/]*@", "//", url).partition("?")
    where = sorted(each for each in query.split("&") if each.startswith(_PLACES))
    return sha256("&".join((place, *where)).encode()).hexdigest()
