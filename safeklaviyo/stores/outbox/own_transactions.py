"""Whether the calling thread keeps an SQLite file busy itself: it would wait for its own transaction, in vain.

Decided here: which open transactions are certainly the calling thread's. SQLite says only that a file is busy, so the
connections of this process are looked through. A connection is the calling thread's in three cases:

- Python lets this thread use it, and no other (``check_same_thread``, which is the default of `sqlite3`).
- It is Django's connection of this thread.
- This process has no other thread.

In any other case, such as a pool of SQLAlchemy's in a program with threads, another thread may be about to commit.
"""

from __future__ import annotations

import gc
import sqlite3
import sys
from pathlib import Path
from threading import Thread, active_count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable


def has_own_transaction(path: str | os.PathLike[str]) -> bool:
    """Tell whether the calling thread has an open transaction in a file, for certain.

    It takes milliseconds, because it looks through all objects of the process: ask only when the file is busy.
    """
    # By `type`, because `isinstance` asks an object for its class, and a proxy may run any code then.
    connections = [each for each in gc.get_objects() if issubclass(type(each), sqlite3.Connection)]
    usable = [each for each in connections if _is_usable(each)]
    return any(_leads_to(each, path) for each in _own(usable))


def _is_usable(connection: sqlite3.Connection) -> bool:
    """Tell whether a connection has an open transaction, and this thread may use it."""
    try:
        if not connection.in_transaction:
            return False
        connection.cursor().close()
    except sqlite3.Error:
        return False
    return True


def _own(connections: list[sqlite3.Connection]) -> Iterable[sqlite3.Connection]:
    if not connections or active_count() == 1:
        return connections
    # A thread of its own finds out which of them any thread may use.
    shared: list[sqlite3.Connection] = []
    asking = Thread(target=lambda: shared.extend(each for each in connections if _is_usable(each)))
    asking.start()
    asking.join()
    of_django = _of_django()
    return [each for each in connections if _is_in(each, of_django) or not _is_in(each, shared)]


def _is_in(connection: sqlite3.Connection, others: Iterable[object]) -> bool:
    return any(each is connection for each in others)


def _of_django() -> list[object]:
    """Return the connections that Django has opened for this thread."""
    # Without its settings Django cannot have opened one, and asking it for one fails.
    settings: Any = getattr(sys.modules.get("django.conf"), "settings", None)
    handler: Any = getattr(sys.modules.get("django.db"), "connections", None)
    if settings is None or handler is None or not settings.configured:
        return []
    return [each.connection for each in handler.all(initialized_only=True)]


def _leads_to(connection: sqlite3.Connection, path: str | os.PathLike[str]) -> bool:
    try:
        files = [name for _, _, name in connection.cursor().execute("PRAGMA database_list") if name]
        return any(Path(name).exists() and Path(path).samefile(name) for name in files)
    except (sqlite3.Error, OSError):
        return False
