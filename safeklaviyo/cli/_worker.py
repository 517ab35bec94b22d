"""The command that drains the outbox, and the one that asks whether a worker is well.

Decided here: what signals do, and the exit codes. All else is in `safeklaviyo._worker`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from safeklaviyo._worker.health import HealthFile, check
from safeklaviyo.cli._console import complain, say
from safeklaviyo.cli._map import open_client

if TYPE_CHECKING:
    from argparse import Namespace
    from types import FrameType

    from safeklaviyo import Klaviyo
    from safeklaviyo._worker.waking import Listener
    from safeklaviyo._worker.working import Worker

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def worker(arguments: Namespace) -> int:
    """Drain the outbox until a signal says to stop; or only say whether the worker of a health file is well."""
    status = checked(arguments)
    if status is not None:
        return status
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    # Ours alone: at this level httpx and others log the targets of requests, which hold addresses (F-28).
    logging.getLogger("safeklaviyo").setLevel(logging.INFO)
    with open_client(arguments) as klaviyo:
        return run(klaviyo, arguments)


def checked(arguments: Namespace) -> int | None:
    """Do what ``--check`` asks for, and return the exit code; None if it was not given."""
    if arguments.check is None:
        return None
    trouble = check(Path(arguments.check))
    if trouble is None:
        say("well")
        return 0
    complain(trouble)
    return 1


def run(klaviyo: Klaviyo, arguments: Namespace) -> int:
    """Run a worker with a client, in the main thread of a process.

    Raises:
        ConfigurationError: The client has no outbox, or no account.
        StoreError: The outbox cannot be used.
    """
    from safeklaviyo._worker.contract import OfKlaviyo  # noqa: PLC0415 - as below
    from safeklaviyo._worker.starting import warn_at_start  # noqa: PLC0415 - as below
    from safeklaviyo._worker.systemd import Notifier  # noqa: PLC0415 - not for --check, which probes run often
    from safeklaviyo._worker.working import NOT_IN_TIME, Limits, Worker  # noqa: PLC0415 - as above

    # At once, so that a person who starts the worker with wrong settings sees the error.
    klaviyo.outbox.counts()
    warn_at_start(klaviyo)
    limits = Limits(threads=arguments.threads, grace=arguments.grace)
    health = None if arguments.health is None else HealthFile(Path(arguments.health))
    made = Worker(OfKlaviyo(klaviyo), limits, Notifier(os.environ), health, _listener(klaviyo))
    _obey_signals(made)
    status = made.run()
    # Python would wait for the threads, which still wait for Klaviyo.
    if status == NOT_IN_TIME:
        _leave(status)
    return status


def _listener(klaviyo: Klaviyo) -> Listener | None:
    where = klaviyo._shell.outbox.listening  # noqa: SLF001 - the package's own
    if where is None:
        return None
    from safeklaviyo._worker.waking import Listener  # noqa: PLC0415 - an extra

    return Listener(*where)


def _obey_signals(made: Worker) -> None:
    received: list[int] = []

    def _obey(number: int, _frame: FrameType | None) -> None:
        # The second signal: the user, or the supervisor, does not want to wait.
        if received:
            _leave(128 + number)
        received.append(number)
        made.stop()

    for each in _SIGNALS:
        signal.signal(each, _obey)


def _leave(status: int) -> None:
    """End the process at once. Its threads may be waiting for Klaviyo; what they hold expires by itself."""
    os._exit(status)
