"""The arguments and help of `diagnose`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable

DIAGNOSE: Final = """\
Find the calls that gave one customer two profiles, and say why.

LOG is a HAR file, the guard's decision log, or JSON lines of your own (docs/diagnose.md). Several logs, such as the
backend's and the browser's, are merged by time. The calls are replayed into a pretend Klaviyo, in the log's order and
in the orders that Klaviyo's delays allow. A cause is certain if the log's order alone makes it; otherwise the output
says what is assumed. Nothing is sent, and no header of a log is kept.

With --profile, in place of logs, Klaviyo is asked how this profile came to be: when, by which program's event, and what
the identity map knows of it. This needs a key with the scopes profiles:read, events:read and metrics:read. Nothing is
written.

exit codes: 0 no second profile; 1 a cause was found; 2 it could not look.
"""


def add_diagnose(command: ArgumentParser, add_map: Callable[[ArgumentParser], None]) -> None:
    """Add the arguments of `diagnose`."""
    command.add_argument("logs", nargs="*", metavar="LOG", help="the file of a log")
    command.add_argument("--format", choices=("har", "jsonl"), help="the logs' format, if it is not recognised")
    command.add_argument(
        "--profiles", nargs=2, metavar="ID", help="Klaviyo's ids of the two profiles that should be one"
    )
    command.add_argument(
        "--start", metavar="FILE", help="an export of profiles: the account as it was before the logs begin"
    )
    command.add_argument("--json", action="store_true", help="print the diagnosis as JSON")
    command.add_argument("--profile", metavar="ID", help="ask Klaviyo how this profile came to be; no logs")
    add_map(command)
