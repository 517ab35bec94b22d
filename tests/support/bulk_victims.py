"""What processes do that are going to be killed while they send many rows: a verb, or a command on a file."""

from __future__ import annotations

import os
import signal
from itertools import count
from typing import TYPE_CHECKING, Any

from safeklaviyo import Klaviyo, Policy, RetryPolicy
from safeklaviyo._runtime.shell import Shell
from safeklaviyo.cli import main
from support.flows import Send, StoreEffect

if TYPE_CHECKING:
    from collections.abc import Callable

ACCOUNT = "SiMuLa"
LEASE = 0.2
TIMEOUT = 2.0
ROWS = 40
PEOPLE = 8
BEGAN = 1_799_000_000


def row(number: int) -> dict[str, Any]:
    """Return one of the events: of eight customers, of whom the map knows half."""
    who = number % PEOPLE
    return {
        "event": "Placed Order",
        "external_id": f"c-{who}",
        "email": f"c{who}@shop.test",
        "time": BEGAN + number,
        "unique_id": f"order-{number}",
        "properties": {"number": number},
    }


def person(number: int) -> dict[str, Any]:
    """Return a row about one of forty customers, of whom the map knows half."""
    return {"external_id": f"c-{number}", "email": f"c{number}@shop.test", "properties": {"points": number}}


def opened(url: str, path: str) -> Klaviyo:
    """Open a client as each process has its own: on the shared map, with a short patience."""
    return Klaviyo(
        "pk_victim", account=ACCOUNT, store=f"sqlite:///{path}", base_url=url, timeout=TIMEOUT,
        policy=Policy(lease=LEASE, wait=10.0, consent_wait=5.0), retry=RetryPolicy(max_attempts=1), deadline=None,
    )  # fmt: skip


def track(url: str, path: str, _file: str) -> None:
    """Send the events by the verb."""
    with opened(url, path) as k:
        report = k.track_many(map(row, range(ROWS)))
    assert ROWS == report.accepted, report


def identify(url: str, path: str, _file: str) -> None:
    """Send the people by the verb."""
    with opened(url, path) as k:
        report = k.identify_many(map(person, range(ROWS)))
    assert ROWS == report.accepted, report


def command(url: str, path: str, file: str) -> None:
    """Send the events by the command, whose rows have no keys of their own."""
    os.environ["KLAVIYO_API_KEY"] = "pk_victim"
    given = ["track", file, "--number", "number", "--resume", "--base-url", url, "--account", ACCOUNT]
    assert main([*given, "--store", f"sqlite:///{path}"]) == 0


CALLS: dict[str, Callable[[str, str, str], None]] = {"track": track, "identify": identify, "command": command}


def live(name: str, url: str, path: str, file: str, steps: int) -> None:
    """Make one call; with a number of steps, be killed before or after so many requests and calls of the map."""
    perform, done = Shell._perform, count(1)

    def mortal(self: Any, sender: Any, effect: Any) -> Any:
        is_step = isinstance(effect, Send | StoreEffect)
        turn = next(done) if is_step else 0
        if turn == steps and steps % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        result = perform(self, sender, effect)
        if turn == steps and steps:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    Shell._perform = mortal  # type: ignore[method-assign]
    CALLS[name](url, path, file)
