"""The identity map in a SQLite file: for all processes of one host.

Decided here: which calls are short reads, which are long ones, which are transactions, and what of it may run in an
event loop. The contract is in `base`, its logic in `semantics`, the tables in `tables`, the file in `database`.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar, cast

from safeklaviyo.stores import semantics
from safeklaviyo.stores.adapter import AsyncAdapter
from safeklaviyo.stores.base import IdentityStore
from safeklaviyo.stores.calls import Find, Recall
from safeklaviyo.stores.sqlite import _tables as tables
from safeklaviyo.stores.sqlite._database import Database, WouldWaitError
from safeklaviyo.stores.sqlite._tables import SqlRows

if TYPE_CHECKING:
    from collections.abc import Callable
    from sqlite3 import Connection

    from safeklaviyo.stores.base import Found
    from safeklaviyo.stores.calls import Call

T = TypeVar("T")

TIMEOUT = 5.0
"""Seconds to wait for other writers before the map counts as unavailable."""


class SqliteStore(IdentityStore):
    """The identity map of one host. Nothing is opened before the first use; after a fork each process opens its own.

    Args:
        path: The file; it and its folder are made if they are missing, for their owner alone.
        clock: The store's clock, in unix seconds.
        timeout: How long to wait for other processes that write, in seconds.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, clock: Callable[[], float] = time.time, timeout: float = TIMEOUT
    ) -> None:
        self._database = Database(path, timeout)
        self._clock = clock

    def perform(self, call: Call[T]) -> T:
        """See `IdentityStore.perform`."""
        asked: Call[Any] = call
        if isinstance(asked, Find):
            return cast("T", self.find_now(asked, patient=True))
        use = self._database.read if isinstance(asked, Recall) else self._database.scan
        return (use if call.is_read else self._database.write)(lambda db: self._carry_out(db, call))

    def find_now(self, call: Find, *, patient: bool = False) -> Found:
        """Find, if nothing has to be waited for; else only with patience.

        Raises:
            WouldWaitError: Something has to be waited for.
        """
        asked = call.account, call.identifiers
        return self._database.read(lambda db: tables.find(db, *asked, self._clock()), patient=patient)

    def close(self) -> None:
        """See `IdentityStore.close`."""
        self._database.close()

    def _carry_out(self, db: Connection, call: Call[T]) -> T:
        return semantics.perform(SqlRows(db, call.account, self._clock()), call)


class AsyncSqliteStore(AsyncAdapter):
    """The asynchronous twin of `SqliteStore`: `find` runs in the event loop, all else in one thread of the store's own.

    A cancelled call that has begun in the thread runs to its end there; one that has not begun never does. The store
    may be used from one event loop after another.

    Args:
        path: As for `SqliteStore`.
        clock: The store's clock, in unix seconds.
        timeout: As for `SqliteStore`.
    """

    _store: SqliteStore

    def __init__(
        self, path: str | os.PathLike[str], *, clock: Callable[[], float] = time.time, timeout: float = TIMEOUT
    ) -> None:
        super().__init__(SqliteStore(path, clock=clock, timeout=timeout))
        self._worker: ThreadPoolExecutor | None = None
        self._process = 0

    async def perform(self, call: Call[T]) -> T:
        """Same as `IdentityStore.perform`."""
        asked: Call[Any] = call
        if isinstance(asked, Find):
            try:
                return cast("T", self._store.find_now(asked))
            except WouldWaitError:
                pass  # the thread waits
        return await asyncio.get_running_loop().run_in_executor(self._thread(), self._store.perform, call)

    async def aclose(self) -> None:
        """Same as `IdentityStore.close`."""
        worker = self._thread()
        await asyncio.get_running_loop().run_in_executor(worker, self._store.close)
        worker.shutdown(wait=False)
        self._worker = None

    def _thread(self) -> ThreadPoolExecutor:
        if self._worker is None or self._process != os.getpid():  # a fork does not copy threads
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="safeklaviyo-store")
            self._process = os.getpid()
        return self._worker
