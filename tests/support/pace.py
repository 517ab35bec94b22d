"""What several processes take turns by. `main` is one process that takes turns for some seconds."""

import sys
import time
from contextlib import closing

from safeklaviyo._api.messages import Endpoint
from safeklaviyo._sending.shared_pacing import SharedPacer
from safeklaviyo.stores.outbox.calls import TakeTurn
from safeklaviyo.stores.outbox.opening import open_outbox
from safeklaviyo.stores.outbox.sqlite import MemoryFile, SqliteOutbox
from safeklaviyo.stores.outbox.turns import next_turn

__all__ = ["ENDPOINT", "Endpoint", "MemoryFile", "SharedPacer", "SqliteOutbox", "TakeTurn", "next_turn", "pacer_over"]

ENDPOINT = Endpoint("events", 8, 20)


def pacer_over(outbox):
    """Return a pacer that takes turns over an outbox."""

    def take_turn(endpoint, limits, latest):
        return outbox.perform(TakeTurn("shop", endpoint, tuple(limits.items()), latest))

    return SharedPacer(take_turn)


def main(url, seconds):
    """Send as fast as the pace allows, and print when."""
    with closing(open_outbox(url, None)) as outbox:
        pacer = pacer_over(outbox)
        ends = time.monotonic() + float(seconds)
        while time.monotonic() < ends:
            at = time.monotonic()
            slot = pacer.reserve(ENDPOINT, at, until=ends)
            if slot > ends:
                break
            time.sleep(max(0.0, slot - at))
            sys.stdout.write(f"{time.time()!r}\n")
