"""The arguments and help of the commands about duplicates that are there already: `audit` and `repair`."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable

EXPORTED: Final = (
    "external_id", "email", "profile_id", "phone_number", "first_name", "last_name", "consent", "suppressed", "sms",
    "created", "last_event",
)  # fmt: skip
"""The fields of an export, as `safeklaviyo.audit.Export` has them."""

AUDIT: Final = """\
Look for customers who are in Klaviyo twice, and say which of them the data prove to be one. Nothing is written to
Klaviyo.

By default the account is read, a page of a hundred profiles at a time. That needs a key with the scope profiles:read.
The identity map learns the customers on the way, as with `bindings learn`. After an interruption run it again within a
day, and it goes on. With --export a file that Klaviyo has exported is read instead. What is looked for:

  A1  an id without an email
  A2  one email in two spellings
  A3  one external id twice
  A4  one phone number twice: shown, never planned
  A5  a live profile on a former address (needs the map)
  A6  the map and Klaviyo disagree (needs the map)
  A7  an email-only twin of a customer (needs the map)
  A8  plus and dot variants of an address: shown, never planned
  A9  a placeholder in place of an identifier

What the data cannot show is reported as "not checked".

exit codes: 0 nothing found, or nothing new; 1 something was found; 2 it could not look.
"""

REPAIR: Final = """\
Merge the profiles that a plan of `audit --plan` names. A merge cannot be undone, so this is a dry run unless --apply is
given.

Read the plan first, and delete a merge that you doubt. Before each merge both profiles are read again. The merge is
skipped, and reported, if one of them has changed since the audit, if the rules of merges forbid it, or if a consent may
be lost. Both profiles are in the journal before the merge is sent. After an interruption run it again, and it goes on.

exit codes: 0 all is merged, or would be; 1 a merge was skipped; 2 it could not go on.
"""


def add_audit(command: ArgumentParser, add_map: Callable[[ArgumentParser], None]) -> None:
    """Add the arguments of `audit`."""
    source = command.add_mutually_exclusive_group()
    source.add_argument("--api", action="store_true", help="read the account (what is done without --export)")
    source.add_argument("--export", metavar="FILE", help="read an export of profiles: CSV, or JSON lines (.jsonl)")
    command.add_argument(
        "--bindings", metavar="WHERE",
        help="the map to compare with: a file of the shop's customers, as `bindings import` takes it, or `map` for the "
        "identity map of --store and --account. With --api the map is always compared",
    )  # fmt: skip
    command.add_argument(
        "--map", type=_mapping, action="append", default=[], metavar="FIELD=COLUMN",
        help="the export's column of a field, such as external_id=Kundennummer; no column leaves the field out. "
        f"The fields are {', '.join(EXPORTED)}",
    )  # fmt: skip
    command.add_argument("--encoding", metavar="NAME", help="the export's encoding, if it is not recognised")
    command.add_argument("--baseline", metavar="FILE", help="an earlier audit's JSON: only new findings count")
    command.add_argument("--plan", metavar="FILE", help="write the merges that the data prove to this file")
    command.add_argument("--report", metavar="FILE", help="write a page for a browser, with identifiers masked")
    command.add_argument("--reveal", action="store_true", help="write identifiers in full into the page")
    command.add_argument(
        "--json", metavar="FILE", nargs="?", const="-",
        help="write the audit as JSON, which a later one takes as --baseline, to this file, or to stdout",
    )  # fmt: skip
    add_map(command)


def add_repair(command: ArgumentParser, add_map: Callable[[ArgumentParser], None]) -> None:
    """Add the arguments of `repair`."""
    command.add_argument("plan", metavar="PLAN", help="the plan's file")
    command.add_argument("--apply", action="store_true", help="merge; otherwise only say what would be merged")
    command.add_argument("--journal", metavar="FILE", help="the journal; else PLAN.journal")
    add_map(command)


def _mapping(text: str) -> tuple[str, str]:
    field, mark, column = text.partition("=")
    if not mark or field not in EXPORTED:
        raise ArgumentTypeError(f"give FIELD=COLUMN; FIELD is one of {', '.join(EXPORTED)}")
    return field, column.strip()
