"""The command that tells why a customer has two profiles.

Decided here: the exit codes, 0 no second profile, 1 a cause was found, 2 it could not look.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from safeklaviyo.cli._console import complain, progress, say
from safeklaviyo.cli._map import open_client
from safeklaviyo.errors import ConfigurationError, SafeKlaviyoError

if TYPE_CHECKING:
    from argparse import Namespace
    from datetime import datetime

    from safeklaviyo.audit import Diagnosis

COULD_NOT = 2


def tell(arguments: Namespace) -> int:
    """Diagnose logs, or one profile."""
    try:
        if arguments.profile is None:
            return _of_logs(arguments)
        if arguments.logs or arguments.profiles or arguments.start or arguments.format:
            raise ConfigurationError("--profile asks Klaviyo, and takes no logs")
        return _of_profile(arguments)
    except (SafeKlaviyoError, OSError) as error:
        complain(f"{type(error).__name__}: {error}")
        return COULD_NOT


def _of_logs(arguments: Namespace) -> int:
    from safeklaviyo.audit import diagnose  # noqa: PLC0415 - it loads the simulator

    if not arguments.logs:
        raise ConfigurationError("give a LOG, or --profile ID")
    # Without a total: how many replays there are is known only when a cause is found.
    with progress("replaying", None) as show:
        found = diagnose(
            *arguments.logs,
            format=arguments.format,
            profiles=arguments.profiles,
            start=arguments.start,
            on_progress=lambda done, _: show(done),
        )
    if arguments.json:
        say(found.to_json())
    else:
        _tell(found, is_empty=arguments.start is None)
    return 0 if found.cause is None else 1


def _tell(found: Diagnosis, *, is_empty: bool) -> None:
    # To stderr, so that stdout has the diagnosis alone.
    for each in (*found.notes, *map(str, found.entries)):
        complain(each)
    say(f"{found.explanation}.")
    if found.cause is not None:
        say("")
        say(f"situation  {found.situation or 'none of the known ones'}")
        say(f"rule       {found.rule or 'none'}")
        say(f"certain    {'yes' if found.certain else 'no'}")
        for each in found.assumes:
            say(f"assumes    {each}")
        say("")
        for call, done in zip(found.calls, found.prevented, strict=True):
            mark = "*" if call is found.cause else " "
            say(f"{mark} {call.index:>6}  {_shown(call.time)}  {call.method:<6} {call.path}  {call.source}".rstrip())
            say(f"          through safeklaviyo: {done.partition(': ')[2]}")
    if found.skipped:
        complain(f"{found.skipped} entries could not be used")
    if is_empty:
        complain("the account is taken to be empty where the logs begin; --start loads it as it was")


def _shown(moment: datetime | None) -> str:
    return "-" * 19 if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S")


def _of_profile(arguments: Namespace) -> int:
    from safeklaviyo.audit._diagnosis.live import origin_of  # noqa: PLC0415 - of use to this command alone

    with open_client(arguments) as klaviyo:
        origin = origin_of(klaviyo, arguments.profile)
    facts = {
        "profile": origin.profile_id,
        "created": None if origin.created is None else origin.created.isoformat(),
        "first event": None if origin.first_event is None else origin.first_event.isoformat(),
        "metric": origin.metric,
        "integration": origin.integration,
        "made by that event": origin.made_by_event,
        "identity map": origin.in_map,
    }
    if arguments.json:
        say(json.dumps({name.replace(" ", "_"): value for name, value in facts.items()}))
        return 0
    for name, value in facts.items():
        shown = {True: "yes", False: "no", None: "-"}.get(value, value) if not isinstance(value, str) else value
        say(f"{name:<19} {shown}")
    return 0
