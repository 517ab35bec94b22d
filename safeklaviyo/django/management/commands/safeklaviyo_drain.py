"""``manage.py safeklaviyo_drain``: one drain, as for cron."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from safeklaviyo.errors import SafeKlaviyoError

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Delivers what may go now, and ends."""

    help = "Deliver the rows of the outbox that may go now, and end."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """See `BaseCommand.add_arguments`."""
        parser.add_argument("--limit", type=int, help="how many rows at most")

    def handle(self, **options: Any) -> None:
        """See `BaseCommand.handle`.

        Raises:
            CommandError: Nothing can be delivered now; the rows stay.
        """
        from safeklaviyo.django import get_klaviyo  # noqa: PLC0415 - only where the command is run

        try:
            report = get_klaviyo().outbox.drain(limit=options["limit"])
        except SafeKlaviyoError as error:
            raise CommandError(f"{type(error).__name__}: {error}") from None
        self.stdout.write(f"{report.delivered} delivered, {report.waiting} waiting, {report.dead} dead")
