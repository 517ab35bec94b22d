"""What a worker warns of when it starts, though it can begin.

Without these warnings it would look well and deliver nothing. They are no errors: a key may come with the next start,
and several accounts may share an outbox. Klaviyo is not asked here: a worker has to start while Klaviyo is away.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from safeklaviyo._flows.outbox.keep import other_accounts

if TYPE_CHECKING:
    from safeklaviyo._client.klaviyo import Klaviyo

logger = logging.getLogger("safeklaviyo.worker")


def warn_at_start(klaviyo: Klaviyo) -> None:
    """Log what may keep the worker of a client from delivering.

    Raises:
        StoreError: The outbox cannot be used.
    """
    shell = klaviyo._shell  # noqa: SLF001 - the package's own
    if not shell.has_credentials:
        logger.warning("there is no API key, without which no row is delivered: set KLAVIYO_API_KEY, and start again")
    others = shell.run(other_accounts)
    if others:
        logger.warning(
            "rows of other accounts wait in this outbox (%s), and this worker does not deliver them: if one of them is"
            " meant, start it with that account", ", ".join(others),
        )  # fmt: skip
