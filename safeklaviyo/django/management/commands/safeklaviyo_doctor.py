"""``manage.py safeklaviyo_doctor``: the checks of ``safeklaviyo doctor``, with what the settings say."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """Runs `safeklaviyo doctor` with the key, the account and the map of ``settings.SAFEKLAVIYO``."""

    help = "Check the key, the account, the host, the clock, the identity map and the versions; prints no secret."

    def handle(self, **_: Any) -> None:
        """See `BaseCommand.handle`."""
        from argparse import Namespace  # noqa: PLC0415 - only where the command is run

        from safeklaviyo.cli._doctor import doctor  # noqa: PLC0415 - as above
        from safeklaviyo.django._clients import map_url  # noqa: PLC0415 - as above
        from safeklaviyo.django._settings import configuration  # noqa: PLC0415 - as above

        configured = configuration()
        given = configured.arguments
        if isinstance(given.get("api_key"), str):
            os.environ["KLAVIYO_API_KEY"] = given["api_key"]  # of this command's own process, which ends with it
        arguments = Namespace(
            store=map_url(configured),
            account=given.get("account") or given.get("public_key"),
            base_url=given.get("base_url"),
        )
        if doctor(arguments):
            sys.exit(1)
