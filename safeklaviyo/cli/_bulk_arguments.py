"""The arguments and help of the commands that send files of events and of people: `track` and `identify`."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, Final

from safeklaviyo._files.records import OF_EVENT, OF_PERSON

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable, Collection

_COMMON: Final = """\
The file is CSV as shops export it, or JSON lines. Delimiter and encoding are recognised. Empty cells are left out.
A row that cannot be sent as it stands is refused, with its line and the reason; all other rows are sent.

It needs KLAVIYO_API_KEY. Ctrl-C and SIGTERM end it within seconds, and say how to go on. Exit codes: 0 all rows were
accepted; 1 some were refused, or may not have arrived; 130 and 143 after a signal.
"""

TRACK: Final = f"""\
Record the events of a file, a thousand at a time. The columns, in any case and order:

  external_id, email  one of them has to be there
  event               the name of the event; else --event
  unique_id           the event's key; else one from the file's content and the line: a second run doubles no event
  time                ISO 8601 with an offset, or unix seconds; else now
  value, value_currency, phone_number

Every other column is a property of the event, as text; --number says which ones hold numbers. A line of JSON has the
arguments of `track`; other keys are properties.

{_COMMON}"""

IDENTIFY: Final = f"""\
Write the properties of a file onto the customers' profiles, a thousand at a time. The columns, in any case and order:

  external_id, email  one of them has to be there
  phone_number        attached if the profile has none

Every other column is a property, as text; --number says which ones hold numbers. first_name, city and the like are
Klaviyo's own. A line of JSON has the arguments of `identify`; other keys are properties.

{_COMMON}"""


def add_sending(command: ArgumentParser, *, of_events: bool, add_file: Callable[[ArgumentParser, str], None]) -> None:
    """Add the arguments of `track` or `identify`."""
    add_file(command, "the file to read; - for stdin")
    if of_events:
        command.add_argument("--event", metavar="NAME", help="the name of every event, if no column has it")
        command.add_argument(
            "--backfill", action="store_true", help="the events are history: they start no flows in Klaviyo"
        )
    command.add_argument(
        "--map", type=_mapping(OF_EVENT if of_events else OF_PERSON), action="append", default=[],
        metavar="FIELD=COLUMN",
        help="the column of a field, such as email=E-Mail; no column, as in external_id=, leaves the field out",
    )  # fmt: skip
    command.add_argument("--number", action="append", default=[], metavar="COLUMN", help="a column with numbers")
    command.add_argument("--encoding", metavar="NAME", help="the file's encoding, if it is not recognised")
    command.add_argument(
        "--strip-apostrophes", action="store_true",
        help="remove a ' from the beginning of each cell, as Shopify's export has before ids",
    )  # fmt: skip
    run = command.add_mutually_exclusive_group()
    run.add_argument(
        "--dry-run", action="store_true", help="say what would be sent and refused; send nothing, and write nothing"
    )
    run.add_argument(
        "--resume", action="store_true",
        help="save the progress in FILE.progress, and go on from there if that file exists",
    )  # fmt: skip
    command.add_argument(
        "--refused", metavar="FILE", help="write the refused rows to this file, each with its line and the reason"
    )


def _mapping(fields: Collection[str]) -> Callable[[str], tuple[str, str]]:
    def _parse(text: str) -> tuple[str, str]:
        name, mark, column = text.partition("=")
        if not mark or name not in fields:
            raise ArgumentTypeError(f"give FIELD=COLUMN; FIELD is one of {', '.join(fields)}")
        return name, column.strip()

    return _parse
