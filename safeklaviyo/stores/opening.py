"""The URLs by which a store is named.

Decided here: what a store's URL may say. Opening a store reads and writes nothing; its first use does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from safeklaviyo._tracebacks import discreetly
from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from safeklaviyo.stores.base import AsyncIdentityStore, IdentityStore

__all__ = ["default_url", "open_async_store", "open_store"]

_ACCEPTED = (
    "give memory://, sqlite:///relative.db, sqlite:////absolute.db, redis://host/0, rediss://host/0,"
    " redis+sentinel://host/service or postgresql://host/database"
)
_POSTGRES = frozenset({"postgres", "postgresql"})
_MISSING: dict[str, type[Exception]] = {"postgres": ImportError, "redis": ImportError}
"""What the import of a store raises without its driver, where that is an extra."""
_REDIS = frozenset({"redis", "rediss", "redis+sentinel"})


def default_url() -> str:
    """Return the URL of the SQLite file in the user's state folder."""
    from platformdirs import user_state_path  # noqa: PLC0415 - wanted only where no store is named

    return f"sqlite:///{quote(str(user_state_path('safeklaviyo') / 'identity.db'))}"


@discreetly
def open_store(url: str) -> IdentityStore:
    """Return the store that a URL names: ``memory://`` a new one each time, ``sqlite:///`` the file of that path.

    ``redis://``, ``rediss://`` and ``redis+sentinel://`` name a server; see `safeklaviyo.stores.redis`. So do
    ``postgresql://`` and ``postgres://``; see `safeklaviyo.stores.postgres`.

    Raises:
        ConfigurationError: The URL names no store of this version, or its driver is not installed.
    """
    store: IdentityStore = _opened(url, "")
    return store


@discreetly
def open_async_store(url: str) -> AsyncIdentityStore:
    """Same as `open_store`, for asynchronous use.

    Raises:
        ConfigurationError: The URL names no store of this version, or its driver is not installed.
    """
    store: AsyncIdentityStore = _opened(url, "Async")
    return store


def _opened(url: str, prefix: str) -> Any:
    """Return a store of the class with that prefix.

    Only the module of the store that is wanted is loaded, because a driver may not be installed.
    """
    arguments: tuple[str, ...] = (url,)
    if is_redis(url):
        kind = "redis"
    elif is_postgres(url):
        kind = "postgres"
    elif (path := sqlite_path(url)) is not None:
        kind, arguments = "sqlite", (path,)
    else:
        kind, arguments = "memory", ()
    try:
        module = import_module(f"safeklaviyo.stores.{kind}")
    except _MISSING.get(kind, ()) as exc:
        raise ConfigurationError(f'that store needs its driver: pip install "safeklaviyo[{kind}]"') from exc
    return getattr(module, f"{prefix}{kind.capitalize()}Store")(*arguments)


def is_postgres(url: str) -> bool:
    """Tell whether a URL names a store in PostgreSQL."""
    return _scheme(url) in _POSTGRES


def is_redis(url: str) -> bool:
    """Tell whether a URL names a store in Redis."""
    return _scheme(url) in _REDIS


def _scheme(url: str) -> str:
    return url.partition(":")[0].lower()


def sqlite_path(url: str) -> str | None:
    """Return the path of a SQLite store's URL; None for a store in memory or on a server.

    Raises:
        ConfigurationError: The URL names no store. The message does not quote it, because it may hold a password.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        # Not chained: the parser's message quotes the URL, which may hold a password (P8).
        raise ConfigurationError(f"the store's URL cannot be read; {_ACCEPTED}") from None
    if parts.scheme in _REDIS | _POSTGRES:
        return None
    if parts.scheme not in {"memory", "sqlite"}:
        raise ConfigurationError(f"the store's URL names no known kind of store; {_ACCEPTED}")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ConfigurationError(f"a store's URL takes no parameters; {_ACCEPTED}")
    if parts.scheme == "memory":
        if url.partition(":")[2] != "//":
            raise ConfigurationError(f"memory:// takes no path; {_ACCEPTED}")
        return None
    return _file_path(url.partition(":")[2])


def _file_path(rest: str) -> str:
    """Return the path after ``sqlite:``."""
    path = unquote(rest.removeprefix("///"))
    # A user who writes "~" or ":memory:" means a home folder or a map in memory, and would get a file of that name.
    names_a_file = rest.startswith("///") and path.strip("/") != "" and not path.endswith("/") and "\0" not in path
    try:
        path.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        names_a_file = False
    if not names_a_file or path.startswith(("~", ":")):
        raise ConfigurationError(f"the store's URL names no file; {_ACCEPTED}")
    return path
