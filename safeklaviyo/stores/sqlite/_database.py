"""The SQLite file of an identity map: how it is created, locked and shared, and what survives a crash.

Decided here:

- Two connections for each store in a process, each behind a lock. Short reads have their own, so that they never wait
  for a writer; writes and long reads share the other, in turn, which is fairer than SQLite's polling (F-33).
- ``synchronous=FULL``: an intent is on the disk before the request that it announces leaves, so that a power cut
  loses no more than a killed process does. It costs each write one fsync, and a write stands beside requests to Klaviyo
  that take far longer.
- Both connections are closed before a fork. SQLite keeps the list of the locks that a process holds in that process's
  memory. A child that inherited this list would believe that it holds its parent's locks (SQLite's *How To Corrupt An
  SQLite Database File*, 2.6), even if it never used the parent's connections.
- The file is created for its owner alone. Another user's is refused, and what all users may do with it is taken away.
- Only SQLite opens the file while a connection to it is open: closing any other descriptor of it would drop SQLite's
  locks (2.2 there).
"""

from __future__ import annotations

import logging
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
from safeklaviyo.stores.sqlite._turns import transact

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

logger = logging.getLogger("safeklaviyo")

_OTHERS = 0o007  # what all users may do with a file
_BUSY = "other threads kept the identity map busy for longer than is waited; try again"
_REMEDY = "name another path in store= or SAFEKLAVIYO_STORE"
_CACHE = "PRAGMA cache_size = -4000"  # 4 MB for each connection, however large the map
_LOOK_EVERY = 1.0  # seconds until a short read checks again that the file is still the one that was opened
_CREATION_PAUSE = 0.01  # seconds between two attempts to switch the journal's mode

_registry = threading.Lock()
_creation = threading.Lock()
_databases: WeakSet[Database] = WeakSet()


class WouldWaitError(Exception):
    """A short read cannot be answered without waiting. Caught inside the stores."""


class _Guarded:
    """One connection, and the lock that a thread holds while it uses the connection.

    The lock is an `RLock`, which knows its holder. So a thread in which a signal handler raised can find out whether it
    holds the lock: only the holder can release it.
    """

    __slots__ = ("connection", "lock")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.connection: sqlite3.Connection | None = None

    def disconnect(self) -> None:
        """Close the connection, if there is one. The caller holds the lock."""
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
        self._short = _Guarded()
        self._long = _Guarded()
        self._inode: tuple[int, int] | None = None
        self._looked = 0.0
        self._is_closed = False
        with _registry:
            _databases.add(self)

    @property
    def path(self) -> Path:
        """Where the file is, or will be."""
        return self._path

    def is_there(self) -> bool:
        """Tell whether there is a file."""
        return self._path.exists()

    def read(self, work: Callable[[sqlite3.Connection], T], *, patient: bool = True) -> T:
        """Do one short read.

        Args:
            work: Reads, and may be called twice.
            patient: Wait where that is needed; otherwise raise.

        Raises:
            WouldWaitError: The read is not patient, and has to open the file first or to wait for a lock on it.
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

    def _abandon(self, side: _Guarded) -> None:
        """Close a connection in which a signal handler raised, perhaps in the middle of a statement."""
        if side.lock.acquire(blocking=False):  # only if this thread holds it: no other may be disturbed
            try:
                side.disconnect()
            finally:
                side.lock.release()

    def scan(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do one read that may take long or wait for a lock."""
        side = self._long
        try:
            if not side.lock.acquire(timeout=self._timeout):
                raise StoreUnavailableError(_BUSY)
            return self._use(side, work)
        finally:
            # A signal handler may have raised before this thread held the lock, or just after. Asking first whether it
            # holds the lock would be Python code in which a handler can raise again, and the lock would stay taken. So
            # the release is tried at once; it fails if this thread is not the holder. `contextlib.suppress` is Python
            # code too.
            try:  # noqa: SIM105
                side.lock.release()
            except RuntimeError:
                pass

    def write(self, work: Callable[[sqlite3.Connection], T], timeout: float | None = None) -> T:
        """Do several things as one transaction, in turn with all other writers of the file.

        Args:
            timeout: Seconds to wait for other writers, if not as long as usual.
        """

        # IMMEDIATE: the write lock is taken before the first read, so that no other writer changes what was read.
        def _turn(connection: sqlite3.Connection) -> T:
            return transact(connection, "IMMEDIATE", work, self._timeout, timeout)

        return self.scan(_turn)

    def close(self) -> None:
        """Close both connections, for good."""
        self._is_closed = True
        self.lock_up()
        self.unlock()

    def lock_up(self) -> None:
        """Take both locks, so that no thread uses a connection, and close both connections."""
        # Long before short in every caller, so that two of them cannot wait for each other. `read` never holds both.
        for side in (self._long, self._short):
            side.lock.acquire()
            side.disconnect()

    def unlock(self) -> None:
        """Release both locks."""
        self._short.lock.release()
        self._long.lock.release()

    def _use(self, side: _Guarded, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do the work with the connection, and open it first if there is none. The caller holds the lock."""
        try:
            if side.connection is None:
                return work(self._open(side))
            self._look()
            return work(side.connection)
        except sqlite3.Error as exc:
            raise self._failed(side, exc) from exc
        except SafeKlaviyoError:
            raise
        except BaseException:
            side.disconnect()  # a signal handler raised: a transaction may have begun
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
        # A short read never waits here: it may run in an event loop.
        connection.execute("PRAGMA busy_timeout = 0")
        return connection

    def _open(self, side: _Guarded) -> sqlite3.Connection:
        """Connect to the file. Create it first, unless this store has opened it before."""
        if self._is_closed:
            raise StoreUnavailableError("the identity map has been closed; open it again")
        # No thread connects while another creates the file: closing the creator's descriptor would drop the locks of
        # that connection (see above).
        with _creation:
            # Never a second time: a file that vanished must not come back as an empty map, without any customer (P6).
            if self._inode is None:
                _make_file(self._path)
            connection = _connect(self._path, self._timeout)
        try:
            _prepare(connection, self._timeout)
            self._look()
        except BaseException:
            connection.close()
            raise
        side.connection = connection
        return connection

    def _look(self) -> None:
        """Check that the path still leads to the file that was opened: SQLite would go on with a deleted file."""
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

    def _failed(self, side: _Guarded, failure: sqlite3.Error) -> Exception:
        """Return the error for a failure. After any failure but a lock's timeout, the connection is closed."""
        if failures.primary_code(failure) != sqlite3.SQLITE_BUSY:
            side.disconnect()
        return failures.store_error(failure)


def _make_file(path: Path) -> None:
    """Create the folder and an empty file, readable by their owner only, where they are missing."""
    outer = sys.exception()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass  # another process was faster, or there is a file in place of the folder, which is checked below
    except OSError as exc:
        let_through(exc, outer)
        raise ConfigurationError(f"the identity map's file cannot be made ({exc.strerror}); {_REMEDY}") from exc
    if not path.is_file():
        raise ConfigurationError(f"the identity map's path does not lead to a file; {_REMEDY}")
    if not all(_is_writable(each) for each in (path, path.parent)):
        raise ConfigurationError(f"the identity map's file or its folder is read-only; {_REMEDY}")
    _keep_private(path)


def _keep_private(path: Path) -> None:
    """Make sure that no user but the file's owner and group can read or change who is in the map.

    Raises:
        ConfigurationError: The file is another user's. Root may use it, and may own it.
    """
    owner = path.stat().st_uid
    if owner != 0 and os.geteuid() not in {0, owner}:
        raise ConfigurationError(
            f"the identity map's file belongs to another user, who could read and change it; {_REMEDY}"
        )
    # SQLite gives the two files beside it the mode that the file has when it makes them.
    for each in (path, *(path.with_name(path.name + ending) for ending in ("-wal", "-shm"))):
        if each.exists() and each.stat().st_mode & _OTHERS:
            try:
                each.chmod(each.stat().st_mode & 0o7777 & ~_OTHERS)
            except PermissionError:
                raise ConfigurationError(
                    f"every user of this host can read the identity map's file; {_REMEDY}"
                ) from None
            logger.warning("every user of this host could read the identity map's file; it is closed to others now")


def _is_writable(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _connect(path: Path, timeout: float) -> sqlite3.Connection:
    # mode=rw: SQLite must not create the file, because it would let other users read it.
    uri = f"{path.as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)


def _prepare(connection: sqlite3.Connection, timeout: float) -> None:
    """Set a new connection up, and create the tables if the file is empty."""
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(_CACHE)
    if transact(connection, "DEFERRED", _is_made, timeout):
        return
    _switch_to_wal(connection, timeout)
    transact(connection, "IMMEDIATE", _make, timeout)


def _make(connection: sqlite3.Connection) -> None:
    # Checked again inside the transaction: another process may have been faster.
    for statement in () if _is_made(connection) else tables.SCHEMA:
        connection.execute(statement)


def _is_made(connection: sqlite3.Connection) -> bool:
    """Tell whether the file is an identity map of this version; False if it is empty.

    Raises:
        StoreIncompatibleError: The file is something else, or of another version.
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
    """Switch the file to the WAL journal, in which readers and one writer work at the same time.

    The loop is needed because SQLite ignores `timeout` for this statement: it fails at once while another process uses
    the file.
    """
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


_locked_up: list[Database] = []


def _before_fork() -> None:
    # All locks are held over the fork. A lock that another thread held would stay locked in the child for ever, because
    # that thread does not exist there.
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
