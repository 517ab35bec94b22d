"""The arguments and the help of a worker, for the command and for Django's."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser

WORKER = """\
Deliver the rows of the outbox. Run as many workers as you like, on any number of hosts that reach its database. They
share the lanes, and one pace for each account.

Every few minutes a worker also finishes interrupted changes. Every hour it rechecks changed customers, and warns of
dead rows. It needs KLAVIYO_API_KEY, and warns at its start if there is none. It delivers the rows of one account: it
warns if rows of other accounts wait in the same outbox, and if the key is of another account. Under systemd
(Type=notify) it says when it is ready, that it is alive, and when it stops.

SIGTERM or Ctrl-C stops it after the runs in hand; a second one stops it at once. Its exit codes:

  0         it was told to stop, and did
  1         it could not begin
  3         it was told to stop, and a run took longer than --grace; its rows stay in the outbox
  143, 130  it was told twice
"""


def add_working(command: ArgumentParser) -> None:
    """Add the arguments of a worker, but for those that say where the outbox is."""
    command.add_argument("--threads", type=_positive, default=4, metavar="N", help="lanes drained at once (4)")
    command.add_argument(
        "--grace", type=_positive, default=40, metavar="SECONDS",
        help="how long the runs in hand may take after the first signal (40)",
    )  # fmt: skip
    command.add_argument("--health", metavar="FILE", type=_file, help="a file to write every 5 seconds; see --check")
    command.add_argument(
        "--check",
        metavar="FILE",
        type=_file,
        help="start no worker; exit with 0 if the one that writes this file is well, else with 1",
    )


def _file(text: str) -> str:
    # A variable of the shell that is not set gives an empty text, and a folder's path such as / has no file's name.
    if not Path(text).name:
        raise ArgumentTypeError("give the path of a file")
    return text


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ArgumentTypeError("give 1 or more")
    return number
