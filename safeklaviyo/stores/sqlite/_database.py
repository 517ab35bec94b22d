"""The SQLite file under an identity map: how it comes to be, who uses it when, and what survives.

Decided here:

- Two connections for each store in a process, each behind a lock. Short reads have their own, so that they never wait
  for a writer; writes and long reads share the other, in turn, which is fairer than SQLite's polling (F-33).
- ``synchronous=FULL``: an intent is on the disk before the request that it announces leaves, so that a power cut
  loses no more than a killed process does. It costs each write one fsync, and a write stands beside requests to Klaviyo
  that take far longer.
- Both connections are closed before a fork. SQLite keeps the locks that a process holds in that process's memory; a
  child that inherited them would believe that it holds locks which are its parent's (SQLite's *How To Corrupt An SQLite
  Database File*, 2.6), whether or not it ever touched the parent's connections.
- The file is created for its owner alone, and never opened except by SQLite while a connection to it is open: closing
  any other descriptor of it would drop SQLite's locks (2.2 there).
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

from safeklaviyo._interruption import let_through
from safeklaviyo.errors import ConfigurationError, SafeKlaviyoError, StoreIncompatibleError, StoreUnavailableError
from safeklaviyo.stores.sqlite import _failures as failures
from safeklaviyo.stores.sqlite import _tables as tables

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_BUSY = "other threads kept the identity map busy for longer than is waited; try again"
_REMEDY = "name another path in store= or SAFEKLAVIYO_STORE"
_CACHE = "PRAGMA cache_size = -4000"  # 4 MB for each connection, however large the map
_LOOK_EVERY = 1.0  # seconds between two looks of the reading side at whether the file is still there
_CREATION_PAUSE = 0.01

_registry = threading.Lock()
_creation = threading.Lock()
_databases: WeakSet[Database] = WeakSet()


class WouldWaitError(Exception):
    """A short read cannot be answered without waiting. Never leaves the stores."""


class _Seat:
    """One connection, and the lock of whoever uses it.

    The lock knows its holder, so that a thread in which a signal handler raised can tell whether it had got the lock.
    """

    __slots__ = ("connection", "lock")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.connection: sqlite3.Connection | None = None

    def vacate(self) -> None:
        """Close the connection, if there is one; the lock must be held."""
        if self.connection is not None:
            connection, self.connection = self.connection, None
            connection.close()


class Database:
    """One identity map's file, as one process uses it. Opened by the first use.

    Args:
        path: Where the file is, or will be.
        timeout: Seconds to wait for other processes, and as many for other threads.
    """

    def __init__(self, path: str | os.PathLike[str], timeout: float) -> None:
        self._path = Path(path).absolute()
        self._timeout = timeout
        self._short = _Seat()
        self._long = _Seat()
        self._inode: tuple[int, int] | None = None
        self._looked = 0.0
        self._is_closed = False
        with _registry:
            _databases.add(self)

    def read(self, work: Callable[[sqlite3.Connection], T], *, patient: bool = True) -> T:
        """Do one short read.

        Args:
            work: Reads, and may be called twice.
            patient: Wait where that is needed; otherwise raise.

        Raises:
            WouldWaitError: The answer needs the file to be opened first, or somebody to be waited for.
        """
        lock = self._short.lock
        try:
            # Without patience not even for another thread, which may be opening the file: an event loop waits here.
            if not lock.acquire(blocking=patient):
                raise WouldWaitError  # noqa: TRY301 - within, so that the lock is given back
            return work(self._short_connection(patient=patient))
        except sqlite3.Error as exc:
            if failures.primary_code(exc) != sqlite3.SQLITE_BUSY:
                raise self._failed(self._short, exc) from exc
            if not patient:
                raise WouldWaitError from exc
        except (SafeKlaviyoError, WouldWaitError):
            raise
        except BaseException:
            self._abandon(self._short)
            raise
        finally:
            # As in `scan`.
            try:  # noqa: SIM105
                lock.release()
            except RuntimeError:  # this thread has not got it
                pass
        return self.scan(work)

    def _abandon(self, seat: _Seat) -> None:
        """Close a connection in which a signal handler raised, perhaps in the middle of a statement."""
        if seat.lock.acquire(blocking=False):  # if this thread has it; no other may be disturbed
            try:
                seat.vacate()
            finally:
                seat.lock.release()

    def scan(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do one read that may take long, or have to wait."""
        seat = self._long
        try:
            if not seat.lock.acquire(timeout=self._timeout):
                raise StoreUnavailableError(_BUSY)
            return self._use(seat, work)
        finally:
            # A signal handler may have raised before this thread had the lock, or just when it had got it. Nothing
            # that is written in Python stands before the release, so that no handler can raise there.
            try:  # noqa: SIM105
                seat.lock.release()
            except RuntimeError:  # this thread has not got it
                pass

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do several things as one transaction, alone in the file."""
        return self.scan(lambda connection: _transact(connection, "IMMEDIATE", work))

    def close(self) -> None:
        """Close both connections, for good."""
        self._is_closed = True
        self.lock_up()
        self.unlock()

    def lock_up(self) -> None:
        """Wait until nobody uses a connection, close both, and keep everybody out."""
        for seat in (self._long, self._short):
            seat.lock.acquire()
            seat.vacate()

    def unlock(self) -> None:
        """Let everybody in again."""
        self._short.lock.release()
        self._long.lock.release()

    def _use(self, seat: _Seat, work: Callable[[sqlite3.Connection], T]) -> T:
        """Use the connection that is waited for; its lock must be held."""
        try:
            if seat.connection is None:
                return work(self._open(seat))
            self._look()
            return work(seat.connection)
        except sqlite3.Error as exc:
            raise self._failed(seat, exc) from exc
        except SafeKlaviyoError:
            raise
        except BaseException:
            seat.vacate()  # a signal handler raised: a transaction may have begun
            raise

    def _short_connection(self, *, patient: bool) -> sqlite3.Connection:
        connection = self._short.connection
        if connection is not None:
            if time.monotonic() - self._looked > _LOOK_EVERY:
                self._look()
            return connection
        if not (patient or self._is_closed):
            raise WouldWaitError
        connection = self._open(self._short)
        connection.execute("PRAGMA busy_timeout = 0")
        return connection

    def _open(self, seat: _Seat) -> sqlite3.Connection:
        """Connect to the file, and make it first if this store has never seen it."""
        if self._is_closed:
            raise StoreUnavailableError("the identity map has been closed; open it again")
        with _creation:
            if self._inode is None:
                _make_file(self._path)
            connection = _connect(self._path, self._timeout)
        try:
            _prepare(connection, self._timeout)
            self._look()
        except BaseException:
            connection.close()
            raise
        seat.connection = connection
        return connection

    def _look(self) -> None:
        """Make sure that the path still leads to the file that was opened: SQLite would go on with a deleted one."""
        outer = sys.exception()
        try:
            stat = self._path.stat()
        except OSError as exc:
            let_through(exc, outer)
            raise StoreUnavailableError("the identity map's file is gone; put it back, or restart without it") from exc
        inode = (stat.st_dev, stat.st_ino)
        self._inode = self._inode or inode
        if self._inode != inode:
            raise StoreUnavailableError("the identity map's file was replaced while in use; restart to use the new one")
        self._looked = time.monotonic()

    def _failed(self, seat: _Seat, failure: sqlite3.Error) -> Exception:
        """Return the error for a failure; unless it was only waiting, the connection is not used again."""
        if failures.primary_code(failure) != sqlite3.SQLITE_BUSY:
            seat.vacate()
        return failures.store_error(failure)


def _make_file(path: Path) -> None:
    """Make the folder and an empty file for the owner's eyes only, where they are missing."""
    outer = sys.exception()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass  # another process was faster, or a file stands where the folder should be
    except OSError as exc:
        let_through(exc, outer)
        raise ConfigurationError(f"the identity map's file cannot be made ({exc.strerror}); {_REMEDY}") from exc
    if not path.is_file():
        raise ConfigurationError(f"the identity map's path does not lead to a file; {_REMEDY}")
    if not all(_is_writable(each) for each in (path, path.parent)):
        raise ConfigurationError(f"the identity map's file or its folder is read-only; {_REMEDY}")


def _is_writable(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _connect(path: Path, timeout: float) -> sqlite3.Connection:
    # mode=rw: SQLite itself never makes a file, which it would do for everybody to read.
    uri = f"{path.as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)


def _prepare(connection: sqlite3.Connection, timeout: float) -> None:
    """Set a new connection up, and make the tables if the file is empty."""
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(_CACHE)
    if _transact(connection, "DEFERRED", _is_made):
        return
    _switch_to_wal(connection, timeout)
    _transact(connection, "IMMEDIATE", _make)


def _make(connection: sqlite3.Connection) -> None:
    # Another process may have been faster.
    for statement in () if _is_made(connection) else tables.SCHEMA:
        connection.execute(statement)


def _is_made(connection: sqlite3.Connection) -> bool:
    """Tell whether the file is an identity map of this version; False if it is empty.

    Raises:
        StoreIncompatibleError: It is something else.
    """
    application, version, count = (
        connection.execute(question).fetchone()[0]
        for question in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    )
    if (application, version) == (tables.APPLICATION_ID, tables.VERSION):
        return True
    if application == tables.APPLICATION_ID:
        raise StoreIncompatibleError("the identity map was written by another version of safeklaviyo; use that version")
    if (application, version, count) != (0, 0, 0):
        raise StoreIncompatibleError(failures.NOT_AN_IDENTITY_MAP)
    return False


def _switch_to_wal(connection: sqlite3.Connection, timeout: float) -> None:
    """Let readers and a writer use the file at once; SQLite does not wait by itself for whoever is in the way here."""
    give_up_at = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.OperationalError as exc:
            if failures.primary_code(exc) != sqlite3.SQLITE_BUSY or time.monotonic() >= give_up_at:
                raise
            time.sleep(_CREATION_PAUSE)
        else:
            return


def _transact(connection: sqlite3.Connection, kind: str, work: Callable[[sqlite3.Connection], T]) -> T:
    """Do several things as one transaction."""
    connection.execute(f"BEGIN {kind}")
    try:
        result = work(connection)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.rollback()
    return result


_locked_up: list[Database] = []


def _before_fork() -> None:
    _registry.acquire()
    _locked_up.extend(_databases)
    for database in _locked_up:
        database.lock_up()
    _creation.acquire()


def _after_fork() -> None:
    _creation.release()
    while _locked_up:
        _locked_up.pop().unlock()
    _registry.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
