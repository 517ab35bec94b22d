"""The clients of the settings: one for each process, and one for each event loop.

Decided here: in every thread, a row is inserted over Django's own connection of the named alias, so that it is
committed or rolled back with Django's own rows. All else (draining, the map) goes over the client's own connections,
which see only committed rows.

A database of SQLite in memory, as tests have, is reached by Django's connection alone. There all goes over it, and the
map is in memory, unless the settings name one.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.utils.connection import ConnectionProxy

from safeklaviyo._client.async_klaviyo import AsyncKlaviyo
from safeklaviyo._client.klaviyo import Klaviyo
from safeklaviyo.django._settings import configuration, database_url, is_in_memory, keeps_map_in_database
from safeklaviyo.django._tables import has_outbox, read_about
from safeklaviyo.errors import ConfigurationError
from safeklaviyo.stores import default_url
from safeklaviyo.stores.outbox import calls
from safeklaviyo.stores.outbox.base import AsyncOutbox, Outbox
from safeklaviyo.stores.outbox.opening import open_async_outbox, open_outbox
from safeklaviyo.stores.outbox.sqlite import SqliteOutbox

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Hashable

    from safeklaviyo.django._settings import Configuration
    from safeklaviyo.stores.outbox.calls import OutboxCall
    from safeklaviyo.stores.outbox.records import About

T = TypeVar("T")

_INSERTING = (calls.Insert, calls.InsertAtOnce)
"""Every call that writes a row for the caller: a test looks for any other that has a connection."""

_OTHER_ALIAS = (
    "this client's outbox is in another database than this connection's: name that database in"
    " settings.SAFEKLAVIYO['database'], or leave connection out"
)
_OTHER_CONNECTION = (
    "this client's outbox writes over Django's own connection of the thread that queues: give that one, or leave"
    " connection out"
)

_lock = RLock()
_made: dict[Hashable, Klaviyo] = {}
_made_for_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, AsyncKlaviyo]] = WeakKeyDictionary()


def get_klaviyo() -> Klaviyo:
    """Return the client of the settings, the same one for all threads of this process.

    Its `outbox` writes over Django's connection of ``SAFEKLAVIYO["database"]``, in Django's transaction.

    Raises:
        ConfigurationError: ``settings.SAFEKLAVIYO`` makes no sense; ``manage.py check`` says so too.
    """
    configured = configuration()
    key = _key(configured)
    with _lock:
        # Under the lock: of two threads that come first, one would make a client that no call closes.
        klaviyo = _made.get(key)
        if klaviyo is None:
            klaviyo = _made[key] = _make(configured)
        return klaviyo


async def aget_klaviyo() -> AsyncKlaviyo:
    """Return the asynchronous client of the settings, the same one for all tasks of the running event loop.

    Django's transactions belong to a thread, so its `outbox` inserts in the thread of ``sync_to_async``. Django has no
    asynchronous ``atomic()``: to insert within one, call `get_klaviyo` in a function that `sync_to_async` wraps.

    Raises:
        ConfigurationError: As for `get_klaviyo`.
    """
    configured = configuration()
    key = _key(configured)
    made = _made_for_loops.setdefault(asyncio.get_running_loop(), {})
    # Without a lock: nothing is awaited in between, so no other task of this loop comes here.
    if key not in made:
        made[key] = _make_async(configured)
    return made[key]


def forget(*, setting: str, **_: Any) -> None:
    """Close the clients when a test changes their settings. Django's signal names the setting."""
    if setting in {"SAFEKLAVIYO", "DATABASES"}:
        close_all()


def close_all() -> None:
    """Close all clients. The next call for one makes a new one."""
    with _lock:
        made = list(_made.values())
        _made.clear()
    # Not under the lock: closing may wait for a database, and a thread that asks for a client need not.
    for each in made:
        each.close()
    # One of a loop can be closed by that loop alone: its connections are closed with the loop.
    for of_loop in _made_for_loops.values():
        of_loop.clear()


def map_url(configured: Configuration) -> str | None:
    """Return the URL of the map, where it is not given as a store; None if it is."""
    given = configured.arguments.get("store")
    if given is not None:
        return given if isinstance(given, str) else None
    if keeps_map_in_database(configured):
        return database_url(configured.connection)
    named = os.environ.get("SAFEKLAVIYO_STORE")
    return named or ("memory://" if is_in_memory(configured.connection) else default_url())


def _key(configured: Configuration) -> Hashable:
    """Return what a client is made for: in tests, the same alias leads to another database."""
    of_database = configured.connection.settings_dict
    return configured.alias, str(of_database["NAME"]), str(of_database["HOST"]), str(of_database["PORT"])


def _arguments(configured: Configuration) -> dict[str, Any]:
    arguments = dict(configured.arguments)
    if arguments.get("store") is None:
        arguments["store"] = map_url(configured)
    # Also where the map is elsewhere: direct calls look whether a queued change has reserved an address.
    arguments["outbox"] = database_url(configured.connection)
    return arguments


def _make(configured: Configuration) -> Klaviyo:
    klaviyo = Klaviyo(**_arguments(configured))
    klaviyo._shell._outbox = _outbox(configured, klaviyo._shell.store)  # noqa: SLF001 - the package's own
    return klaviyo


def _make_async(configured: Configuration) -> AsyncKlaviyo:
    arguments = _arguments(configured)
    klaviyo = AsyncKlaviyo(**arguments | {"http_client": configured.async_http_client})
    store = klaviyo._shell.store  # noqa: SLF001 - the package's own
    url = database_url(configured.connection)
    own = None if url is None else open_async_outbox(url, store)
    klaviyo._shell._outbox = _AsyncOnDjango(own, _outbox(configured, store))  # noqa: SLF001 - as above
    return klaviyo


def _outbox(configured: Configuration, store: Any) -> Outbox:
    url = database_url(configured.connection)
    own = SqliteOutbox(_InMemory(configured.alias), None) if url is None else open_outbox(url, store)
    return _OnDjango(own, configured.alias)


class _OnDjango(Outbox):
    """The outbox of a database, but for the inserts, which go over Django's connection of this thread."""

    def __init__(self, own: Outbox, alias: str) -> None:
        self._own = own
        self._alias = alias
        self._about: About | None = None
        self.listening = own.listening

    def is_there(self) -> bool:
        """See `Outbox.is_there`."""
        # Tables that were there once are not looked for again: every direct call asks this.
        return self._about is not None or has_outbox(connections[self._alias])

    def perform(self, call: OutboxCall[T]) -> T:
        """See `Outbox.perform`."""
        if isinstance(call, calls.ReadAbout | calls.LookAbout):
            # Not over the client's own connection: in SQLite that would wait for Django's transaction.
            if self._about is None:
                self._about = read_about(connections[self._alias])
            return cast("T", self._about)
        return self._own.perform(_over_django(call, self._alias))

    def close(self) -> None:
        """See `Outbox.close`."""
        self._own.close()


class _AsyncOnDjango(AsyncOutbox):
    """Same as `_OnDjango`, awaited: an insert goes over Django's connection of the thread of ``sync_to_async``."""

    def __init__(self, own: AsyncOutbox | None, blocking: Outbox) -> None:
        self._own = own
        self._blocking = blocking

    async def is_there(self) -> bool:
        """See `Outbox.is_there`."""
        return await sync_to_async(self._blocking.is_there, thread_sensitive=True)()

    async def perform(self, call: OutboxCall[T]) -> T:
        """See `Outbox.perform`."""
        if self._own is not None and not isinstance(call, (*_INSERTING, calls.ReadAbout, calls.LookAbout)):
            return await self._own.perform(call)
        return cast("T", await sync_to_async(self._blocking.perform, thread_sensitive=True)(call))

    async def aclose(self) -> None:
        """See `Outbox.close`."""
        if self._own is not None:
            await self._own.aclose()
        await sync_to_async(self._blocking.close, thread_sensitive=True)()


def _over_django(call: OutboxCall[T], alias: str) -> OutboxCall[T]:
    """Return a call, which inserts over Django's connection if it inserts.

    Raises:
        ConfigurationError: The caller has given another connection.
    """
    if not isinstance(call, _INSERTING):
        return call
    own = connections[alias]
    given = own if call.connection is None else _wrapped(call.connection)
    if given is not own:
        is_elsewhere = isinstance(given, BaseDatabaseWrapper) and given.alias != alias
        raise ConfigurationError(_OTHER_ALIAS if is_elsewhere else _OTHER_CONNECTION)
    inserting: Any = replace(call, connection=own)
    return cast("OutboxCall[T]", inserting)


def _wrapped(connection: object) -> object:
    """Return the connection of this thread that ``django.db.connection`` stands for, or the one of a cursor."""
    if isinstance(connection, ConnectionProxy):
        return connections[connection.alias]
    return connection.db if isinstance(connection, CursorWrapper) else connection


class _InMemory:
    """A database of SQLite in memory, by Django's connection of this thread: a `File` for `SqliteOutbox`."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def is_there(self) -> bool:
        """See `File.is_there`."""
        return True

    def scan(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """See `File.scan`."""
        return self.write(work)

    def write(self, work: Callable[[sqlite3.Connection], T], timeout: float | None = None) -> T:
        """Do several things as one transaction, or as a part of the transaction that is open."""
        del timeout  # there are no other writers
        with transaction.atomic(self._alias):
            connection = connections[self._alias]
            connection.ensure_connection()
            return work(connection.connection)

    def close(self) -> None:
        """Leave the connection to Django."""
