"""What each operation of the outbox does: its SQL statements, once for SQLite and PostgreSQL.

An operation is a generator. It yields statements and is sent their rows; a driver runs all of them in one transaction.

The rules that are kept here:

1. A row goes only if no undone row with a lower id, in any lane, shares a name with it (`going`). Lanes only spread the
   work.
2. A statement that deletes, parks or marks rows compares the lane's token itself. So a drain that has lost its lane
   changes nothing (H12). In PostgreSQL the lane's row is locked first, so that no other drain can take the lane between
   two statements.
3. Only names of undone rows hold rows back. The names of a parked row stand in lane -1: there they hold back no row,
   and `Forget` still finds them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from safeklaviyo.errors import ConfigurationError
from safeklaviyo.stores.outbox import calls
from safeklaviyo.stores.outbox.going import fix_rows, is_held, mark, ready
from safeklaviyo.stores.outbox.records import About, Counted, Left, Row
from safeklaviyo.stores.outbox.turns import take_turn
from safeklaviyo.stores.outbox.words import COLUMNS, OTHER, as_json, holding_of, names_as_json, row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from safeklaviyo.stores.outbox.calls import OutboxCall
    from safeklaviyo.stores.outbox.words import Rows, Steps

T = TypeVar("T")


def steps_of(call: OutboxCall[T]) -> Steps[T]:
    """Return the steps of a call."""
    making: Any = _STEPS[type(call)]
    steps: Steps[T] = making(call)
    return steps


def _read_about(_: calls.ReadAbout | calls.LookAbout) -> Steps[About]:
    rows = yield "SELECT id, key FROM {about}", ()
    return About(str(rows[0][0]), str(rows[0][1]))


def _lanes(call: calls.Lanes) -> Steps[tuple[int, ...]]:
    # One look into the index for each lane, no matter how many rows wait.
    rows = yield (
        (
            "SELECT l.value FROM {lanes} WHERE EXISTS(SELECT 1 FROM {outbox} AS o"
            " WHERE o.account = ? AND o.lane = l.value AND o.state = 'waiting' AND o.due <= {now}) ORDER BY 1"
        ),
        (call.account,),
    )
    return tuple(int(row[0]) for row in rows)


def _take(call: calls.Take) -> Steps[int | None]:
    # The token rises with each drain, so that an earlier drain's statements are recognised (H12). The first one inserts
    # the lane.
    rows = yield (
        (
            "INSERT INTO {lane} AS held(account, lane, token, expires) VALUES (?, ?, 1, {now} + ?)"
            " ON CONFLICT(account, lane) DO UPDATE SET token = held.token + 1, expires = excluded.expires"
            " WHERE held.expires <= {now} RETURNING token"
        ),
        (call.account, call.lane, call.ttl),
    )
    return int(rows[0][0]) if rows else None


def _keep(call: calls.Keep) -> Steps[bool]:
    rows = yield (
        ("UPDATE {lane} SET expires = {now} + ? WHERE account = ? AND lane = ? AND token = ? RETURNING token"),
        (call.ttl, call.account, call.lane, call.token),
    )
    return bool(rows)


def _leave(call: calls.Leave) -> Steps[bool]:
    rows = yield (
        ("UPDATE {lane} SET expires = 0 WHERE account = ? AND lane = ? AND token = ? RETURNING token"),
        (call.account, call.lane, call.token),
    )
    return bool(rows)


def _delete(call: calls.Delete) -> Steps[bool]:
    # Step 1: make sure that the lane is held, before the marks of step 2 are written.
    if not (yield from is_held(call)):
        return False
    # Step 2: in the same transaction, mark what was changed. Otherwise an older row could undo it (H21).
    for kind in call.kinds:
        yield from _remember(CHANGED + kind, call.changed, "?", call.at)
    yield from _remember(REPEATED, call.repeated, "{now} - ?", 0.0)
    # Step 3: the names before the rows, because they are found by the rows.
    yield from _forget_names(call.ids)
    yield (
        ("DELETE FROM {outbox} WHERE id {in_numbers} AND account = ?{held}"),
        (as_json(call.ids), call.account, *holding_of(call)),
    )
    return True


CHANGED: Final = "changed:"
"""Begins the kind of a mark: an identifier or a consent was changed."""
REPEATED: Final = "repeated"
"""The kind of a mark: a row was sent more than once."""


def _remember(kind: str, names: Sequence[str], when: str, seconds: float) -> Steps[None]:
    """Mark these names with the time of a change. A mark keeps the latest time."""
    for name in names:
        yield (
            (
                "INSERT INTO {mark} AS known(name, kind, at) VALUES (?, ?, {when}) ON CONFLICT(name, kind)"
                " DO UPDATE SET at = CASE WHEN known.at < excluded.at THEN excluded.at ELSE known.at END"
            ).replace("{when}", when),
            (name, kind, seconds),
        )


def _forget_names(ids: Sequence[int]) -> Steps[None]:
    """Delete the names of rows, which still exist."""
    yield (
        (
            "DELETE FROM {name} WHERE (name, lane, id) IN (SELECT e.value,"
            " CASE WHEN o.state = 'dead' THEN -1 ELSE o.lane END, o.id FROM {outbox} AS o, {names}"
            " WHERE o.id {in_numbers})"
        ),
        (as_json(ids),),
    )


def _park(call: calls.Park) -> Steps[bool]:
    if not (yield from is_held(call)):
        return False
    # The names move to lane -1, where they hold back no row.
    yield from _forget_names(call.ids)
    yield (
        (
            "UPDATE {outbox} SET state = 'dead', error = ?, rule = ? WHERE id {in_numbers} AND account = ?"
            " AND state = 'waiting'{held}"
        ),
        (call.error, call.rule, as_json(call.ids), call.account, *holding_of(call)),
    )
    yield (
        (
            "INSERT INTO {name}(name, lane, id) SELECT e.value, -1, o.id FROM {outbox} AS o, {names}"
            " WHERE o.id {in_numbers} AND o.state = 'dead' ON CONFLICT DO NOTHING"
        ),
        (as_json(call.ids),),
    )
    return True


def _wait(call: calls.Wait) -> Steps[bool]:
    yield from is_held(call)
    rows = yield (
        (
            "UPDATE {outbox} SET due = {now} + ?, unsure = ?, error = coalesce(?, error) WHERE id {in_numbers}"
            " AND account = ? AND state = 'waiting'{held} RETURNING id"
        ),
        (call.seconds, int(call.unsure), call.error, as_json(call.ids), call.account, *holding_of(call)),
    )
    return bool(rows)


def _last_change(call: calls.LastChange) -> Steps[float | None]:
    kinds = as_json([CHANGED + kind for kind in call.kinds])
    rows = yield (
        "SELECT max(at) FROM {mark} WHERE name {in_texts} AND kind {in_texts}",
        (as_json(call.names), kinds),
    )
    return None if rows[0][0] is None else float(rows[0][0])


def _note_change(call: calls.NoteChange) -> Steps[None]:
    for kind in call.kinds:
        yield from _remember(CHANGED + kind, call.names, "{now} - ?", call.elapsed)


def _count_rows(call: calls.CountRows) -> Steps[Counted]:
    rows = yield (
        ("SELECT count(*), min(at) FROM {outbox} WHERE account = ? AND state = 'waiting'"),
        (call.account,),
    )
    waiting, oldest = rows[0]
    return Counted(int(waiting), (yield from _count_dead(call)), oldest)


def _count_dead(call: calls.CountDead | calls.CountRows) -> Steps[int]:
    rows = yield "SELECT count(*) FROM {outbox} WHERE account = ? AND state = 'dead'", (call.account,)
    return int(rows[0][0])


def _count_left(call: calls.CountLeft) -> Steps[Left]:
    rows = yield "SELECT count(*) FROM {outbox} WHERE account = ? AND state = 'waiting'", (call.account,)
    due = (yield from _first_due(call, " AND o.due > {now}")) if call.are_held else None
    # Of rows that are held back by another drain's the time is not known: they may go at any moment.
    return Left(int(rows[0][0]), due if due is not None else (yield from _first_due(call, "")))


def _first_due(call: calls.CountLeft, which: str) -> Steps[float | None]:
    # One look into the index for each lane, no matter how many rows wait.
    sql = (
        "SELECT min(first.due) FROM (SELECT (SELECT min(o.due) FROM {outbox} AS o WHERE o.account = ?"
        " AND o.lane = l.value AND o.state = 'waiting'{which}) AS due FROM {lanes}) AS first"
    )
    rows = yield sql.replace("{which}", which), (call.account,)
    return None if rows[0][0] is None else float(rows[0][0])


def _later(call: calls.Later) -> Steps[tuple[Row, ...]]:
    rows = yield (
        (
            f"SELECT {COLUMNS} FROM {{outbox}} WHERE account = ? AND state = 'waiting'"  # noqa: S608 - own
            " AND id IN (SELECT id FROM {name} WHERE name {in_texts} AND lane >= 0 AND id > ?) ORDER BY id LIMIT ?"
        ),
        (call.account, as_json(call.names), call.after, call.limit),
    )
    return tuple(row_of(row) for row in rows)


def _other_accounts(call: calls.OtherAccounts) -> Steps[tuple[str, ...]]:
    found: list[str] = []
    # The ends of the index. A condition such as <> would read all rows where this account has all of them.
    for order in ("ASC", "DESC"):
        sql = f"SELECT account FROM {{outbox}} WHERE state = 'waiting' ORDER BY account {order} LIMIT 1"  # noqa: S608 - own
        rows = yield sql, ()
        found += [str(account) for (account,) in rows if account not in {call.account, *found}]
    return tuple(found)


def _dead_rows(call: calls.DeadRows) -> Steps[tuple[Row, ...]]:
    rows = yield (
        (
            f"SELECT {COLUMNS} FROM {{outbox}} WHERE account = ? AND state = 'dead' AND id > ? ORDER BY id LIMIT ?"  # noqa: S608 - own
        ),
        (call.account, call.after, call.limit),
    )
    return tuple(row_of(row) for row in rows)


def _retry(call: calls.Retry) -> Steps[int]:
    sql = "SELECT id FROM {outbox} WHERE account = ? AND state = 'dead' AND id {in_numbers} ORDER BY id{lock}"
    rows = yield sql, (call.account, as_json(call.ids))
    again = 0
    for (number,) in rows:
        again += yield from _again(number)
    return again


def _again(number: int) -> Steps[int]:
    """Put one row at the end, under a new id and with its old time (H21)."""
    yield from _forget_names((number,))
    columns = "account, lane, names, profile, verb, payload, unique_id, time, at, unsure, attempts"
    rows = yield (
        (
            f"INSERT INTO {{outbox}}({columns}, due, born) SELECT {columns}, {{now}}, coalesce(born, id)"  # noqa: S608 - own
            " FROM {outbox} WHERE id = ? RETURNING id"
        ),
        (number,),
    )
    # In SQLite the trigger has written the names already.
    yield (
        (
            "INSERT INTO {name}(name, lane, id) SELECT e.value, o.lane, o.id FROM {outbox} AS o, {names}"
            " WHERE o.id = ? ON CONFLICT DO NOTHING"
        ),
        (rows[0][0],),
    )
    yield "DELETE FROM {outbox} WHERE id = ?", (number,)
    return 1


def _drop(call: calls.Drop) -> Steps[frozenset[int]]:
    of_state = "" if call.also_waiting else " AND state = 'dead'"
    sql = f"SELECT id FROM {{outbox}} WHERE account = ? AND id {{in_numbers}}{of_state}{{lock}}"  # noqa: S608 - own
    rows = yield sql, (call.account, as_json(call.ids))
    found = frozenset(int(number) for (number,) in rows)
    yield from _remove(list(found))
    return found


def _expire(call: calls.Expire) -> Steps[int]:
    sql = "SELECT id FROM {outbox} WHERE account = ? AND state = 'dead' AND at < {now} - ?{lock}"
    rows = yield sql, (call.account, call.seconds)
    if not rows:
        return 0
    # A mark holds back only rows that are older than the mark, and rows that old are deleted here.
    yield "DELETE FROM {mark} WHERE at < {now} - ?", (call.seconds,)
    return (yield from _remove([int(number) for (number,) in rows]))


def _remove(ids: Sequence[int]) -> Steps[int]:
    yield from _forget_names(ids)
    gone = yield "DELETE FROM {outbox} WHERE id {in_numbers} RETURNING id", (as_json(ids),)
    return len(gone)


def _forget(call: calls.Forget) -> Steps[int]:
    rows = yield "SELECT DISTINCT id FROM {name} WHERE name {in_texts}", (as_json(call.names),)
    return (yield from _remove([int(number) for (number,) in rows]))


def _has_rows(call: calls.HasRows) -> Steps[bool]:
    if not call.tried:
        rows = yield "SELECT 1 FROM {name} WHERE name {in_texts} AND lane >= 0 LIMIT 1", (as_json(call.names),)
        return bool(rows)
    rows = yield (
        (
            "SELECT 1 FROM {outbox} WHERE id IN (SELECT id FROM {name} WHERE name {in_texts} AND lane >= 0)"
            " AND unsure = 1 AND id <> ? LIMIT 1"
        ),
        (as_json(call.names), call.but or 0),
    )
    lately = yield (
        ("SELECT 1 FROM {mark} WHERE kind = 'repeated' AND name {in_texts} AND at > {now} - ? LIMIT 1"),
        (as_json(call.names), call.lately),
    )
    return bool(rows or lately)


def insert_into_sqlite(call: calls.Insert) -> Steps[int]:
    """Insert a row with one statement. A trigger writes the row's names."""
    # In tables with another id no row is selected, so none is inserted: this is another database.
    row = call.row
    rows = yield (
        (
            "INSERT INTO {outbox}(account, lane, names, profile, verb, payload, unique_id, time, at, due)"
            " SELECT ?, ?, ?, ?, ?, ?, ?, ?, {now}, {now} FROM {about} WHERE id = ? RETURNING id"
        ),
        (*_inserted(call), row.time, call.about),
    )
    return _id_of(rows)


def _inserted(call: calls.Insert) -> tuple[Any, ...]:
    row = call.row
    unique_id = None if row.unique_id is None else row.unique_id.replace("\0", "\\0")
    names = names_as_json(row.names + row.marks)
    return call.account, row.lane, names, row.profile, row.verb, row.payload, unique_id


def _id_of(rows: Rows) -> int:
    if not rows:
        raise ConfigurationError(OTHER)
    return int(rows[0][0])


_STEPS: Final[dict[type, Callable[[Any], Steps[Any]]]] = {
    calls.ReadAbout: _read_about,
    calls.LookAbout: _read_about,
    calls.Lanes: _lanes,
    calls.Take: _take,
    calls.Keep: _keep,
    calls.Leave: _leave,
    calls.Ready: ready,
    calls.Later: _later,
    calls.Mark: mark,
    calls.FixRows: fix_rows,
    calls.Delete: _delete,
    calls.Park: _park,
    calls.Wait: _wait,
    calls.LastChange: _last_change,
    calls.NoteChange: _note_change,
    calls.CountRows: _count_rows,
    calls.CountDead: _count_dead,
    calls.CountLeft: _count_left,
    calls.OtherAccounts: _other_accounts,
    calls.DeadRows: _dead_rows,
    calls.Retry: _retry,
    calls.Drop: _drop,
    calls.Expire: _expire,
    calls.Forget: _forget,
    calls.HasRows: _has_rows,
    calls.TakeTurn: take_turn,
}
