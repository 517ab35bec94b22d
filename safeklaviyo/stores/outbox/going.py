"""Which rows of a lane may go: those that share no name with an undone row of a lower id, in any lane.

Two operations ask: `Ready` when rows are read, and `FixRows` when the drain knows which customers they mean (H16 to
H18).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from safeklaviyo.stores.outbox.records import Fixed, Row
from safeklaviyo.stores.outbox.words import CHANGING, COLUMNS, as_json, holding_of, row_of, texts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeklaviyo.stores.outbox import calls
    from safeklaviyo.stores.outbox.records import Fix
    from safeklaviyo.stores.outbox.words import Steps

PAGE: Final = 1000
"""Rows that are read at once, at least."""


def is_held(call: Any) -> Steps[bool]:
    """Tell whether a drain still has its lane."""
    # In PostgreSQL this locks the lane's row, so no other drain can take the lane until the transaction ends.
    rows = yield (
        ("SELECT token FROM {lane} WHERE account = ? AND lane = ? AND token = ?{lock}"),
        (call.account, call.lane, call.token),
    )
    return bool(rows)


def ready(call: calls.Ready) -> Steps[tuple[Row, ...]]:
    """See `calls.Ready`."""
    # Step 1: rows of this lane that are not due yet. They are not read in step 2, but hold back later rows.
    holding = yield from _not_due(call)
    # Step 2: the rows that are due, in order, page by page until enough of them may go. With one page alone, a thousand
    # held rows in front would keep all others from going (H17).
    found: list[Row] = []
    after = 0
    while len(found) < call.limit:
        rows = yield (
            (
                f"SELECT {COLUMNS} FROM {{outbox}} WHERE account = ? AND lane = ? AND state = 'waiting'"  # noqa: S608 - own
                " AND due <= {now} AND id > ? ORDER BY id LIMIT ?"
            ),
            (call.account, call.lane, after, max(PAGE, call.limit)),
        )
        part = [row_of(row) for row in rows]
        # Step 3: rows of other lanes hold back later rows too, because one person's rows may be in two lanes (H18).
        names = sorted({name for row in part for name in row.names})
        yield from _hold_by_others(holding, names, call.lane)
        for row in part:
            # Step 4: a row that has to wait holds back every later row that shares a name with it (H16).
            if any(holding.get(name, row.id) < row.id for name in row.names):
                _hold(holding, row.names, row.id)
            elif len(found) < call.limit:
                found.append(row)
        if len(part) < max(PAGE, call.limit):
            break
        after = part[-1].id
    return tuple(found)


def _not_due(call: calls.Ready) -> Steps[dict[str, int]]:
    """Return the names that are held back by rows of the lane that are not due, each with the lowest id."""
    later = yield (
        ("SELECT id, names FROM {outbox} WHERE account = ? AND lane = ? AND state = 'waiting' AND due > {now}"),
        (call.account, call.lane),
    )
    holding: dict[str, int] = {}
    for number, names in later:
        _hold(holding, texts_of(names), number)
    return holding


def _hold(holding: dict[str, int], names: Sequence[str], number: int) -> None:
    """Note that a row holds back later rows with these names."""
    for name in names:
        holding[name] = min(holding.get(name, number), number)


def _hold_by_others(holding: dict[str, int], names: Sequence[str], lane: int) -> Steps[None]:
    if not names:
        return
    # Two ranges of the primary key for each name: all lanes but this one. In the usual case both are empty.
    sql = "SELECT name, min(id) FROM {name} WHERE name {in_texts} AND lane {which} GROUP BY name"
    for which, bounds in (("BETWEEN 0 AND ?", lane - 1), ("BETWEEN ? AND 1000", lane + 1)):
        rows = yield sql.replace("{which}", which), (as_json(names), bounds)
        for name, number in rows:
            _hold(holding, (name,), number)


def mark(call: calls.Mark) -> Steps[frozenset[int]]:
    """See `calls.Mark`."""
    yield from is_held(call)
    rows = yield (
        (
            "UPDATE {outbox} SET attempts = attempts + 1, unsure = 1 WHERE id {in_numbers} AND account = ?"
            " AND state = 'waiting'{held} RETURNING id"
        ),
        (as_json(call.ids), call.account, *holding_of(call)),
    )
    return frozenset(int(number) for (number,) in rows)


def fix_rows(call: calls.FixRows) -> Steps[Fixed | None]:
    """See `calls.FixRows`."""
    if not (yield from is_held(call)):
        return None
    ids = [row.id for row in call.rows]
    stored = yield "SELECT id, names, profile FROM {outbox} WHERE id {in_numbers}", (as_json(ids),)
    known = {int(number): (texts_of(names), profile) for number, names, profile in stored}
    # Step 1: write the names that are new to a row, such as those of the binding that it has turned out to mean. From
    # now on they hold back later rows.
    added: dict[int, list[str]] = {}
    for row in call.rows:
        names, profile = known.get(row.id, (row.names, row.profile))
        new = [name for name in row.names if name not in names]
        if new or profile != row.profile:
            added[row.id] = new
            yield from _write_fix(call, row, (*names, *new), new)
        if call.all_names:
            added[row.id] = list(row.names)
    # Step 2: look for earlier rows with one of these names, in any lane. They go first (H18).
    behind = yield from _behind(call, added, frozenset(ids))
    return Fixed(behind, (yield from _changing(call.rows)))


def _write_fix(call: calls.FixRows, row: Fix, names: Sequence[str], new: Sequence[str]) -> Steps[None]:
    yield (
        ("UPDATE {outbox} SET profile = ?, names = {json} WHERE id = ?{held}"),
        (row.profile, as_json(names), row.id, *holding_of(call)),
    )
    if new:
        yield (
            (
                "INSERT INTO {name}(name, lane, id) SELECT e.value, o.lane, o.id FROM {outbox} AS o, {names}"
                " WHERE o.id = ? ON CONFLICT DO NOTHING"
            ),
            (row.id,),
        )


def _behind(call: calls.FixRows, added: dict[int, list[str]], ids: frozenset[int]) -> Steps[frozenset[int]]:
    names = sorted({name for new in added.values() for name in new})
    if not names:
        return frozenset()
    rows = yield (
        (
            "SELECT name, min(id) FROM {name}"
            " WHERE name {in_texts} AND lane >= 0 AND NOT (id {in_numbers}) GROUP BY name"
        ),
        (as_json(names), as_json(sorted(ids))),
    )
    holding: dict[str, int] = {str(name): int(number) for name, number in rows}
    behind: set[int] = set()
    # In the order of ids: a row that waits holds back the later rows of this call.
    for row in sorted(call.rows, key=lambda each: each.id):
        if any(holding.get(name, row.id) < row.id for name in row.names):
            behind.add(row.id)
            _hold(holding, row.names, row.id)
    return frozenset(behind)


def _changing(rows: Sequence[Fix]) -> Steps[frozenset[int]]:
    marks = sorted({CHANGING + name for row in rows for name in row.names})
    found = yield "SELECT DISTINCT name FROM {name} WHERE name {in_texts} AND lane >= 0", (as_json(marks),)
    changing = {name for (name,) in found}
    return frozenset(row.id for row in rows if any(CHANGING + name in changing for name in row.names))
