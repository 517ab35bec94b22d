"""The commands' names, arguments and help. Each names the function that runs it; none of these is imported here."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import TYPE_CHECKING, Any

from safeklaviyo._accounts import NAME, NO_NAME
from safeklaviyo._files.columns import FIELDS
from safeklaviyo._version import VERSION
from safeklaviyo.cli._auditing_arguments import AUDIT, REPAIR, add_audit, add_repair
from safeklaviyo.cli._bulk_arguments import IDENTIFY, TRACK, add_sending
from safeklaviyo.cli._diagnosing_arguments import DIAGNOSE, add_diagnose
from safeklaviyo.cli._gateway_arguments import GATEWAY, add_gateway
from safeklaviyo.cli._help import Paragraphs
from safeklaviyo.cli._outbox_arguments import add_outbox, add_outbox_place
from safeklaviyo.cli._places import store_argument
from safeklaviyo.cli._working_arguments import WORKER, add_working

if TYPE_CHECKING:
    from argparse import _SubParsersAction  # what add_subparsers returns has no public name
    from typing import TypeAlias

    Commands: TypeAlias = "_SubParsersAction[_Parser]"

_EPILOG = """\
exit codes:
  0    done
  1    it could not be done, or something is wrong (a row refused, a check failed, no such binding)
  2    called wrongly, or a package is missing
  130  Ctrl-C
  141  the reader of the output has gone

environment: KLAVIYO_API_KEY is the private key, SAFEKLAVIYO_STORE the identity map's URL, SAFEKLAVIYO_OUTBOX the
outbox's URL, KLAVIYO_BASE_URL a host in place of Klaviyo's.

A URL with a password does not belong on a command line. In place of any store's URL give env:NAME, for the environment
variable of that name, or file:PATH, for the file that holds it."""

_IMPORT = """\
Add the shop's customers to the identity map. Nothing is written to Klaviyo.

The file is CSV as shops export it, or JSON lines. Delimiter and encoding are recognised. The names in the header may be
in any case, and unknown columns are left out. stderr says which column was taken for which field. The fields:

  email                has to be there; all others may be missing
  external_id          the id that your calls give
  phone_number         left out if it is unusable
  profile_id           Klaviyo's own id
  former_emails        addresses that the customer had before, with | between them; in JSON lines a list
  former_external_ids  ids that the customer had before, in the same way

A thousand rows are one transaction, and each row is checked by itself:

  added      the row is new, or completes a customer
  unchanged  the map has it already. So an interrupted import can be run again; --resume skips the rows that are done
  refused    its line and the reason are reported on stderr; the other rows are added
  verified   with --verify: Klaviyo shows this very pair on a profile, so the first call about it needs no look-up

If a cell begins with ' and then = + - @ or another ', the first ' is left out, because `bindings export` adds it.
"""

_LEARN = """\
Fill the identity map from Klaviyo's own profiles, a page of a hundred at a time. Nothing is written to Klaviyo.

Needs a key with the scope profiles:read. After an interruption run it again: it goes on at the page where it stopped.
After the end the next run begins again. What becomes of a profile:

  added          the map learns the customer, or what it lacked; the first call about each reads the profile once
  unchanged      the map has it already
  refused        its id is spoilt, or it contradicts the map; stderr has the reason, and Klaviyo's id of the profile
  passed over    another call was writing about this customer
  id only        it has an external id and no email, so no call can name it
  without email  it has neither
"""

_EXPORT = """\
Write the customers of the identity map as `bindings import` reads them, without their former addresses.

An existing file is replaced only when the new one is complete. Only its owner may read the file. In CSV, a cell that a
spreadsheet would take for a formula, such as a phone number, gets a ' before it. JSON lines have each value as it is.
"""

_MIGRATE = """\
Create the missing tables of an identity map and of the outbox in PostgreSQL. No other command and no client creates
them. Other stores need no migration. The schema is the URL's parameter schema, as in
postgresql://host/shop?schema=klaviyo, or else safeklaviyo.

The outbox's tables are made beside the map's. If --outbox or SAFEKLAVIYO_OUTBOX names another database of PostgreSQL,
they are made there as well, wherever the map is.
"""

_COPY = """\
Copy an account's identity map from one store to another, and compare the two at the end, by count and by checksum.

FROM and TO have to be idle. Stop all programs that use FROM, call recover() of a client on it, and use TO only after
the copy is done. Nothing is copied while a call writes to one of them, or while an interrupted change is left in one. A
change in FROM during the copy makes the comparison fail.

What is copied:

  - the customers, and their former identifiers with the times;
  - the journal of their changes, from which recheck_changes() takes the customers to check;
  - the notes, which have the tombstones of erased customers.

What is not copied: leases and intents, and the journal's rows about customers who are no longer in the map.

TO has to be empty, but for what an earlier run has copied. So an interrupted copy can be run again; --resume skips what
is done. A customer that contradicts one in TO is refused.
"""


def parser() -> ArgumentParser:
    """Return the parser of the command line."""
    root = _Parser(prog="safeklaviyo", description="The identity-safe client for Klaviyo.", epilog=_EPILOG)
    root.add_argument("--version", action="version", version=f"safeklaviyo {VERSION}")
    commands = root.add_subparsers(metavar="COMMAND", required=True)
    _add_simulation(commands)
    _add_explain(commands)
    _add_bindings(commands)
    _add_store(commands)
    _add_sending(commands)
    _add_worker(commands)
    _add_gateway(commands)
    add_outbox(commands, _command, _add_map)
    _add_decisions(commands)
    _add_auditing(commands)
    _add_diagnosing(commands)
    _add_doctor(commands)
    return root


class _Parser(ArgumentParser):
    """A parser that fills the paragraphs of its texts."""

    def __init__(self, **settings: Any) -> None:
        # No abbreviations: a later option could make a script's abbreviation ambiguous.
        super().__init__(formatter_class=Paragraphs, allow_abbrev=False, **settings)


def _command(commands: Commands, name: str, does: str, runs: str, more: str | None = None) -> ArgumentParser:
    """Add a command.

    Args:
        does: One sentence, for the list of commands.
        runs: The module and the function, such as ``"_map.get"``.
        more: The text of the command's own help; else the sentence.
    """
    module, _, function = runs.partition(".")
    command = commands.add_parser(name, help=does, description=more or does)
    command.set_defaults(module=module, function=function)
    return command


def _add_simulation(commands: Commands) -> None:
    does = "Run a shop's day against a pretend Klaviyo: with plain calls, with the same guarded, and with safeklaviyo."
    demo = _command(commands, "demo", does, "_simulation.demo", f"{does}\nNeeds neither a key nor the network.")
    demo.add_argument("--customers", type=_customers, default=20, metavar="N", help="the number of customers (20)")
    demo.add_argument("--json", action="store_true", help="print the numbers as JSON")
    simulate = _command(
        commands, "simulate", "Serve a pretend Klaviyo on this machine until Ctrl-C.", "_simulation.simulate"
    )
    simulate.add_argument("--port", type=_port, default=8000, help="the port; 0 for any free one (8000)")
    simulate.add_argument(
        "--legacy",
        choices=("alive", "gone"),
        default="gone",
        help="how the retired Track, Identify and People endpoints answer: as they did, or 410 (gone)",
    )
    simulate.add_argument("--rate-limits", action="store_true", help="answer 429 to more requests than Klaviyo allows")


def _add_explain(commands: Commands) -> None:
    does = "Print what a call about this person would do, and by which rule; reads the identity map only."
    explain = _command(commands, "explain", does, "_map.explain")
    _add_person(explain)
    explain.add_argument("--phone", help="a phone number; it never decides who the customer is")
    _add_map(explain)


def _add_bindings(commands: Commands) -> None:
    does = "Read, fill and export the identity map."
    group = commands.add_parser("bindings", help=does, description=does)
    verbs = group.add_subparsers(metavar="COMMAND", required=True)
    _add_import(verbs)
    learn = _command(verbs, "learn", "Fill the map from Klaviyo's own profiles.", "_learning.learn", _LEARN)
    _add_map(learn)
    export = _command(
        verbs, "export", "Write the map's customers as CSV or JSON lines.", "_transfer.export_file", _EXPORT
    )
    _add_file(export, "the file to write; - for stdout")
    _add_map(export)
    get = _command(verbs, "get", "Print one customer of the map as JSON.", "_map.get")
    does = "Remove one customer from the map, former addresses included; the profile in Klaviyo stays."
    for verb in (get, _command(verbs, "remove", does, "_map.remove")):
        _add_person(verb)
        _add_map(verb)


def _add_import(verbs: Commands) -> None:
    command = _command(verbs, "import", "Add customers from CSV or JSON lines.", "_transfer.import_file", _IMPORT)
    _add_file(command, "the file to read; - for stdin")
    command.add_argument(
        "--map", type=_mapping, action="append", default=[], metavar="FIELD=COLUMN",
        help="the column of a field, such as email=E-Mail; no column, as in external_id=, leaves the field out",
    )  # fmt: skip
    command.add_argument("--encoding", metavar="NAME", help="the file's encoding, if it is not recognised")
    command.add_argument(
        "--strip-apostrophes", action="store_true",
        help="remove a ' from the beginning of each cell, as Shopify's export has before ids",
    )  # fmt: skip
    command.add_argument(
        "--phone-region", metavar="CODE",
        help="the country of phone numbers without a country code, such as DE; needs the extra phone",
    )  # fmt: skip
    _add_import_modes(command)
    command.add_argument(
        "--refused", metavar="FILE", help="write the refused rows to this file, each with its line and the reason"
    )
    _add_map(command)


def _add_import_modes(command: ArgumentParser) -> None:
    """Add the options that exclude each other: how rows are checked, and what a run writes."""
    checked = command.add_mutually_exclusive_group()
    checked.add_argument(
        "--verify", action="store_true",
        help="ask Klaviyo about a hundred rows at a time; needs a key. A row that Klaviyo contradicts is refused",
    )  # fmt: skip
    checked.add_argument(
        "--trusted", action="store_true",
        help="the rows were checked with Klaviyo just now; otherwise each customer is checked on first use",
    )  # fmt: skip
    run = command.add_mutually_exclusive_group()
    run.add_argument("--dry-run", action="store_true", help="say what would be added and refused, and write nothing")
    run.add_argument(
        "--resume", action="store_true",
        help="save the progress in FILE.progress, and go on from there if that file exists",
    )  # fmt: skip


def _add_store(commands: Commands) -> None:
    does = "Create the tables of the identity map and the outbox, or copy the map to another store."
    group = commands.add_parser("store", help=does, description=does)
    verbs = group.add_subparsers(metavar="COMMAND", required=True)
    migrate = _command(verbs, "migrate", "Create the tables in PostgreSQL.", "_store.migrate", _MIGRATE)
    migrate.add_argument("--store", metavar="URL", type=store_argument, help="the identity map; else SAFEKLAVIYO_STORE")
    add_outbox_place(migrate)
    migrate.add_argument("--schema", metavar="NAME", help="the map's schema, in place of the URL's")
    migrate.add_argument("--sql", action="store_true", help="only print the SQL, for your own migrations")
    copy = _command(verbs, "copy", "Copy an account's map from one store to another.", "_store.copy", _COPY)
    for name, metavar, does in (("source", "FROM", "has the map"), ("target", "TO", "gets it")):
        copy.add_argument(name, metavar=metavar, type=store_argument, help=f"the URL of the store that {does}")
    copy.add_argument("--account", metavar="ID", required=True, help="the map's account: the six-character public key")
    copy.add_argument("--resume", action="store_true", help="go on where an earlier copy from the same FROM stopped")


def _add_decisions(commands: Commands) -> None:
    does = "Summarise the guard's decision log: what it has changed, or would have, by rule and by line of code."
    command = _command(commands, "decisions", does, "_decisions.decisions", f"{does}\nNothing is sent or changed.")
    command.add_argument("log", metavar="LOG", help="the file that the guard has written")
    command.add_argument(
        "--sites", type=_customers, default=20, metavar="N", help="how many lines of code to show (20)"
    )
    command.add_argument("--json", action="store_true", help="print all of it as JSON")


def _add_sending(commands: Commands) -> None:
    track = _command(commands, "track", "Record the events of a file.", "_bulk.track", TRACK)
    add_sending(track, of_events=True, add_file=_add_file)
    identify = _command(
        commands, "identify", "Write a file's properties onto the customers' profiles.", "_bulk.identify", IDENTIFY
    )
    add_sending(identify, of_events=False, add_file=_add_file)
    for command in (track, identify):
        _add_map(command)


def _add_worker(commands: Commands) -> None:
    does = "Deliver the rows of the outbox until told to stop."
    command = _command(commands, "worker", does, "_worker.worker", WORKER)
    add_working(command)
    add_outbox_place(command)
    _add_map(command)


def _add_gateway(commands: Commands) -> None:
    does = "Guard the calls of shops in any language, as a server between them and Klaviyo."
    command = _command(commands, "gateway", does, "_gateway.gateway", GATEWAY)
    add_gateway(command)
    _add_map(command)


def _add_auditing(commands: Commands) -> None:
    does = "Find the customers who are in Klaviyo twice already."
    add_audit(_command(commands, "audit", does, "_auditing.look", AUDIT), _add_map)
    does = "Merge the profiles that a plan of `audit` names."
    add_repair(_command(commands, "repair", does, "_auditing.mend", REPAIR), _add_map)


def _add_diagnosing(commands: Commands) -> None:
    does = "Find the calls that gave one customer two profiles, and say why."
    add_diagnose(_command(commands, "diagnose", does, "_diagnosing.tell", DIAGNOSE), _add_map)


def _add_doctor(commands: Commands) -> None:
    does = "Check the key, the account, the host, the clock, the map, the outbox and the versions; prints no secret."
    command = _command(commands, "doctor", does, "_doctor.doctor")
    add_outbox_place(command)
    _add_map(command)


def _add_person(command: ArgumentParser) -> None:
    command.add_argument("--external-id", metavar="ID", help="the shop's own id of the customer")
    command.add_argument("--email", help="an email address of the customer")


def _add_file(command: ArgumentParser, help_text: str) -> None:
    command.add_argument("file", metavar="FILE", help=help_text)
    command.add_argument(
        "--format",
        choices=("csv", "jsonl"),
        help="the file's format; without it the ending of its name decides, else CSV",
    )


def _add_map(command: ArgumentParser) -> None:
    command.add_argument(
        "--store",
        metavar="URL",
        type=store_argument,
        help="the identity map; else SAFEKLAVIYO_STORE, else the file in your state folder",
    )
    command.add_argument(
        "--account",
        metavar="ID",
        type=_account,
        help="the map's account: the six-character public key; else Klaviyo is asked, with KLAVIYO_API_KEY",
    )
    command.add_argument(
        "--base-url", metavar="URL", help="a host in place of Klaviyo's; else KLAVIYO_BASE_URL, else Klaviyo's"
    )


def _account(text: str) -> str:
    # Here and not by the client: a variable of the shell that is not set is a wrong call, and no broken installation.
    if not NAME.fullmatch(text):
        raise ArgumentTypeError(NO_NAME)
    return text


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise ArgumentTypeError("give a number from 0 to 65535")
    return number


def _mapping(text: str) -> tuple[str, str]:
    field, mark, column = text.partition("=")
    if not mark or field not in FIELDS:
        raise ArgumentTypeError(f"give FIELD=COLUMN; FIELD is one of {', '.join(FIELDS)}")
    return field, column.strip()


def _customers(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1000:
        raise ArgumentTypeError("give a number from 1 to 1000")
    return number
