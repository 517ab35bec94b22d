"""The arguments of the commands about the outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeklaviyo.cli._places import store_argument

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable

    from safeklaviyo.cli._arguments import Commands

    Adding = Callable[..., ArgumentParser]

_LIST = """\
Print the rows of the outbox that were parked, because the rules or Klaviyo have refused them, with what refused them.
Identifiers are masked.
"""
_RETRY = """\
Put parked rows at the end of the queue, with their old times; none named: all. A change of an address or a consent is
left parked if a later one of the same customer was made since.
"""


def add_outbox(commands: Commands, adding: Adding, add_map: Callable[[ArgumentParser], None]) -> None:
    """Add the commands."""
    group = commands.add_parser("outbox", help="Look at the outbox's parked rows, try them again, or drop them.")
    verbs: Any = group.add_subparsers(metavar="COMMAND", required=True)
    made = [adding(verbs, "list", "Print the parked rows.", "_outbox.list_rows", _LIST)]
    show = adding(verbs, "show", "Print one parked row as JSON.", "_outbox.show")
    show.add_argument("id", type=int, metavar="ID", help="its number")
    retry = adding(verbs, "retry", "Put parked rows at the end of the queue.", "_outbox.retry", _RETRY)
    retry.add_argument("ids", type=int, nargs="*", metavar="ID", help="their numbers; else all")
    retry.add_argument("--rule", metavar="RULE", help="only those that this rule has refused, such as R6")
    drop = adding(verbs, "drop", "Delete rows for good.", "_outbox.drop")
    drop.add_argument("ids", type=int, nargs="+", metavar="ID", help="their numbers")
    export = adding(verbs, "export", "Write the parked rows as JSON lines.", "_outbox.export")
    export.add_argument("file", metavar="FILE", help="the file to write, for its owner alone")
    for each in (show, export):
        each.add_argument("--reveal", action="store_true", help="with all personal data, not masked")
    for each in (*made, show, retry, drop, export):
        each.add_argument(
            "--outbox", metavar="URL", type=store_argument, help="else SAFEKLAVIYO_OUTBOX, else the map's database"
        )
        add_map(each)
