"""``manage.py safeklaviyo_worker``: the worker, with the client of the settings."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Runs `safeklaviyo worker` with the client of ``settings.SAFEKLAVIYO``."""

    help = "Deliver the rows of the outbox until told to stop; see `safeklaviyo worker --help`."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """See `BaseCommand.add_arguments`."""
        from safeklaviyo.cli._working_arguments import add_working  # noqa: PLC0415 - only where the command is run

        add_working(parser)

    def handle(self, **options: Any) -> None:
        """See `BaseCommand.handle`. Logging is Django's."""
        from argparse import Namespace  # noqa: PLC0415 - as above

        from safeklaviyo.cli._worker import checked, run  # noqa: PLC0415 - as above
        from safeklaviyo.django import get_klaviyo  # noqa: PLC0415 - as above

        arguments = Namespace(**options)
        status = checked(arguments)
        if status is None:
            status = run(get_klaviyo(), arguments)
        if status:
            sys.exit(status)
