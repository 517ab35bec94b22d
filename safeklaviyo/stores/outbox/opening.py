"""Which outbox a client has: the one that a URL names, or else the one in the map's own database.

Opening an outbox neither reads nor writes. The first call does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from safeklaviyo.errors import ConfigurationError
from safeklaviyo.stores import opening
from safeklaviyo.stores.adapter import AsyncAdapter
from safeklaviyo.stores.memory import MemoryStore
from safeklaviyo.stores.outbox.failures import of_outbox

if TYPE_CHECKING:
    from safeklaviyo.stores.base import AnyStore
    from safeklaviyo.stores.outbox.base import AsyncOutbox, Outbox
    from safeklaviyo.stores.outbox.sqlite import SqliteOutbox

_NONE: Final = (
    "the outbox needs a database of PostgreSQL or SQLite, and the identity map is in none: give outbox= or"
    " SAFEKLAVIYO_OUTBOX"
)
_in_memory: WeakKeyDictionary[MemoryStore, SqliteOutbox] = WeakKeyDictionary()


def is_possible(url: str | None, store: Any) -> bool:
    """Tell whether there is a database that may hold an outbox, so that direct calls have to ask it."""
    # An outbox in memory holds rows only once this process has opened it.
    inner: Any = store.inner if isinstance(store, AsyncAdapter) else store
    if url is not None or _url_of(store) is not None:
        return True
    return inner in _in_memory if isinstance(inner, MemoryStore) else hasattr(inner, "database")


def open_outbox(url: str | None, store: AnyStore) -> Outbox:
    """Return the outbox that a URL names, or the one in the database of a map.

    Raises:
        ConfigurationError: No outbox is named and the map is in no database that could hold one, or the driver is not
            installed.
    """
    # The map's address may be in libpq's own form, which is no URL.
    own = _url_of(store) if url is None else None
    if own is not None or (url is not None and opening.is_postgres(url)):
        opened: Outbox = _postgres("PostgresOutbox", own or url or "", store)
        return opened
    return _sqlite(url, store)


def open_async_outbox(url: str | None, store: AnyStore) -> AsyncOutbox:
    """Same as `open_outbox`, for asynchronous use."""
    from safeklaviyo.stores.outbox.sqlite import AsyncSqliteOutbox  # noqa: PLC0415 - only where there is an outbox

    own = _url_of(store) if url is None else None
    if own is not None or (url is not None and opening.is_postgres(url)):
        opened: AsyncOutbox = _postgres("AsyncPostgresOutbox", own or url or "", store)
        return opened
    return AsyncSqliteOutbox(_sqlite(url, store))


def _url_of(store: Any) -> str | None:
    """Return the address of a map in PostgreSQL; None for any other map."""
    where = getattr(store, "address", None)
    return where if isinstance(where, str) else None


def _postgres(name: str, url: str, store: Any) -> Any:
    try:
        from safeklaviyo.stores.outbox import postgres  # noqa: PLC0415 - an extra
        from safeklaviyo.stores.postgres._schema import named  # noqa: PLC0415 - as above
    except ImportError as exc:
        raise ConfigurationError('that outbox needs its driver: pip install "safeklaviyo[postgres]"') from exc
    # An outbox beside the map can read the map in the insert itself. So the map's own address is recognised, also where
    # the outbox's URL names it.
    address = _url_of(store)
    has_map = url == address or (address is not None and named(url) == (address, store.schema))
    try:
        return getattr(postgres, name)(url, schema=store.schema if has_map else None, has_map=has_map)
    except ConfigurationError as error:
        of_outbox(error)
        raise


def _sqlite(url: str | None, store: Any) -> SqliteOutbox:
    from safeklaviyo.stores.outbox.sqlite import MemoryFile, SqliteOutbox  # noqa: PLC0415 - only where it is used
    from safeklaviyo.stores.sqlite import SqliteStore  # noqa: PLC0415 - as above

    inner: Any = store.inner if isinstance(store, AsyncAdapter) else store
    path = None if url is None else opening.sqlite_path(url)
    own = inner.database if isinstance(inner, SqliteStore) else None
    # The map's own file is used over the map's connections: two writers of one process would wait for each other.
    if own is not None and (path is None or Path(path).absolute() == own.path):
        return SqliteOutbox(own, own.path, clock=inner.clock, owns_file=False)
    if path is not None:
        from safeklaviyo.stores.outbox.shop_file import ShopFile  # noqa: PLC0415 - as above

        return SqliteOutbox(ShopFile(path), path)
    if isinstance(inner, MemoryStore):
        found = _in_memory.get(inner)
        if found is None:
            found = _in_memory.setdefault(inner, SqliteOutbox(MemoryFile(), None, clock=inner.clock))
        return found
    raise ConfigurationError(_NONE)
