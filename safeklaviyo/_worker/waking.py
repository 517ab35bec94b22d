"""Listening for rows: PostgreSQL notifies of each row when the transaction that inserted it commits.

Decided here: a notification only saves the time until the next look at all lanes. So no row is lost with a lost
connection, nor behind a pooler that passes no notifications on, such as PgBouncer in transaction mode.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import psycopg

from safeklaviyo.stores.postgres._connections import conninfo

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

CHANNEL: Final = "safeklaviyo_outbox"
TURN: Final = 1.0
"""Seconds between two looks whether the worker stops."""
CONNECTING: Final = 5.0
LONGEST_PAUSE: Final = 30.0

logger = logging.getLogger("safeklaviyo.worker")


class Listener:
    """Wakes a worker when a row is committed into an outbox in PostgreSQL.

    Args:
        url: The URL of the outbox.
        schema: The schema of its tables.
    """

    def __init__(self, url: str, schema: str) -> None:
        self._server = conninfo(url, CONNECTING)
        self._prefix = f"{schema}:"

    def __call__(self, wake: Callable[[tuple[int, ...]], None], stopping: Event) -> None:
        """Listen until the worker stops, and connect again whenever the connection is lost."""
        pause = TURN
        while not stopping.is_set():
            try:
                with psycopg.connect(self._server, autocommit=True) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    pause = TURN
                    self._hear(connection, wake, stopping)
            except psycopg.Error as exc:
                # The class alone is logged: libpq's messages quote the server's address.
                logger.warning("not listening for rows, next try in %.0f s: %s", pause, type(exc).__name__)
                stopping.wait(pause)
                pause = min(LONGEST_PAUSE, 2 * pause)

    def _hear(self, connection: psycopg.Connection, wake: Callable[[tuple[int, ...]], None], stopping: Event) -> None:
        while not stopping.is_set():
            for notification in connection.notifies(timeout=TURN, stop_after=1):
                lane = notification.payload.removeprefix(self._prefix)
                if lane != notification.payload and lane.isascii() and lane.isdigit():
                    wake((int(lane),))
