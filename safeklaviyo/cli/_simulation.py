"""The commands that need no Klaviyo: the demonstration, and the simulator as a server."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from threading import Event
from typing import TYPE_CHECKING, Final

from safeklaviyo.cli._console import complain, require, say

if TYPE_CHECKING:
    from argparse import Namespace

    from safeklaviyo.demo import Outcome
    from safeklaviyo.demo.interruption import Interruption, State

_QUEUE_LAG: Final = 0.5

_ROWS: Final = {
    "requests": "requests made",
    "profiles": "profiles in Klaviyo",
    "complete": "customers whole on a profile",
    "duplicates": "duplicate profiles",
    "id_only": "profiles with id, no email",
    "mixed": "profiles of two customers",
    "sent": "events that happened",
    "recorded": "events recorded",
    "lost": "events lost",
    "doubled": "events recorded twice",
    "misplaced": "events on another's profile",
}


def demo(arguments: Namespace) -> int:
    """Run the shop's day in each way, then a change of email that a kill interrupts, and print what is left."""
    require("uvicorn", *(() if arguments.json else ("rich",)), extra="server")
    from safeklaviyo.demo import run  # noqa: PLC0415 - loaded where it is used
    from safeklaviyo.demo.interruption import run as interrupted  # noqa: PLC0415 - as above

    return report(run(arguments.customers), interrupted(), as_json=arguments.json)


def report(outcome: Outcome, interrupted: Interruption, *, as_json: bool) -> int:
    """Print the results of the runs; 1 if the run through `Klaviyo` has a fault."""
    # The demonstration is also a test that a shop can run: a fault makes the exit code 1.
    is_clean = outcome.safe.is_clean(outcome.customers) and interrupted.is_clean and _is_guarded(outcome)
    if as_json:
        say(json.dumps({**asdict(outcome), "interruption": asdict(interrupted), "clean": is_clean}))
    else:
        _print_table(outcome)
        _print_interruption(interrupted)
    if not is_clean:
        complain("safeklaviyo left something behind that it should not have")
    return 0 if is_clean else 1


def _is_guarded(outcome: Outcome) -> bool:
    """Whether observing has changed nothing, and guarding has left each customer and each event as they should be."""
    guarded = outcome.guarded
    return outcome.observed == outcome.raw and guarded.is_clean(outcome.customers)


def simulate(arguments: Namespace) -> int:
    """Serve the simulator until Ctrl-C."""
    require("uvicorn", extra="server")
    from safeklaviyo.testing import KlaviyoSimulator  # noqa: PLC0415 - the simulator only where it is used

    simulator = KlaviyoSimulator(
        legacy=arguments.legacy, rate_limits=arguments.rate_limits, clock="real", queue_lag=_QUEUE_LAG
    )
    with simulator.serve(arguments.port) as url:
        say(f"a pretend Klaviyo listens on {url} until Ctrl-C")
        say(f'Klaviyo("pk_test", base_url="{url}")   # any key that begins with pk_')
        say(f"KLAVIYO_API_KEY=pk_test safeklaviyo doctor --base-url {url}")
        # A script that starts the simulator in the background waits for the address.
        sys.stdout.flush()
        return int(Event().wait())  # for ever, until Ctrl-C


def _print_table(outcome: Outcome) -> None:
    from rich.console import Console  # noqa: PLC0415 - an extra
    from rich.table import Table  # noqa: PLC0415 - an extra

    table = Table(title=f"what the day of {outcome.customers} customers left behind in Klaviyo")
    table.add_column("counted in the simulator")
    sides = {"plain HTTP": outcome.raw, "observed": outcome.observed, "guarded": outcome.guarded}
    counted = {name: asdict(side) for name, side in (sides | {"safeklaviyo": outcome.safe}).items()}
    for name in counted:
        table.add_column(name, justify="right")
    for name, words in _ROWS.items():
        table.add_row(words, *(str(side[name]) for side in counted.values()))
    Console().print(table)
    say("Observed and guarded are the same plain calls through `safeklaviyo.guard`. They have no unique_id, so Klaviyo")
    say("counts one for each name, customer and second, and again what is repeated in another second. Guarded, each")
    say('event got a unique_id of its content (unique_id="from_content"), and the same one when the shop repeated it.')
    say(f"{outcome.parked} had only an unknown id: they waited in the outbox until the customer had signed up.")
    say(f"Events that safeklaviyo refused at first, because only an unknown id was given: {outcome.postponed}.")
    say("The shop repeated them under the same unique_id once the customer was known.")


def _print_interruption(interrupted: Interruption) -> None:
    say(
        f"\nThen a process changed a customer's email and was killed in the middle (exit code {interrupted.exit_code}):"
    )
    say(f"  after the kill         {_words(interrupted.after_kill)}")
    say(f"  another's recover()    {', '.join(interrupted.recovered)}")
    say(f"  after that             {_words(interrupted.after_recovery)}")
    landed = "the customer's one profile" if interrupted.is_late_call_right else "another profile"
    say(f"  a late call with the old email was recorded on {landed}.")


def _words(state: State) -> str:
    new, old = "the new email", "the old email"
    shown, mapped = (new if state.is_in_klaviyo else old), (new if state.is_in_map else old)
    return f"Klaviyo shows {shown}, the map says {mapped}, {state.profiles} profile"
