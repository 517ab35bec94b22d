"""Django's system checks: whether the settings can work, and whether the tables are there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's name
from django.db import DatabaseError

from safeklaviyo.django._settings import configuration, keeps_map_in_database, problems
from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_settings(**_: Any) -> list[CheckMessage]:
    """Check ``settings.SAFEKLAVIYO``. Nothing is opened."""
    found: list[CheckMessage] = [
        Error(each, id="safeklaviyo.E001") for each in problems(getattr(settings, "SAFEKLAVIYO", None))
    ]
    if found:
        return found
    configured = configuration()
    given = configured.arguments
    if not (given.get("api_key") or given.get("access_token") or os.environ.get("KLAVIYO_API_KEY")):
        found.append(
            Warning(
                "there is no key of Klaviyo's: rows can be written and not delivered",
                hint="Set api_key in settings.SAFEKLAVIYO, or the environment's KLAVIYO_API_KEY.",
                id="safeklaviyo.W001",
            )
        )
    if not (given.get("account") or given.get("public_key")):
        found.append(
            Warning(
                "the account is not named, so that Klaviyo is asked for it in the middle of a transaction",
                hint="Set account in settings.SAFEKLAVIYO to the six-character public key.",
                id="safeklaviyo.W002",
            )
        )
    return found


def check_tables(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Check that ``migrate`` has made the tables, where the check may look into the database."""
    try:
        configured = configuration()
    except ConfigurationError:
        return []  # which the other check says
    # Django names the databases that a check may look into. A plain `manage.py check` names none.
    if configured.alias not in (databases or ()):
        return []
    from safeklaviyo.django._tables import has_outbox  # noqa: PLC0415 - only where the database is looked into

    try:
        is_there = has_outbox(configured.connection)
    except DatabaseError:
        return []  # which Django says
    if is_there:
        return []
    tables = "the outbox's and the identity map's" if keeps_map_in_database(configured) else "the outbox's"
    hint = f"Run manage.py migrate --database {configured.alias}."
    return [Warning(f"{tables} tables are missing", hint=hint, id="safeklaviyo.W003")]
