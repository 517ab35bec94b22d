"""For each call of the identity map its statement in PostgreSQL, its parameters, and how its answer is read.

Decided here: each call is one statement, and so one transaction; an `add` is one after the statement that takes the
account's lock. The functions that the statements call are in ``version_1.sql``, the statement of `add` in ``add.sql``,
the conversion of values in `_values`. `_connections` and `_joined` execute the queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from safeklaviyo.errors import StoreIncompatibleError
from safeklaviyo.stores import calls
from safeklaviyo.stores.postgres import _schema as schema
from safeklaviyo.stores.postgres._values import (
    added_rows,
    as_json,
    change_of,
    journal_columns_of,
    name_of,
    names_of,
    number_of,
    read_acquired,
    read_bindings,
    read_former,
    read_found,
    read_journal,
    read_leases,
    read_note,
    read_notes,
    read_one,
    read_outcome,
    read_page,
    read_statuses,
    written,
)
from safeklaviyo.stores.rows import owned

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from safeklaviyo.stores.calls import Call
    from safeklaviyo.stores.postgres._values import Rows

    Parameters: TypeAlias = tuple[object, ...] | Mapping[str, object] | None

T = TypeVar("T")

SCAN: Final = 60.0
"""Further seconds for a statement that reads many rows."""
PER_ROW: Final = 0.005
"""Further seconds for each row that a statement writes."""

_TURN: Final = "SELECT {0}.release(%s, 0)"
"""Takes the account's lock, within the time that a writer may wait: no lease has the token 0."""
_SETTING: Final = "SELECT max(number), current_setting('transaction_read_only') = 'on' FROM {0}.version"
_BINDING: Final = "id, external_id, email, profile_id, phone_number, verified_at, version"
_LEASES: Final = (
    "SELECT token, identifiers, intent, expires - now, false FROM {0}.lease, {0}.clock() AS now WHERE account = %s"
)


@dataclass(frozen=True, slots=True)
class Query(Generic[T]):
    """One statement.

    Attributes:
        parameters: None for a text of several statements.
        read: Turns the rows into the result.
        patience: Seconds that the statement may take beyond the store's timeout.
        has_rows: The statement returns rows.
        turn: A statement before this one in the same transaction, and its parameters: it waits until other writers have
            committed, and this one then sees what they wrote. None: this one is a transaction of its own.
    """

    statement: bytes
    parameters: Parameters
    read: Callable[[Rows], T]
    patience: float = 0.0
    has_rows: bool = True
    turn: tuple[bytes, tuple[object, ...]] | None = None


class Queries:
    """The queries of an identity map in one schema."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._schema = schema.quoted(name)
        self._statements: dict[str, bytes] = {}

    def query(self, call: Call[T]) -> Query[T]:
        """Return the query that carries out a call."""
        asked = _ASKING[type(call)](written(call.account), call)
        turn = None if asked.turn is None else (self._own(_TURN), asked.turn)
        return Query(self._own(asked.statement), asked.parameters, asked.read, asked.patience, turn=turn)

    def each(self, several: Sequence[Call[T]]) -> Query[tuple[T, ...]] | None:
        """Return the query that carries out calls of one kind, one after the other, in one transaction; else None."""
        if len(kinds := {type(call) for call in several}) != 1 or not kinds <= _TOGETHER:
            return None
        asked = [_ASKING[type(call)](written(call.account), call) for call in several]
        # PostgreSQL goes through the parts in their order, and a function sees what those before it have done.
        parts = [f"SELECT {at}, part.* FROM ({each.statement}) AS part" for at, each in enumerate(asked)]  # noqa: S608 - own

        def _read(rows: Rows) -> tuple[T, ...]:
            answers: list[list[Any]] = [[] for _ in asked]
            for at, *row in rows:
                answers[at].append(tuple(row))
            return tuple([each.read(answer) for each, answer in zip(asked, answers, strict=True)])

        parameters = tuple(parameter for each in asked for parameter in each.parameters or ())
        statement = self._filled(" UNION ALL ".join(parts))
        return Query(statement, parameters, _read, PER_ROW * len(asked) + sum(each.patience for each in asked))

    def check(self) -> Query[bool]:
        """Return the query that checks the map's version; its result is True if the map is read-only."""
        return Query(self._own(_SETTING), (), _checked)

    def migration(self) -> Generator[Query[Any], Any, None]:
        """Yield the queries, one after the other, that create the map if there is none.

        Raises:
            StoreIncompatibleError: The schema holds something else.
        """
        is_there = yield Query(b"SELECT to_regclass(%s) IS NOT NULL", (f"{self._schema}.version",), read_one)
        if not is_there:
            text = schema.migration_sql(self._name).encode()
            try:
                yield Query(text, None, bool, SCAN, has_rows=False)
            except StoreIncompatibleError:
                # Another process may have created the tables since; or something else is in the way, which the check
                # below finds out.
                pass
            else:
                return
        yield self.check()

    def _own(self, statement: str) -> bytes:
        own = self._statements.get(statement)
        if own is None:
            own = self._statements[statement] = self._filled(statement)
        return own

    def _filled(self, statement: str) -> bytes:
        # A per cent sign in the schema's name must not be read as a parameter.
        names = (self._schema, schema.numbers(self._name))
        return statement.format(*[name.replace("%", "%%") for name in names]).encode()


def _checked(rows: Rows) -> bool:
    version, is_read_only = rows[0]
    schema.check(version)
    return bool(is_read_only)


class _Asked(NamedTuple):
    """A query without its schema, for which the statement has ``{0}``."""

    statement: str
    parameters: Parameters
    read: Callable[[Rows], Any]
    patience: float = 0.0
    turn: tuple[object, ...] | None = None


@cache
def _adding() -> str:
    """Return the statement of ``add.sql``, without its comments, with ``{0}`` and ``{1}`` for names of the schema's."""
    text = files(__package__ or "").joinpath("add.sql").read_text("utf-8")
    lines = [line.strip() for line in text.splitlines() if not line.lstrip().startswith("--")]
    return " ".join(lines).replace("{schema}", "{0}").replace("{numbers}", "{1}")


def _add(account: str, call: calls.Add) -> _Asked:
    rows = added_rows(call.bindings)
    parameters = {"account": account, "rows": as_json(rows)}
    return _Asked(_adding(), parameters, read_statuses, PER_ROW * len(rows), turn=(account,))


def _acquire(account: str, call: calls.Acquire) -> _Asked:
    # Sorted: the stored text of a lease's identifiers is then the same for every order of the set.
    parameters = (account, names_of(sorted(call.identifiers)), written(call.intent), call.ttl)
    return _Asked("SELECT * FROM {0}.acquire(%s, %s, %s, %s)", parameters, read_acquired)


def _renew(account: str, call: calls.Renew) -> _Asked:
    intent = None if call.intent is None else written(call.intent)
    return _Asked("SELECT {0}.renew(%s, %s, %s, %s)", (account, call.token, call.ttl, intent), read_one)


def _remove(account: str, call: calls.Remove) -> _Asked:
    held, lease = _under(account, call.token)
    statement = held + " SELECT coalesce((SELECT {0}.remove(%s, %s, %s) FROM held), false)"  # noqa: S608 - own names
    return _Asked(statement, (*lease, account, *name_of(call.identifier)), read_one)


def _journal(account: str, call: calls.Journal) -> _Asked:
    columns = "number, at, binding, profile_id, external_id, verb, old, new"
    statement = f"SELECT {columns} FROM {{0}}.journal_page(%s, %s, %s, %s)"  # noqa: S608 - own names
    return _Asked(statement, (account, call.since, call.after, call.limit), read_journal, SCAN)


def _forget_journal(account: str, call: calls.ForgetJournal) -> _Asked:
    statement = (
        "WITH gone AS (DELETE FROM {0}.journal WHERE account = %s AND binding = %s RETURNING number)"
        " SELECT count(*) FROM gone"
    )
    return _Asked(statement, (account, number_of(call.key)), read_one)


def _page(account: str, call: calls.ListBindings) -> _Asked:
    start = 0 if call.after is None else number_of(call.after)
    # One more than the limit, which tells whether there is a next part.
    statement = f"SELECT {_BINDING} FROM {{0}}.page(%s, %s, %s)"  # noqa: S608 - own names
    return _Asked(statement, (account, start, call.limit + 1), partial(read_page, limit=call.limit), SCAN)


def _bindings(account: str, call: calls.ReadBindings) -> _Asked:
    # OFFSET 0 keeps PostgreSQL from moving the condition on the account into the inner query, where it could choose the
    # index on the account, and read all the account's rows.
    keyed = "SELECT * FROM {0}.binding WHERE id = ANY(%s) OFFSET 0"
    statement = f"SELECT {_BINDING} FROM ({keyed}) AS b WHERE account = %s"  # noqa: S608 - own names
    return _Asked(statement, ([number_of(key) for key in call.keys], account), read_bindings, SCAN)


def _former(account: str, call: calls.Former) -> _Asked:
    asked = {number_of(binding.key): binding for binding in call.bindings}
    statement = (
        "SELECT kind, value, binding, retired_at FROM"
        " (SELECT * FROM {0}.place WHERE binding = ANY(%s) AND retired_at IS NOT NULL OFFSET 0) AS p"
        " WHERE account = %s"
    )
    return _Asked(statement, (list(asked), account), partial(read_former, asked=asked), SCAN)


def _restore(account: str, call: calls.Restore) -> _Asked:
    rows = [
        (*name_of(owner), *name_of(match.identifier), match.retired_at)
        for match in call.former
        for owner in owned(match.binding)[:1]
    ]
    return _Asked("SELECT {0}.restore(%s, %s)", (account, as_json(rows)), read_one, PER_ROW * len(call.former))


def _restore_journal(account: str, call: calls.RestoreJournal) -> _Asked:
    rows = [([name_of(each) for each in owned(binding)], journal_columns_of(row)) for binding, row in call.rows]
    return _Asked("SELECT {0}.restore_journal(%s, %s)", (account, as_json(rows)), read_one, PER_ROW * len(rows))


def _remember(account: str, call: calls.Remember) -> _Asked:
    held, lease = _under(account, call.token)
    note: tuple[str, ...] = (account, written(call.name))
    decisive = "held"
    change = "DELETE FROM {0}.note WHERE account = %s AND name = %s AND EXISTS (SELECT FROM held)"
    if call.value is not None:
        note = (*note, written(call.value))
        change = (
            "INSERT INTO {0}.note SELECT %s, %s, %s FROM held"
            " ON CONFLICT (account, name) DO UPDATE SET value = excluded.value"
        )
    if call.new:
        change = "INSERT INTO {0}.note SELECT %s, %s, %s FROM held ON CONFLICT (account, name) DO NOTHING RETURNING 1"
        decisive = "done"
    statement = f"{held}, done AS ({change}) SELECT count(*) = 1 FROM {decisive}"  # noqa: S608 - own
    return _Asked(statement, (*lease, *note), read_one)


def _under(account: str, token: int | None) -> tuple[str, tuple[object, ...]]:
    """Return the SQL of a table ``held``, and its parameters. ``held`` has one row if the token is valid or not given.

    With a token, the statement works in these steps:

    1. The condition calls ``release`` for the token 0, which no lease has. The call returns False, but it first takes
       the account's advisory lock, as every writer does.
    2. FOR UPDATE locks the lease's row. PostgreSQL then looks at the row as it is by now, not as it was when the
       statement began (its *Read Committed Isolation Level*), so a lease that another call took over is not found.
    3. The lock on the row keeps the lease valid until the statement's transaction ends.
    """
    if token is None:
        return "WITH held AS (SELECT)", ()
    lease = "SELECT FROM {0}.lease WHERE token = %s AND account = %s AND NOT {0}.release(%s, 0) FOR UPDATE"
    return f"WITH held AS ({lease})", (token, account, account)


def _notes(account: str, call: calls.ListNotes) -> _Asked:
    start = None if call.after is None else written(call.after)
    parameters = (account, start, call.limit + 1)
    statement = "SELECT name, value FROM {0}.note_page(%s, %s, %s)"
    return _Asked(statement, parameters, partial(read_notes, limit=call.limit), SCAN)


# Calls of a statement that can be part of another one.
_TOGETHER: Final = frozenset({calls.Acquire, calls.Bind, calls.Release, calls.Recall})

_ASKING: Final[dict[type, Callable[[str, Any], _Asked]]] = {
    calls.Find: lambda account, call: _Asked(
        "SELECT * FROM {0}.find(%s, %s)",
        (account, names_of(call.identifiers)),
        partial(read_found, identifiers=call.identifiers),
    ),
    calls.Acquire: _acquire,
    calls.Renew: _renew,
    calls.Release: lambda account, call: _Asked("SELECT {0}.release(%s, %s)", (account, call.token), read_one),
    calls.Bind: lambda account, call: _Asked(
        "SELECT * FROM {0}.bind(%s, %s)", (account, as_json(change_of(call.change))), read_outcome
    ),
    calls.Add: _add,
    calls.Remove: _remove,
    calls.ReleaseIdentifier: lambda account, call: _Asked(
        "SELECT {0}.release_identifier(%s, %s, %s)", (account, *name_of(call.identifier)), read_one
    ),
    calls.Expired: lambda account, call: _Asked(
        f"{_LEASES} AND expires <= now ORDER BY token LIMIT %s", (account, call.limit), read_leases, SCAN
    ),
    calls.Leases: lambda account, call: _Asked(
        f"{_LEASES} ORDER BY token LIMIT %s", (account, call.limit), read_leases, SCAN
    ),
    calls.Journal: _journal,
    calls.ForgetJournal: _forget_journal,
    calls.ListBindings: _page,
    calls.ReadBindings: _bindings,
    calls.Former: _former,
    calls.Restore: _restore,
    calls.RestoreJournal: _restore_journal,
    calls.Count: lambda account, _: _Asked(
        "SELECT count(*) FROM {0}.binding WHERE account = %s", (account,), read_one, SCAN
    ),
    calls.Recall: lambda account, call: _Asked(
        "SELECT value FROM {0}.note WHERE account = %s AND name = %s", (account, written(call.name)), read_note
    ),
    calls.Remember: _remember,
    calls.ListNotes: _notes,
}
