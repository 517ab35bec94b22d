"""The decision log of one guard: from a call to a line in the file."""

from __future__ import annotations

import logging
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final, cast

from safeklaviyo.guard._log.entries import entry
from safeklaviyo.guard._log.files import LogFile
from safeklaviyo.guard._log.hashes import Hashes

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from safeklaviyo.guard._clients import Guarded
    from safeklaviyo.guard._plans import Plan
    from safeklaviyo.guard._write.replies import Reply

logger = logging.getLogger("safeklaviyo")

KEY_NOTE: Final = "guard-log-key"
"""The map's note with the key of the hashes. All processes of a shop use the same key, so their lines compare."""


class Log:
    """Writes a line for each call, in the guard's own thread. Its methods never raise."""

    def __init__(self, path: str | os.PathLike[str], failed: Callable[[], None]) -> None:
        self._file = LogFile(path, failed)
        self._failed = failed
        self._hashes: dict[str | None, Hashes] = {}

    def record(self, plan: Plan, reply: Reply | None, took: float, client: Guarded, *, from_klaviyo: bool) -> None:
        """Write the line of one call."""
        try:
            line = entry(plan, reply, took, self._hashes_of(client), from_klaviyo=from_klaviyo)
        except Exception:
            logger.exception("a line of the decision log could not be made")
            self._failed()
            return
        self._file.write(line)

    def close(self) -> None:
        """Close the file; a line that comes later opens it again."""
        self._file.close()

    def _hashes_of(self, client: Guarded) -> Hashes:
        known = self._hashes.get(client.account)
        if known is None:
            key = client.log_key or _key_from_map(client)
            # Without the map there is no shared key. Hashes of this process then compare with each other only.
            known = self._hashes[client.account] = Hashes(bytes.fromhex(key or token_hex(32)))
        return known


def _key_from_map(client: Guarded) -> str | None:
    store = cast("Any", client.client)._shell.store  # noqa: SLF001 - as in `_clients`
    # `AsyncCore` asks an async client's store itself, in the event loop; this thread cannot await.
    if client.account is None or client.is_async:
        return None
    try:
        store.remember(client.account, KEY_NOTE, token_hex(32), new=True)
        found: str | None = store.recall(client.account, KEY_NOTE)
    except Exception:  # noqa: BLE001 - the map is away
        return None
    return found
