"""The identity map in a SQLite file: for all processes of one host.

Decided here: which calls are short reads, which are long ones, which are transactions, and which may run in an event
loop. The contract is in `base`, its logic in `semantics`, the tables in `_tables`, the file in `_database`.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from safeklaviyo.errors import StoreUnavailableError
from safeklaviyo.stores import semantics
from safeklaviyo.stores.adapter import AsyncAdapter
from safeklaviyo.stores.base import IdentityStore
from safeklaviyo.stores.calls import Add, Find, Recall
from safeklaviyo.stores.patience import SLOW, in_time, time_left
from safeklaviyo.stores.sqlite import _tables as tables
from safeklaviyo.stores.sqlite._adding import add
from safeklaviyo.stores.sqlite._database import Database, WouldWaitError
from safeklaviyo.stores.sqlite._tables import SqlRows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from sqlite3 import Connection

    from safeklaviyo.stores.base import Found
    from safeklaviyo.stores.calls import Call

T = TypeVar("T")

TIMEOUT = 5.0
"""Seconds to wait for other writers until the store raises `StoreUnavailableError`."""


class SqliteStore(IdentityStore):
    """The identity map of one host. Nothing is opened before the first use; after a fork each process opens its own.

    Args:
        path: The file. The file and its folder are created if they are missing, readable by their owner only.
        clock: The store's clock, in unix seconds.
        timeout: How long to wait for other processes that write, in seconds.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, clock: Callable[[], float] = time.time, timeout: float = TIMEOUT
    ) -> None:
        self._database = Database(path, timeout)
        self._clock = clock
        self._slowest = 3 * timeout

    @property
    def database(self) -> Database:
        """The file, in which an outbox may stand beside the map."""
        return self._database

    @property
    def clock(self) -> Callable[[], float]:
        """The store's clock."""
        return self._clock

    def perform(self, call: Call[T]) -> T:
        """See `IdentityStore.perform`."""
        return in_time(partial(self._perform, call), self._slowest)

    def _perform(self, call: Call[T]) -> T:
        asked: Call[Any] = call
        # A find has a statement of its own, because it is all that most calls ask of the map (F-32).
        if isinstance(asked, Find):
            return cast("T", self.find_now(asked, patient=True))
        # A recall reads one row, and may use the connection that never waits for a writer.
        use = self._database.read if isinstance(asked, Recall) else self._database.scan
        return (use if call.is_read else self._database.write)(lambda db: self._carry_out(db, call))

    def each(self, account: str, several: Sequence[Call[T]]) -> tuple[T, ...]:
        """See `IdentityStore.each`: all are made in one transaction, which saves a commit for each."""
        del account  # each call has it

        def _work(db: Connection) -> tuple[T, ...]:
            return tuple([self._carry_out(db, call) for call in several])

        use = self._database.scan if all(call.is_read for call in several) else self._database.write
        return in_time(lambda: use(_work), self._slowest)

    def find_now(self, call: Find, *, patient: bool = False) -> Found:
        """Find, without waiting unless `patient`: an event loop may call this.

        Raises:
            WouldWaitError: The find would have to wait, and is not patient.
        """
        asked = call.account, call.identifiers
        return self._database.read(lambda db: tables.find(db, *asked, self._clock()), patient=patient)

    def close(self) -> None:
        """See `IdentityStore.close`."""
        self._database.close()

    def _carry_out(self, db: Connection, call: Call[T]) -> T:
        asked: Call[Any] = call
        if isinstance(asked, Add):
            return cast("T", add(db, asked.account, self._clock(), asked.bindings))
        return semantics.perform(SqlRows(db, call.account, self._clock()), call)


class AsyncSqliteStore(AsyncAdapter):
    """Same as `SqliteStore`, awaited: `find` runs in the event loop, all else in one thread of the store's own.

    A cancelled call that has begun in the thread runs to its end there; a cancelled call that has not begun is dropped.
    The store may be used from one event loop after another.

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
        self._timeout = timeout
        self._worker: ThreadPoolExecutor | None = None
        self._process = 0

    async def perform(self, call: Call[T]) -> T:
        """Same as `IdentityStore.perform`."""
        asked: Call[Any] = call
        if isinstance(asked, Find):
            try:
                return cast("T", self._store.find_now(asked))
            except WouldWaitError:
                pass  # the store's thread waits instead, below
        return await self._in_thread(partial(self._store.perform, call))

    async def each(self, account: str, several: Sequence[Call[T]]) -> tuple[T, ...]:
        """Same as `SqliteStore.each`."""
        return await self._in_thread(partial(self._store.each, account, several))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        # One limit for waiting and working: calls that wait for the thread must not wait for each other's limits.
        done = asyncio.get_running_loop().run_in_executor(self._thread(), work)
        try:
            async with asyncio.timeout(time_left(self._timeout)):
                return await done
        except TimeoutError:
            raise StoreUnavailableError(SLOW) from None

    async def aclose(self) -> None:
        """Same as `IdentityStore.close`."""
        # In the thread, after the calls that it has begun: closing takes both locks, which blocks.
        worker = self._thread()
        await asyncio.get_running_loop().run_in_executor(worker, self._store.close)
        worker.shutdown(wait=False)
        self._worker = None

    def _thread(self) -> ThreadPoolExecutor:
        if self._worker is None or self._process != os.getpid():  # a fork does not copy threads
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="safeklaviyo-store")
            self._process = os.getpid()
        return self._worker
