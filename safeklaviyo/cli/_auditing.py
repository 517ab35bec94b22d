"""The commands that look for duplicates, and mend those that the data prove.

Decided here: the exit codes, which a scheduled job reads: 0 nothing new, 1 findings, 2 it could not look.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from safeklaviyo.audit import Export, audit, repair
from safeklaviyo.cli._console import complain, progress, require, say
from safeklaviyo.cli._map import open_client
from safeklaviyo.errors import ConfigurationError, SafeKlaviyoError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from safeklaviyo import Klaviyo, Progress
    from safeklaviyo.audit import Audit, RepairReport

COULD_NOT = 2


def look(arguments: Namespace) -> int:
    """Audit an account or an export."""
    try:
        with ExitStack() as opened:
            # Before the account is read, which may take an hour: a report that cannot be made is known now.
            if arguments.report is not None:
                require("jinja2", extra="report")
            found = opened.enter_context(_audited(arguments, opened))
            _write(found, arguments)
            return 1 if len(found.new) else 0
    except (SafeKlaviyoError, OSError) as error:
        return _failed(error)


def mend(arguments: Namespace) -> int:
    """Carry out a plan, or say what would be done."""
    done = 0

    def _on_progress(reached: Progress) -> None:
        nonlocal done
        done = reached.done
        show(done)

    try:
        with open_client(arguments) as klaviyo, progress("repairing", None) as show:
            # A deadline is for one person; a merge may wait long for Klaviyo.
            endless = klaviyo.with_options(deadline=None)
            dry_run, journal = not arguments.apply, arguments.journal
            report = repair(endless, arguments.plan, dry_run=dry_run, journal=journal, on_progress=_on_progress)
    except (KeyboardInterrupt, SafeKlaviyoError, OSError) as error:
        # Not for an error before the first merge: then there is nothing to go on with.
        if done:
            complain(f"stopped after {done} merges of the plan; run it again to go on")
        if isinstance(error, KeyboardInterrupt):
            raise
        return _failed(error)
    _tell(report)
    return 1 if report.skipped else 0


def _audited(arguments: Namespace, opened: ExitStack) -> Audit:
    is_account = arguments.export is None
    if is_account and arguments.map:
        raise ConfigurationError("--map is about the columns of an --export")
    klaviyo: Klaviyo | None = None
    if is_account or arguments.bindings == "map":
        klaviyo = opened.enter_context(open_client(arguments)).with_options(deadline=None)
    bindings = klaviyo if arguments.bindings == "map" else arguments.bindings
    show = opened.enter_context(progress("reading", None))
    export = None if is_account else Export(arguments.export, dict(arguments.map), arguments.encoding)
    source = export or klaviyo
    assert source is not None
    return audit(source, bindings=bindings, baseline=arguments.baseline, on_progress=_told(show))


def _write(found: Audit, arguments: Namespace) -> None:
    """Write the files that were asked for, and the summary: to stderr if stdout has the JSON."""
    if arguments.plan is not None:
        found.plan().write(arguments.plan)
    if arguments.report is not None:
        found.report(arguments.report, reveal=arguments.reveal)
    if arguments.json == "-":
        sys.stdout.writelines(found.json_parts())
        complain(found.to_text().rstrip())
        return
    if arguments.json is not None:
        found.write_json(Path(arguments.json))
    say(found.to_text().rstrip())


def _tell(report: RepairReport) -> None:
    for each in report.results:
        if each.status == "skipped":
            complain(f"{each.rule} {each.source_id} into {each.into_id}: {each.reason}")
    if report.dry_run:
        would = report.count("would_merge")
        say(f"would merge {would}, would skip {report.skipped}; a dry run: nothing was written. --apply merges")
        return
    say(f"merged {report.merged}, requested {report.requested}, skipped {report.skipped}")
    complain(f"the journal is in {report.journal}")


def _told(show: Callable[[int], None]) -> Callable[[Progress], object]:
    return lambda reached: show(reached.done)


def _failed(error: Exception) -> int:
    complain(f"{type(error).__name__}: {error}")
    return COULD_NOT
