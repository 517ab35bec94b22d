"""How a transaction gets its turn among the writers of a SQLite file.

Decided here: a writer looks often whether the file is free. SQLite's own busy handler waits longer from one attempt to
the next, up to 100 ms, while a transaction takes 2 ms. So a writer that has waited long looks seldom, and newcomers
overtake it. With eight writers one write in a hundred then took half a second or more, and some 2 s of the 5 s.
"""

from __future__ import annotations

import sqlite3
import time
from random import uniform
from typing import TYPE_CHECKING, Final, TypeVar

from safeklaviyo.stores.sqlite import _failures as failures

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_PAUSE: Final = (0.0005, 0.003)
"""Seconds between two attempts. At random, so that two writers do not meet again and again."""


def transact(
    connection: sqlite3.Connection,
    kind: str,
    work: Callable[[sqlite3.Connection], T],
    timeout: float,
    within: float | None = None,
) -> T:
    """Do several things as one transaction.

    Args:
        connection: One in autocommit.
        kind: ``"DEFERRED"``, or ``"IMMEDIATE"`` to be the only writer from the beginning.
        work: What is done in it.
        timeout: Seconds to wait for other writers.
        within: Seconds to wait for them before the transaction begins, if not as long.
    """
    if kind == "DEFERRED":
        connection.execute("BEGIN")
    else:
        _begin(connection, timeout, timeout if within is None else within)
    try:
        result = work(connection)
        connection.execute("COMMIT")
    finally:
        # Also after a COMMIT that failed and left the transaction open.
        if connection.in_transaction:
            connection.rollback()
    return result


def _begin(connection: sqlite3.Connection, timeout: float, within: float) -> None:
    """Begin to write, as soon as no other connection does."""
    give_up_at = time.monotonic() + within
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as exc:
                if failures.primary_code(exc) != sqlite3.SQLITE_BUSY or time.monotonic() >= give_up_at:
                    raise
                time.sleep(uniform(*_PAUSE))  # noqa: S311 - no secret
            else:
                return
    finally:
        # For all else that may find the file busy, such as the first read after a crash.
        connection.execute(f"PRAGMA busy_timeout = {round(timeout * 1000)}")
