"""What a shop's own tests need of their database: empty tables for each test, and no connection when it is dropped.

Decided here: nothing of this is done outside of Django's test environment. Django says by `mail.outbox` that it is set
up. Each step is one that Django does for the tables of models and for its own connections, and cannot do for these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.core import mail
from django.db.migrations.loader import MigrationLoader

from safeklaviyo.django._clients import close_all
from safeklaviyo.django._settings import configuration, keeps_map_in_database
from safeklaviyo.django._tables import SCHEMA, execute, has_outbox, make_missing, outbox_tables
from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from safeklaviyo.django._settings import Configuration

_MAP: Final = ("binding", "place", "leased", "lease", "journal", "note")


def after_migrate(*, using: str, **about: Any) -> None:
    """Prepare a test's database when it was migrated, and empty the tables when it was flushed."""
    if not hasattr(mail, "outbox"):
        return
    try:
        configured = configuration()
    except ConfigurationError:
        return  # which the system check says
    if using != configured.alias:
        return
    connection = configured.connection
    if "plan" not in about:  # only a migration has one
        _empty(configured)
        return
    if not has_outbox(connection) and "safeklaviyo" in MigrationLoader(connection).unmigrated_apps:
        make_missing(connection)  # the tests run without migrations
    _close_before_destroying(connection)


def _empty(configured: Configuration) -> None:
    connection = configured.connection
    if not has_outbox(connection):
        return
    tables = outbox_tables(connection)
    kept, own = tables["about"], list(tables.values())
    if keeps_map_in_database(configured):
        own += [f'"{SCHEMA}".{each}' for each in _MAP]
    # What says which tables these are stays: the client has read it, and compares it.
    execute(connection, [f"DELETE FROM {each}" for each in own if each != kept])  # noqa: S608 - names of ours


def _close_before_destroying(connection: BaseDatabaseWrapper) -> None:
    """Have the clients closed before the database is dropped. PostgreSQL drops none that has a connection."""
    creation: Any = connection.creation
    if hasattr(creation, "safeklaviyo"):
        return
    destroy = creation.destroy_test_db
    creation.safeklaviyo = True

    def _close_and_destroy(*args: Any, **kwargs: Any) -> None:
        close_all()
        destroy(*args, **kwargs)

    creation.destroy_test_db = _close_and_destroy
