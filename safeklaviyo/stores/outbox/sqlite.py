"""The outbox in an SQLite file, or in memory.

Decided here: an outbox in the map's own file uses the map's connections, so that the two never wait for each other. In
a file of the shop's own, only the outbox's tables are added.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar, cast

from safeklaviyo.errors import ConfigurationError, StoreUnavailableError
from safeklaviyo.stores.outbox import calls
from safeklaviyo.stores.outbox.base import AsyncOutbox, Outbox
from safeklaviyo.stores.outbox.callers import Recognising
from safeklaviyo.stores.outbox.own_transactions import has_own_transaction
from safeklaviyo.stores.outbox.schema import SQLITE_TABLES, sqlite_sql
from safeklaviyo.stores.outbox.steps import insert_into_sqlite, steps_of
from safeklaviyo.stores.outbox.words import SQLITE, timed
from safeklaviyo.stores.sqlite import _failures as failures

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo.stores.outbox.calls import OutboxCall
    from safeklaviyo.stores.outbox.records import About
    from safeklaviyo.stores.outbox.words import Rows, Statement, Steps

T = TypeVar("T")


_BRIEF: Final = 0.05
"""Seconds to wait for other writers until this thread's own transactions are looked for. Most writers take 2 ms."""
_OWN: Final = (
    "this thread has an open transaction in the outbox's file, for which the row would wait in vain: give its"
    " connection as connection=, or commit it before"
)
_OTHERS: Final = (
    "the outbox's file was kept busy for longer than is waited; try again, and if the caller has a transaction open in"
    " it, give its connection as connection="
)


class File(Protocol):
    """An SQLite file, as the outbox uses it: the map's own, one of the shop's, or one in memory."""

    def write(self, work: Callable[[sqlite3.Connection], T], timeout: float | None = None) -> T:
        """Do work in one transaction that may write.

        Args:
            work: Can be called again after a transaction that was rolled back.
            timeout: Seconds to wait for other writers, if not as long as usual.
        """
        ...

    def scan(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do work in one transaction that only reads."""
        ...

    def is_there(self) -> bool:
        """Tell whether the file exists."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class MemoryFile:
    """An SQLite database in memory, for tests."""

    def __init__(self, content: bytes | None = None) -> None:
        self._lock = RLock()
        self.connection: sqlite3.Connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        # Tests drop the map and its outbox without closing them.
        weakref.finalize(self, self.connection.close)
        if content:
            self.connection.deserialize(content)

    def write(self, work: Callable[[sqlite3.Connection], T], timeout: float | None = None) -> T:
        """See `File.write`."""
        del timeout  # there are no other writers
        with self._lock:
            self.connection.execute("BEGIN")
            try:
                result = work(self.connection)
                self.connection.execute("COMMIT")
            finally:
                if self.connection.in_transaction:
                    self.connection.rollback()
            return result

    def scan(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """See `File.scan`."""
        return self.write(work)

    def is_there(self) -> bool:
        """See `File.is_there`."""
        return True

    def close(self) -> None:
        """Do nothing: another client may use the same outbox, and closing would lose its rows."""

    def content(self) -> bytes:
        """Return the database's whole content."""
        return self.connection.serialize()


class SqliteOutbox(Outbox):
    """An outbox in a file.

    Args:
        file: The file, which carries out transactions.
        path: The file's path; None in memory.
        clock: The outbox's clock, in unix seconds.
        owns_file: Closing the outbox closes the file.
    """

    def __init__(
        self,
        file: File,
        path: str | os.PathLike[str] | None,
        *,
        clock: Callable[[], float] = time.time,
        owns_file: bool = True,
    ) -> None:
        self._file = file
        self.path = path
        self._clock = clock
        self._owns_file = owns_file
        self._process = 0
        self._about: About | None = None
        self._callers = Recognising("sqlite", (), self._filled)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Only an outbox in memory is copied, by the schedules of `safeklaviyo.testing`.
        from copy import deepcopy  # noqa: PLC0415 - only tests need it

        file = MemoryFile(cast("MemoryFile", self._file).content())
        copied = type(self)(file, None, clock=deepcopy(self._clock, memo))
        copied._process = self._process  # noqa: SLF001 - a copy's own
        memo[id(self)] = copied
        return copied

    def is_there(self) -> bool:
        """See `Outbox.is_there`."""
        if self._process == os.getpid():
            return True
        return self._file.is_there() and self._file.scan(_is_made)

    def perform(self, call: OutboxCall[T]) -> T:
        """See `Outbox.perform`."""
        asked: Any = call
        if isinstance(asked, calls.Insert) and asked.connection is not None:
            # No statement goes over the outbox's own connection, which would wait for the caller's transaction.
            return cast("T", self._callers.insert(asked.connection, insert_into_sqlite(asked)))
        if self._process != os.getpid():
            # Read first: writing would wait for a transaction in which the caller may have written already.
            if not self._file.scan(_is_made):
                self._write(_make)
            self._process = os.getpid()
        if isinstance(asked, calls.InsertAtOnce):
            return cast("T", None)  # a look into the file costs no round trip
        if isinstance(asked, calls.Insert):
            return cast("T", self._write(lambda db: self._carry_out(db, insert_into_sqlite(asked))))
        if isinstance(asked, calls.ReadAbout | calls.LookAbout):
            if self._about is None:
                self._about = self._file.scan(lambda db: self._carry_out(db, steps_of(calls.ReadAbout(""))))
            return cast("T", self._about)
        use = self._file.scan if call.is_read else self._write
        return use(lambda db: self._carry_out(db, steps_of(call)))

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do work in one transaction that may write, unless the calling thread itself keeps the file busy.

        Raises:
            ConfigurationError: The calling thread keeps the file busy; waiting for its own transaction would never end.
            StoreUnavailableError: Others kept the file busy for too long.
        """
        try:
            return self._file.write(work, _BRIEF)
        except StoreUnavailableError as error:
            if not _is_busy(error):
                raise
            if self.path is not None and has_own_transaction(self.path):
                raise ConfigurationError(_OWN) from None
        try:
            return self._file.write(work)
        except StoreUnavailableError as error:
            raise (StoreUnavailableError(_OTHERS) if _is_busy(error) else error) from error.__cause__

    async def insert_async(self, call: calls.Insert) -> int:
        """Insert a row over an asynchronous connection of the caller's."""
        return await self._callers.insert_async(call.connection, insert_into_sqlite(call))

    def _filled(self, statement: Statement) -> Statement:
        return timed(_sqlite_of(statement[0]), statement[1], self._clock())

    def _carry_out(self, db: sqlite3.Connection, steps: Steps[T]) -> T:
        try:
            statement = next(steps)
            while True:
                sql, parameters = self._filled(statement)
                rows: Rows = db.execute(sql, parameters).fetchall()
                statement = steps.send(rows)
        except StopIteration as stop:
            value: T = stop.value
            return value

    def close(self) -> None:
        """See `Outbox.close`."""
        if self._owns_file:
            self._file.close()


class AsyncSqliteOutbox(AsyncOutbox):
    """Same as `SqliteOutbox`, awaited. One thread of the outbox's own does all the work."""

    def __init__(self, outbox: SqliteOutbox) -> None:
        self._outbox = outbox
        self._worker: ThreadPoolExecutor | None = None
        self._process = 0

    async def is_there(self) -> bool:
        """See `Outbox.is_there`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread(), self._outbox.is_there)

    async def perform(self, call: OutboxCall[T]) -> T:
        """See `Outbox.perform`."""
        asked: Any = call
        if isinstance(asked, calls.Insert) and asked.connection is not None:
            return cast("T", await self._outbox.insert_async(asked))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread(), self._outbox.perform, call)

    async def aclose(self) -> None:
        """See `Outbox.close`."""
        await asyncio.get_running_loop().run_in_executor(self._thread(), self._outbox.close)
        self._thread().shutdown(wait=False)
        self._worker = None

    def _thread(self) -> ThreadPoolExecutor:
        if self._worker is None or self._process != os.getpid():  # a fork does not copy threads
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="safeklaviyo-outbox")
            self._process = os.getpid()
        return self._worker


@lru_cache(maxsize=256)
def _sqlite_of(statement: str) -> str:
    return SQLITE.filled(statement, SQLITE_TABLES)


def _is_busy(error: StoreUnavailableError) -> bool:
    cause = error.__cause__
    return isinstance(cause, sqlite3.Error) and failures.primary_code(cause) == sqlite3.SQLITE_BUSY


def _is_made(db: sqlite3.Connection) -> bool:
    sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return db.execute(sql, (SQLITE_TABLES["about"],)).fetchone() is not None


def _make(db: sqlite3.Connection) -> None:
    for statement in () if _is_made(db) else sqlite_sql():
        db.execute(statement)
