"""What the migrations run: the tables are made and dropped in the database that the settings name, and in no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo.django._clients import close_all
from safeklaviyo.django._settings import configuration
from safeklaviyo.django._tables import drop_all, make_missing

if TYPE_CHECKING:
    from django.apps.registry import Apps
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def make(_apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Make the tables that are missing."""
    if editor.connection.alias == configuration().alias:
        make_missing(editor.connection)


def drop(_apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Drop the tables, with all that is in them."""
    if editor.connection.alias == configuration().alias:
        close_all()  # which know these tables by their random id
        drop_all(editor.connection)
