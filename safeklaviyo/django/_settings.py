"""What ``settings.SAFEKLAVIYO`` may have, and what follows from it.

    SAFEKLAVIYO = {
        "api_key": …,        the arguments of `Klaviyo`, as they are called there; all but `outbox`
        "async_http_client": …, the `http_client` of `AsyncKlaviyo`
        "database": …,       the alias in DATABASES; rows are written in its transactions; else "default"
        "allauth_user_id": … the attribute of a user that is the shop's id of the customer, such as "pk"; without it
                             nothing is done when django-allauth changes an address
    }

The outbox is always in that database. So is the map, where the database is PostgreSQL and neither `store` nor
``SAFEKLAVIYO_STORE`` names another.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

from safeklaviyo._client.klaviyo import Klaviyo
from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db.backends.base.base import BaseDatabaseWrapper

OWN: Final = frozenset({"database", "allauth_user_id", "async_http_client"})
# By the signature: a new argument of `Klaviyo` is a key of the settings at once.
ARGUMENTS: Final = frozenset(signature(Klaviyo).parameters) - {"outbox"}
_OF_LIBPQ: Final = (
    "host", "hostaddr", "port", "dbname", "user", "password", "passfile", "service", "sslmode", "sslrootcert",
    "sslcert", "sslkey", "sslpassword", "target_session_attrs", "options", "connect_timeout",
)  # fmt: skip


@dataclass(frozen=True, slots=True, repr=False)
class Configuration:
    """What the settings say.

    Attributes:
        alias: The database of the outbox.
        arguments: Those of the client.
        user_id: The attribute of a user that is the customer's id, where allauth's changes are wanted.
        async_http_client: The `http_client` of the asynchronous client.
    """

    alias: str
    arguments: Mapping[str, Any]
    user_id: str | None
    async_http_client: Any

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """This thread's connection to the database of the outbox."""
        return connections[self.alias]


def problems(given: object) -> list[str]:
    """Return what is wrong with the settings. Nothing of them is quoted but names, because they hold the key."""
    if given is None:
        return ["settings.SAFEKLAVIYO is missing: set it to a dict, which may be empty"]
    if not isinstance(given, dict):
        return ["settings.SAFEKLAVIYO has to be a dict"]
    given = cast("Mapping[str, Any]", given)
    unknown = sorted(str(name) for name in given if name not in ARGUMENTS | OWN)
    found = [f"settings.SAFEKLAVIYO has no key {name!r}" for name in unknown]
    if "outbox" in given:
        found = ["settings.SAFEKLAVIYO takes no outbox: rows are written over the connection that database names"]
    alias = given.get("database", DEFAULT_DB_ALIAS)
    if alias not in connections:
        return [*found, "settings.SAFEKLAVIYO['database'] names no database of settings.DATABASES"]
    if connections[alias].vendor not in {"postgresql", "sqlite"}:
        found.append("the outbox needs PostgreSQL or SQLite: name such a database in settings.SAFEKLAVIYO['database']")
    return found


def configuration() -> Configuration:
    """Return what the settings say.

    Raises:
        ConfigurationError: The settings make no sense.
    """
    given = getattr(settings, "SAFEKLAVIYO", None)
    for each in problems(given):
        raise ConfigurationError(each)
    given = cast("Mapping[str, Any]", given)
    arguments = {name: value for name, value in given.items() if name not in OWN}
    alias = given.get("database", DEFAULT_DB_ALIAS)
    return Configuration(alias, arguments, given.get("allauth_user_id"), given.get("async_http_client"))


def keeps_map_in_database(configured: Configuration) -> bool:
    """Tell whether the map is in the database of the outbox."""
    is_named = configured.arguments.get("store") is not None or bool(os.environ.get("SAFEKLAVIYO_STORE"))
    return configured.connection.vendor == "postgresql" and not is_named


def database_url(connection: BaseDatabaseWrapper) -> str | None:
    """Return the URL of a connection's database, as it is now: tests have one of their own. None for one in memory."""
    if connection.vendor == "sqlite":
        name = str(connection.settings_dict["NAME"])
        return None if is_in_memory(connection) else f"sqlite:///{quote(str(Path(name).absolute()))}"
    given = {name: value for name, value in connection.get_connection_params().items() if name in _OF_LIBPQ and value}
    # In the query, where libpq takes a password and the path of a socket as well.
    return "postgresql:///?" + "&".join(f"{name}={quote(str(value), safe='')}" for name, value in given.items())


def is_in_memory(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a connection's database is one of SQLite in memory, as Django's tests have."""
    name = str(connection.settings_dict["NAME"])
    return connection.vendor == "sqlite" and (name == ":memory:" or "mode=memory" in name)
