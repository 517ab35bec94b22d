"""The commands about the outbox's parked rows.

Decided here: which parts of a row are shown. Identifiers are masked and values left out, unless the user asks to see
them.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from safeklaviyo._flows.outbox.keep import drop_rows, try_again
from safeklaviyo.cli._console import complain, say
from safeklaviyo.cli._map import open_client
from safeklaviyo.identity import mask, mask_within

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

    from safeklaviyo.outboxes import DeadRow

_KEPT = frozenset(
    {"name", "time", "channels", "list_id", "value_currency", "historical", "resubscribe", "merges", "backfill"}
)
"""The fields of a row with values that say nothing about a person, once addresses and numbers in them are masked."""
_OF_SHOP = frozenset({"attributes", "properties", "append", "unappend"})
"""The fields of a row with keys of the shop's own, which may be called as one of ours is: a customer's ``name``."""


def list_rows(arguments: Namespace) -> int:
    """Print a line for each parked row, and how many there are."""
    with open_client(arguments) as klaviyo:
        for row in klaviyo.outbox.dead():
            rule = "" if row.rule is None else f" ({row.rule})"
            say(f"{row.id}  {row.time.isoformat()}  {_what(row)}  {_who(row)}  {row.error}{rule}: {row.message}")
        counted = klaviyo.outbox.counts()
    say(f"{counted.dead} parked, {counted.waiting} waiting")
    return 0


def show(arguments: Namespace) -> int:
    """Print one parked row as JSON."""
    with open_client(arguments) as klaviyo:
        for row in klaviyo.outbox.dead():
            if row.id == arguments.id:
                say(_text(row, reveal=arguments.reveal))
                return 0
    complain("no row of that number is parked")
    return 1


def retry(arguments: Namespace) -> int:
    """Put parked rows at the end of the queue, and say which of them were not."""
    with open_client(arguments) as klaviyo:
        retried = klaviyo._shell.run(try_again, tuple(arguments.ids), arguments.rule)  # noqa: SLF001 - it tells more
    say(f"{retried.again} will be tried again")
    if retried.superseded:
        why = "a later change of the same customer was made since, so these stay parked; if that is right, drop them"
        complain(f"{why}: {_listed(retried.superseded)}")
    if retried.missing:
        by_rule = "" if arguments.rule is None else ", or not refused by that rule"
        complain(f"not parked{by_rule}, see `safeklaviyo outbox list`: {_listed(retried.missing)}")
    found = retried.again + len(retried.superseded)
    if arguments.rule is not None and not arguments.ids and not found:
        complain("no row that was refused by that rule is parked, see `safeklaviyo outbox list`")
        return 1
    return 1 if retried.superseded or retried.missing else 0


def drop(arguments: Namespace) -> int:
    """Delete parked rows for good, and say which were not deleted. Rows that wait are deleted only on request."""
    ids = tuple(arguments.ids)
    with open_client(arguments) as klaviyo:
        gone = klaviyo._shell.run(drop_rows, ids, also_waiting=arguments.waiting)  # noqa: SLF001 - it tells which
    say(f"{len(gone)} deleted")
    missing = sorted(set(ids) - gone)
    if not missing:
        return 0
    # Whether it waits is not looked up: by the time that is read, it may have been delivered or parked.
    why = "there are no rows of these numbers" if arguments.waiting else "not parked, so not deleted"
    complain(f"{why}: {_listed(missing)}")
    return 1


def _listed(ids: Iterable[int]) -> str:
    return ", ".join(map(str, ids))


def export(arguments: Namespace) -> int:
    """Write the parked rows to a file that its owner alone may read, one JSON object a line."""
    # Made with its mode at once: between a plain `open` and a `chmod` others could read the file.
    path = Path(arguments.file)
    number = 0
    with (
        open_client(arguments) as klaviyo,
        os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file,
    ):
        for number, row in enumerate(klaviyo.outbox.dead(), 1):  # noqa: B007 - the last number is how many there were
            file.write(_text(row, reveal=arguments.reveal) + "\n")
    say(f"{number} written")
    return 0


def _what(row: DeadRow) -> str:
    """Return the verb, and of an event its name, by which an operator recognises the row."""
    event = row.payload.get("event")
    return row.verb if event is None else f'{row.verb} "{mask_within(event["name"])}"'


def _who(row: DeadRow) -> str:
    claim: dict[str, Any] = row.payload["claim"]
    named = [claim[kind] for kind in ("external_id", "email", "phone_number") if claim[kind] is not None]
    # Masked even here: a terminal's lines end in logs and tickets (P8).
    return " ".join(mask(each) for each in named)


def _text(row: DeadRow, *, reveal: bool) -> str:
    shown = asdict(row) | {"time": row.time.isoformat()}
    if not reveal:
        shown["payload"] = _hidden(shown["payload"])
        shown["unique_id"] = None if row.unique_id is None else mask(row.unique_id)
    return json.dumps(shown, ensure_ascii=False)


def _hidden(value: object, key: str = "", kept: frozenset[str] = _KEPT) -> object:
    """Return a value with masked texts and numbers, except those that say nothing about a person."""
    if isinstance(value, dict):
        within = frozenset[str]() if key in _OF_SHOP else kept
        fields = cast("dict[str, object]", value)
        # The keys of a property stay, so that the row can be recognised. Its values may be personal.
        return {mask_within(name): _hidden(each, name, within) for name, each in fields.items()}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, list):
        return [_hidden(each, key, kept) for each in cast("list[object]", value)]
    if key in kept:
        return mask_within(value) if isinstance(value, str) else value
    return mask(str(value))
