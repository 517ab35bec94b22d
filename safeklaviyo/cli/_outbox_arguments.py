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
Print the parked rows of the outbox, each with the reason for which the rules or Klaviyo have refused it. Identifiers
are masked.
"""
_MASKED = """\
Values are masked, and so are addresses and phone numbers in the names of events and the keys of properties.
"""
_SHOW = f"""\
Print one parked row as JSON. {_MASKED}"""
_EXPORT = f"""\
Write the parked rows as JSON lines. {_MASKED}"""
_RETRY = """\
Put parked rows at the end of the queue, with their old times. Without numbers, all of them are put there. A change of
an address or a consent stays parked if a later one of the same customer was made since.
"""
_DROP = """\
Delete parked rows for good. A row that still waits was not carried out: it is deleted only with --waiting.
"""


def add_outbox(commands: Commands, adding: Adding, add_map: Callable[[ArgumentParser], None]) -> None:
    """Add the commands."""
    does = "Look at the outbox's parked rows, try them again, or drop them."
    group = commands.add_parser("outbox", help=does, description=does)
    verbs: Any = group.add_subparsers(metavar="COMMAND", required=True)
    made = [adding(verbs, "list", "Print the parked rows.", "_outbox.list_rows", _LIST)]
    show = adding(verbs, "show", "Print one parked row as JSON.", "_outbox.show", _SHOW)
    show.add_argument("id", type=int, metavar="ID", help="the row's number")
    retry = adding(verbs, "retry", "Put parked rows at the end of the queue.", "_outbox.retry", _RETRY)
    retry.add_argument("ids", type=int, nargs="*", metavar="ID", help="the rows' numbers; none for all")
    retry.add_argument("--rule", metavar="RULE", help="only rows that this rule has refused, such as R6")
    drop = adding(verbs, "drop", "Delete parked rows for good.", "_outbox.drop", _DROP)
    drop.add_argument("ids", type=int, nargs="+", metavar="ID", help="the rows' numbers")
    drop.add_argument("--waiting", action="store_true", help="delete rows that wait, too: they are never carried out")
    export = adding(verbs, "export", "Write the parked rows as JSON lines.", "_outbox.export", _EXPORT)
    export.add_argument("file", metavar="FILE", help="the file to write; only its owner may read it")
    for each in (show, export):
        each.add_argument("--reveal", action="store_true", help="show personal data in full, not masked")
    for each in (*made, show, retry, drop, export):
        add_outbox_place(each)
        add_map(each)


def add_outbox_place(command: ArgumentParser) -> None:
    """Add the argument that says where the outbox is."""
    command.add_argument(
        "--outbox",
        metavar="URL",
        type=store_argument,
        help="the outbox; else SAFEKLAVIYO_OUTBOX, else the map's database",
    )
