"""An SQLite file of the shop's own, with the outbox's tables in it.

Decided here: each process has one connection, and the first use opens it. The file's settings are left as they are. The
connection is closed before a fork, because SQLite keeps the list of a process's locks in that process's memory.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

from safeklaviyo.errors import ConfigurationError, StoreUnavailableError
from safeklaviyo.stores.outbox.failures import of_outbox
from safeklaviyo.stores.sqlite import _failures as failures

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

TIMEOUT = 5.0
_open: WeakSet[ShopFile] = WeakSet()


class ShopFile:
    """An SQLite file with one connection. See `sqlite.File`.

    Args:
        path: The file's path.
        timeout: Seconds to wait for other writers.
    """

    def __init__(self, path: str | os.PathLike[str], timeout: float = TIMEOUT) -> None:
        self._path = Path(path).absolute()
        self._timeout = timeout
        self._connection: sqlite3.Connection | None = None
        self.lock: RLock = RLock()
        self._is_closed = False
        _open.add(self)

    def is_there(self) -> bool:
        """Tell whether the file exists."""
        return self._path.exists()

    def write(self, work: Callable[[sqlite3.Connection], T], timeout: float | None = None) -> T:
        """See `sqlite.File.write`."""
        # Immediate: a transaction that becomes a writer halfway fails at once if another one writes.
        return self._use("IMMEDIATE", work, timeout)

    def scan(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do work in one transaction that only reads."""
        return self._use("DEFERRED", work)

    def _use(self, kind: str, work: Callable[[sqlite3.Connection], T], timeout: float | None = None) -> T:
        if not self.lock.acquire(timeout=self._timeout):
            raise StoreUnavailableError("other threads kept the outbox busy for longer than is waited; try again")
        try:
            connection = self._connected()
            connection.execute(f"PRAGMA busy_timeout = {round(1000 * (self._timeout if timeout is None else timeout))}")
            return self._transact(connection, kind, work)
        except sqlite3.Error as exc:
            # A busy file is no fault of the connection. After any other error the next use opens a new one.
            if failures.primary_code(exc) != sqlite3.SQLITE_BUSY:
                self.disconnect()
            raise of_outbox(failures.store_error(exc)) from exc
        finally:
            self.lock.release()

    def _transact(self, connection: sqlite3.Connection, kind: str, work: Callable[[sqlite3.Connection], T]) -> T:
        connection.execute(f"BEGIN {kind}")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.rollback()
        return result

    def _connected(self) -> sqlite3.Connection:
        if self._is_closed:
            raise StoreUnavailableError("the outbox has been closed; open it again")
        if self._connection is None:
            if not self._path.parent.is_dir():
                raise ConfigurationError("the outbox's folder is missing; make it, or name another path in outbox=")
            if not self._path.exists():
                # Only the owner may read the file: its rows say who the shop's customers are.
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            self._connection = sqlite3.connect(
                self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False
            )
        return self._connection

    def disconnect(self) -> None:
        """Close the connection, if there is one. The caller holds the lock."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Close the connection. Later calls raise `StoreUnavailableError`."""
        with self.lock:
            self._is_closed = True
            self.disconnect()


_locked: list[ShopFile] = []


def _before_fork() -> None:
    for file in list(_open):
        file.lock.acquire()
        file.disconnect()
        _locked.append(file)


def _after_fork() -> None:
    while _locked:
        _locked.pop().lock.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
