"""The outbox's own parts, for tests: its stores, its flows, and a world of schedules that has one."""

from __future__ import annotations

import pickle
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from hashlib import blake2b
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from safeklaviyo._flows.outbox import drain, insert, keep
from safeklaviyo.stores.outbox import calls
from safeklaviyo.stores.outbox.base import Outbox
from safeklaviyo.stores.outbox.calls import OutboxCall
from safeklaviyo.stores.outbox.postgres import AsyncPostgresOutbox, PostgresOutbox
from safeklaviyo.stores.outbox.records import NewRow
from safeklaviyo.stores.outbox.schema import SQLITE_TABLES
from safeklaviyo.stores.outbox.shop_file import ShopFile
from safeklaviyo.stores.outbox.sqlite import MemoryFile, SqliteOutbox
from safeklaviyo.stores.outbox.steps import steps_of
from safeklaviyo.stores.outbox.words import SQLITE
from support.simulator import World

if TYPE_CHECKING:
    from safeklaviyo import Klaviyo
    from safeklaviyo._effects import Effect

__all__ = [
    "AsyncPostgresOutbox",
    "MemoryFile",
    "NewRow",
    "OutboxWorld",
    "PostgresOutbox",
    "ShopFile",
    "SqliteOutbox",
    "asked_of",
    "calls",
    "flows",
    "inserted",
    "rows_of",
    "sqlite_statements_of",
    "statements_of",
]

flows = SimpleNamespace(
    **{
        name: value
        for module in (drain, insert, keep)
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
    }
)
"""The flow of each public method of the outbox, by its name."""


def statements_of(outbox: PostgresOutbox, call: OutboxCall[Any]) -> list[tuple[str, tuple[Any, ...]]]:
    """Return the statements of a call, as psycopg takes them, where each answer is one row with a number."""
    steps, found = steps_of(call), []
    with suppress(StopIteration):
        statement = next(steps)
        while True:
            sql, parameters = outbox.queries.filled(statement)
            found.append((sql.replace("?", "%s"), parameters))
            statement = steps.send([(1,)])
    return found


def sqlite_statements_of(call: OutboxCall[Any]) -> list[tuple[str, tuple[Any, ...]]]:
    """Return the statements of a call, as SQLite takes them, where each answer is empty."""
    steps, found = steps_of(call), []
    with suppress(StopIteration):
        statement = next(steps)
        while True:
            found.append((SQLITE.filled(statement[0], SQLITE_TABLES), statement[1]))
            statement = steps.send([])
    return found


def asked_of(k: Klaviyo) -> set[type]:
    """Return the classes of the calls that a client makes of its outbox from now on."""
    shell, asked = k._shell, set[type]()

    class _Noted(Outbox):
        def __init__(self, inner: Outbox) -> None:
            self._inner = inner

        def is_there(self) -> bool:
            return self._inner.is_there()

        def perform(self, call: OutboxCall[Any]) -> Any:
            asked.add(type(call))
            return self._inner.perform(call)

        def close(self) -> None:
            self._inner.close()

    shell._outbox = _Noted(shell.outbox)
    return asked


def rows_of(outbox: SqliteOutbox, table: str = "outbox", columns: str = "*") -> list[tuple[Any, ...]]:
    """Return the rows of one of the outbox's tables, in order."""
    sql = f"SELECT {columns} FROM {SQLITE_TABLES[table]} ORDER BY 1, 2, 3"
    rows: list[tuple[Any, ...]] = outbox._file.scan(lambda db: db.execute(sql).fetchall())
    return rows


def inserted(outbox: SqliteOutbox) -> int:
    """Return how many rows were ever committed."""
    sql = f"SELECT seq FROM sqlite_sequence WHERE name = '{SQLITE_TABLES['outbox']}'"
    number: int = outbox._file.scan(lambda db: db.execute(sql).fetchone()[0])
    return number


@dataclass(slots=True)
class OutboxWorld(World):
    """A world with an outbox, which all operations share."""

    outbox: SqliteOutbox | None = None

    @property
    def there(self) -> SqliteOutbox:
        """The outbox, made by its first use."""
        if self.outbox is None:
            self.outbox = SqliteOutbox(MemoryFile(), None, clock=self.clock)
        return self.outbox

    def copy(self) -> OutboxWorld:
        """See `World.copy`."""
        copied = World.copy(self)
        assert isinstance(copied, OutboxWorld)
        copied.outbox = deepcopy(self.there, {id(self.clock): copied.clock})
        return copied

    def shared(self) -> bytes:
        """See `World.shared`."""
        tables = tuple(rows_of(self.there, each) for each in ("outbox", "name", "lane", "mark"))
        return blake2b(World.shared(self) + pickle.dumps(tables), digest_size=16).digest()

    def _leases(self) -> bool:
        return World._leases(self) or any(row[3] > self.clock.now for row in rows_of(self.there, "lane"))

    def _private(self, actor: Any) -> object:
        # The table's id and key never change.
        if isinstance(actor.effect, calls.ReadAbout | calls.LookAbout):
            return self.there.perform(actor.effect)
        return World._private(self, actor)

    def _result(self, effect: Effect[object], kind: Any) -> object:
        if not isinstance(effect, OutboxCall):
            return World._result(self, effect, kind)
        if not effect.is_read:
            self.changes += 1
        return self.there.perform(effect)


def with_outbox(setup: Any) -> Any:
    """Return the state of a process that has an outbox."""
    return replace(setup, has_outbox=True)
